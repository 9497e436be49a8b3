///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of a store's file: durability, permissions, size, copies, files beside it
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Asking.java
//SOURCES support/Load.java
//SOURCES support/Mailboxes.java
//SOURCES support/ServerProcess.java
//SOURCES support/SmallDisk.java
//SOURCES support/Statements.java
//SOURCES support/Waiting.java
//SOURCES support/Wire.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;

/**
 * The file of an open store: its settings, permissions, size and copies, and the files beside it.
 * {@code StorePlaceTest} and {@code ForeignFilesTest} test which paths and files a start accepts.
 */
@DisabledOnOs(value = OS.WINDOWS, disabledReason = "needs POSIX permissions and a POSIX shell")
class StoreFileTest {
    @TempDir private Path folder;

    private Path store() throws IOException {
        return folder.toRealPath().resolve("messages.db");
    }

    // ---------------------------------------------------------------- durable, and one file

    @Test
    void everyConnectionIsDurable() throws Exception {
        var connections = new ConcurrentLinkedQueue<Connection>();
        Set<String> owners = ConcurrentHashMap.newKeySet();
        // Each connection belongs to one thread, so only that thread may read its settings.
        UnaryOperator<Connection> wrap =
                connection -> {
                    connections.add(connection);
                    return Statements.seenBy(
                                    sql -> {
                                        if (sql.startsWith("INSERT")
                                                || sql.startsWith("SELECT id")) {
                                            requireDurable(connection);
                                            owners.add(Thread.currentThread().getName());
                                        }
                                    })
                            .apply(connection);
                };
        try (var store = new MessageStore(store().toString(), Long.MAX_VALUE, wrap)) {
            store.store("bob", "al", "hi");
            assertEquals(List.of("hi"), Mailboxes.texts(store, "bob"));
            assertTrue(owners.contains("store-writer"), owners.toString());
            assertTrue(
                    owners.stream().anyMatch(owner -> owner.startsWith("store-reader")),
                    owners.toString());
        }
        for (Connection connection : connections) {
            assertTrue(connection.isClosed(), "a connection is still open");
        }
    }

    private static void requireDurable(Connection connection) throws SQLException {
        assertEquals("wal", setting(connection, "journal_mode"));
        assertEquals("2", setting(connection, "synchronous"), "FULL");
        assertEquals("1", setting(connection, "fullfsync"));
        assertTrue(Integer.parseInt(setting(connection, "busy_timeout")) > 0);
    }

    private static String setting(Connection connection, String name) throws SQLException {
        try (Statement statement = connection.createStatement();
                ResultSet row = statement.executeQuery("PRAGMA " + name)) {
            row.next();
            return row.getString(1);
        }
    }

    @Test
    void oneFileIsLeftAfterClose() throws Exception {
        try (MessageStore store = new MessageStore(store().toString())) {
            Mailboxes.storeNumbers(store, "bob", 0, 300);
            assertEquals(300, Mailboxes.texts(store, "bob").size());
        }
        assertEquals(List.of("messages.db"), ServerProcess.filesBeside(store()));
    }

    @Test
    void filesOfAKilledServerAreReplaced() throws Exception {
        Path driver = Files.createDirectory(folder.resolve("messages.db.driver"));
        Files.writeString(driver.resolve("sqlite-3.54-1-libsqlitejdbc.so"), "of an earlier run");
        Files.writeString(driver.resolve(System.mapLibraryName("sqlitejdbc")), "cut off");
        try (MessageStore store = new MessageStore(store().toString())) {
            store.store("bob", "al", "hi");
        }
        assertEquals(List.of("messages.db"), ServerProcess.filesBeside(store()));
    }

    // ---------------------------------------------------------------- permissions

