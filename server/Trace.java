//JAVA 21+
//SOURCES RequestLog.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.PrintWriter;

/**
 * The log of {@code --trace}: a line for each step of each conversation, with the time since
 * accept, the thread, and the carrier on which the thread runs at that moment.
 *
 * <pre>    #2     151.3 ms  conversation-2      worker-1   request read: store to bob from al</pre>
 */
final class Trace extends RequestLog {
    /** The bytes of a long line before the three dots that replace the rest: 100 in all. */
    private static final int WIDTH = 97;

    Trace(PrintWriter out, PrintWriter err) {
        super(out, err, true);
    }

    @Override
    public void step(Step step, Conversation it) {
        Thread thread = Thread.currentThread();
        String name = thread.getName();
        double millis = it.sinceAccept().toNanos() / 1e6;
        String line =
                "%6s %10.1f ms  %-18s  %-9s  %s"
                        .formatted(
                                "#" + it.number, millis, name, carrier(thread), worded(step, it));
        write(Protocol.visible(line, WIDTH));
    }

    private static String worded(Step step, Conversation it) {
        return switch (step) {
            case ACCEPTED -> "accepted from " + shown(it.peer);
            case WAITING_FOR_REQUEST -> "waiting for its request";
            case REQUEST_READ -> "request read: " + shown(it.request);
            case WAITING_FOR_COMMIT -> "waiting for the commit";
            case COMMITTED -> "committed, batch of " + it.committedTogether;
            case REPLIED -> "replied: " + it.outcome;
            case CLOSED -> "closed";
        };
    }

    /**
     * The name of the platform thread on which a virtual thread runs; a dash for a platform thread.
     * Only toString() contains this name, for example
     * VirtualThread[#22,conversation-1]/runnable@ForkJoinPool-1-worker-1.
     */
    private static String carrier(Thread thread) {
        String text = thread.toString();
        int at = text.lastIndexOf("worker-");
        return thread.isVirtual() && at >= 0 ? text.substring(at) : "-";
    }
}
