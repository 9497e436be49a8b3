//JAVA 21+
//SOURCES Database.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

/**
 * Which key owns a name. The table is there only once a server has asked for it; its statements are
 * the same in every database:
 *
 * <pre>owner (name, key, since, PRIMARY KEY (name))</pre>
 */
final class Owners {
    private final Connection connection;
    private final String tables;

    /**
     * The owners in the database of {@code connection}.
     *
     * @param tables a query for how many tables of their name there are, 0 or 1
     */
    Owners(Connection connection, String tables) {
        this.connection = connection;
        this.tables = tables;
    }

    /** Whether any name has an owner. */
    boolean any() throws SQLException {
        try (Statement statement = connection.createStatement()) {
            return isThere(statement)
                    && !Database.one(statement, "SELECT count(*) FROM owner").equals("0");
        }
    }

    /** Makes the table if it is missing. */
    void make() throws SQLException {
        try (Statement statement = connection.createStatement()) {
            try {
                if (!isThere(statement)) {
                    statement.execute(
                            "CREATE TABLE IF NOT EXISTS owner (name TEXT NOT NULL PRIMARY KEY, key"
                                    + " TEXT NOT NULL, since TIMESTAMP WITH TIME ZONE NOT NULL"
                                    + " DEFAULT CURRENT_TIMESTAMP)");
                }
            } catch (SQLException e) {
                if (!isThere(statement)) { // else two servers made it at once
                    throw e;
                }
            }
        }
    }

    private boolean isThere(Statement statement) throws SQLException {
        return Database.one(statement, tables).equals("1");
    }

    /** The key that owns {@code name}: {@code key}, durably, if nobody did before. */
    String of(String name, String key) throws SQLException {
        String owner = first("SELECT key FROM owner WHERE name = ?", name);
        // One statement decides between two who claim a name at once: the second one finds and
        // returns the first one's key, on whatever server each of them is.
        return owner != null
                ? owner
                : first(
                        "INSERT INTO owner (name, key) VALUES (?, ?) ON CONFLICT (name)"
                                + " DO UPDATE SET key = owner.key RETURNING key",
                        name,
                        key);
    }

    private String first(String query, String... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(query)) {
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
