//JAVA 21+
//SOURCES Listener.java
//SOURCES ../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.PrintWriter;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Supplier;

/**
 * Writes what the operator should know and, unless it is quiet, a line for each request when its
 * connection is closed. {@link Trace} writes more.
 *
 * <p>Lines are written on a thread of their own: a terminal that was stopped with Ctrl+S must not
 * stop the server. When that thread cannot follow, lines are left out and counted.
 */
class Log implements Listener {
    private static final int MAX_WAITING = 10_000;
    private static final Duration LAST_WORDS = Duration.ofMillis(500);
    private static final Runnable STOP = () -> {};

    private final BlockingQueue<Runnable> lines = new ArrayBlockingQueue<>(MAX_WAITING);
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
        clock = DateTimeFormatter.ofPattern(dated ? "yyyy-MM-dd HH:mm:ss.SSS" : "HH:mm:ss.SSS");
        printer = Thread.ofPlatform().daemon().name("log").start(this::print);
    }

    /** Lets lines out, now that "Listening on port" is printed. */
    final void open() {
        opened.countDown();
    }

    @Override
    public void step(Step step, Conversation it) {
        if (step == Step.CLOSED && !quiet) {
            String time = now();
            write(() -> time + line(it));
        }
    }

    @Override
    public final void trouble(String sentence) {
        String time = now();
        add(() -> err.println(time + "  " + Protocol.visible(sentence)));
    }

    /** Writes {@code line} to standard output; it is worded on the log's own thread. */
    final void write(Supplier<String> line) {
        add(() -> out.println(line.get()));
    }

    private String now() {
        return clock.format(LocalDateTime.now());
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
                    out.println("(" + missing + " lines were left out: the log could not follow)");
                }
                if (lines.isEmpty()) {
                    out.flush();
                    err.flush();
                }
            }
        } catch (InterruptedException e) {
            return; // nobody interrupts it
        }
        out.flush();
        err.flush();
    }

    /** Writes what is waiting, then {@code farewell}; gives up where nobody takes it. */
    final void close(String farewell) {
        open();
        lines.offer(() -> out.println(farewell));
        lines.offer(STOP);
        try {
            printer.join(LAST_WORDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    // ---------------------------------------------------------------- wording

    private static String line(Conversation it) {
        return "  #%d  %s  %s  ->  %s  %.1f ms  %s[#%d,%s]"
                .formatted(
                        it.number(),
                        shown(it.peer()),
                        shown(it.request()),
                        it.outcome(),
                        it.untilReply().toNanos() / 1e6,
                        it.thread().isVirtual() ? "VirtualThread" : "Thread",
                        it.thread().threadId(),
                        it.thread().getName());
    }

    /** What was asked, fit to be shown: never the message's text. */
    static String shown(Protocol.Request request) {
        return switch (request) {
            case null -> "-";
            case Protocol.Store(var recipient, var sender, var text) ->
                    "store to %s from %s"
                            .formatted(Protocol.visible(recipient), Protocol.visible(sender));
            case Protocol.Fetch(var recipient) -> "fetch " + Protocol.visible(recipient);
        };
    }

    static String shown(InetSocketAddress peer) {
        String address = peer.getAddress().getHostAddress();
        return (address.contains(":") ? "[" + address + "]" : address) + ":" + peer.getPort();
    }
}
