//JAVA 21+
//DEPS org.xerial:sqlite-jdbc:3.54.1.0
//SOURCES Database.java
//SOURCES Ids.java
//SOURCES ../common/OwnFiles.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror
//RUNTIME_OPTIONS --enable-native-access=ALL-UNNAMED

import org.sqlite.JDBC;
import org.sqlite.SQLiteConfig;
import org.sqlite.SQLiteErrorCode;
import org.sqlite.SQLiteException;
import org.sqlite.SQLiteJDBCLoader;
import org.sqlite.util.OSInfo;

import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.charset.Charset;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.function.UnaryOperator;
import java.util.logging.Level;
import java.util.logging.Logger;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Keeps messages in one SQLite file, for one server; called on platform threads only. SQLite up to
 * 3.51.2 loses commits ("WAL-reset" on sqlite.org/wal.html); the driver above contains a later one.
 */
final class Sqlite implements Database {

    /** PRAGMA application_id of a file with messages: "MSGS". */
    private static final int MESSAGES = 0x4d534753;

    /** The same if names may have owners, "MSGO": versions without owners refuse the file. */
    private static final int OWNED_MESSAGES = 0x4d53474f;

    /**
     * Turned off, since the driver logs each exception that it throws. Held here, since a logger
     * that is collected loses its level.
     */
    private static final Logger DRIVER = Logger.getLogger("org.sqlite");

    private final Path file;
    private final long maxBytes;
    private final UnaryOperator<Connection> wrap;

    /** Keeps {@link #lock} until the store closes, see {@link #takeLock}; serves no request. */
    private Connection anchor;

    private FileLock lock;
    private FileChannel channel;
    private List<Object> opened;
    private volatile long looked = System.nanoTime();
    private volatile boolean gone;

    /**
     * @param maxBytes the file grows no larger than this
     * @throws IllegalArgumentException if {@code place} is no name of a file
     * @throws IOException if something else is at that place
     */
    Sqlite(String place, long maxBytes, UnaryOperator<Connection> wrap) throws IOException {
        this.maxBytes = maxBytes;
        this.wrap = wrap;
        // A URL, "host=db1 dbname=msg", ":memory:". A single letter before a colon is a drive.
        if (place.matches("(?s)([A-Za-z][A-Za-z0-9+._-]+ *)?[:=].*")) {
            throw new IllegalArgumentException(
                    "write jdbc:postgresql://HOST:PORT/DATABASE?user=NAME, or the name of a file;"
                            + " if that has a colon or a =, ./NAME");
        }
        if (place.matches("(?s)~[^/]*(/.*)?")) {
            throw new IllegalArgumentException("nobody replaced the ~; write the whole path");
        }
        Path path = Path.of(place).toAbsolutePath().normalize();
        // sqlite-jdbc would read settings after a question mark, and drops blanks at the ends.
        if (path.getParent() == null || place.contains("?") || !place.equals(place.trim())) {
            throw new IllegalArgumentException("name a file, without '?' and blanks around it");
        }
        if (Files.isSymbolicLink(path) && !Files.exists(path)) {
            throw new IOException("the link leads nowhere");
        }
        file = Files.exists(path) ? path.toRealPath() : path;
        if (Files.exists(file) && !Files.isRegularFile(file)) {
            throw new IOException("that is no file");
        }
    }

    /** Loads the classes that slow an opening down most; call it beside other work. */
    static void loadAhead() {
        OSInfo.getNativeLibFolderPathForCurrentOS(); // runs uname, slow only the first time
        new SQLiteConfig().newConnectionConfig();
        new Ids(0);
    }

