//JAVA 21+
//SOURCES Listener.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.time.Duration;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * A lasting failure: reported once when it starts and once when it ends. If it flaps, its end is
 * reported once a minute, or when it has not failed for some seconds. Each new start is reported at
 * once, so that the last report is never that it ended while it still fails. Any thread may use it.
 */
final class Trouble {
    private static final long MINUTE = Duration.ofMinutes(1).toNanos();
    private static final long QUIET = Duration.ofSeconds(5).toNanos();

    private final Listener listener;
    private final String begun;
    private final String over;
    private final AtomicBoolean said = new AtomicBoolean();
    private volatile long failed;
    private volatile long ended = System.nanoTime() - MINUTE;

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
        if (!said.get()) {
            listener.trouble(begun + reason);
            said.set(true); // now, since for want of memory the sentence may have failed
        }
    }

    /** Costs next to nothing when there was no trouble. */
    void succeeded() {
        boolean steady =
                said.get()
                        && (System.nanoTime() - ended >= MINUTE
                                || System.nanoTime() - failed >= QUIET);
        if (steady && said.compareAndSet(true, false)) { // of those who see it, one says so
            ended = System.nanoTime();
            listener.trouble(over + " again.");
        }
    }
}
