//JAVA 21+
//SOURCES ../common/OwnFiles.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.function.UnaryOperator;

/**
 * What a message store needs of a database. The databases that can keep messages differ in how they
 * are reached and made durable, in their SQL, and in which of their failures pass. One table in
 * each:
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
     * @param maxBytes it grows no larger
     * @param wrap each connection goes through it
     * @throws IllegalArgumentException when that cannot be a place, whatever the machine
     * @throws IOException when there is something else at that place
     */
    static Database at(String place, long maxBytes, UnaryOperator<Connection> wrap)
            throws IOException {
        return place.startsWith("jdbc:postgresql:")
                ? new Postgres(place, maxBytes, wrap)
                : new Sqlite(place.replaceFirst("^jdbc:sqlite:", ""), maxBytes, wrap);
    }

    /**
     * Takes possession of the database and makes the table if it is missing.
     *
     * @return milliseconds since 1970 that new ids are to lie beyond
     * @throws SQLException when it is not one to be trusted
     * @throws IOException when its file cannot be had
     */
    long prepare() throws SQLException, IOException;

    /** A new connection, with every setting that durability rests on in force. */
    Session open() throws SQLException;

    /** Whether the same transaction may succeed when it is tried again. */
    default boolean mayRetry(SQLException e) {
        return false;
    }

    /** Whether what is kept cannot be read any more, until somebody repairs the database. */
    default boolean isDamage(SQLException e) {
        return false;
    }

    /** Where it is, fit to be shown: an absolute path, or a URL without its parameters. */
    String shown();

    /** Fails when what is open is no longer what stands at its place; cheap enough to ask often. */
    default void requireInPlace() throws SQLException {}

    /** Tidies up while nobody stores anything; called each second then. */
    default void tidyUp() {}

    /** Gives up what {@link #prepare} took; no session is open any more. */
    default void release() {}

    /** The file that it is, unless a server has it. */
    default Optional<Path> file() {
        return Optional.empty();
    }

    /** What its operator should know, a sentence each. */
    default List<String> warnings() {
        return List.of();
    }

    /** What a thread does over its connection; perhaps twice, should that have failed. */
    interface Work<A> {
        A in(Session session) throws SQLException;
    }

    /** The next messages of a mailbox, and what is left of it. */
    record Page(List<MessageStore.Message> messages, Range rest) {}

    /** A message as it is stored. */
    record Entry(String recipient, UUID id, String sender, String text) {}

    /** What lies in a mailbox after one id and up to another. */
    record Range(String recipient, UUID after, UUID end) {
        private static final UUID LOWEST = new UUID(0, 0);
        private static final UUID HIGHEST = new UUID(-1, -1);

        /** A whole mailbox. */
        Range(String recipient) {
            this(recipient, LOWEST, HIGHEST);
        }
    }

    /** One connection with its statements, in autocommit mode, owned by one thread. */
    abstract class Session implements AutoCloseable {

        /** Messages of one page. */
        static final int PAGE_SIZE = 256;

        final Connection connection;

        /** A condition that holds, and lets a statement that has it end only once it is durable. */
        final String durably;

        private final PreparedStatement page;
        private final PreparedStatement newest;

        Session(Connection connection, String durably) throws SQLException {
            this.connection = connection;
            this.durably = durably;
            page =
                    connection.prepareStatement(
                            "SELECT id, sender, text FROM message WHERE recipient = ? AND id > ?"
                                    + " AND id <= ? ORDER BY id LIMIT "
                                    + PAGE_SIZE);
            newest =
                    connection.prepareStatement(
                            "SELECT id FROM message WHERE recipient = ? ORDER BY id DESC LIMIT 1");
        }

        /**
         * Stores all or, with an exception, nothing; passes over ids that are there already. An
         * empty batch fails, too, where a message could not be stored.
         */
        abstract void insert(List<Entry> batch) throws SQLException;

        void setId(PreparedStatement statement, int index, UUID id) throws SQLException {
            statement.setObject(index, id);
        }

        /** The id in the first column. */
        UUID id(ResultSet row) throws SQLException {
            return row.getObject(1, UUID.class);
        }

        /** The oldest messages of {@code range}, {@link #PAGE_SIZE} at most, oldest first. */
        Page page(Range range) throws SQLException {
            page.setString(1, range.recipient());
            setId(page, 2, range.after());
            setId(page, 3, range.end());
            List<MessageStore.Message> messages = new ArrayList<>();
            UUID last = null;
            try (ResultSet rows = page.executeQuery()) {
                while (rows.next()) {
                    messages.add(new MessageStore.Message(rows.getString(2), rows.getString(3)));
                    last = messages.size() == PAGE_SIZE ? id(rows) : null;
                }
            }
            if (last == null) {
                return new Page(messages, null);
            }
            // Fixed by the first full page, so that messages which come meanwhile prolong no fetch.
            UUID end = range.end().equals(Range.HIGHEST) ? newest(range.recipient()) : range.end();
            boolean all = last.equals(end);
            return new Page(messages, all ? null : new Range(range.recipient(), last, end));
        }

        /** The id of the newest message of a mailbox that has one. */
        private UUID newest(String recipient) throws SQLException {
            newest.setString(1, recipient);
            try (ResultSet row = newest.executeQuery()) {
                row.next();
                return id(row);
            }
        }

        // ------------------------------------------------------------ owners of names

        /** A query for how many tables of owners there are, 0 or 1. */
        abstract String ownerTables();

        /**
         * Makes the table of owners if {@code tls} and it is missing.
         *
         * @return whether any name has an owner
         */
        boolean openOwners(boolean tls) throws SQLException {
            boolean there = run(ownerTables()).equals("1");
            if (tls && !there) {
                // Fails where another server makes it just now: a second try finds it.
                run(
                        "CREATE TABLE IF NOT EXISTS owner (name TEXT NOT NULL PRIMARY KEY,"
                                + " key TEXT NOT NULL, since TIMESTAMP WITH TIME ZONE NOT NULL"
                                + " DEFAULT CURRENT_TIMESTAMP)");
                run("CREATE INDEX IF NOT EXISTS owner_key ON owner (key)");
            }
            return there && run("SELECT name FROM owner LIMIT 1") != null;
        }

        /** The key that owns {@code name}, or null. */
        String owner(String name) throws SQLException {
            return run("SELECT key FROM owner WHERE name = ?", name);
        }

        /**
         * Makes {@code key} the owner of {@code name} if it has none, and the key owns fewer than
         * {@code most}. One statement decides between two keys that claim a name at once, on
         * whatever server: the second finds the first one's there.
         *
         * @return the owner, or null
         */
        String claim(String name, String key, int most) throws SQLException {
            String claim =
                    "INSERT INTO owner (name, key) SELECT ?, ? WHERE "
                            + durably
                            + " AND (SELECT count(*) FROM owner WHERE key = ?) < "
                            + most
                            + " ON CONFLICT (name) DO UPDATE SET key = owner.key RETURNING key";
            return run(claim, name, key, key);
        }

        /** The first column of the last row that a statement returns, or null. */
        String run(String sql, String... values) throws SQLException {
            try (PreparedStatement statement = connection.prepareStatement(sql)) {
                for (int i = 0; i < values.length; i++) {
                    statement.setString(i + 1, values[i]);
                }
                statement.execute();
                ResultSet rows = statement.getResultSet();
                String found = null;
                while (rows != null && rows.next()) { // to their end, where SQLite commits
                    found = rows.getString(1);
                }
                return found;
            }
        }

        @Override
        public void close() {
            OwnFiles.closeQuietly(connection); // it failed, or all ends
        }
    }

    /** The first column of the only row. */
    static String one(Statement statement, String query) throws SQLException {
        try (ResultSet row = statement.executeQuery(query)) {
            row.next();
            return row.getString(1);
        }
    }
}
