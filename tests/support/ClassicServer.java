//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;

/**
 * Behaves on the wire like the classic C server. One read of at most 128 bytes is the request. Its
 * fields are those of strtok, which merges adjacent {@code ;}. A mailbox ends without LF.
 */
final class ClassicServer implements AutoCloseable {
    private final ServerSocket listening;
    private final Map<String, String> mailboxes = new ConcurrentHashMap<>();

    /** Serves on a free port of loopback; each connection has a thread. */
    ClassicServer() throws IOException {
        listening = new ServerSocket(0, 5, InetAddress.getByName("127.0.0.1"));
        Thread.ofPlatform().daemon().start(this::accept);
    }

    int port() {
        return listening.getLocalPort();
    }

    @Override
    public void close() throws IOException {
        listening.close();
    }

    private void accept() {
        try {
            while (true) {
                Socket client = listening.accept();
                Thread.ofVirtual().start(() -> serve(client));
            }
        } catch (IOException e) {
            // The server is closed at the end of the test.
        }
    }

    private void serve(Socket client) {
        try (client) {
            byte[] buffer = new byte[128];
            int count = Math.max(0, client.getInputStream().read(buffer));
            String request = new String(buffer, 0, count, StandardCharsets.UTF_8);
            List<String> fields = Stream.of(request.split(";")).filter(f -> !f.isEmpty()).toList();
            client.getOutputStream().write(reply(fields).getBytes(StandardCharsets.UTF_8));
        } catch (IOException e) {
            // The client has left.
        }
    }

    private String reply(List<String> fields) {
        if (fields.size() < 2) {
            return fields.isEmpty() ? "No verb\n" : "No reciever\n";
        }
        return switch (fields.get(0)) {
            case "fetch" -> "Retrieving messages...\n" + mail(fields.get(1));
            case "store" -> store(fields);
            default -> "Message declined. Bad verb\n";
        };
    }

    private String store(List<String> fields) {
        if (fields.size() < 4) {
            return fields.size() < 3 ? "No sender\n" : "No message\n";
        }
        String line = String.join(";", fields.subList(1, 4)) + "\n";
        mailboxes.merge(fields.get(1), line, String::concat);
        return "Message accepted and stored:\n";
    }

    private String mail(String recipient) {
        String mail = mailboxes.get(recipient);
        return mail == null ? "There is no such name" : mail + "NO MORE MESSAGES";
    }
}
