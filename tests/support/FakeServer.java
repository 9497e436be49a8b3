//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.stream.Stream;

/** A server on loopback that serves one connection after the other as a test tells it to. */
final class FakeServer implements AutoCloseable {
    /** What a fake server does with one connection, which is closed afterwards. */
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
                            // Tolerated: the client may leave, and the test end.
                        }
                    }
                });
    }

    /** Reads a request to its end, keeps it, and answers {@code reply}. */
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

    /**
     * The classic C server's behaviour on the wire: one read of at most 128 bytes is the request,
     * its fields are what strtok finds, replies to a fetch end without a newline.
     */
    static FakeServer classic() throws IOException {
        Map<String, StringBuilder> mailboxes = new LinkedHashMap<>();
        return new FakeServer(socket -> {
            byte[] buffer = new byte[128];
            int count = socket.getInputStream().read(buffer);
            String request = new String(buffer, 0, Math.max(0, count), StandardCharsets.UTF_8);
            List<String> fields = Stream.of(request.split(";")).filter(f -> !f.isEmpty()).toList();
            socket.getOutputStream()
                    .write(classicReply(fields, mailboxes).getBytes(StandardCharsets.UTF_8));
        });
    }

    private static String classicReply(List<String> fields, Map<String, StringBuilder> mailboxes) {
        if (fields.isEmpty()) {
            return "No verb\n";
        }
        if (fields.size() < 2) {
            return "No reciever\n";
        }
        if (fields.get(0).equals("fetch")) {
            StringBuilder mailbox = mailboxes.get(fields.get(1));
            return "Retrieving messages...\n"
                    + (mailbox == null ? "There is no such name" : mailbox + "NO MORE MESSAGES");
        }
        if (!fields.get(0).equals("store")) {
            return "Message declined. Bad verb\n";
        }
        if (fields.size() < 3) {
            return "No sender\n";
        }
        if (fields.size() < 4) {
            return "No message\n";
        }
        mailboxes
                .computeIfAbsent(fields.get(1), name -> new StringBuilder())
                .append(String.join(";", fields.subList(1, 4)))
                .append('\n');
        return "Message accepted and stored:\n";
    }

    /** Holds a port of loopback on which nobody listens, and nobody else can. */
    static Socket deadPort() throws IOException {
        Socket holder = new Socket();
        holder.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
        return holder;
    }
}
