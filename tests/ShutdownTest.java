///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of a server process that a signal ends
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Databases.java
//SOURCES support/Load.java
//SOURCES support/ServerProcess.java
//SOURCES support/Transport.java
//SOURCES support/Waiting.java
//SOURCES support/Wire.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

import java.io.IOException;
import java.net.ConnectException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.Pattern;

/**
 * Ctrl+C and SIGTERM under load: each accepted client has a whole reply or a clean close, the store
 * has every acknowledged message, and the process ends in time and leaves one file.
 *
 * <pre>jbang -Dsignals=50 tests/ShutdownTest.java       50 of each signal instead of 2</pre>
 */
@DisabledOnOs(value = OS.WINDOWS, disabledReason = "Windows has no such signals")
@Order(4) // long test classes start first
class ShutdownTest {
    @TempDir private Path folder;

    @Nested
    @ParameterizedClass(name = "{0}")
    @EnumSource(Transport.class)
    class UnderLoad {
        private static final int ROUNDS = Integer.getInteger("signals", 2);
        private static final int CLIENTS = 24;
        private static final int SILENT_CLIENTS = 5;
        private static final Pattern CONVERSATION = Pattern.compile("^[-0-9]+ [-+0-9:.]+  #\\d+ ");

        /** The grace of 2 s, and 1 s for the rest of the shutdown. */
        private static final Duration LIMIT = Duration.ofSeconds(3);

        private static final Map<String, Integer> CODES = Map.of("INT", 130, "TERM", 143);

        @Parameter private Transport transport;
        private final Load.Ledger ledger = new Load.Ledger("mailbox-", 8);
        private Duration longest = Duration.ZERO;
        private int late;
        private int resets;

        @ParameterizedTest
        @CsvSource({"INT, 130", "TERM, 143"})
        @Timeout(value = 30, unit = TimeUnit.MINUTES)
        void signalUnderLoadEndsEveryConversationAndKeepsAcknowledgedMessages(
                String signal, int code) throws Exception {
            var random = new Random(code);
            // Over TLS a store takes longer, so the signal comes after fewer stores.
            int most = transport == Transport.TLS ? 100 : 500;
            for (int round = 0; round < ROUNDS; round++) {
                String second = List.of("", "INT", "TERM").get(round % 3);
                end("client-" + round, random.nextInt(most), round % 2 == 1, signal, second, code);
            }
            System.out.printf(
                    "SIG%s %d times, %,d acknowledged messages, none lost; ended within %d ms;"
                            + " %d connections reset that were never accepted%n",
                    signal, ROUNDS, ledger.acknowledged(), longest.toMillis(), resets);
        }

        private void end(
                String name,
                int after,
                boolean silentClients,
                String signal,
                String second,
                int code)
                throws Exception {
            int enough = ledger.acknowledged() + after;
            try (var server =
                            new ServerProcess(
                                    ServerProcess.command(store(), transport.options(store())));
                    var load =
                            new Load(
                                    transport,
                                    server.port(),
                                    ledger,
                                    name,
                                    CLIENTS,
                                    Duration.ZERO)) {
                List<Wire> silent = silentClients ? silentClients(server.port()) : List.of();
                load.await(() -> ledger.acknowledged() >= enough);
                long signalled = System.nanoTime();
                server.signal(signal);
                if (!second.isEmpty()) {
                    server.signal(second);
                }
                int exit = server.awaitExit();
                var took = Duration.ofNanos(System.nanoTime() - signalled);
                load.join();

                // The kernel may deliver two signals in reverse order.
                Set<Integer> codes =
                        second.isEmpty()
                                ? Set.of(code)
                                : new HashSet<>(List.of(code, CODES.get(second)));
                assertTrue(codes.contains(exit), () -> exit + server.output() + server.errors());
                assertEquals("", server.errors());
                assertTrue(
                        server.output().endsWith("Goodbye. Every acknowledged message is kept.\n"),
                        server::output);
                late += took.compareTo(LIMIT) > 0 ? 1 : 0;
                // One slow shutdown in all rounds is tolerated, since other processes may delay
                // the server.
                assertTrue(late <= 1, () -> "more than one shutdown took too long: " + took);
                assertEveryAcceptedConversationEndedWell(server, load, silent.size());
                for (Wire client : silent) {
                    assertCleanlyClosed(client);
                }
                List<String> files = new ArrayList<>(ServerProcess.filesBeside(store()));
                assertEquals(transport == Transport.TLS, files.remove("messages.db.key.pem"));
                assertEquals(List.of("messages.db"), files);
                ledger.assertAllThere(Load.Ledger.contentOf(store()));
                longest = took.compareTo(longest) > 0 ? took : longest;
            }
        }

