//JAVA 21+
//SOURCES ../common/OwnFiles.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.function.UnaryOperator;

/**
 * A database for messages, as {@link MessageStore} needs it. Databases differ in their connections,
 * in the settings that make them durable, in their SQL, and in the failures that are temporary.
 * Each has one table for messages:
 *
 * <pre>message (recipient, id, sender, text, PRIMARY KEY (recipient, id))</pre>
 *
 * <p>With this key a mailbox is one range in the order of acceptance, a retry with the same id
 * stores once, and a distributed database can place mailboxes by recipient.
 */
interface Database {

    /**
     * The database at {@code place}, not opened yet.
     *
     * @param maxBytes limits its size
     * @param wrap is applied to each connection
     * @throws IllegalArgumentException if {@code place} is wrong in itself, on any machine
     * @throws IOException if something else is at that place
     */
    static Database at(String place, long maxBytes, UnaryOperator<Connection> wrap)
            throws IOException {
        return place.startsWith("jdbc:postgresql:")
                ? new Postgres(place, maxBytes, wrap)
                : new Sqlite(place.replaceFirst("^jdbc:sqlite:", ""), maxBytes, wrap);
    }

    /**
     * Takes possession of the database, and makes a missing table.
     *
     * @return milliseconds since 1970; new ids have to be later
     * @throws SQLException if the database cannot be trusted with messages
     * @throws IOException if its file is not available
     */
    long prepare() throws SQLException, IOException;

    /** A new session, in which every setting that durability needs is in force. */
    default Session open() throws SQLException {
        Connection connection = connect();
        try {
            return session(connection);
        } catch (SQLException e) {
            OwnFiles.closeQuietly(connection);
            throw e;
        }
    }

    /** A new connection, before {@link #session} sets it up. */
    Connection connect() throws SQLException;

    /** Sets {@code connection} up for one thread. */
    Session session(Connection connection) throws SQLException;

    /** Whether a retry of the same transaction may succeed. */
    default boolean mayRetry(SQLException e) {
        return false;
    }

    /** Whether the database is damaged, so that an operator has to repair it. */
    default boolean isDamage(SQLException e) {
        return false;
    }

    /** The place, safe to show: an absolute path, or a URL without its parameters. */
    String shown();

    /** Fails if the open files were moved, deleted or replaced; cheap enough for each request. */
    default void requireInPlace() throws SQLException {}

    /** Called each second in which nothing was stored. */
    default void tidyUp() {}

    /** Gives up the possession that {@link #prepare} took; all sessions are closed by then. */
    default void release() {}

    /** The file that holds the database; empty if a database server holds it. */
    default Optional<Path> file() {
        return Optional.empty();
    }

    /** Warnings for the operator. */
    default List<String> warnings() {
        return List.of();
    }

    /** Work in the session of a thread; after a failure it runs once more. */
    interface Work<A> {
        A in(Session session) throws SQLException;
    }

    /** The next messages of a mailbox, and the rest of the mailbox; null at its end. */
    record Page(List<MessageStore.Message> messages, Range rest) {}

    /** A row of the table of messages. */
    record Entry(String recipient, UUID id, String sender, String text) {}

    /** The part of a mailbox after one id and up to another. */
    record Range(String recipient, UUID after, UUID end) {
        private static final UUID LOWEST = new UUID(0, 0);
        private static final UUID HIGHEST = new UUID(-1, -1);

        /** A whole mailbox. */
        Range(String recipient) {
            this(recipient, LOWEST, HIGHEST);
        }
    }

