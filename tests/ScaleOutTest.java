///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of several servers on one PostgreSQL, each a process of its own
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Databases.java
//SOURCES support/ServerProcess.java
//SOURCES support/Load.java
//SOURCES support/Waiting.java
//SOURCES ../MsgServer.java
//SOURCES ../store/MessageStore.java
//SOURCES ../store/Database.java
//SOURCES ../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * Three servers on one database, with clients on all servers. Each message that one server
 * acknowledged is kept once and visible on all servers, even if a server or the database fails.
 */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class ScaleOutTest {
    private static final int SERVERS = 3;
    private static final int CLIENTS = 4;
    private static final int MAILBOXES = 30;
    private static final String REFUSAL =
            "Message declined. Could not be stored, try again later\n";

    private final List<ServerProcess> servers = new ArrayList<>();
    private Databases.Server database;
    private String url;
    private Path passwords;

    @BeforeAll
    void startServers(@TempDir Path folder) throws Exception {
        database = Databases.ownServer();
        url = database.freshDatabase();
        passwords = folder.resolve("pgpass");
        Files.writeString(passwords, "*:*:*:" + Databases.USER + ":" + Databases.PASSWORD + "\n");
        // The driver ignores a password file that other users may read; PostgreSQL's programs
        // ignore it, too.
        Files.setPosixFilePermissions(passwords, PosixFilePermissions.fromString("rw-------"));
        for (int i = 0; i < SERVERS; i++) {
            servers.add(server(i));
            // the servers start one after the other, since a start needs all of a small machine
            servers.get(i).port();
        }
    }

    @AfterAll
    void stopServers() throws Exception {
        for (ServerProcess server : servers) {
            server.close();
        }
        if (database != null) {
            database.close();
        }
    }

    /** Each of the three servers gets the password in a different way. */
    private ServerProcess server(int number) throws IOException {
        String withoutPassword = url.replaceFirst("&password=.*", "");
        return switch (number) {
            case 0 -> server("PGPASSWORD=" + Databases.PASSWORD, withoutPassword);
            case 1 -> server("PGPASSFILE=" + passwords, withoutPassword);
            default -> server("PGAPPNAME=none", url);
        };
    }

    private static ServerProcess server(String variable, String place) throws IOException {
        List<String> command = new ArrayList<>(List.of("env", variable));
        command.addAll(
                ServerProcess.java(
                        "MsgServer", "0", "--bind", "127.0.0.1", "--quiet", "--store", place));
        return new ServerProcess(command);
    }

    @Test
    void passwordGivenInThreeWaysExpectItShownInNone() throws Exception {
        for (ServerProcess server : servers) {
            assertTrue(Wire.answer(server.port(), "store;way;al;hi").stored());
            assertTrue(
                    server.output().contains("\nMessages are kept in jdbc:postgresql://127.0.0.1:"),
                    server.output());
            assertFalse(server.output().contains(Databases.PASSWORD));
            assertFalse(server.errors().contains(Databases.PASSWORD));
        }
        for (ServerProcess server : servers) {
            assertEquals(
                    "Retrieving messages...\n" + "way;al;hi\n".repeat(3) + "NO MORE MESSAGES\n",
                    Wire.answer(server.port(), "fetch;way").text());
        }
    }

    @Test
    void zoneUnknownToTheDatabaseExpectAStartAndALogInThatZone() throws Exception {
        // The driver requests the JVM's time zone for its session. In an earlier version the
        // database refused the unknown zone.
        List<String> command = new ArrayList<>(List.of("env", "TZ=VST"));
        command.addAll(ServerProcess.java("MsgServer", "0", "--bind", "127.0.0.1", "--store", url));
        try (var server = new ServerProcess(command)) {
            assertTrue(Wire.answer(server.port(), "store;zone;al;hi").stored());
            Waiting.eventually(
                    "the log has the request",
                    () -> server.output().contains("store to zone from al"));
            assertTrue(server.output().contains("+07:00  #1  "), server.output());
        }
    }

    @Test
    void oneServerKilledUnderLoadExpectNoMessageLostOrTwice() throws Exception {
        Load.Ledger ledger = new Load.Ledger("kill-", MAILBOXES);
        try (Load one = new Load(servers.get(1).port(), ledger, "one", CLIENTS);
                Load two = new Load(servers.get(2).port(), ledger, "two", CLIENTS)) {
            try (Load killed = new Load(servers.get(0).port(), ledger, "killed", CLIENTS)) {
                killed.await(() -> ledger.acknowledged() > 300);
                servers.get(0).kill();
                killed.join();
                assertEquals(CLIENTS, killed.brokenAnswers().size());
            }
            int before = ledger.acknowledged();
            one.await(() -> ledger.acknowledged() > before + 300);
            servers.set(0, server(0));
            servers.get(0).port();
            assertEquals(List.of(), one.brokenAnswers());
            assertEquals(List.of(), two.brokenAnswers());
        }
        for (ServerProcess server : servers) {
            ledger.assertAllThere(server.port());
        }
    }

    @Test
    void databaseRestartedUnderLoadExpectServersStayUpAndRecover() throws Exception {
        Load.Ledger ledger = new Load.Ledger("away-", MAILBOXES);
        List<Load> loads = new ArrayList<>();
        try {
            for (int i = 0; i < SERVERS; i++) {
                // The clients pause between requests; otherwise their refused requests would use
                // all of the machine while the database starts.
                var pause = Duration.ofMillis(5);
                loads.add(new Load(servers.get(i).port(), ledger, "client" + i, CLIENTS, pause));
            }
            loads.getFirst().await(() -> ledger.acknowledged() > 500);
            database.stopImmediately();
            // The servers retry the pending messages for 5 s. After their refusal the servers
            // cannot connect, and refuse each message at once.
            for (ServerProcess server : servers) {
                assertEquals(REFUSAL, ask(server, "store;away;al;first"));
            }
            Duration slowest = Duration.ZERO;
            for (int i = 0; i < 50; i++) {
                long start = System.nanoTime();
                assertEquals(REFUSAL, ask(servers.get(i % SERVERS), "store;away;al;no"));
                Duration took = Duration.ofNanos(System.nanoTime() - start);
                slowest = slowest.compareTo(took) < 0 ? took : slowest;
            }
            // with retries a refusal would take 5 s
            assertTrue(slowest.toSeconds() < 4, "refused only after " + slowest);
            database.startAgain();
            long start = System.nanoTime();
            for (ServerProcess server : servers) {
                while (!ask(server, "store;back;al;yes").startsWith("Message accepted")) {
                    Duration took = Duration.ofNanos(System.nanoTime() - start);
                    assertTrue(took.toSeconds() < 10, "not back after " + took);
                    Thread.sleep(20);
                }
            }
            int back = ledger.acknowledged();
            loads.getFirst().await(() -> ledger.acknowledged() > back + 300);
        } finally {
            loads.forEach(Load::close);
        }
        for (Load load : loads) {
            assertEquals(List.of(), load.brokenAnswers());
        }
        for (ServerProcess server : servers) {
            ledger.assertAllThere(server.port());
        }
    }

    private static String ask(ServerProcess server, String request) throws Exception {
        return Wire.answer(server.port(), request).text();
    }
}
