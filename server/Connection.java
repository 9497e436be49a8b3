//JAVA 21+
//SOURCES ../Protocol.java
//SOURCES ../common/OwnFiles.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

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
class Connection implements AutoCloseable {

    /**
     * A request that came in one piece is whole when nothing follows it for this long: the classic
     * C client sends neither a line end nor the end of its input, and waits.
     */
    static final Duration SILENCE = Duration.ofSeconds(1);

    /** How much input that nobody asked for is read away before a close, and for how long. */
    private static final int DRAIN_BYTES = 1 << 20;

    private static final Duration DRAIN_TIME = Duration.ofSeconds(2);

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

    // ---------------------------------------------------------------- reading

    /**
     * Reads one request. It ends at its line end, at the end of the input, or after {@link
     * #SILENCE} when what came arrived in one piece of more than one byte; of more than one, so
     * that a terminal which sends key by key is not cut off.
     *
     * @throws Protocol.RefusedException when it is malformed, too long, or not complete in time:
     *     the deadline is for the request as a whole, so dripping bytes does not extend it
     * @throws IOException when the connection fails
     */
    final Protocol.Request readRequest() throws IOException, Protocol.RefusedException {
        long deadline = System.nanoTime() + timeout.toNanos();
        begin(deadline);
        byte[] bytes = new byte[Protocol.MAX_BUFF_LEN + 2]; // room for CR LF
        int length = 0;
        for (int pieces = 0; ; pieces++) {
            boolean perhapsWhole = pieces == 1 && length > 1;
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

    /**
     * Returns when the kernel has taken all of {@code reply}.
     *
     * @throws IOException when the connection fails, or the client does not take it in time
     */
    void write(byte[] reply) throws IOException {
        ByteBuffer rest = ByteBuffer.wrap(reply);
        channel.write(rest);
        if (rest.hasRemaining()) {
            writeAndWait(rest);
        }
    }

    /** A blocked write knows no timeout: another thread closes the connection at the deadline. */
    private void writeAndWait(ByteBuffer rest) throws IOException {
        var taken = new CompletableFuture<Void>();
        taken.orTimeout(timeout.toNanos(), TimeUnit.NANOSECONDS)
                .exceptionally(late -> {
                    cut("it took too long");
                    return null;
                });
        channel.configureBlocking(true);
        try {
            while (rest.hasRemaining()) {
                channel.write(rest);
            }
        } finally {
            taken.complete(null);
        }
        channel.configureBlocking(false);
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
