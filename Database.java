//JAVA 21+
//DEPS org.xerial:sqlite-jdbc:3.54.1.0
//DEPS org.postgresql:postgresql:42.7.14
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror
//RUNTIME_OPTIONS --enable-native-access=ALL-UNNAMED

import org.sqlite.JDBC;
import org.sqlite.SQLiteConfig;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Statement;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BiConsumer;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import java.util.logging.Level;
import java.util.logging.Logger;
import java.util.stream.Stream;

/**
 * Everything in which the databases that can keep messages differ: how they are reached and made
 * durable, their SQL, which of their failures pass. One table in each:
 *
 * <pre>message (recipient, id, sender, text, PRIMARY KEY (recipient, id))</pre>
 *
 * <p>With this key a mailbox is one range in the order of acceptance, a retry with the same id
 * stores once, and a distributed database can place mailboxes by recipient.
 */
sealed interface Database permits Database.Sqlite, Database.Postgres {

    /** Messages of one page, see {@link Session#page}. */
    int PAGE_SIZE = 256;

    /**
     * The database at {@code place}, not opened yet; each connection will go through {@code wrap}.
     */
    static Database at(String place, UnaryOperator<Connection> wrap) throws IOException {
        if (place.startsWith("jdbc:postgresql:")) {
            return new Postgres(place, wrap);
        }
        String file = place.replaceFirst("^jdbc:sqlite:", "");
        if (file.startsWith("jdbc:")) {
            throw new IOException("only SQLite files and jdbc:postgresql://... are supported");
        }
        return new Sqlite(file, wrap);
    }

    /** Loads the classes of the SQLite driver, most of what opening a store takes. */
    static void loadAhead() {
        new SQLiteConfig().newConnectionConfig();
        for (String name :
                List.of(
                        "core.NativeDB",
                        "jdbc4.JDBC4Connection",
                        "jdbc4.JDBC4Statement",
                        "jdbc4.JDBC4PreparedStatement",
                        "jdbc4.JDBC4ResultSet",
                        "SQLiteJDBCLoader",
                        "util.OSInfo")) {
            try {
                Class.forName("org.sqlite." + name);
            } catch (ClassNotFoundException e) {
                return; // it will be missed again where it is needed
            }
        }
    }

    /**
     * Takes possession of the database and makes the table if it is missing.
     *
     * @return milliseconds since 1970 that new ids are to lie beyond
     * @throws SQLException or IOException when it is not one to be trusted
     */
    long prepare() throws SQLException, IOException;

    /** A new connection, with every setting that durability rests on in force. */
    Session open() throws SQLException;

    /** Whether the same transaction may succeed when it is tried again. */
    boolean mayRetry(SQLException e);

    /** Tidies up over the last connection there is. */
    void finish(Session last) throws SQLException;

    /** Gives up what {@link #prepare} took. */
    void release();

    /** Where it is, fit to be shown: an absolute path, or a URL without its parameters. */
    String shown();

    /** A message as it is stored. */
    interface Entry {
        String recipient();

        UUID id();

        String sender();

        String text();
    }

    /** One connection with its statements, in autocommit mode, owned by one thread. */
    abstract sealed class Session implements AutoCloseable permits SqliteSession, PostgresSession {
        static final String INSERT = "INSERT INTO message (recipient, id, sender, text) ";

        final Connection connection;
        private final PreparedStatement page;
        private final PreparedStatement newest;

        Session(Connection connection) throws SQLException {
            this.connection = connection;
            page =
                    connection.prepareStatement(
                            "SELECT id, sender, text FROM message WHERE recipient = ? AND id > ?"
                                    + " AND id <= ? ORDER BY id LIMIT "
                                    + PAGE_SIZE);
            newest =
                    connection.prepareStatement(
                            "SELECT id FROM message WHERE recipient = ? ORDER BY id DESC LIMIT 1");
        }

        /** Stores all or, with an exception, nothing; passes over ids that are there already. */
        public abstract void insert(List<? extends Entry> batch) throws SQLException;

        abstract void setId(PreparedStatement statement, int index, UUID id) throws SQLException;

        abstract UUID id(ResultSet row, int index) throws SQLException;

