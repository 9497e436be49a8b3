//JAVA 21+
//SOURCES Database.java
//SOURCES Ids.java
//SOURCES ../common/OwnFiles.java
//SOURCES Sqlite.java
//SOURCES Postgres.java
//SOURCES Sessions.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.SQLException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;

/**
 * Durable mailboxes over JDBC: {@link #store} returns when the message would survive a power cut,
 * and {@link #fetch} returns a mailbox page by page.
 *
 * <p>Between opening and closing, only the threads of this class use the database: one writer and
 * {@value #READERS} readers. The writer commits all pending stores in one transaction (group
 * commit). All three are platform threads. A virtual thread in SQLite's native code would be pinned
 * to its carrier, and other virtual threads would lack that carrier. So virtual threads wait here
 * for a platform thread to do their work.
 *
 * <p>Deleting is left out on purpose: a fetch deletes nothing, as with the classic server.
 */
public final class MessageStore implements AutoCloseable {

    /** A caller waits this time at most, plus one {@link #POLL}; our client waits 10 s. */
    public static final Duration PATIENCE = Duration.ofSeconds(6);

    /** The time between two looks for callers that have waited too long. */
    static final Duration POLL = Duration.ofMillis(500);

    private static final int READERS = 2;
    private static final int MAX_BATCH = 1024;

    /** The time for retries of a batch whose outcome is unknown. */
    private static final Duration RETRY_FOR = Duration.ofSeconds(5);

    /** The time without a job after which the writer tidies up. */
    private static final Duration QUIET = Duration.ofSeconds(1);

    private static final String CLOSED = "the message store is closed";
    private static final String LATE = "the database did not answer in time";

    /** Ends the thread that takes it. */
    private static final Job LAST = new Job(null, null);

    private final Database database;
    private final Ids ids;
    private final Sessions sessions;
    private final BlockingQueue<Job> writings = new LinkedBlockingQueue<>();
    private final BlockingQueue<Job> readings = new LinkedBlockingQueue<>();
    private final Set<Job> pending = ConcurrentHashMap.newKeySet();
    private final CompletableFuture<Void> threads;
    private volatile boolean closed;

    /** The kinds of failure, each of which an operator handles in another way. */
    public enum Failing {
        READING,
        WRITING,
        /** A mailbox is on a damaged page; only the operator can repair the database. */
        DAMAGED
    }

    /** Thrown if the store cannot do its work; the message is one sentence for a person. */
    public static final class StoreException extends Exception {
        private static final long serialVersionUID = 1;

        /** The kind of failure. */
        public final Failing failing;

        StoreException(Failing failing, String sentence, Throwable cause) {
            super(sentence, cause);
            this.failing = failing;
        }
    }

    /** A message of a mailbox. */
    public record Message(String sender, String text) {}

    /** A caller's request: either a message, which is stored in a batch, or other work. */
    private static final class Job extends CompletableFuture<Object> {
        final Function<UUID, Database.Entry> message;
        final Database.Work<?> work;
        final long since = System.nanoTime();

        Job(Function<UUID, Database.Entry> message, Database.Work<?> work) {
            this.message = message;
            this.work = work;
        }
    }

    // ---------------------------------------------------------------- opening and closing

    /** Opens the store at {@code place} without a limit to its size. */
    public MessageStore(String place) throws StoreException {
        this(place, Long.MAX_VALUE);
    }

    /**
     * Opens the store at {@code place}, creating it if there is none.
     *
     * @param place a file for SQLite, or {@code jdbc:postgresql://...} for a database that speaks
     *     PostgreSQL's protocol
     * @param maxBytes the largest size of the file; a full file refuses further stores
     * @throws IllegalArgumentException if {@code place} is wrong in itself, on any machine
     * @throws StoreException if the place cannot be trusted with messages: it holds no database or
     *     another program's, is open in another server, out of reach or not writable, or ignores a
     *     setting
     */
    public MessageStore(String place, long maxBytes) throws StoreException {
        this(place, maxBytes, UnaryOperator.identity());
    }

    /** As above; tests inject faults with {@code wrap}, which is applied to each connection. */
    MessageStore(String place, long maxBytes, UnaryOperator<Connection> wrap)
            throws StoreException {
        try {
            database = Database.at(place, maxBytes, wrap);
        } catch (IllegalArgumentException e) {
            String shown = place.matches("(?s).*[:=].*") ? "that database" : place; // a password?
            throw new IllegalArgumentException(cannotKeep(shown, e).getMessage(), e);
        } catch (IOException e) {
            throw cannotKeep(place, e);
        }
        sessions = new Sessions(database);
        try {
            ids = new Ids(database.prepare());
            // A database that cannot be written or read fails the start, not the first request.
            try (Database.Session check = database.open()) {
                check.insert(List.of());
                check.page(new Database.Range(""));
            }
        } catch (SQLException | IOException e) {
            database.release();
            throw cannotKeep(database.shown(), e);
        }
        threads =
                CompletableFuture.allOf(
                        start("store-writer", this::write),
                        start("store-reader-1", this::read),
                        start("store-reader-2", this::read));
        start("store-patience", this::endPatience);
    }

