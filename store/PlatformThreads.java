//JAVA 21+
//SOURCES Database.java
//SOURCES GroupCommit.java
//SOURCES Ids.java
//SOURCES Sessions.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.sql.SQLException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Function;

/**
 * The threads that use the database: one writer and two readers. All are platform threads. A
 * virtual thread in SQLite's native code would be pinned to its carrier, and other virtual threads
 * would lack that carrier. So a virtual thread hands over a {@link Job} and waits for its outcome.
 */
final class PlatformThreads {

    /** The time between two looks for callers that have waited too long. */
    static final Duration POLL = Duration.ofMillis(500);

    private static final String CLOSED = "the message store is closed";
    private static final String LATE = "the database did not answer in time";

    /** The time without a job after which the writer tidies up. */
    private static final Duration QUIET = Duration.ofSeconds(1);

    /** Ends the thread that takes it. */
    private static final Job LAST = new Job(null, null);

    private final Database database;
    private final Sessions sessions;
    private final GroupCommit groupCommit;
    private final BlockingQueue<Job> writings = new LinkedBlockingQueue<>();
    private final BlockingQueue<Job> readings = new LinkedBlockingQueue<>();
    private final Set<Job> pending = ConcurrentHashMap.newKeySet();
    private final CompletableFuture<Void> threads;
    private volatile boolean closed;

    /** A caller's request: either a message, which is stored in a batch, or other work. */
    static final class Job extends CompletableFuture<Object> {
        final Function<UUID, Database.Entry> message;
        final Database.Work<?> work;
        private final long since = System.nanoTime();

        Job(Function<UUID, Database.Entry> message, Database.Work<?> work) {
            this.message = message;
            this.work = work;
        }
    }

    /** Starts the threads; {@code database} is prepared already. */
    PlatformThreads(Database database, Ids ids) {
        this.database = database;
        sessions = new Sessions(database);
        groupCommit = new GroupCommit(database, sessions, ids);
        threads =
                CompletableFuture.allOf(
                        start("store-writer", () -> step(writings, GroupCommit.MAX_BATCH)),
                        start("store-reader-1", () -> step(readings, 1)),
                        start("store-reader-2", () -> step(readings, 1)));
        start("store-patience", this::endPatience);
    }

    /** Starts a thread that repeats {@code step} until the step returns false. */
    private CompletableFuture<Void> start(String name, Callable<Boolean> step) {
        Runnable steps =
                () -> {
                    for (boolean goOn = true; goOn; ) {
                        try {
                            goOn = step.call();
                        } catch (Exception | Error e) {
                            // Tolerated, since jobs in the queue still need this thread. Callers
                            // of unfinished jobs are refused when their patience ends.
                        }
                    }
                    sessions.drop();
                };
        return CompletableFuture.runAsync(steps, Thread.ofPlatform().name(name)::start);
    }

    /**
     * Hands {@code job} to the writer or to the readers, and returns its outcome.
     *
     * @throws CompletionException if the job failed; the cause is the failure
     */
    Object outcome(Job job, boolean writes) {
        pending.add(job);
        try {
            if (closed) {
                job.completeExceptionally(new SQLException(CLOSED));
            }
            (writes ? writings : readings).add(job);
            return job.join();
        } finally {
            pending.remove(job);
        }
    }

    /**
     * One step of a thread: it takes a job, and with it the jobs that have arrived since the last
     * step, up to {@code most}. It does their work, and commits their messages together.
     *
     * @return false if the thread has to end
     */
    private boolean step(BlockingQueue<Job> queue, int most) throws InterruptedException {
        Job first = queue.poll(QUIET.toNanos(), TimeUnit.NANOSECONDS);
        if (first == null) {
            if (queue == writings) {
                database.tidyUp();
            }
            return !closed; // a step that failed may have taken LAST off the queue
        }
        List<Job> jobs = new ArrayList<>(List.of(first));
        queue.drainTo(jobs, most - 1);
        boolean goOn = !jobs.removeIf(job -> job == LAST);
        jobs.forEach(this::work);
        jobs.removeIf(Job::isDone); // the work, and messages whose callers were refused
        groupCommit.commit(jobs);
        return goOn;
    }

    /** Does the work of {@code job}, if it has any; retries once, over a new connection. */
    private void work(Job job) {
        for (int attempt = 1; job.work != null && !job.isDone(); attempt++) {
            try {
                job.complete(job.work.in(sessions.own()));
            } catch (SQLException | RuntimeException | Error e) {
                sessions.drop();
                if (attempt == 2) {
                    job.completeExceptionally(e);
                }
            }
        }
    }

    /**
     * Refuses callers that have waited too long. One periodic look at all callers costs far less
     * than a timer for each caller, since such timers would wake a thread for every message.
     */
    private boolean endPatience() {
        LockSupport.parkNanos(POLL.toNanos());
        long latest = System.nanoTime() - MessageStore.PATIENCE.toNanos();
        pending.stream()
                .filter(job -> job.since - latest < 0)
                .forEach(job -> job.completeExceptionally(new SQLException(LATE)));
        return !closed;
    }

    /**
     * Does all jobs in the queues and ends the threads. Later jobs are refused. So are jobs that
     * the database does not answer within {@code limit}.
     *
     * @return false if a thread has not ended and may still use the database
     */
    boolean close(Duration limit) {
        closed = true;
        writings.add(LAST);
        readings.addAll(List.of(LAST, LAST)); // one for each reader
        boolean ended =
                threads.handle((all, failure) -> true)
                        .completeOnTimeout(false, limit.toNanos(), TimeUnit.NANOSECONDS)
                        .join();
        pending.forEach(job -> job.completeExceptionally(new SQLException(CLOSED)));
        return ended;
    }
}
