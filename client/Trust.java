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
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashSet;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import javax.net.ssl.SSLSocket;

/**
 * Decides between TLS and plain text for one server. The choice is TLS if {@code --tls} was given
 * or the server's key is known. A server with another key receives no part of a request, and a
 * server whose key is known receives no plain text. Files in {@code .msg-client} in the user's
 * home:
 *
 * <pre>
 * key.pem          the user's own key, made on first use
 * known-servers    lines of HOST PORT KEY for accepted servers; a server's last line counts
 * </pre>
 *
 * <p>A known server is recognized by its address and port, even under another name. But if the file
 * has lines with the HOST that the user typed, only these lines count, and not the host's address.
 * Otherwise anyone who controls the DNS could point the name at another known server.
 */
final class Trust {
    /** The value of {@code --tls} without a KEY: accepts the known key, or asks the user. */
    static final String ANY = "true";

    /** A valid line of known-servers: blank, a comment, or HOST PORT KEY as groups 1 to 3. */
    private static final Pattern LINE =
            Pattern.compile(
                    "(?is)\\s*|#.*|\\[?([\\p{L}\\p{N}._:%%-]+?)[\\].]? ([1-9]\\d*) (%s)"
                            .formatted(Tls.FINGERPRINT));

    /** The file of the user's key. */
    final Path ownKey;

    private final String host;
    private final int port;
    private final String asked; // the KEY of --tls, ANY, or null without --tls
    private final Answers answers;
    private final PrintWriter out;
    private final Path servers;
    private Tls tls; // null as long as connections are plain
    private String known; // the server's key in the file, or null
    private String lines; // "line 1 and line 3": the lines of the file about the server
    private String pinned; // the only key to accept; null until the user accepts a key
    private String shown; // the server's key in the latest handshake, or null

    /**
     * Reads the known servers. Without {@code --tls}, prints a line if the choice may surprise the
     * user: TLS to a known server, or plain text although the user has a key.
     *
     * @param asked the server's key, {@link #ANY}, or null for a plain connection unless the
     *     server's key is known
     * @throws IOException with one sentence, if a file in {@code home} cannot be used
     */
    Trust(Path home, String host, int port, String asked, Answers answers, PrintWriter out)
            throws IOException {
        this.host = host.replaceAll("^\\[|\\]$|[.]$", "");
        this.port = port;
        this.asked = asked;
        this.answers = answers;
        this.out = out;
        ownKey = home.resolve(".msg-client").resolve("key.pem");
        servers = ownKey.resolveSibling("known-servers");
        if (!inTls() && !isAbsent(ownKey)) {
            out.println("No key of this server is known, so plain text is sent (see --tls).");
        }
    }

    /**
     * Whether to use TLS. If not, the next request reads known-servers again, since another client
     * may have accepted the server meanwhile.
     */
    private boolean inTls() throws IOException {
        if (tls == null) {
            readKnown();
            if (asked == null && known == null) {
                return false;
            }
            if (asked == null) {
                out.println("The key of this server is known, so TLS is used.");
            }
            pinned = asked == null || asked.equals(ANY) ? known : asked;
            tls = new Tls(ownKey, key -> (shown = key).equals(pinned));
        }
        return true;
    }

    // ---------------------------------------------------------------- known servers

