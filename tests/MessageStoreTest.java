///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the message store, on SQLite and on PostgreSQL
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Databases.java
//SOURCES support/Mailboxes.java
//SOURCES support/Statements.java
//SOURCES support/Waiting.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.EnumSource;

import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;

/** {@link MessageStore} through its public methods, on each database. */
@ParameterizedClass
@EnumSource(MessageStoreTest.Kind.class)
class MessageStoreTest {

    /** Databases that can keep messages. */
    enum Kind {
        SQLITE {
            @Override
            String place(Path folder) {
                return folder.resolve("messages.db").toString();
            }

            @Override
            boolean commits(String sql) {
                return sql.equals("COMMIT");
            }

            @Override
            void refuseLongTexts(String place) throws SQLException {
                run(
                        "jdbc:sqlite:" + place,
                        "CREATE TRIGGER no BEFORE INSERT ON message WHEN length(NEW.text) > 20"
                                + " BEGIN SELECT RAISE(ABORT, 'too long'); END");
            }
        },
        POSTGRESQL {
            @Override
            String place(Path folder) {
                return Databases.freshPostgres();
            }

            @Override
            boolean commits(String sql) {
                // without a transaction, each statement commits by itself
                return sql.startsWith("INSERT");
            }

            @Override
            void refuseLongTexts(String place) throws SQLException {
                run(place, "ALTER TABLE message ADD CHECK (length(text) <= 20)");
            }
        };

        abstract String place(Path folder);

        /** Whether this statement commits a transaction that stores messages. */
        abstract boolean commits(String sql);

        /** Makes the database refuse each message of more than 20 characters. */
        abstract void refuseLongTexts(String place) throws SQLException;

        private static void run(String url, String sql) throws SQLException {
            try (Connection connection = DriverManager.getConnection(url);
                    Statement statement = connection.createStatement()) {
                statement.execute(sql);
            }
        }
    }

    @Parameter Kind kind;
    @TempDir Path folder;

    private String place;
    private MessageStore store;

    @BeforeEach
    void open() throws Exception {
        place = kind.place(folder);
        store = new MessageStore(place);
    }

    @AfterEach
    void close() {
        if (store != null) {
            store.close();
        }
    }

    private void reopen(UnaryOperator<Connection> wrap) throws Exception {
        store.close();
        store = new MessageStore(place, Long.MAX_VALUE, wrap);
    }

    /** Reopens the store; {@code beforeCommit} runs before each commit that stores messages. */
    private void reopen(Runnable beforeCommit) throws Exception {
        AtomicBoolean open = new AtomicBoolean();
        reopen(
                Statements.seenBy(sql -> {
                    if (open.get() && kind.commits(sql)) {
                        beforeCommit.run();
                    }
                }));
        open.set(true); // opening the store also commits
    }

    @Test
    void messagesComeInTheOrderOfTheirAcceptance() throws Exception {
        List<MessageStore.Message> stored = new ArrayList<>();
        for (int i = 0; i < 30; i++) {
            String sender = List.of("zoe", "al", "george").get(i % 3);
            store.store("bob", sender, "text " + i);
            stored.add(new MessageStore.Message(sender, "text " + i));
        }
        assertEquals(stored, Mailboxes.mailbox(store, "bob"));
    }

    @Test
    void fetchingDeletesNothing() throws Exception {
        Mailboxes.storeNumbers(store, "bob", 0, 3);
        assertEquals(Mailboxes.numbers(0, 3), Mailboxes.texts(store, "bob"));
        assertEquals(Mailboxes.numbers(0, 3), Mailboxes.texts(store, "bob"));
    }

    @Test
    void anUnknownNameHasNoMessages() throws Exception {
        store.store("bob", "al", "hi");
        assertEquals(List.of(), store.fetch("nobody").nextPage());
        assertEquals(List.of(), store.fetch("").nextPage());
    }

