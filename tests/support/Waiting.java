//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;

/** Waits of tests, each with a bound and a message; and actions in the background. */
final class Waiting {
    private static final Duration BOUND = Duration.ofSeconds(60);

    private Waiting() {}

    /** A condition that will hold soon. */
    @FunctionalInterface
    interface Condition {
        boolean holds() throws Exception;
    }

    /** Waits until {@code condition} holds; fails with {@code what} after 60 s. */
    static void eventually(String what, Condition condition) throws Exception {
        eventually(BOUND, what, condition);
    }

    /** Like the method above, with the bound {@code bound}. */
    static void eventually(Duration bound, String what, Condition condition) throws Exception {
        long deadline = System.nanoTime() + bound.toNanos();
        while (!condition.holds()) {
            if (System.nanoTime() - deadline > 0) {
                throw new AssertionError("not within " + bound.toSeconds() + " s: " + what);
            }
            Thread.sleep(5);
        }
    }

    /** Waits until {@code latch} is open; for hooks, which must not be interrupted. */
    static void until(CountDownLatch latch) {
        try {
            if (!latch.await(BOUND.toSeconds(), TimeUnit.SECONDS)) {
                throw new AssertionError("not within " + BOUND.toSeconds() + " s: a latch");
            }
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    /** Runs {@code action} on a virtual thread. */
    static <T> Future<T> inBackground(Callable<T> action) {
        FutureTask<T> task = new FutureTask<>(action);
        Thread.ofVirtual().start(task);
        return task;
    }

    /** The milliseconds since {@code start}, a {@link System#nanoTime}. */
    static long millisSince(long start) {
        return (System.nanoTime() - start) / 1_000_000;
    }
}
