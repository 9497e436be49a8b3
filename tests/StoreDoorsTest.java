///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Where a store may be, who may read it, how large it gets, what a copy of it holds
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Asking.java
//SOURCES support/Databases.java
//SOURCES support/Load.java
//SOURCES support/Mailboxes.java
//SOURCES support/ServerProcess.java
//SOURCES support/SmallDisk.java
//SOURCES support/Statements.java
//SOURCES support/Waiting.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import picocli.CommandLine;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Stream;

/** What an operator meets: places, rights, sizes, copies. */
@DisabledOnOs(value = OS.WINDOWS, disabledReason = "has other rights and no such shell")
class StoreDoorsTest {
    @TempDir private Path folder;

    private Path store() throws IOException {
        return folder.toRealPath().resolve("messages.db");
    }

    // ---------------------------------------------------------------- places

    /** What the command said, and its exit code, for a store that it must not open. */
    private String refusal(int exit, String... arguments) {
        CommandLine line = Program.commandLine(new ServerCommand(folder), "MsgServer.java");
        StringWriter said = new StringWriter();
        line.setOut(new PrintWriter(said)).setErr(new PrintWriter(said));
        List<String> all = new ArrayList<>(List.of("0", "--bind", "127.0.0.1"));
        all.addAll(List.of(arguments));
        assertEquals(exit, line.execute(all.toArray(String[]::new)), said::toString);
        return said.toString();
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "postgresql://u:s3cret@h/db",
                "postgres://u:s3cret@h/db",
                "postgres:u:s3cret@h/db",
                "mysql://u:s3cret@h/db",
                "jdbc:mysql://u:s3cret@h/db",
                "JDBC:POSTGRESQL://h/db?password=s3cret",
                "jdbc:sqlite:postgresql://u:s3cret@h/db",
                "jdbc:postgresql://u:s3cret@h/db",
                "user:s3cret@h/db",
                "file:///s3cret/x.db",
                "host=h dbname=db password=s3cret",
                "dbname = db",
                "jdbc:sqlite::memory:",
                ":memory:"
            })
    void urlThatIsNoPlaceIsWrongUsageAndItsPasswordIsNotShown(String place) throws Exception {
        // Files and folders of that name were made, and the password was shown as the place.
        String said = refusal(2, "--store", place);
        assertTrue(said.startsWith("Cannot keep messages in that database: write jdbc:"), said);
        assertFalse(said.contains("s3cret"), said);
        for (String begin : List.of(place.replaceFirst(":.*", ":"), place, ":memory:")) {
            assertFalse(Files.exists(Path.of(begin)), "made " + begin);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"~/x.db", "~bob/x.db", "~"})
    void tildeThatNoShellReplacedIsWrongUsage(String place) {
        assertEquals(
                "Cannot keep messages in "
                        + place
                        + ": nobody replaced the ~; write the whole path",
                refusal(2, "--store", place).lines().findFirst().orElseThrow());
        assertFalse(Files.exists(Path.of("~")), "made a folder");
    }

    @Test
    void folderThatDoesNotExistCannotBeServedFrom() throws Exception {
        Path mistyped = folder.toRealPath().resolve("clas/messages.db");
        assertEquals(
                "Cannot keep messages in %s: there is no folder %s\n"
                        .formatted(mistyped, mistyped.getParent()),
                refusal(1, "--store", mistyped.toString()));
    }

    @ParameterizedTest
    @ValueSource(strings = {"0M", "500", "500MB", "-1M", "1.5G", "9999999G"})
    void sizeThatIsNoneIsWrongUsage(String size) throws Exception {
        String said = refusal(2, "--store", store().toString(), "--max-size", size);
        assertTrue(said.startsWith("--max-size must be a number of MB or GB"), said);
        assertFalse(Files.exists(store()));
    }

    @Test
    void sizeOfAPostgresqlIsNotOursToLimit() {
        String said = refusal(2, "--store", "jdbc:postgresql://h/db", "--max-size", "1G");
        assertTrue(said.contains("a limit to its size is set where its data are"), said);
    }

    // ---------------------------------------------------------------- rights

    @Test
    void whatTheServerMakesIsForItsUserAlone() throws Exception {
        // Private mail was readable for everybody on the machine, whatever the umask left open.
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
    void storeThatOthersCanReadIsSaidAtTheStart() throws Exception {
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

    @Test
    void fileThatMayNotBeWrittenIsRefusedAtTheStart() throws Exception {
        // The server said Listening, and then refused every store.
        new MessageStore(store().toString()).close();
        Files.setPosixFilePermissions(store(), PosixFilePermissions.fromString("r--r--r--"));
        try (var server =
                new ServerProcess(withoutPrivileges(store(), ServerProcess.command(store())))) {
            assertEquals(1, server.awaitExit(Duration.ofSeconds(15)), server.output());
            assertEquals(
                    "Cannot keep messages in %s: %s: access denied\n".formatted(store(), store()),
                    server.errors());
        }
    }

    @Test
    void folderThatMayNotBeWrittenIsRefusedAtTheStart() throws Exception {
        Path shut = Files.createDirectory(folder.toRealPath().resolve("shut"));
        Path file = shut.resolve("messages.db");
        new MessageStore(file.toString()).close();
        Files.setPosixFilePermissions(shut, PosixFilePermissions.fromString("r-xr-xr-x"));
        try (var server = new ServerProcess(withoutPrivileges(shut, ServerProcess.command(file)))) {
            assertEquals(1, server.awaitExit(Duration.ofSeconds(15)), server.output());
            assertEquals(1, server.errors().lines().count(), server.errors());
        } finally {
            Files.setPosixFilePermissions(shut, PosixFilePermissions.fromString("rwx------"));
        }
    }

    /** Root may write everything, unless it has given up that privilege. */
    private static List<String> withoutPrivileges(Path unwritable, List<String> command)
            throws Exception {
        if (!Files.isWritable(unwritable)) {
            return command;
        }
        List<String> all = new ArrayList<>(List.of("setpriv", "--bounding-set=-all"));
        try {
            List<String> probe = new ArrayList<>(all);
            probe.addAll(List.of("test", "-w", unwritable.toString()));
            int writable = new ProcessBuilder(probe).start().waitFor();
            Assumptions.assumeTrue(writable == 1, "root may write everything here");
        } catch (IOException e) {
            Assumptions.abort("root may write everything, and there is no setpriv");
        }
        all.addAll(command);
        return all;
    }

    // ---------------------------------------------------------------- sizes and copies

    @Test
    void storeAtItsLimitRefusesServesAndHasRoomAfterDeleting() throws Exception {
        // One client filled the disk: 60,000 messages into one mailbox in 52 s.
        var ledger = new Load.Ledger("mailbox-", 1);
        try (var server = new ServerProcess(ServerProcess.command(store(), "--max-size", "1M"))) {
            int port = server.port();
            Waiting.eventually(
                    "its size is said",
                    () -> server.output().contains("\nThat is a file of 0.1M, of at most 1M\n"));
            String text = "x".repeat(200);
            for (int i = 0; Wire.answer(port, "store;full;al;" + text).stored(); i++) {
                assertTrue(i < 10_000, "it has no limit");
            }
            long pages = pragma("page_count") * pragma("page_size"); // those in the log, too
            assertTrue(pages <= 1 << 20, "larger than its limit: " + pages);
            assertTrue(pages > 900 << 10, "less than its limit: " + pages);
            Waiting.eventually("it is said", () -> server.errors().contains("full"));
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
                    "its size is said",
                    () -> server.output().contains(", without a limit (--max-size)\n"));
        }
    }

    private long pragma(String name) throws Exception {
        try (Connection connection = DriverManager.getConnection("jdbc:sqlite:" + store());
                Statement statement = connection.createStatement()) {
            return Long.parseLong(Database.one(statement, "PRAGMA " + name));
        }
    }

    @Test
    void messageThatNeedsRoomIsRefusedAtTheLimitAndOthersOfItsCommitAreNot() throws Exception {
        // Each refused all that waited with it, and the next commit stored: so it went to and fro.
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
            for (String name : List.of("a", "b", "c", "d", "e")) { // they share a page
                assertTrue(Mailboxes.isStored(limited, name + text));
            }
            for (int i = 0; Mailboxes.isStored(limited, "full" + text); i++) {
                assertTrue(i < 1_000, "it has no limit");
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
        // It was a valid database with none of five acknowledged messages: all stood in the log.
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
                                return false; // not even the table is there yet
                            }
                        });
                ledger.assertAllThere(Load.Ledger.contentOf(copy));
            }
        }
    }

    // ---------------------------------------------------------------- SQLite's library

    @Test
    void storeOnADiskThatMayNotExecuteIsServed() throws Exception {
        // It did not start: the library of SQLite could not be loaded from beside the store.
        Path mounted = Files.createDirectory(folder.resolve("disk"));
        try (var disk = new SmallDisk(mounted, "size=6m,noexec")) {
            Path there = mounted.resolve("messages.db");
            try (var server = new ServerProcess(disk.inside(ServerProcess.command(there)))) {
                assertTrue(Wire.answer(server.port(), "store;bob;al;hi").stored());
                assertEquals("", server.errors());
                server.signal("TERM");
                assertEquals(143, server.awaitExit(Duration.ofSeconds(10)));
                assertEquals("messages.db", disk.run("ls"));
            }
        }
    }

    @Test
    void folderThatTheUserNamesForTheLibraryIsUsed() throws Exception {
        Path own = Files.createDirectory(folder.resolve("own"));
        Path data = Files.createDirectory(folder.resolve("data"));
        List<String> command = ServerProcess.command(data.resolve("messages.db"));
        command.add(command.indexOf("-cp"), "-Dorg.sqlite.tmpdir=" + own);
        try (var server = new ServerProcess(command)) {
            server.port();
            try (Stream<Path> files = Files.list(own)) {
                assertTrue(files.findAny().isPresent(), "nothing was unpacked there");
            }
        }
    }

    @Test
    void killedServerLeavesNoLibrary() throws Exception {
        // Each kill -9 left one of 1.1 MB in the temporary folder: 100 of them took 110 MB.
        try (var server = new ServerProcess(ServerProcess.command(store()))) {
            server.port();
            server.kill();
        }
        assertEquals(
                List.of("messages.db", "messages.db-shm", "messages.db-wal"),
                ServerProcess.filesBeside(store()));
    }
}
