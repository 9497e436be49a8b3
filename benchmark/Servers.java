//JAVA 21+
//DEPS info.picocli:picocli:4.7.7
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

import java.io.Closeable;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Starts the servers that are measured, each as a process of its own: ours the way a user does,
 * through JBang, whose launcher puts the java command in its own place; Redis as durable as ours;
 * and the floor, which is the least that a server with one connection a request can do.
 */
final class Servers {
    static final String FLOOR = "floor";

    /** Ours may have to be compiled first. */
    private static final Duration START_LIMIT = Duration.ofSeconds(120);

    private static final int STOP_LIMIT_S = 15;
    private static final Pattern READY = Pattern.compile("Listening on port (\\d+)");
    private static final Pattern REDIS_READY = Pattern.compile("Ready to accept connections");

    /** Longest that our server takes, so that idle clients outlast the run. */
    private static final String TIMEOUT_S = "3600";

    private final String jbang;
    private final Path folder;
    private final Queue<Process> processes = new ConcurrentLinkedQueue<>();

    /** Files of the servers go into {@code folder}. */
    Servers(String jbang, Path folder) {
        this.jbang = jbang;
        this.folder = folder;
    }

    /** Our server from the sources in {@code checkout}, with JVM options beside its own. */
    Server ours(String name, Path checkout, List<String> jvmOptions, String store)
            throws IOException {
        var options = new ArrayList<String>();
        jvmOptions.forEach(option -> options.add("--runtime-option=" + option));
        var command = script(checkout.resolve("MsgServer.java"), options);
        command.addAll(List.of("0", "--store", store, "--timeout", TIMEOUT_S, "--quiet"));
        return start(name, command, READY, 0);
    }

    /** The command that runs a script through JBang. */
    List<String> script(Path file, List<String> options) {
        var command = new ArrayList<>(List.of(jbang, "run"));
        command.addAll(options);
        command.add(file.toString());
        return command;
    }

    /** Its reply to a fetch has as many messages as a mailbox has. */
    Server floor(int perMailbox) throws IOException {
        var java = ProcessHandle.current().info().command().orElse("java");
        var path = System.getProperty("java.class.path");
        var command =
                List.of(
                        java,
                        "-XX:+UseSerialGC",
                        "-cp",
                        path,
                        "Bench",
                        Floor.NAME,
                        "" + perMailbox);
        return start(FLOOR, command, READY, 0);
    }

    /** Listens on every address but, being in protected mode, serves only this machine. */
    Server redis(String name) throws IOException {
        var home = Files.createDirectory(folder.resolve(name)).toString();
        int port;
        try (var free = new ServerSocket(0)) {
            port = free.getLocalPort();
        }
        var command = new ArrayList<>(List.of("redis-server", "--port", "" + port, "--dir", home));
        command.addAll(List.of("--bind", "0.0.0.0", "--protected-mode", "yes"));
        command.addAll(List.of("--appendonly", "yes", "--appendfsync", "always", "--save", ""));
        // No rewrite of its log in the middle of a turn.
        command.addAll(List.of("--auto-aof-rewrite-percentage", "0"));
        command.addAll(List.of("--tcp-backlog", "1024", "--maxclients", "15000"));
        return start(name, command, REDIS_READY, port);
    }

    static boolean isInstalled(String program) {
        return Stream.of(System.getenv().getOrDefault("PATH", "").split(File.pathSeparator))
                .anyMatch(folder -> Files.isExecutable(Path.of(folder, program)));
    }

    /** Waits for the ready line; where {@code port} is 0, its first group is the port. */
    private Server start(String name, List<String> command, Pattern ready, int port)
            throws IOException {
        var process = launch(name, command);
        process.getOutputStream().close();
        var found = new CompletableFuture<Integer>();
        Thread.ofPlatform()
                .name(name + "-output")
                .daemon()
                .start(() -> follow(process, ready, port, found));
        try {
            return new Server(process, found.get(START_LIMIT.toSeconds(), TimeUnit.SECONDS));
        } catch (InterruptedException | ExecutionException | TimeoutException e) {
            throw failed(name, command);
        }
    }

    /** Starts a process that the user's settings for the server and the client do not reach. */
    Process launch(String name, List<String> command) throws IOException {
        var builder = new ProcessBuilder(command).redirectError(errors(name));
        builder.environment().keySet().removeIf(variable -> variable.startsWith("MSG_"));
        var process = builder.start();
        processes.add(process);
        return process;
    }

