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

/** A client that does, byte by byte, what a test tells it to. Whatever it waits for has a bound. */
final class Wire implements AutoCloseable {

    // Replies as they come, to be compared with: the text is the contract.
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
     * @param receiveBuffer how much the kernel takes for us unread, or 0 for its own choice
     */
    Wire(Transport transport, InetSocketAddress address, int receiveBuffer) throws IOException {
        socket = transport.connect(address, receiveBuffer);
    }

    /** {@code port} of this machine over IPv4. */
    static InetSocketAddress loopback(int port) {
        try {
            return new InetSocketAddress(InetAddress.getByAddress(new byte[] {127, 0, 0, 1}), port);
        } catch (UnknownHostException e) {
            throw new AssertionError("four bytes are an address", e);
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

    /** All that comes until the server closes; a reset is an exception. */
    String receive() throws IOException {
        return new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    }

    /** Up to {@code count} bytes, fewer only where the server closes before. */
    byte[] receive(int count) throws IOException {
        return socket.getInputStream().readNBytes(count);
    }

    /** What comes, line by line; to close it closes the connection. */
    BufferedReader lines() throws IOException {
        return new BufferedReader(
                new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
    }

    /** All that comes, and how it ended. */
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

    /** Closes with a reset instead of a goodbye. */
    void reset() throws IOException {
        socket.setOption(StandardSocketOptions.SO_LINGER, 0);
        socket.close();
    }

    @Override
    public void close() throws IOException {
        socket.close();
    }

    /** The reply to {@code request}, sent as our client does: in one piece, then half-closed. */
    static String ask(int port, String request) throws IOException {
        try (Wire wire = new Wire(port)) {
            return wire.send(request).endInput().receive();
        }
    }

    /** As {@link #ask}, of a server that may be on its way out. */
    static Answer answer(Transport transport, int port, String request) {
        try (Wire wire = new Wire(transport, loopback(port), 0)) {
            wire.send(request).endInput();
            return wire.answer();
        } catch (IOException e) {
            return new Answer("", e);
        }
    }

    /** As {@link #answer(Transport, int, String)}, over plain TCP. */
    static Answer answer(int port, String request) {
        return answer(Transport.PLAIN, port, request);
    }

    /**
     * What came back over one connection.
     *
     * @param text all that was received
     * @param end null when the server closed as it should, otherwise how the connection failed
     */
    record Answer(String text, IOException end) {

        /** A reply that is complete, whatever it says, followed by a clean close. */
        boolean whole() {
            boolean complete =
                    text.startsWith("Retrieving messages...\n")
                            ? text.endsWith("\nNO MORE MESSAGES\n") || text.equals(EMPTY)
                            : stored() || text.matches("(Message declined\\. .+|No \\w+)\n");
            return end == null && complete;
        }

        /** Closed by the server without a byte. */
        boolean cleanClose() {
            return end == null && text.isEmpty();
        }

        boolean stored() {
            return text.equals(STORED);
        }
    }
}
