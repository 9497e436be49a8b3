//JAVA 21+
//DEPS org.postgresql:postgresql:42.7.14
//SOURCES Database.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Statement;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import java.util.logging.Level;
import java.util.logging.Logger;

/** Keeps messages in a database that speaks PostgreSQL's protocol, with other servers or alone. */
final class Postgres implements Database {
    /** It logs URLs, and with them passwords. */
    private static final Logger DRIVER = Logger.getLogger("org.postgresql");

    private static final Duration START_PATIENCE = Duration.ofSeconds(15);

    private final String url;
    private final UnaryOperator<Connection> wrap;
    private final Properties settings = new Properties();

    /**
     * @throws IllegalArgumentException when {@code url} is none that the driver understands, or has
     *     a password where it would be shown; and for a limit in bytes
     */
    Postgres(String url, long maxBytes, UnaryOperator<Connection> wrap) {
        if (maxBytes < Long.MAX_VALUE) {
            throw new IllegalArgumentException(
                    "a limit to its size is set where its data are: give it a tablespace on a disk"
                            + " of that size");
        }
        this.url = url;
        this.wrap = wrap;
        DRIVER.setLevel(Level.OFF);
        // Checked here, since the driver's own exceptions name the whole URL.
        if (url.matches("jdbc:postgresql://[^/?]*@.*")
                || org.postgresql.Driver.parseURL(url, new Properties()) == null) {
            throw new IllegalArgumentException(
                    "write jdbc:postgresql://HOST:PORT/DATABASE?user=NAME, the password into"
                            + " PGPASSWORD or .pgpass");
        }
        // pgjdbc waits for ever by default. What the URL says goes before what stands here.
        settings.putAll(
                Map.of(
                        "ApplicationName", "MsgServer",
                        "connectTimeout", "2",
                        "loginTimeout", "3",
                        "socketTimeout", "5",
                        "tcpKeepAlive", "true"));
        if (shown().contains(",")) {
            settings.setProperty("targetServerType", "primary");
        }
        String password = System.getenv("PGPASSWORD");
        if (password != null) {
            settings.setProperty("password", password);
        }
    }

    @Override
    public long prepare() throws SQLException {
        long giveUp = System.nanoTime() + START_PATIENCE.toNanos();
        Properties patient = new Properties(settings);
        patient.setProperty("loginTimeout", "10");
        while (true) {
            try (Connection connection = connect(patient);
                    Statement statement = connection.createStatement()) {
                prepare(statement);
                return 0;
            } catch (SQLException e) {
                // It is just starting, or full of connections; or another server makes the table
                // at the same time, which lets IF NOT EXISTS fail.
                if (!hasState(e, "57P03|53300|23505|42P07|42710")
                        || System.nanoTime() - giveUp > 0) {
                    throw e;
                }
            }
            LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(500));
        }
    }

    private static void prepare(Statement statement) throws SQLException {
        String encoding = Database.one(statement, "SHOW server_encoding");
        if (!encoding.equals("UTF8")) {
            throw new SQLException("its encoding is " + encoding + ", it must be UTF8");
        }
        if (Database.one(statement, "SELECT to_regclass('message')") == null) {
            statement.execute(
                    "CREATE TABLE IF NOT EXISTS message (recipient text NOT NULL,"
                            + " id uuid NOT NULL, sender text NOT NULL, text text NOT NULL,"
                            + " PRIMARY KEY (recipient, id))");
        }
    }

    @Override
    public Session open() throws SQLException {
        Connection connection = connect(settings);
        try {
            try (Statement statement = connection.createStatement()) {
                // Relatives of PostgreSQL may not know this setting: then it is NULL.
                statement.execute(
                        "SELECT set_config('synchronous_commit', 'on', false)"
                                + " WHERE current_setting('synchronous_commit', true) = 'off'");
            }
            return new PostgresSession(connection);
        } catch (SQLException e) {
            connection.close();
            throw e;
        }
    }

    private Connection connect(Properties settings) throws SQLException {
        // The details of an error, which is shown, hold the row and so the text of a message.
        String quiet = (url.contains("?") ? "&" : "?") + "logServerErrorDetail=false";
        return wrap.apply(new org.postgresql.Driver().connect(url + quiet, settings));
    }

    @Override
    public boolean mayRetry(SQLException e) {
        return hasState(e, "08.*|57P0.*|40001|40P01|40003|25006|53300");
    }

    private static boolean hasState(SQLException e, String pattern) {
        return e.getSQLState() != null && e.getSQLState().matches(pattern);
    }

    @Override
    public String shown() {
        return url.replaceFirst("[?].*", "");
    }

    private static final class PostgresSession extends Session {
        private final PreparedStatement insert;

        PostgresSession(Connection connection) throws SQLException {
            super(connection);
            // DO NOTHING would write nothing on a retry, and so be acknowledged without waiting for
            // the synchronous replicas that the first try may not have reached.
            insert =
                    connection.prepareStatement(
                            "INSERT INTO message (recipient, id, sender, text) "
                                    + "SELECT * FROM unnest(?::text[], ?::uuid[], ?::text[],"
                                    + " ?::text[]) ON CONFLICT (recipient, id)"
                                    + " DO UPDATE SET text = EXCLUDED.text");
        }

        @Override
        void insert(List<Entry> batch) throws SQLException {
            setArray(1, "text", batch, Entry::recipient);
            setArray(2, "uuid", batch, Entry::id);
            setArray(3, "text", batch, Entry::sender);
            setArray(4, "text", batch, Entry::text);
            try {
                insert.executeUpdate();
            } catch (SQLException e) {
                // Errors about data quote them, and are shown: nobody may read mail there.
                if (hasState(e, "(22|23|44|P0).*")) {
                    String state = e.getSQLState();
                    throw new SQLException(
                            "the database refuses the content, error " + state, state);
                }
                throw e;
            }
            // A wait for a replica that is cancelled ends with a mere warning.
            SQLWarning warning = insert.getWarnings();
            if (warning != null) {
                throw new SQLException(warning.getMessage(), "40003"); // outcome unknown
            }
        }

        @Override
        String ownerTables() {
            return "SELECT count(to_regclass('owner'))";
        }

        private void setArray(
                int index, String type, List<Entry> batch, Function<Entry, Object> value)
                throws SQLException {
            insert.setArray(
                    index, connection.createArrayOf(type, batch.stream().map(value).toArray()));
        }
    }
}
