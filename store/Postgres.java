//JAVA 21+
//DEPS org.postgresql:postgresql:42.7.14
//SOURCES Database.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import org.postgresql.util.PSQLWarning;

import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.StringJoiner;
import java.util.TimeZone;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import java.util.logging.Level;
import java.util.logging.Logger;

/** Keeps messages in a database that speaks PostgreSQL's protocol; many servers may share it. */
final class Postgres implements Database {
    /** The driver's logger, turned off, since it would show URLs and so passwords. */
    private static final Logger DRIVER = Logger.getLogger("org.postgresql");

    private static final Duration START_PATIENCE = Duration.ofSeconds(15);

    private final String url;
    private final UnaryOperator<Connection> wrap;
    private final Properties settings = new Properties();

    /** All hosts of the URL. The host of the last connection comes first. */
    private final List<String> hosts;

    /**
     * @throws IllegalArgumentException if the driver does not understand {@code url}, if the URL
     *     has a user before the host, perhaps with a password, or if {@code maxBytes} sets a limit
     */
    Postgres(String url, long maxBytes, UnaryOperator<Connection> wrap) {
        if (maxBytes < Long.MAX_VALUE) {
            throw new IllegalArgumentException(
                    "--max-size is for files only; for a limit, put the database's tablespace on a"
                            + " disk of that size");
        }
        this.url = url;
        this.wrap = wrap;
        String all = shown().replaceFirst("jdbc:postgresql:(//([^/]*))?.*", "$2");
        // With targetServerType the driver chooses a host, so all hosts stay one entry.
        hosts = new ArrayList<>(List.of(all.split(url.contains("targetServerType") ? "\n" : ",")));
        DRIVER.setLevel(Level.OFF);
        // The driver asks for a session in the JVM's time zone, which PostgreSQL may not know.
        TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
        // Checks the URL first, since the driver's exception would quote it, perhaps with a
        // password.
        if (url.matches("jdbc:postgresql://[^/?]*@.*")
                || org.postgresql.Driver.parseURL(url, new Properties()) == null) {
            throw new IllegalArgumentException(
                    "write jdbc:postgresql://HOST:PORT/DATABASE?user=NAME, and the password"
                            + " into PGPASSWORD or .pgpass");
        }
        // By default the driver waits for ever. Settings in the URL override the settings here.
        settings.putAll(
                Map.of(
                        "ApplicationName", "MsgServer",
                        "connectTimeout", "2",
                        "loginTimeout", "5",
                        "socketTimeout", "5",
                        "tcpKeepAlive", "true"));
        Optional.ofNullable(System.getenv("PGPASSWORD"))
                .ifPresent(it -> settings.setProperty("password", it));
    }

