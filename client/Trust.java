//JAVA 21+
//SOURCES Answers.java
//SOURCES RequestException.java
//SOURCES ../common/Tls.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static java.util.Collections.disjoint;

import java.io.IOException;
import java.io.PrintWriter;
import java.net.InetAddress;
import java.net.NetworkInterface;
import java.net.Socket;
import java.net.SocketException;
import java.net.UnknownHostException;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import javax.net.ssl.SSLSocket;

/**
 * How to speak with one server: in TLS, when its key was given or is known, or a person accepts it.
 * Nothing of a request goes to a server with another key, and no plain text to one that is known.
 * Kept in {@code .msg-client} in the user's home:
 *
 * <pre>
 * key.pem          the user's own key, made on first use
 * known-servers    HOST PORT KEY, a line for each acceptance; of several for one the last counts
 * </pre>
 *
 * <p>A server is the same at the same address and port, whatever it is called. A name with a line
 * of its own keeps to that line, wherever it leads: else whoever can answer for a name could put
 * another known server in its place.
 */
final class Trust {
    /** {@code --tls} without a key: the known one, or one that the user accepts. */
    static final String ANY = "true";

    /** A line of known servers: blank, a comment, or all of it to be seen. */
    private static final Pattern LINE =
            Pattern.compile(
                    "(?is)\\s*|#.*|\\[?([\\p{L}\\p{N}._:%%-]+?)[\\].]? ([1-9]\\d*) (%s)"
                            .formatted(Tls.FINGERPRINT));

    private final String host;
    private final int port;
    private final String asked; // the key of --tls, ANY, or null
    private final Answers answers;
    private final PrintWriter out;
    private final Path ownKey;
    private final Path servers;
    private Tls tls; // null as long as plain connections are made
    private String known; // the server's key in the file, or null
    private String lines; // of the file, which are about the server
    private String trusted; // the key to go on with, or null until the user has accepted one
    private String shown; // by the server, in the handshake under way

    /**
     * Decides as {@code --tls} asks for, and says what the user did not ask for.
     *
     * @param key the server's, {@link #ANY} for the one that is known or the user accepts, or null
     *     for plain connections, which a server with a known key does not get
     * @throws IOException with one sentence, when a file in {@code home} cannot be used
     */
    Trust(Path home, String host, int port, String key, Answers answers, PrintWriter out)
            throws IOException {
        this.host = host.replaceAll("^\\[|\\]$|[.]$", "");
        this.port = port;
        this.asked = key;
        this.answers = answers;
        this.out = out;
        ownKey = home.resolve(".msg-client").resolve("key.pem");
        servers = ownKey.resolveSibling("known-servers");
        if (!inTls() && !OwnFiles.isAbsent(ownKey)) {
            out.println("No key of this server is known, so plain text is sent (see --tls).");
        }
    }

    /** Whether to speak TLS. Looks again as long as the answer is no: another client may accept. */
    private boolean inTls() throws IOException {
        if (tls == null) {
            readKnown();
            trusted = asked == null || asked.equals(ANY) ? known : asked;
            boolean plain = asked == null && known == null;
            tls = plain ? null : new Tls(ownKey, key -> (shown = key).equals(trusted));
            if (asked == null && known != null) {
                out.println("The key of this server is known, so TLS is used.");
            }
        }
        return tls != null;
    }

    // ---------------------------------------------------------------- known servers

    private void readKnown() throws IOException {
        boolean byName = false;
        int number = 0;
        known = null;
        lines = "";
        try {
            for (String line : OwnFiles.text(servers).lines().toList()) {
                number++;
                Matcher parts = LINE.matcher(line);
                if (!parts.matches()) {
                    throw new IOException(
                            "line " + number + " is not HOST PORT KEY; mend or delete it");
                }
                boolean named = host.equalsIgnoreCase(parts.group(1));
                if (String.valueOf(port).equals(parts.group(2))
                        && (named || !disjoint(addresses(parts.group(1)), addresses(host)))) {
                    String key = Tls.parseFingerprint(parts.group(3));
                    known = named || !byName ? key : known;
                    byName |= named;
                    lines += (lines.isEmpty() ? "line " : " and line ") + number;
                }
            }
        } catch (IOException e) {
            String sentence = "Cannot tell which servers are known: %s: %s.";
            throw new IOException(sentence.formatted(servers, OwnFiles.reason(e)), e);
        }
    }

