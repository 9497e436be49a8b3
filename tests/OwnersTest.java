///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of names and keys: a name belongs to the first key that uses it
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Databases.java
//SOURCES support/Engine.java
//SOURCES support/Mailboxes.java
//SOURCES support/ServerProcess.java
//SOURCES support/Statements.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import javax.net.ssl.SSLSocket;

/** Names that belong to keys: which key may fetch the messages of a name, and send as this name. */
class OwnersTest {
    private static final String NOT_THE_OWNER =
            "Message declined. That name belongs to another key\n";
    private static final String NOT_STORED =
            "Message declined. Could not be stored, try again later\n";
    private static final Tls ME = Transport.Keys.CLIENT;
    private static final Tls OTHER = Transport.Keys.OTHER;

    @TempDir private Path folder;
    private Engine engine;
    private volatile String failing = "nothing";

    /** Runs before an owner is looked up. */
    private volatile Runnable meanwhile;

    /** A value of {@link #failing} with which each commit takes 20 ms longer. */
    private static final String SLOW_COMMIT = "slow commit";

    @BeforeEach
    void start() throws Exception {
        engine =
                new Engine(
                        Transport.TLS,
                        folder,
                        Engine.ROOMY,
                        Statements.seenBy(sql -> {
                            if (sql.contains(failing)) {
                                throw new SQLException("disk I/O error");
                            }
                            if (failing.equals(SLOW_COMMIT) && sql.equals("COMMIT")) {
                                LockSupport.parkNanos(Duration.ofMillis(20).toNanos());
                            }
                            if (meanwhile != null && sql.contains("FROM owner")) {
                                meanwhile.run();
                            }
                        }));
    }

    @AfterEach
    void stop() {
        engine.close();
    }