    /** Starts a thread that repeats {@code step} until the step returns false. */
    private CompletableFuture<Void> start(String name, BooleanSupplier step) {
        Runnable steps =
                () -> {
                    for (boolean goOn = true; goOn; ) {
                        try {
                            goOn = step.getAsBoolean();
                        } catch (RuntimeException | Error e) {
                            // Tolerated, since jobs in the queue still need this thread. Callers
                            // of unfinished jobs are refused when their patience ends.
                        }
                    }
                    sessions.drop();
                };
        return CompletableFuture.runAsync(steps, Thread.ofPlatform().name(name)::start);
    }

    /** Opens the default store, in a folder below {@code home}; makes a missing folder. */
    public static MessageStore inHome(Path home, long maxBytes) throws StoreException {
        Path folder = home.resolve(".msg-server");
        try {
            Files.createDirectories(folder, OwnFiles.only("rwx------"));
        } catch (IOException e) {
            throw cannotKeep(folder.toString(), e);
        }
        return new MessageStore(folder.resolve("messages.db").toString(), maxBytes);
    }

    private static StoreException cannotKeep(String shown, Exception e) {
        String sentence = "Cannot keep messages in " + shown + ": " + reason(e);
        return new StoreException(Failing.READING, sentence, e);
    }

    /** The place of the messages, safe to show: an absolute path, or a URL without parameters. */
    public String place() {
        return database.shown();
    }

    /** The file that holds the messages; empty if a database server keeps them. */
    public Optional<Path> file() {
        return database.file();
    }

    /** Warnings for the operator; usually there are none. */
    public List<String> warnings() {
        return database.warnings();
    }

    /** As {@link #close(Duration)}, with {@link #PATIENCE} as the limit. */
    @Override
    public void close() {
        close(PATIENCE);
    }

    /**
     * Commits pending stores, stops the threads and closes the database. A database of SQLite is
     * then one file. Later stores and fetches are refused. So are pending stores and fetches that
     * the database does not answer within {@code limit}.
     */
    public void close(Duration limit) {
        closed = true;
        writings.add(LAST);
        readings.addAll(Collections.nCopies(READERS, LAST));
        boolean ended =
                threads.handle((all, failure) -> true)
                        .completeOnTimeout(false, limit.toNanos(), TimeUnit.NANOSECONDS)
                        .join();
        pending.forEach(job -> job.completeExceptionally(new SQLException(CLOSED)));
        if (ended) { // else a thread may still write; the end of the process releases the file
            database.release();
        }
    }

    // ---------------------------------------------------------------- writing

    /**
     * Puts a message into a mailbox and returns when it is durable.
     *
     * @return the number of messages in its commit, this one included
     * @throws StoreException if the message could not be stored, or if the outcome is unknown after
     *     {@link #PATIENCE}
     */
    public int store(String recipient, String sender, String text) throws StoreException {
        return this.<Integer>outcome(
                Failing.WRITING,
                new Job(id -> new Database.Entry(recipient, id, sender, text), null));
    }

    /** Makes another durable change than storing a message, on the writer's thread. */
    <A> A change(Database.Work<A> change) throws StoreException {
        return outcome(Failing.WRITING, new Job(null, change));
    }

    /**
     * The writer's step, which is the group commit: it takes one store, and with it all stores that
     * arrived while the previous commit waited for the disk. Waiting longer for more stores would
     * gain nothing.
     */
    private boolean write() {
        Job first = take(writings);
        if (first == null) {
            database.tidyUp();
            return !closed; // a step that failed may have taken LAST off the queue
        }
        List<Job> batch = new ArrayList<>(List.of(first));
        writings.drainTo(batch, MAX_BATCH - 1);
        boolean goOn = !batch.removeIf(job -> job == LAST);
        batch.forEach(this::work);
        batch.removeIf(Job::isDone); // the changes, and messages whose callers were refused
        commit(batch, batch.stream().map(job -> job.message.apply(ids.next())).toList());
        return goOn;
    }