    @Override
    public long prepare() throws SQLException {
        long giveUp = System.nanoTime() + START_PATIENCE.toNanos();
        for (; ; LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(500))) {
            try (Connection connection = connect()) {
                return prepare(connection);
            } catch (SQLException e) {
                // The database is starting, or has no free connection. Or another server makes the
                // table at the same time, and IF NOT EXISTS fails then.
                if (!hasState(e, "57P03|53300|23505|42P07|42710")
                        || System.nanoTime() - giveUp > 0) {
                    throw e;
                }
            }
        }
    }

    /** Returns the time of the database, since the clock of this machine may be set back. */
    private static long prepare(Connection connection) throws SQLException {
        String encoding = Database.run(connection, "SHOW server_encoding");
        if (!encoding.equals("UTF8")) {
            throw new SQLException("its encoding is " + encoding + ", it must be UTF8");
        }
        if (Database.run(connection, "SELECT to_regclass('message')") == null) {
            Database.run(
                    connection,
                    "CREATE TABLE IF NOT EXISTS message (recipient text NOT NULL,"
                            + " id uuid NOT NULL, sender text NOT NULL, text text NOT NULL,"
                            + " PRIMARY KEY (recipient, id))");
        }
        String clock = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        return Long.parseLong(Database.run(connection, clock));
    }

    @Override
    public Session session(Connection connection) throws SQLException {
        return new PostgresSession(connection);
    }

    /**
     * A connection to the first host that takes writes. The driver could choose a host as well, but
     * would report the failure of the last host only. {@link Sessions} calls this method for one
     * thread at a time.
     */
    @Override
    public Connection connect() throws SQLException {
        // Errors are logged. Their details would quote the row, and with it the message's text.
        String quiet = url + (url.contains("?") ? "&" : "?") + "logServerErrorDetail=false";
        StringJoiner reasons = new StringJoiner("; ");
        SQLException last = null;
        for (String host : hosts) {
            String one = quiet.replaceFirst("(?<=^jdbc:postgresql://)[^/?]*", host);
            try {
                Connection connection = new org.postgresql.Driver().connect(one, settings);
                if (Database.run(connection, "SHOW transaction_read_only").equals("off")) {
                    Collections.swap(hosts, 0, hosts.indexOf(host));
                    return wrap.apply(connection);
                }
                connection.close();
                throw new SQLException("it is a standby or read-only; name all hosts", "25006");
            } catch (SQLException e) {
                last = e;
                reasons.add(host + ": " + (e.getCause() == null ? e.getMessage() : e.getCause()));
            }
        }
        throw hosts.size() == 1 ? last : new SQLException(reasons.toString(), last.getSQLState());
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
        /**
         * A condition that is always true. For this transaction it also turns on synchronous
         * commits and the warnings that {@link #insert} reads, even if a default of the database or
         * the user turns them off. Settings of the session are not enough, since a pooler may run
         * each transaction in another session. In a database that only resembles PostgreSQL, a
         * missing setting reads as NULL.
         */
        private static final String DURABLY =
                "(SELECT concat(CASE current_setting('synchronous_commit', true) WHEN 'off'"
                        + " THEN set_config('synchronous_commit', 'on', true) END,"
                        + " CASE current_setting('client_min_messages', true) WHEN 'error'"
                        + " THEN set_config('client_min_messages', 'warning', true) END))"
                        + " IS NOT NULL";

        private final PreparedStatement insert;

        PostgresSession(Connection connection) throws SQLException {
            super(connection, DURABLY);
            // On a retry, DO NOTHING would write nothing, and so would not wait for synchronous
            // replicas, which the first attempt may not have reached.
            insert =
                    connection.prepareStatement(
                            "INSERT INTO message (recipient, id, sender, text) "
                                    + "SELECT * FROM unnest(?::text[], ?::uuid[], ?::text[],"
                                    + " ?::text[]) WHERE "
                                    + DURABLY
                                    + " ON CONFLICT (recipient, id)"
                                    + " DO UPDATE SET text = EXCLUDED.text");
        }

        /**
         * Stores the batch; after a conflict with another transaction, tries again in halves. If
         * one row in a hundred conflicts, a batch of a thousand rows hardly ever succeeds. A row
         * that is stored already gets the same text again.
         */
        @Override
        void insert(List<Entry> batch) throws SQLException {
            setArray(1, "text", batch, Entry::recipient);
            setArray(2, "uuid", batch, Entry::id);
            setArray(3, "text", batch, Entry::sender);
            setArray(4, "text", batch, Entry::text);
            try {
                insert.executeUpdate();
            } catch (SQLException e) {
                int half = batch.size() / 2;
                if (half > 0 && hasState(e, "40001|40P01")) {
                    insert(batch.subList(0, half));
                    insert(batch.subList(half, batch.size()));
                    return;
                }
                // The text of an error about data quotes these data, and no log may hold them.
                if (hasState(e, "(22|23|44|P0).*")) {
                    String state = e.getSQLState();
                    throw new SQLException(
                            "the database refuses the content, error " + state, state);
                }
                throw e;
            }
            // A cancelled wait for a replica gives only a warning, with the same SQLSTATE as every
            // warning. The name of the routine identifies it; this name has not changed since 9.1.
            for (SQLWarning it = insert.getWarnings(); it != null; it = it.getNextWarning()) {
                if (it instanceof PSQLWarning warning
                        && "SyncRepWaitForLSN"
                                .equals(warning.getServerErrorMessage().getRoutine())) {
                    throw new SQLException("a wait for a replica was cancelled", "40003");
                }
            }
        }

        private void setArray(
                int index, String type, List<Entry> batch, Function<Entry, Object> value)
                throws SQLException {
            insert.setArray(
                    index, connection.createArrayOf(type, batch.stream().map(value).toArray()));
        }

        @Override
        String ownerTables() {
            return "SELECT count(to_regclass('owner'))";
        }
    }
}
