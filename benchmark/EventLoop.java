///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION An event loop: one thread for all connections
//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;

/**
 * A server with one thread for all connections, in place of a process or a thread for each
 * connection. The thread asks the system for the connections that are ready, and serves them in
 * turn.
 *
 * <p>No call may wait, because all clients would wait for it. A thread per connection keeps the
 * state of its conversation on its stack. An event loop keeps this state, here the line so far, in
 * an attachment of the connection's key, and the code handles one event at a time. This server
 * stores nothing. A server that stores messages would let another thread wait for the disk. The end
 * of this wait would be one more event.
 */
public final class EventLoop {
    private static final int BACKLOG = 1024;
    private static final int LONGEST_LINE = 256;
    private static final byte[] STORED =
            "Message accepted and stored:\n".getBytes(StandardCharsets.US_ASCII);

    private EventLoop() {}

    /** Serves on a free port, which it prints, until a kill. */
    public static void main(String... args) throws IOException {
        try (var selector = Selector.open();
                var listener = ServerSocketChannel.open()) {
            listener.bind(new InetSocketAddress(0), BACKLOG).configureBlocking(false);
            listener.register(selector, SelectionKey.OP_ACCEPT);
            System.out.println("Listening on port " + listener.socket().getLocalPort());
            while (true) {
                selector.select(key -> {
                    try {
                        if (key.isAcceptable()) {
                            accept(listener, selector);
                        } else {
                            read((SocketChannel) key.channel(), (ByteBuffer) key.attachment());
                        }
                    } catch (IOException e) {
                        System.err.println(e); // concerns this client only; the others go on
                    }
                });
            }
        }
    }

    private static void accept(ServerSocketChannel listener, Selector selector) throws IOException {
        var client = listener.accept();
        client.configureBlocking(false);
        client.register(selector, SelectionKey.OP_READ, ByteBuffer.allocate(LONGEST_LINE));
    }

    /** Reads the available bytes; replies at the end of the input, or once the line is full. */
    private static void read(SocketChannel client, ByteBuffer line) throws IOException {
        boolean more = false;
        try {
            more = client.read(line) >= 0 && line.hasRemaining();
            if (!more) {
                // The system has room for a short reply. A long reply would need an event for each
                // part that the client has taken.
                client.write(ByteBuffer.wrap(STORED));
            }
        } finally {
            if (!more) {
                client.close();
            }
        }
    }
}
