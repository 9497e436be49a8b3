///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests that a store's file has one server, whatever name the file has or gets
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Asking.java
//SOURCES support/Engine.java
//SOURCES support/Load.java
//SOURCES support/Mailboxes.java
//SOURCES support/ServerProcess.java
//SOURCES support/SmallDisk.java
//SOURCES support/Statements.java
//SOURCES support/Transport.java
//SOURCES support/Waiting.java
//SOURCES support/Wire.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.SQLException;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Two servers on one file would lose each other's messages, and a server would lose every message
 * that it writes to a deleted file. So the server locks the file itself, not its name, and refuses
 * all requests when its file is no longer at its path.
 */
@DisabledOnOs(value = OS.WINDOWS, disabledReason = "Windows does not rename or delete an open file")
class OneServerOneFileTest {
    @TempDir private Path folder;
    private Path store;
    private final Load.Ledger ledger = new Load.Ledger("mailbox-", 2);

    @BeforeEach
    void name() throws IOException {
        store = folder.toRealPath().resolve("messages.db");
    }

    // ---------------------------------------------------------------- the file goes

    @ParameterizedTest
    @ValueSource(
            strings = {
                "rm messages.db*",
                "rm messages.db",
                "rm messages.db-wal",
                "rm messages.db-shm",
                "mkdir old; mv messages.db* old",
                "cp messages.db copy; mv copy messages.db"
            })
    void aServerWhoseFileWasReplacedRefusesStoresAndFetches(String command) throws Exception {
        // In an earlier version the server acknowledged stores after this command, but wrote the
        // messages to the old file. The next start opened the file that has the name now.
        try (Engine server = engine()) {
            assertEquals(Asking.STORED, Asking.store(ledger, server.port(), "before"));
            run(command);
            Waiting.eventually(
                    "the server refuses stores",
                    () ->
                            Asking.NOT_STORED.equals(
                                    Asking.store(new Load.Ledger("x", 1), server.port(), "x")));
            Asking.store(ledger, server.port(), "again");
            assertEquals(Asking.BUSY, Wire.answer(server.port(), "fetch;mailbox-0").text());
            List<String> said = server.heard.troubles();
            assertEquals(2, said.size(), said::toString);
            assertTrue(said.get(0).contains("moved, deleted or replaced"), said::toString);
            assertTrue(said.get(1).contains("Mailboxes cannot be read"), said::toString);
        }
    }

    @Test
    void noStoreIsAcknowledgedTwoSecondsAfterTheFileHasGone() throws Exception {
        try (Engine server = engine()) {
            assertEquals(Asking.STORED, Asking.store(ledger, server.port(), "before"));
            run("rm messages.db*");
            long gone = System.nanoTime();
            Duration acknowledged = Duration.ZERO;
            while (System.nanoTime() - gone < Duration.ofSeconds(4).toNanos()) {
                if (Asking.store(ledger, server.port(), "after").equals(Asking.STORED)) {
                    acknowledged = Duration.ofNanos(System.nanoTime() - gone);
                }
                Thread.sleep(5);
            }
            assertTrue(
                    acknowledged.toMillis() < 2_000,
                    "the server acknowledged a store after " + acknowledged);
        }
    }

    /** A server in this JVM, for tests that need no second process. */
    private Engine engine() throws Exception {
        return new Engine(Transport.PLAIN, store.getParent(), Engine.ROOMY);
    }

    @Test
    void aRenamedFileHasEveryAcknowledgedMessage() throws Exception {
        // The acknowledged messages are still in the write-ahead log, and SQLite finds the log by
        // the name of the database file.
        try (var server = new ServerProcess(ServerProcess.command(store))) {
            int port = server.port();
            assertEquals(Asking.STORED, Asking.store(ledger, port, "before"));
            run("mv messages.db renamed.db");
            Waiting.eventually(
                    "the server detects the change",
                    () -> Asking.store(ledger, port, "meanwhile").equals(Asking.NOT_STORED));
            server.kill();
        }
        ledger.assertAllThere(Load.Ledger.contentOf(folder.resolve("renamed.db")));
    }