    @Test
    void theServersFilesAreReadableByTheirUserOnly() throws Exception {
        // In an earlier version private mail was readable for every user of the machine, because
        // the server relied on the umask.
        Path home = Files.createDirectory(folder.resolve("home"));
        List<String> command = new ArrayList<>(List.of("sh", "-c", "umask 0; exec \"$@\"", "sh"));
        command.addAll(List.of("env", "HOME=" + home));
        command.addAll(ServerProcess.java("MsgServer", "0", "--bind", "127.0.0.1"));
        try (var server = new ServerProcess(command)) {
            assertTrue(Wire.answer(server.port(), "store;bob;al;hi").stored());
            try (Stream<Path> all = Files.walk(home)) {
                for (Path path : all.filter(one -> !one.equals(home)).toList()) {
                    assertEquals(
                            Files.isDirectory(path) ? "rwx------" : "rw-------",
                            PosixFilePermissions.toString(Files.getPosixFilePermissions(path)),
                            path.toString());
                }
            }
            assertFalse(server.output().contains("Other users"), server.output());
        }
    }

    @Test
    void aStoreThatOthersCanReadIsReportedAtTheStart() throws Exception {
        Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwxr-xr-x"));
        new MessageStore(store().toString()).close();
        for (String rights : List.of("rw-r-----", "rw----r--", "rw-------")) {
            Files.setPosixFilePermissions(store(), PosixFilePermissions.fromString(rights));
            try (var opened = new MessageStore(store().toString())) {
                assertEquals(
                        rights.equals("rw-------")
                                ? List.of()
                                : List.of(
                                        "Other users of this machine can read all messages; to end"
                                                + " that: chmod go= "
                                                + store()
                                                + "*"),
                        opened.warnings());
            }
        }
    }

    // ---------------------------------------------------------------- sizes and copies

    @Test
    void aStoreAtItsLimitRefusesStoresServesFetchesAndHasRoomAfterADelete() throws Exception {
        // In an earlier version one client filled the disk with 60,000 messages to one mailbox in
        // 52 s.
        var ledger = new Load.Ledger("mailbox-", 1);
        try (var server = new ServerProcess(ServerProcess.command(store(), "--max-size", "1M"))) {
            int port = server.port();
            Waiting.eventually(
                    "the start reports the size and the limit",
                    () -> server.output().contains("\nThe file takes 0.1M, of at most 1M\n"));
            String text = "x".repeat(200);
            for (int i = 0; Wire.answer(port, "store;full;al;" + text).stored(); i++) {
                assertTrue(i < 10_000, "the store has no limit");
            }
            // the page count includes pages that are only in the write-ahead log
            long pages = pragma("page_count") * pragma("page_size");
            assertTrue(pages <= 1 << 20, "larger than its limit: " + pages);
            assertTrue(pages > 900 << 10, "less than its limit: " + pages);
            Waiting.eventually(
                    "the server reports the full store", () -> server.errors().contains("full"));
            assertTrue(Wire.answer(port, "fetch;full").whole(), "fetches go on");
            try (Connection other = DriverManager.getConnection("jdbc:sqlite:" + store())) {
                Asking.execute(other, "DELETE FROM message WHERE recipient = 'full'");
            }
            Asking.awaitStored(ledger, port, "room-again");
            server.kill();
        }
        try (var server = new ServerProcess(ServerProcess.command(store()))) {
            ledger.assertAllThere(server.port());
            Waiting.eventually(
                    "the start reports the size without a limit",
                    () -> server.output().contains(", without a limit (--max-size)\n"));
        }
    }

    private long pragma(String name) throws Exception {
        try (Connection connection = DriverManager.getConnection("jdbc:sqlite:" + store())) {
            return Long.parseLong(Database.run(connection, "PRAGMA " + name));
        }
    }

