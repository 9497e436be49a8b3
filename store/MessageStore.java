//JAVA 21+
//SOURCES Database.java
//SOURCES Ids.java
//SOURCES Link.java
//SOURCES ../common/OwnFiles.java
//SOURCES Sqlite.java
//SOURCES Postgres.java
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
import java.util.OptionalLong;
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
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;

/**
 * Durable mailboxes over JDBC: {@link #store} returns when the message would survive a power cut,
 * {@link #fetch} gives a mailbox page by page.
 *
 * <p>Between opening and closing only the threads of this class use the database: one writer, which
 * commits all stores that wait in one transaction (group commit), and {@value #READERS} readers,
 * which also look up {@link Owners}. They are platform threads: SQLite is native code, in which a
 * virtual thread would block the platform thread that carries it and others. Callers wait for them.
 *
 * <p>Left out on purpose: deleting. Fetching deletes nothing, as in the original.
 */
public final class MessageStore implements AutoCloseable {

    /** The longest that a caller waits; less than a client's 10 s, so that it gets a reply. */
    public static final Duration PATIENCE = Duration.ofSeconds(8);

    private static final int READERS = 2;
    private static final String CLOSED = "the message store is closed";

    private final Database database;
    private final Ids ids;
    private final Link.Outage outage = new Link.Outage();
    private final List<CompletableFuture<Void>> threads = new ArrayList<>();
    private volatile boolean closed;

    /** Thrown, with one sentence for a person, when the store cannot do what it was asked to. */
    public static sealed class StoreException extends Exception {
        private static final long serialVersionUID = 1;

        StoreException(String sentence, Throwable cause) {
            super(sentence, cause);
        }
    }

    /** Thrown when what was given as a place cannot be one, whatever the machine looks like. */
    public static final class PlaceException extends StoreException {
        private static final long serialVersionUID = 1;

