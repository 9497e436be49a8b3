//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;

/**
 * Servers to compare ours with, so bare that they show what can be had at all. They read to the end
 * of input, answer what our server answers to a store, and close.
 *
 * <ul>
 *   <li>{@code floor}: one thread accepts and answers, nothing is stored. The least that a
 *       connection for each request costs.
 *   <li>{@code shape}: a virtual thread for each connection, which answers once its line is safe in
 *       a file, flushed for many lines at once. The least that our server's shape costs: no
 *       protocol, no deadlines, no database.
 *   <li>{@code platform}, {@code virtual}: such a thread for each connection, nothing stored.
 * </ul>
 */
final class Yardsticks {
    private static final int BACKLOG = 1024;
    private static final int LONGEST_LINE = 256;
    private static final byte[] STORED =
            "Message accepted and stored:\n".getBytes(StandardCharsets.US_ASCII);

    private Yardsticks() {}

    /** Runs one of them, until it is killed; in a process of its own, started by the benchmark. */
    public static void main(String... args) throws IOException {
        switch (args[0]) {
            case "floor" -> floor();
            case "shape" -> shape(Path.of(args[1]));
            case "platform" -> serve(Thread.ofPlatform());
            case "virtual" -> serve(Thread.ofVirtual());
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    /** A listener on any free port, which it tells in the words of our server. */
    private static ServerSocketChannel listen() throws IOException {
        var listener = ServerSocketChannel.open();
        listener.bind(new InetSocketAddress(0), BACKLOG);
        System.out.println("Listening on port " + listener.socket().getLocalPort());
        return listener;
    }

    private static void readToEnd(SocketChannel client, ByteBuffer line) throws IOException {
        while (line.hasRemaining() && client.read(line) >= 0) {
            // until the client has shut down its sending side
        }
    }

    private static void floor() throws IOException {
        var line = ByteBuffer.allocateDirect(LONGEST_LINE);
        var stored = ByteBuffer.allocateDirect(STORED.length).put(STORED);
        try (var listener = listen()) {
            while (true) {
                try (var client = listener.accept()) {
                    readToEnd(client, line.clear());
                    client.write(stored.rewind());
                } catch (IOException e) {
                    // Tolerated: a client that went away, at the end of a turn.
                }
            }
        }
    }

    private static void serve(Thread.Builder threads) throws IOException {
        try (var listener = listen()) {
            while (true) {
                var client = listener.accept();
                threads.start(() -> answer(client));
            }
        }
    }

    private static void answer(SocketChannel client) {
        try (client) {
            readToEnd(client, ByteBuffer.allocate(LONGEST_LINE));
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
        try (var listener = listen()) {
            while (true) {
                var client = listener.accept();
                Thread.ofVirtual().start(() -> converse(client, lines));
            }
        }
    }

    private static void converse(SocketChannel client, BlockingQueue<Line> lines) {
        try (client) {
            var line = new Line(ByteBuffer.allocate(LONGEST_LINE + 1), new CompletableFuture<>());
            readToEnd(client, line.bytes());
            lines.add(new Line(line.bytes().put((byte) '\n').flip(), line.safe()));
            line.safe().join();
            client.write(ByteBuffer.wrap(STORED));
        } catch (IOException e) {
            // Tolerated: a client that went away, at the end of a turn.
        }
    }

    /** Group commit: whatever has come during one flush goes into the next. */
    private static void write(BlockingQueue<Line> lines, Path file) {
        var group = new ArrayList<Line>();
        try (var channel =
                FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.APPEND)) {
            var bytes = ByteBuffer.allocateDirect(1 << 20);
            while (true) {
                group.clear();
                group.add(lines.take());
                lines.drainTo(group, bytes.capacity() / LONGEST_LINE / 2);
                bytes.clear();
                group.forEach(line -> bytes.put(line.bytes()));
                bytes.flip();
                while (bytes.hasRemaining()) {
                    channel.write(bytes);
                }
                channel.force(false);
                group.forEach(line -> line.safe().complete(null));
            }
        } catch (IOException | InterruptedException e) {
            e.printStackTrace();
            System.exit(1); // nothing can be safe any more
        }
    }
}