    /**
     * Where {@code host} is now; nowhere, if nobody can tell. All of this machine's own addresses
     * are one, since a server usually listens on each of them.
     */
    private static Set<InetAddress> addresses(String host) throws SocketException {
        Set<InetAddress> addresses = new HashSet<>();
        try {
            for (InetAddress each : InetAddress.getAllByName(host)) {
                boolean own = each.isAnyLocalAddress() || each.isLoopbackAddress();
                own |= NetworkInterface.getByInetAddress(each) != null;
                addresses.add(own ? InetAddress.getLoopbackAddress() : each);
            }
        } catch (UnknownHostException e) {
            // Nowhere: nothing can be sent there, either.
        }
        return addresses;
    }

    // ---------------------------------------------------------------- one connection

    /** Makes plain connections to the server. */
    interface Connector {
        Socket connect() throws IOException;
    }

    /**
     * A connection on which the server has proven its key, or a plain one to a server that is not
     * known. A person is asked for an unknown key between two connections, since the server would
     * not wait that long.
     *
     * @throws RequestException when it has not; then nothing has been sent
     */
    Socket secure(Connector plain) throws IOException, RequestException {
        if (!inTls()) {
            return plain.connect(); // where it was just looked for: Java keeps addresses for 30 s
        }
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
                                    + " place: ask who runs it, by another way than this server,"
                                    + " for the key that it printed."
                            : "%1$s port %2$d does not answer in TLS, and nothing was sent: %5$s."
                                    + " Was it started with --tls? If not, see docs/tls.md.";
            if (stranger && trusted.equals(known)) {
                sentence +=
                        " If that is the new one, delete %6$s of %7$s and start again with --tls.";
            }
            String reason = Protocol.visible(String.valueOf(e.getMessage()));
            throw new RequestException(
                    sentence.formatted(host, port, shown, trusted, reason, lines, servers), e);
        }
    }

    private void accept() throws RequestException {
        out.println("This server is new here. Its key is " + shown + ".");
        String answer = "no"; // of a pipe, and of Ctrl+C, which leads back to the menu
        try {
            String question = "Is that what the server printed? (yes/no) ";
            answer = answers.person() ? answers.ask(question) : answer;
        } catch (IOException e) {
            // Tolerated: it is no answer.
        }
        if (!answer.strip().matches("(?i)y|yes")) {
            String sentence =
                    "That server is not trusted, and nothing was sent. A script starts with --tls"
                            + " and the key that the server printed.";
            throw new RequestException(sentence, null);
        }
        trusted = shown;
    }

    private void remember(Socket socket) throws RequestException {
        if (trusted.equals(known)) {
            return;
        }
        String address = socket.getInetAddress().getHostAddress();
        String line = " " + port + " " + trusted + "\n";
        try {
            OwnFiles.append(servers, host + line + (address.equals(host) ? "" : address + line));
            readKnown();
            out.println(
                    "A name is yours if your key is the first to use it. Keep a copy of " + ownKey);
        } catch (IOException e) {
            OwnFiles.closeQuietly(socket);
            String sentence = "Cannot write the server's key into %s, and nothing was sent: %s";
            throw new RequestException(sentence.formatted(servers, OwnFiles.reason(e)), e);
        }
    }

    // ---------------------------------------------------------------- telling the user

    /** What a user can do about a name that belongs to another key. */
    String advice() {
        String sentence =
                ". Copy the key that used the name first to %s, or ask who runs the server.";
        return sentence.formatted(ownKey);
    }
}
