//JAVA 21+
//SOURCES Listener.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.PrintWriter;
import java.time.Duration;
import java.time.LocalTime;
import java.time.format.DateTimeFormatter;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Writes what happens, on a thread of its own: a terminal that was stopped with Ctrl+S must not
 * stop the server. When it cannot follow, lines are left out and counted.
 */
final class RequestLog implements Listener {
    private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("HH:mm:ss.SSS");
    private static final int MAX_WAITING = 10_000;
    private static final Duration LAST_WORDS = Duration.ofMillis(500);
    private static final Runnable STOP = () -> {};

    private final BlockingQueue<Runnable> lines = new ArrayBlockingQueue<>(MAX_WAITING);
    private final AtomicLong leftOut = new AtomicLong();
    private final PrintWriter out;
    private final PrintWriter err;
    private final boolean quiet;
    private final CountDownLatch opened = new CountDownLatch(1);
    private final Thread printer;

    RequestLog(PrintWriter out, PrintWriter err, boolean quiet) {
        this.out = out;
        this.err = err;
        this.quiet = quiet;
        printer = Thread.ofPlatform().daemon().name("log").start(this::print);
    }

    /** Lets lines out, now that the ready line is. */
    void open() {
        opened.countDown();
    }

    @Override
    public void ended(Ended conversation) {
        if (!quiet) {
            LocalTime now = LocalTime.now();
            add(() -> out.println(TIME.format(now) + line(conversation)));
        }
    }

    @Override
    public void trouble(String sentence) {
        add(() -> err.println(Protocol.visible(sentence)));
    }

    private void add(Runnable line) {
        if (!lines.offer(line)) {
            leftOut.incrementAndGet();
        }
    }

    private void print() {
        try {
            opened.await();
            for (Runnable line; (line = lines.take()) != STOP; ) {
                line.run();
                long missing = leftOut.getAndSet(0);
                if (missing > 0) {
                    out.println("(" + missing + " lines left out here)");
                }
                if (lines.isEmpty()) {
                    out.flush();
                    err.flush();
                }
            }
        } catch (InterruptedException e) {
            return; // nobody does
        }
        out.flush();
        err.flush();
    }

    void close(String farewell) {
        open();
        lines.offer(() -> out.println(farewell));
        lines.offer(STOP);
        try {
            printer.join(LAST_WORDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static String line(Ended it) {
        String asked =
                switch (it.request()) {
                    case null -> "-";
                    case Protocol.Store(var recipient, var sender, var text) ->
                            "store to %s from %s"
                                    .formatted(
                                            Protocol.visible(recipient), Protocol.visible(sender));
                    case Protocol.Fetch(var recipient) -> "fetch " + Protocol.visible(recipient);
                };
        String peer = it.peer().getAddress().getHostAddress();
        return "  #%d  %s:%d  %s  ->  %s  %.1f ms  VirtualThread[#%d,%s]"
                .formatted(
                        it.number(),
                        peer.contains(":") ? "[" + peer + "]" : peer,
                        it.peer().getPort(),
                        asked,
                        it.outcome(),
                        it.duration().toNanos() / 1e6,
                        it.thread().threadId(),
                        it.thread().getName());
    }
}