    /**
     * Stores all messages of {@code batch}. If the connection fails during an insert, the outcome
     * is unknown. Then the writer sends the same ids again, and the database keeps rows that it has
     * already. After any other failure the writer tries each message alone, so that only a bad
     * message is refused.
     */
    private void commit(List<Job> batch, List<Database.Entry> entries) {
        long giveUp = System.nanoTime() + RETRY_FOR.toNanos();
        boolean underWay = false;
        for (int retries = 0; !batch.stream().allMatch(Job::isDone); retries++) {
            try {
                Database.Session session = sessions.own();
                underWay = true;
                session.insert(entries);
                batch.forEach(job -> job.complete(batch.size()));
            } catch (SQLException | RuntimeException | Error e) {
                sessions.drop(); // the writer goes on with a new connection
                boolean passing =
                        underWay && e instanceof SQLException failure && database.mayRetry(failure);
                if (passing && System.nanoTime() - giveUp < 0) {
                    LockSupport.parkNanos(Sessions.pause(retries).toNanos());
                } else if (underWay && !passing && batch.size() > 1) {
                    for (int i = 0; i < batch.size(); i++) {
                        commit(batch.subList(i, i + 1), entries.subList(i, i + 1));
                    }
                } else {
                    batch.forEach(job -> job.completeExceptionally(e));
                }
            }
        }
    }

    // ---------------------------------------------------------------- reading

    /** The result of {@code lookup}, which runs on the thread of a reader. */
    <A> A look(Database.Work<A> lookup) throws StoreException {
        return outcome(Failing.READING, new Job(null, lookup));
    }

    /** The mailbox of {@code recipient}, to be read page by page from its oldest message on. */
    public Mailbox fetch(String recipient) {
        return new Mailbox(new Database.Range(recipient));
    }

    /** A mailbox being read. Between two pages it holds no connection and no transaction. */
    public final class Mailbox {
        private Database.Range rest;

        private Mailbox(Database.Range all) {
            rest = all;
        }

        /** Whether there is another page. An empty mailbox has one empty page. */
        public boolean hasNext() {
            return rest != null;
        }

        /**
         * The next 256 messages at most, in the order of acceptance. A fetch ends even if messages
         * keep arriving: those that arrive after its first full page are left for the next fetch.
         *
         * @throws StoreException if the database cannot be read; a second call tries the page again
         */
        public List<Message> nextPage() throws StoreException {
            Database.Range range = rest;
            Database.Page page = look(session -> session.page(range));
            rest = page.rest();
            return page.messages();
        }
    }

    private boolean read() {
        Job job = take(readings);
        if (job != null) {
            work(job);
        }
        return job != LAST;
    }

    // ---------------------------------------------------------------- jobs

    /** Hands a job to the writer or the readers, and waits for its outcome. */
    @SuppressWarnings("unchecked") // a job is completed with the result of its work
    private <A> A outcome(Failing failing, Job job) throws StoreException {
        pending.add(job);
        try {
            if (closed) {
                throw new StoreException(failing, CLOSED, null);
            }
            (failing == Failing.WRITING ? writings : readings).add(job);
            return (A) job.get();
        } catch (ExecutionException e) {
            Throwable cause = e.getCause();
            boolean damaged = cause instanceof SQLException failure && database.isDamage(failure);
            throw new StoreException(damaged ? Failing.DAMAGED : failing, reason(cause), cause);
        } catch (InterruptedException e) {
            job.cancel(false); // a job in the queue is then skipped
            Thread.currentThread().interrupt();
            throw new StoreException(failing, "interrupted while waiting for the database", e);
        } finally {
            pending.remove(job);
        }
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

    /** The next job, or null if none arrives within {@link #QUIET}. */
    private static Job take(BlockingQueue<Job> queue) {
        try {
            return queue.poll(QUIET.toNanos(), TimeUnit.NANOSECONDS);
        } catch (InterruptedException e) {
            throw new AssertionError("nobody interrupts these threads", e);
        }
    }

    /**
     * Refuses callers that have waited too long. One periodic look at all callers costs far less
     * than a timer for each caller, since such timers would wake a thread for every message.
     */
    private boolean endPatience() {
        LockSupport.parkNanos(POLL.toNanos());
        long latest = System.nanoTime() - PATIENCE.toNanos();
        pending.stream()
                .filter(job -> job.since - latest < 0)
                .forEach(job -> job.completeExceptionally(new SQLException(LATE)));
        return !closed;
    }

    /** The reason in one line, with the last cause, since a driver may report "I/O error" only. */
    private static String reason(Throwable e) {
        Throwable last = e;
        while (last.getCause() != null) {
            last = last.getCause();
        }
        String reason = OwnFiles.reason(e);
        if (last != e) {
            reason += " " + last.getClass().getSimpleName() + ": " + last.getMessage();
        }
        return reason.lines().collect(Collectors.joining(" "));
    }
}
