//JAVA 21+
//SOURCES Listener.java
//SOURCES ../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.PrintWriter;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.time.OffsetDateTime;
import java.time.format.DateTimeFormatter;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Writes what the operator should know and, unless it is quiet, a line for each request when its
 * connection is closed. {@link Trace} writes more.
 *
 * <p>Lines are written on a thread of their own: a terminal that was stopped with Ctrl+S must not
 * stop the server. When that thread cannot follow, lines of requests are left out and counted.
 */
class Log implements Listener {
    private static final int MAX_WAITING = 10_000;
    private static final int MAX_OUTCOME = 300; // bytes
    private static final Duration LAST_WORDS = Duration.ofMillis(500);
    private static final Runnable STOP = () -> {};

    private final BlockingQueue<Runnable> lines = new LinkedBlockingQueue<>();
    private final AtomicLong leftOut = new AtomicLong();
    private final CountDownLatch opened = new CountDownLatch(1);
    private final PrintWriter out;
    private final PrintWriter err;
    private final boolean quiet;
    private final DateTimeFormatter clock;
    private final Thread printer;

    /** A log that is silent until {@link #open}. */
    Log(PrintWriter out, PrintWriter err, boolean quiet) {
        this.out = new PrintWriter(out); // flushed not for each line, but when none is waiting
        this.err = err;
        this.quiet = quiet;
        boolean dated = System.console() == null; // a file outlives the day
        clock = DateTimeFormatter.ofPattern(dated ? "yyyy-MM-dd HH:mm:ss.SSSxxx" : "HH:mm:ss.SSS");
        printer = Thread.ofPlatform().daemon().name("log").start(this::print);
    }

    /** Lets lines out, now that "Listening on port" is printed. */
    final void open() {
        opened.countDown();
    }

    @Override
    public void step(Step step, Conversation it) {
        if (step == Step.CLOSED && !quiet) {
            write(now() + line(it));
        }
    }

    @Override
    public final void trouble(String sentence) {
        String line = now() + "  " + sentence;
        lines.add(() -> err.println(Protocol.visible(line)));
    }

    /** Writes {@code line} to standard output. */
    final void write(String line) {
        if (lines.size() < MAX_WAITING) {
            lines.add(() -> out.println(Protocol.visible(line)));
        } else {
            leftOut.incrementAndGet();
        }
    }

    private String now() {
        return clock.format(OffsetDateTime.now());
    }

    /** Whatever fails, the thread goes on, or everything that follows would be lost. */
    private void print() {
        for (Runnable line = null; line != STOP; ) {
            try {
                opened.await();
                line = lines.take();
                line.run();
                long missing = leftOut.getAndSet(0);
                if (missing > 0) {
                    out.println("(" + missing + " lines were left out: the log could not follow)");
                }
                if (lines.isEmpty() || line == STOP) {
                    out.flush();
                    err.flush();
                }
            } catch (InterruptedException | RuntimeException | Error e) {
                leftOut.incrementAndGet();
            }
        }
    }

    /** Writes what is waiting, then {@code farewell}; gives up where nobody takes it. */
    final void close(String farewell) {
        open();
        lines.add(() -> out.println(farewell));
        lines.add(STOP);
        try {
            printer.join(LAST_WORDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    // ---------------------------------------------------------------- wording

    private static String line(Conversation it) {
        return "  #%d  %s  %s  ->  %s  %.1f ms  %s"
                .formatted(
                        it.number,
                        shown(it.peer),
                        shown(it.request),
                        Protocol.visible(it.outcome, MAX_OUTCOME),
                        it.untilReply().toNanos() / 1e6,
                        Thread.currentThread().isVirtual() ? "virtual" : "platform");
    }

    /** What was asked, fit to be shown: never the message's text. */
    static String shown(Protocol.Request request) {
        return switch (request) {
            case null -> "-";
            case Protocol.Store(var recipient, var sender, var text) ->
                    "store to %s from %s"
                            .formatted(
                                    Protocol.visibleName(recipient), Protocol.visibleName(sender));
            case Protocol.Fetch(var recipient) -> "fetch " + Protocol.visibleName(recipient);
        };
    }

    static String shown(InetSocketAddress peer) {
        String address = peer.getAddress().getHostAddress();
        return (address.contains(":") ? "[" + address + "]" : address) + ":" + peer.getPort();
    }
}
