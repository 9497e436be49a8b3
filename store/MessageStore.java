//JAVA 21+
//SOURCES Database.java
//SOURCES Ids.java
//SOURCES ../common/OwnFiles.java
//SOURCES Sqlite.java
//SOURCES Postgres.java
//SOURCES ThreadSession.java
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
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;

/**
 * Durable mailboxes over JDBC: {@link #store} returns when the message would survive a power cut,
 * {@link #fetch} gives a mailbox page by page.
 *
 * <p>Between opening and closing only the threads of this class use the database: one writer, which
 * commits all stores that wait in one transaction (group commit), and {@value #READERS} readers.
 * They are platform threads: SQLite is native code, in which a virtual thread would block the
 * platform thread that carries it and others. Callers wait for them.
 *
 * <p>Left out on purpose: deleting. Fetching deletes nothing, as in the original.
 */
public final class MessageStore implements AutoCloseable {

    /** The longest that a caller waits; with all else it is less than a client's 10 s. */
    public static final Duration PATIENCE = Duration.ofSeconds(6);

    private static final int READERS = 2;
    private static final String CLOSED = "the message store is closed";

    /** The order to stop, for the thread that takes it. */
    private static final Job LAST = new Job(null, null);

    private final Database database;
    private final Ids ids;
    private final ThreadSession.Outage outage = new ThreadSession.Outage();
    private final List<CompletableFuture<Void>> threads = new ArrayList<>();
    private final BlockingQueue<Job> writings = new LinkedBlockingQueue<>();
    private final BlockingQueue<Job> readings = new LinkedBlockingQueue<>();
    private final Set<Job> waiting = ConcurrentHashMap.newKeySet();
    private final ScheduledExecutorService patience =
            Executors.newSingleThreadScheduledExecutor(
                    Thread.ofPlatform().daemon().name("store-patience").factory());
    private volatile boolean closed;

    /** What a store can fail at. */
    public enum Failing {
        READING,
        WRITING,
        /** A mailbox is on a damaged page, until its operator has repaired the database. */
        DAMAGED
    }

    /** Thrown, with one sentence for a person, when the store cannot do what it was asked to. */
    public static sealed class StoreException extends Exception {
        private static final long serialVersionUID = 1;

        private final Failing failing;

        StoreException(Failing failing, String sentence, Throwable cause) {
            super(sentence, cause);
            this.failing = failing;
        }

        /** What failed. */
        public Failing failing() {
            return failing;
        }
    }

    /** Thrown when the value of {@code --store} is wrong in itself, on any machine. */
    public static final class PlaceException extends StoreException {
        private static final long serialVersionUID = 1;

        PlaceException(String sentence, Throwable cause) {
            super(Failing.READING, sentence, cause);
        }
    }

