//JAVA 21+
//SOURCES Transport.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.StandardSocketOptions;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;

/**
 * A client whose pieces, sent and received, are under a test's control. Each wait has a timeout.
 */
final class Wire implements AutoCloseable {

    // Replies, repeated literally, since the text is the contract.
    static final String STORED = "Message accepted and stored:\n";
    static final String EMPTY = "Retrieving messages...\nThere is no such name\n";
    static final String TIMED_OUT = "Message declined. Timed out\n";
    static final String BUSY = "Message declined. Server is busy, try again later\n";

    private final Socket socket;

    /** Connects to {@code port} of this machine over IPv4. */
    Wire(int port) throws IOException {
        this(Transport.PLAIN, loopback(port), 0);
    }

    /**
     * Connects to {@code address}.
     *
     * @param receiveBuffer the size of the kernel's buffer for unread bytes, or 0 for the default
     */
    Wire(Transport transport, InetSocketAddress address, int receiveBuffer) throws IOException {
        socket = transport.connect(address, receiveBuffer);
    }

    /** The address of {@code port} on this machine over IPv4. */
    static InetSocketAddress loopback(int port) {
        try {
            return new InetSocketAddress(InetAddress.getByAddress(new byte[] {127, 0, 0, 1}), port);
        } catch (UnknownHostException e) {
            throw new AssertionError("four bytes are always an address", e);
        }
    }

    /** Sends {@code text} in one piece. */
    Wire send(String text) throws IOException {
        return send(text.getBytes(StandardCharsets.UTF_8));
    }

    /** Sends {@code bytes} in one piece. */
    Wire send(byte[] bytes) throws IOException {
        socket.getOutputStream().write(bytes);
        return this;
    }

    /** Sends {@code text} in pieces of one byte. */
    Wire sendByteByByte(String text) throws IOException {
        for (byte b : text.getBytes(StandardCharsets.UTF_8)) {
            socket.getOutputStream().write(b);
        }
        return this;
    }

    /** Shuts down the sending side. */
    Wire endInput() throws IOException {
        socket.shutdownOutput();
        return this;
    }

    /** All bytes until the server closes; a reset is an exception. */
    String receive() throws IOException {
        return new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    }

    /** Up to {@code count} bytes, fewer only if the server closes before. */
    byte[] receive(int count) throws IOException {
        return socket.getInputStream().readNBytes(count);
    }

    /** A reader of the reply's lines; closing the reader closes the connection. */
    BufferedReader lines() throws IOException {
        return new BufferedReader(
                new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
    }

    /** All bytes until the end of the connection, and the kind of its end. */
    Answer answer() {
        var received = new ByteArrayOutputStream();
        IOException end = null;
        try {
            InputStream in = socket.getInputStream();
            byte[] buffer = new byte[8192];
            for (int count; (count = in.read(buffer)) >= 0; ) {
                received.write(buffer, 0, count);
            }
        } catch (IOException e) {
            end = e;
        }
        return new Answer(received.toString(StandardCharsets.UTF_8), end);
    }

    /** Closes the connection with a reset. */
    void reset() throws IOException {
        socket.setOption(StandardSocketOptions.SO_LINGER, 0);
        socket.close();
    }

    @Override
    public void close() throws IOException {
        socket.close();
    }

    /**
     * Sends {@code request} like our client: in one piece, followed by the end of the sending side.
     * Returns the reply.
     */
    static String ask(int port, String request) throws IOException {
        try (Wire wire = new Wire(port)) {
            return wire.send(request).endInput().receive();
        }
    }

    /** Like {@link #ask}, for a server that may end meanwhile. */
    static Answer answer(Transport transport, int port, String request) {
        try (Wire wire = new Wire(transport, loopback(port), 0)) {
            wire.send(request).endInput();
            return wire.answer();
        } catch (IOException e) {
            return new Answer("", e);
        }
    }

    /** Like {@link #answer(Transport, int, String)}, over plain TCP. */
    static Answer answer(int port, String request) {
        return answer(Transport.PLAIN, port, request);
    }

    /**
     * The bytes that arrived over one connection, and the kind of its end.
     *
     * @param text all received bytes
     * @param end null if the server closed normally, otherwise the failure of the connection
     */
    record Answer(String text, IOException end) {

        /** Whether the reply is complete, with any content, and followed by a normal close. */
        boolean whole() {
            boolean complete =
                    text.startsWith("Retrieving messages...\n")
                            ? text.endsWith("\nNO MORE MESSAGES\n") || text.equals(EMPTY)
                            : stored() || text.matches("(Message declined\\. .+|No \\w+)\n");
            return end == null && complete;
        }

        /** Whether the server closed normally without sending a byte. */
        boolean cleanClose() {
            return end == null && text.isEmpty();
        }

        boolean stored() {
            return text.equals(STORED);
        }
    }
}
