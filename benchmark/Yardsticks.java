//JAVA 21+
//SOURCES EventLoop.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.ByteArrayOutputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.function.Consumer;

/**
 * Bare servers, whose figures are limits for our server: they only read to the end of input, send
 * our server's reply to a store, and close.
 *
 * <p>{@code floor} replies on the thread that accepts, and stores nothing. No server with a
 * connection for each request can cost less. {@code shape} has a virtual thread for each
 * connection. It replies when the line is durable in a file, which is flushed for many lines at
 * once. It has our server's design without protocol, deadlines and database, so our server cannot
 * cost less. {@code platform} and {@code virtual} have a thread of this kind for each connection,
 * and store nothing. {@code loop} is the {@link EventLoop}, which stores nothing either.
 */
final class Yardsticks {
    private static final int LONGEST_LINE = 256;
    private static final byte[] STORED =
            "Message accepted and stored:\n".getBytes(StandardCharsets.US_ASCII);

    private Yardsticks() {}

    /** Runs one of these servers until a kill. The benchmark starts it as a process. */
    public static void main(String... args) throws IOException {
        switch (args[0]) {
            case "floor" -> serve(Runnable::run, line -> {});
            case "shape" -> shape(Path.of(args[1]));
            case "platform" -> serve(Thread.ofPlatform()::start, line -> {});
            case "virtual" -> serve(Thread.ofVirtual()::start, line -> {});
            case "loop" -> EventLoop.main();
        }
    }

    /**
     * Listens on a free port, and prints the port in the words of our server. {@code threads} runs
     * each conversation, which replies when {@code store} has returned.
     */
    private static void serve(Executor threads, Consumer<ByteBuffer> store) throws IOException {
        try (var listener = ServerSocketChannel.open()) {
            listener.bind(new InetSocketAddress(0), 1024);
            System.out.println("Listening on port " + listener.socket().getLocalPort());
            while (true) {
                var client = listener.accept();
                threads.execute(() -> converse(client, store));
            }
        }
    }

    private static void converse(SocketChannel client, Consumer<ByteBuffer> store) {
        try (client) {
            var line = ByteBuffer.allocate(LONGEST_LINE);
            while (line.hasRemaining() && client.read(line) >= 0) {
                // until the client has shut down its sending side
            }
            store.accept(line.flip());
            client.write(ByteBuffer.wrap(STORED));
        } catch (IOException e) {
            // Tolerated: the client went away at the end of a turn.
        }
    }

    /** A pending line; {@code safe} completes when the line is durable. */
    private record Line(ByteBuffer bytes, CompletableFuture<Void> safe) {}

    private static void shape(Path file) throws IOException {
        var lines = new LinkedBlockingQueue<Line>();
        Thread.ofPlatform().name("writer").start(() -> write(lines, file));
        serve(
                Thread.ofVirtual()::start,
                bytes -> {
                    var line = new Line(bytes, new CompletableFuture<>());
                    lines.add(line);
                    line.safe().join();
                });
    }

    /** Group commit: all lines that come during one flush go into the next flush. */
    private static void write(LinkedBlockingQueue<Line> lines, Path file) {
        try (var out = new FileOutputStream(file.toFile())) {
            while (true) {
                var group = new ArrayList<>(List.of(lines.take()));
                lines.drainTo(group);
                var bytes = new ByteArrayOutputStream();
                for (var line : group) {
                    bytes.write(line.bytes().array(), 0, line.bytes().limit());
                    bytes.write('\n');
                }
                bytes.writeTo(out);
                out.getChannel().force(false);
                group.forEach(line -> line.safe().complete(null));
            }
        } catch (IOException | InterruptedException e) {
            e.printStackTrace();
            System.exit(1); // no line can be durable any more
        }
    }
}
