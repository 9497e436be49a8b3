//JAVA 21+
//SOURCES Mailboxes.java
//SOURCES ../../store/MessageStore.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;

/** The outcomes of a test's messages; each message has a unique text. */
final class Outcomes {
    final ConcurrentLinkedQueue<String> stored = new ConcurrentLinkedQueue<>();
    final ConcurrentLinkedQueue<String> refused = new ConcurrentLinkedQueue<>();
    private final ConcurrentLinkedQueue<Timed> times = new ConcurrentLinkedQueue<>();
    private volatile boolean refusing;
    private volatile String lastRefusal = "";
    private final ConcurrentLinkedQueue<Duration> refusals = new ConcurrentLinkedQueue<>();
    private volatile long timedFrom = System.nanoTime();

    private record Timed(long start, Duration took) {}

    void store(MessageStore store, String recipient, String text) {
        long start = System.nanoTime();
        try {
            store.store(recipient, "al", text);
            stored.add(text);
            refusing = false;
        } catch (MessageStore.StoreException e) {
            assertNotNull(e.getMessage());
            refused.add(text);
            Duration tried = Duration.ofNanos(System.nanoTime() - start);
            refusals.add(tried);
            lastRefusal = " (" + text + " after " + tried + ": " + e.getMessage() + ")";
            refusing = true;
        }
        time(start);
    }

    void fetch(MessageStore store, String recipient) {
        long start = System.nanoTime();
        assertThrows(MessageStore.StoreException.class, () -> store.fetch(recipient).nextPage());
        time(start);
    }

    void storeUntilAccepted(MessageStore store, String recipient, String text, Duration limit) {
        long end = System.nanoTime() + limit.toNanos();
        int before = stored.size();
        for (int n = 0; stored.size() == before; n++) {
            assertTrue(System.nanoTime() < end, "not accepted within " + limit);
            store(store, recipient, text + n);
        }
    }

    boolean isRefusing() {
        return refusing;
    }

    /** From now on {@link #slowest} regards only requests that start later. */
    void timeFromNowOn() {
        timedFrom = System.nanoTime();
    }

    private void time(long start) {
        times.add(new Timed(start, Duration.ofNanos(System.nanoTime() - start)));
    }

    Duration slowest() {
        return times.stream()
                .filter(timed -> timed.start() - timedFrom >= 0)
                .map(Timed::took)
                .max(Duration::compareTo)
                .orElseThrow();
    }

    /** The time of the fastest refusal, or a very long time if there is none. */
    Duration soonestRefusal() {
        return refusals.stream().min(Duration::compareTo).orElse(ChronoUnit.FOREVER.getDuration());
    }

    /**
     * Asserts that each acknowledged message appears once, and each refused message at most once.
     */
    void check(List<String> found, String context) {
        List<String> once = found.stream().distinct().toList();
        assertEquals(once.size(), found.size(), "some messages appear twice; " + context);
        List<String> missing = new ArrayList<>(stored);
        missing.removeAll(new HashSet<>(found));
        assertEquals(List.of(), missing, "acknowledged messages are missing; " + context);
    }

    @Override
    public String toString() {
        return stored.size() + " stored, " + refused.size() + " refused" + lastRefusal;
    }
}
