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
 * {@link #fetch} gives a mailbox page by page.
 *
 * <p>Between opening and closing only the threads of this class use the database: one writer, which
 * commits all pending stores in one transaction (group commit), and {@value #READERS} readers. They
 * are platform threads: SQLite is native code, which pins a virtual thread to its carrier and so
 * holds up other virtual threads. Callers wait for these threads.
 *
 * <p>Left out on purpose: deleting. Fetching deletes nothing, as in the original.
 */
public final class MessageStore implements AutoCloseable {

    /** A caller that waits longer is refused at the next {@link #POLL}; our client waits 10 s. */
    public static final Duration PATIENCE = Duration.ofSeconds(6);

    static final Duration POLL = Duration.ofMillis(500);

    private static final int READERS = 2;
    private static final int MAX_BATCH = 1024;

    /** The time for retries of a batch that may or may not be committed. */
    private static final Duration RETRY_FOR = Duration.ofSeconds(5);

    /** After this time without a job the writer tidies up. */
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

    /** The kinds of failure that an operator has to tell apart. */
    public enum Failing {
        READING,
        WRITING,
        /** A mailbox is on a damaged page; only the operator can repair the database. */
        DAMAGED
    }

    /** Thrown, with one sentence for a person, if the store cannot do its work. */
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

    /** A caller's request: either a message, stored in a batch, or work, done alone. */
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
     * @param maxBytes the file grows no larger; beyond it stores are refused
     * @throws IllegalArgumentException if {@code place} is wrong in itself, on any machine
     * @throws StoreException if the store cannot be trusted: it is not a database, or another
     *     program's, open in another server, out of reach, not writable, or it ignores a setting
     */
    public MessageStore(String place, long maxBytes) throws StoreException {
        this(place, maxBytes, UnaryOperator.identity());
    }

    /** As above; each connection goes through {@code wrap}, for fault tests. */
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
            // A database that cannot be written or read is to be reported at the start.
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

    /** Starts a thread that repeats {@code step} until that returns false. */
    private CompletableFuture<Void> start(String name, BooleanSupplier step) {
        Runnable steps =
                () -> {
                    for (boolean goOn = true; goOn; ) {
                        try {
                            goOn = step.getAsBoolean();
                        } catch (RuntimeException | Error e) {
                            // Tolerated, or its queue would lose its thread. The callers of its
                            // unfinished jobs are refused when their patience ends.
                        }
                    }
                    sessions.drop();
                };
        return CompletableFuture.runAsync(steps, Thread.ofPlatform().name(name)::start);
    }

    /** Opens the default store in a folder below {@code home}, which is made if it is missing. */
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

    /** The place of the messages, to be shown: an absolute path, or a URL without parameters. */
    public String place() {
        return database.shown();
    }

    /** The file that messages are kept in, unless a database server keeps them. */
    public Optional<Path> file() {
        return database.file();
    }

    /** Sentences that the operator should read; mostly none. */
    public List<String> warnings() {
        return database.warnings();
    }

    /** As {@link #close(Duration)}, with a caller's {@link #PATIENCE}. */
    @Override
    public void close() {
        close(PATIENCE);
    }

    /**
     * Commits pending stores, stops the threads and leaves the database: SQLite's is then one file.
     * Later stores and fetches are refused, and so are pending ones that the database does not
     * answer within {@code limit}.
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
        if (ended) { // else a thread may still write, and the end of the process releases the file
            database.release();
        }
    }

    // ---------------------------------------------------------------- writing

    /**
     * Puts a message into a mailbox and returns when it is durable.
     *
     * @return the number of messages in its commit, this one included
     * @throws StoreException if it could not be stored, or if its outcome is unknown after {@link
     *     #PATIENCE}
     */
    public int store(String recipient, String sender, String text) throws StoreException {
        return this.<Integer>outcome(
                Failing.WRITING,
                new Job(id -> new Database.Entry(recipient, id, sender, text), null));
    }

    /** Makes a change other than a message, on the writer's thread and durably. */
    <A> A change(Database.Work<A> change) throws StoreException {
        return outcome(Failing.WRITING, new Job(null, change));
    }

    /**
     * The writer: takes one store, and with it all that arrived while the previous commit was
     * waiting for the disk. That is the whole of group commit; to wait for more stores on purpose
     * would gain nothing.
     */
    private boolean write() {
        Job first = take(writings);
        if (first == null) {
            database.tidyUp();
            return !closed; // a step that failed may have taken LAST
        }
        List<Job> batch = new ArrayList<>(List.of(first));
        writings.drainTo(batch, MAX_BATCH - 1);
        boolean goOn = !batch.removeIf(job -> job == LAST);
        batch.forEach(this::work);
        batch.removeIf(Job::isDone); // a change, now made, or a message whose caller is gone
        commit(batch, batch.stream().map(job -> job.message.apply(ids.next())).toList());
        return goOn;
    }

    /**
     * Stores all of {@code batch}. If the connection fails during an insert, its outcome is
     * unknown: the writer sends the same ids again, and rows that are there already stay as they
     * are. After any other failure it tries each message alone, so that only a bad one is refused.
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
                sessions.drop(); // in any case the writer goes on, with a new connection
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

    /** The result of {@code lookup}, on the thread of a reader. */
    <A> A look(Database.Work<A> lookup) throws StoreException {
        return outcome(Failing.READING, new Job(null, lookup));
    }

    /** The mailbox of {@code recipient}, to be read page by page from its oldest message on. */
    public Mailbox fetch(String recipient) {
        return new Mailbox(new Database.Range(recipient));
    }

    /** A mailbox being read. Between two pages it holds neither connection nor transaction. */
    public final class Mailbox {
        private Database.Range rest;

        private Mailbox(Database.Range all) {
            rest = all;
        }

        /** Whether there is another page; an empty mailbox has one, which is empty. */
        public boolean hasNext() {
            return rest != null;
        }

        /**
         * The next 256 messages at most, in the order of acceptance. Messages that arrive after the
         * first full page was read are left for the next fetch, so reading a busy mailbox ends.
         *
         * @throws StoreException if the database cannot be read; the page may be asked for again
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

    /** Hands a job to the threads for such jobs, and waits for its outcome. */
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
            job.cancel(false); // if no thread has begun it yet, none will
            Thread.currentThread().interrupt();
            throw new StoreException(failing, "interrupted while waiting for the database", e);
        } finally {
            pending.remove(job);
        }
    }

    /** Does any work of {@code job}; after a failure once more, over a new connection. */
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

    /** The next job, or null if none comes for a while. Nobody interrupts these threads. */
    private static Job take(BlockingQueue<Job> queue) {
        try {
            return queue.poll(QUIET.toNanos(), TimeUnit.NANOSECONDS);
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    /**
     * Refuses callers that have waited too long. One periodic look at all of them costs far less
     * than a timer for each, which would wake a thread for every message.
     */
    private boolean endPatience() {
        LockSupport.parkNanos(POLL.toNanos());
        long latest = System.nanoTime() - PATIENCE.toNanos();
        pending.stream()
                .filter(job -> job.since - latest < 0)
                .forEach(job -> job.completeExceptionally(new SQLException(LATE)));
        return !closed;
    }

    /** One line. It names the last cause, since a driver may report only "I/O error". */
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