    /** The server's reply to {@code request} from the client with {@code key}. */
    private static String ask(int port, Tls key, String request) throws IOException {
        try (Socket socket = new Socket("127.0.0.1", port);
                SSLSocket tls = Transport.Keys.over(socket, key)) {
            tls.getOutputStream().write(request.getBytes(StandardCharsets.UTF_8));
            tls.shutdownOutput();
            return new String(tls.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        }
    }

    private String ask(Tls key, String request) throws IOException {
        return ask(engine.port(), key, request);
    }

    private void execute(String sql) throws SQLException {
        try (Connection connection =
                        DriverManager.getConnection("jdbc:sqlite:" + folder + "/messages.db");
                Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    // ---------------------------------------------------------------- claiming

    private static final String ONE_FROM_AL =
            "Retrieving messages...\ngeorge;al;hi\nNO MORE MESSAGES\n";

    @ParameterizedTest
    @ValueSource(strings = {"fetch;george", "store;bob;george;hi"})
    void theFirstKeyThatUsesANameOwnsIt(String first) throws Exception {
        assertEquals(Wire.STORED, ask(OTHER, "store;george;al;hi"));
        assertFalse(ask(ME, first).startsWith("Message declined"));
        for (int i = 0; i < 2; i++) {
            assertEquals(NOT_THE_OWNER, ask(OTHER, "fetch;george"));
            assertEquals(NOT_THE_OWNER, ask(OTHER, "store;bob;george;forged"));
            assertEquals(ONE_FROM_AL, ask(ME, "fetch;george"));
        }
        assertFalse(ask(ME, "fetch;bob").contains("forged"));
    }

    @Test
    void fetchingAnUnknownNameDoesNotClaimIt() throws Exception {
        // In an earlier version a fetch claimed an unknown name, so 1,673 fetches filled a store of
        // 1 MB with owners.
        assertEquals(Wire.EMPTY, ask(ME, "fetch;george"));
        assertEquals(Wire.EMPTY, ask(OTHER, "fetch;george"));
        assertEquals(Wire.STORED, ask(OTHER, "store;george;al;hi"));
        assertEquals(ONE_FROM_AL, ask(ME, "fetch;george"));
        assertEquals(NOT_THE_OWNER, ask(OTHER, "fetch;george"));
        execute("DELETE FROM message");
        assertEquals(
                NOT_THE_OWNER, ask(OTHER, "fetch;george"), "the empty mailbox still has an owner");
    }

    @Test
    void mailThatArrivesDuringAFetchGoesToTheLaterOwner() throws Exception {
        // The first key may fetch, since the name has no owner and no mail. A message that arrives
        // during this fetch must not go to this key, because the key does not own the name.
        meanwhile =
                () -> {
                    meanwhile = null;
                    assertTrue(Mailboxes.isStored(engine.store, "george;hi"));
                };
        assertEquals(Wire.EMPTY, ask(ME, "fetch;george"));
        assertEquals(null, meanwhile, "no message arrived during the fetch");
        assertEquals(ONE_FROM_AL, ask(OTHER, "fetch;george"));
    }

    @Test
    void oneKeyOwnsAtMostAHundredNames() throws Exception {
        try (MessageStore other = new MessageStore(Databases.freshPostgres())) {
            for (MessageStore store : List.of(engine.store, other)) {
                Owners owners = new Owners(store);
                owners.open(true);
                for (int i = 1; i <= 110; i++) {
                    assertEquals(i <= 100, owners.allow("name-" + i, "key", true), "name " + i);
                    assertEquals(
                            i > 100, owners.allow("name-" + i, "another key", true), "name " + i);
                }
                assertTrue(
                        owners.allow("name-1", "key", true), "a key at the limit keeps its names");
            }
        }
    }

    @Test
    void aFailedClaimIsReportedAsAFailedStore() throws Exception {
        assertEquals(Wire.STORED, ask(OTHER, "store;george;al;hi"));
        failing = "INTO owner";
        assertEquals(Wire.BUSY, ask(ME, "fetch;george"));
        assertEquals(List.of("The message store fails: disk I/O error"), engine.heard.troubles());
    }

    @Test
    void aPlainCopyOfAQuietStoreHasTheClaimsOfFetches() throws Exception {
        // In an earlier version claims stayed in the write-ahead log, so the copy lacked the
        // claims. A server on the copy let another key read the mail, and then refused the owner.
        assertEquals(Wire.STORED, ask(OTHER, "store;george;al;hi"));
        Path copy = folder.resolve("copy.db");
        Waiting.eventually("the message is copied", () -> rows(copy, "message").size() == 1);
        assertEquals(ONE_FROM_AL, ask(ME, "fetch;george"));
        Waiting.eventually(
                "the claim is copied", () -> rows(copy, "owner").equals(Set.of("al", "george")));
    }

    /** The first column of a table in a plain copy made now; empty if the table is missing. */
    private Set<String> rows(Path copy, String table) throws Exception {
        Files.deleteIfExists(copy);
        Files.copy(folder.resolve("messages.db"), copy);
        Set<String> found = new HashSet<>();
        try (Connection connection = DriverManager.getConnection("jdbc:sqlite:" + copy);
                Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("SELECT * FROM " + table)) {
            while (rows.next()) {
                found.add(rows.getString(1));
            }
        } catch (SQLException e) {
            return Set.of(); // the copy does not have the table yet
        }
        return found;
    }

    @Test
    void claimsDoNotWaitForALullOfStores() throws Exception {
        // SQLite lets one connection write at a time. A second connection polls for the lock, with
        // pauses of up to 100 ms. In an earlier version claims had a separate connection. When each
        // commit of stores took 20 ms, a claim took up to 2.1 s or failed.
        failing = SLOW_COMMIT;
        List<Future<Integer>> storing = new ArrayList<>();
        AtomicBoolean stop = new AtomicBoolean();
        for (int i = 0; i < 8; i++) {
            storing.add(
                    Waiting.inBackground(() -> {
                        int stored = 0;
                        for (; !stop.get(); stored++) {
                            engine.store.store("bob", "al", "hi");
                        }
                        return stored;
                    }));
        }
        Owners owners = new Owners(engine.store);
        long begun = System.nanoTime();
        for (int i = 0; i < 30; i++) {
            assertTrue(owners.allow("name-" + i, "key", true));
        }
        long took = Waiting.millisSince(begun);
        stop.set(true);
        for (Future<Integer> each : storing) {
            assertTrue(each.get(60, TimeUnit.SECONDS) > 0, "a client stored no message");
        }
        assertTrue(took < 15_000, "30 claims took " + took + " ms");
    }

    @Test
    void receivingMailClaimsNoName() throws Exception {
        assertEquals(Wire.STORED, ask(ME, "store;bob;george;hi bob"));
        assertEquals(
                "Retrieving messages...\nbob;george;hi bob\nNO MORE MESSAGES\n",
                ask(OTHER, "fetch;bob"));
        assertEquals(NOT_THE_OWNER, ask(ME, "fetch;bob"));
        assertEquals(Wire.STORED, ask(ME, "store;bob;george;again"), "any sender may write to bob");
    }

    @Test
    void oneKeyMayOwnSeveralNames() throws Exception {
        for (String name : List.of("george", "George", "ge orge", "γιώργος")) {
            assertEquals(Wire.STORED, ask(ME, "store;bob;" + name + ";hi"));
            assertEquals(NOT_THE_OWNER, ask(OTHER, "fetch;" + name));
        }
    }

    @Test
    void aRefusedRequestClaimsNothing() throws Exception {
        for (String request : List.of("store;bob;george", "store;bob;george;", "read;george")) {
            ask(ME, request);
        }
        assertEquals(Wire.STORED, ask(OTHER, "store;bob;george;hi"));
    }

    @Test
    void theOwnerOfANameIsNotCached() throws Exception {
        // Another server on the same database, or the operator, may have changed the owner since
        // the last request.
        assertEquals(Wire.STORED, ask(ME, "store;bob;george;hi"));
        execute("DELETE FROM owner WHERE name = 'george'");
        assertEquals(Wire.STORED, ask(OTHER, "store;bob;george;hi"));
        assertEquals(NOT_THE_OWNER, ask(ME, "fetch;george"));
    }

    @Test
    void anOwnerThatCannotBeReadOrWrittenGivesNoAccess() throws Exception {
        // The server fails closed: without proof of ownership a client gets no mail.
        assertEquals(Wire.STORED, ask(ME, "store;george;george;note to self"));
        failing = "FROM owner";
        for (Tls key : List.of(ME, OTHER)) {
            assertEquals(Wire.BUSY, ask(key, "fetch;george"));
            assertEquals(NOT_STORED, ask(key, "store;bob;george;hi"));
        }
        failing = "nothing";
        assertEquals(Wire.STORED, ask(ME, "store;new;george;hi"));
        failing = "INTO owner";
        assertEquals(Wire.BUSY, ask(ME, "fetch;new"));
        assertEquals(NOT_STORED, ask(ME, "store;bob;new;hi"));
        failing = "nothing";
        assertEquals(NOT_THE_OWNER, ask(OTHER, "fetch;george"));
        assertTrue(ask(ME, "fetch;george").contains("note to self"));
        assertEquals(Wire.EMPTY, ask(OTHER, "fetch;bob"));
        assertTrue(ask(OTHER, "fetch;new").contains("george;hi"), "the failed claim left an owner");
    }

    @Test
    void aClaimSurvivesAKill() throws Exception {
        Path store = folder.resolve("killed.db");
        String[] tls = Transport.TLS.options(store);
        for (int i = 0; i < 2; i++) {
            String claim = "store;bob;name-" + i + ";hi";
            try (var server = new ServerProcess(ServerProcess.command(store, tls))) {
                for (int before = 0; before < i; before++) {
                    assertEquals(NOT_THE_OWNER, ask(server.port(), OTHER, "fetch;name-" + before));
                }
                assertEquals(Wire.STORED, ask(server.port(), ME, claim));
                server.kill();
            }
        }
        try (var server = new ServerProcess(ServerProcess.command(store, tls))) {
            assertEquals(NOT_THE_OWNER, ask(server.port(), OTHER, "fetch;name-1"));
            assertEquals(Wire.EMPTY, ask(server.port(), ME, "fetch;name-1"));
        }
    }

    // ---------------------------------------------------------------- many at once

    private static final int CLIENTS = 50;
    private static final List<Tls> KEYS = List.of(ME, OTHER, Transport.Keys.SERVER);

    /**
     * Asserts that only one of three keys is served when their clients use {@code name} for the
     * first time, all at once. The name has mail, since otherwise a fetch would not claim it.
     */
    private static void assertOneOwnerOf(String name, int... ports) throws Exception {
        assertEquals(Wire.STORED, ask(ports[0], ME, "store;%s;al;hi".formatted(name)));
        String mailbox = "Retrieving messages...\n" + name + ";al;hi\nNO MORE MESSAGES\n";
        var ready = new CountDownLatch(CLIENTS);
        List<Future<String>> replies = new ArrayList<>();
        for (int i = 0; i < CLIENTS; i++) {
            Tls key = KEYS.get(i % KEYS.size());
            int port = ports[i % ports.length];
            String request = (i % 4 == 0 ? "store;bob;%s;hi" : "fetch;%s").formatted(name);
            replies.add(
                    Waiting.inBackground(() -> {
                        try (Socket socket = new Socket("127.0.0.1", port);
                                SSLSocket tls = Transport.Keys.over(socket, key)) {
                            ready.countDown();
                            ready.await();
                            tls.getOutputStream().write(request.getBytes(StandardCharsets.UTF_8));
                            tls.shutdownOutput();
                            byte[] reply = tls.getInputStream().readAllBytes();
                            return new String(reply, StandardCharsets.UTF_8);
                        }
                    }));
        }
        Set<Integer> served = new HashSet<>();
        Set<Integer> refused = new HashSet<>();
        for (int i = 0; i < CLIENTS; i++) {
            String reply = replies.get(i).get(60, TimeUnit.SECONDS);
            boolean isRefused = reply.equals(NOT_THE_OWNER);
            assertTrue(isRefused || Set.of(mailbox, Wire.STORED).contains(reply), reply);
            (isRefused ? refused : served).add(i % KEYS.size());
        }
        assertEquals(1, served.size(), "keys that were served: " + served);
        assertEquals(2, refused.size(), "keys that were refused: " + refused);
        assertFalse(refused.containsAll(served));
    }

    @Test
    void oneOfManySimultaneousFirstUsersOwnsTheName() throws Exception {
        assertOneOwnerOf("george", engine.port());
    }

    @Test
    void oneOfManyFirstUsersOnTwoServersOwnsTheName() throws Exception {
        String url = Databases.freshPostgres();
        try (MessageStore one = new MessageStore(url);
                MessageStore two = new MessageStore(url);
                MsgServer first = server(one);
                MsgServer second = server(two)) {
            first.start();
            second.start();
            assertOneOwnerOf("name", first.port(), second.port());
            for (int round = 0; round < 10; round++) {
                assertOneOfFiftyKeysOwns("other-" + round, List.of(one, two));
            }
        }
    }

    /** As {@link #assertOneOwnerOf}, but calls {@link Owners}, where any string can be a key. */
    private static void assertOneOfFiftyKeysOwns(String name, List<MessageStore> stores)
            throws Exception {
        var ready = new CountDownLatch(CLIENTS);
        List<Future<Boolean>> owns = new ArrayList<>();
        for (int i = 0; i < CLIENTS; i++) {
            String key = "key-" + i;
            Owners owners = new Owners(stores.get(i % stores.size()));
            owns.add(
                    Waiting.inBackground(() -> {
                        ready.countDown();
                        ready.await();
                        return owners.allow(name, key, true);
                    }));
        }
        int count = 0;
        for (Future<Boolean> each : owns) {
            count += each.get(60, TimeUnit.SECONDS) ? 1 : 0;
        }
        assertEquals(1, count, "the number of owners");
    }

    private static MsgServer server(MessageStore store) throws Exception {
        return new MsgServer(
                new InetSocketAddress(0),
                store,
                Engine.ROOMY,
                new Engine.Heard(),
                Thread.ofVirtual(),
                Transport.TLS.serverKey());
    }

    @Test
    void twoServersMayCreateTheTableAtOnce() throws Exception {
        String url = Databases.freshPostgres();
        List<Future<Boolean>> making = new ArrayList<>();
        try (MessageStore one = new MessageStore(url);
                MessageStore two = new MessageStore(url)) {
            for (MessageStore store : List.of(one, two, one, two)) {
                making.add(
                        Waiting.inBackground(() -> {
                            Owners owners = new Owners(store);
                            owners.open(true);
                            return owned(owners);
                        }));
            }
            for (Future<Boolean> each : making) {
                assertFalse(each.get(60, TimeUnit.SECONDS));
            }
            assertTrue(new Owners(one).allow("george", "key", true));
            assertTrue(owned(new Owners(two)));
        }
    }

    private static boolean owned(Owners owners) {
        try {
            owners.open(false);
            return false;
        } catch (MessageStore.StoreException e) {
            return e.getMessage().contains("belong to keys");
        }
    }

    // ---------------------------------------------------------------- before and after TLS

    @ParameterizedTest
    @ValueSource(strings = {"sqlite3 messages.db", "psql -h db1 -U app msg -c"})
    void theDocumentsQueryListsMessagesWithUnprovenSenders(String program) throws Exception {
        boolean sqlite = program.startsWith("sqlite3");
        String url = sqlite ? "jdbc:sqlite:" + folder + "/other.db" : Databases.freshPostgres();
        String document = Files.readString(TestMain.checkout().resolve("docs/tls.md"));
        Matcher query =
                Pattern.compile(Pattern.quote(program) + " \"(SELECT[^\"]+)\"").matcher(document);
        assertTrue(query.find(), "the document has no query for " + program);
        try (MessageStore store = new MessageStore(url);
                Connection connection = DriverManager.getConnection(url);
                Statement statement = connection.createStatement()) {
            Owners owners = new Owners(store);
            owners.open(true);
            statement.execute( // the id is from July 2024
                    "INSERT INTO message (recipient, id, sender, text) VALUES ('bob', "
                            + (sqlite ? "x'" : "'")
                            + "019070000000700080000000000000ff', 'george', 'before')");
            store.store("bob", "zoe", "from a name without owner");
            assertTrue(owners.allow("george", "key", true));
            store.store("bob", "george", "proven");
            Set<String> texts = new HashSet<>();
            try (ResultSet rows = statement.executeQuery(query.group(1))) {
                while (rows.next()) {
                    texts.add(rows.getString("text"));
                }
            }
            assertEquals(Set.of("before", "from a name without owner"), texts);
        }
    }

    @Test
    void aServerWithoutOwnersRefusesAStoreThatMayHaveThem() throws Exception {
        // An earlier version without keys serves every mailbox to any client, and accepts forged
        // senders, whose messages would later look proven. This version opens only files with the
        // mark below (PRAGMA application_id), so a store with owners gets another mark.
        int known = 0x4d534753;
        String place = folder.resolve("marked.db").toString();
        for (boolean tls : List.of(false, true, false)) {
            try (MessageStore store = new MessageStore(place);
                    Connection connection = DriverManager.getConnection("jdbc:sqlite:" + place);
                    Statement statement = connection.createStatement()) {
                Owners owners = new Owners(store);
                owners.open(tls);
                String mark = Database.run(connection, "PRAGMA application_id");
                assertEquals(tls, !mark.equals("" + known), mark);
                if (tls) {
                    assertTrue(owners.allow("george", "key", true));
                    assertTrue(
                            owned(owners), "the store starts without TLS although it has owners");
                    assertEquals(mark, Database.run(connection, "PRAGMA application_id"));
                    statement.execute("DELETE FROM owner"); // the documented way to leave TLS
                }
            }
        }
    }

    // ---------------------------------------------------------------- the command

    private int exit(ServerProcess server) throws Exception {
        return server.awaitExit();
    }

    @Test
    void aStoreWithOwnersDoesNotStartWithoutTls() throws Exception {
        Path store = folder.resolve("owned.db");
        String[] tls = Transport.TLS.options(store);
        try (var server = new ServerProcess(ServerProcess.command(store, tls))) {
            server.port();
            server.signal("TERM");
            exit(server);
        }
        try (var server = new ServerProcess(ServerProcess.command(store))) {
            server.port(); // no name has an owner yet
            server.kill();
        }
        try (var server = new ServerProcess(ServerProcess.command(store, tls))) {
            ask(server.port(), ME, "store;bob;george;hi");
            server.kill();
        }
        try (var server = new ServerProcess(ServerProcess.command(store))) {
            assertEquals(1, exit(server));
            assertEquals("", server.output());
            assertEquals(
                    "Names in "
                            + store
                            + " belong to keys: start with --tls, or with another --store. The way"
                            + " back is \"Leaving TLS again\" in docs/tls.md.\n",
                    server.errors());
            String document = Files.readString(TestMain.checkout().resolve("docs/tls.md"));
            assertTrue(document.contains("\n## Leaving TLS again\n"));
        }
    }

    @Test
    void aServerPrintsItsKeyAndKeepsIt() throws Exception {
        Path store = folder.resolve("class.db");
        Path file = folder.resolve("class.db.key.pem");
        String said = "";
        for (int start = 0; start < 2; start++) {
            try (var server = new ServerProcess(ServerProcess.command(store, "--tls"))) {
                int port = server.port();
                Waiting.eventually(
                        "the server has logged its key", () -> server.output().contains(" --tls "));
                server.signal("TERM");
                exit(server);
                String[] lines = server.output().split("\n");
                assertEquals("Listening on port " + port + ", with TLS only", lines[0]);
                String key = new Tls(file, anybody -> true).fingerprint;
                assertTrue(lines[3].endsWith(" 127.0.0.1 " + port + " --tls " + key), lines[3]);
                assertTrue(said.isEmpty() || said.equals(key));
                said = key;
            }
        }
    }

    @Test
    void aServerKeyThatCannotBeReadEndsTheStart() throws Exception {
        Path store = folder.resolve("class.db");
        Path file = Files.writeString(folder.resolve("class.db.key.pem"), "no key");
        try (var server = new ServerProcess(ServerProcess.command(store, "--tls"))) {
            assertEquals(1, exit(server));
            assertEquals("", server.output());
            String sentence = server.errors();
            assertTrue(sentence.startsWith("Cannot use the key in " + file + ": "), sentence);
            assertEquals(1, sentence.lines().count(), sentence);
        }
        assertEquals("no key", Files.readString(file));
    }
}