    @Test
    void equalMessagesAreTwoMessages() throws Exception {
        store.store("bob", "al", "hi");
        store.store("bob", "al", "hi");
        assertEquals(List.of("hi", "hi"), Mailboxes.texts(store, "bob"));
    }

    /** Names that a file system, SQL, a pattern or a locale could treat specially. */
    static List<String> awkwardNames() {
        return List.of(
                "../../etc/passwd",
                "/etc/passwd",
                "'; drop table message; --",
                "\"; DROP TABLE message; --",
                "message",
                "CON",
                "con",
                "nul.txt",
                "a",
                "A",
                "%",
                "_",
                "a%",
                "a_",
                "ab",
                "*",
                "\\",
                "\\'",
                "$1",
                "?",
                "{}",
                "null",
                "0",
                "0x00",
                "-1",
                "1e3",
                "true",
                "a b",
                "a\tb",
                "é",
                "e\u0301", // two spellings that look the same are two names
                "ı",
                "İ",
                "ß",
                "ss",
                "Κυριάκος",
                "ΚΥΡΙΑΚΟΣ",
                "שלום",
                "\u202eevil\u202c",
                "👋",
                "👨‍👩‍👧‍👦",
                "👋".repeat(50),
                "n".repeat(240),
                "n".repeat(241),
                "\uFFFF",
                "\uD83D\uDE00\uFE0F");
    }

    @Test
    void unusualNamesAreOnlyData() throws Exception {
        List<String> names = awkwardNames();
        for (String name : names) {
            store.store(name, name, "for " + name);
        }
        for (String name : names) {
            assertEquals(
                    List.of(new MessageStore.Message(name, "for " + name)),
                    Mailboxes.mailbox(store, name),
                    name);
        }
        reopen(UnaryOperator.identity());
        for (String name : names) {
            assertEquals(List.of("for " + name), Mailboxes.texts(store, name), name);
        }
    }

    @Test
    void textIsKeptVerbatim() throws Exception {
        List<String> texts =
                List.of(
                        " ",
                        "  leading and trailing\t ",
                        "a;b;;c;",
                        "'; delete from message; --",
                        "\\n \\0 %s ${x}",
                        "γειά σου 👋 שלום e\u0301 é",
                        "x".repeat(242),
                        "👋".repeat(60));
        for (String text : texts) {
            store.store("bob", "al", text);
        }
        assertEquals(texts, Mailboxes.texts(store, "bob"));
    }

    @Test
    void pagesHold256Messages() throws Exception {
        int count = 0;
        for (int size : List.of(1, 255, 256, 257, 511, 512, 513)) {
            Mailboxes.storeNumbers(store, "bob", count, size);
            count = size;
            MessageStore.Mailbox mailbox = store.fetch("bob");
            for (int from = 0; from < size; from += 256) {
                assertEquals(
                        Mailboxes.numbers(from, Math.min(size, from + 256)),
                        mailbox.nextPage().stream().map(MessageStore.Message::text).toList(),
                        "page of " + size + " messages from " + from);
            }
            assertFalse(mailbox.hasNext(), size + " messages");
        }
    }

    @Test
    void aFetchExcludesMessagesThatArriveDuringIt() throws Exception {
        Mailboxes.storeNumbers(store, "bob", 0, 300);
        MessageStore.Mailbox mailbox = store.fetch("bob");
        assertEquals(256, mailbox.nextPage().size());
        Mailboxes.storeNumbers(store, "bob", 300, 310);
        assertEquals(
                Mailboxes.numbers(256, 300),
                mailbox.nextPage().stream().map(MessageStore.Message::text).toList());
        assertEquals(Mailboxes.numbers(0, 310), Mailboxes.texts(store, "bob"));
    }

    @Test
    void aFetchOfOnePageExcludesLaterMessages() throws Exception {
        Mailboxes.storeNumbers(store, "bob", 0, 256);
        MessageStore.Mailbox mailbox = store.fetch("bob");
        assertEquals(256, mailbox.nextPage().size());
        Mailboxes.storeNumbers(store, "bob", 256, 260);
        assertFalse(mailbox.hasNext());
    }