    @Test
    void atTheLimitOnlyMessagesWithoutRoomAreRefused() throws Exception {
        // In an earlier version the store refused every message of a commit if one message did not
        // fit. The next commit succeeded, so the reports alternated between failure and recovery.
        CountDownLatch committing = new CountDownLatch(1);
        CountDownLatch mayCommit = new CountDownLatch(1);
        AtomicBoolean full = new AtomicBoolean();
        Statements.Hook hook =
                sql -> {
                    if (full.get() && sql.equals("COMMIT")) {
                        committing.countDown();
                        Waiting.until(mayCommit);
                    }
                };
        String text = ";" + "x".repeat(200);
        try (var limited =
                new MessageStore(store().toString(), 100 << 10, Statements.seenBy(hook))) {
            for (String name : List.of("a", "b", "c", "d", "e")) { // the five messages share a page
                assertTrue(Mailboxes.isStored(limited, name + text));
            }
            for (int i = 0; Mailboxes.isStored(limited, "full" + text); i++) {
                assertTrue(i < 1_000, "the store has no limit");
            }
            try (Connection other = DriverManager.getConnection("jdbc:sqlite:" + store())) {
                Asking.execute(other, "DELETE FROM message WHERE recipient IN ('b', 'c', 'd')");
            }
            full.set(true);
            assertEquals(
                    List.of(false, true, false, true),
                    Mailboxes.storedTogether(
                            limited,
                            committing,
                            mayCommit,
                            "full" + text,
                            "b" + text,
                            "full" + text,
                            "c" + text));
        }
    }

    @Test
    void plainCopyOfAQuietStoreIsWhole() throws Exception {
        // In an earlier version all five acknowledged messages were still in the write-ahead log,
        // so the copy was a valid database without messages.
        var ledger = new Load.Ledger("mailbox-", 2);
        try (var server = new ServerProcess(ServerProcess.command(store()))) {
            for (int round = 1; round <= 2; round++) {
                for (int i = 0; i < 5; i++) {
                    assertEquals(Asking.STORED, Asking.store(ledger, server.port(), "quiet"));
                }
                Path copy = folder.resolve("copy-" + round + ".db");
                Waiting.eventually(
                        "the copy is whole",
                        () -> {
                            Files.deleteIfExists(copy);
                            Files.copy(store(), copy);
                            try {
                                return Load.Ledger.contentOf(copy).size() == ledger.acknowledged();
                            } catch (SQLException e) {
                                return false; // the copy does not have the table yet
                            }
                        });
                ledger.assertAllThere(Load.Ledger.contentOf(copy));
            }
        }
    }

    // ---------------------------------------------------------------- SQLite's library

    @Test
    void aStoreOnANoexecMountIsServed() throws Exception {
        // In an earlier version the server did not start, because it could not load SQLite's
        // library from a file beside the store.
        Path mounted = Files.createDirectory(folder.resolve("disk"));
        try (var disk = new SmallDisk(mounted, "size=6m,noexec")) {
            Path there = mounted.resolve("messages.db");
            try (var server = new ServerProcess(disk.inside(ServerProcess.command(there)))) {
                assertTrue(Wire.answer(server.port(), "store;bob;al;hi").stored());
                assertEquals("", server.errors());
                server.signal("TERM");
                assertEquals(143, server.awaitExit());
                assertEquals("messages.db", disk.run("ls"));
            }
        }
    }

    @Test
    void theUsersFolderForTheLibraryIsUsed() throws Exception {
        Path own = Files.createDirectory(folder.resolve("own"));
        Path data = Files.createDirectory(folder.resolve("data"));
        List<String> command = ServerProcess.command(data.resolve("messages.db"));
        command.add(command.indexOf("-cp"), "-Dorg.sqlite.tmpdir=" + own);
        try (var server = new ServerProcess(command)) {
            server.port();
            try (Stream<Path> files = Files.list(own)) {
                assertTrue(files.findAny().isPresent(), "the folder does not contain the library");
            }
        }
    }

    @Test
    void killedServerLeavesNoLibrary() throws Exception {
        // In an earlier version each kill -9 left a copy of the library, 1.1 MB, in the temporary
        // folder. 100 kills left 110 MB.
        try (var server = new ServerProcess(ServerProcess.command(store()))) {
            server.port();
            server.kill();
        }
        assertEquals(
                List.of("messages.db", "messages.db-shm", "messages.db-wal"),
                ServerProcess.filesBeside(store()));
    }
}