    /** A message of a mailbox. */
    public record Message(String sender, String text) {}

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
     * @throws PlaceException when that is no place for messages
     * @throws StoreException when no store there can be trusted: not a database, made by something
     *     else, open in another server, out of reach, not to be written, or settings that did not
     *     take
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
            throw new PlaceException("Cannot keep messages in " + shown + ": " + reason(e), e);
        } catch (IOException e) {
            throw cannotKeep(place, e);
        }
        try {
            ids = new Ids(database.prepare());
            // So that a database that cannot be written or read is told now.
            try (Database.Session check = database.open()) {
                check.insert(List.of());
                check.page(new Database.Range(""));
            }
        } catch (SQLException | IOException e) {
            database.release();
            throw cannotKeep(database.shown(), e);
        }
        start("store-writer", this::write);
        for (int i = 1; i <= READERS; i++) {
            start("store-reader-" + i, this::read);
        }
        patience.scheduleWithFixedDelay(this::endPatience, 500, 500, TimeUnit.MILLISECONDS);
    }

    /** Starts a thread that takes {@code step} after {@code step} until one is the last. */
    private void start(String name, Predicate<ThreadSession> step) {
        ThreadSession own = new ThreadSession(database, outage);
        Runnable steps =
                () -> {
                    for (boolean goOn = true; goOn; ) {
                        try {
                            goOn = step.test(own);
                        } catch (RuntimeException | Error e) {
                            // Tolerated, or nobody would serve its queue any more: the jobs that
                            // it had in hand are refused when their patience ends.
                        }
                    }
                    own.drop();
                };
        threads.add(CompletableFuture.runAsync(steps, Thread.ofPlatform().name(name)::start));
    }

    /** Opens the store that a user has without naming a place, in a folder of its own. */
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

    /** Where messages are kept, to be shown: an absolute path, or a URL without its parameters. */
    public String place() {
        return database.shown();
    }

    /** The file that messages are kept in, unless a database server keeps them. */
    public Optional<Path> file() {
        return database.file();
    }

    /** What its operator should know, a sentence each; mostly nothing. */
    public List<String> warnings() {
        return database.warnings();
    }

    /** As {@link #close(Duration)}, with a caller's {@link #PATIENCE}. */
    @Override
    public void close() {
        close(PATIENCE);
    }

    /**
     * Commits what is waiting, stops the threads and leaves the database: SQLite's is then one
     * file. Stores and fetches that come later are refused, and so are those that a database has
     * not answered within {@code limit}.
     */
    public void close(Duration limit) {
        closed = true;
        writings.add(LAST);
        readings.addAll(Collections.nCopies(READERS, LAST));
        boolean ended =
                CompletableFuture.allOf(threads.toArray(CompletableFuture<?>[]::new))
                        .handle((all, failure) -> true)
                        .completeOnTimeout(false, limit.toNanos(), TimeUnit.NANOSECONDS)
                        .join();
        patience.shutdown();
        waiting.forEach(job -> job.completeExceptionally(new SQLException(CLOSED)));
        if (ended) { // else the end of the process gives up the file, when nobody writes any more
            database.release();
        }
    }

    // ---------------------------------------------------------------- writing

    private static final int MAX_BATCH = 1024;
    private static final Duration RETRY_FOR = Duration.ofSeconds(5);

    /** After this long without a job the writer tidies up. */
    private static final Duration QUIET = Duration.ofSeconds(1);

    /**
     * Puts a message into a mailbox and returns when it is durable.
     *
     * @return how many messages its commit held, this one included
     * @throws StoreException when it could not be stored, or when nobody knows within {@link
     *     #PATIENCE} whether it was
     */
    public int store(String recipient, String sender, String text) throws StoreException {
        return this.<Integer>outcome(
                Failing.WRITING,
                new Job(id -> new Database.Entry(recipient, id, sender, text), null));
    }

    /** Makes a change that is no message, on the writer's thread and durably. */
    <A> A change(Database.Work<A> change) throws StoreException {
        return outcome(Failing.WRITING, new Job(null, change));
    }

    /**
     * The writer: takes one store, and with it all that came while the previous commit was waiting
     * for the disk. That is the whole of group commit; waiting for company on purpose would gain
     * nothing.
     */
    private boolean write(ThreadSession own) {
        Job first = take(writings);
        if (first == null) {
            database.tidyUp();
            return !closed; // a step that failed may have taken the order to stop
        }
        List<Job> batch = new ArrayList<>(List.of(first));
        writings.drainTo(batch, MAX_BATCH - 1);
        boolean goOn = !batch.removeIf(job -> job == LAST);
        batch.forEach(job -> work(own, job));
        batch.removeIf(Job::isDone); // a change, interrupted, or waited too long
        commit(own, batch, batch.stream().map(job -> job.message.apply(ids.next())).toList());
        return goOn;
    }

    /**
     * Stores all of {@code batch}. When the connection fails while an insert is under way, nobody
     * knows whether it was committed: the same ids are sent again, and rows that are there already
     * stay as they are. When something else fails each message is tried by itself, so that one that
     * cannot be stored is refused alone.
     */
    private void commit(ThreadSession own, List<Job> batch, List<Database.Entry> entries) {
        long giveUp = System.nanoTime() + RETRY_FOR.toNanos();
        boolean underWay = false;
        for (int retries = 0; !batch.stream().allMatch(Job::isDone); retries++) {
            try {
                Database.Session session = own.session();
                underWay = true;
                session.insert(entries);
                batch.forEach(job -> job.complete(batch.size()));
            } catch (SQLException | RuntimeException | Error e) {
                own.drop(); // whatever it was, the writer goes on, with a new connection
                boolean passing =
                        underWay && e instanceof SQLException failure && database.mayRetry(failure);
                if (passing && System.nanoTime() - giveUp < 0) {
                    LockSupport.parkNanos(ThreadSession.pause(retries).toNanos());
                } else if (underWay && !passing && batch.size() > 1) {
                    for (int i = 0; i < batch.size(); i++) {
                        commit(own, batch.subList(i, i + 1), entries.subList(i, i + 1));
                    }
                } else {
                    batch.forEach(job -> job.completeExceptionally(e));
                }
            }
        }
    }

    // ---------------------------------------------------------------- reading

    /** What {@code lookup} finds, on the thread of a reader. */
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
         * The next 256 messages at most, in the order of acceptance. What comes after the first
         * full page is for the next fetch: reading a busy mailbox ends.
         *
         * @throws StoreException when the database cannot be read; the page may be asked for again
         */
        public List<Message> nextPage() throws StoreException {
            Database.Range range = rest;
            Database.Page page = look(session -> session.page(range));
            rest = page.rest();
            return page.messages();
        }
    }

    private boolean read(ThreadSession own) {
        Job job = take(readings);
        if (job != null) {
            work(own, job);
        }
        return job != LAST;
    }

    // ---------------------------------------------------------------- jobs

    /** What a caller waits for: a message to be stored with others, or else work by itself. */
    private static final class Job extends CompletableFuture<Object> {
        final Function<UUID, Database.Entry> message;
        final Database.Work<?> work;
        final long since = System.nanoTime();

        Job(Function<UUID, Database.Entry> message, Database.Work<?> work) {
            this.message = message;
            this.work = work;
        }
    }

    /** Does the work of {@code job}, if it has any: once more over a new connection if it fails. */
    private static void work(ThreadSession own, Job job) {
        for (int attempt = 1; job.work != null && !job.isDone(); attempt++) {
            try {
                job.complete(job.work.in(own.session()));
            } catch (SQLException | RuntimeException | Error e) {
                own.drop();
                if (attempt == 2) {
                    job.completeExceptionally(e);
                }
            }
        }
    }

    /** Hands a job to the threads that do such jobs and waits for what comes of it. */
    @SuppressWarnings("unchecked") // the answer to a job is what its work has returned
    private <A> A outcome(Failing failing, Job job) throws StoreException {
        waiting.add(job);
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
            job.cancel(false); // if no thread has taken it up yet, none will
            Thread.currentThread().interrupt();
            throw new StoreException(failing, "interrupted while waiting for the database", e);
        } finally {
            waiting.remove(job);
        }
    }

    /**
     * Ends the patience of those who have waited too long. A look at all of them now and then costs
     * far less than a timer for each, which wakes one more thread for every message.
     */
    private void endPatience() {
        try {
            for (Job job : waiting) {
                if (System.nanoTime() - job.since > PATIENCE.toNanos()) {
                    job.completeExceptionally(
                            new SQLException("the database did not answer in time"));
                }
            }
        } catch (RuntimeException | Error e) {
            // Tolerated, or nobody would look again: the turn of the others comes then.
        }
    }

    /** The next job, or null when all is quiet. Nobody interrupts the threads of a store. */
    private static Job take(BlockingQueue<Job> queue) {
        try {
            return queue.poll(QUIET.toNanos(), TimeUnit.NANOSECONDS);
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    /** One line; of drivers that say only that a connection failed, with the last cause. */
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
