//JAVA 21+
//SOURCES Case.java
//SOURCES FreePort.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.File;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * A server that the check starts, kills and starts again, each time on another port, because the
 * old port may stay in use for a while. The command must stay in the foreground. After a new start
 * it must find the messages that it stored before.
 */
final class ServerUnderCheck implements AutoCloseable {
    private final String command;
    private final Path output;
    private final Path errors;
    private Process process;

    /** The server's address, with another port after each start. */
    InetSocketAddress address;

    /** Starts nothing yet. {@code {port}} in {@code command} stands for the port. */
    ServerUnderCheck(String command) throws IOException {
        this.command = command;
        output = Files.createTempFile("server-under-check", ".out");
        errors = Files.createTempFile("server-under-check", ".err");
    }

    /**
     * Starts the server, and returns when it accepts connections.
     *
     * @throws IOException with the server's output, if it does not accept within a minute
     */
    void start() throws IOException, InterruptedException {
        address = FreePort.next();
        String line = command.replace("{port}", Integer.toString(address.getPort()));
        boolean windows = File.separatorChar == '\\';
        process =
                new ProcessBuilder(windows ? List.of("cmd", "/c", line) : List.of("sh", "-c", line))
                        .redirectOutput(output.toFile())
                        .redirectError(errors.toFile())
                        .start();
        process.getOutputStream().close();
        long deadline = System.nanoTime() + TimeUnit.MINUTES.toNanos(1);
        while (!accepts(address)) {
            if (!process.isAlive() || System.nanoTime() - deadline > 0) {
                throw new IOException(
                        "The server does not listen on port %d: %s%s%s"
                                .formatted(address.getPort(), line, last(output), last(errors)));
            }
            Thread.sleep(20);
        }
    }

    /** Returns whether a server listens: connects, sends nothing, and reads to the end. */
    static boolean accepts(InetSocketAddress address) {
        Socket socket = new Socket();
        try (socket) {
            socket.connect(address, 5_000);
            socket.setSoTimeout(1_000);
            socket.shutdownOutput();
            while (socket.getInputStream().read() >= 0) {}
        } catch (IOException e) {
            // No server listens, perhaps not yet; or the server does not reply to an empty request.
        }
        return socket.isConnected();
    }

    /** Returns the exit code and the last lines of stderr, if the process ends within 0.5 s. */
    String end() throws IOException, InterruptedException {
        if (!process.waitFor(500, TimeUnit.MILLISECONDS)) {
            return "";
        }
        String stderr = last(errors);
        return "; the server process ended, exit code %d, %s"
                .formatted(
                        process.exitValue(),
                        stderr.isEmpty() ? "and nothing on stderr" : "and on stderr:" + stderr);
    }

    private static String last(Path file) throws IOException {
        return Case.lastLines(Files.readAllBytes(file));
    }

    /** Kills the server as {@code kill -9} does, and waits for its end. */
    void kill() {
        kill(process);
    }

    /** Kills {@code process} with its descendants, and waits for their end. */
    static void kill(Process process) {
        Stream.concat(process.descendants().toList().stream(), Stream.of(process.toHandle()))
                .peek(ProcessHandle::destroyForcibly)
                .toList()
                .forEach(ended -> ended.onExit().join());
    }

    @Override
    public void close() throws IOException {
        if (process != null) {
            kill();
        }
        Files.deleteIfExists(output);
        Files.deleteIfExists(errors);
    }
}
