//JAVA 21+
//DEPS org.hdrhistogram:HdrHistogram:2.2.2
//SOURCES Target.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import org.HdrHistogram.Histogram;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;

/**
 * The load generator: a closed loop on one thread and one selector. Each client connects, sends its
 * request in one write, shuts down its sending side, reads to the end, and begins again.
 *
 * <p>The latency of a request begins before its socket exists and ends with the last byte of its
 * reply. So it includes the connection, and the time that the reply waits for this thread.
 */
final class Load {
    /**
     * The figures of one turn; times in microseconds.
     *
     * @param rate requests a second
     * @param cpu user and system time of the server for each request
     * @param load the same time of this generator, which shares the machine
     * @param resident the server's memory in megabytes
     */
    record Turn(
            int failures,
            double rate,
            double p50,
            double p99,
            double cpu,
            double load,
            double resident) {}

    /** One pending request. */
    private record Request(int number, SocketChannel channel, ByteBuffer reply, long begun) {}

    private final Selector selector;
    private final Target target;
    private final long start = System.nanoTime();
    private final long deadline;
    private final Histogram nanos = new Histogram(3);
    private int left;
    private int running;
    private int failures;

    private Load(Target target, Selector selector, double seconds, int requests) {
        this.target = target;
        this.selector = selector;
        deadline = start + (long) (seconds * 1e9);
        left = requests;
    }

    /** Loads {@code target} with {@code clients} at once, until the time or the requests end. */
    static Turn turn(Target target, int clients, double seconds, int requests) throws IOException {
        try (var selector = Selector.open()) {
            return new Load(target, selector, seconds, requests).run(clients);
        }
    }

    private Turn run(int clients) throws IOException {
        double cpu = target.cpuMicros();
        double load = cpuMicros();
        running = clients;
        for (int i = 0; i < clients; i++) {
            begin(ByteBuffer.allocateDirect(1024));
        }
        while (running > 0 && System.nanoTime() < deadline + 15e9) { // for the last replies
            selector.select(this::proceed, 1000);
        }
        while (running-- > 0) {
            fail("no whole reply in time");
        }
        double seconds = (System.nanoTime() - start) / 1e9;
        double done = Math.max(1, nanos.getTotalCount());
        return new Turn(
                failures,
                done / seconds,
                nanos.getValueAtPercentile(50) / 1e3,
                nanos.getValueAtPercentile(99) / 1e3,
                (target.cpuMicros() - cpu) / done,
                (cpuMicros() - load) / done,
                target.memory("VmRSS"));
    }

    private static double cpuMicros() {
        return ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime() / 1e3;
    }

    /** Sends a client's next request, or ends the client when the turn is over. */
    private void begin(ByteBuffer reply) {
        while (left > 0 && System.nanoTime() < deadline) {
            left--;
            int number = target.next();
            long begun = System.nanoTime();
            try {
                // On loopback a connect does not wait, as long as the backlog has room.
                var channel = SocketChannel.open(target.address(left));
                channel.write(target.store(number)); // one write is enough for a short request
                target.endInput(channel.socket());
                channel.configureBlocking(false);
                var request = new Request(number, channel, reply.clear(), begun);
                channel.register(selector, SelectionKey.OP_READ, request);
                return;
            } catch (IOException e) {
                fail(e.toString());
            }
        }
        running--;
    }

    private void proceed(SelectionKey key) {
        var request = (Request) key.attachment();
        try {
            int size;
            do {
                size = request.channel.read(request.reply);
            } while (size > 0);
            var reply = "" + StandardCharsets.US_ASCII.decode(request.reply.duplicate().flip());
            boolean accepted = target.accept(request.number, reply);
            boolean ended = accepted && target.staysOpen;
            if (!ended && size == 0 && request.reply.hasRemaining()) {
                return;
            }
            request.channel.close();
            if (accepted) {
                nanos.recordValue(System.nanoTime() - request.begun);
            } else {
                fail("the reply: " + reply);
            }
        } catch (IOException e) {
            key.cancel();
            fail(e.toString());
        }
        begin(request.reply);
    }

    /** Counts a failure, and prints the reason of the first failure in a turn. */
    private void fail(String why) {
        if (failures++ == 0) {
            System.err.printf("%n%s: %s%n", target.name, why);
        }
    }
}
