//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.StandardSocketOptions;
import java.nio.charset.StandardCharsets;

/** A client that does, byte by byte, what a test tells it to. Whatever it waits for has a bound. */
final class Wire implements AutoCloseable {
    private static final int PATIENCE_MS = 30_000;

    private final Socket socket = new Socket();

    /** Connects to {@code port} of this machine over IPv4. */
    Wire(int port) throws IOException {
        this(new InetSocketAddress(InetAddress.getByAddress(new byte[] {127, 0, 0, 1}), port), 0);
    }

    /**
     * Connects to {@code address}.
     *
     * @param receiveBuffer how much the kernel takes for us unread, or 0 for its own choice
     */
    Wire(InetSocketAddress address, int receiveBuffer) throws IOException {
        try {
            if (receiveBuffer > 0) {
                socket.setReceiveBufferSize(receiveBuffer);
            }
            socket.setTcpNoDelay(true);
            socket.setSoTimeout(PATIENCE_MS);
            socket.connect(address, PATIENCE_MS);
        } catch (IOException e) {
            socket.close();
            throw e;
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
}