        /**
         * Gives {@code each} the sender and text of the messages of a mailbox whose ids lie after
         * {@code after} and up to {@code end}, oldest first, {@link #PAGE_SIZE} at most.
         *
         * @return the last one's id, or null when the page is not full
         */
        UUID page(String recipient, UUID after, UUID end, BiConsumer<String, String> each)
                throws SQLException {
            page.setString(1, recipient);
            setId(page, 2, after);
            setId(page, 3, end);
            UUID last = null;
            try (ResultSet rows = page.executeQuery()) {
                for (int count = 1; rows.next(); count++) {
                    each.accept(rows.getString(2), rows.getString(3));
                    last = count == PAGE_SIZE ? id(rows, 1) : null;
                }
            }
            return last;
        }

        /** The id of the newest message of a mailbox that has one. */
        UUID newest(String recipient) throws SQLException {
            newest.setString(1, recipient);
            try (ResultSet row = newest.executeQuery()) {
                row.next();
                return id(row, 1);
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

    // ---------------------------------------------------------------- SQLite, one file

    final class Sqlite implements Database {
        /** First release without the WAL-reset bug (sqlite.org/wal.html), which loses commits. */
        private static final int[] OLDEST_SAFE = {3, 51, 3};

        private static final int APPLICATION_ID = 0x4d534753; // "MSGS", see PRAGMA application_id
        private static final String BUSY_TIMEOUT_MS = "2000";
        private static final int RESERVED_MINUTES = 2;

        private static final String TAKEN = "another server has it open";
        private static final long MAX_LOCK_SIZE = 1 << 20; // bytes of a sparse file

        /** What the driver logs reaches us as exceptions, too. Held here lest it be collected. */
        private static final Logger DRIVER = Logger.getLogger("org.sqlite");

        /** The lock files of this process. */
        private static final Set<Path> HELD = ConcurrentHashMap.newKeySet();

        /**
         * Bytes of a page, of a new database. Each message touches one, and all of it is written.
         */
        private static final String PAGE_BYTES = "2048";

        /**
         * Pages in the WAL before it is copied into the database: mailboxes are written to in turn,
         * and a page written to ten times is then copied once.
         */
        private static final String CHECKPOINT_PAGES = "32000";

        /** Each connection's page cache; a few thousand mailboxes in use fit. */
        private static final String CACHE_KIB = "16000";

        private final Path file;
        private final UnaryOperator<Connection> wrap;
        private FileLock lock;

        /**
         * All ids lie before this minute since 1970, and those of the next run beyond it: order
         * holds when the clock is set back, whenever that is. Kept in PRAGMA user_version; the
         * writer's.
         */
        private long reserved;

        private Sqlite(String place, UnaryOperator<Connection> wrap) throws IOException {
            this.wrap = wrap;
            Path path = Path.of(place).toAbsolutePath().normalize();
            file = Files.exists(path) ? path.toRealPath() : path;
            // sqlite-jdbc would take what follows a question mark for settings.
            if (Files.isDirectory(file) || file.getParent() == null || place.contains("?")) {
                throw new IOException("name a file, without '?'");
            }
        }

        @Override
        public long prepare() throws SQLException, IOException {
            Files.createDirectories(file.getParent());
            lock();
            unpackDriverBesideFile();
            try (Connection connection = connect();
                    Statement statement = connection.createStatement()) {
                requireSafe(one(statement, "SELECT sqlite_version()"));
                int application = Integer.parseInt(one(statement, "PRAGMA application_id"));
                boolean empty = one(statement, "SELECT count(*) FROM sqlite_schema").equals("0");
                if (application != APPLICATION_ID && !(application == 0 && empty)) {
                    throw new SQLException("it is a database of another program");
                }
                configure(statement);
                if (application == 0) {
                    statement.execute("PRAGMA application_id = " + APPLICATION_ID);
                }
                statement.execute(
                        "CREATE TABLE IF NOT EXISTS message (recipient TEXT NOT NULL,"
                                + " id BLOB NOT NULL, sender TEXT NOT NULL, text TEXT NOT NULL,"
                                + " PRIMARY KEY (recipient, id)) WITHOUT ROWID");
                reserved = Long.parseLong(one(statement, "PRAGMA user_version"));
            }
            return TimeUnit.MINUTES.toMillis(reserved);
        }

        /**
         * One server per file. The lock is on a file of its own: closing any other handle of the
         * database would drop SQLite's own locks (sqlite.org/howtocorrupt.html, section 2.2). As
         * closing any other handle of the lock file would drop this one, the file is opened once a
         * process, and looked at by its size only.
         */
        private void lock() throws IOException {
            Path path = beside(".lock");
            if (!HELD.add(path)) {
                throw new IOException(TAKEN);
            }
            try {
                while (lock == null) {
                    FileChannel channel =
                            FileChannel.open(
                                    path, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
                    FileLock taken = channel.tryLock();
                    if (taken == null) {
                        channel.close();
                        throw new IOException(TAKEN);
                    }
                    // Whoever had the lock may have deleted the file since we opened it.
                    long size = ThreadLocalRandom.current().nextLong(1, MAX_LOCK_SIZE);
                    channel.truncate(0).write(ByteBuffer.allocate(1), size - 1);
                    if (Files.exists(path) && Files.size(path) == size) {
                        lock = taken;
                    } else {
                        channel.close();
                    }
                }
            } finally {
                if (lock == null) {
                    HELD.remove(path);
                }
            }
        }

        /**
         * sqlite-jdbc unpacks a native library at each start, which a kill -9 leaves behind: into a
         * folder of our own, emptied under the lock, so that neither they nor a noexec /tmp matter.
         */
        private void unpackDriverBesideFile() throws IOException {
            DRIVER.setLevel(Level.OFF);
            deleteUnpackedDriver();
            System.setProperty(
                    "org.sqlite.tmpdir", Files.createDirectories(beside(".driver")).toString());
        }

        private void deleteUnpackedDriver() throws IOException {
            Path folder = beside(".driver");
            if (Files.isDirectory(folder)) {
                try (Stream<Path> files = Files.list(folder)) {
                    for (Path old : files.toList()) {
                        Files.deleteIfExists(old);
                    }
                }
                Files.deleteIfExists(folder);
            }
        }

        @Override
        public Session open() throws SQLException {
            Connection connection = connect();
            try {
                try (Statement statement = connection.createStatement()) {
                    configure(statement);
                }
                return new SqliteSession(connection, this);
            } catch (SQLException e) {
                connection.close();
                throw e;
            }
        }

        private Connection connect() throws SQLException {
            return wrap.apply(JDBC.createConnection("jdbc:sqlite:" + file, new Properties()));
        }

        /** Durability rests on these settings, so each is read back. */
        private static void configure(Statement statement) throws SQLException {
            statement.execute("PRAGMA page_size = " + PAGE_BYTES);
            require("wal", one(statement, "PRAGMA journal_mode = WAL"));
            statement.execute("PRAGMA synchronous = FULL");
            require("2", one(statement, "PRAGMA synchronous"));
            statement.execute(
                    "PRAGMA fullfsync = ON"); // macOS: fsync alone leaves the disk's cache
            require("1", one(statement, "PRAGMA fullfsync"));
            require(BUSY_TIMEOUT_MS, one(statement, "PRAGMA busy_timeout = " + BUSY_TIMEOUT_MS));
            one(statement, "PRAGMA wal_autocheckpoint = " + CHECKPOINT_PAGES);
            statement.execute("PRAGMA cache_size = -" + CACHE_KIB);
        }

        private static void require(String wanted, String found) throws SQLException {
            if (!wanted.equals(found)) {
                throw new SQLException("SQLite answers " + found + " to a setting of " + wanted);
            }
        }

        private static void requireSafe(String version) throws SQLException {
            int[] found = Stream.of(version.split("\\.")).mapToInt(Integer::parseInt).toArray();
            if (Arrays.compare(found, OLDEST_SAFE) < 0) {
                throw new SQLException("SQLite " + version + " is too old to be safe");
            }
        }

        @Override
        public boolean mayRetry(SQLException e) {
            return false; // after an I/O error the cache cannot be trusted; a commit is not
            // repeated
        }

        @Override
        public void finish(Session last) throws SQLException {
            try (Statement statement = last.connection.createStatement()) {
                statement.execute("PRAGMA wal_checkpoint(TRUNCATE)");
            }
        }

        @Override
        public void release() {
            if (lock != null) {
                try {
                    deleteUnpackedDriver();
                    Files.deleteIfExists(beside(".lock"));
                    lock.channel().close();
                } catch (IOException e) {
                    // Tolerated: the next server finds both and takes them over.
                }
                HELD.remove(beside(".lock"));
                lock = null;
            }
        }

        @Override
        public String shown() {
            return file.toString();
        }

        private Path beside(String suffix) {
            return file.resolveSibling(file.getFileName() + suffix);
        }
    }

    final class SqliteSession extends Session {
        private final Sqlite database;
        private final PreparedStatement begin;
        private final PreparedStatement insert;
        private final PreparedStatement commit;

        SqliteSession(Connection connection, Sqlite database) throws SQLException {
            super(connection);
            this.database = database;
            // Spelled out: with setAutoCommit(false) a full disk leaves the driver's state wedged.
            begin = connection.prepareStatement("BEGIN IMMEDIATE");
            insert =
                    connection.prepareStatement(
                            INSERT + "VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING");
            commit = connection.prepareStatement("COMMIT");
        }

        @Override
        public void insert(List<? extends Entry> batch) throws SQLException {
            begin.execute();
            for (Entry entry : batch) {
                insert.setString(1, entry.recipient());
                setId(insert, 2, entry.id());
                insert.setString(3, entry.sender());
                insert.setString(4, entry.text());
                insert.addBatch();
            }
            insert.executeBatch();
            long reserved =
                    batch.isEmpty() ? 0 : minute(batch.getLast().id()) + Sqlite.RESERVED_MINUTES;
            boolean reserve = reserved - Sqlite.RESERVED_MINUTES >= database.reserved;
            if (reserve) {
                try (Statement statement = connection.createStatement()) {
                    statement.execute("PRAGMA user_version = " + reserved);
                }
            }
            commit.execute();
            if (reserve) {
                database.reserved = reserved;
            }
        }

        private static long minute(UUID id) {
            return TimeUnit.MILLISECONDS.toMinutes(id.getMostSignificantBits() >>> 16);
        }

        @Override
        void setId(PreparedStatement statement, int index, UUID id) throws SQLException {
            statement.setBytes(
                    index,
                    ByteBuffer.allocate(16)
                            .putLong(id.getMostSignificantBits())
                            .putLong(id.getLeastSignificantBits())
                            .array());
        }

        @Override
        UUID id(ResultSet row, int index) throws SQLException {
            ByteBuffer bytes = ByteBuffer.wrap(row.getBytes(index));
            return new UUID(bytes.getLong(), bytes.getLong());
        }
    }

    // ---------------------------------------------------------------- PostgreSQL and its relatives

    final class Postgres implements Database {
        /** pgjdbc's own defaults wait for ever. What the URL says goes before what stands here. */
        private static final Map<String, String> DEFAULTS =
                Map.of(
                        "ApplicationName", "MsgServer",
                        "connectTimeout", "2",
                        "loginTimeout", "3",
                        "socketTimeout", "5",
                        "tcpKeepAlive", "true");

        private static final Set<String> RETRIED =
                Set.of("40001", "40P01", "40003", "25006", "53300");

        /** It logs URLs, and with them passwords. */
        private static final Logger DRIVER = Logger.getLogger("org.postgresql");

        /** How long a database that is just starting, or full of connections, is waited for. */
        private static final Duration START_PATIENCE = Duration.ofSeconds(15);

        private final String url;
        private final UnaryOperator<Connection> wrap;
        private final Properties settings = new Properties();

        Postgres(String url, UnaryOperator<Connection> wrap) throws IOException {
            this.url = url;
            this.wrap = wrap;
            DRIVER.setLevel(Level.OFF);
            // Checked here, since the driver's own exceptions name the whole URL.
            if (url.matches("jdbc:postgresql://[^/?]*@.*")
                    || org.postgresql.Driver.parseURL(url, new Properties()) == null) {
                throw new IOException(
                        "write jdbc:postgresql://HOST:PORT/DATABASE?user=NAME, the password into"
                                + " PGPASSWORD or .pgpass");
            }
            settings.putAll(DEFAULTS);
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
            try (Connection connection = firstConnection();
                    Statement statement = connection.createStatement()) {
                String encoding = one(statement, "SHOW server_encoding");
                if (!encoding.equals("UTF8")) {
                    throw new SQLException("its encoding is " + encoding + ", it must be UTF8");
                }
                if (one(statement, "SELECT to_regclass('message')") == null) {
                    create(statement);
                }
            }
            return 0;
        }

        private Connection firstConnection() throws SQLException {
            long giveUp = System.nanoTime() + START_PATIENCE.toNanos();
            Properties patient = new Properties();
            patient.putAll(settings);
            patient.setProperty("loginTimeout", "10");
            while (true) {
                try {
                    return connect(patient);
                } catch (SQLException e) {
                    if (!Set.of("57P03", "53300").contains(Objects.toString(e.getSQLState()))
                            || System.nanoTime() - giveUp > 0) {
                        throw e;
                    }
                }
                LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(500));
            }
        }

        private static void create(Statement statement) throws SQLException {
            try {
                statement.execute(
                        "CREATE TABLE IF NOT EXISTS message (recipient text NOT NULL,"
                                + " id uuid NOT NULL, sender text NOT NULL, text text NOT NULL,"
                                + " PRIMARY KEY (recipient, id))");
            } catch (SQLException e) {
                // Two servers at once: PostgreSQL lets IF NOT EXISTS of the second one fail.
                if (!Set.of("23505", "42P07", "42710").contains(e.getSQLState())) {
                    throw e;
                }
            }
        }

        @Override
        public Session open() throws SQLException {
            Connection connection = connect(settings);
            try {
                try (Statement statement = connection.createStatement()) {
                    // Relatives of PostgreSQL may not know this setting: then it is NULL.
                    String commit =
                            one(statement, "SELECT current_setting('synchronous_commit', true)");
                    if ("off".equals(commit)) {
                        statement.execute("SET synchronous_commit TO on");
                    }
                }
                return new PostgresSession(connection);
            } catch (SQLException e) {
                connection.close();
                throw e;
            }
        }

        private Connection connect(Properties settings) throws SQLException {
            return wrap.apply(new org.postgresql.Driver().connect(url, settings));
        }

        @Override
        public boolean mayRetry(SQLException e) {
            String state = Objects.requireNonNullElse(e.getSQLState(), "");
            return state.startsWith("08") || state.startsWith("57P0") || RETRIED.contains(state);
        }

        @Override
        public void finish(Session last) {}

        @Override
        public void release() {}

        @Override
        public String shown() {
            return url.replaceFirst("[?].*", "");
        }
    }

    final class PostgresSession extends Session {
        private static final String OUTCOME_UNKNOWN = "40003";

        private final PreparedStatement insert;

        PostgresSession(Connection connection) throws SQLException {
            super(connection);
            // DO NOTHING would write nothing on a retry, and so be acknowledged without waiting for
            // the
            // synchronous replicas that the first try may not have reached.
            insert =
                    connection.prepareStatement(
                            INSERT
                                    + "SELECT * FROM unnest(?::text[], ?::uuid[], ?::text[],"
                                    + " ?::text[]) ON CONFLICT (recipient, id)"
                                    + " DO UPDATE SET text = EXCLUDED.text");
        }

        @Override
        public void insert(List<? extends Entry> batch) throws SQLException {
            setArray(1, "text", batch, entry -> entry.recipient());
            setArray(2, "uuid", batch, entry -> entry.id());
            setArray(3, "text", batch, entry -> entry.sender());
            setArray(4, "text", batch, entry -> entry.text());
            insert.executeUpdate();
            // A wait for a replica that is cancelled ends with a mere warning.
            SQLWarning warning = insert.getWarnings();
            if (warning != null) {
                throw new SQLException(warning.getMessage(), OUTCOME_UNKNOWN);
            }
        }

        private void setArray(
                int index, String type, List<? extends Entry> batch, Function<Entry, Object> value)
                throws SQLException {
            insert.setArray(
                    index, connection.createArrayOf(type, batch.stream().map(value).toArray()));
        }

        @Override
        void setId(PreparedStatement statement, int index, UUID id) throws SQLException {
            statement.setObject(index, id);
        }

        @Override
        UUID id(ResultSet row, int index) throws SQLException {
            return row.getObject(index, UUID.class);
        }
    }

    /** The first column of the only row. */
    private static String one(Statement statement, String query) throws SQLException {
        try (ResultSet row = statement.executeQuery(query)) {
            row.next();
            return row.getString(1);
        }
    }
}
