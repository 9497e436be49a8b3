///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the message store, on SQLite and on PostgreSQL
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Databases.java
//SOURCES support/Statements.java
//SOURCES ../store/MessageStore.java
//SOURCES ../store/Database.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/** {@link MessageStore} through its public face, and the file that SQLite keeps for it. */
class MessageStoreTest {

    private static List<MessageStore.Message> mailbox(MessageStore store, String recipient)
            throws MessageStore.StoreException {
        List<MessageStore.Message> all = new ArrayList<>();
        MessageStore.Mailbox mailbox = store.fetch(recipient);
        while (mailbox.hasNext()) {
            all.addAll(mailbox.nextPage());
        }
        return all;
    }

    private static List<String> texts(MessageStore store, String recipient)
            throws MessageStore.StoreException {
        return mailbox(store, recipient).stream().map(MessageStore.Message::text).toList();
    }

    private static List<String> numbers(int from, int to) {
        return IntStream.range(from, to).mapToObj(Integer::toString).toList();
    }

    /** Stores the numbers from {@code from} to before {@code to}, one after the other. */
    private static void storeNumbers(MessageStore store, String recipient, int from, int to)
            throws MessageStore.StoreException {
        for (int i = from; i < to; i++) {
            store.store(recipient, "counter", Integer.toString(i));
        }
    }

