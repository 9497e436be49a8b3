//JAVA 21+
//SOURCES Database.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.InvalidPathException;
import java.security.SecureRandom;
import java.sql.Connection;
import java.sql.SQLException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;

/**
 * Durable mailboxes over JDBC: {@link #store} returns when the message would survive a power cut,
 * {@link #fetch} gives a mailbox page by page.
 *
 * <p>Only the threads of this class touch the database: one writer, which commits all stores that
 * wait in one transaction (group commit), and {@value #READERS} readers. They are platform threads,
 * since a database call would pin a virtual thread's carrier; callers, virtual or not, wait for
 * them.
 *
 * <p>Left out on purpose: deleting. Fetching deletes nothing, as in the original.
 */
public final class MessageStore implements AutoCloseable {

    /** Most messages that one page of a mailbox holds. */
    public static final int PAGE_SIZE = Database.PAGE_SIZE;

    /**
     * A caller learns the outcome, or that it is unknown, within this time: a client waits 10 s.
     */
    public static final Duration PATIENCE = Duration.ofSeconds(8);

    private static final int READERS = 2;
    private static final int MAX_BATCH = 1024;
    private static final Duration RETRY_FOR = Duration.ofSeconds(5);
    private static final Duration MAX_PAUSE = Duration.ofSeconds(1);
    private static final Duration MIN_PAUSE = Duration.ofMillis(50);
    private static final UUID LOWEST = new UUID(0, 0);
    private static final UUID HIGHEST = new UUID(-1, -1);

    private final Database database;
    private final Ids ids;
    private final Outage outage = new Outage();
    private final BlockingQueue<Storing> storings = new LinkedBlockingQueue<>();
    private final BlockingQueue<Reading> readings = new LinkedBlockingQueue<>();
    private final Set<Job<?>> waiting = ConcurrentHashMap.newKeySet();
    private final ScheduledExecutorService patience =
            Executors.newSingleThreadScheduledExecutor(
                    Thread.ofPlatform().daemon().name("store-patience").factory());
    private final Thread writer;
    private final List<Thread> readers = new ArrayList<>();
    private volatile boolean closed;

    /** Thrown, with one sentence for a person, when the store cannot do what it was asked to. */
    public static final class StoreException extends Exception {
        private static final long serialVersionUID = 1;

        StoreException(String sentence, Throwable cause) {
            super(sentence, cause);
        }
    }

    /** A message of a mailbox. */
    public record Message(String sender, String text) {}

    /**
     * Opens the store at {@code place}, creating it if there is none.
     *
     * @param place a file for SQLite, or {@code jdbc:postgresql://...} for a database that speaks
     *     PostgreSQL's protocol
     * @throws StoreException when no store there can be trusted: not a database, made by something
     *     else, open in another server, out of reach, or settings that did not take
     */
    public MessageStore(String place) throws StoreException {
        this(place, UnaryOperator.identity());
    }

    /**
     * As {@link #MessageStore(String)}; each connection goes through {@code wrap}, for fault tests.
     */
    MessageStore(String place, UnaryOperator<Connection> wrap) throws StoreException {
        try {
            database = Database.at(place, wrap);
        } catch (IOException | InvalidPathException e) {
            String shown =
                    place.startsWith("jdbc:") ? "that database" : place; // may hold a password
            throw new StoreException("Cannot keep messages in " + shown + ": " + reason(e), e);
        }
        try {
            ids = new Ids(database.prepare());
            try (Database.Session check = database.open()) {
                check.insert(List.of());
                check.page("", LOWEST, LOWEST, (sender, text) -> {});
            }
        } catch (SQLException | IOException e) {
            database.release();
            throw new StoreException(
                    "Cannot keep messages in " + database.shown() + ": " + reason(e), e);
        }
        for (int i = 1; i <= READERS; i++) {
            readers.add(Thread.ofPlatform().name("store-reader-" + i).start(this::read));
        }
        writer = Thread.ofPlatform().name("store-writer").start(this::write);
        patience.scheduleWithFixedDelay(this::endPatience, 500, 500, TimeUnit.MILLISECONDS);
    }

