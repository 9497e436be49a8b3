///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the file that SQLite keeps for a store
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Mailboxes.java
//SOURCES support/Statements.java
//SOURCES support/Waiting.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;

/** The one file that SQLite keeps for a store: which files it takes, and how it keeps them. */
class SqliteFileTest {
    @TempDir Path folder;

    private String refusal(String place) {
        return assertThrows(
                        MessageStore.StoreException.class, () -> new MessageStore(place).close())
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
            Mailboxes.storeNumbers(store, "bob", 0, 300);
            assertEquals(300, Mailboxes.texts(store, "bob").size());
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
            try (MessageStore store = MessageStore.inHome(folder, Long.MAX_VALUE)) {
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
                here.getRoot().equals(file.getRoot()), "the temporary folder is on another drive");
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
            assertEquals(List.of("hi"), Mailboxes.texts(store, "bob"));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"my messages.db", "100%20#1&x=y.db", "'quoted' \"twice\".db", "-q.db"})
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
            assertEquals(List.of("hi"), Mailboxes.texts(store, "bob"));
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
            assertEquals(
                    List.of("one", "two"), Mailboxes.texts(first, "bob"), "the first one works on");
        }
        try (MessageStore next = new MessageStore(file.toString())) {
            assertEquals(List.of("one", "two"), Mailboxes.texts(next, "bob"));
        }
    }

    @Test
    void whatAKilledServerLeavesIsTakenOver() throws Exception {
        Path driver = Files.createDirectory(folder.resolve("messages.db.driver"));
        Files.writeString(driver.resolve("sqlite-3.54-1-libsqlitejdbc.so"), "of an earlier run");
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
        assertRefused(folder.resolve("printer"), "printer.driver: file already exists");
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
            assertEquals(List.of("hi"), Mailboxes.texts(store, "bob"));
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
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("r-xr-xr-x")));
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
        try (var store =
                new MessageStore(folder.resolve("messages.db").toString(), Long.MAX_VALUE, wrap)) {
            store.store("bob", "al", "hi");
            assertEquals(List.of("hi"), Mailboxes.texts(store, "bob"));
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
}