    /** Runs a statement; returns the first column of its last row, or null without a row. */
    static String run(Connection connection, String sql, String... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) {
                statement.setString(i + 1, values[i]);
            }
            statement.execute();
            ResultSet rows = statement.getResultSet();
            String found = null;
            while (rows != null && rows.next()) { // SQLite commits only after the last row
                found = rows.getString(1);
            }
            return found;
        }
    }

    /** One connection with its statements, in autocommit mode, owned by one thread. */
    abstract class Session implements AutoCloseable {

        /** Messages of one page. */
        static final int PAGE_SIZE = 256;

        final Connection connection;

        /**
         * A condition that is always true. A statement with this condition ends only once its
         * change is durable.
         */
        final String durably;

        private final PreparedStatement page;

        Session(Connection connection, String durably) throws SQLException {
            this.connection = connection;
            this.durably = durably;
            page =
                    connection.prepareStatement(
                            "SELECT id, sender, text, (SELECT id FROM message WHERE recipient = ?"
                                    + " ORDER BY id DESC LIMIT 1) AS newest FROM message WHERE"
                                    + " recipient = ? AND id > ? AND id <= ? ORDER BY id LIMIT "
                                    + PAGE_SIZE);
        }

        /**
         * Stores all messages of {@code batch}. After an exception some messages may be stored. A
         * retry with the same ids stores each message only once. An empty batch tests whether
         * messages can be stored.
         */
        abstract void insert(List<Entry> batch) throws SQLException;

        void setId(PreparedStatement statement, int index, UUID id) throws SQLException {
            statement.setObject(index, id);
        }

        UUID id(ResultSet row, int column) throws SQLException {
            return row.getObject(column, UUID.class);
        }

        /**
         * The oldest messages of {@code range}, {@link #PAGE_SIZE} at most, oldest first. The first
         * full page sets the end to the newest message, so that later messages prolong no fetch.
         */
        Page page(Range range) throws SQLException {
            page.setString(1, range.recipient());
            page.setString(2, range.recipient());
            setId(page, 3, range.after());
            setId(page, 4, range.end());
            List<MessageStore.Message> messages = new ArrayList<>();
            UUID last = null;
            UUID end = range.end();
            try (ResultSet rows = page.executeQuery()) {
                while (rows.next()) {
                    messages.add(new MessageStore.Message(rows.getString(2), rows.getString(3)));
                    if (messages.size() == PAGE_SIZE) {
                        last = id(rows, 1);
                        end = end.equals(Range.HIGHEST) ? id(rows, 4) : end;
                    }
                }
            }
            boolean all = last == null || last.equals(end);
            return new Page(messages, all ? null : new Range(range.recipient(), last, end));
        }

        // ------------------------------------------------------------ owners of names

        /** A query for the number of tables of owners, 0 or 1. */
        abstract String ownerTables();

        /**
         * Makes the table of owners if {@code tls} is true and the table is missing.
         *
         * @return whether any name has an owner
         */
        boolean openOwners(boolean tls) throws SQLException {
            boolean there = run(connection, ownerTables()).equals("1");
            if (tls && !there) {
                // Fails if another server makes the table now; the retry then finds the table.
                run(
                        connection,
                        "CREATE TABLE IF NOT EXISTS owner (name TEXT NOT NULL PRIMARY KEY,"
                                + " key TEXT NOT NULL, since TIMESTAMP WITH TIME ZONE NOT NULL"
                                + " DEFAULT CURRENT_TIMESTAMP)");
                run(connection, "CREATE INDEX IF NOT EXISTS owner_key ON owner (key)");
            }
            return there && run(connection, "SELECT name FROM owner LIMIT 1") != null;
        }

        /** The key that owns {@code name}, or null. */
        String owner(String name) throws SQLException {
            return run(connection, "SELECT key FROM owner WHERE name = ?", name);
        }

        /**
         * Makes {@code key} the owner of {@code name} if the name has no owner and the key owns
         * fewer than {@code most} names. If two keys claim a name at once, even on two servers, the
         * database decides: the second statement finds the owner that the first one made.
         *
         * @return the owner, or null if {@code key} owns {@code most} names already
         */
        String claim(String name, String key, int most) throws SQLException {
            String claim =
                    "INSERT INTO owner (name, key) SELECT ?, ? WHERE "
                            + durably
                            + " AND (SELECT count(*) FROM owner WHERE key = ?) < "
                            + most
                            + " ON CONFLICT (name) DO UPDATE SET key = owner.key RETURNING key";
            return run(connection, claim, name, key, key);
        }

        @Override
        public void close() {
            OwnFiles.closeQuietly(connection); // it may have failed already
        }
    }
}