    /**
     * Loads what opening a store will need; worth calling beside other work at a program's start.
     */
    static void loadAhead() {
        Sqlite.loadAhead();
    }

    /**
     * Where messages are kept, fit to be shown: an absolute path, or a URL without its parameters.
     */
    public String place() {
        return database.shown();
    }

    /**
     * Puts a message into a mailbox and returns when it is durable.
     *
     * @return how many messages its commit held, this one included
     * @throws StoreException when it could not be stored, or when nobody knows within {@link
     *     #PATIENCE} whether it was
     */
    public int store(String recipient, String sender, String text) throws StoreException {
        return outcome(storings, new Storing(recipient, sender, text));
    }

    /** The mailbox of {@code recipient}, to be read from its oldest message on. */
    public Mailbox fetch(String recipient) {
        return new Mailbox(recipient);
    }

    /** A mailbox being read. Between two pages it holds neither connection nor transaction. */
    public final class Mailbox {
        private final String recipient;
        private UUID last = LOWEST;
        private UUID end = HIGHEST;

        private Mailbox(String recipient) {
            this.recipient = recipient;
        }

        /**
         * The next messages in the order of their acceptance, {@link #PAGE_SIZE} at most; fewer
         * only on the last page. Messages that arrive after the first page was full are left for
         * the next fetch, so that reading a busy mailbox comes to an end.
         *
         * @throws StoreException when the database cannot be read
         */
        public List<Message> nextPage() throws StoreException {
            UUID after = last;
            UUID upTo = end;
            Page page = look(s -> page(s, recipient, after, upTo));
            last = page.last();
            end = page.end();
            return page.messages();
        }
    }

    /**
     * Whether {@code key} owns {@code name}; it does from now on, durably, if no key did before.
     *
     * @throws StoreException when nobody can tell
     */
    public boolean owns(String name, String key) throws StoreException {
        String owner = look(session -> session.owners().of(name, key));
        return owner.equals(key);
    }

    /** Whether any name has an owner. */
    public boolean hasOwners() throws StoreException {
        return look(session -> session.owners().any());
    }

    /** Makes room for owners, before the first is asked for. */
    public void keepOwners() throws StoreException {
        look(session -> {
            session.owners().make();
            return true;
        });
    }

    /**
     * Commits what is waiting, stops the threads and leaves the database: SQLite's is then one
     * file. Stores and fetches that come later are refused.
     */
    @Override
    public void close() {
        readers.forEach(reader -> readings.add(Reading.STOP));
        readers.forEach(MessageStore::join);
        storings.add(Storing.STOP);
        join(writer);
        patience.shutdown();
        database.release();
    }

    // ---------------------------------------------------------------- the threads and their jobs

    /** What a caller waits for. */
    private abstract static class Job<T> extends CompletableFuture<T> {
        final long since = System.nanoTime();
    }

    /** A message on its way into the database; completes when it is durable. */
    private static final class Storing extends Job<Integer> implements Database.Entry {
        static final Storing STOP = new Storing("", "", "");

        private final String recipient;
        private final String sender;
        private final String text;
        private UUID id;

        Storing(String recipient, String sender, String text) {
            this.recipient = recipient;
            this.sender = sender;
            this.text = text;
        }

        @Override
        public String recipient() {
            return recipient;
        }

        @Override
        public UUID id() {
            return id;
        }

        @Override
        public String sender() {
            return sender;
        }

        @Override
        public String text() {
            return text;
        }
    }

    /** What a reader looks up over its connection. */
    private interface Lookup<T> {
        T in(Database.Session session) throws SQLException;
    }

    /** Something being looked up. */
    private static final class Reading extends Job<Object> {
        static final Reading STOP = new Reading(null);

        private final Lookup<?> lookup;

        Reading(Lookup<?> lookup) {
            this.lookup = lookup;
        }

        void answer(Link link) throws SQLException {
            complete(lookup.in(link.session()));
        }
    }