        /**
         * When the listener closes, the kernel resets the connections in its backlog, which the
         * server has not accepted. A client cannot know whether it was accepted, so the test
         * compares numbers: at least as many clients must end well as the server has accepted.
         */
        private void assertEveryAcceptedConversationEndedWell(
                ServerProcess server, Load load, int silent) {
            long endedWell = load.wholeReplies() + silent;
            for (Wire.Answer answer : load.brokenAnswers()) {
                assertEquals("", answer.text(), () -> "torn: " + answer);
                endedWell += answer.cleanClose() ? 1 : 0;
                resets += answer.end() instanceof ConnectException || answer.cleanClose() ? 0 : 1;
            }
            long accepted = server.output().lines().filter(CONVERSATION.asPredicate()).count();
            assertTrue(accepted > CLIENTS, server::output);
            assertTrue(
                    accepted <= endedWell,
                    accepted + " accepted, " + endedWell + " ended well: " + load.brokenAnswers());
        }

        private Path store() {
            return folder.resolve("messages.db");
        }

        /** Several clients that send nothing, and one that stops in the middle of its request. */
        private List<Wire> silentClients(int port) throws IOException {
            var clients = new ArrayList<Wire>();
            for (int i = 0; i < SILENT_CLIENTS; i++) {
                clients.add(new Wire(transport, Wire.loopback(port), 0));
            }
            clients.getLast().send("s").send("tore;bob");
            return clients;
        }

        private static void assertCleanlyClosed(Wire client) throws IOException {
            try (client) {
                Wire.Answer answer = client.answer();
                assertTrue(
                        answer.cleanClose() || answer.whole(),
                        () -> "neither whole reply nor clean close: " + answer);
            }
        }
    }

    /**
     * In an earlier version the server registered its signal hook after it had opened the store. A
     * signal during the start left up to three files and a folder.
     */
    @Test
    void signalDuringTheStartLeavesOneFileAtMost() throws Exception {
        for (String first : List.of("messages.db", "messages.db.driver", "messages.db-wal")) {
            Path store = Files.createDirectory(folder.resolve(first)).resolve("messages.db");
            try (var server = new ServerProcess(ServerProcess.command(store))) {
                Path awaited = store.resolveSibling(first);
                Waiting.eventually(first, () -> Files.exists(awaited));
                server.signal("TERM");
                assertEquals(143, server.awaitExit(), server.errors());
                assertTrue(
                        Set.of("", "messages.db")
                                .contains(String.join(" ", ServerProcess.filesBeside(store))),
                        () -> first + ": " + ServerProcess.filesBeside(store));
                assertEquals("", server.errors());
            }
        }
    }

    @Test
    void aFrozenPostgresqlDoesNotDelayTheEnd() throws Exception {
        // In an earlier version the shutdown took 8.1 s, because the server waited for each thread
        // of the store in turn. In another earlier version the shutdown took 5.1 s, because the
        // server closed the store twice.
        try (var database = Databases.ownServer()) {
            for (int waiting : List.of(0, 1, 4)) {
                assertEndsWhileFrozen(database, waiting);
            }
        }
    }

    private static void assertEndsWhileFrozen(Databases.Server database, int waiting)
            throws Exception {
        List<String> command = ServerProcess.java("MsgServer", "0", "--bind", "127.0.0.1");
        command.addAll(List.of("--store", database.freshDatabase()));
        try (var server = new ServerProcess(command)) {
            int port = server.port();
            assertTrue(Wire.answer(port, "store;bob;al;hi").stored());
            assertTrue(Wire.answer(port, "fetch;bob").whole());
            database.freeze();
            try {
                List<Future<Wire.Answer>> clients = new ArrayList<>();
                for (int i = 0; i < waiting; i++) {
                    String request = i % 2 == 0 ? "store;bob;al;late" : "fetch;bob";
                    clients.add(Waiting.inBackground(() -> Wire.answer(port, request)));
                }
                for (Future<Wire.Answer> client : clients) {
                    assertThrows(
                            TimeoutException.class, () -> client.get(200, TimeUnit.MILLISECONDS));
                }
                long told = System.nanoTime();
                server.signal("TERM");
                assertEquals(143, server.awaitExit(), server.errors());
                long took = Waiting.millisSince(told);
                assertTrue(took < 4_500, waiting + " waiting, ended after " + took + " ms");
            } finally {
                database.thaw();
            }
        }
    }
}
