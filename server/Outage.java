//JAVA 21+
//SOURCES Observer.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.time.Duration;

/**
 * A lasting failure, reported once when it starts and once when it ends. While it flaps, its end is
 * reported only if the last report of an end is a minute old, or if no failure came for 5 s. A new
 * start is always reported at once, so the last report never says "again" while the failure lasts.
 * Any thread may use it.
 */
final class Outage {
    private static final long MINUTE = Duration.ofMinutes(1).toNanos();
    private static final long QUIET = Duration.ofSeconds(5).toNanos();

    private final Observer observer;
    private final String start;
    private final String end;
    private volatile boolean lasts;
    private long lastFailure;
    private long lastEnd = System.nanoTime() - MINUTE;

    /**
     * An outage that has not started.
     *
     * @param start begins the sentence for its start; the reason follows
     * @param end begins the sentence for its end; "again" follows
     */
    Outage(Observer observer, String start, String end) {
        this.observer = observer;
        this.start = start;
        this.end = end;
    }

    /** Notes a failure. Throws nothing, since its caller is in the middle of handling one. */
    synchronized void failed(String reason) {
        lastFailure = System.nanoTime();
        try {
            if (!lasts) {
                observer.report(start + reason);
                lasts = true;
            }
        } catch (RuntimeException | Error e) {
            // Tolerated: the next failure is reported, once there is memory for a sentence.
        }
    }

    /** Notes a success. Costs next to nothing while nothing fails. */
    void succeeded() {
        if (lasts) {
            endOnceSteady();
        }
    }

    private synchronized void endOnceSteady() {
        long now = System.nanoTime();
        if (lasts && (now - lastEnd >= MINUTE || now - lastFailure >= QUIET)) {
            lasts = false;
            lastEnd = now;
            observer.report(end + " again.");
        }
    }
}
