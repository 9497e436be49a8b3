///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Menu client of the message server: send a message, read your messages
//JAVA 21+
//DEPS info.picocli:picocli:4.7.7
//SOURCES Protocol.java
//SOURCES client/ClientCommand.java
//SOURCES client/RequestException.java
//SOURCES client/Trust.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror
//RUNTIME_OPTIONS -Djdk.console=java.base -XX:+UseSerialGC -XX:TieredStopAtLevel=1
// The collector and the compiler are those that start fastest: 138 ms within Java to the menu
// instead of 156. The console is null unless a person sits at a terminal.

import java.io.BufferedInputStream;
import java.io.EOFException;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ProtocolException;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.net.UnknownHostException;
import java.time.Duration;
import java.util.function.Consumer;

/**
 * The message client. It asks the user first and connects last, with a connection for each request:
 *
 * <pre>
 * ClientCommand    reads HOST, PORT and --user
 *   Menu           asks what a request needs        &lt;- Answers: a pipe's lines, or a Screen
 *     MsgClient    connects, sends the request, reads the reply, closes
 * </pre>
 *
 * <p>The request is sent in one write without a line end, and then the sending side is shut down:
 * this server and the classic C server both take that as a whole request. One request at a time.
 */
public final class MsgClient {

    private static final Duration CONNECT_TIMEOUT = Duration.ofSeconds(5);

    /** For a reply to begin with a message or to end, and then for each of its messages. */
    static final Duration READ_TIMEOUT = Duration.ofSeconds(10);

    private final String host;
    private final int port;
    private final Trust trust; // null: plain connections
    private long deadline; // of what is being read

    /** A client of the server at {@code host}, a name or an address; {@code trust} may be null. */
    MsgClient(String host, int port, Trust trust) {
        this.host = host;
        this.port = port;
        this.trust = trust;
    }

    // ---------------------------------------------------------------- one request

    /**
     * Puts a message into a mailbox; returns when the server says that it is stored.
     *
     * @throws RequestException when it is not, or when nobody can tell
     */
    public void store(String recipient, String sender, String message) throws RequestException {
        ask(new Protocol.Store(recipient, sender, message), mail -> {});
    }

    /**
     * Gives each message of a mailbox to {@code mail} as it comes.
     *
     * @return how many there were
     * @throws RequestException when not all of them came
     */
    public long fetch(String recipient, Consumer<Protocol.Store> mail) throws RequestException {
        return ask(new Protocol.Fetch(recipient), mail);
    }

    private long ask(Protocol.Request request, Consumer<Protocol.Store> mail)
            throws RequestException {
        String doubt = "";
        try (Socket socket = trust == null ? connect() : trust.secure(this::connect)) {
            if (request instanceof Protocol.Store) {
                doubt = "; the message may or may not be stored";
            }
            socket.getOutputStream().write(request.bytes());
            socket.shutdownOutput();
            InputStream in = new BufferedInputStream(socket.getInputStream());
            return switch (Protocol.readReply(in, mail.andThen(shown -> extendDeadline()))) {
                case Protocol.Stored stored when request instanceof Protocol.Store -> 1;
                case Protocol.Mailbox mailbox when request instanceof Protocol.Fetch ->
                        mailbox.count();
                case Protocol.Refused(var text) -> throw refused(text);
                default -> throw new ProtocolException("not a reply to this request");
            };
        } catch (IOException e) {
            throw new RequestException(failure(e, doubt), e);
        }
    }

    private RequestException refused(String text) {
        boolean plain = text.equals(Protocol.Refusal.TLS_ONLY.text());
        boolean stranger = text.equals(Protocol.Refusal.NOT_THE_OWNER.text()) && trust != null;
        String advice = plain ? ". Start with --tls." : stranger ? trust.advice() : "";
        return new RequestException("The server refused: " + text + advice, null);
    }

    private String failure(IOException e, String doubt) {
        String server = host + " port " + port;
        return switch (e) {
            case UnknownHostException unknown -> "There is no host called " + host + ".";
            case ConnectException refused ->
                    "No server answers at %s. To start one there: %s %d"
                            .formatted(server, Program.started("MsgServer.java"), port);
            case SocketTimeoutException timeout ->
                    "The server at " + server + " did not answer in time" + doubt + ".";
            case EOFException end -> "The server's reply was cut off" + doubt + ".";
            default -> "The connection to " + server + " failed" + doubt + ": " + e.getMessage();
        };
    }

    /** What {@code user} types to run this client for the same server. */
    String command(String user) {
        boolean plain = user.matches("\\w[\\w.]*");
        String quoted = plain ? user : "'" + user.replace("'", "'\\''") + "'";
        return Program.started("MsgClient.java") + " %s %d --user=%s".formatted(host, port, quoted);
    }

    // ---------------------------------------------------------------- connecting

    /** Tries each address of the host: {@code localhost} has two, and a C server listens on one. */
    private Socket connect() throws IOException {
        IOException failure = null;
        for (InetAddress address : InetAddress.getAllByName(host)) {
            Socket socket = new TimedSocket();
            try {
                socket.connect(
                        new InetSocketAddress(address, port), (int) CONNECT_TIMEOUT.toMillis());
                extendDeadline();
                return socket;
            } catch (IOException e) {
                socket.close();
                failure = e;
            }
        }
        throw failure;
    }

    private void extendDeadline() {
        deadline = System.nanoTime() + READ_TIMEOUT.toNanos();
    }

    /** Reads until the deadline, however the bytes drip; TLS reads through it, too. */
    private final class TimedSocket extends Socket {
        @Override
        public InputStream getInputStream() throws IOException {
            return new FilterInputStream(super.getInputStream()) {
                @Override
                public int read(byte[] bytes, int from, int length) throws IOException {
                    long millis = (deadline - System.nanoTime()) / 1_000_000;
                    if (millis <= 0) {
                        throw new SocketTimeoutException("Read timed out");
                    }
                    setSoTimeout((int) millis);
                    return super.read(bytes, from, length);
                }
            };
        }
    }

    /** Runs the command and ends the process with its exit code. */
    public static void main(String... args) {
        System.exit(Program.commandLine(new ClientCommand(), "MsgClient.java").execute(args));
    }
}
