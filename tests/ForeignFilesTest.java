///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of files that are not a store, and of damaged stores
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Asking.java
//SOURCES support/Engine.java
//SOURCES support/Load.java
//SOURCES support/Mailboxes.java
//SOURCES support/ServerProcess.java
//SOURCES support/Transport.java
//SOURCES support/Wire.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/** Files that are not a store of this server, and damaged stores. */
@Timeout(value = 5, unit = TimeUnit.MINUTES)
class ForeignFilesTest {

    /** Offset of the page size in a database file (sqlite.org/fileformat.html). */
    private static final int PAGE_SIZE_AT = 16;

    /**
     * Type byte of a leaf page of an index b-tree, which holds messages
     * (sqlite.org/fileformat.html).
     */
    private static final int LEAF_PAGE = 10;

    @TempDir private Path folder;

    // ---------------------------------------------------------------- no database of ours

    /** Files that a server must not serve or change. */
    enum Foreign {
        TEXT {
            @Override
            void make(Path file) throws IOException {
                Files.writeString(file, "Dear diary,\n".repeat(1_000));
            }
        },
        ONLY_A_HEADER {
            @Override
            void make(Path file) throws IOException {
                byte[] bytes = new byte[8192];
                new Random(1).nextBytes(bytes);
                byte[] header = "SQLite format 3\0".getBytes(StandardCharsets.US_ASCII);
                System.arraycopy(header, 0, bytes, 0, header.length);
                Files.write(file, bytes);
            }
        },
        TABLES_OF_ANOTHER_PROGRAM {
            @Override
            void make(Path file) throws SQLException {
                sql(file, "CREATE TABLE bookmark (url TEXT)");
            }
        },
        MESSAGES_OF_ANOTHER_PROGRAM {
            @Override
            void make(Path file) throws SQLException {
                sql(file, "CREATE TABLE message (recipient TEXT, id BLOB, sender TEXT, text TEXT)");
            }
        },
        MARK_OF_ANOTHER_PROGRAM {
            @Override
            void make(Path file) throws SQLException {
                sql(file, "PRAGMA application_id = 252006673");
            }
        },
        OUR_MARK_WITH_OTHER_COLUMNS {
            @Override
            void make(Path file) throws Exception {
                new MessageStore(file.toString()).close();
                sql(file, "ALTER TABLE message RENAME COLUMN text TO body");
            }
        },
        STORE_THAT_IS_DAMAGED {
            @Override
            void make(Path file) throws Exception {
                new MessageStore(file.toString()).close();
                byte[] bytes = Files.readAllBytes(file);
                Arrays.fill(bytes, 100, bytes.length, (byte) 0x55);
                Files.write(file, bytes);
            }
        },
        FOLDER {
            @Override
            void make(Path file) throws IOException {
                Files.createDirectory(file);
            }
        };

        abstract void make(Path file) throws Exception;