    /** Where messages can be kept. */
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
        },
        POSTGRESQL {
            @Override
            String place(Path folder) {
                return Databases.freshPostgres();
            }

            @Override
            boolean commits(String sql) {
                return sql.startsWith("INSERT"); // autocommit: one statement, one transaction
            }
        };

        abstract String place(Path folder);

        /** Whether this statement ends a transaction that stores. */
        abstract boolean commits(String sql);
    }

    // ---------------------------------------------------------------- on both databases

    @Nested
    @ParameterizedClass
    @EnumSource(Kind.class)
    class OnEither {
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
            store = new MessageStore(place, wrap);
        }

        /** Reopens it; {@code beforeCommit} is then run before each commit that stores. */
        private void reopen(Runnable beforeCommit) throws Exception {
            AtomicBoolean open = new AtomicBoolean();
            reopen(
                    Statements.seenBy(sql -> {
                        if (open.get() && kind.commits(sql)) {
                            beforeCommit.run();
                        }
                    }));
            open.set(true); // to open it takes commits, too
        }

        @Test
        void messagesComeInTheOrderOfTheirAcceptance() throws Exception {
            List<MessageStore.Message> stored = new ArrayList<>();
            for (int i = 0; i < 30; i++) {
                String sender = List.of("zoe", "al", "george").get(i % 3);
                store.store("bob", sender, "text " + i);
                stored.add(new MessageStore.Message(sender, "text " + i));
            }
            assertEquals(stored, mailbox(store, "bob"));
        }

        @Test
        void fetchingDeletesNothing() throws Exception {
            storeNumbers(store, "bob", 0, 3);
            assertEquals(numbers(0, 3), texts(store, "bob"));
            assertEquals(numbers(0, 3), texts(store, "bob"));
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
            assertEquals(List.of("hi", "hi"), texts(store, "bob"));
        }

        /** Names that a file system, SQL, a pattern or a locale would take for something else. */
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
                    "e\u0301", // the same to the eye, another name to us
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
        void awkwardNamesAreOnlyData() throws Exception {
            List<String> names = awkwardNames();
            for (String name : names) {
                store.store(name, name, "for " + name);
            }
            for (String name : names) {
                assertEquals(
                        List.of(new MessageStore.Message(name, "for " + name)),
                        mailbox(store, name),
                        name);
            }
            reopen(UnaryOperator.identity());
            for (String name : names) {
                assertEquals(List.of("for " + name), texts(store, name), name);
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
            assertEquals(texts, texts(store, "bob"));
        }

        @Test
        void pagesHold256Messages() throws Exception {
            int count = 0;
            for (int size : List.of(1, 255, 256, 257, 511, 512, 513)) {
                storeNumbers(store, "bob", count, size);
                count = size;
                MessageStore.Mailbox mailbox = store.fetch("bob");
                for (int from = 0; from <= size; from += 256) {
                    assertEquals(
                            numbers(from, Math.min(size, from + 256)),
                            mailbox.nextPage().stream().map(MessageStore.Message::text).toList(),
                            "page of " + size + " messages from " + from);
                }
            }
        }

        @Test
        void messagesThatArriveDuringAFetchAreLeftForTheNext() throws Exception {
            storeNumbers(store, "bob", 0, 300);
            MessageStore.Mailbox mailbox = store.fetch("bob");
            assertEquals(256, mailbox.nextPage().size());
            storeNumbers(store, "bob", 300, 310);
            assertEquals(
                    numbers(256, 300),
                    mailbox.nextPage().stream().map(MessageStore.Message::text).toList());
            assertEquals(numbers(0, 310), texts(store, "bob"));
        }

        @Test
        void messagesThatArriveAfterExactlyOnePageAreLeftForTheNext() throws Exception {
            storeNumbers(store, "bob", 0, 256);
            MessageStore.Mailbox mailbox = store.fetch("bob");
            assertEquals(256, mailbox.nextPage().size());
            storeNumbers(store, "bob", 256, 260);
            assertEquals(List.of(), mailbox.nextPage());
        }

        @Test
        void reopeningKeepsEverythingAndItsOrder() throws Exception {
            for (int i = 0; i < 5; i++) {
                storeNumbers(store, "bob", i * 10, (i + 1) * 10);
                reopen(UnaryOperator.identity());
            }
            assertEquals(numbers(0, 50), texts(store, "bob"));
        }

        @Test
        void concurrentStoresAreAllThereOnceAndInOrder() throws Exception {
            int threads = 64;
            int each = 40;
            List<CompletableFuture<Void>> done = new ArrayList<>();
            for (int i = 0; i < threads; i++) {
                String sender = "sender " + i;
                done.add(
                        inBackground(() -> {
                            for (int n = 0; n < each; n++) {
                                store.store("all", sender, Integer.toString(n));
                            }
                        }));
            }
            for (CompletableFuture<Void> one : done) {
                one.get(60, TimeUnit.SECONDS);
            }
            var bySender =
                    mailbox(store, "all").stream()
                            .collect(
                                    Collectors.groupingBy(
                                            MessageStore.Message::sender,
                                            Collectors.mapping(
                                                    MessageStore.Message::text,
                                                    Collectors.toList())));
            assertEquals(threads, bySender.size());
            bySender.forEach((sender, texts) -> assertEquals(numbers(0, each), texts, sender));
        }

        @Test
        void aStoreReturnsOnlyAfterItsCommit() throws Exception {
            CountDownLatch committing = new CountDownLatch(1);
            CountDownLatch mayCommit = new CountDownLatch(1);
            reopen(() -> {
                committing.countDown();
                await(mayCommit);
            });
            CompletableFuture<Void> storing = inBackground(() -> store.store("bob", "al", "hi"));
            await(committing);
            assertEquals(List.of(), texts(store, "bob"), "nobody sees it yet");
            assertFalse(storing.isDone(), "acknowledged before it was durable");
            mayCommit.countDown();
            storing.get(20, TimeUnit.SECONDS);
            assertEquals(List.of("hi"), texts(store, "bob"));
        }

        @Test
        void storesThatWaitShareOneCommit() throws Exception {
            CountDownLatch committing = new CountDownLatch(1);
            CountDownLatch mayCommit = new CountDownLatch(1);
            AtomicInteger commits = new AtomicInteger();
            reopen(() -> {
                commits.incrementAndGet();
                committing.countDown();
                await(mayCommit);
            });
            List<CompletableFuture<Void>> storings = new ArrayList<>();
            storings.add(inBackground(() -> store.store("bob", "al", "0")));
            await(committing);
            List<Thread> others = new ArrayList<>();
            for (int i = 1; i <= 100; i++) {
                String text = Integer.toString(i);
                CompletableFuture<Void> storing = new CompletableFuture<>();
                storings.add(storing);
                others.add(
                        Thread.ofVirtual()
                                .start(() -> {
                                    try {
                                        store.store("bob", "al", text);
                                        storing.complete(null);
                                    } catch (Exception e) {
                                        storing.completeExceptionally(e);
                                    }
                                }));
            }
            eventually(
                    "the others wait for the store",
                    () -> others.stream().allMatch(MessageStoreTest::waits));
            mayCommit.countDown();
            for (CompletableFuture<Void> storing : storings) {
                storing.get(20, TimeUnit.SECONDS);
            }
            assertEquals(101, texts(store, "bob").size());
            assertTrue(
                    commits.get() <= 3,
                    "101 stores, one of them alone, in " + commits.get() + " commits");
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
            assertEquals(List.of("hi"), texts(store, "bob"));
        }

        @Test
        void closingUnderLoadKeepsExactlyWhatWasAcknowledged() throws Exception {
            Set<String> acknowledged = new HashSet<>();
            Set<String> refused = new HashSet<>();
            CountDownLatch some = new CountDownLatch(200);
            List<CompletableFuture<Void>> done = new ArrayList<>();
            for (int i = 0; i < 32; i++) {
                String sender = "s" + i;
                done.add(
                        inBackground(() -> {
                            for (int n = 0; ; n++) {
                                String text = sender + " " + n;
                                try {
                                    store.store("all", sender, text);
                                } catch (MessageStore.StoreException e) {
                                    synchronized (refused) {
                                        refused.add(text);
                                    }
                                    return;
                                }
                                synchronized (acknowledged) {
                                    acknowledged.add(text);
                                }
                                some.countDown();
                            }
                        }));
            }
            await(some);
            MessageStore closing = store;
            closing.close();
            for (CompletableFuture<Void> one : done) {
                one.get(20, TimeUnit.SECONDS);
            }
            store = new MessageStore(place);
            List<String> kept = texts(store, "all");
            assertEquals(acknowledged, new HashSet<>(kept));
            assertEquals(acknowledged.size(), kept.size(), "none twice");
            assertEquals(32, refused.size());
        }

        @Test
        void anInterruptedCallerLearnsThatTheOutcomeIsUnknown() throws Exception {
            CountDownLatch mayCommit = new CountDownLatch(1);
            reopen(() -> await(mayCommit));
            Thread.currentThread().interrupt();
            assertThrows(
                    MessageStore.StoreException.class, () -> store.store("bob", "al", "perhaps"));
            assertTrue(Thread.interrupted(), "the interrupt is not swallowed");
            mayCommit.countDown();
            store.store("bob", "al", "surely");
            assertEquals("surely", texts(store, "bob").getLast());
        }
    }

    // ---------------------------------------------------------------- SQLite and its file

    @Nested
    class OnSqlite {
        @TempDir Path folder;

        private String refusal(String place) {
            return assertThrows(
                            MessageStore.StoreException.class,
                            () -> new MessageStore(place).close())
                    .getMessage();
        }

        private List<String> filesLeft() throws IOException {
            try (Stream<Path> files = Files.list(folder)) {
                return files.map(file -> file.getFileName().toString()).sorted().toList();
            }
        }

        @Test
        void oneFileIsLeftAfterClose() throws Exception {
            try (MessageStore store = new MessageStore(folder.resolve("messages.db").toString())) {
                storeNumbers(store, "bob", 0, 300);
                assertEquals(300, texts(store, "bob").size());
            }
            assertEquals(List.of("messages.db"), filesLeft());
        }

        @Test
        void aFolderThatDoesNotExistIsNotMadeForATypingMistake() throws Exception {
            // The folder was made, and what looked like lost mail was an empty store elsewhere.
            Path mistyped = folder.toRealPath().resolve("clas/messages.db");
            assertRefused(mistyped, "there is no folder " + mistyped.getParent());
            assertEquals(List.of(), filesLeft());
        }

        @Test
        void theFolderInTheUsersHomeIsMadeIfItIsMissing() throws Exception {
            for (int i = 0; i < 2; i++) {
                try (MessageStore store = MessageStore.inHome(folder, MessageStore.UNLIMITED)) {
                    Path file = folder.resolve(".msg-server/messages.db");
                    assertEquals(file.toRealPath().toString(), store.place());
                }
            }
        }

        @Test
        void thePlaceIsShownAsAnAbsolutePath() throws Exception {
            Path here = Path.of("").toAbsolutePath();
            Path file = folder.resolve("messages.db").toAbsolutePath();
            Assumptions.assumeTrue(
                    here.getRoot().equals(file.getRoot()),
                    "the temporary folder is on another drive");
            try (MessageStore store = new MessageStore(here.relativize(file).toString())) {
                assertEquals(file.toRealPath(), Path.of(store.place()).toRealPath(), store.place());
                assertTrue(Path.of(store.place()).isAbsolute());
            }
        }

        @Test
        void aJdbcUrlOfSqliteNamesAFileToo() throws Exception {
            Path file = folder.resolve("messages.db");
            try (MessageStore store = new MessageStore("jdbc:sqlite:" + file)) {
                store.store("bob", "al", "hi");
            }
            try (MessageStore store = new MessageStore(file.toString())) {
                assertEquals(List.of("hi"), texts(store, "bob"));
            }
        }

        @ParameterizedTest
        @ValueSource(
                strings = {"my messages.db", "100%20#1&x=y.db", "'quoted' \"twice\".db", "-q.db"})
        void awkwardFileNamesAreOnlyNames(String name) throws Exception {
            try (MessageStore store = new MessageStore(folder.resolve(name).toString())) {
                store.store("bob", "al", "hi");
            }
            assertEquals(List.of(name), filesLeft());
        }

        @Test
        void namesInAnyScriptAreFileNames() throws Exception {
            String encoding = System.getProperty("sun.jnu.encoding");
            Assumptions.assumeTrue(
                    "UTF-8".equalsIgnoreCase(encoding), "this locale's file names are " + encoding);
            Path file = folder.resolve("Γραμματοκιβώτιο 📬").resolve("μηνύματα.db");
            Files.createDirectory(file.getParent());
            try (MessageStore store = new MessageStore(file.toString())) {
                store.store("bob", "al", "hi");
            }
            try (MessageStore store = new MessageStore(file.toString())) {
                assertEquals(List.of("hi"), texts(store, "bob"));
            }
        }

        @Test
        void aSecondStoreOnTheSameFileIsRefused() throws Exception {
            Path file = folder.resolve("messages.db");
            Path link = Files.createSymbolicLink(folder.resolve("link.db"), file);
            try (MessageStore first = new MessageStore(file.toString())) {
                first.store("bob", "al", "one");
                for (Path same : List.of(file, folder.resolve("../x/..").resolve(file), link)) {
                    assertEquals(
                            "Cannot keep messages in "
                                    + file.toRealPath()
                                    + ": another server has it open",
                            refusal(same.toString()));
                }
                first.store("bob", "al", "two");
                assertEquals(List.of("one", "two"), texts(first, "bob"), "the first one works on");
            }
            try (MessageStore next = new MessageStore(file.toString())) {
                assertEquals(List.of("one", "two"), texts(next, "bob"));
            }
        }

        @Test
        void whatAKilledServerLeavesIsTakenOver() throws Exception {
            Path driver = Files.createDirectory(folder.resolve("messages.db.driver"));
            Files.writeString(
                    driver.resolve("sqlite-3.54-1-libsqlitejdbc.so"), "of an earlier run");
            Files.writeString(driver.resolve(System.mapLibraryName("sqlitejdbc")), "cut off");
            try (MessageStore store = new MessageStore(folder.resolve("messages.db").toString())) {
                store.store("bob", "al", "hi");
            }
            assertEquals(List.of("messages.db"), filesLeft());
        }

        @Test
        void filesOfSomethingElseAreLeftAlone() throws Exception {
            Path driver = Files.createDirectory(folder.resolve("printer.driver"));
            Path manual = Files.writeString(driver.resolve("manual.txt"), "press the button");
            assertRefused(folder.resolve("printer"), "printer.driver: directory not empty");
            assertEquals("press the button", Files.readString(manual));
            assertTrue(filesLeft().contains("printer.driver"));
        }

        @Test
        @DisabledOnOs(value = OS.WINDOWS, disabledReason = "links need a privilege")
        void linksAreNotFollowedIntoFoldersOfOthers() throws Exception {
            Path precious = Files.createDirectory(folder.resolve("precious"));
            Path library = Files.writeString(precious.resolve("sqlite-notes.txt"), "to be kept");
            Files.createSymbolicLink(folder.resolve("messages.db.driver"), precious);
            assertRefused(folder.resolve("messages.db"), "messages.db.driver: file already exists");
            assertEquals("to be kept", Files.readString(library));
        }

        @Test
        @DisabledOnOs(value = OS.WINDOWS, disabledReason = "links need a privilege")
        void aLinkThatLeadsNowhereIsRefused() throws Exception {
            Path link = folder.resolve("link.db");
            Files.createSymbolicLink(link, folder.resolve("later.db"));
            assertRefused(link, "the link leads nowhere");
        }

        private static void assertRefused(Path place, String reason) {
            var e =
                    assertThrows(
                            MessageStore.StoreException.class,
                            () -> new MessageStore(place.toString()));
            assertTrue(e.getMessage().endsWith(reason), e.getMessage());
        }

        @Test
        void anEmptyFileBecomesAStore() throws Exception {
            Path file = Files.createFile(folder.resolve("made by mktemp"));
            try (MessageStore store = new MessageStore(file.toString())) {
                store.store("bob", "al", "hi");
                assertEquals(List.of("hi"), texts(store, "bob"));
            }
        }

        @ParameterizedTest
        @ValueSource(ints = {2, 15, 100, 4096, 100_000}) // SQLite takes a file of 1 byte for empty
        void aFileThatIsNoDatabaseIsRefusedAndUntouched(int size) throws Exception {
            Path file = folder.resolve("thesis.txt");
            byte[] thesis = "All messages are kept. ".repeat(5000).getBytes(StandardCharsets.UTF_8);
            byte[] content = Arrays.copyOf(thesis, size);
            Files.write(file, content);
            String sentence = refusal(file.toString());
            assertTrue(
                    sentence.startsWith("Cannot keep messages in " + file.toRealPath() + ": "),
                    sentence);
            assertEquals(1, sentence.lines().count(), sentence);
            assertArrayEquals(content, Files.readAllBytes(file));
            assertEquals(List.of("thesis.txt"), filesLeft(), "nothing is left beside it");
        }

        @Test
        void aDamagedStoreIsRefused() throws Exception {
            Path file = folder.resolve("messages.db");
            new MessageStore(file.toString()).close();
            byte[] content = Files.readAllBytes(file);
            Arrays.fill(content, 100, content.length, (byte) 0x55);
            Files.write(file, content);
            assertTrue(refusal(file.toString()).startsWith("Cannot keep messages in "));
        }

        @Test
        void anotherProgramsDatabaseIsRefusedAndUntouched() throws Exception {
            Path file = folder.resolve("bookmarks.sqlite");
            try (Connection connection = DriverManager.getConnection("jdbc:sqlite:" + file);
                    Statement statement = connection.createStatement()) {
                statement.execute("CREATE TABLE bookmark (url TEXT)");
                statement.execute("INSERT INTO bookmark VALUES ('somewhere')");
            }
            byte[] content = Files.readAllBytes(file);
            assertEquals(
                    "Cannot keep messages in "
                            + file.toRealPath()
                            + ": it is a database of another program",
                    refusal(file.toString()));
            assertArrayEquals(content, Files.readAllBytes(file));
            assertEquals(List.of("bookmarks.sqlite"), filesLeft());
        }

        @Test
        void aTableOfTheSameNameOfAnotherProgramIsRefused() throws Exception {
            Path file = folder.resolve("chat.sqlite");
            try (Connection connection = DriverManager.getConnection("jdbc:sqlite:" + file);
                    Statement statement = connection.createStatement()) {
                statement.execute("CREATE TABLE message (recipient TEXT, id, sender, text)");
            }
            assertTrue(refusal(file.toString()).endsWith("it is a database of another program"));
        }

        @Test
        void aFolderIsRefused() throws Exception {
            String sentence = refusal(folder.toString());
            assertTrue(sentence.startsWith("Cannot keep messages in "), sentence);
            assertEquals(List.of(), filesLeft());
        }

        @ParameterizedTest
        @ValueSource(strings = {"", "/", "messages.db?journal_mode=OFF", "\0"})
        void whatNamesNoFileIsRefused(String place) {
            String sentence = refusal(place);
            assertTrue(sentence.startsWith("Cannot keep messages in "), sentence);
        }

        @Test
        void anotherKindOfDatabaseIsRefused() throws Exception {
            String sentence = refusal("jdbc:mysql://127.0.0.1/messages");
            assertTrue(sentence.startsWith("Cannot keep messages in "), sentence);
            assertFalse(
                    Files.exists(Path.of("jdbc:mysql:")),
                    "not a file of that name in the working folder");
        }

        @Test
        void aFolderThatCannotBeWrittenIsRefused() throws Exception {
            Path unwritable = folder.resolve("unwritable");
            Files.createDirectory(
                    unwritable,
                    PosixFilePermissions.asFileAttribute(
                            PosixFilePermissions.fromString("r-xr-xr-x")));
            if (Files.isWritable(unwritable)) { // root may write everywhere but there
                unwritable = Path.of("/proc/self");
                Assumptions.assumeTrue(Files.exists(unwritable), "no folder is closed to root");
            }
            String sentence = refusal(unwritable.resolve("messages.db").toString());
            assertTrue(sentence.startsWith("Cannot keep messages in "), sentence);
            assertEquals(1, sentence.lines().count(), sentence);
        }

        @Test
        void aFileInPlaceOfTheFolderIsRefused() throws Exception {
            Path file = Files.writeString(folder.resolve("file"), "text");
            String sentence = refusal(file.resolve("messages.db").toString());
            assertTrue(sentence.startsWith("Cannot keep messages in "), sentence);
            assertEquals("text", Files.readString(file));
        }

        @Test
        void everyConnectionIsDurable() throws Exception {
            var connections = new ConcurrentLinkedQueue<Connection>();
            Set<String> owners = ConcurrentHashMap.newKeySet();
            // A connection is its thread's own: only that thread may ask it for its settings.
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
            try (var store = new MessageStore(folder.resolve("messages.db").toString(), wrap)) {
                store.store("bob", "al", "hi");
                assertEquals(List.of("hi"), texts(store, "bob"));
                assertTrue(owners.contains("store-writer"), owners.toString());
                assertTrue(
                        owners.stream().anyMatch(owner -> owner.startsWith("store-reader")),
                        owners.toString());
            }
            for (Connection connection : connections) {
                assertTrue(connection.isClosed(), "left open");
            }
        }

        private static void requireDurable(Connection connection) throws SQLException {
            assertEquals("wal", pragma(connection, "journal_mode"));
            assertEquals("2", pragma(connection, "synchronous"), "FULL");
            assertEquals("1", pragma(connection, "fullfsync"));
            assertTrue(Integer.parseInt(pragma(connection, "busy_timeout")) > 0);
        }

        private static String pragma(Connection connection, String name) throws SQLException {
            try (Statement statement = connection.createStatement();
                    ResultSet row = statement.executeQuery("PRAGMA " + name)) {
                row.next();
                return row.getString(1);
            }
        }

        /** As if all that is in the file came from a server whose clock was an hour ahead. */
        private static void writtenAnHourAhead(Path file) throws SQLException {
            List<byte[]> ids = new ArrayList<>();
            try (Connection connection = DriverManager.getConnection("jdbc:sqlite:" + file);
                    Statement statement = connection.createStatement()) {
                try (ResultSet rows = statement.executeQuery("SELECT id FROM message")) {
                    while (rows.next()) {
                        ids.add(rows.getBytes(1));
                    }
                }
                try (PreparedStatement shift =
                        connection.prepareStatement("UPDATE message SET id = ? WHERE id = ?")) {
                    for (byte[] id : ids) {
                        ByteBuffer shifted = ByteBuffer.wrap(id.clone());
                        long hour = Duration.ofHours(1).toMillis() << 16; // 48 bits of time first
                        shifted.putLong(0, shifted.getLong(0) + hour);
                        shift.setBytes(1, shifted.array());
                        shift.setBytes(2, id);
                        assertEquals(1, shift.executeUpdate());
                    }
                }
                int minutes = Integer.parseInt(pragma(connection, "user_version")); // see Sqlite
                statement.execute("PRAGMA user_version = " + (minutes + 60));
            }
        }

        @Test
        void aClockSetBackDuringARestartDoesNotChangeTheOrder() throws Exception {
            // Ids begin with the time: after a step back new messages came before older ones, and
            // when the first start after it took that into account, the second did not.
            Path file = folder.resolve("messages.db");
            try (MessageStore store = new MessageStore(file.toString())) {
                storeNumbers(store, "bob", 0, 5);
            }
            writtenAnHourAhead(file);
            for (int i = 1; i < 4; i++) {
                try (MessageStore store = new MessageStore(file.toString())) {
                    storeNumbers(store, "bob", i * 5, (i + 1) * 5);
                    assertEquals(numbers(0, (i + 1) * 5), texts(store, "bob"));
                }
            }
        }
    }

    // ---------------------------------------------------------------- waiting

    @FunctionalInterface
    private interface Action {
        void run() throws Exception;
    }

    @FunctionalInterface
    private interface Condition {
        boolean holds() throws Exception;
    }

    private static CompletableFuture<Void> inBackground(Action action) {
        CompletableFuture<Void> done = new CompletableFuture<>();
        Thread.ofVirtual()
                .start(() -> {
                    try {
                        action.run();
                        done.complete(null);
                    } catch (Throwable e) {
                        done.completeExceptionally(e);
                    }
                });
        return done;
    }

    private static boolean waits(Thread thread) {
        return thread.getState() == Thread.State.WAITING
                || thread.getState() == Thread.State.TIMED_WAITING;
    }

    private static void await(CountDownLatch latch) {
        try {
            if (!latch.await(20, TimeUnit.SECONDS)) {
                fail("waited 20 s in vain");
            }
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    private static void eventually(String what, Condition condition) throws Exception {
        long deadline = System.nanoTime() + Duration.ofSeconds(20).toNanos();
        while (!condition.holds()) {
            if (System.nanoTime() - deadline > 0) {
                fail("not within 20 s: " + what);
            }
            Thread.sleep(5);
        }
    }
}