    @Override
    public long prepare() throws SQLException, IOException {
        if (!Files.isDirectory(file.getParent())) {
            throw new IOException("there is no folder " + file.getParent());
        }
        hold();
        DRIVER.setLevel(Level.OFF);
        loadDriver();
        anchor = connect();
        try {
            int application = Integer.parseInt(Database.run(anchor, "PRAGMA application_id"));
            boolean ours = application == MESSAGES || application == OWNED_MESSAGES;
            String tables = Database.run(anchor, "SELECT count(*) FROM sqlite_schema");
            if (!ours && !(application == 0 && tables.equals("0"))) {
                throw new SQLException("it is a database of another program");
            }
            configure(anchor);
            lock.release();
            takeLock(); // again, see takeLock
            if (application == 0) {
                Database.run(anchor, "PRAGMA application_id = " + MESSAGES);
            }
            Database.run(
                    anchor,
                    "CREATE TABLE IF NOT EXISTS message (recipient TEXT NOT NULL,"
                            + " id BLOB NOT NULL, sender TEXT NOT NULL, text TEXT NOT NULL,"
                            + " PRIMARY KEY (recipient, id)) WITHOUT ROWID");
            opened = files();
            return TimeUnit.MINUTES.toMillis(reserved(anchor));
        } catch (SQLiteException e) {
            // A start makes the -shm file, 32 KB, and a page of the -wal file, if they are missing.
            throw e.getResultCode() == SQLiteErrorCode.SQLITE_IOERR_SHMSIZE
                    ? new SQLException("the disk is full; a start takes 40 KB")
                    : e;
        }
    }

    // ---------------------------------------------------------------- one server, one file

    /** The byte that a server locks, far from SQLite's 512, which begin at 0x40000000. */
    private static final long LOCK_AT = 1L << 62;

    private static final Duration LOOK_EVERY = Duration.ofSeconds(1);

    /** The stores that this process has open, by device and inode of their files. */
    private static final Map<Object, Sqlite> HELD = new ConcurrentHashMap<>();

    private static final String TAKEN = "another server has it open";

