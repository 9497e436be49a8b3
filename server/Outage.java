//JAVA 21+
//SOURCES Observer.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.time.Duration;

/**
 * A lasting failure, reported once when it starts and once when it ends. A start is reported at
 * once. An end is reported only if the last such report is a minute old, or after 5 s without a
 * failure. So a failure that flaps does not fill the log. While a failure lasts, the last report is
 * a start. Any thread may use an outage.
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
     * @param start the beginning of the report of a start; the reason follows
     * @param end the beginning of the report of an end; "again" follows
     */
    Outage(Observer observer, String start, String end) {
        this.observer = observer;
        this.start = start;
        this.end = end;
    }

    /** Notes a failure. Throws nothing, since the caller is already handling this failure. */
    synchronized void failed(String reason) {
        lastFailure = System.nanoTime();
        try {
            if (!lasts) {
                observer.report(start + reason);
                lasts = true;
            }
        } catch (RuntimeException | Error e) {
            // Tolerated: memory may be short. The next failure is reported instead.
        }
    }

    /** Notes a success. The cost is one read of a field unless an outage lasts. */
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
