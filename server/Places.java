//JAVA 21+
//SOURCES ../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.time.Duration;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

/**
 * How many clients a server has room for at once. It accepts a few more than it has places for:
 * these wait for a place, and are then told that the server is busy. Any thread may use it.
 */
final class Places {
    /** A client that waited this long for its place is told that the server is busy. */
    private static final Duration BUSY_AFTER = Duration.ofSeconds(2);

    /** How many wait so at once, beyond the limit; {@link Limits} leaves descriptors for them. */
    private static final int WAITING = 16;

    /** What one fetch needs at most: 256 messages of 255 bytes as text, as bytes, and a copy. */
    private static final int FETCH_BYTES = 256 << 10;

    private final int room;
    private final Semaphore connections;
    private final Semaphore conversations;
    private volatile boolean full;

    /** Each fetch has a page in memory, for as long as its client does not take it. */
    private final Semaphore fetches =
            new Semaphore(
                    Math.clamp(Runtime.getRuntime().maxMemory() / 2 / FETCH_BYTES, 10, 50_000));

    /** Room for so many conversations. */
    Places(int conversations) {
        room = conversations + WAITING;
        connections = new Semaphore(room);
        this.conversations = new Semaphore(conversations);
    }

    /** Returns when another client may be accepted, who then counts until {@link #leave}. */
    void enter() {
        connections.acquireUninterruptibly();
    }

    void leave() {
        connections.release();
    }

    /**
     * Takes a place for a conversation. Once one client has waited in vain, those who come after it
     * are refused at once, until one finds a place.
     *
     * @throws Protocol.RefusedException when the server is busy
     */
    void take() throws Protocol.RefusedException {
        try {
            long patience = full ? 0 : BUSY_AFTER.toMillis();
            boolean taken = conversations.tryAcquire(patience, TimeUnit.MILLISECONDS);
            full = !taken;
            if (!taken) {
                throw new Protocol.RefusedException(Protocol.Refusal.BUSY);
            }
        } catch (InterruptedException e) {
            throw new AssertionError("nobody interrupts a conversation", e);
        }
    }

    void giveBack() {
        conversations.release();
    }

    /**
     * Takes memory for a fetch.
     *
     * @throws Protocol.RefusedException when there is none
     */
    void takeFetch() throws Protocol.RefusedException {
        if (!fetches.tryAcquire()) {
            throw new Protocol.RefusedException(Protocol.Refusal.BUSY);
        }
    }

    void giveBackFetch() {
        fetches.release();
    }

    /** Waits until everybody has left, or the time is over. */
    boolean allLeftWithin(Duration time) {
        try {
            boolean left = connections.tryAcquire(room, time.toNanos(), TimeUnit.NANOSECONDS);
            if (left) {
                connections.release(room);
            }
            return left;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return false;
        }
    }
}