    @Test
    void reopeningKeepsEverythingAndItsOrder() throws Exception {
        for (int i = 0; i < 5; i++) {
            Mailboxes.storeNumbers(store, "bob", i * 10, (i + 1) * 10);
            reopen(UnaryOperator.identity());
        }
        assertEquals(Mailboxes.numbers(0, 50), Mailboxes.texts(store, "bob"));
    }

    /**
     * Shifts the ids of all stored messages, as if a server with a clock an hour ahead had stored
     * them.
     */
    private static void writtenAnHourAhead(String file) throws SQLException {
        try (Connection connection = DriverManager.getConnection("jdbc:sqlite:" + file);
                Statement statement = connection.createStatement();
                PreparedStatement shift =
                        connection.prepareStatement("UPDATE message SET id = ? WHERE id = ?")) {
            List<byte[]> ids = new ArrayList<>();
            try (ResultSet rows = statement.executeQuery("SELECT id FROM message")) {
                while (rows.next()) {
                    ids.add(rows.getBytes(1));
                }
            }
            for (byte[] id : ids) {
                ByteBuffer shifted = ByteBuffer.wrap(id.clone());
                long hour = Duration.ofHours(1).toMillis() << 16; // the first 48 bits are the time
                shifted.putLong(0, shifted.getLong(0) + hour);
                shift.setBytes(1, shifted.array());
                shift.setBytes(2, id);
                assertEquals(1, shift.executeUpdate());
            }
            int minutes = Integer.parseInt(Database.run(connection, "PRAGMA user_version"));
            statement.execute("PRAGMA user_version = " + (minutes + 60)); // see Sqlite
        }
    }

    @Test
    void aClockSetBackDuringARestartDoesNotChangeTheOrder() throws Exception {
        // An id begins with the time. In an earlier version the first start after the clock was set
        // back still gave new messages later ids than old ones. From the second start on, new
        // messages sorted before older ones.
        Assumptions.assumeTrue(
                kind == Kind.SQLITE, "only SQLite takes the time from this machine's clock");
        Mailboxes.storeNumbers(store, "bob", 0, 5);
        store.close();
        writtenAnHourAhead(place);
        for (int i = 1; i < 4; i++) {
            reopen(UnaryOperator.identity());
            Mailboxes.storeNumbers(store, "bob", i * 5, (i + 1) * 5);
            assertEquals(Mailboxes.numbers(0, (i + 1) * 5), Mailboxes.texts(store, "bob"));
        }
    }

    @Test
    void concurrentStoresAreKeptOnceAndInOrder() throws Exception {
        int threads = 64;
        int each = 40;
        List<Future<?>> done = new ArrayList<>();
        for (int i = 0; i < threads; i++) {
            String sender = "sender " + i;
            done.add(
                    Waiting.inBackground(() -> {
                        for (int n = 0; n < each; n++) {
                            store.store("all", sender, Integer.toString(n));
                        }
                        return null;
                    }));
        }
        for (Future<?> one : done) {
            one.get(60, TimeUnit.SECONDS);
        }
        var bySender =
                Mailboxes.mailbox(store, "all").stream()
                        .collect(
                                Collectors.groupingBy(
                                        MessageStore.Message::sender,
                                        Collectors.mapping(
                                                MessageStore.Message::text, Collectors.toList())));
        assertEquals(threads, bySender.size());
        bySender.forEach(
                (sender, texts) -> assertEquals(Mailboxes.numbers(0, each), texts, sender));
    }

