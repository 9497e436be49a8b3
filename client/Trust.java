//JAVA 21+
//SOURCES Answers.java
//SOURCES RequestException.java
//SOURCES ../common/Tls.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.io.PrintWriter;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;

import javax.net.ssl.SSLSocket;

/**
 * TLS with one server, whose key is the one that was given, or that the user has accepted before;
 * with any other, nothing of a request leaves. Kept in {@code .msg-client} in the user's home:
 *
 * <pre>
 * key.pem          the user's own key, made on first use
 * known-servers    HOST PORT KEY, a line for each acceptance; of several for one the last counts
 * </pre>
 */
final class Trust {
    /** {@code --tls} without a key: the known one, or one that the user accepts. */
    static final String ANY = "true";

    private static final String KNOWN_SERVERS = "known-servers";

    private final String host;
    private final int port;
    private final Answers answers;
    private final PrintWriter out;
    private final Path folder;
    private final Tls tls;
    private String known; // the server's key as the file has it, or null
    private String trusted; // the key to go on with, or null until the user has accepted one
    private String shown; // by the server, in the handshake under way
    private boolean unsaid; // that the name belongs to the user's key

    private Trust(Path folder, String host, int port, Answers answers, PrintWriter out)
            throws IOException {
        this.folder = folder;
        this.host = host;
        this.port = port;
        this.answers = answers;
        this.out = out;
        known = known(folder, host, port);
        tls = new Tls(folder.resolve("key.pem"), key -> (shown = key).equals(trusted));
    }

    /**
     * What {@code --tls} asks for.
     *
     * @param key the server's, {@link #ANY} for the one that is known or the user accepts, or null
     *     for plain connections, which a server with a known key does not get
     * @return null for plain connections
     * @throws IOException with one sentence, when a file in {@code home} cannot be used
     */
    static Trust of(Path home, String host, int port, String key, Answers answers, PrintWriter out)
            throws IOException {
        Path folder = home.resolve(".msg-client");
        if (key == null) {
            if (known(folder, host, port) == null) {
                return null;
            }
            out.println("The key of this server is known, so TLS is used.");
        }
        Trust trust = new Trust(folder, host, port, answers, out);
        trust.trusted = key == null || key.equals(ANY) ? trust.known : key;
        return trust;
    }

    private static String known(Path folder, String host, int port) throws IOException {
        Path file = folder.resolve(KNOWN_SERVERS);
        String key = null;
        try {
            for (String line : Files.exists(file) ? Files.readAllLines(file) : List.<String>of()) {
                String[] parts = line.split(" ");
                String found = Tls.parseFingerprint(parts[parts.length - 1]);
                if (line.equalsIgnoreCase(host + " " + port + " " + found)) {
                    key = found;
                }
            }
            return key;
        } catch (IOException | IllegalArgumentException e) {
            String sentence =
                    "Cannot tell which servers are known: %s should hold lines of HOST PORT KEY,"
                            + " but %s. Mend or delete what is wrong there.";
            throw new IOException(sentence.formatted(file, e.getMessage()), e);
        }
    }

    // ---------------------------------------------------------------- one connection

    /** Makes plain connections to the server. */
    interface Connector {
        Socket connect() throws IOException;
    }

    /**
     * A connection on which the server has proven its key. A person is asked for an unknown key
     * between two connections, since the server would not wait that long.
     *
     * @throws RequestException when it has not; then nothing has been sent
     */
    Socket secure(Connector plain) throws IOException, RequestException {
        Socket socket = handshake(plain.connect());
        if (socket == null) {
            accept();
            socket = handshake(plain.connect());
        }
        remember(socket);
        return socket;
    }

    /** Null when the server has shown a key, and there is none yet to compare it with. */
    private Socket handshake(Socket plain) throws RequestException {
        shown = null;
        try {
            SSLSocket socket = (SSLSocket) tls.sockets().createSocket(plain, host, port, true);
            Tls.configure(socket).startHandshake();
            return socket;
        } catch (IOException e) {
            OwnFiles.closeQuietly(plain);
            if (shown != null && trusted == null) {
                return null;
            }
            boolean stranger = shown != null && !shown.equals(trusted);
            String sentence =
                    stranger
                            ? "%1$s port %2$d shows the key %3$s instead of %4$s, and nothing was"
                                    + " sent. Either it was set up anew, or another answers in its"
                                    + " place: ask who runs it, and if that key is right, start"
                                    + " once with --tls %3$s."
                            : "%1$s port %2$d does not answer in TLS, and nothing was sent: %5$s."
                                    + " Was it started with --tls? If not, see docs/tls.md.";
            throw new RequestException(
                    sentence.formatted(host, port, shown, trusted, e.getMessage()), e);
        }
    }

    private void accept() throws RequestException {
        if (!answers.person()) {
            String sentence =
                    "This server is new here, with the key %s, and nothing was sent. If that is"
                            + " what it printed at its start, start with --tls %1$s.";
            throw new RequestException(sentence.formatted(shown), null);
        }
        out.println("This server is new here. Its key is " + shown + ".");
        String answer;
        try {
            answer = answers.ask("Is that what the server printed? (yes/no) ");
        } catch (IOException e) {
            answer = "no"; // so is Ctrl+C, which leads back to the menu
        }
        if (!answer.strip().equalsIgnoreCase("yes")) {
            throw new RequestException("That server is not trusted, and nothing was sent.", null);
        }
        trusted = shown;
    }

    private void remember(Socket socket) throws RequestException {
        if (trusted.equals(known)) {
            return;
        }
        Path file = folder.resolve(KNOWN_SERVERS);
        String line = host + " " + port + " " + trusted + "\n";
        try {
            Files.writeString(file, line, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        } catch (IOException e) {
            OwnFiles.closeQuietly(socket);
            String sentence = "Cannot write the server's key into %s, and nothing was sent: %s";
            throw new RequestException(sentence.formatted(file, e), e);
        }
        known = trusted;
        unsaid = true;
    }

    // ---------------------------------------------------------------- telling the user

    /** Says, once for each key that was remembered, whose {@code name} is after it was used. */
    void used(String name) {
        if (unsaid) {
            unsaid = false;
            out.printf(
                    "The name %s now belongs to your key, in %s. Keep a copy.%n",
                    Protocol.visible(name), folder.resolve("key.pem"));
        }
    }

    /** What a user can do about a name that belongs to another key. */
    String advice() {
        return ". Copy the key from the machine that used the name first to "
                + folder.resolve("key.pem")
                + ", or ask who runs the server.";
    }
}