        PlaceException(String sentence, Throwable cause) {
            super(sentence, cause);
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
        database = databaseAt(place, maxBytes, wrap);
        try {
            ids = new Ids(database.prepare());
            // So that a database that cannot be written or read is told now.
            try (Database.Session check = database.open()) {
                check.insert(List.of());
                check.page(new Database.Range(""), (sender, text) -> {});
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

    private void start(String name, Runnable work) {
        threads.add(CompletableFuture.runAsync(work, Thread.ofPlatform().name(name)::start));
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

    private static Database databaseAt(String place, long maxBytes, UnaryOperator<Connection> wrap)
            throws StoreException {
        try {
            return place.startsWith("jdbc:postgresql:")
                    ? new Postgres(place, maxBytes, wrap)
                    : new Sqlite(place.replaceFirst("^jdbc:sqlite:", ""), maxBytes, wrap);
        } catch (IllegalArgumentException e) {
            String shown = place.contains(":") ? "that database" : place; // it may hold a password
            throw new PlaceException("Cannot keep messages in " + shown + ": " + reason(e), e);
        } catch (IOException e) {
            throw cannotKeep(place, e);
        }
    }

    private static StoreException cannotKeep(String shown, Exception e) {
        return new StoreException("Cannot keep messages in " + shown + ": " + reason(e), e);
    }

    /** Where messages are kept, to be shown: an absolute path, or a URL without its parameters. */
    public String place() {
        return database.shown();
    }

    /** Bytes that the store takes on this machine's disk, if that can be told. */
    public OptionalLong size() {
        return database.size();
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
        storings.add(LAST_STORING);
        readings.addAll(Collections.nCopies(READERS, LAST_READING));
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

    // ---------------------------------------------------------------- storing

    private static final int MAX_BATCH = 1024;
    private static final Duration RETRY_FOR = Duration.ofSeconds(5);

    /** After this long without a store the writer tidies up. */
    private static final Duration QUIET = Duration.ofSeconds(1);

    private static final Job<Letter, Integer> LAST_STORING = new Job<>(null);

    private final BlockingQueue<Job<Letter, Integer>> storings = new LinkedBlockingQueue<>();

    /** A message that waits for its id, and then to be stored. */
    private interface Letter {
        Database.Entry with(UUID id);
    }

    /**
     * Puts a message into a mailbox and returns when it is durable.
     *
     * @return how many messages its commit held, this one included
     * @throws StoreException when it could not be stored, or when nobody knows within {@link
     *     #PATIENCE} whether it was
     */
    public int store(String recipient, String sender, String text) throws StoreException {
        return outcome(storings, new Job<>(id -> new Database.Entry(recipient, id, sender, text)));
    }

    /**
     * The writer: takes one store, and with it all that came while the previous commit was waiting
     * for the disk. That is the whole of group commit; waiting for company on purpose would gain
     * nothing.
     */
    private void write() {
        Link link = new Link(database, outage);
        List<Job<Letter, Integer>> batch = new ArrayList<>(MAX_BATCH);
        boolean tidy = true;
        for (boolean stop = false; !stop; batch.clear()) {
            try {
                Job<Letter, Integer> first = take(storings);
                if (first == null) {
                    tidy = tidy || database.tidyUp();
                    continue;
                }
                tidy = false;
                batch.add(first);
                storings.drainTo(batch, MAX_BATCH - 1);
                stop = batch.remove(LAST_STORING);
                batch.removeIf(CompletableFuture::isDone); // interrupted, or waited too long
                commit(link, batch);
                batch.forEach(job -> job.complete(batch.size()));
            } catch (SQLException | RuntimeException | Error e) {
                link.drop(); // whatever it was, the writer goes on, with a new connection
                batch.forEach(job -> job.completeExceptionally(e));
            }
        }
        link.drop();
    }

    /**
     * Stores all of {@code batch} or throws. When the connection fails while an insert is under
     * way, nobody knows whether it was committed: the same ids are sent again, and rows that are
     * there already stay as they are.
     */
    private void commit(Link link, List<Job<Letter, Integer>> batch) throws SQLException {
        if (batch.isEmpty()) {
            return;
        }
        List<Database.Entry> entries = new ArrayList<>(batch.size());
        batch.forEach(job -> entries.add(job.asked.with(ids.next())));
        long giveUp = System.nanoTime() + RETRY_FOR.toNanos();
        boolean underWay = false;
        for (int retries = 0; ; retries++) {
            try {
                Database.Session session = link.session();
                underWay = true;
                session.insert(entries);
                return;
            } catch (SQLException e) {
                link.drop();
                if (!underWay || !database.mayRetry(e) || System.nanoTime() - giveUp > 0) {
                    throw e;
                }
            }
            LockSupport.parkNanos(Link.pause(retries).toNanos());
        }
    }

    // ---------------------------------------------------------------- fetching

    private static final Job<Database.Lookup<?>, Object> LAST_READING = new Job<>(null);

    private final BlockingQueue<Job<Database.Lookup<?>, Object>> readings =
            new LinkedBlockingQueue<>();

    /** What {@code lookup} finds on the thread of a reader. */
    @SuppressWarnings("unchecked") // the answer to a job is what its lookup has found
    <A> A look(Database.Lookup<A> lookup) throws StoreException {
        return (A) outcome(readings, new Job<>(lookup));
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
         * The next 256 messages at most, in the order of acceptance; none after the last page. What
         * comes after the first full page is for the next fetch: reading a busy mailbox ends.
         *
         * @throws StoreException when the database cannot be read; the page may be asked for again
         */
        public List<Message> nextPage() throws StoreException {
            if (rest == null) {
                return List.of();
            }
            Database.Range range = rest;
            Page page =
                    look(session -> {
                        List<Message> messages = new ArrayList<>();
                        return new Page(
                                messages,
                                session.page(
                                        range,
                                        (sender, text) -> messages.add(new Message(sender, text))));
                    });
            rest = page.rest();
            return page.messages();
        }
    }

    private record Page(List<Message> messages, Database.Range rest) {}

    /** A reader: a page that fails is tried once more over a new connection. */
    private void read() {
        Link link = new Link(database, outage);
        for (Job<Database.Lookup<?>, Object> job; (job = take(readings)) != LAST_READING; ) {
            for (int attempt = 1; job != null && !job.isDone(); attempt++) {
                try {
                    job.complete(job.asked.in(link.session()));
                } catch (SQLException | RuntimeException | Error e) {
                    link.drop();
                    if (attempt == 2) {
                        job.completeExceptionally(e);
                    }
                }
            }
        }
        link.drop();
    }

    // ---------------------------------------------------------------- waiting for the threads

    private final Set<Job<?, ?>> waiting = ConcurrentHashMap.newKeySet();
    private final ScheduledExecutorService patience =
            Executors.newSingleThreadScheduledExecutor(
                    Thread.ofPlatform().daemon().name("store-patience").factory());

    /** What a caller asked for, and waits for. */
    private static final class Job<Q, A> extends CompletableFuture<A> {
        final Q asked;
        final long since = System.nanoTime();

        Job(Q asked) {
            this.asked = asked;
        }
    }

    /** Hands a job to the threads that serve {@code queue} and waits for what comes of it. */
    private <Q, A> A outcome(BlockingQueue<Job<Q, A>> queue, Job<Q, A> job) throws StoreException {
        waiting.add(job);
        try {
            if (closed) {
                throw new StoreException(CLOSED, null);
            }
            queue.add(job);
            return job.get();
        } catch (ExecutionException e) {
            throw new StoreException(reason(e.getCause()), e.getCause());
        } catch (InterruptedException e) {
            job.cancel(false); // if no thread has taken it up yet, none will
            Thread.currentThread().interrupt();
            throw new StoreException("interrupted while waiting for the database", e);
        } finally {
            waiting.remove(job);
        }
    }

    /**
     * Ends the patience of those who have waited too long. A look at all of them now and then costs
     * far less than a timer for each, which wakes one more thread for every message.
     */
    private void endPatience() {
        for (Job<?, ?> job : waiting) {
            try {
                if (System.nanoTime() - job.since > PATIENCE.toNanos()) {
                    job.completeExceptionally(
                            new SQLException("the database did not answer in time"));
                }
            } catch (RuntimeException | Error e) {
                // Tolerated, or nobody would look again: its turn comes with the next look.
            }
        }
    }

    /** The next job, or null when all is quiet. Nobody interrupts the threads of a store. */
    private static <T> T take(BlockingQueue<T> queue) {
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
