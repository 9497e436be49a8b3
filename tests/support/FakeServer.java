//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.ConcurrentLinkedQueue;

/** A server on loopback that serves one connection after the other with the test's code. */
final class FakeServer implements AutoCloseable {
    /** The test's code for one connection; the server closes the connection afterwards. */
    @FunctionalInterface
    interface Conversation {
        void on(Socket socket) throws IOException;
    }

    private final ServerSocket listener;
    final ConcurrentLinkedQueue<String> requests = new ConcurrentLinkedQueue<>();

    FakeServer(Conversation conversation) throws IOException {
        this("127.0.0.1", conversation);
    }

    FakeServer(String address, Conversation conversation) throws IOException {
        listener = new ServerSocket(0, 50, InetAddress.getByName(address));
        Thread.ofVirtual()
                .start(() -> {
                    while (!listener.isClosed()) {
                        try (Socket socket = listener.accept()) {
                            conversation.on(socket);
                        } catch (IOException e) {
                            // Tolerated: the client may leave, and the test may end.
                        }
                    }
                });
    }

    /** Reads a whole request, records it, and replies {@code reply}. */
    static FakeServer answering(String reply) throws IOException {
        FakeServer[] self = new FakeServer[1];
        self[0] =
                new FakeServer(socket -> {
                    byte[] request = socket.getInputStream().readAllBytes();
                    self[0].requests.add(new String(request, StandardCharsets.UTF_8));
                    socket.getOutputStream().write(reply.getBytes(StandardCharsets.UTF_8));
                });
        return self[0];
    }

    int port() {
        return listener.getLocalPort();
    }

    @Override
    public void close() throws IOException {
        listener.close();
    }

    /** Occupies a port of loopback without listening, so that no other program can listen there. */
    static Socket deadPort() throws IOException {
        Socket holder = new Socket();
        holder.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
        return holder;
    }
}