    /** Messages, the id of the last one, and the id that ends this fetch. */
    private record Page(List<Message> messages, UUID last, UUID end) {}

    @SuppressWarnings("unchecked") // a lookup completes its job with what it has found
    private <T> T look(Lookup<T> lookup) throws StoreException {
        return (T) outcome(readings, new Reading(lookup));
    }

    /** Hands a job to the threads that serve {@code queue} and waits for what comes of it. */
    private <T, J extends Job<T>> T outcome(BlockingQueue<J> queue, J job) throws StoreException {
        waiting.add(job);
        queue.add(job);
        if (closed) {
            refuseAll(queue);
        }
        try {
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
        for (Job<?> job : waiting) {
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

    /** Called when no thread serves {@code queue} any more. */
    private static void refuseAll(BlockingQueue<? extends Job<?>> queue) {
        for (Job<?> job; (job = queue.poll()) != null; ) {
            job.completeExceptionally(new SQLException("the message store is closed"));
        }
    }

    /**
     * The writer: takes one store, and with it all that came while the previous commit was waiting
     * for the disk. That is the whole of group commit; waiting for company on purpose would gain
     * nothing.
     */
    private void write() {
        Link link = new Link();
        List<Storing> batch = new ArrayList<>(MAX_BATCH);
        for (boolean stop = false; !stop; batch.clear()) {
            batch.add(take(storings));
            storings.drainTo(batch, MAX_BATCH - 1);
            stop = batch.remove(Storing.STOP);
            batch.removeIf(CompletableFuture::isDone);
            if (!batch.isEmpty()) {
                try {
                    batch.forEach(storing -> storing.id = ids.next());
                    commit(link, batch);
                    batch.forEach(storing -> storing.complete(batch.size()));
                } catch (SQLException | RuntimeException | Error e) {
                    link.drop(); // whatever it was, the writer goes on, with a new connection
                    batch.forEach(storing -> storing.completeExceptionally(e));
                }
            }
        }
        closed = true;
        refuseAll(storings);
        refuseAll(readings);
        link.finish();
    }

    /**
     * Stores all of {@code batch} or throws. Once a try was under way when its connection failed,
     * nobody knows what became of it: the same ids are tried again, and what is there already stays
     * as it is.
     */
    private void commit(Link link, List<Storing> batch) throws SQLException {
        long giveUp = System.nanoTime() + RETRY_FOR.toNanos();
        boolean underWay = false;
        for (Duration pause = MIN_PAUSE; ; pause = longer(pause)) {
            try {
                Database.Session session = link.session();
                underWay = true;
                session.insert(batch);
                return;
            } catch (SQLException e) {
                link.drop();
                if (!underWay || !database.mayRetry(e) || System.nanoTime() - giveUp > 0) {
                    throw e;
                }
            }
            sleep(jittered(pause));
        }
    }

    /** A reader: a page that fails is tried once more over a new connection. */
    private void read() {
        Link link = new Link();
        try {
            // SQLite clears up when its last connection closes. Should that be the writer's, after
            // an I/O error, no new one could be opened: with the readers' open, fetches go on.
            link.session();
        } catch (SQLException | RuntimeException | Error e) {
            // Tolerated: the first fetch tries again.
        }
        for (Reading reading; (reading = take(readings)) != Reading.STOP; ) {
            if (reading.isDone()) {
                continue;
            }
            try {
                reading.answer(link);
            } catch (SQLException | RuntimeException | Error stale) {
                link.drop();
                try {
                    reading.answer(link);
                } catch (SQLException | RuntimeException | Error e) {
                    link.drop();
                    reading.completeExceptionally(e);
                }
            }
        }
        link.drop();
    }

    private static Page page(Database.Session session, String recipient, UUID after, UUID end)
            throws SQLException {
        List<Message> messages = new ArrayList<>();
        UUID last =
                session.page(
                        recipient,
                        after,
                        end,
                        (sender, text) -> messages.add(new Message(sender, text)));
        UUID newEnd = end;
        if (last == null) {
            last = end;
        } else if (end.equals(HIGHEST)) {
            newEnd = session.newest(recipient);
        }
        return new Page(messages, last, newEnd);
    }

    /** The connection of one thread: made when needed, thrown away after any failure. */
    private final class Link {
        private Database.Session session;

        Database.Session session() throws SQLException {
            if (session == null) {
                outage.throwIfTooSoon();
                try {
                    session = database.open();
                    outage.over();
                } catch (SQLException e) {
                    outage.noticed(e);
                    throw e;
                }
            }
            return session;
        }

        void drop() {
            if (session != null) {
                session.close();
                session = null;
            }
        }

        void finish() {
            try {
                database.finish(session());
            } catch (SQLException e) {
                // Tolerated: what was acknowledged is durable without it.
            }
            drop();
        }
    }

    /**
     * A database that could not be reached, and is given a moment; one for all threads, so that
     * when one of them has reached it the others try again at once.
     */
    private static final class Outage {
        private SQLException failure;
        private Duration pause = Duration.ZERO;
        private long notBefore;

        synchronized void throwIfTooSoon() throws SQLException {
            if (failure != null && System.nanoTime() - notBefore < 0) {
                throw failure;
            }
        }

        synchronized void noticed(SQLException e) {
            failure = e;
            notBefore = System.nanoTime() + jittered(pause).toNanos();
            pause = longer(pause);
        }

        synchronized void over() {
            failure = null;
            pause = Duration.ZERO;
        }
    }

    private static Duration longer(Duration pause) {
        Duration doubled = pause.multipliedBy(2);
        return pause.isZero() ? MIN_PAUSE : doubled.compareTo(MAX_PAUSE) < 0 ? doubled : MAX_PAUSE;
    }

    /** Half to all of {@code pause}, so that many servers do not come back in step. */
    private static Duration jittered(Duration pause) {
        long half = pause.toNanos() / 2;
        return Duration.ofNanos(half + ThreadLocalRandom.current().nextLong(half + 1));
    }

    /** These threads are never interrupted: nothing but this class knows them. */
    private static <T> T take(BlockingQueue<T> queue) {
        try {
            return queue.take();
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    private static void sleep(Duration pause) {
        try {
            Thread.sleep(pause);
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    private static void join(Thread thread) {
        try {
            thread.join(PATIENCE);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /**
     * One line; drivers that say only that a connection failed have the reason in the last cause.
     */
    private static String reason(Throwable e) {
        Throwable last = e;
        while (last.getCause() != null) {
            last = last.getCause();
        }
        String reason = Objects.requireNonNullElse(e.getMessage(), e.toString());
        if (e instanceof FileSystemException at && at.getReason() == null) {
            // Its message is the file alone; AccessDeniedException means "access denied".
            reason +=
                    ": "
                            + e.getClass()
                                    .getSimpleName()
                                    .replaceFirst("Exception$", "")
                                    .replaceAll("(?<=[a-z])(?=[A-Z])", " ")
                                    .toLowerCase(Locale.ROOT);
        }
        if (last != e) {
            reason += " " + last.getClass().getSimpleName() + ": " + last.getMessage();
        }
        return reason.lines().collect(Collectors.joining(" "));
    }

    /**
     * Makes ids as UUIDs of version 7 (RFC 9562, section 5.7): milliseconds, then a 12-bit counter,
     * then random bits that tell this process from others. They are made before the first try, so
     * that a retry stores once, and increase strictly, so that they are the order of acceptance.
     * Used by one thread.
     */
    private static final class Ids {
        private final long process = new SecureRandom().nextLong() >>> 2 | Long.MIN_VALUE;
        private long last;

        /**
         * @param floor milliseconds since 1970 that all ids are to lie beyond, against a clock that
         *     was set back, or is not set yet
         */
        Ids(long floor) {
            last = floor << 12;
        }

        UUID next() {
            last = Math.max(last + 1, System.currentTimeMillis() << 12);
            return new UUID(last >>> 12 << 16 | 0x7000 | last & 0xfff, process);
        }
    }
}