    /** Makes sure that no other server has the file open, in this process or another one. */
    private void hold() throws IOException {
        if (!Files.exists(file)) {
            Files.createFile(file, OwnFiles.only("rw-------")); // the log beside it gets the same
        }
        if (HELD.putIfAbsent(Objects.requireNonNullElse(key(file), file), this) != null) {
            throw new IOException(TAKEN);
        }
        channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE);
        takeLock();
        if (OwnFiles.POSIX && (int) Files.getAttribute(file, "unix:nlink") > 1) {
            // SQLite has a log for each name; under one, messages in the other's log would be
            // missing.
            throw new IOException("it has a second name, a hard link; remove one of them");
        }
        if (isMounted()) {
            throw new IOException("it is mounted by itself, without its log; mount its folder");
        }
    }

    /**
     * Whether the file itself is a mount point, as a container's volume may be. Its log would lie
     * in the container's folder, and be missing wherever else the file is mounted. See proc(5),
     * mountinfo, which writes some characters as octal escapes.
     */
    private boolean isMounted() throws IOException {
        Path mounts = Path.of("/proc/self/mountinfo"); // Linux; elsewhere only folders are mounted
        Matcher special = Pattern.compile("[ \t\n\\\\]").matcher(file.toString());
        String name = special.replaceAll(it -> "\\\\%03o".formatted((int) it.group().charAt(0)));
        Charset charset = Charset.forName(System.getProperty("sun.jnu.encoding"));
        return Files.exists(mounts)
                && new String(Files.readAllBytes(mounts), charset)
                        .lines()
                        .anyMatch(line -> line.split(" ")[4].equals(name));
    }

    /**
     * Locks the database file itself, so that the lock holds whatever name the file has or gets. A
     * process loses the lock in two ways. The first is to close any handle of the file
     * (sqlite.org/howtocorrupt.html, section 2.2): so the file is opened once, before SQLite opens
     * it, and closed last. The second is that SQLite gives up its own last lock, which unlocks all
     * bytes. In WAL mode {@link #anchor} keeps SQLite's lock until it is closed. Until WAL mode is
     * on, SQLite may unlock; so {@link #prepare} takes the lock again once it is on.
     */
    private void takeLock() throws IOException {
        lock = channel.tryLock(LOCK_AT, 1, false);
        if (lock == null) {
            throw new IOException(TAKEN);
        }
    }

    /**
     * Data in a file that was deleted or replaced is lost when the server ends. The same holds for
     * the two files that SQLite keeps beside it. Once one of them was gone, only a new start helps,
     * since its contents may have changed.
     */
    @Override
    public void requireInPlace() throws SQLException {
        if (!gone && System.nanoTime() - looked > LOOK_EVERY.toNanos()) {
            looked = System.nanoTime();
            if (!files().equals(opened)) {
                gone = true;
                tidyUp(); // acknowledged messages are to be in the file, wherever it is now
            }
        }
        if (gone) {
            throw new SQLException(
                    "the file, or one that SQLite keeps beside it, was moved, deleted or replaced;"
                            + " put it back and start the server again");
        }
    }

    private List<Object> files() {
        return Arrays.asList(key(file), key(beside("-wal")), key(beside("-shm")));
    }

    /** Device and inode; null if there is no such file, or if the system has neither. */
    private static Object key(Path path) {
        try {
            return Files.readAttributes(path, BasicFileAttributes.class).fileKey();
        } catch (IOException e) {
            return null;
        }
    }

    @Override
    public void release() {
        OwnFiles.closeQuietly(anchor); // first: SQLite's last connection deletes its log
        OwnFiles.closeQuietly(channel);
        HELD.values().remove(this);
    }

    // ---------------------------------------------------------------- connections

    @Override
    public Session session(Connection connection) throws SQLException {
        configure(connection);
        return new SqliteSession(connection, reserved(connection));
    }

    @Override
    public Connection connect() throws SQLException {
        return wrap.apply(JDBC.createConnection("jdbc:sqlite:" + file, new Properties()));
    }

    private void configure(Connection connection) throws SQLException {
        // Each message rewrites a whole page, so pages are small. SQLite ignores this once there
        // are tables.
        Database.run(connection, "PRAGMA page_size = 2048");
        set(connection, "journal_mode", "wal");
        set(connection, "synchronous", "2"); // FULL: each commit is flushed
        set(connection, "fullfsync", "1"); // on macOS a flush alone leaves the disk's cache
        set(connection, "busy_timeout", "2000"); // ms
        // Pages in the log before it is copied into the database. The number is high, since a page
        // of a busy mailbox that was written ten times is copied once.
        set(connection, "wal_autocheckpoint", "32000");
        set(connection, "cache_size", "-16000"); // KiB; a few thousand mailboxes in use fit
        if (maxBytes < Long.MAX_VALUE) {
            long page = Long.parseLong(Database.run(connection, "PRAGMA page_size"));
            Database.run(connection, "PRAGMA max_page_count = " + maxBytes / page);
        }
    }

    /** The store's promises rest on these settings, so each is read back. */
    private static void set(Connection connection, String setting, String wanted)
            throws SQLException {
        Database.run(connection, "PRAGMA " + setting + " = " + wanted);
        String found = Database.run(connection, "PRAGMA " + setting);
        if (!wanted.equals(found)) {
            throw new SQLException("SQLite answers " + found + " to " + setting + " = " + wanted);
        }
    }

    @Override
    public boolean isDamage(SQLException e) {
        return e.getErrorCode() == SQLiteErrorCode.SQLITE_CORRUPT.code;
    }

    /** Copies the log into the database, so that a plain copy of a quiet file has everything. */
    @Override
    public void tidyUp() {
        try {
            Database.run(anchor, "PRAGMA wal_checkpoint(PASSIVE)");
        } catch (SQLException e) {
            // Tolerated: the log has everything, and the next second brings another try.
        }
    }

    // ---------------------------------------------------------------- for the operator

    @Override
    public String shown() {
        return file.toString();
    }

    @Override
    public Optional<Path> file() {
        return Optional.of(file);
    }

    @Override
    public List<String> warnings() {
        try {
            // The group and others need r of the file (04) and x of its folder (01).
            int readable = mode(file) >> 2 & mode(file.getParent()) & 011;
            String cure =
                    "Other users of this machine can read all messages; to end that: chmod go= ";
            return readable == 0 ? List.of() : List.of(cure + file + "*");
        } catch (IOException e) {
            return List.of();
        }
    }

    private static int mode(Path path) throws IOException {
        return OwnFiles.POSIX ? (int) Files.getAttribute(path, "unix:mode") : 0;
    }

    // ---------------------------------------------------------------- files beside it

    private Path beside(String suffix) {
        return file.resolveSibling(file.getFileName() + suffix);
    }

    /**
     * Lets the driver unpack its native library beside the database, unless the user has named a
     * folder. The driver's default is /tmp, which may not be executable, and where each kill -9
     * would leave a library. The library is deleted once it is loaded. If the database's folder is
     * not executable either, the driver falls back to its default.
     */
    private void loadDriver() throws IOException {
        Path folder = beside(".driver");
        delete(folder);
        String setting = "org.sqlite.tmpdir";
        if (System.getProperty(setting) == null) {
            Files.createDirectory(folder, OwnFiles.only("rwx------"));
            System.setProperty(setting, folder.toString());
            try {
                SQLiteJDBCLoader.initialize();
            } catch (Exception notExecutable) { // the driver declares no less
                // Tolerated: the first connection tries again, at the driver's default.
            } finally {
                System.clearProperty(setting);
            }
            delete(folder);
        }
    }

    /**
     * Deletes the driver's libraries, and the folder if that was all; a link is not followed.
     * Windows deletes no library in use, so the next start does.
     */
    private static void delete(Path folder) {
        if (!Files.isSymbolicLink(folder)) {
            File[] old = folder.toFile().listFiles((in, name) -> name.contains("sqlitejdbc"));
            Stream.ofNullable(old).flatMap(Stream::of).forEach(File::delete);
            folder.toFile().delete();
        }
    }

    // ---------------------------------------------------------------- storing

    private static final int RESERVED_MINUTES = 2;

    /**
     * A time that no id of this run reaches and that all ids of the next run follow. So the order
     * holds even if the clock is set back between two runs. It is in minutes since 1970, since
     * SQLite's user_version has 32 bits.
     */
    private static long reserved(Connection connection) throws SQLException {
        return Long.parseLong(Database.run(connection, "PRAGMA user_version"));
    }

    private static final class SqliteSession extends Session {
        private final PreparedStatement insert;
        private long reserved;

        SqliteSession(Connection connection, long reserved) throws SQLException {
            super(connection, "true");
            this.reserved = reserved;
            insert =
                    connection.prepareStatement(
                            "INSERT INTO message (recipient, id, sender, text) VALUES (?, ?, ?, ?)"
                                    + " ON CONFLICT (recipient, id) DO NOTHING");
        }

        /**
         * A session whose commit fails is not used again, so {@code reserved} never differs from
         * user_version on disk.
         */
        @Override
        void insert(List<Entry> batch) throws SQLException {
            // Not setAutoCommit(false), with which a full disk leaves the driver's state wedged.
            Database.run(connection, "BEGIN IMMEDIATE");
            long last = reserved - RESERVED_MINUTES; // an empty batch writes the same number again
            for (Entry entry : batch) {
                insert.setString(1, entry.recipient());
                setId(insert, 2, entry.id());
                insert.setString(3, entry.sender());
                insert.setString(4, entry.text());
                insert.addBatch();
                last = Ids.minutes(entry.id());
            }
            insert.executeBatch();
            if (batch.isEmpty() || last >= reserved) {
                reserved = last + RESERVED_MINUTES;
                Database.run(connection, "PRAGMA user_version = " + reserved);
            }
            Database.run(connection, "COMMIT");
        }

        @Override
        void setId(PreparedStatement statement, int index, UUID id) throws SQLException {
            ByteBuffer bytes = ByteBuffer.allocate(16).putLong(id.getMostSignificantBits());
            statement.setBytes(index, bytes.putLong(id.getLeastSignificantBits()).array());
        }

        @Override
        UUID id(ResultSet row, int column) throws SQLException {
            ByteBuffer bytes = ByteBuffer.wrap(row.getBytes(column));
            return new UUID(bytes.getLong(), bytes.getLong());
        }

        @Override
        String ownerTables() {
            return "SELECT count(*) FROM sqlite_schema WHERE name = 'owner'";
        }

        /** Marks the file, too, so that no version without owners gives out their mail. */
        @Override
        boolean openOwners(boolean tls) throws SQLException {
            boolean owned = super.openOwners(tls);
            int mark = tls || owned ? OWNED_MESSAGES : MESSAGES;
            String old = Database.run(connection, "PRAGMA application_id");
            if (!old.equals("" + mark)) { // a full disk has no room for a needless write
                Database.run(connection, "PRAGMA application_id = " + mark);
            }
            return owned;
        }
    }
}
