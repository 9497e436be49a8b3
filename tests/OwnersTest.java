///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION A name belongs to the first key that uses it
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Databases.java
//SOURCES support/Engine.java
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

import javax.net.ssl.SSLSocket;

/** Who may fetch a mailbox, and send in its name, on a server that knows its clients' keys. */
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
                        }));
    }

    @AfterEach
    void stop() {
        engine.close();
    }

    /** The reply to {@code request} of the client with that key. */
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

    @ParameterizedTest
    @ValueSource(strings = {"fetch;george", "store;bob;george;hi"})
    void theFirstKeyThatUsesANameOwnsIt(String first) throws Exception {
        assertFalse(ask(ME, first).startsWith("Message declined"));
        for (int i = 0; i < 2; i++) {
            assertEquals(NOT_THE_OWNER, ask(OTHER, "fetch;george"));
            assertEquals(NOT_THE_OWNER, ask(OTHER, "store;bob;george;forged"));
            assertEquals(Wire.EMPTY, ask(ME, "fetch;george"));
        }
        assertFalse(ask(ME, "fetch;bob").contains("forged"));
    }

    @Test
    void aRecipientOwnsNothingYet() throws Exception {
        assertEquals(Wire.STORED, ask(ME, "store;bob;george;hi bob"));
        assertEquals(
                "Retrieving messages...\nbob;george;hi bob\nNO MORE MESSAGES\n",
                ask(OTHER, "fetch;bob"));
        assertEquals(NOT_THE_OWNER, ask(ME, "fetch;bob"));
        assertEquals(Wire.STORED, ask(ME, "store;bob;george;again"), "anybody may write to bob");
    }

    @Test
    void oneKeyMayOwnSeveralNames() throws Exception {
        for (String name : List.of("george", "George", "ge orge", "γιώργος")) {
            assertEquals(Wire.EMPTY, ask(ME, "fetch;" + name));
            assertEquals(NOT_THE_OWNER, ask(OTHER, "fetch;" + name));
        }
    }

    @Test
    void whatIsNoRequestClaimsNothing() throws Exception {
        for (String request : List.of("store;bob;george", "store;bob;george;", "read;george")) {
            ask(ME, request);
        }
        assertEquals(Wire.EMPTY, ask(OTHER, "fetch;george"));
    }

    @Test
    void whoOwnsANameIsNotRemembered() throws Exception {
        // Another server on the same database, or its operator, may have changed it.
        assertEquals(Wire.EMPTY, ask(ME, "fetch;george"));
        execute("DELETE FROM owner WHERE name = 'george'");
        assertEquals(Wire.EMPTY, ask(OTHER, "fetch;george"));
        assertEquals(NOT_THE_OWNER, ask(ME, "fetch;george"));
    }

    @Test
    void aLostOwnerIsNoOwner() throws Exception {
        // Failing closed: who cannot be told to own a name does not get its mail.
        assertEquals(Wire.STORED, ask(ME, "store;george;george;note to self"));
        failing = "FROM owner";
        for (Tls key : List.of(ME, OTHER)) {
            assertEquals(Wire.BUSY, ask(key, "fetch;george"));
            assertEquals(NOT_STORED, ask(key, "store;bob;george;hi"));
        }
        failing = "INTO owner";
        assertEquals(Wire.BUSY, ask(ME, "fetch;new"));
        assertEquals(NOT_STORED, ask(ME, "store;bob;new;hi"));
        failing = "nothing";
        assertEquals(NOT_THE_OWNER, ask(OTHER, "fetch;george"));
        assertTrue(ask(ME, "fetch;george").contains("note to self"));
        assertEquals(Wire.EMPTY, ask(OTHER, "fetch;bob"));
        assertEquals(Wire.EMPTY, ask(OTHER, "fetch;new"), "nobody owns it yet");
    }

    @Test
    void aClaimSurvivesAKill() throws Exception {
        Path store = folder.resolve("killed.db");
        String[] tls = Transport.TLS.options(store);
        for (int i = 0; i < 2; i++) {
            String claim = "fetch;name-" + i;
            try (var server = new ServerProcess(ServerProcess.command(store, tls))) {
                for (int before = 0; before < i; before++) {
                    assertEquals(NOT_THE_OWNER, ask(server.port(), OTHER, "fetch;name-" + before));
                }
                assertEquals(Wire.EMPTY, ask(server.port(), ME, claim));
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

    /** Clients of three keys use {@code name} for the first time, all at once. */
    private static void assertOneOwnerOf(String name, int... ports) throws Exception {
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
            assertTrue(isRefused || Set.of(Wire.EMPTY, Wire.STORED).contains(reply), reply);
            (isRefused ? refused : served).add(i % KEYS.size());
        }
        assertEquals(1, served.size(), "keys that were served: " + served);
        assertEquals(2, refused.size(), "keys that were refused: " + refused);
        assertFalse(refused.containsAll(served));
    }

    @Test
    void ofManyFirstUsersAtOnceOneOwnsTheName() throws Exception {
        assertOneOwnerOf("george", engine.port());
    }

    @Test
    void ofManyFirstUsersOfTwoServersOnOneDatabaseOneOwnsTheName() throws Exception {
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

    /** As above, without TLS between: as many keys as clients. */
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
                        return owners.owns(name, key);
                    }));
        }
        int count = 0;
        for (Future<Boolean> each : owns) {
            count += each.get(60, TimeUnit.SECONDS) ? 1 : 0;
        }
        assertEquals(1, count, "owners");
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
    void twoServersMayMakeTheTableAtOnce() throws Exception {
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
                assertFalse(each.get(30, TimeUnit.SECONDS));
            }
            assertTrue(new Owners(one).owns("george", "key"));
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

    // ---------------------------------------------------------------- the command

    private int exit(ServerProcess server) throws Exception {
        return server.awaitExit(Duration.ofSeconds(30));
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
            server.port(); // nobody owns anything yet
            server.kill();
        }
        try (var server = new ServerProcess(ServerProcess.command(store, tls))) {
            ask(server.port(), ME, "fetch;george");
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
    void aServerSaysItsKeyAndKeepsIt() throws Exception {
        Path store = folder.resolve("class.db");
        Path file = folder.resolve("class.db.key.pem");
        String said = "";
        for (int start = 0; start < 2; start++) {
            try (var server = new ServerProcess(ServerProcess.command(store, "--tls"))) {
                int port = server.port();
                Waiting.eventually("all is said", () -> server.output().contains(" --tls "));
                server.signal("TERM");
                exit(server);
                String[] lines = server.output().split("\n");
                assertEquals("Listening on port " + port + ", with TLS only", lines[0]);
                String key = new Tls(file, anybody -> true).fingerprint();
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
