//JAVA 21+
//SOURCES Database.java
//SOURCES Ids.java
//SOURCES ../common/OwnFiles.java
//SOURCES Sqlite.java
//SOURCES Postgres.java
//SOURCES PlatformThreads.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.SQLException;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletionException;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;

/**
 * Durable mailboxes over JDBC: {@link #store} returns when the message would survive a power cut,
 * and {@link #fetch} returns a mailbox page by page.
 *
 * <p>{@link PlatformThreads} use the database, and {@link GroupCommit} commits all pending stores
 * in one transaction. {@link Database} hides the differences between databases.
 *
 * <p>Deleting is left out on purpose: a fetch deletes nothing, as with the classic server.
 */
public final class MessageStore implements AutoCloseable {

    /** A caller waits for this time and one {@link PlatformThreads#POLL} at most. */
    public static final Duration PATIENCE = Duration.ofSeconds(6);

    private final Database database;
    private final PlatformThreads threads;

    /** The kinds of failure, each of which an operator handles in another way. */
    public enum Failing {
        READING,
        WRITING,
        /** The database is damaged in part; only the operator can repair it. */
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
     * @throws StoreException if the place cannot be trusted with messages: it is a file that is no
     *     database, belongs to another program, is open in another server, is out of reach or not
     *     writable, or ignores a setting
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
        try {
            Ids ids = new Ids(database.prepare());
            // A database that cannot be written or read fails the start, not the first request.
            try (Database.Session check = database.open()) {
                check.insert(List.of());
                check.page(new Database.Range(""));
            }
            threads = new PlatformThreads(database, ids);
        } catch (SQLException | IOException e) {
            database.release();
            throw cannotKeep(database.shown(), e);
        }
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
        if (threads.close(limit)) { // else a thread may still write, and holds the file
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
        Function<UUID, Database.Entry> message =
                id -> new Database.Entry(recipient, id, sender, text);
        return this.<Integer>outcome(Failing.WRITING, new PlatformThreads.Job(message, null));
    }

    /** Makes a durable change other than storing a message, on the writer's thread. */
    <A> A change(Database.Work<A> change) throws StoreException {
        return outcome(Failing.WRITING, new PlatformThreads.Job(null, change));
    }

    // ---------------------------------------------------------------- reading

    /** The result of {@code lookup}, which runs on the thread of a reader. */
    <A> A look(Database.Work<A> lookup) throws StoreException {
        return outcome(Failing.READING, new PlatformThreads.Job(null, lookup));
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

    // ---------------------------------------------------------------- outcomes

    @SuppressWarnings("unchecked") // a job is completed with the result of its work
    private <A> A outcome(Failing failing, PlatformThreads.Job job) throws StoreException {
        try {
            return (A) threads.outcome(job, failing == Failing.WRITING);
        } catch (CompletionException e) {
            Throwable cause = e.getCause();
            boolean damaged = cause instanceof SQLException failure && database.isDamage(failure);
            throw new StoreException(damaged ? Failing.DAMAGED : failing, reason(cause), cause);
        }
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