    @Test
    void aFileThatWasMovedBackIsServedAfterTheNextStart() throws Exception {
        try (var server = new ServerProcess(ServerProcess.command(store))) {
            int port = server.port();
            assertEquals(Asking.STORED, Asking.store(ledger, port, "before"));
            run("mkdir old; mv messages.db* old");
            Waiting.eventually(
                    "the server detects the change",
                    () -> Asking.store(ledger, port, "meanwhile").equals(Asking.NOT_STORED));
            run("mv old/* .");
            assertEquals(Asking.NOT_STORED, Asking.store(ledger, port, "back"));
            server.signal("TERM");
            assertEquals(143, server.awaitExit(), server.errors());
        }
        try (Engine next = engine()) {
            ledger.assertAllThere(next.port());
        }
    }

    // ---------------------------------------------------------------- a second server

    @Test
    void aSecondStoreOnTheSameFileIsRefused() throws Exception {
        Path link = Files.createSymbolicLink(folder.resolve("link.db"), store);
        try (MessageStore first = new MessageStore(store.toString())) {
            first.store("bob", "al", "one");
            for (Path same : List.of(store, folder.resolve("../x/..").resolve(store), link)) {
                assertEquals(
                        "Cannot keep messages in " + store + ": another server has it open",
                        assertThrows(
                                        MessageStore.StoreException.class,
                                        () -> new MessageStore(same.toString()).close())
                                .getMessage());
            }
            first.store("bob", "al", "two");
            assertEquals(
                    List.of("one", "two"),
                    Mailboxes.texts(first, "bob"),
                    "the first store still works");
        }
        try (MessageStore next = new MessageStore(store.toString())) {
            assertEquals(List.of("one", "two"), Mailboxes.texts(next, "bob"));
        }
    }

    @Test
    void aSecondServerOnTheSameStoreEndsWithOneSentence() throws Exception {
        try (ServerProcess first = new ServerProcess(ServerProcess.command(store))) {
            assertEquals(Wire.STORED, Wire.ask(first.port(), "store;bob;al;one"));
            // In an earlier version the first of these two starts was refused, too, but released
            // the lock. The second start was then not refused.
            for (int i = 0; i < 2; i++) {
                try (ServerProcess second = new ServerProcess(ServerProcess.command(store))) {
                    assertEquals(1, second.awaitExit());
                    assertEquals(
                            "Cannot keep messages in " + store + ": another server has it open\n",
                            second.errors());
                    assertEquals("", second.output());
                }
            }
            assertEquals(Wire.STORED, Wire.ask(first.port(), "store;bob;al;two"));
            first.kill();
        }
        try (MessageStore next = new MessageStore(store.toString())) {
            assertEquals(List.of("one", "two"), Mailboxes.texts(next, "bob"));
        }
    }

    @Test
    void aRefusedStoreOfThisProcessDoesNotReleaseTheLock() throws Exception {
        // A process loses its POSIX locks on a file when it closes any descriptor of the file.
        try (Engine engine = engine()) {
            assertThrows(
                    MessageStore.StoreException.class,
                    () -> new MessageStore(engine.store.place()).close());
            try (ServerProcess second = new ServerProcess(ServerProcess.command(store))) {
                assertEquals(1, second.awaitExit());
            }
        }
    }

    @Test
    void aRenamedFileIsStillLocked() throws Exception {
        // In an earlier version two servers acknowledged ten messages under two names of one file.
        // Five of the messages were lost.
        try (var server = new ServerProcess(ServerProcess.command(store))) {
            assertEquals(Asking.STORED, Asking.store(ledger, server.port(), "before"));
            run("mv messages.db renamed.db");
            assertRefused(folder.resolve("renamed.db"), "another server has it open");
        }
    }