    private void readKnown() throws IOException {
        boolean byName = false;
        int number = 0;
        known = null;
        lines = "";
        try {
            for (String line : text(servers).lines().toList()) {
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
     * The present addresses of {@code host}; none if the lookup fails. All addresses of this
     * machine count as one address, since a server usually listens on each of them.
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
            // Tolerated: a connection to this host would fail, too.
        }
        return addresses;
    }

    /**
     * The text of {@code file}; empty without a file. Other users may read the file, but not change
     * it.
     */
    private static String text(Path file) throws IOException {
        return isAbsent(file) ? "" : new String(OwnFiles.read(file, 022), StandardCharsets.UTF_8);
    }

    /**
     * Whether {@code file} certainly does not exist. A link without a target exists, and a file in
     * a folder without access may exist.
     */
    private static boolean isAbsent(Path file) {
        Path folder = file.toAbsolutePath().getParent();
        return Files.notExists(file, LinkOption.NOFOLLOW_LINKS)
                && (folder == null || Files.isDirectory(folder) || isAbsent(folder));
    }

    // ---------------------------------------------------------------- one connection

    /** Makes plain connections to the server. */
    interface Connector {
        Socket connect() throws IOException;
    }

    /**
     * Connects. With TLS, the server has then proven its key. If {@code --tls} is not given and no
     * key is known, the connection is plain. A new key needs two connections, since the server does
     * not wait for a person: the first one gets the key, the person compares it, and the second one
     * is for the request.
     *
     * @throws RequestException if the server has not proven the key; nothing has been sent then
     */
    Socket secure(Connector plain) throws IOException, RequestException {
        if (!inTls()) {
            return plain.connect(); // to the address found in readKnown(): Java caches it for 30 s
        }
        Socket socket = handshake(plain.connect());
        if (socket == null) {
            accept();
            socket = handshake(plain.connect());
        }
        remember(socket);
        return socket;
    }

    /** Returns null if the server has shown a key and no key is pinned yet. */
    private Socket handshake(Socket plain) throws RequestException {
        shown = null;
        try {
            SSLSocket socket = (SSLSocket) tls.sockets.createSocket(plain, host, port, true);
            Tls.configure(socket).startHandshake();
            return socket;
        } catch (IOException e) {
            OwnFiles.closeQuietly(plain);
            if (shown != null && pinned == null) {
                return null;
            }
            if (String.valueOf(e.getMessage()).startsWith("(internal_error)")) { // see docs/tls.md
                throw new RequestException("The server refused: " + Protocol.Refusal.BUSY.text, e);
            }
            boolean stranger = shown != null && !shown.equals(pinned);
            String sentence =
                    stranger
                            ? "%1$s port %2$d shows the key %3$s instead of %4$s, and nothing was"
                                  + " sent. Either it was set up anew, or another server answers in"
                                  + " its place: ask its operator, not through this server, for the"
                                  + " key that it printed."
                            : "%1$s port %2$d does not answer in TLS, and nothing was sent: %5$s."
                                    + " Was it started with --tls? If not, see docs/tls.md.";
            if (stranger && pinned.equals(known)) {
                sentence +=
                        " If that is the new key, delete %6$s of %7$s and start again with --tls.";
            }
            throw new RequestException(
                    sentence.formatted(host, port, shown, pinned, e.getMessage(), lines, servers),
                    e);
        }
    }

    private void accept() throws RequestException {
        out.println("This server is new here. Its key is " + shown + ".");
        String answer = "no"; // from a pipe, and after Ctrl+C
        try {
            String question = "Is that what the server printed? (yes/no) ";
            answer = answers.person() ? answers.ask(question) : answer;
        } catch (IOException e) {
            // Tolerated: the answer stays no.
        }
        if (!answer.strip().matches("(?i)y|yes")) {
            String sentence =
                    "The server is not trusted, and nothing was sent. In a script, give --tls the"
                            + " key that the server printed.";
            throw new RequestException(sentence, null);
        }
        pinned = shown;
    }

    /** Adds a new key to the file: a line with the server's name and a line with its address. */
    private void remember(Socket socket) throws RequestException {
        if (pinned.equals(known)) {
            return;
        }
        String address = socket.getInetAddress().getHostAddress();
        String line = " " + port + " " + pinned + "\n";
        try {
            append(host + line + (address.equals(host) ? "" : address + line));
            readKnown();
            out.println(
                    "A name is yours if your key is the first to use it. Keep a copy of " + ownKey);
        } catch (IOException e) {
            OwnFiles.closeQuietly(socket);
            String sentence = "Cannot write the server's key into %s, and nothing was sent: %s";
            throw new RequestException(sentence.formatted(servers, OwnFiles.reason(e)), e);
        }
    }

    /** Appends {@code lines} to known-servers in one write, after a line end if one is missing. */
    private void append(String lines) throws IOException {
        String text = text(servers);
        String begin = text.isEmpty() || text.endsWith("\n") ? "" : "\n";
        var options = Set.of(StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        try (var file = Files.newByteChannel(servers, options, OwnFiles.only("rw-------"))) {
            file.write(ByteBuffer.wrap((begin + lines).getBytes(StandardCharsets.UTF_8)));
        }
    }
}
