//JAVA 21+
//SOURCES Connection.java
//SOURCES ../common/Tls.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.ByteArrayInputStream;
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
 * A connection inside TLS: the same bytes as on a plain one, with the same deadlines, and a client
 * that has proven its key.
 *
 * <pre>  readRequest()  -->  SSLSocket  -->  Raw  -->  Connection: the channel and its deadlines
 * </pre>
 */
final class TlsConnection extends Connection {
    /** What TLS begins with, and no request. */
    private static final byte HANDSHAKE = 0x16;

    /**
     * What a client is sent for whom there is no place, since nothing can be said inside TLS before
     * a handshake: a fatal alert, internal_error (RFC 8446, section 6).
     */
    static final byte[] BUSY = {0x15, 3, 3, 0, 2, 2, 80};

    private final Tls tls;
    private SSLSocket socket; // null before the handshake and after the last word
    private long deadline; // of what is being read
    private String clientKey;

    /** As {@link Connection}, this side's key being that of {@code tls}. */
    TlsConnection(SocketChannel channel, Duration timeout, Tls tls) throws IOException {
        super(channel, timeout);
        // Else the kernel holds back small pieces of a handshake, for 40 ms (Nagle, RFC 896).
        channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
        this.tls = tls;
    }

    @Override
    String clientKey() {
        return clientKey;
    }

    @Override
    void begin(long deadline) throws IOException, Protocol.RefusedException {
        this.deadline = deadline;
        ByteBuffer first = ByteBuffer.allocate(1);
        try {
            if (super.read(first, left()) < 0 || first.get(0) != HANDSHAKE) {
                throw new Protocol.RefusedException(Protocol.Refusal.TLS_ONLY);
            }
        } catch (SocketTimeoutException e) {
            throw new Protocol.RefusedException(Protocol.Refusal.TIMED_OUT);
        }
        try {
            InputStream consumed = new ByteArrayInputStream(first.array());
            socket = (SSLSocket) tls.sockets().createSocket(new Raw(), consumed, false);
            Tls.configure(socket).startHandshake();
            clientKey = Tls.id(socket.getSession().getPeerCertificates()[0]);
        } catch (IOException e) {
            String reason =
                    e instanceof SocketTimeoutException ? "it took too long" : e.getMessage();
            throw new IOException("no TLS came about: " + reason, e);
        }
    }

    private Duration left() {
        return Duration.ofNanos(deadline - System.nanoTime());
    }

    @Override
    int read(ByteBuffer into, Duration limit) throws IOException {
        if (socket == null) {
            return super.read(into, limit);
        }
        deadline = System.nanoTime() + limit.toNanos();
        return socket.getInputStream().read(into.array(), into.position(), into.remaining());
    }

    /** Writes inside TLS, except to a client that does not speak it. */
    @Override
    public void write(byte[] bytes, int from, int length) throws IOException {
        if (socket == null) {
            super.write(bytes, from, length);
        } else {
            socket.getOutputStream().write(bytes, from, length);
        }
    }

    /** Says inside TLS that this is all, then closes as a plain connection does. */
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

    /** What TLS takes for the plain socket; the connection closes it, not TLS. */
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
            return peer().getAddress();
        }

        // Unless they are answered here, the JDK opens a socket to ask, and leaves it open.

        @Override
        public int getPort() {
            return peer().getPort();
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
            return new InputStream() {
                @Override
                public int read() {
                    throw new UnsupportedOperationException("TLS reads arrays");
                }

                @Override
                public int read(byte[] bytes, int from, int length) throws IOException {
                    return TlsConnection.super.read(ByteBuffer.wrap(bytes, from, length), left());
                }
            };
        }

        @Override
        public OutputStream getOutputStream() {
            return new OutputStream() {
                @Override
                public void write(int b) {
                    throw new UnsupportedOperationException("TLS writes arrays");
                }

                @Override
                public void write(byte[] bytes, int from, int length) throws IOException {
                    TlsConnection.super.write(bytes, from, length);
                }
            };
        }
    }
}
