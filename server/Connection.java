//JAVA 21+
//SOURCES ../Protocol.java
//SOURCES ../common/OwnFiles.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.io.OutputStream;
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
 * <p>Mostly the request is there already and the reply fits into the kernel's buffer. So the
 * channel is non-blocking, and one system call does either; only where that was not enough it
 * waits, which needs a timer.
 *
 * <p>Used by one thread, except for {@link #cut}.
 */
class Connection extends OutputStream {

    /**
     * A request that came in one piece is whole when nothing follows it for this long: the classic
     * C client sends neither a line end nor the end of its input, and waits.
     */
    static final Duration SILENCE = Duration.ofSeconds(1);

    /** How much input that nobody asked for is read away before a close, and for how long. */
    private static final int DRAIN_BYTES = 1 << 20;

    private static final Duration DRAIN_TIME = Duration.ofSeconds(2);

    /**
     * Bytes of a mailbox that the kernel keeps for a slow client, at most; Linux takes twice as
     * much memory for them, which is what {@link Places} counts. By itself it takes up to 4 MB.
     */
    private static final int SEND_BUFFER = 128 << 10;

    /** Pauses between two attempts to write: the first, and the longest. */
    private static final long FIRST_PAUSE_NS = 1_000_000;

    private static final long LONGEST_PAUSE_NS = 256_000_000;

    private final SocketChannel channel;
    private final InetSocketAddress peer;
    final Duration timeout;
    private boolean inputEnded;
    private volatile String cutBecause;

    /**
     * Takes over {@code channel}.
     *
     * @param timeout for a request as a whole, and for the client to take each part of the reply
     */
    Connection(SocketChannel channel, Duration timeout) throws IOException {
        this.channel = channel;
        this.timeout = timeout;
        peer = (InetSocketAddress) channel.getRemoteAddress();
        channel.configureBlocking(false);
    }

    /** Where the client is. */
    final InetSocketAddress peer() {
        return peer;
    }

    /** The {@link Tls#id} of the client's key, or null when the client has shown none. */
    String clientKey() {
        return null;
    }

    /**
     * Says {@code why} to a client for whom there is no place, and closes, without waiting for
     * anything: so it is best effort, since a client whose request comes later may be reset before
     * it has read.
     */
    static void turnAway(SocketChannel client, byte[] why) {
        try (client) {
            client.configureBlocking(false);
            client.read(ByteBuffer.allocate(8192)); // or closing would be a reset, see close()
            client.write(ByteBuffer.wrap(why));
        } catch (IOException e) {
            // Tolerated: it has left already.
        }
    }

    // ---------------------------------------------------------------- reading

    /**
     * Reads one request. It ends at its line end, at the end of the input, or after {@link
     * #SILENCE} when what came arrived in one piece of more than one byte; of more than one, so
     * that a terminal which sends key by key is not cut off. Inside TLS neither silence nor the end
     * of the connection ends a request, since whoever stands in between can cause both.
     *
     * @throws Protocol.RefusedException when it is malformed, too long, or not complete in time:
     *     the deadline is for the request as a whole, so dripping bytes does not extend it
     * @throws IOException when the connection fails
     */
    final Protocol.Request readRequest() throws IOException, Protocol.RefusedException {
        long deadline = System.nanoTime() + timeout.toNanos();
        begin(deadline);
        boolean secured = clientKey() != null;
        byte[] bytes = new byte[Protocol.MAX_BUFF_LEN + 2]; // room for CR LF
        int length = 0;
        for (int pieces = 0; ; pieces++) {
            boolean perhapsWhole = pieces == 1 && length > 1 && !secured;
            Duration left = Duration.ofNanos(deadline - System.nanoTime());
            boolean silenceBeforeDeadline = perhapsWhole && left.compareTo(SILENCE) > 0;
            int count;
            try {
                count =
                        read(
                                ByteBuffer.wrap(bytes, length, bytes.length - length),
                                silenceBeforeDeadline ? SILENCE : left);
            } catch (SocketTimeoutException e) {
                if (silenceBeforeDeadline) {
                    return Protocol.parse(bytes, length);
                }
                throw new Protocol.RefusedException(Protocol.Refusal.TIMED_OUT);
            }
            if (count < 0) {
                if (secured && inputEnded) { // and not only the input inside TLS
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

    /** What comes before the request; {@code deadline} is a {@link System#nanoTime}. */
    void begin(long deadline) throws IOException, Protocol.RefusedException {}

    /**
     * Waits {@code limit} at most, for which the channel has to block: only its socket has a
     * timeout.
     *
     * @return how many bytes came, or -1 at the end of the input
     * @throws SocketTimeoutException when nothing came in time
     */
    int read(ByteBuffer into, Duration limit) throws IOException {
        if (!limit.isPositive()) {
            throw new SocketTimeoutException();
        }
        int count = channel.read(into);
        if (count == 0) {
            channel.configureBlocking(true);
            channel.socket().setSoTimeout((int) Math.max(1, limit.toMillis()));
            try {
                count =
                        channel.socket()
                                .getInputStream()
                                .read(into.array(), into.position(), into.remaining());
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

    /** Nobody writes single bytes. */
    @Override
    public void write(int b) {
        throw new UnsupportedOperationException("a reply is written in arrays");
    }

    /**
     * Returns when the kernel has taken all of it. While the kernel takes nothing it is asked again
     * now and then: a blocked write would come back only when a third of the buffer is free,
     * however steadily the client reads, and would keep a copy of the bytes meanwhile.
     *
     * @throws IOException when the connection fails, or the client takes nothing in time
     */
    @Override
    public void write(byte[] bytes, int from, int length) throws IOException {
        ByteBuffer rest = ByteBuffer.wrap(bytes, from, length);
        if (length > SEND_BUFFER / 16) {
            channel.setOption(StandardSocketOptions.SO_SNDBUF, SEND_BUFFER);
        }
        long taken = System.nanoTime();
        for (long pause = FIRST_PAUSE_NS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_NS)) {
            if (channel.write(rest) > 0) {
                taken = System.nanoTime();
                pause = FIRST_PAUSE_NS;
            } else if (System.nanoTime() - taken > timeout.toNanos()) {
                cut("it took too long");
            }
            if (!rest.hasRemaining()) {
                return;
            }
            LockSupport.parkNanos(pause);
        }
    }

    // ---------------------------------------------------------------- ending

    /** Closes at once, from any thread; a read or write under way fails. */
    final void cut(String because) {
        cutBecause = because;
        OwnFiles.closeQuietly(channel);
    }

    /** Why it failed with {@code e}: it was {@link #cut}, or what {@code e} says. */
    final String reason(IOException e) {
        return cutBecause == null ? e.getMessage() : cutBecause;
    }

    /**
     * Closes. To do so while input is unread, or still under way, would reset the connection and
     * could destroy the reply before the client has read it (RFC 1122, section 4.2.2.13): so unless
     * the client has ended its sending, we end ours and read away what still comes.
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
                buffer.clear();
                drained += read(buffer, Duration.ofNanos(deadline - System.nanoTime()));
            }
        } catch (SocketTimeoutException e) {
            // It had its time.
        }
    }

    /**
     * When a virtual thread first waits, the JDK makes what will wake all that do. If no descriptor
     * is left for it then, that fails for the rest of the process: so one waits now, at the start.
     */
    static void warmUp() {
        Thread.startVirtualThread(() -> {
            try (ServerSocket nobody = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
                nobody.setSoTimeout(1);
                nobody.accept();
            } catch (IOException e) {
                // As meant: it timed out.
            }
        });
    }
}
