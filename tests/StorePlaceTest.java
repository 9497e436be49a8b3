///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of where a store may be: names, folders, links, URLs, permissions
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Mailboxes.java
//SOURCES support/ServerProcess.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

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

import picocli.CommandLine;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * The path in {@code --store}: which paths a start accepts, and how it refuses the others. {@code
 * ForeignFilesTest} tests existing files that are not a store; {@code StoreFileTest} tests the file
 * of an open store.
 */
class StorePlaceTest {
    @TempDir private Path folder;

    private Path store() throws IOException {
        return folder.toRealPath().resolve("messages.db");
    }

    private String refusal(String place) {
        return assertThrows(Exception.class, () -> new MessageStore(place).close()).getMessage();
    }

    private List<String> filesLeft() throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        }
    }

    @Test
    void theFolderInTheUsersHomeIsCreatedIfMissing() throws Exception {
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
    void unusualFileNamesAreOnlyNames(String name) throws Exception {
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
    void foreignFilesInTheFolderAreKept() throws Exception {
        Path driver = Files.createDirectory(folder.resolve("printer.driver"));
        Path manual = Files.writeString(driver.resolve("manual.txt"), "press the button");
        assertRefused(folder.resolve("printer"), "printer.driver: file already exists");
        assertEquals("press the button", Files.readString(manual));
        assertTrue(filesLeft().contains("printer.driver"));
    }

    @Test
    @DisabledOnOs(value = OS.WINDOWS, disabledReason = "links need a privilege")
    void linksIntoOtherFoldersAreNotFollowed() throws Exception {
        Path precious = Files.createDirectory(folder.resolve("precious"));
        Path library = Files.writeString(precious.resolve("sqlite-notes.txt"), "to be kept");
        Files.createSymbolicLink(folder.resolve("messages.db.driver"), precious);
        assertRefused(folder.resolve("messages.db"), "messages.db.driver: file already exists");
        assertEquals("to be kept", Files.readString(library));
    }

    @Test
    @DisabledOnOs(value = OS.WINDOWS, disabledReason = "links need a privilege")
    void aBrokenLinkIsRefused() throws Exception {
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

    @ParameterizedTest
    @ValueSource(strings = {"", "/", "messages.db?journal_mode=OFF", "\0"})
    void aPlaceThatIsNoFileIsRefused(String place) {
        String sentence = refusal(place);
        assertTrue(sentence.startsWith("Cannot keep messages in "), sentence);
    }

    @Test
    void aFileInPlaceOfTheFolderIsRefused() throws Exception {
        Path file = Files.writeString(folder.resolve("file"), "text");
        String sentence = refusal(file.resolve("messages.db").toString());
        assertTrue(sentence.startsWith("Cannot keep messages in "), sentence);
        assertEquals("text", Files.readString(file));
    }

    // ---------------------------------------------------------------- the command and --store

    /** The output of the command, which must refuse the store and return {@code exit}. */
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
    void anInvalidUrlIsWrongUsageAndItsPasswordIsNotShown(String place) throws Exception {
        // In an earlier version the server created files and folders named after the URL, and
        // printed the password as a part of the path.
        String said = refusal(2, "--store", place);
        assertTrue(said.startsWith("Cannot keep messages in that database: write jdbc:"), said);
        assertFalse(said.contains("s3cret"), said);
        for (String begin : List.of(place.replaceFirst(":.*", ":"), place, ":memory:")) {
            assertFalse(Files.exists(Path.of(begin)), "the server created " + begin);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"~/x.db", "~bob/x.db", "~"})
    void anUnexpandedTildeIsWrongUsage(String place) {
        assertEquals(
                "Cannot keep messages in "
                        + place
                        + ": nobody replaced the ~; write the whole path",
                refusal(2, "--store", place).lines().findFirst().orElseThrow());
        assertFalse(Files.exists(Path.of("~")), "the server created a folder");
    }

    @Test
    void aMissingFolderIsRefused() throws Exception {
        Path mistyped = folder.toRealPath().resolve("clas/messages.db");
        assertEquals(
                "Cannot keep messages in %s: there is no folder %s\n"
                        .formatted(mistyped, mistyped.getParent()),
                refusal(1, "--store", mistyped.toString()));
        assertEquals(List.of(), filesLeft(), "the server created a store in a new folder");
    }

    // ---------------------------------------------------------------- permissions

    @Test
    void aReadOnlyFileIsRefusedAtTheStart() throws Exception {
        // In an earlier version the server reported that it was listening, and then refused every
        // store.
        new MessageStore(store().toString()).close();
        Files.setPosixFilePermissions(store(), PosixFilePermissions.fromString("r--r--r--"));
        try (var server =
                new ServerProcess(withoutPrivileges(store(), ServerProcess.command(store())))) {
            assertEquals(1, server.awaitExit(), server.output());
            assertEquals(
                    "Cannot keep messages in %s: %s: access denied\n".formatted(store(), store()),
                    server.errors());
        }
    }

    @Test
    void aReadOnlyFolderIsRefusedAtTheStart() throws Exception {
        Path shut = Files.createDirectory(folder.toRealPath().resolve("shut"));
        Path file = shut.resolve("messages.db");
        new MessageStore(file.toString()).close();
        Files.setPosixFilePermissions(shut, PosixFilePermissions.fromString("r-xr-xr-x"));
        try (var server = new ServerProcess(withoutPrivileges(shut, ServerProcess.command(file)))) {
            assertEquals(1, server.awaitExit(), server.output());
            assertEquals(1, server.errors().lines().count(), server.errors());
        } finally {
            Files.setPosixFilePermissions(shut, PosixFilePermissions.fromString("rwx------"));
        }
    }

    /** The command, without root's privilege to write every file. */
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
}
