//JAVA 21+
//SOURCES Connection.java
//SOURCES ../common/Tls.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.ByteArrayInputStream;
import java.io.FilterInputStream;
import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketImpl;
import java.net.SocketTimeoutException;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.time.Duration;

import javax.net.ssl.SSLSocket;

/**
 * A connection inside TLS, with the deadlines of a plain connection. Only LF or close_notify ends a
 * request. A client for which there is no place gets an alert, and a client that does not speak TLS
 * gets a plain refusal. The client proves its key in the handshake.
 *
 * <pre>  readRequest()  -->  SSLSocket  -->  Raw  -->  Connection: the channel and its deadlines
 * </pre>
 */
final class TlsConnection extends Connection {
    /** A TLS handshake begins with this byte (RFC 8446, section 5.1); no plain request does. */
    private static final byte HANDSHAKE = 0x16;

    /**
     * Reply to a client for which there is no place: a fatal alert, internal_error (RFC 8446,
     * section 6), since no text can be sent before a handshake.
     */
    static final byte[] BUSY = {0x15, 3, 3, 0, 2, 2, 80};

    private final Tls tls;
    private SSLSocket socket; // null before the handshake and after close_notify
    private long deadline; // for the read under way

    /** As {@link Connection}, with the server's key from {@code tls}. */
    TlsConnection(SocketChannel channel, Duration timeout, Tls tls) throws IOException {
        super(channel, timeout);
        // Without this option the kernel delays small pieces of a handshake by 40 ms (Nagle's
        // algorithm, RFC 896).
        channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
        this.tls = tls;
    }

    /** Reads one byte before the handshake, so that a client without TLS gets a plain reply. */
    @Override
    void begin(long deadline) throws IOException, Protocol.RefusedException {
        this.deadline = deadline;
        ByteBuffer first = ByteBuffer.allocate(1);
        try {
            if (super.read(first, deadline) < 0 || first.get(0) != HANDSHAKE) {
                throw new Protocol.RefusedException(Protocol.Refusal.TLS_ONLY);
            }
        } catch (SocketTimeoutException e) {
            throw new Protocol.RefusedException(Protocol.Refusal.TIMED_OUT);
        }
        try {
            InputStream consumed = new ByteArrayInputStream(first.array());
            socket = (SSLSocket) tls.sockets.createSocket(new Raw(), consumed, false);
            Tls.configure(socket).startHandshake();
            clientKey = Tls.id(socket.getSession().getPeerCertificates()[0]);
        } catch (IOException e) {
            // TLS wraps a read's exception; the wrapper's message only names a method.
            IOException cause = e.getCause() instanceof IOException read ? read : e;
            String reason =
                    e instanceof SocketTimeoutException ? "it took too long" : cause.getMessage();
            throw new IOException("the TLS handshake failed: " + reason, e);
        }
    }

    @Override
    int read(ByteBuffer into, long deadline) throws IOException {
        if (socket == null) {
            return super.read(into, deadline);
        }
        this.deadline = deadline;
        return socket.getInputStream().read(into.array(), into.position(), into.remaining());
    }

    /** Writes inside TLS, except to a client that does not speak TLS. */
    @Override
    void write(ByteBuffer reply) throws IOException {
        if (socket == null) {
            super.write(reply);
        } else {
            socket.getOutputStream().write(reply.array(), reply.position(), reply.remaining());
        }
    }

    /** Sends close_notify, which marks the end of a whole reply; then closes as usual. */
    @Override
    public void close() throws IOException {
        try {
            if (socket != null) {
                socket.shutdownOutput();
            }
        } finally {
            socket = null;
            super.close();
        }
    }

    /**
     * Takes the place of the plain socket below TLS. TLS reads a record in several pieces. All of
     * these reads have the same deadline, so that single bytes inside a record do not extend it.
     * The connection, not TLS, closes the channel. TLS reads and writes only arrays, so the streams
     * override no other method.
     */
    private final class Raw extends Socket {
        Raw() throws SocketException {
            super((SocketImpl) null);
        }

        @Override
        public boolean isConnected() {
            return true;
        }

        @Override
        public InetAddress getInetAddress() {
            return peer.getAddress();
        }

        // The JDK's versions of these three methods would open a socket that nobody closes.

        @Override
        public int getPort() {
            return peer.getPort();
        }

        @Override
        public int getSoLinger() {
            return -1;
        }

        @Override
        public int getSoTimeout() {
            return 0;
        }

        @Override
        public InputStream getInputStream() {
            return new FilterInputStream(InputStream.nullInputStream()) {
                @Override
                public int read(byte[] bytes, int from, int length) throws IOException {
                    return TlsConnection.super.read(ByteBuffer.wrap(bytes, from, length), deadline);
                }
            };
        }

        @Override
        public OutputStream getOutputStream() {
            return new FilterOutputStream(OutputStream.nullOutputStream()) {
                @Override
                public void write(byte[] bytes, int from, int length) throws IOException {
                    TlsConnection.super.write(ByteBuffer.wrap(bytes, from, length));
                }
            };
        }
    }
}
