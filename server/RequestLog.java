//JAVA 21+
//SOURCES Observer.java
//SOURCES ../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.PrintWriter;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.TimeZone;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Writes reports for the operator. Unless the log is quiet, it also writes a line for each request
 * after the connection has closed. {@link Trace} writes a line for each step instead.
 *
 * <p>A separate thread prints: a terminal that was stopped with Ctrl+S must not stop the server.
 * When that thread falls behind, the log omits lines of requests and counts them, but omits no
 * report.
 */
class RequestLog implements Observer {
    private static final int MAX_PENDING = 10_000;
    private static final int MAX_OUTCOME = 300; // bytes
    private static final Duration LAST_LINES = Duration.ofMillis(500);

    private final BlockingQueue<Runnable> lines = new LinkedBlockingQueue<>();
    private final AtomicLong leftOut = new AtomicLong();
    private final CountDownLatch opened = new CountDownLatch(1);
    private final PrintWriter out;
    private final PrintWriter err;
    private final boolean quiet;
    private final DateTimeFormatter clock;
    private final TimeZone zone = TimeZone.getDefault(); // starts faster than a ZoneId
    private final Thread printer;
    private boolean closed; // only the printer's thread uses it

    /** A log that prints nothing before {@link #open}. */
    RequestLog(PrintWriter out, PrintWriter err, boolean quiet) {
        this.out = new PrintWriter(out); // flushes when no line is pending, not after each line
        this.err = err;
        this.quiet = quiet;
        boolean dated = System.console() == null; // a log file covers many days
        String pattern = dated ? "yyyy-MM-dd HH:mm:ss.SSSxxx" : "HH:mm:ss.SSS";
        clock = DateTimeFormatter.ofPattern(pattern);
        printer = Thread.ofPlatform().daemon().name("log").start(this::print);
    }

    /** Begins to print, now that "Listening on port" is printed. */
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
    public final void report(String sentence) {
        String line = now() + "  " + sentence;
        lines.add(() -> err.println(Protocol.visible(line)));
    }

    /** Writes {@code line} to standard output. */
    final void write(String line) {
        if (lines.size() < MAX_PENDING) {
            lines.add(() -> out.println(Protocol.visible(line)));
        } else {
            leftOut.incrementAndGet();
        }
    }

    private String now() {
        return clock.format(ZonedDateTime.now(zone.toZoneId()));
    }

    /** Goes on after any failure, since otherwise all later lines would be lost. */
    private void print() {
        while (!closed) {
            try {
                opened.await();
                lines.take().run();
                long missing = leftOut.getAndSet(0);
                if (missing > 0) {
                    out.println("(" + missing + " lines were left out: the log could not follow)");
                }
                if (lines.isEmpty() || closed) {
                    out.flush();
                    err.flush();
                }
            } catch (InterruptedException | RuntimeException | Error e) {
                leftOut.incrementAndGet();
            }
        }
    }

    /** Prints pending lines and then {@code farewell}; gives up after a short wait. */
    final void close(String farewell) {
        open();
        lines.add(() -> out.println(farewell));
        lines.add(() -> closed = true);
        try {
            printer.join(LAST_LINES);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    // ---------------------------------------------------------------- wording

    private static String line(Conversation it) {
        String outcome = Protocol.visible(it.outcome, MAX_OUTCOME);
        double millis = (it.untilReply == null ? it.sinceAccept() : it.untilReply).toNanos() / 1e6;
        String thread = Thread.currentThread().isVirtual() ? "virtual" : "platform";
        return "  #%d  %s  %s  ->  %s  %.1f ms  %s"
                .formatted(it.number, shown(it.peer), shown(it.request), outcome, millis, thread);
    }

    /** A request as the log shows it: its verb and names, never the text of a message. */
    static String shown(Protocol.Request request) {
        return switch (request) {
            case null -> "-";
            case Protocol.Store(var to, var from, var text) ->
                    "store to " + Protocol.visibleName(to) + " from " + Protocol.visibleName(from);
            case Protocol.Fetch(var name) -> "fetch " + Protocol.visibleName(name);
        };
    }

    static String shown(InetSocketAddress peer) {
        String text = peer.toString(); // such as /127.0.0.1:5000, or localhost/127.0.0.1:5000
        return text.substring(text.indexOf('/') + 1);
    }
}