    /** To be thrown when {@code command} does not do what it should. */
    IOException failed(String name, List<String> command) throws IOException {
        var said = Files.readString(errors(name).toPath()).strip();
        return new IOException(name + " did not start: " + String.join(" ", command) + "\n" + said);
    }

    private File errors(String name) {
        return folder.resolve(name + ".err").toFile();
    }

    /** Ends every process that was started here. */
    void stopAll() {
        processes.forEach(Process::destroy);
        processes.forEach(process -> new Server(process, 0).stop());
    }

    /** Reads the output to its end, so that the server never has to wait for a reader. */
    private static void follow(
            Process process, Pattern ready, int port, CompletableFuture<Integer> found) {
        try (var lines = process.inputReader()) {
            for (String line; (line = lines.readLine()) != null; ) {
                Matcher matcher = ready.matcher(line);
                if (!found.isDone() && matcher.find()) {
                    found.complete(port != 0 ? port : Integer.parseInt(matcher.group(1)));
                }
            }
            found.completeExceptionally(new IOException("it ended before it was ready"));
        } catch (IOException e) {
            found.completeExceptionally(e);
        }
    }

    static void closeQuietly(Closeable closeable) {
        try {
            closeable.close();
        } catch (IOException e) {
            // Tolerated: nothing more is wanted from it.
        }
    }

    /** A process that is ready to serve on a port. */
    record Server(Process process, int port) {
        /** User and system time; where a launcher stays in front (Windows), its child's too. */
        Duration cpu() {
            return Stream.concat(Stream.of(process.toHandle()), process.descendants())
                    .map(handle -> handle.info().totalCpuDuration().orElse(Duration.ZERO))
                    .reduce(Duration.ZERO, Duration::plus);
        }

        /** Or NaN where there is no /proc. */
        double residentMegabytes() {
            var status = Path.of("/proc", Long.toString(process.pid()), "status");
            try (var lines = Files.lines(status)) {
                return lines.filter(line -> line.startsWith("VmRSS:"))
                        .mapToDouble(line -> Double.parseDouble(line.split("\\s+")[1]) / 1024)
                        .findFirst()
                        .orElse(Double.NaN);
            } catch (IOException | UncheckedIOException e) {
                return Double.NaN;
            }
        }

        void stop() {
            process.destroy();
            try {
                if (!process.waitFor(STOP_LIMIT_S, TimeUnit.SECONDS)) {
                    process.destroyForcibly();
                }
            } catch (InterruptedException e) {
                process.destroyForcibly();
                Thread.currentThread().interrupt();
            }
        }
    }

    /**
     * One platform thread accepts, reads to the end of input, answers what is always the same, and
     * closes. It stores nothing.
     */
    @Command(name = Floor.NAME, hidden = true, description = "Runs the bare accept loop")
    static final class Floor implements Callable<Integer> {
        static final String NAME = "run-floor";
        private static final int BACKLOG = 1024;

        @Parameters(paramLabel = "MESSAGES")
        private int perMailbox;

        @Override
        public Integer call() throws IOException {
            var stored = direct("Message accepted and stored:\n");
            var message = "mailbox000000;bench;000000000 a line of chat in forty bytes.\n";
            var fetched =
                    direct(
                            "Retrieving messages...\n"
                                    + message.repeat(perMailbox)
                                    + "NO MORE MESSAGES\n");
            var input = ByteBuffer.allocateDirect(256);
            try (var listener = ServerSocketChannel.open()) {
                listener.bind(new InetSocketAddress(0), BACKLOG);
                System.out.println("Listening on port " + listener.socket().getLocalPort());
                while (true) {
                    try (var client = listener.accept()) {
                        input.clear();
                        while (input.hasRemaining() && client.read(input) >= 0) {
                            // until the client has shut down its sending side
                        }
                        client.write(input.get(0) == 'f' ? fetched.rewind() : stored.rewind());
                    } catch (IOException e) {
                        // Tolerated: a client that went away, at the end of a turn.
                    }
                }
            }
        }

        private static ByteBuffer direct(String text) {
            var bytes = text.getBytes(java.nio.charset.StandardCharsets.US_ASCII);
            return ByteBuffer.allocateDirect(bytes.length).put(bytes);
        }
    }
}
