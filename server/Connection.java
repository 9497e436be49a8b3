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
 * and closes in a way that lets the reply arrive.
 *
 * <p>Usually the request has arrived already, and the reply fits into the kernel's buffer. So the
 * channel is non-blocking: one system call reads the request, one writes the reply. The channel
 * blocks only for late input, and {@link #write} polls only while a reply does not fit.
 *
 * <p>One thread uses a connection; any thread may call {@link #cut}.
 */
class Connection implements AutoCloseable {

    /**
     * After this time of silence, a request that came in one piece counts as whole. The deadline
     * may come first. The classic C client depends on this rule: it sends no line end, leaves its
     * sending side open, and waits for the reply.
     */
    static final Duration SILENCE = Duration.ofSeconds(1);

    /** Limits, in bytes and in time, for discarding the rest of the input before a close. */
    private static final int DRAIN_BYTES = 1 << 20;

    static final Duration DRAIN_TIME = Duration.ofSeconds(2);

    /**
     * Bytes of a mailbox that the kernel buffers for a slow client. Linux takes twice as much
     * memory for these bytes; without this limit it takes up to 4 MB.
     */
    private static final int SEND_BUFFER = 64 << 10;

    /**
     * Bytes of a reply that the client has to take within three times the timeout. One timeout
     * would be too short for a slow client. Its kernel may buffer 128 KB, and announce free room
     * only after the client has read all of this buffer. At 10 KB a second, the server sees no
     * progress for 13 s.
     */
    private static final int STRETCH = 16 << 10;

    /** The first and the longest pause between two attempts to write. */
    private static final long FIRST_PAUSE_NS = 1_000_000;

    private static final long LONGEST_PAUSE_NS = 256_000_000;

    /** The address and port of the client. */
    final InetSocketAddress peer;

    /** The {@link Tls#id} of the client's key, or null if the client has proven none. */
    String clientKey;

    private final SocketChannel channel;
    private final Duration timeout;
    private boolean inputEnded;
    private volatile String cutBecause;

    /**
     * Takes over {@code channel}.
     *
     * @param timeout the time limit for a whole request; each 16 KB of the reply have three times
     *     this limit
     */
    Connection(SocketChannel channel, Duration timeout) throws IOException {
        this.channel = channel;
        this.timeout = timeout;
        peer = (InetSocketAddress) channel.getRemoteAddress();
        channel.configureBlocking(false);
    }

    /**
     * Sends {@code reply} to a client for which there is no place, and closes without waiting. The
     * reply is best effort: a request that arrives after the close resets the connection, and the
     * client may then lose a reply that it has not read yet.
     */
    static void turnAway(SocketChannel client, byte[] reply) {
        try (client) {
            client.configureBlocking(false);
            client.read(ByteBuffer.allocate(8192)); // else the close would be a reset, see close()
            client.write(ByteBuffer.wrap(reply));
        } catch (IOException e) {
            // Tolerated: the client has left already.
        }
    }

    // ---------------------------------------------------------------- reading

    /**
     * Reads one request. The request ends at its line end, at the end of the input, or after {@link
     * #SILENCE} if it arrived in one piece of more than one byte. A single byte is no such piece,
     * since a terminal may send each key separately. Inside TLS, neither silence nor the end of the
     * connection ends a request, since anybody between client and server can cause either.
     *
     * @throws Protocol.RefusedException if the request is malformed, too long, or not complete in
     *     time: the deadline covers the whole request, so single bytes do not extend it
     * @throws IOException if the connection fails
     */
    final Protocol.Request readRequest() throws IOException, Protocol.RefusedException {
        long deadline = System.nanoTime() + timeout.toNanos();
        begin(deadline);
        boolean secured = clientKey != null;
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
                if (secured && inputEnded) { // without close_notify before
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

    /** Hook for the TLS handshake; {@code deadline} is a value of {@link System#nanoTime}. */
    void begin(long deadline) throws IOException, Protocol.RefusedException {}

    /**
     * Reads, and waits until {@code deadline} for the first byte. A timeout needs a read from the
     * channel's socket, and this read needs a blocking channel. So the channel is blocking during
     * the wait.
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
     * Writes {@code reply} and returns when the kernel has taken all of it. While the kernel takes
     * nothing, this method polls. A blocking write would sleep until a third of the kernel's buffer
     * is free, so a client that reads steadily would seem not to read. A blocking write would also
     * hold a copy of the bytes.
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
     * Closes the connection, and lets the reply arrive first. A close while input is unread, or
     * still under way, would reset the connection, and the client could lose a reply that it has
     * not read yet (RFC 1122, section 4.2.2.13). So unless the input has ended, this method ends
     * the output and discards the rest of the input before the close.
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
        ByteBuffer buffer = ByteBuffer.allocate(1024); // usually only the end follows
        try {
            for (int drained = 0; !inputEnded && drained < DRAIN_BYTES; ) {
                drained += read(buffer.clear(), deadline);
            }
        } catch (SocketTimeoutException e) {
            // Tolerated: the client had its time to end the input.
        }
    }

    /**
     * The first socket wait on a virtual thread opens the JDK's poller (epoll). If no descriptor is
     * free at that moment, the poller fails for good. So the server makes one such wait at its
     * start.
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
