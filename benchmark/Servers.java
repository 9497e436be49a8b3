//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.File;
import java.io.IOException;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Starts the servers that are measured, each as a process of its own: ours the way a user does,
 * through JBang, whose launcher puts the java command in its own place; Redis as durable as ours;
 * the yardsticks from the benchmark's own class path.
 *
 * @param folder for all that they write
 */
record Servers(Path folder) {
    static final String READY = "Listening on port (\\d+)(?=,|\\R)";

    /** Our server may have to be compiled first. */
    private static final long START_LIMIT = TimeUnit.SECONDS.toNanos(120);

    private static final long POLL = TimeUnit.MILLISECONDS.toNanos(2);

    /** The longest timeout that our server takes, so that idle clients outlast the run. */
    private static final String TIMEOUT_S = "3600";

    /** The command that runs a script through JBang. */
    static List<String> script(Path file, String... arguments) {
        var jbang = Files.isExecutable(Path.of("jbang")) ? "./jbang" : "jbang";
        var command = new ArrayList<>(List.of(jbang, "run", file.toString()));
        command.addAll(List.of(arguments));
        return command;
    }

    /** Our server from the sources in {@code checkout}. */
    Server ours(String name, Path checkout, String store, String... options) throws IOException {
        var command = script(checkout.resolve("MsgServer.java"), options);
        command.addAll(List.of("0", "--store", store, "--timeout", TIMEOUT_S, "--quiet"));
        return start(name, command, READY);
    }

    /** One of the servers in {@link Yardsticks}, with our server's JVM options. */
    Server yardstick(String name) throws IOException {
        var java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
        var command = new ArrayList<>(List.of(java, "-XX:+UseSerialGC", "-Xmn16m"));
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), "Yardsticks"));
        command.addAll(List.of(name, folder.resolve(name).toString()));
        return start(name, command, READY);
    }

    /** Listens on every address but, being in protected mode, serves only this machine. */
    Server redis() throws IOException {
        var home = Files.createDirectory(folder.resolve("redis")).toString();
        int port;
        try (var free = new ServerSocket(0)) {
            port = free.getLocalPort();
        }
        var command = new ArrayList<>(List.of("redis-server", "--dir", home, "--save", ""));
        // The last option: no rewrite of its log in the middle of a turn.
        var options =
                "--bind 0.0.0.0 --protected-mode yes --tcp-backlog 1024 --maxclients 15000"
                        + " --appendonly yes --appendfsync always --auto-aof-rewrite-percentage 0";
        command.addAll(List.of((options + " --port " + port).split(" ")));
        return new Server(start("redis", command, "Ready to accept connections").process, port);
    }

    static boolean isInstalled(String program) {
        return Stream.of(System.getenv().getOrDefault("PATH", "").split(File.pathSeparator))
                .anyMatch(path -> Files.isExecutable(Path.of(path, program)));
    }

    /**
     * Waits until {@code command} has said that it is ready; the first group of {@code ready}, if
     * there is one, is its port. The user's settings for server and client do not reach it.
     */
    Server start(String name, List<String> command, String ready) throws IOException {
        var log = folder.resolve(name + ".log");
        var builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().keySet().removeIf(variable -> variable.startsWith("MSG_"));
        var process = builder.redirectOutput(log.toFile()).start();
        long start = System.nanoTime();
        while (process.isAlive() && System.nanoTime() - start < START_LIMIT) {
            var found = Pattern.compile(ready).matcher(Files.readString(log));
            if (found.find()) {
                int port = found.groupCount() == 0 ? 0 : Integer.parseInt(found.group(1));
                return new Server(process, port);
            }
            LockSupport.parkNanos(POLL);
        }
        var said = String.join(" ", command) + "\n" + Files.readString(log).strip();
        throw new IOException(name + " did not start: " + said);
    }

    /** A process that is ready to serve on a port. */
    record Server(Process process, int port) {
        /** User and system time. */
        Duration cpu() {
            return process.info().totalCpuDuration().orElse(Duration.ZERO);
        }

        /** What this line of this file in {@code /proc} says; NaN where there is no such file. */
        double number(String file, String key) {
            long number = number(process.pid(), file, key);
            return number == 0 ? Double.NaN : number;
        }

        /** The same, all its descendants included; takes a second for ten thousand of them. */
        double sum(String file, String key) {
            var pids = process.descendants().mapToLong(ProcessHandle::pid);
            return number(file, key) + pids.map(pid -> number(pid, file, key)).sum();
        }

        private static long number(long pid, String file, String key) {
            try {
                var lines = Files.readAllLines(Path.of("/proc/" + pid, file)).stream();
                var line = lines.filter(text -> text.startsWith(key + ":")).findFirst();
                return line.map(text -> Long.parseLong(text.replaceAll("\\D", ""))).orElse(0L);
            } catch (IOException e) {
                return 0; // no Linux, or a process that has just ended
            }
        }

        /** Kills it, which costs no server an acknowledged message. */
        void stop() {
            process.descendants().forEach(ProcessHandle::destroyForcibly);
            process.destroyForcibly();
            process.onExit().join();
        }
    }
}
