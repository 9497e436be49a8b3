//JAVA 21+
//SOURCES Listener.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.time.Duration;

/**
 * A lasting failure, reported once when it starts and once when it ends. If it starts again within
 * a minute it flaps: its end is then reported only when it has not failed for a minute, so that the
 * last report is never that it ended while it still fails. Any thread may use it.
 */
final class Trouble {
    private static final Duration FLAPPING = Duration.ofMinutes(1);

    private final Listener listener;
    private final String begun;
    private final String over;
    private volatile boolean lasts;
    private boolean flaps;
    private long failed = System.nanoTime();
    private long ended = failed - FLAPPING.toNanos();

    /**
     * Tells {@code listener}.
     *
     * @param begun the sentence for its begin, which the reason follows
     * @param over the sentence for its end, which "again" follows
     */
    Trouble(Listener listener, String begun, String over) {
        this.listener = listener;
        this.begun = begun;
        this.over = over;
    }

    synchronized void failed(String reason) {
        failed = System.nanoTime();
        if (!lasts) {
            flaps = failed - ended < FLAPPING.toNanos();
            lasts = true; // now, since for want of memory the sentence may fail
            listener.trouble(begun + reason);
        }
    }

    /** Costs next to nothing when there was no trouble. */
    void succeeded() {
        if (lasts) {
            end();
        }
    }

    private synchronized void end() {
        long now = System.nanoTime();
        if (lasts && !(flaps && now - failed < FLAPPING.toNanos())) {
            lasts = false;
            ended = now;
            listener.trouble(over + " again.");
        }
    }
}
