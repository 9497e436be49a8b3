//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.List;
import java.util.OptionalLong;
import java.util.UUID;
import java.util.function.BiConsumer;

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
    boolean mayRetry(SQLException e);

    /** Where it is, fit to be shown: an absolute path, or a URL without its parameters. */
    String shown();

    /** Fails when what is open is no longer what stands at its place; cheap enough to ask often. */
    default void requireInPlace() throws SQLException {}

    /**
     * Tidies up while nobody stores anything.
     *
     * @return false when there is something left to do
     */
    default boolean tidyUp() throws SQLException {
        return true;
    }

    /** Gives up what {@link #prepare} took; no session is open any more. */
    default void release() {}

    /** Bytes on disk, if this machine can tell. */
    default OptionalLong size() {
        return OptionalLong.empty();
    }

    /** What its operator should know, a sentence each. */
    default List<String> warnings() {
        return List.of();
    }

    /** What a thread looks up over its connection; perhaps twice, should that have failed. */
    interface Lookup<A> {
        A in(Session session) throws SQLException;
    }

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

        /** A query for how many tables of owners there are, 0 or 1. */
        abstract String ownerTables();

        /**
         * Gives {@code each} the sender and text of the oldest messages of {@code range}, {@link
         * #PAGE_SIZE} at most, oldest first.
         *
         * @return what is left of it, or null
         */
        Range page(Range range, BiConsumer<String, String> each) throws SQLException {
            page.setString(1, range.recipient());
            setId(page, 2, range.after());
            setId(page, 3, range.end());
            UUID last = null;
            try (ResultSet rows = page.executeQuery()) {
                for (int count = 1; rows.next(); count++) {
                    each.accept(rows.getString(2), rows.getString(3));
                    last = count == PAGE_SIZE ? id(rows) : null;
                }
            }
            if (last == null) {
                return null;
            }
            // Fixed by the first full page, so that messages which come meanwhile prolong no fetch.
            UUID end = range.end().equals(Range.HIGHEST) ? newest(range.recipient()) : range.end();
            return last.equals(end) ? null : new Range(range.recipient(), last, end);
        }

        /** The id of the newest message of a mailbox that has one. */
        private UUID newest(String recipient) throws SQLException {
            newest.setString(1, recipient);
            try (ResultSet row = newest.executeQuery()) {
                row.next();
                return id(row);
            }
        }

        @Override
        public void close() {
            try {
                connection.close();
            } catch (SQLException e) {
                // Tolerated: a connection is closed because it failed, or at the very end.
            }
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
