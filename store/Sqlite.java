//JAVA 21+
//DEPS org.xerial:sqlite-jdbc:3.54.1.0
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror
//RUNTIME_OPTIONS --enable-native-access=ALL-UNNAMED

import org.sqlite.JDBC;
import org.sqlite.SQLiteConfig;
import org.sqlite.SQLiteJDBCLoader;
import org.sqlite.util.LibraryLoaderUtil;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.UnaryOperator;
import java.util.logging.Level;
import java.util.logging.Logger;
import java.util.stream.Stream;

/** Keeps messages in one SQLite file: its settings, and how it is kept to one server. */
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

    /** Bytes of a page, of a new database. Each message touches one, and all of it is written. */
    private static final String PAGE_BYTES = "2048";

    /**
     * Pages in the WAL before it is copied into the database: mailboxes are written to in turn, and
     * a page written to ten times is then copied once.
     */
    private static final String CHECKPOINT_PAGES = "32000";

    /** Each connection's page cache; a few thousand mailboxes in use fit. */
    private static final String CACHE_KIB = "16000";

    private final Path file;
    private final UnaryOperator<Connection> wrap;
    private FileLock lock;

    /**
     * All ids lie before this minute since 1970, and those of the next run beyond it: order holds
     * when the clock is set back, whenever that is. Kept in PRAGMA user_version; the writer's.
     */
    private long reserved;

    Sqlite(String place, UnaryOperator<Connection> wrap) throws IOException {
        this.wrap = wrap;
        Path path = Path.of(place).toAbsolutePath().normalize();
        if (Files.isSymbolicLink(path) && !Files.exists(path)) {
            throw new IOException("the link leads nowhere"); // its target would have another lock
        }
        file = Files.exists(path) ? path.toRealPath() : path;
        // sqlite-jdbc would take what follows a question mark for settings, and drops blanks.
        boolean changed = place.contains("?") || !place.equals(place.trim());
        if (Files.isDirectory(file) || file.getParent() == null || changed) {
            throw new IOException("name a file, without '?' and blanks around it");
        }
    }

    /** Loads the driver, most of what opening a store takes. */
    static void loadAhead() {
        NativeLibrary.readAhead();
        new SQLiteConfig().newConnectionConfig();
        for (String name :
                List.of(
                        "core.NativeDB",
                        "jdbc4.JDBC4Connection",
                        "jdbc4.JDBC4Statement",
                        "jdbc4.JDBC4PreparedStatement",
                        "jdbc4.JDBC4ResultSet",
                        "SQLiteJDBCLoader")) {
            try {
                Class.forName("org.sqlite." + name);
            } catch (ClassNotFoundException e) {
                return; // it will be missed again where it is needed
            }
        }
    }

    @Override
    public long prepare() throws SQLException, IOException {
        Files.createDirectories(file.getParent());
        lock();
        DRIVER.setLevel(Level.OFF);
        NativeLibrary.delete(beside(".driver"));
        NativeLibrary.load(beside(".driver"));
        try (Connection connection = connect();
                Statement statement = connection.createStatement()) {
            requireSafe(Database.one(statement, "SELECT sqlite_version()"));
            int application = Integer.parseInt(Database.one(statement, "PRAGMA application_id"));
            boolean empty =
                    Database.one(statement, "SELECT count(*) FROM sqlite_schema").equals("0");
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
            reserved = Long.parseLong(Database.one(statement, "PRAGMA user_version"));
        }
        return TimeUnit.MINUTES.toMillis(reserved);
    }

    /**
     * One server per file. The lock is on a file of its own: closing any other handle of the
     * database would drop SQLite's own locks (sqlite.org/howtocorrupt.html, section 2.2). As
     * closing any other handle of the lock file would drop this one, the file is opened once a
     * process, and looked at by its size only. All its bytes are 0; a file that holds anything else
     * is not ours.
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
                                path,
                                StandardOpenOption.CREATE,
                                StandardOpenOption.READ,
                                StandardOpenOption.WRITE);
                try {
                    FileLock taken = channel.tryLock();
                    if (taken == null) {
                        throw new IOException(TAKEN);
                    }
                    ByteBuffer first = ByteBuffer.allocate(1);
                    if (channel.read(first, 0) > 0 && first.get(0) != 0) {
                        throw new IOException(path + " is a file of something else");
                    }
                    // Whoever had the lock may have deleted the file since we opened it.
                    long size = ThreadLocalRandom.current().nextLong(1, MAX_LOCK_SIZE);
                    channel.truncate(0).write(ByteBuffer.allocate(1), size - 1);
                    if (Files.exists(path) && Files.size(path) == size) {
                        lock = taken;
                    }
                } finally {
                    if (lock == null) {
                        channel.close();
                    }
                }
            }
        } finally {
            if (lock == null) {
                HELD.remove(path);
            }
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

    private static void configure(Statement statement) throws SQLException {
        statement.execute("PRAGMA page_size = " + PAGE_BYTES);
        // Durability and patience rest on these settings, so each is read back.
        require("wal", Database.one(statement, "PRAGMA journal_mode = WAL"));
        statement.execute("PRAGMA synchronous = FULL");
        require("2", Database.one(statement, "PRAGMA synchronous"));
        statement.execute("PRAGMA fullfsync = ON"); // macOS: fsync alone leaves the disk's cache
        require("1", Database.one(statement, "PRAGMA fullfsync"));
        require(
                BUSY_TIMEOUT_MS,
                Database.one(statement, "PRAGMA busy_timeout = " + BUSY_TIMEOUT_MS));
        Database.one(statement, "PRAGMA wal_autocheckpoint = " + CHECKPOINT_PAGES);
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
        return false; // after an I/O error the cache cannot be trusted
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
                try {
                    NativeLibrary.delete(beside(".driver"));
                } finally {
                    Files.deleteIfExists(beside(".lock"));
                    lock.channel().close();
                }
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

    /**
     * The driver's native library, unpacked into a folder beside the database, so that a noexec
     * /tmp does not matter. By itself sqlite-jdbc would unpack it at each start under a new name,
     * which a kill -9 leaves behind (its issue 1140), read it twice more to compare, and start a
     * process to learn what system this is; all that while the server waits, and not beside its
     * start.
     */
    private static final class NativeLibrary {
        private static final String NAME = LibraryLoaderUtil.getNativeLibName();

        /** Null once it is loaded, and where the driver has none for this system. */
        private static byte[] content = read();

        /** What there is to read, the initialization of this class has read. */
        static void readAhead() {}

        private static byte[] read() {
            String resource = LibraryLoaderUtil.getNativeLibResourcePath() + "/" + NAME;
            try (InputStream in = JDBC.class.getResourceAsStream(resource)) {
                return in == null ? null : in.readAllBytes();
            } catch (IOException e) {
                return null; // then the driver will say what is wrong
            }
        }

        /** Deletes what an earlier run has left, and nothing else; a link is not followed. */
        static void delete(Path folder) throws IOException {
            if (Files.isDirectory(folder, LinkOption.NOFOLLOW_LINKS)) {
                try (Stream<Path> files = Files.list(folder)) {
                    for (Path old : files.toList()) {
                        String name = old.getFileName().toString();
                        if (name.equals(NAME) || name.startsWith("sqlite-")) {
                            Files.delete(old);
                        }
                    }
                }
                Files.delete(folder);
            } else if (Files.exists(folder, LinkOption.NOFOLLOW_LINKS)) {
                throw new FileAlreadyExistsException(folder.toString());
            }
        }

        /** Loads it, once in a process. */
        static synchronized void load(Path folder) throws IOException {
            if (content != null) {
                Files.createDirectory(folder);
                Files.write(folder.resolve(NAME), content);
                System.setProperty("org.sqlite.tmpdir", folder.toString()); // should it fail
                System.setProperty("org.sqlite.lib.path", folder.toString());
                System.setProperty("org.sqlite.lib.name", NAME);
            }
            try {
                SQLiteJDBCLoader.initialize();
                content = null;
            } catch (Exception e) { // the driver declares no less
                throw new IOException("SQLite's native library: " + e.getMessage(), e);
            }
        }
    }

    private static final class SqliteSession extends Session {
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
                            "INSERT INTO message (recipient, id, sender, text) VALUES (?, ?, ?, ?)"
                                    + " ON CONFLICT DO NOTHING");
            commit = connection.prepareStatement("COMMIT");
        }

        @Override
        void insert(List<? extends Entry> batch) throws SQLException {
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

        @Override
        Owners owners() {
            return new Owners(
                    connection, "SELECT count(*) FROM sqlite_schema WHERE name = 'owner'");
        }
    }
}
