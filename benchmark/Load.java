//JAVA 21+
//SOURCES Target.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.net.StandardProtocolFamily;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.time.Duration;

/**
 * The load generator: a closed loop on one thread and one selector. Each client connects, sends its
 * request in one write, shuts down its sending side, reads to the end, and begins again. A turn is
 * bounded in time and in requests.
 *
 * <p>The latency of a request runs from before its socket is made until the end of its reply has
 * been read, so it includes the connection, and the time that the reply waits for this thread.
 */
final class Load {
    /** A request without a whole answer by then has failed. */
    private static final Duration ANSWER_LIMIT = Duration.ofSeconds(15);

    /** A turn ends early after so many failures. */
    private static final int FAILURE_LIMIT = 1000;

    /** What each request does. In MIXED, one request of four is a fetch. */
    enum Mode {
        STORE,
        FETCH,
        MIXED
    }

    /**
     * What one turn gave.
     *
     * @param cpuMicros user and system time of the server for each request
     * @param loadMicros the same of this generator, which has to share the machine
     */
    record Turn(
            int requests,
            int failures,
            String firstFailure,
            double seconds,
            Histogram latency,
            double cpuMicros,
            double loadMicros,
            double residentMegabytes) {
        double rate() {
            return requests / seconds;
        }

        double p50() {
            return latency.micros(0.50);
        }

        double p99() {
            return latency.micros(0.99);
        }

        double max() {
            return latency.micros(1);
        }
    }

    /** One client and its request under way. */
    private static final class Client {
        final Target.Reply reply = new Target.Reply();
        SocketChannel channel;
        long start;
        int number;
        boolean fetching;
    }

    private final ByteBuffer input = ByteBuffer.allocateDirect(1 << 16);
    private final Selector selector;
    private final Target target;
    private final Mode mode;
    private final Histogram latency = new Histogram();
    private long deadline;
    private int left;
    private int running;
    private int done;
    private int failures;
    private String firstFailure;

    private Load(Target target, Mode mode, Selector selector) {
        this.target = target;
        this.mode = mode;
        this.selector = selector;
    }

    /** Gives {@code target} its turn: so many clients at once, until one of the two bounds. */
    static Turn turn(Target target, Mode mode, int clients, double seconds, int requests)
            throws IOException {
        try (var selector = Selector.open()) {
            return new Load(target, mode, selector).run(clients, seconds, requests);
        }
    }

    private Turn run(int clients, double seconds, int requests) throws IOException {
        double cpuBefore = target.cpuMicros();
        long loadBefore = threadCpuNanos();
        long start = System.nanoTime();
        deadline = start + (long) (seconds * 1e9);
        left = requests;
        for (int i = 0; i < clients; i++) {
            running++;
            begin(new Client());
        }
        long limit = deadline + ANSWER_LIMIT.toNanos();
        while (running > 0 && System.nanoTime() < limit) {
            selector.select(this::proceed, 1000);
        }
        for (var key : selector.keys()) {
            if (key.isValid()) {
                fail("no whole answer within " + ANSWER_LIMIT.toSeconds() + " s");
                close((Client) key.attachment());
            }
        }
        int counted = Math.max(1, done);
        return new Turn(
                done,
                failures,
                firstFailure,
                (System.nanoTime() - start) / 1e9,
                latency,
                (target.cpuMicros() - cpuBefore) / counted,
                (threadCpuNanos() - loadBefore) / 1e3 / counted,
                target.residentMegabytes());
    }

    private static long threadCpuNanos() {
        return ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
    }

    /** Starts the client's next request, or lets the client go when the turn is over. */
    private void begin(Client client) {
        while (left > 0 && failures < FAILURE_LIMIT && System.nanoTime() < deadline) {
            left--;
            client.fetching = isFetchDue();
            client.number = client.fetching ? nextToFetch() : target.issued++;
            client.reply.clear();
            client.start = System.nanoTime();
            try {
                client.channel = SocketChannel.open(StandardProtocolFamily.INET);
                client.channel.configureBlocking(false);
                // On loopback the connection stands by the time finishConnect asks.
                if (client.channel.connect(target.address(left))
                        || client.channel.finishConnect()) {
                    send(client);
                } else {
                    client.channel.register(selector, SelectionKey.OP_CONNECT, client);
                }
                return;
            } catch (IOException e) {
                fail(e.toString());
                close(client);
            }
        }
        running--;
    }

    private boolean isFetchDue() {
        return switch (mode) {
            case STORE -> false;
            case FETCH -> true;
            case MIXED -> left % 4 == 0 && !target.acknowledged.isEmpty();
        };
    }

    /** In MIXED a mailbox that is known to have something, else one after the other. */
    private int nextToFetch() {
        return mode == Mode.MIXED ? target.lastAcknowledged : left;
    }

    private void send(Client client) throws IOException {
        var request = client.fetching ? target.fetch(client.number) : target.store(client.number);
        client.channel.write(request);
        if (request.hasRemaining()) {
            throw new IOException("a short request did not fit into an empty socket");
        }
        client.channel.shutdownOutput();
        client.channel.register(selector, SelectionKey.OP_READ, client);
    }

    private void proceed(SelectionKey key) {
        var client = (Client) key.attachment();
        try {
            if (key.isConnectable()) {
                client.channel.finishConnect();
                send(client);
            } else if (isAtEnd(client)) {
                close(client);
                judge(client);
                begin(client);
            }
        } catch (IOException e) {
            fail(e.toString());
            close(client);
            begin(client);
        }
    }

    private boolean isAtEnd(Client client) throws IOException {
        int size;
        while ((size = client.channel.read(input.clear())) > 0) {
            client.reply.add(input.flip());
        }
        return size < 0;
    }

    private void judge(Client client) {
        if (client.fetching
                ? target.wire.isFetched(client.reply)
                : target.wire.isStored(client.reply)) {
            done++;
            latency.add(System.nanoTime() - client.start);
            if (!client.fetching) {
                target.acknowledged.set(client.number);
                target.lastAcknowledged = client.number;
            }
        } else {
            fail("a reply of " + client.reply);
        }
    }

    private void fail(String why) {
        failures++;
        firstFailure = firstFailure == null ? why : firstFailure;
    }

    private static void close(Client client) {
        try {
            client.channel.close();
        } catch (IOException e) {
            throw new UncheckedIOException("a socket that cannot be closed", e);
        }
    }

    /** Latencies, kept to within one percent. */
    static final class Histogram {
        /** Each power of two has this many buckets, as a power of two itself. */
        private static final int FINE_BITS = 7;

        private final int[] counts = new int[(64 - FINE_BITS) << FINE_BITS];
        private long total;
        private long max;

        void add(long nanos) {
            int shift = Math.max(0, Long.SIZE - 1 - FINE_BITS - Long.numberOfLeadingZeros(nanos));
            counts[(shift << FINE_BITS) + (int) (nanos >>> shift)]++;
            total++;
            max = Math.max(max, nanos);
        }

        /** The latency that this part of all requests did not exceed, or NaN of no requests. */
        double micros(double part) {
            long rank = (long) Math.ceil(part * total);
            long seen = 0;
            for (int i = 0; i < counts.length && total > 0; i++) {
                seen += counts[i];
                if (seen >= rank) {
                    int shift = Math.max(0, (i >> FINE_BITS) - 1);
                    long highest = ((long) (i - (shift << FINE_BITS) + 1) << shift) - 1;
                    return Math.min(highest, max) / 1e3;
                }
            }
            return Double.NaN;
        }
    }
}
