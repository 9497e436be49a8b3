//JAVA 21+
//SOURCES Peer.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import java.util.regex.Pattern;

/**
 * Starts the measured servers, each as a separate process. Our server starts through JBang, as for
 * a user; the launcher replaces itself with the java command. {@link Yardsticks} run from the
 * benchmark's class path. A {@link Peer}, such as Redis, has its own command.
 *
 * @param folder the folder for all files of the servers
 */
record Servers(Path folder) {
    static final String READY = "Listening on port (\\d+)(?=,|\\R)";

    /** Returns the command that runs a script through JBang. */
    static List<String> script(Path file, String... arguments) {
        var command = new ArrayList<>(List.of("./jbang", "run", file.toString()));
        command.addAll(List.of(arguments));
        return command;
    }

    /** Starts our server from the sources in {@code checkout}. */
    Server ours(String name, Path checkout, String store, String... options) throws IOException {
        var command = script(checkout.resolve("MsgServer.java"), options);
        // The longest timeout, so that idle clients outlast the run.
        command.addAll(List.of("0", "--store", store, "--timeout", "3600", "--quiet"));
        return start(name, command, READY);
    }

    /** Starts one of the servers in {@link Yardsticks}, with our server's garbage collector. */
    Server yardstick(String name) throws IOException {
        var java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
        var command = new ArrayList<>(List.of(java, "-XX:+UseSerialGC", "-Xmn16m"));
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), "Yardsticks"));
        command.addAll(List.of(name, folder.resolve(name).toString()));
        return start(name, command, READY);
    }

    /** Starts a {@link Peer}. It listens on all addresses, since the load connects to many. */
    Server peer(String name) throws IOException {
        var peer = Peer.of(name);
        var home = Files.createDirectory(folder.resolve(name)).toString();
        int port;
        try (var free = new ServerSocket(0)) {
            port = free.getLocalPort();
        }
        var command =
                "PATH=$PATH:/usr/sbin;"
                        + peer.command().replace("DIR", home).replace("PORT", "" + port);
        return new Server(start(name, List.of("sh", "-c", command), Peer.READY).process, port);
    }

    /**
     * Starts {@code command}, and waits until its output matches {@code ready}. The first group of
     * {@code ready}, if there is one, is the port. The user's settings for server and client do not
     * reach the process.
     */
    Server start(String name, List<String> command, String ready) throws IOException {
        var log = folder.resolve(name + ".log");
        var builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().keySet().removeIf(variable -> variable.startsWith("MSG_"));
        var process = builder.redirectOutput(log.toFile()).start();
        long limit = System.nanoTime() + 120_000_000_000L; // JBang may have to compile
        while (process.isAlive() && System.nanoTime() < limit) {
            var found = Pattern.compile(ready).matcher(Files.readString(log));
            if (found.find()) {
                int port = found.groupCount() == 0 ? 0 : Integer.parseInt(found.group(1));
                return new Server(process, port);
            }
            LockSupport.parkNanos(2_000_000);
        }
        var output = String.join(" ", command) + "\n" + Files.readString(log).strip();
        throw new IOException(name + " did not start: " + output);
    }

    /** Returns the number after {@code key} in a file in {@code /proc}, or 0 without a file. */
    static double number(ProcessHandle process, String file, String key) {
        try (var lines = Files.lines(Path.of("/proc/" + process.pid(), file))) {
            var line = lines.filter(text -> text.startsWith(key + ":")).findFirst();
            return Double.parseDouble(line.orElse("0").replaceAll("\\D", ""));
        } catch (IOException | UncheckedIOException e) {
            return 0; // not on Linux, or the process has just ended
        }
    }

    /** A process that is ready to serve on a port. */
    record Server(Process process, int port) {
        /** Returns user and system time. */
        Duration cpu() {
            return process.info().totalCpuDuration().orElse(Duration.ZERO);
        }

        double number(String file, String key) {
            return Servers.number(process.toHandle(), file, key);
        }

        /** Kills the server, which loses no flushed message. */
        void stop() {
            process.descendants().forEach(ProcessHandle::destroyForcibly);
            process.destroyForcibly();
            process.onExit().join();
        }
    }
}
