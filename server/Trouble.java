//JAVA 21+
//SOURCES Listener.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.time.Duration;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Something that fails for a while. It is said once when it begins and once when it is over,
 * however many fail in between; and should both alternate quickly, once a minute. Any thread may
 * use it.
 */
final class Trouble {
    private static final Duration SAY_AGAIN_AFTER = Duration.ofMinutes(1);

    private final Listener listener;
    private final String begun;
    private final String over;
    private final AtomicBoolean said = new AtomicBoolean();
    private long silentUntil = System.nanoTime();

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
        if (!said.get() && System.nanoTime() - silentUntil >= 0) {
            listener.trouble(begun + reason);
            said.set(true); // now, since for want of memory the sentence may have failed
            silentUntil = System.nanoTime() + SAY_AGAIN_AFTER.toNanos();
        }
    }

    /** Costs next to nothing when there was no trouble. */
    void succeeded() {
        if (said.get() && said.compareAndSet(true, false)) { // of those who see it, one says so
            listener.trouble(over + " again.");
        }
    }
}