        private static void sql(Path file, String sql) throws SQLException {
            try (Connection connection = DriverManager.getConnection("jdbc:sqlite:" + file)) {
                Asking.execute(connection, sql);
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void startRefusesAForeignFileAndDoesNotChangeIt(Foreign foreign) throws Exception {
        Path store = folder.resolve("messages.db");
        foreign.make(store);
        String sentence = refusalThatLeavesAsItIs(store);
        if (foreign.name().endsWith("OF_ANOTHER_PROGRAM")) {
            assertTrue(sentence.endsWith(": it is a database of another program"), sentence);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 15, 100, 4096}) // SQLite treats a file of 1 byte as empty
    void textFileOfAnyLengthIsRefusedAndUnchanged(int size) throws Exception {
        Path store = folder.resolve("thesis.txt");
        Files.writeString(store, "All messages are kept. ".repeat(size).substring(0, size));
        refusalThatLeavesAsItIs(store);
    }

    private static String refusalThatLeavesAsItIs(Path store) throws Exception {
        byte[] before = Files.isDirectory(store) ? null : Files.readAllBytes(store);
        var refused =
                assertThrows(
                        MessageStore.StoreException.class,
                        () -> new MessageStore(store.toString()).close());
        Asking.assertOneSentence(refused, store);
        assertArrayEquals(before, Files.isDirectory(store) ? null : Files.readAllBytes(store));
        assertEquals(
                List.of(store.getFileName().toString()),
                ServerProcess.filesBeside(store),
                "the server leaves no other file");
        return refused.getMessage();
    }

    @Test
    void anEmptyFileBecomesAStore() throws Exception {
        Path file = Files.createFile(folder.resolve("made by mktemp"));
        try (MessageStore store = new MessageStore(file.toString())) {
            store.store("bob", "al", "hi");
            assertEquals(List.of("hi"), Mailboxes.texts(store, "bob"));
        }
    }

    // ---------------------------------------------------------------- corrupted pages

    @ParameterizedTest
    @ValueSource(strings = {"zeros", "noise", "cut"})
    void corruptedPagesAffectOnlyTheirMailboxes(String kind) throws Exception {
        Path store = folder.resolve("messages.db");
        int mailboxes = 60;
        var ledger = new Load.Ledger("mailbox-", mailboxes);
        fill(store, ledger, 3_000);
        corrupt(store, kind);
        try (var served = new Engine(Transport.PLAIN, folder, Engine.ROOMY)) {
            int spoiled = 0;
            String firstSpoiled = null;
            for (int i = 0; i < mailboxes; i++) {
                Wire.Answer answer = Wire.answer(served.port(), "fetch;" + ledger.mailbox(i));
                List<Protocol.Store> found = new ArrayList<>();
                boolean whole = answer.whole() && !answer.text().equals(Asking.BUSY);
                spoiled += whole ? 0 : 1;
                firstSpoiled = whole || firstSpoiled != null ? firstSpoiled : ledger.mailbox(i);
                if (whole) {
                    Protocol.readReply(
                            new ByteArrayInputStream(
                                    answer.text().getBytes(StandardCharsets.UTF_8)),
                            found::add);
                    assertEquals(
                            List.of(), ledger.problemsOfMailbox(ledger.mailbox(i), found), kind);
                }
            }
            System.out.printf("%s: %d of %d mailboxes spoiled%n", kind, spoiled, mailboxes);
            assertTrue(spoiled > 0, "the corruption hit no mailbox");
            // A file that was cut may also lack inner pages of the tree, each of which leads to
            // many leaves.
            int most = kind.equals("cut") ? mailboxes : mailboxes / 3;
            assertTrue(spoiled < most, spoiled + " spoiled");
            int stored = 0;
            for (int i = 0; i < mailboxes; i++) {
                String reply = Asking.store(ledger, served.port(), "afterwards");
                Asking.assertStoredOrNot(reply);
                stored += reply.equals(Asking.STORED) ? 1 : 0;
            }
            assertTrue(stored > (kind.equals("cut") ? 0 : mailboxes / 2), stored + " stored");
            // In an earlier version the server reported "can be read again" after each undamaged
            // mailbox.
            List<String> said = served.heard.troubles();
            String found = "The store is damaged, see docs/operating.md; mailbox ";
            assertEquals(1, said.size(), said::toString);
            assertTrue(said.getFirst().startsWith(found + firstSpoiled + ": "), said::toString);
        } catch (MessageStore.StoreException e) {
            Asking.assertOneSentence(e, store); // Refusing the whole store is also correct.
        }
    }

    private static void fill(Path store, Load.Ledger ledger, int count) throws Exception {
        try (var full = new MessageStore(store.toString());
                var clients = Executors.newVirtualThreadPerTaskExecutor()) {
            var work = new ArrayList<Future<?>>();
            for (int i = 0; i < 30; i++) {
                String sender = "sender-" + i;
                work.add(
                        clients.submit(() -> {
                            for (int n = 0; n < count / 30; n++) {
                                Protocol.Store m = ledger.next(sender);
                                full.store(m.recipient(), m.sender(), m.message());
                                ledger.acknowledge(m);
                            }
                            return null;
                        }));
            }
            for (Future<?> done : work) {
                done.get();
            }
        }
    }

    /** Overwrites pages of messages at 1/4, 1/2 and 3/4, or cuts off the last tenth of the file. */
    private static void corrupt(Path store, String kind) throws IOException {
        try (var file = new RandomAccessFile(store.toFile(), "rw")) {
            file.seek(PAGE_SIZE_AT);
            int page = file.readUnsignedShort();
            long pages = file.length() / page;
            if (kind.equals("cut")) {
                file.setLength(pages * 9 / 10 * page);
                return;
            }
            byte[] bytes = new byte[page];
            for (int i = 1; i <= 3; i++) {
                if (kind.equals("noise")) {
                    new Random(i).nextBytes(bytes);
                }
                long at = pages * i / 4 * page;
                file.seek(at);
                while (file.read() != LEAF_PAGE) {
                    at += page;
                    file.seek(at);
                }
                file.seek(at);
                file.write(bytes);
            }
        }
    }
}
