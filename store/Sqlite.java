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
 * Keeps the messages of one server in one SQLite file. Only platform threads may call it, see
 * {@link PlatformThreads}. SQLite up to 3.51.2 may lose commits ("WAL-reset" on
 * sqlite.org/wal.html), and the driver above contains a later version.
 */
final class Sqlite implements Database {

    /** PRAGMA application_id of a file with messages: "MSGS". */
    private static final int MESSAGES = 0x4d534753;

    /** The id of a file in which names may have owners: "MSGO". Older servers refuse this file. */
    private static final int OWNED_MESSAGES = 0x4d53474f;

    /**
     * The driver's logger, turned off, since the driver logs each exception that it throws. This
     * field holds the logger, since a logger that is garbage-collected loses its level.
     */
    private static final Logger DRIVER = Logger.getLogger("org.sqlite");

    private final Path file;
    private final long maxBytes;
    private final UnaryOperator<Connection> wrap;

    /** A connection that keeps {@link #lock} alive, see {@link #takeLock}; it serves no request. */
    private Connection anchor;

    private FileLock lock;
    private FileChannel channel;
    private List<Object> opened;
    private volatile long looked = System.nanoTime();
    private volatile boolean gone;

    /**
     * @param maxBytes the largest size of the file
     * @throws IllegalArgumentException if {@code place} is no file name
     * @throws IOException if something other than a file is at that place
     */
    Sqlite(String place, long maxBytes, UnaryOperator<Connection> wrap) throws IOException {
        this.maxBytes = maxBytes;
        this.wrap = wrap;
        // Matches a URL, "host=db1 dbname=msg" and ":memory:", but not "C:", a drive of Windows.
        if (place.matches("(?s)([A-Za-z][A-Za-z0-9+._-]+ *)?[:=].*")) {
            throw new IllegalArgumentException(
                    "write jdbc:postgresql://HOST:PORT/DATABASE?user=NAME, or the name of a file,"
                            + " as ./NAME if the name contains : or =");
        }
        if (place.matches("(?s)~[^/]*(/.*)?")) {
            throw new IllegalArgumentException("nobody replaced the ~; write the whole path");
        }
        Path path = Path.of(place).toAbsolutePath().normalize();
        // sqlite-jdbc reads settings after a question mark, and drops blanks at both ends.
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

    /** Loads the classes that take longest; another thread does so while the program starts. */
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
            takeLock(); // for the second time, see there
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
            // A start may make the -shm file, of 32 KB, and a page of the -wal file.
            throw e.getResultCode() == SQLiteErrorCode.SQLITE_IOERR_SHMSIZE
                    ? new SQLException("the disk is full; a start takes 40 KB")
                    : e;
        }
    }

    // ---------------------------------------------------------------- one server, one file

    /** The byte that a server locks. SQLite locks 512 other bytes, from 0x40000000 on. */
    private static final long LOCK_AT = 1L << 62;

    private static final Duration LOOK_EVERY = Duration.ofSeconds(1);

    /** The stores that are open in this process, by device and inode, or else by path. */
    private static final Map<Object, Sqlite> HELD = new ConcurrentHashMap<>();

    private static final String TAKEN = "another server has it open";

    /** Takes the file for this store; fails if a store in any process has it open. */
    private void hold() throws IOException {
        if (!Files.exists(file)) {
            Files.createFile(file, OwnFiles.only("rw-------")); // SQLite's log gets this mode
        }
        if (HELD.putIfAbsent(Objects.requireNonNullElse(key(file), file), this) != null) {
            throw new IOException(TAKEN);
        }
        channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE);
        takeLock();
        if (OwnFiles.POSIX && (int) Files.getAttribute(file, "unix:nlink") > 1) {
            // SQLite keeps one log for each name, so messages in the log of one name are missing
            // under the other name.
            throw new IOException("it has a second name, a hard link; remove one of them");
        }
        if (isMounted()) {
            throw new IOException("it is mounted by itself, without its log; mount its folder");
        }
    }

    /**
     * Whether the file itself is a mount point, as a container's volume may be. SQLite's log would
     * then lie outside the volume, in the container, and be lost with the container. The list of
     * mounts writes some characters as octal escapes, see proc(5), mountinfo.
     */
    private boolean isMounted() throws IOException {
        Path mounts = Path.of("/proc/self/mountinfo"); // Linux only; other systems mount folders
        Matcher special = Pattern.compile("[ \t\n\\\\]").matcher(file.toString());
        String name = special.replaceAll(it -> "\\\\%03o".formatted((int) it.group().charAt(0)));
        Charset charset = Charset.forName(System.getProperty("sun.jnu.encoding"));
        return Files.exists(mounts)
                && new String(Files.readAllBytes(mounts), charset)
                        .lines()
                        .anyMatch(line -> line.split(" ")[4].equals(name));
    }

    /**
     * Locks the database file itself, so that the lock holds under every name of the file. A
     * process could lose the lock in two ways.
     *
     * <p>First, a process that closes any handle of the file loses all its locks on the file
     * (sqlite.org/howtocorrupt.html, section 2.2). So this class opens the file once, before SQLite
     * does, and closes it last.
     *
     * <p>Second, when SQLite releases its own last lock, it unlocks all bytes. With SQLite's log
     * (WAL mode), {@link #anchor} keeps a lock of SQLite until the anchor is closed. Before WAL
     * mode, SQLite may unlock the file, so {@link #prepare} takes the lock again once WAL mode is
     * on.
     */
    private void takeLock() throws IOException {
        lock = channel.tryLock(LOCK_AT, 1, false);
        if (lock == null) {
            throw new IOException(TAKEN);
        }
    }

    /**
     * Looks for the file and the two files that SQLite keeps beside it. Data in a deleted or
     * replaced file is lost when the server ends. A file that was gone and is back may have other
     * contents, so only a new start of the server helps.
     */
    @Override
    public void requireInPlace() throws SQLException {
        if (!gone && System.nanoTime() - looked > LOOK_EVERY.toNanos()) {
            looked = System.nanoTime();
            if (!files().equals(opened)) {
                gone = true;
                tidyUp(); // so that a moved file holds all acknowledged messages
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

    /** Device and inode of the file; null without such a file, or on a system without inodes. */
    private static Object key(Path path) {
        try {
            return Files.readAttributes(path, BasicFileAttributes.class).fileKey();
        } catch (IOException e) {
            return null;
        }
    }

    @Override
    public void release() {
        OwnFiles.closeQuietly(anchor); // before the lock ends, since SQLite now deletes its log
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
        // Each message rewrites a whole page, so pages are small. SQLite ignores this setting once
        // the database has tables.
        Database.run(connection, "PRAGMA page_size = 2048");
        set(connection, "journal_mode", "wal");
        set(connection, "synchronous", "2"); // FULL: each commit is flushed
        set(connection, "fullfsync", "1"); // macOS: else a flush ends in the disk's cache
        set(connection, "busy_timeout", "2000"); // ms
        // The log is copied into the database at this number of pages. The number is high: a page
        // of a busy mailbox that was written ten times is then copied once.
        set(connection, "wal_autocheckpoint", "32000");
        set(connection, "cache_size", "-16000"); // KiB, room for a few thousand busy mailboxes
        if (maxBytes < Long.MAX_VALUE) {
            long page = Long.parseLong(Database.run(connection, "PRAGMA page_size"));
            Database.run(connection, "PRAGMA max_page_count = " + maxBytes / page);
        }
    }

    /** Sets a setting and reads it back, since the promises of the store need it. */
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

    /** Copies the log into the database, so that a plain copy of a quiet file is complete. */
    @Override
    public void tidyUp() {
        try {
            Database.run(anchor, "PRAGMA wal_checkpoint(PASSIVE)");
        } catch (SQLException e) {
            // Tolerated: the log keeps the messages, and the next call tries again.
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
            // Group or others need the bit r of the file (044), and x of its folder (011).
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
     * Makes the driver unpack its native library beside the database, and deletes the library after
     * it is loaded. The driver's default folder is /tmp, which may be mounted noexec, and each kill
     * -9 would leave a library there. If the database's folder is mounted noexec, or the room on
     * its disk is scarce, the driver uses its default folder. A folder that the user has set comes
     * first.
     */
    private void loadDriver() throws IOException {
        Path folder = beside(".driver");
        delete(folder);
        String setting = "org.sqlite.tmpdir";
        if (System.getProperty(setting) == null && file.toFile().getUsableSpace() > 4 << 20) {
            Files.createDirectory(folder, OwnFiles.only("rwx------"));
            System.setProperty(setting, folder.toString());
            try {
                SQLiteJDBCLoader.initialize();
            } catch (Exception notExecutable) { // the driver's method declares Exception
                // Tolerated: the first connection tries again, in the driver's default folder.
            } finally {
                System.clearProperty(setting);
            }
            delete(folder);
        }
    }

    /**
     * Deletes the driver's libraries, and the folder if it is then empty; follows no link. Windows
     * does not delete a library in use, so the next start deletes it.
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
     * A time in minutes since 1970. All ids of this run are earlier, and all ids of the next run
     * are later. So the order of messages holds even if the clock is set back between two runs.
     * SQLite keeps the time in user_version, which has 32 bits.
     */
    private static long reserved(Connection connection) throws SQLException {
        return Long.parseLong(Database.run(connection, "PRAGMA user_version"));
    }

    private static final class SqliteSession extends Session {
        private final PreparedStatement begin;
        private final PreparedStatement insert;
        private final PreparedStatement commit;
        private long reserved;

        SqliteSession(Connection connection, long reserved) throws SQLException {
            super(connection, "true");
            this.reserved = reserved;
            // With setAutoCommit(false) instead, a full disk would confuse the driver for good.
            begin = connection.prepareStatement("BEGIN IMMEDIATE");
            commit = connection.prepareStatement("COMMIT");
            insert =
                    connection.prepareStatement(
                            "INSERT INTO message (recipient, id, sender, text) VALUES (?, ?, ?, ?)"
                                    + " ON CONFLICT (recipient, id) DO NOTHING");
        }

        /**
         * A session whose commit fails is not used again, so the writer's {@code reserved} never
         * differs from user_version on disk.
         */
        @Override
        void insert(List<Entry> batch) throws SQLException {
            begin.execute();
            long last = reserved - RESERVED_MINUTES; // an empty batch writes the same number again
            for (Entry entry : batch) {
                insert.setString(1, entry.recipient());
                setId(insert, 2, entry.id());
                insert.setString(3, entry.sender());
                insert.setString(4, entry.text());
                insert.addBatch();
                last = Ids.minutes(entry.id());
            }
            insert.executeLargeBatch();
            if (batch.isEmpty() || last >= reserved) {
                reserved = last + RESERVED_MINUTES;
                Database.run(connection, "PRAGMA user_version = " + reserved);
            }
            commit.execute();
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

        /** Marks the file, too, so that older servers, which know no owners, refuse it. */
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
