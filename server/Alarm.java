//JAVA 21+
//SOURCES Listener.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.time.Duration;

/**
 * A lasting failure, reported once when it starts and once when it ends. While it flaps, its end is
 * reported at most once a minute, or after 5 s without a failure. A new start is always reported at
 * once, so the last report never says "again" while the failure lasts. Any thread may use it.
 */
final class Alarm {
    private static final long MINUTE = Duration.ofMinutes(1).toNanos();
    private static final long QUIET = Duration.ofSeconds(5).toNanos();

    private final Listener listener;
    private final String start;
    private final String end;
    private volatile boolean raised;
    private long failed;
    private long cleared = System.nanoTime() - MINUTE;

    /**
     * An alarm that is not raised yet.
     *
     * @param start begins the sentence for its start; the reason follows
     * @param end begins the sentence for its end; "again" follows
     */
    Alarm(Listener listener, String start, String end) {
        this.listener = listener;
        this.start = start;
        this.end = end;
    }

    /** Notes a failure. Throws nothing, since its caller is in the middle of handling one. */
    synchronized void raise(String reason) {
        failed = System.nanoTime();
        try {
            if (!raised) {
                listener.report(start + reason);
                raised = true;
            }
        } catch (RuntimeException | Error e) {
            // Tolerated: the next failure is reported, once there is memory for a sentence.
        }
    }

    /** Notes a success. Costs next to nothing unless the alarm is raised. */
    void clear() {
        if (raised) {
            clearOnceSteady();
        }
    }

    private synchronized void clearOnceSteady() {
        long now = System.nanoTime();
        if (raised && (now - cleared >= MINUTE || now - failed >= QUIET)) {
            raised = false;
            cleared = now;
            listener.report(end + " again.");
        }
    }
}
