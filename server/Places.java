//JAVA 21+
//SOURCES ../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.time.Duration;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

/** How many clients, and how many fetches among them, a server has room for at once. */
final class Places {
    /** What one fetch needs at most: 256 messages of 255 bytes as text, as bytes, and a copy. */
    private static final int FETCH_BYTES = 256 << 10;

    private final int room;
    private final Semaphore clients;

    /** Each fetch has a page in memory, for as long as its client does not take it. */
    private final Semaphore fetches =
            new Semaphore(
                    Math.clamp(Runtime.getRuntime().maxMemory() / 2 / FETCH_BYTES, 10, 50_000));

    /** Room for so many clients. */
    Places(int clients) {
        room = clients;
        this.clients = new Semaphore(clients);
    }

    /** Takes a place for a client, if there is one. */
    boolean enter() {
        return clients.tryAcquire();
    }

    void leave() {
        clients.release();
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

    /** Waits until all clients have left, or the time is over. */
    boolean allLeftWithin(Duration time) {
        try {
            boolean left = clients.tryAcquire(room, time.toNanos(), TimeUnit.NANOSECONDS);
            if (left) {
                clients.release(room);
            }
            return left;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return false;
        }
    }
}