    @Test
    void aStoreReturnsOnlyAfterItsCommit() throws Exception {
        CountDownLatch committing = new CountDownLatch(1);
        CountDownLatch mayCommit = new CountDownLatch(1);
        reopen(() -> {
            committing.countDown();
            Waiting.until(mayCommit);
        });
        Future<?> storing = Waiting.inBackground(() -> store.store("bob", "al", "hi"));
        Waiting.until(committing);
        assertEquals(
                List.of(),
                Mailboxes.texts(store, "bob"),
                "the message is visible before its commit");
        assertFalse(storing.isDone(), "the store returned before its commit");
        mayCommit.countDown();
        storing.get(60, TimeUnit.SECONDS);
        assertEquals(List.of("hi"), Mailboxes.texts(store, "bob"));
    }

    @Test
    void storesThatWaitShareOneCommit() throws Exception {
        CountDownLatch committing = new CountDownLatch(1);
        CountDownLatch mayCommit = new CountDownLatch(1);
        AtomicInteger commits = new AtomicInteger();
        reopen(() -> {
            commits.incrementAndGet();
            committing.countDown();
            Waiting.until(mayCommit);
        });
        String[] others = new String[100];
        Arrays.setAll(others, i -> "bob;" + i);
        List<Boolean> stored = Mailboxes.storedTogether(store, committing, mayCommit, others);
        assertEquals(Collections.nCopies(100, true), stored);
        assertEquals(100, Mailboxes.texts(store, "bob").size());
        assertTrue(commits.get() <= 3, "101 stores took " + commits.get() + " commits");
    }

    @Test
    void aRefusalByTheDatabaseAffectsOnlyItsMessage() throws Exception {
        // In an earlier version the store refused every message that waited for the same commit.
        kind.refuseLongTexts(place);
        CountDownLatch committing = new CountDownLatch(1);
        CountDownLatch mayCommit = new CountDownLatch(1);
        reopen(() -> {
            committing.countDown();
            Waiting.until(mayCommit);
        });
        String tooLong = "b;" + "x".repeat(30);
        assertEquals(
                List.of(true, false, true, false, true),
                Mailboxes.storedTogether(
                        store, committing, mayCommit, "b;1", tooLong, "b;2", tooLong, "b;3"));
        List<String> texts = Mailboxes.texts(store, "b");
        assertEquals(Set.of("1", "2", "3"), Set.copyOf(texts));
        assertEquals(3, texts.size(), "a message was stored twice");
    }

