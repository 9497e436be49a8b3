//JAVA 21+
//SOURCES Listener.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.time.Duration;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * A lasting failure: reported once when it starts and once when it ends. If it flaps, its end is
 * reported once a minute at most, and each new start at once: the last report is never that it
 * ended while it still fails. Any thread may use it.
 */
final class Trouble {
    private static final Duration END_AGAIN_AFTER = Duration.ofMinutes(1);

    private final Listener listener;
    private final String begun;
    private final String over;
    private final AtomicBoolean said = new AtomicBoolean();
    private volatile long lastsUntil = System.nanoTime();

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
        if (!said.get()) {
            listener.trouble(begun + reason);
            said.set(true); // now, since for want of memory the sentence may have failed
        }
    }

    /** Costs next to nothing when there was no trouble. */
    void succeeded() {
        // Of those who see it, one reports it.
        if (said.get() && System.nanoTime() - lastsUntil >= 0 && said.compareAndSet(true, false)) {
            lastsUntil = System.nanoTime() + END_AGAIN_AFTER.toNanos();
            listener.trouble(over + " again.");
        }
    }
}
