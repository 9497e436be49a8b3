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
 * Servers to compare ours with, so bare that they show what can be had at all. They read to the end
 * of input, answer what our server answers to a store, and close.
 *
 * <p>{@code floor} answers on the thread that accepts, and stores nothing: the least that a
 * connection for each request costs. {@code shape} has a virtual thread for each connection, which
 * answers once its line is safe in a file, flushed for many lines at once: the least that our
 * server's shape costs, without protocol, deadlines and database. {@code platform} and {@code
 * virtual} have such a thread for each connection, and store nothing; neither does {@code loop},
 * the {@link EventLoop}.
 */
final class Yardsticks {
    private static final int LONGEST_LINE = 256;
    private static final byte[] STORED =
            "Message accepted and stored:\n".getBytes(StandardCharsets.US_ASCII);

    private Yardsticks() {}

    /** Runs one of them, until it is killed; in a process of its own, started by the benchmark. */
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
     * Listens on any free port, which it tells in the words of our server, and has each client
     * answered by {@code threads}, once {@code store} has returned.
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
            // Tolerated: a client that went away, at the end of a turn.
        }
    }

    /** A line on its way to the file, and what tells its conversation that it is safe there. */
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

    /** Group commit: whatever has come during one flush goes into the next. */
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
            System.exit(1); // nothing can be safe any more
        }
    }
}
