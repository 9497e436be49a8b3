//JAVA 21+
//SOURCES MessageStore.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

/**
 * Which key owns a name, durably; asked of the database each time, since others may share it. The
 * table is there only once a server has asked for it; its statements suit both databases:
 *
 * <pre>owner (name, key, since, PRIMARY KEY (name))</pre>
 */
final class Owners {
    private final MessageStore store;

    Owners(MessageStore store) {
        this.store = store;
    }

    /**
     * Makes the table if names are to belong to keys and it is missing.
     *
     * @param byKey whether they are to
     * @throws MessageStore.StoreException when they are not to, but one does; or the database does
     *     not answer
     */
    void open(boolean byKey) throws MessageStore.StoreException {
        boolean owned;
        try {
            owned = store.look(session -> prepare(session, byKey));
        } catch (MessageStore.StoreException e) {
            throw new MessageStore.StoreException(
                    "Cannot keep messages in %s: %s".formatted(store.place(), e.getMessage()), e);
        }
        if (owned && !byKey) {
            String sentence =
                    "Names in %s belong to keys: start with --tls, or with another --store. The way"
                            + " back is \"Leaving TLS again\" in docs/tls.md.";
            throw new MessageStore.StoreException(sentence.formatted(store.place()), null);
        }
    }

    /** Makes the table if it is wanted and missing, and tells whether any name has an owner. */
    private static boolean prepare(Database.Session session, boolean byKey) throws SQLException {
        try (Statement statement = session.connection.createStatement()) {
            if (Database.one(statement, session.ownerTables()).equals("1")) {
                return !Database.one(statement, "SELECT count(*) FROM owner").equals("0");
            }
            if (byKey) {
                // Fails where another server makes it just now; the second try then finds it.
                statement.execute(
                        "CREATE TABLE IF NOT EXISTS owner (name TEXT NOT NULL PRIMARY KEY,"
                                + " key TEXT NOT NULL, since TIMESTAMP WITH TIME ZONE NOT NULL"
                                + " DEFAULT CURRENT_TIMESTAMP)");
            }
            return false;
        }
    }

    /** Whether {@code key} owns {@code name}; it does from now on if no key did before. */
    boolean owns(String name, String key) throws MessageStore.StoreException {
        return store.look(session -> {
            String owner = first(session, "SELECT key FROM owner WHERE name = ?", name);
            // One statement decides between two keys that claim a name at once, on whatever
            // server: the second finds the first one's there.
            String claim =
                    "INSERT INTO owner (name, key) SELECT ?, ? WHERE "
                            + session.durably
                            + " ON CONFLICT (name) DO UPDATE SET key = owner.key RETURNING key";
            return key.equals(owner == null ? first(session, claim, name, key) : owner);
        });
    }

    private static String first(Database.Session session, String query, String... values)
            throws SQLException {
        try (PreparedStatement statement = session.connection.prepareStatement(query)) {
            for (int i = 0; i < values.length; i++) {
                statement.setString(i + 1, values[i]);
            }
            String found = null;
            try (ResultSet rows = statement.executeQuery()) {
                while (rows.next()) { // to their end, which is where SQLite commits
                    found = rows.getString(1);
                }
            }
            return found;
        }
    }
}
