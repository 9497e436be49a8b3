///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Menu client of the message server: send a message, read your messages
//JAVA 21+
//DEPS info.picocli:picocli:4.7.7
//SOURCES client/ClientCommand.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror
//RUNTIME_OPTIONS -Djdk.console=java.base -XX:+UseSerialGC -XX:TieredStopAtLevel=1
// This collector and this compiler start fastest: Java shows the menu after 138 ms instead of 156.
// With the console of java.base, System.console() is null unless a person sits at a terminal.

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
 * The message client: it asks the user for a whole request, then makes a connection to send it.
 *
 * <pre>
 * ClientCommand    reads HOST, PORT and the options
 *   Menu           asks the user for a request      &lt;- Answers: lines of a pipe, or a Prompt
 *     MsgClient    connects, sends the request, reads the reply, closes
 *       Trust      decides between TLS and plain text, and checks the server's key
 * </pre>
 *
 * <p>The client sends a request in one write without a line end, then shuts down its sending side.
 * This server and the classic C server both accept this as a whole request. One thread does all the
 * work.
 */
public final class MsgClient {

    private static final Duration CONNECT_TIMEOUT = Duration.ofSeconds(5);

    /** The time limit for a reply; it starts again with each message of a mailbox. */
    static final Duration READ_TIMEOUT = Duration.ofSeconds(10);

    private final String host;
    private final int port;
    private final Trust trust; // null: connections are plain
    private long deadline; // the System.nanoTime() at which a read gives up

    /**
     * A client of one server.
     *
     * @param host a name, an IPv4 address or an IPv6 address
     * @param trust decides between TLS and plain text; null for plain text always
     */
    MsgClient(String host, int port, Trust trust) {
        this.host = host;
        this.port = port;
        this.trust = trust;
    }

    // ---------------------------------------------------------------- one request

    /**
     * Puts a message into a mailbox; returns when the server has acknowledged it.
     *
     * @throws RequestException if the server refuses the message, or no whole reply arrives
     */
    public void store(String recipient, String sender, String message) throws RequestException {
        ask(new Protocol.Store(recipient, sender, message), mail -> {});
    }

    /**
     * Gives each message of a mailbox to {@code mail} as it arrives.
     *
     * @return the number of messages
     * @throws RequestException if the server refuses the request, or no whole reply arrives
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
        String advice = text.equals(Protocol.Refusal.TLS_ONLY.text) ? ". Start with --tls." : "";
        if (text.equals(Protocol.Refusal.NOT_THE_OWNER.text) && trust != null) {
            String key = ". Copy to %s the key that first used the name, or ask the operator.";
            advice = key.formatted(trust.ownKey);
        }
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

    /** The shell command that runs this client as {@code user} for the same server. */
    String command(String user) {
        String quoted = user.replace("'", "'\\''");
        String client = Program.started("MsgClient.java");
        return "%s %s %d --user='%s'".formatted(client, host, port, quoted);
    }

    // ---------------------------------------------------------------- connecting

    /**
     * Tries each address of the host. For example, localhost has an IPv6 and an IPv4 address, and a
     * C server listens on one of them only.
     */
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

    /**
     * A socket whose reads end at the deadline. The timeout of a plain socket covers one read, so a
     * server that sends single bytes slowly would never exceed it. TLS reads through this stream,
     * too.
     */
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
