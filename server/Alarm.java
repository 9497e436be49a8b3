//JAVA 21+
//SOURCES Listener.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.time.Duration;
import java.util.concurrent.atomic.AtomicBoolean;

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
    private final AtomicBoolean raised = new AtomicBoolean();
    private volatile long failed;
    private volatile long cleared = System.nanoTime() - MINUTE;

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
            if (!raised.get()) {
                listener.report(start + reason);
                raised.set(true);
            }
        } catch (RuntimeException | Error e) {
            // Tolerated: the next failure is reported, once there is memory for a sentence.
        }
    }

    /** Notes a success. Costs next to nothing unless the alarm is raised. */
    void clear() {
        boolean steady =
                raised.get()
                        && (System.nanoTime() - cleared >= MINUTE
                                || System.nanoTime() - failed >= QUIET);
        if (steady && raised.compareAndSet(true, false)) { // one of many threads reports it
            cleared = System.nanoTime();
            listener.report(end + " again.");
        }
    }
}