    @Test
    void aSecondNameOfAFileIsRefused() throws Exception {
        try (var server = new ServerProcess(ServerProcess.command(store))) {
            assertEquals(Asking.STORED, Asking.store(ledger, server.port(), "before"));
            run("ln messages.db second.db");
            assertRefused(folder.resolve("second.db"), "another server has it open");
            assertEquals(Asking.STORED, Asking.store(ledger, server.port(), "after"));
        }
        assertRefused(store, "it has a second name, a hard link; remove one of them");
        run("rm second.db");
        try (Engine next = engine()) {
            ledger.assertAllThere(next.port());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"other", "a place\\with blanks"})
    void aFileMountedByItselfIsRefused(String other) throws Exception {
        // In an earlier version the write-ahead log stayed in the folder of the first path. A
        // server at the second path missed acknowledged messages, and a start at the first path
        // replayed the old log over newer messages.
        Path disk = Files.createDirectory(store.resolveSibling("disk"));
        try (var mounts = new SmallDisk(disk, "size=6m")) {
            Path place = disk.resolve(other).resolve("messages.db");
            Path first = disk.resolve("messages.db");
            try (var server = new ServerProcess(mounts.inside(ServerProcess.command(first)))) {
                assertEquals(Asking.STORED, Asking.store(ledger, server.port(), "before"));
                server.signal("TERM");
                assertEquals(143, server.awaitExit(), server.errors());
            }
            mounts.run("mkdir '" + other + "'; cd '" + other + "'; touch messages.db");
            assertEquals("", mounts.run("mount --bind ../messages.db messages.db"));
            try (var server = new ServerProcess(mounts.inside(ServerProcess.command(place)))) {
                assertEquals(1, server.awaitExit(), server.output());
                assertEquals(
                        "Cannot keep messages in "
                                + place
                                + ": it is mounted by itself, without its log; mount its folder\n",
                        server.errors());
            }
            mounts.run("umount messages.db");
            assertEquals("", mounts.run("mount --bind .. ."));
            try (var server = new ServerProcess(mounts.inside(ServerProcess.command(place)))) {
                ledger.assertAllThere(server.port());
            }
        }
    }

    @Test
    void theLockSurvivesTheLossOfEveryConnection() throws Exception {
        // A process loses its locks on a file when it closes any descriptor of the file. SQLite
        // keeps a descriptor open while another connection has a lock. In this test all connections
        // close at once.
        AtomicBoolean failing = new AtomicBoolean();
        Statements.Hook hook =
                sql -> {
                    if (failing.get() && !sql.startsWith("PRAGMA")) {
                        throw new SQLException("disk I/O error");
                    }
                };
        try (var first =
                new MessageStore(store.toString(), Long.MAX_VALUE, Statements.seenBy(hook))) {
            for (int round = 0; round < 3; round++) {
                String text = "round " + round;
                first.store("bob", "al", text);
                for (int i = 0; i < 8; i++) { // enough fetches to use both readers
                    assertTrue(first.fetch("bob").nextPage().size() > round);
                }
                failing.set(true);
                assertThrows(
                        MessageStore.StoreException.class, () -> first.store("bob", "al", text));
                for (int i = 0; i < 8; i++) {
                    MessageStore.Mailbox mailbox = first.fetch("bob");
                    assertThrows(MessageStore.StoreException.class, mailbox::nextPage);
                }
                assertRefused(store, "another server has it open");
                failing.set(false);
            }
            assertRefused(store, "another server has it open");
        }
        try (var next = new MessageStore(store.toString())) {
            assertTrue(Mailboxes.texts(next, "bob").contains("round 2"));
        }
    }

    private static void assertRefused(Path place, String reason) throws Exception {
        try (var second = new ServerProcess(ServerProcess.command(place))) {
            assertEquals(1, second.awaitExit(), second.output());
            assertEquals(
                    "Cannot keep messages in " + place.toRealPath() + ": " + reason + "\n",
                    second.errors());
        }
    }

    private void run(String command) throws Exception {
        Process shell =
                new ProcessBuilder("sh", "-c", command)
                        .directory(folder.toFile())
                        .inheritIO()
                        .start();
        assertEquals(0, shell.waitFor(), command);
    }
}
