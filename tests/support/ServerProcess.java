//JAVA 21+
//SOURCES Wire.java
//SOURCES ../../MsgServer.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * A server process, which tests can kill, signal and measure. It starts from the jar of this JVM,
 * which contains the server. A start with {@code jbang} would take ten times as long.
 */
final class ServerProcess implements AutoCloseable {
    private static final Duration START = Duration.ofSeconds(60);
    private static final Duration END = Duration.ofSeconds(60);
    private static final List<String> QUICK_START =
            List.of("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC");
    private static final String READY = "Listening on port ";

    private final Process process;
    private final StringBuffer output = new StringBuffer();
    private final StringBuffer errors = new StringBuffer();
    private final CompletableFuture<Integer> port = new CompletableFuture<>();
    private final Thread outputReader;
    private final Thread errorReader;

    /** Starts {@code command}; {@link #port} waits until the server listens. */
    ServerProcess(List<String> command) throws IOException {
        process = new ProcessBuilder(command).start();
        outputReader = Thread.ofVirtual().start(() -> collect(process.inputReader(), output, true));
        errorReader = Thread.ofVirtual().start(() -> collect(process.errorReader(), errors, false));
    }

    /**
     * The command line of a server that listens on any free port of loopback and keeps its messages
     * in {@code store}.
     */
    static List<String> command(Path store, String... more) {
        var command = java("MsgServer", "0", "--bind", "127.0.0.1");
        command.addAll(List.of("--store", store.toString()));
        command.addAll(List.of(more));
        return command;
    }

    /**
     * An archive of the server's classes (JEP 350), made by one start and end of a server. A start
     * with the archive takes a quarter less processor time.
     */
    private static final class Archive {
        static final Path FILE = make();

        private static Path make() {
            try {
                Path folder = Files.createTempDirectory("classes");
                Path archive = folder.resolve("archive");
                Path store = folder.resolve("messages.db");
                var arguments = List.of("0", "--bind", "127.0.0.1", "--store", store.toString());
                var command = java("-XX:ArchiveClassesAtExit=" + archive, "MsgServer", arguments);
                try (var server = new ServerProcess(command)) {
                    server.port();
                    server.signal("TERM");
                    server.awaitExit();
                }
                Stream.of(folder, archive, store).forEach(file -> file.toFile().deleteOnExit());
                return archive;
            } catch (Exception e) {
                throw new AssertionError("cannot make the archive of classes", e);
            }
        }
    }

    /** {@code java} with the options and the class path of this JVM. */
    static List<String> java(String main, String... arguments) {
        return java("-XX:SharedArchiveFile=" + Archive.FILE, main, List.of(arguments));
    }

    private static List<String> java(String archive, String main, List<String> arguments) {
        var command = new ArrayList<String>();
        if (ignoresInterrupt()) {
            command.addAll(List.of("env", "--default-signal=INT"));
        }
        var home = Path.of(System.getProperty("java.home"));
        command.add(home.resolve("bin").resolve("java").toString());
        command.addAll(QUICK_START);
        command.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
        command.addAll(
                // otherwise the JVM prints warnings about the archive
                List.of("-Xlog:disable", archive));
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), main));
        command.addAll(arguments);
        return command;
    }

    /**
     * Whether this JVM ignores SIGINT, because a script started the JVM with {@code &}. A child
     * would then ignore SIGINT, too.
     */
    private static boolean ignoresInterrupt() {
        try (Stream<String> lines = Files.lines(Path.of("/proc/self/status"))) {
            return lines.filter(line -> line.startsWith("SigIgn:"))
                    .anyMatch(line -> (Long.parseLong(line.substring(8), 16) & 2) != 0);
        } catch (IOException e) {
            return false; // other systems than Linux: assume the default
        }
    }

    private void collect(BufferedReader lines, StringBuffer text, boolean untilReady) {
        try (lines) {
            for (String line; (line = lines.readLine()) != null; ) {
                text.append(line).append('\n');
                if (untilReady && line.startsWith(READY)) {
                    port.complete(
                            Integer.parseInt(
                                    line.substring(READY.length()).replaceFirst(",.*", "")));
                }
            }
        } catch (IOException e) {
            // Tolerated: the pipe of a killed process may end with an exception.
        }
        if (untilReady) {
            port.completeExceptionally(new IOException("the server ended before it listened"));
        }
    }

    /** The server's port; waits until the server listens. */
    int port() throws Exception {
        try {
            return port.get(START.toSeconds(), TimeUnit.SECONDS);
        } catch (Exception e) {
            throw new AssertionError("no server: " + output + errors, e);
        }
    }

    /** The server's stdout so far. */
    String output() {
        return output.toString();
    }

    /** The server's stderr so far. */
    String errors() {
        return errors.toString();
    }

    /** The process id of the JVM, even if another program started the JVM. */
    long pid() {
        return jvm().pid();
    }

    /**
     * The process itself if it is a JVM, otherwise its child. A JVM may have a child, too: SQLite's
     * driver runs {@code uname} during the start.
     */
    private ProcessHandle jvm() {
        ProcessHandle itself = process.toHandle();
        boolean isJava = itself.info().command().orElse("").endsWith("java");
        return isJava ? itself : process.children().findFirst().orElse(itself);
    }

    /** Sends kill -9, which the server cannot handle. */
    void kill() throws InterruptedException {
        jvm().destroyForcibly();
        awaitExit();
    }

    /** Sends a signal by name, such as {@code INT}. */
    void signal(String name) throws IOException, InterruptedException {
        var kill = new ProcessBuilder("kill", "-" + name, Long.toString(pid()));
        if (kill.inheritIO().start().waitFor() != 0) {
            throw new AssertionError("the process has ended already");
        }
    }

    /** Waits for the exit code; all output is complete then. */
    int awaitExit() throws InterruptedException {
        if (!process.waitFor(END.toMillis(), TimeUnit.MILLISECONDS)) {
            throw new AssertionError("still running: " + output + errors + threads());
        }
        outputReader.join(END);
        errorReader.join(END);
        return process.exitValue();
    }

    /** The stacks of the server's threads, for the report of a failed test. */
    private String threads() throws InterruptedException {
        String jcmd = Path.of(System.getProperty("java.home"), "bin", "jcmd").toString();
        try {
            var command = new ProcessBuilder(jcmd, Long.toString(pid()), "Thread.print");
            Process dump = command.redirectErrorStream(true).start();
            return new String(dump.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            return e.toString();
        }
    }

    /** The number of the server's open file descriptors. */
    long descriptors() throws IOException {
        try (Stream<Path> open = Files.list(Path.of("/proc/" + pid() + "/fd"))) {
            return open.count();
        }
    }

    /** A figure of {@code /proc/PID/status} in KiB, such as {@code VmRSS} or {@code VmHWM}. */
    long statusKib(String name) throws IOException {
        try (Stream<String> lines = Files.lines(Path.of("/proc/" + pid() + "/status"))) {
            return lines.filter(line -> line.startsWith(name + ":"))
                    .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")))
                    .findFirst()
                    .orElseThrow();
        }
    }

    /** Kills the server if it still runs. */
    @Override
    public void close() {
        try {
            kill();
        } catch (InterruptedException e) {
            // the process was killed, so the test need not wait for its end
            Thread.currentThread().interrupt();
        }
    }

    /** Names of the files in the folder of {@code store}, sorted. */
    static List<String> filesBeside(Path store) {
        return Stream.of(store.toAbsolutePath().getParent().toFile().listFiles())
                .map(File::getName)
                .sorted()
                .toList();
    }
}