    @Test
    void closingTwiceCommitsPendingMessages() throws Exception {
        // In an earlier version the store treated the second stop marker as a message, so every
        // caller got a NullPointerException.
        CountDownLatch committing = new CountDownLatch(1);
        CountDownLatch mayCommit = new CountDownLatch(1);
        reopen(() -> {
            committing.countDown();
            Waiting.until(mayCommit);
        });
        List<Thread> threads = new ArrayList<>();
        List<Future<Integer>> storings = new ArrayList<>();
        for (String text : List.of("one", "two")) {
            storings.add(
                    Waiting.inBackground(() -> {
                        threads.add(Thread.currentThread());
                        return store.store("bob", "al", text);
                    }));
            Waiting.until(committing);
        }
        Waiting.eventually(
                "the second store waits",
                () -> threads.size() == 2 && threads.stream().allMatch(MessageStoreTest::waits));
        List<Thread> closings = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            closings.add(Thread.ofVirtual().start(store::close));
        }
        Waiting.eventually(
                "both calls of close wait",
                () -> closings.stream().allMatch(MessageStoreTest::waits));
        mayCommit.countDown();
        for (Future<Integer> storing : storings) {
            storing.get(60, TimeUnit.SECONDS);
        }
        for (Thread closing : closings) {
            assertTrue(closing.join(Duration.ofSeconds(20)));
        }
        reopen(UnaryOperator.identity());
        assertEquals(List.of("one", "two"), Mailboxes.texts(store, "bob"));
    }

    @Test
    void aBlockedReaderEndsAfterTheStoreHasClosed() throws Exception {
        // In an earlier version the writer of a closing store emptied the readers' queue, and so
        // removed the stop marker from the queue. A reader then never ended.
        AtomicBoolean sticks = new AtomicBoolean();
        CountDownLatch stuck = new CountDownLatch(1);
        CountDownLatch goOn = new CountDownLatch(1);
        Set<Thread> threads = ConcurrentHashMap.newKeySet();
        Statements.Hook hook =
                sql -> {
                    if (Thread.currentThread().getName().startsWith("store-")) {
                        threads.add(Thread.currentThread());
                    }
                    if (sticks.get() && sql.startsWith("SELECT id, ")) {
                        stuck.countDown();
                        Waiting.until(goOn);
                    }
                };
        reopen(Statements.seenBy(hook));
        store.store("bob", "al", "hi");
        sticks.set(true);
        Future<?> fetching = Waiting.inBackground(() -> store.fetch("bob").nextPage());
        Waiting.until(stuck);
        long closing = System.nanoTime();
        store.close(Duration.ofMillis(300));
        assertTrue(Waiting.millisSince(closing) < 10_000, "close has exceeded its deadline");
        var refused =
                assertThrows(ExecutionException.class, () -> fetching.get(5, TimeUnit.SECONDS));
        assertEquals("the message store is closed", refused.getCause().getMessage());
        goOn.countDown();
        Waiting.eventually(
                "the threads of the store end", () -> threads.stream().noneMatch(Thread::isAlive));
        assertTrue(threads.size() >= 2, threads.toString());
    }

    @Test
    void aClosedStoreRefuses() throws Exception {
        store.store("bob", "al", "hi");
        MessageStore.Mailbox mailbox = store.fetch("bob");
        store.close();
        assertEquals(
                "the message store is closed",
                assertThrows(
                                MessageStore.StoreException.class,
                                () -> store.store("bob", "al", "late"))
                        .getMessage());
        assertThrows(MessageStore.StoreException.class, mailbox::nextPage);
        assertThrows(MessageStore.StoreException.class, () -> store.fetch("bob").nextPage());
        store.close();
        reopen(UnaryOperator.identity());
        assertEquals(List.of("hi"), Mailboxes.texts(store, "bob"));
    }

    @Test
    void closingUnderLoadKeepsExactlyTheAcknowledgedMessages() throws Exception {
        Set<String> acknowledged = new HashSet<>();
        Set<String> refused = new HashSet<>();
        CountDownLatch some = new CountDownLatch(200);
        List<Future<?>> done = new ArrayList<>();
        for (int i = 0; i < 32; i++) {
            String sender = "s" + i;
            done.add(
                    Waiting.inBackground(() -> {
                        for (int n = 0; ; n++) {
                            String text = sender + " " + n;
                            try {
                                store.store("all", sender, text);
                            } catch (MessageStore.StoreException e) {
                                synchronized (refused) {
                                    refused.add(text);
                                }
                                return null;
                            }
                            synchronized (acknowledged) {
                                acknowledged.add(text);
                            }
                            some.countDown();
                        }
                    }));
        }
        Waiting.until(some);
        MessageStore closing = store;
        closing.close();
        for (Future<?> one : done) {
            one.get(60, TimeUnit.SECONDS);
        }
        store = new MessageStore(place);
        List<String> kept = Mailboxes.texts(store, "all");
        assertEquals(acknowledged, new HashSet<>(kept));
        assertEquals(acknowledged.size(), kept.size(), "a message was stored twice");
        assertEquals(32, refused.size());
    }

    @Test
    void anInterruptedCallerLearnsTheOutcomeAndKeepsItsInterrupt() throws Exception {
        Thread.currentThread().interrupt();
        store.store("bob", "al", "surely");
        assertTrue(Thread.interrupted(), "the interrupt was swallowed");
        assertEquals(List.of("surely"), Mailboxes.texts(store, "bob"));
    }

    private static boolean waits(Thread thread) {
        return thread.getState() == Thread.State.WAITING
                || thread.getState() == Thread.State.TIMED_WAITING;
    }
}
