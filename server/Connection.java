//JAVA 21+
//SOURCES ../Protocol.java
//SOURCES ../common/OwnFiles.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.SocketTimeoutException;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.concurrent.locks.LockSupport;

/**
 * The server's end of one connection: it reads a request and writes a reply, each with a deadline,
 * and closes so that the reply arrives.
 *
 * <p>Usually the request has arrived already, and the reply fits into the kernel's buffer. So the
 * channel is non-blocking: one system call reads the request, one writes the reply. The channel
 * blocks only for a late request, and {@link #write} polls only for a reply that does not fit.
 *
 * <p>Used by one thread, except for {@link #cut}.
 */
class Connection implements AutoCloseable {

    /**
     * A request that came in one piece is whole when nothing follows it for this long: the classic
     * C client sends neither a line end nor the end of its input, and waits.
     */
    static final Duration SILENCE = Duration.ofSeconds(1);

    /** Limits for discarding the rest of the input before a close. */
    private static final int DRAIN_BYTES = 1 << 20;

    static final Duration DRAIN_TIME = Duration.ofSeconds(2);

    /**
     * Bytes of a mailbox that the kernel buffers for a slow client. Linux takes twice as much
     * memory for them; without this limit it takes up to 4 MB.
     */
    private static final int SEND_BUFFER = 64 << 10;

    /**
     * Bytes of a reply that the client has to take within three times the timeout. The client's
     * kernel may buffer 128 KB, and announce new room only when all of them are read. So a client
     * that reads a steady 10 KB a second seems to stop for 13 s.
     */
    private static final int STRETCH = 16 << 10;

    /** Pauses between two attempts to write: the first, and the longest. */
    private static final long FIRST_PAUSE_NS = 1_000_000;

    private static final long LONGEST_PAUSE_NS = 256_000_000;

    /** The address and port of the client. */
    final InetSocketAddress peer;

    private final SocketChannel channel;
    private final Duration timeout;
    private boolean inputEnded;
    private volatile String cutBecause;

    /**
     * Takes over {@code channel}.
     *
     * @param timeout for a request as a whole; three times as long for each 16 KB of the reply
     */
    Connection(SocketChannel channel, Duration timeout) throws IOException {
        this.channel = channel;
        this.timeout = timeout;
        peer = (InetSocketAddress) channel.getRemoteAddress();
        channel.configureBlocking(false);
    }

    /** The {@link Tls#id} of the client's key, or null when the client has shown none. */
    String clientKey() {
        return null;
    }

    /**
     * Sends {@code reply} to a client for which there is no place, and closes without waiting. This
     * is best effort: a client whose request arrives later may be reset before it reads the reply.
     */
    static void turnAway(SocketChannel client, byte[] reply) {
        try (client) {
            client.configureBlocking(false);
            client.read(ByteBuffer.allocate(8192)); // or closing would be a reset, see close()
            client.write(ByteBuffer.wrap(reply));
        } catch (IOException e) {
            // Tolerated: the client has left already.
        }
    }

    // ---------------------------------------------------------------- reading

    /**
     * Reads one request. It ends at its line end, at the end of the input, or after {@link
     * #SILENCE} if it arrived in one piece of more than one byte. A single byte does not count: a
     * terminal may send key by key. Inside TLS neither silence nor the end of the connection ends a
     * request, since anybody between client and server can cause both.
     *
     * @throws Protocol.RefusedException if it is malformed, too long, or not complete in time: the
     *     deadline is for the request as a whole, so dripping bytes does not extend it
     * @throws IOException if the connection fails
     */
    final Protocol.Request readRequest() throws IOException, Protocol.RefusedException {
        long deadline = System.nanoTime() + timeout.toNanos();
        begin(deadline);
        boolean secured = clientKey() != null;
        byte[] bytes = new byte[Protocol.MAX_BUFF_LEN + 2]; // room for CR LF
        int length = 0;
        for (int pieces = 0; ; pieces++) {
            long silent = System.nanoTime() + SILENCE.toNanos();
            boolean maybeWhole = pieces == 1 && length > 1 && !secured && silent - deadline < 0;
            ByteBuffer rest = ByteBuffer.wrap(bytes, length, bytes.length - length);
            int count = -1;
            try {
                count = read(rest, maybeWhole ? silent : deadline);
            } catch (SocketTimeoutException e) {
                if (!maybeWhole) {
                    throw new Protocol.RefusedException(Protocol.Refusal.TIMED_OUT);
                }
            }
            if (count < 0) {
                if (secured && inputEnded) { // the connection ended, not only TLS
                    throw new Protocol.RefusedException(Protocol.Refusal.CUT_OFF);
                }
                return Protocol.parse(bytes, length);
            }
            length += count;
            int end = Protocol.end(bytes, length);
            if (end >= 0) {
                return Protocol.parse(bytes, end);
            }
        }
    }

    /** Prepares the connection before {@code deadline}, a {@link System#nanoTime}. */
    void begin(long deadline) throws IOException, Protocol.RefusedException {}

    /**
     * Reads, and waits until {@code deadline} for the first byte. The channel blocks for the wait,
     * since only its socket has a timeout.
     *
     * @return the number of bytes, or -1 at the end of the input
     * @throws SocketTimeoutException if nothing arrives in time
     */
    int read(ByteBuffer into, long deadline) throws IOException {
        long millis = (deadline - System.nanoTime()) / 1_000_000;
        if (millis <= 0) {
            throw new SocketTimeoutException();
        }
        int count = channel.read(into);
        if (count == 0) {
            channel.configureBlocking(true);
            channel.socket().setSoTimeout((int) millis);
            try {
                InputStream in = channel.socket().getInputStream();
                count = in.read(into.array(), into.position(), into.remaining());
            } finally {
                if (channel.isOpen()) {
                    channel.configureBlocking(false);
                }
            }
        }
        inputEnded = count < 0;
        return count;
    }

    // ---------------------------------------------------------------- writing

    /**
     * Returns when the kernel has taken all of {@code reply}. While the kernel takes nothing, this
     * polls. A blocking write would return only once a third of the buffer is free, even if the
     * client reads steadily. It would also hold a copy of the bytes.
     *
     * @throws IOException if the connection fails, or the client does not take the next {@link
     *     #STRETCH} in time: a byte now and then does not extend the deadline
     */
    void write(ByteBuffer reply) throws IOException {
        if (reply.remaining() > STRETCH / 2) {
            channel.setOption(StandardSocketOptions.SO_SNDBUF, SEND_BUFFER);
        }
        long limit = 3 * timeout.toNanos();
        long deadline = System.nanoTime() + limit;
        long pause = FIRST_PAUSE_NS;
        for (int taken = 0; ; LockSupport.parkNanos(pause)) {
            int count = channel.write(reply);
            if (!reply.hasRemaining()) {
                return;
            }
            taken += count;
            pause = count > 0 ? FIRST_PAUSE_NS : Math.min(2 * pause, LONGEST_PAUSE_NS);
            if (taken >= STRETCH) {
                taken = 0;
                deadline = System.nanoTime() + limit;
            } else if (System.nanoTime() - deadline > 0) {
                cut("it took too long");
            }
        }
    }

    // ---------------------------------------------------------------- ending

    /** Closes at once, from any thread; a read or write under way fails. */
    final void cut(String because) {
        cutBecause = because;
        OwnFiles.closeQuietly(channel);
    }

    /** The reason of {@link #cut} if it was called, else the message of {@code e}. */
    final String reason(IOException e) {
        return cutBecause == null ? e.getMessage() : cutBecause;
    }

    /**
     * Closes. A close while input is unread, or still under way, would reset the connection, and
     * the client could lose a reply that it has not read yet (RFC 1122, section 4.2.2.13). So
     * unless the client has ended its input, this ends the output and discards the rest of the
     * input.
     */
    @Override
    public void close() throws IOException {
        try (channel) {
            if (!inputEnded) {
                channel.shutdownOutput();
                drain();
            }
        }
    }

    private void drain() throws IOException {
        long deadline = System.nanoTime() + DRAIN_TIME.toNanos();
        ByteBuffer buffer = ByteBuffer.allocate(8192);
        try {
            for (int drained = 0; !inputEnded && drained < DRAIN_BYTES; ) {
                drained += read(buffer.clear(), deadline);
            }
        } catch (SocketTimeoutException e) {
            // The client had its time.
        }
    }

    /**
     * The first socket wait on a virtual thread opens the JDK's poller (epoll). Without a free
     * descriptor that fails for good, so the server makes one such wait at its start.
     */
    static void warmUp() {
        Thread.startVirtualThread(() -> {
            try (ServerSocket nobody = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
                nobody.setSoTimeout(1);
                nobody.accept();
            } catch (IOException e) {
                // Expected: nobody connects.
            }
        });
    }
}
