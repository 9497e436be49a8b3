///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the server: its engine over real sockets, and its command
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/ServerProcess.java
//SOURCES support/Statements.java
//SOURCES support/Wire.java
//SOURCES ../MsgServer.java
//SOURCES ../store/MessageStore.java
//SOURCES ../store/Database.java
//SOURCES ../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import com.sun.management.UnixOperatingSystemMXBean;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.management.ManagementFactory;
import java.net.BindException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.NetworkInterface;
import java.net.ServerSocket;
import java.net.SocketException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.SQLException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.function.UnaryOperator;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * {@link MsgServer} over real sockets on loopback: its engine in this JVM, its command through
 * picocli's writers, and as a process where descriptors, signals or the environment matter. Every
 * text of the wire is spelled out, since the text is the contract.
 */
class MsgServerTest {

    private static final String STORED = "Message accepted and stored:\n";
    private static final String EMPTY = "Retrieving messages...\nThere is no such name\n";
    private static final String TIMED_OUT = "Message declined. Timed out\n";
    private static final String BUSY = "Message declined. Server is busy, try again later\n";

    @TempDir Path folder;

    // ---------------------------------------------------------------- a server in this JVM

    /** What a server tells its listener. */
    private static final class Heard implements Listener {
        private final ConcurrentLinkedQueue<Listener.Ended> conversations =
                new ConcurrentLinkedQueue<>();
        private final ConcurrentLinkedQueue<String> troubles = new ConcurrentLinkedQueue<>();

        @Override
        public void ended(Listener.Ended conversation) {
            conversations.add(conversation);
        }

        @Override
        public void trouble(String sentence) {
            troubles.add(sentence);
        }

        /** The only conversation so far, once it has ended. */
        Listener.Ended conversation() throws Exception {
            eventually("a conversation ends", () -> !conversations.isEmpty());
            return conversations.element();
        }
    }

    /** An engine of the test's own with a store in the temporary folder. */
    private final class Engine implements AutoCloseable {
        final Heard heard = new Heard();
        final MessageStore store;
        final MsgServer server;

        Engine(Limits limits) throws Exception {
            this(limits, UnaryOperator.identity());
        }

        Engine(Limits limits, UnaryOperator<Connection> wrap) throws Exception {
            store = new MessageStore(folder.resolve("messages.db").toString(), wrap);
            server = new MsgServer(new InetSocketAddress(0), store, limits, heard);
            server.start();
        }

        int port() {
            return server.port();
        }

        @Override
        public void close() {
            server.close();
            store.close();
        }
    }

    private static Limits limits(long timeoutMs, int connections, long graceMs) {
        return new Limits(Duration.ofMillis(timeoutMs), connections, Duration.ofMillis(graceMs));
    }

    private static final Limits ROOMY = limits(10_000, 5_000, 2_000);

    /** Stores {@code count} messages of {@code text} for {@code recipient}. */
    private static void fill(MessageStore store, String recipient, int count, String text)
            throws Exception {
        List<Future<?>> storing = new ArrayList<>();
        int threads = 256; // so that many share a commit
        for (int i = 0; i < threads; i++) {
            int share = count / threads + (i < count % threads ? 1 : 0);
            storing.add(
                    inBackground(() -> {
                        for (int n = 0; n < share; n++) {
                            store.store(recipient, "al", text);
                        }
                        return null;
                    }));
        }
        for (Future<?> one : storing) {
            one.get(60, TimeUnit.SECONDS);
        }
    }

    // ---------------------------------------------------------------- the wire

    @Nested
    class OnTheWire {
        private Engine engine;

        @BeforeEach
        void start() throws Exception {
            engine = new Engine(ROOMY);
        }

        @AfterEach
        void stop() {
            engine.close();
        }

        private String ask(String request) throws IOException {
            return Wire.ask(engine.port(), request);
        }

        static List<Arguments> table() {
            return List.of(
                    arguments("store;bob;al;hi", "Message accepted and stored:\n"),
                    arguments("store;bob;al;a;b;;c;", "Message accepted and stored:\n"),
                    arguments("fetch;nobody", "Retrieving messages...\nThere is no such name\n"),
                    arguments(
                            "fetch;nobody;x;y", "Retrieving messages...\nThere is no such name\n"),
                    arguments("", "No verb\n"),
                    arguments(";", "No verb\n"),
                    arguments(";bob;al;hi", "No verb\n"),
                    arguments("fetch", "No recipient\n"),
                    arguments("fetch; ", "No recipient\n"),
                    arguments("nonsense", "No recipient\n"),
                    arguments("store;;al;hi", "No recipient\n"),
                    arguments("store;bob", "No sender\n"),
                    arguments("store;bob;;hi", "No sender\n"),
                    arguments("store;bob;al", "No message\n"),
                    arguments("store;bob;al;", "No message\n"),
                    arguments("STORE;bob;al;hi", "Message declined. Bad verb\n"),
                    arguments("nonsense;bob", "Message declined. Bad verb\n"),
                    arguments("fetch;\u001b[2J", "Message declined. Control characters\n"),
                    arguments("store;bob;al;a\0b", "Message declined. Control characters\n"),
                    arguments("store;bob;al;" + "x".repeat(242), "Message accepted and stored:\n"),
                    arguments(
                            "store;bob;al;" + "x".repeat(243),
                            "Message declined. Too long, 255 bytes at most\n"),
                    arguments(
                            "store;bob;al;" + "γ".repeat(122),
                            "Message declined. Too long, 255 bytes at most\n"));
        }

        @ParameterizedTest
        @MethodSource
        void table(String request, String reply) throws Exception {
            assertEquals(reply, ask(request), "one piece, then half-closed");
            try (Wire wire = new Wire(engine.port())) {
                assertEquals(reply, wire.send(request + "\n").receive(), "LF");
            }
            try (Wire wire = new Wire(engine.port())) {
                assertEquals(reply, wire.send(request + "\r\n").receive(), "CR LF");
            }
            if (request.length() > 1) {
                try (Wire wire = new Wire(engine.port())) {
                    assertEquals(reply, wire.send(request).receive(), "one piece, then silence");
                }
            }
            try (Wire wire = new Wire(engine.port())) {
                assertEquals(reply, wire.sendByteByByte(request + "\n").receive(), "byte by byte");
            }
        }

        @Test
        void malformedUtf8IsRefused() throws Exception {
            try (Wire wire = new Wire(engine.port())) {
                wire.send("store;bob;al;").send(new byte[] {(byte) 0xc3, 0x28}).endInput();
                assertEquals("Message declined. Not UTF-8\n", wire.receive());
            }
            assertEquals(EMPTY, ask("fetch;bob"));
        }

        @Test
        void messagesComeInTheOrderOfTheirAcceptanceAndStay() throws Exception {
            assertEquals(STORED, ask("store; bob ; al ;hi;there"));
            assertEquals(STORED, ask("store;bob;zoe; 👋 γειά "));
            assertEquals(STORED, ask("store;BOB;al;another mailbox"));
            for (int i = 0; i < 2; i++) {
                assertEquals(
                        "Retrieving messages...\n"
                                + "bob;al;hi;there\n"
                                + "bob;zoe; 👋 γειά \n"
                                + "NO MORE MESSAGES\n",
                        ask("fetch;bob"));
            }
        }

        @ParameterizedTest
        @ValueSource(ints = {1, 255, 256, 257, 512, 700})
        void aMailboxOfAnySizeComesWhole(int size) throws Exception {
            fill(engine.store, "bob", size, "hi");
            assertEquals(
                    "Retrieving messages...\n" + "bob;al;hi\n".repeat(size) + "NO MORE MESSAGES\n",
                    ask("fetch;bob"));
        }

        @Test
        void typingKeyByKeyIsNotCutOff() throws Exception {
            try (Wire wire = new Wire(engine.port())) {
                for (String key : List.of("f", "e", "t", "ch;nobody\n")) {
                    wire.send(key);
                    Thread.sleep(150); // longer than the silence that ends a request in one piece
                }
                assertEquals(EMPTY, wire.receive());
            }
        }

        @Test
        void aCharacterMayBeSplit() throws Exception {
            byte[] request = "store;Κυριάκος;al;👋\n".getBytes(StandardCharsets.UTF_8);
            for (int split = 7; split < request.length; split += 3) {
                try (Wire wire = new Wire(engine.port())) {
                    wire.send(Arrays.copyOf(request, 1));
                    wire.send(Arrays.copyOfRange(request, 1, split));
                    wire.send(Arrays.copyOfRange(request, split, request.length));
                    assertEquals(STORED, wire.receive(), "split at " + split);
                }
            }
        }

        @Test
        void whatFollowsTheFirstLineIsNoSecondRequest() throws Exception {
            try (Wire wire = new Wire(engine.port())) {
                wire.send("store;bob;al;one\nstore;bob;al;forged\n");
                assertEquals(STORED, wire.receive());
            }
            assertEquals(
                    "Retrieving messages...\nbob;al;one\nNO MORE MESSAGES\n", ask("fetch;bob"));
        }

        @Test
        void unreadInputDoesNotDestroyTheReply() throws Exception {
            // Closing while input was unread reset the connection, and a client that was still
            // writing lost the reply.
            byte[] more = new byte[600_000];
            Arrays.fill(more, (byte) 'x');
            for (int i = 0; i < 20; i++) {
                try (Wire wire = new Wire(engine.port())) {
                    assertEquals(EMPTY, wire.send("fetch;nobody\n").send(more).receive());
                }
                try (Wire wire = new Wire(engine.port())) {
                    assertEquals(
                            "Message declined. Too long, 255 bytes at most\n",
                            wire.send(more).receive());
                }
            }
        }

        @Test
        void aClientThatWritesForEverIsLetGo() throws Exception {
            try (Wire wire = new Wire(engine.port())) {
                byte[] more = new byte[1 << 16];
                Arrays.fill(more, (byte) 'x');
                assertThrows(
                        IOException.class,
                        () -> {
                            for (int i = 0; i < 10_000; i++) {
                                wire.send(more);
                            }
                        });
            }
            assertEquals(
                    "Message declined. Too long, 255 bytes at most",
                    engine.heard.conversation().outcome());
            assertEquals(EMPTY, ask("fetch;nobody"));
        }

        @Test
        void ipv4AndIpv6AreServed() throws Exception {
            assertEquals(EMPTY, ask("fetch;nobody"));
            InetAddress six = InetAddress.getByName("::1");
            try (ServerSocket probe = new ServerSocket(0, 1, six)) {
                assertTrue(probe.isBound());
            } catch (BindException e) {
                Assumptions.abort("this machine has no IPv6: " + e.getMessage());
            }
            try (Wire wire = new Wire(new InetSocketAddress(six, engine.port()), 0)) {
                assertEquals(EMPTY, wire.send("fetch;nobody").endInput().receive());
            }
        }

        @Test
        void eachConversationHasAVirtualThreadOfItsOwn() throws Exception {
            for (int i = 0; i < 3; i++) {
                ask("fetch;nobody");
            }
            ask("store;bob;al;a secret");
            ask("nonsense;bob");
            eventually("five end", () -> engine.heard.conversations.size() == 5);
            Set<Thread> threads = new HashSet<>();
            for (Listener.Ended ended : engine.heard.conversations) {
                assertTrue(ended.thread().isVirtual(), ended.toString());
                assertTrue(ended.thread().getName().startsWith("conversation-"));
                threads.add(ended.thread());
                assertFalse(ended.toString().contains("a secret"));
                assertTrue(ended.peer().getAddress().isLoopbackAddress());
                assertTrue(ended.duration().isPositive());
            }
            assertEquals(5, threads.size());
            List<Listener.Ended> inOrder =
                    engine.heard.conversations.stream()
                            .sorted(Comparator.comparing(Listener.Ended::number))
                            .toList();
            assertEquals(
                    List.of(1L, 2L, 3L, 4L, 5L),
                    inOrder.stream().map(Listener.Ended::number).toList());
            assertEquals("fetch", inOrder.get(0).verb());
            assertEquals("nobody", inOrder.get(0).recipient());
            assertNull(inOrder.get(0).sender());
            assertEquals("no such name", inOrder.get(0).outcome());
            assertEquals("store", inOrder.get(3).verb());
            assertEquals("bob", inOrder.get(3).recipient());
            assertEquals("al", inOrder.get(3).sender());
            assertEquals("stored", inOrder.get(3).outcome());
            assertNull(inOrder.get(4).verb());
            assertEquals("Message declined. Bad verb", inOrder.get(4).outcome());
        }
    }

    // ---------------------------------------------------------------- beside the classic programs

    /** Each row of what the classic server does badly, and that ours does not. */
    @Nested
    class BesideTheClassicServer {
        private Engine engine;

        @BeforeEach
        void start() throws Exception {
            engine = new Engine(ROOMY);
        }

        @AfterEach
        void stop() {
            engine.close();
        }

        /** The classic client: one piece, no newline, no end of input, then it only waits. */
        private String classicClient(String request) throws IOException {
            try (Wire wire = new Wire(engine.port())) {
                return wire.send(request).receive();
            }
        }

        @Test
        void theClassicClientIsAnswered() throws Exception {
            assertEquals(STORED, classicClient("store;Kyriakos;george;hi Kyriakos"));
            assertEquals(
                    "Retrieving messages...\nKyriakos;george;hi Kyriakos\nNO MORE MESSAGES\n",
                    classicClient("fetch;Kyriakos"));
            assertEquals(EMPTY, classicClient("fetch;george"));
            assertEquals("No message\n", classicClient("store;Kyriakos;george;"));
        }

        @Test
        void theClassicClientIsAnsweredSoon() throws Exception {
            // A server that waited for a newline or for the end of input never answered it.
            long start = System.nanoTime();
            assertEquals(EMPTY, classicClient("fetch;nobody"));
            assertTrue(millisSince(start) < 5_000, "before the deadline of 10 s");
        }

        @Test
        void aMessageIsNotCutAtASemicolonAt128BytesOrAtANewline() throws Exception {
            assertEquals(STORED, classicClient("store;bob;al;half;other half"));
            assertEquals(STORED, classicClient("store;bob;al;" + "x".repeat(200)));
            assertEquals(
                    "Message declined. Control characters\n", classicClient("store;bob;al;a\0b"));
            assertEquals(STORED, classicClient("store;bob;al;line\nbob;mallory;forged"));
            assertEquals(
                    "Retrieving messages...\n"
                            + "bob;al;half;other half\n"
                            + "bob;al;"
                            + "x".repeat(200)
                            + "\nbob;al;line\n"
                            + "NO MORE MESSAGES\n",
                    classicClient("fetch;bob"));
        }

        @Test
        void adjacentSeparatorsAreNotMerged() throws Exception {
            assertEquals("No recipient\n", classicClient("store;;al;hi"));
            assertEquals(EMPTY, classicClient("fetch;al"));
        }

        @Test
        void aNameThatIsAPathIsOnlyData() throws Exception {
            Path store = folder.resolve("messages.db");
            for (String name : List.of("../x", "/tmp/x", "CON", "a/../../b", "..")) {
                assertEquals(STORED, classicClient("store;" + name + ";a;b"));
                assertEquals(
                        "Retrieving messages...\n" + name + ";a;b\nNO MORE MESSAGES\n",
                        classicClient("fetch;" + name));
            }
            try (Stream<Path> files = Files.list(folder)) {
                files.forEach(file ->
                        assertTrue(
                                file.toString().startsWith(store.toString()),
                                "no file but the store's: " + file));
            }
            assertFalse(Files.exists(folder.resolveSibling("x")));
        }

        @Test
        void manyClientsAtOnceLoseNoSecondToConnecting() throws Exception {
            // With a backlog of 5 whole seconds were lost to repeated SYNs. That was so each time;
            // a pause of the machine comes once.
            int clients = 200;
            eventually(
                    "nine tenths of them take less than the 1 s after which a SYN is repeated",
                    () -> {
                        List<Future<Long>> all = new ArrayList<>();
                        for (int i = 0; i < clients; i++) {
                            all.add(
                                    inBackground(() -> {
                                        long start = System.nanoTime();
                                        assertEquals(
                                                EMPTY, Wire.ask(engine.port(), "fetch;nobody"));
                                        return millisSince(start);
                                    }));
                        }
                        int quick = 0;
                        for (Future<Long> one : all) {
                            quick += one.get(30, TimeUnit.SECONDS) < 1_000 ? 1 : 0;
                        }
                        return quick > clients * 9 / 10;
                    });
        }
    }

    // ---------------------------------------------------------------- deadlines

    @Nested
    class Deadlines {

        @Test
        void aSilentClientIsToldSo() throws Exception {
            try (Engine engine = new Engine(limits(400, 100, 2_000))) {
                long start = System.nanoTime();
                try (Wire wire = new Wire(engine.port())) {
                    assertEquals(TIMED_OUT, wire.receive());
                    assertSoonAfter(400, millisSince(start));
                }
                assertEquals("Message declined. Timed out", engine.heard.conversation().outcome());
            }
        }

        @Test
        void aClientThatDoesNotCloseIsLetGoAfterItsReply() throws Exception {
            // A read that had timed out left the connection so that the next one waited for ever.
            try (Engine engine = new Engine(limits(400, 100, 2_000));
                    Wire silent = new Wire(engine.port());
                    Wire answered = new Wire(engine.port())) {
                assertEquals(EMPTY, answered.send("fetch;nobody\n").receive());
                assertEquals(TIMED_OUT, silent.receive());
                eventually("both end", () -> engine.heard.conversations.size() == 2);
            }
        }

        @Test
        void drippingDoesNotExtendTheDeadline() throws Exception {
            // A limit for each read was never reached by a client that sent a byte now and then.
            try (Engine engine = new Engine(limits(600, 100, 2_000))) {
                long start = System.nanoTime();
                try (Wire wire = new Wire(engine.port())) {
                    Future<String> reply = inBackground(() -> wire.receive());
                    while (!reply.isDone() && millisSince(start) < 20_000) {
                        try {
                            wire.send("x");
                        } catch (IOException e) {
                            break; // it has been let go
                        }
                        Thread.sleep(50);
                    }
                    assertEquals(TIMED_OUT, reply.get(20, TimeUnit.SECONDS));
                    assertSoonAfter(600, millisSince(start));
                }
            }
        }

        @Test
        void twoPiecesWithoutAnEndTimeOut() throws Exception {
            // If the machine lets the server wait, both pieces come with its first read.
            try (Engine engine = new Engine(limits(400, 100, 2_000))) {
                eventually(
                        "they time out",
                        () -> {
                            try (Wire wire = new Wire(engine.port())) {
                                wire.send("f");
                                Thread.sleep(20);
                                wire.send("etch;bob");
                                return wire.receive().equals(TIMED_OUT);
                            }
                        });
            }
        }

        @Test
        void aClientThatDoesNotReadIsLetGoAndOthersAreServed() throws Exception {
            try (Engine engine = new Engine(limits(1_000, 100, 2_000))) {
                fill(engine.store, "bob", 40_000, "x".repeat(230)); // more than kernels buffer
                long start = System.nanoTime();
                try (Wire wire =
                        new Wire(
                                new InetSocketAddress(
                                        InetAddress.getLoopbackAddress(), engine.port()),
                                4096)) {
                    wire.send("fetch;bob").endInput();
                    while (engine.heard.conversations.stream()
                            .noneMatch(c -> "bob".equals(c.recipient()))) {
                        assertEquals(EMPTY, Wire.ask(engine.port(), "fetch;nobody"));
                        assertTrue(millisSince(start) < 20_000, "still not let go");
                        Thread.sleep(20);
                    }
                    assertTrue(millisSince(start) >= 1_000, "it had its time");
                }
                Listener.Ended ended =
                        engine.heard.conversations.stream()
                                .filter(c -> "bob".equals(c.recipient()))
                                .findFirst()
                                .orElseThrow();
                assertTrue(ended.outcome().startsWith("cut off: "), ended.outcome());
                assertSoonAfter(1_000, ended.duration().toMillis());
            }
        }

        @Test
        void aClientThatResetsIsForgotten() throws Exception {
            try (Engine engine = new Engine(ROOMY)) {
                for (String sent : List.of("", "f", "fetch;bob", "fetch;bob\n")) {
                    Wire wire = new Wire(engine.port());
                    wire.send(sent);
                    wire.reset();
                }
                eventually("all four end", () -> engine.heard.conversations.size() == 4);
                assertEquals(EMPTY, Wire.ask(engine.port(), "fetch;nobody"));
                assertEquals(List.of(), List.copyOf(engine.heard.troubles));
            }
        }

        private static void assertSoonAfter(long limitMs, long wasMs) {
            assertTrue(
                    wasMs >= limitMs - 20 && wasMs < limitMs + 5_000,
                    "at the deadline of " + limitMs + " ms, was " + wasMs + " ms");
        }
    }

    // ---------------------------------------------------------------- limits

    @Nested
    class Limited {

        @Test
        void beyondTheLimitClientsWaitForAPlace() throws Exception {
            try (Engine engine = new Engine(limits(10_000, 2, 2_000));
                    Wire second = new Wire(engine.port())) {
                Future<String> third;
                try (Wire first = new Wire(engine.port())) {
                    third = inBackground(() -> Wire.ask(engine.port(), "fetch;nobody"));
                    assertEquals(EMPTY, first.send("fetch;nobody\n").receive());
                }
                assertEquals(EMPTY, third.get(20, TimeUnit.SECONDS), "the place of the first");
                assertEquals(EMPTY, second.send("fetch;nobody\n").receive());
            }
        }

        @Test
        void afterTwoSecondsWithoutAPlaceTheyAreToldThatTheServerIsBusy() throws Exception {
            try (Engine engine = new Engine(limits(20_000, 1, 2_000))) {
                try (Wire holder = new Wire(engine.port())) {
                    List<Future<String>> replies = new ArrayList<>();
                    for (int i = 0; i < 20; i++) {
                        replies.add(inBackground(() -> Wire.ask(engine.port(), "fetch;nobody")));
                    }
                    for (Future<String> reply : replies) {
                        assertEquals(BUSY, reply.get(20, TimeUnit.SECONDS));
                    }
                    holder.send("fetch;nobody\n");
                    assertEquals(EMPTY, holder.receive(), "who has a place keeps it");
                }
                eventually(
                        "the others are served again",
                        () -> Wire.ask(engine.port(), "fetch;nobody").equals(EMPTY));
            }
        }

        @Test
        void theDefaultLimitsSuitTheMachine() {
            Limits limits = Limits.defaults();
            assertEquals(Duration.ofSeconds(10), limits.timeout());
            assertEquals(Duration.ofSeconds(2), limits.grace());
            if (ManagementFactory.getOperatingSystemMXBean()
                    instanceof UnixOperatingSystemMXBean unix) {
                assertTrue(
                        limits.connections() < unix.getMaxFileDescriptorCount(),
                        "some descriptors are for the store");
            }
        }

        /** {@code -Didle.clients=9000} by hand. */
        @Test
        void idleClientsDoNotSlowOthersDown() throws Exception {
            int idle = Integer.getInteger("idle.clients", 2_000);
            if (ManagementFactory.getOperatingSystemMXBean()
                    instanceof UnixOperatingSystemMXBean unix) {
                Assumptions.assumeTrue(
                        unix.getMaxFileDescriptorCount() > 2L * idle + 500,
                        "ulimit -n is too low for both ends of " + idle + " connections");
            }
            List<Wire> clients = new ArrayList<>();
            try (Engine engine = new Engine(limits(120_000, idle + 100, 100))) {
                for (int i = 0; i < idle; i++) {
                    clients.add(new Wire(engine.port()));
                }
                List<Long> millis = new ArrayList<>();
                for (int i = 0; i < 200; i++) {
                    long start = System.nanoTime();
                    assertEquals(EMPTY, Wire.ask(engine.port(), "fetch;nobody"));
                    millis.add(millisSince(start));
                }
                millis.sort(null);
                // All but a few: the machine that runs the tests makes pauses of its own.
                assertTrue(millis.get(189) < 100, "in ms: " + millis);
                assertEquals(STORED, Wire.ask(engine.port(), "store;bob;al;hi"));
                eventually("all others end", () -> engine.heard.conversations.size() == 201);
                clients.getFirst().send("fetch;nobody\n");
                assertEquals(EMPTY, clients.getFirst().receive(), "the idle are still there");
            } finally {
                for (Wire client : clients) {
                    client.close();
                }
            }
        }
    }

    // ---------------------------------------------------------------- a store that fails

    @Nested
    class FailingStore {
        private volatile String failing = "nothing";
        private Engine engine;

        @BeforeEach
        void start() throws Exception {
            engine =
                    new Engine(
                            ROOMY,
                            Statements.seenBy(sql -> {
                                if (sql.startsWith(failing)) {
                                    throw new SQLException("disk I/O error");
                                }
                            }));
        }

        @AfterEach
        void stop() {
            engine.close();
        }

        private String ask(String request) throws IOException {
            return Wire.ask(engine.port(), request);
        }

        @Test
        void mailboxesThatCannotBeReadAreTroubleOfTheirOwn() throws Exception {
            assertEquals(STORED, ask("store;bob;al;one"));
            failing = "SELECT";
            for (int i = 0; i < 3; i++) {
                assertEquals(
                        "Message declined. Server is busy, try again later\n", ask("fetch;bob"));
                assertEquals(STORED, ask("store;bob;al;more"));
            }
            failing = "nothing";
            assertTrue(ask("fetch;bob").endsWith("NO MORE MESSAGES\n"));
            assertEquals(
                    List.of(
                            "Mailboxes cannot be read: disk I/O error",
                            "Mailboxes can be read again."),
                    List.copyOf(engine.heard.troubles));
        }

        @Test
        void whatIsNotDurableIsNotAcknowledged() throws Exception {
            // The classic server acknowledged first: an unwritable mailbox still got "accepted".
            assertEquals(STORED, ask("store;bob;al;one"));
            failing = "COMMIT";
            for (int i = 0; i < 3; i++) {
                assertEquals(
                        "Message declined. Could not be stored, try again later\n",
                        ask("store;bob;al;lost"));
            }
            assertEquals(
                    "Retrieving messages...\nbob;al;one\nNO MORE MESSAGES\n",
                    ask("fetch;bob"),
                    "fetches still work");
            failing = "nothing";
            assertEquals(STORED, ask("store;bob;al;two"), "works again by itself");
            assertEquals(
                    "Retrieving messages...\nbob;al;one\nbob;al;two\nNO MORE MESSAGES\n",
                    ask("fetch;bob"));
            assertEquals(
                    List.of(
                            "The message store fails: disk I/O error",
                            "Messages can be stored again."),
                    List.copyOf(engine.heard.troubles),
                    "said once, however many clients it concerns");
        }

        @Test
        void aMailboxThatCannotBeReadIsNotTakenForAnEmptyOne() throws Exception {
            assertEquals(STORED, ask("store;bob;al;one"));
            failing = "SELECT";
            assertEquals(BUSY, ask("fetch;bob"));
            assertEquals(STORED, ask("store;bob;al;two"), "stores still work");
            failing = "nothing";
            assertEquals(
                    "Retrieving messages...\nbob;al;one\nbob;al;two\nNO MORE MESSAGES\n",
                    ask("fetch;bob"));
        }

        @Test
        void aMailboxThatCannotBeReadToItsEndIsCutOff() throws Exception {
            fill(engine.store, "bob", 40_000, "x".repeat(230)); // more than kernels buffer
            try (Wire wire =
                    new Wire(
                            new InetSocketAddress(InetAddress.getLoopbackAddress(), engine.port()),
                            4096)) {
                wire.send("fetch;bob").endInput();
                wire.receive(1_000);
                failing = "SELECT";
                String rest = wire.receive();
                assertFalse(rest.endsWith("NO MORE MESSAGES\n"), "a half mailbox looks whole");
                assertFalse(rest.contains("There is no such name"));
                assertFalse(rest.contains("Message declined"), "no reply inside a reply");
            }
            Listener.Ended ended = engine.heard.conversation();
            assertTrue(ended.outcome().startsWith("cut off: "), ended.outcome());
        }
    }

    // ---------------------------------------------------------------- beginning and ending

    @Nested
    class BeginningAndEnding {

        @Test
        void aPortInUseIsSaidAtTheStart() throws Exception {
            try (Engine engine = new Engine(ROOMY)) {
                MsgServer second =
                        new MsgServer(
                                new InetSocketAddress(engine.port()),
                                engine.store,
                                ROOMY,
                                engine.heard);
                assertThrows(BindException.class, second::start);
                assertEquals(EMPTY, Wire.ask(engine.port(), "fetch;nobody"));
            }
        }

        @Test
        void aRequestInHandIsAnsweredWhileClosing() throws Exception {
            Engine engine = new Engine(ROOMY);
            try (Wire wire = new Wire(engine.port())) {
                wire.send("f");
                assertEquals(EMPTY, Wire.ask(engine.port(), "fetch;nobody")); // f is accepted, too
                Future<Long> closing =
                        inBackground(() -> {
                            long start = System.nanoTime();
                            engine.close();
                            return millisSince(start);
                        });
                eventually("nobody new is accepted", () -> refuses(engine.port()));
                assertFalse(closing.isDone(), "it waits for the request in hand");
                wire.send("etch;nobody\n").endInput();
                assertEquals(EMPTY, wire.receive());
                assertTrue(closing.get(20, TimeUnit.SECONDS) < 10_000);
            }
        }

        @Test
        void closingWhileIdleIsPrompt() throws Exception {
            Engine engine = new Engine(limits(10_000, 100, 10_000));
            assertEquals(EMPTY, Wire.ask(engine.port(), "fetch;nobody"));
            long start = System.nanoTime();
            engine.close();
            assertTrue(millisSince(start) < 5_000, "was " + millisSince(start) + " ms");
        }

        @Test
        void afterTheGraceConversationsAreCut() throws Exception {
            Engine engine = new Engine(limits(60_000, 100, 300));
            try (Wire silent = new Wire(engine.port());
                    Wire half = new Wire(engine.port())) {
                half.send("f");
                assertEquals(EMPTY, Wire.ask(engine.port(), "fetch;nobody"));
                long start = System.nanoTime();
                engine.close();
                long millis = millisSince(start);
                assertTrue(millis >= 300 && millis < 5_000, "grace and no more, was " + millis);
                assertEquals("", silent.receive(), "a clean close, no half reply");
                assertEquals("", half.receive());
            }
        }

        @Test
        void aClientThatDoesNotReadIsCutAfterTheGrace() throws Exception {
            Engine engine = new Engine(limits(60_000, 100, 300));
            fill(engine.store, "bob", 40_000, "x".repeat(230));
            try (Wire wire =
                    new Wire(
                            new InetSocketAddress(InetAddress.getLoopbackAddress(), engine.port()),
                            4096)) {
                wire.send("fetch;bob").endInput();
                assertEquals(22, wire.receive(22).length);
                long start = System.nanoTime();
                engine.close();
                assertTrue(millisSince(start) < 5_000, "was " + millisSince(start) + " ms");
            }
        }

        @Test
        void thePortIsFreeAfterwardsAndTheMessagesAreThere() throws Exception {
            Engine engine = new Engine(ROOMY);
            int port = engine.port();
            assertEquals(STORED, Wire.ask(port, "store;bob;al;hi"));
            engine.close();
            try (MessageStore store = new MessageStore(folder.resolve("messages.db").toString());
                    MsgServer again =
                            new MsgServer(new InetSocketAddress(port), store, ROOMY, new Heard())) {
                again.start();
                assertEquals(
                        "Retrieving messages...\nbob;al;hi\nNO MORE MESSAGES\n",
                        Wire.ask(port, "fetch;bob"));
            }
        }

        @Test
        void closingTwiceOrBeforeTheStartDoesNoHarm() throws Exception {
            Engine engine = new Engine(ROOMY);
            engine.server.close();
            engine.close();
            try (MessageStore store = new MessageStore(folder.resolve("messages.db").toString())) {
                new MsgServer(new InetSocketAddress(0), store, ROOMY, new Heard()).close();
            }
        }

        @Test
        void noThreadIsLeft() throws Exception {
            Set<Thread> before = Thread.getAllStackTraces().keySet();
            Engine engine = new Engine(ROOMY);
            assertEquals(EMPTY, Wire.ask(engine.port(), "fetch;nobody"));
            // Its own, and perhaps some of a test beside this one, which end, too.
            Set<Thread> started = new HashSet<>(Thread.getAllStackTraces().keySet());
            started.removeAll(before);
            started.removeIf(t -> !t.getName().matches("acceptor|store-.*|.*watchdog"));
            assertTrue(started.size() >= 5, started.toString());
            engine.close();
            eventually("its threads end", () -> started.stream().noneMatch(Thread::isAlive));
        }

        private static boolean refuses(int port) throws IOException {
            try {
                new Wire(port).close();
                return false;
            } catch (SocketException e) {
                // Who came just before the listener was closed is reset, and has to ask again.
                return e instanceof ConnectException;
            }
        }
    }

    // ---------------------------------------------------------------- the command, in this JVM

    /** The command run with a home of its own, as if typed; ends as with an interrupt. */
    private final class Command implements AutoCloseable {
        final StringWriter out = new StringWriter();
        final StringWriter err = new StringWriter();
        private final CompletableFuture<Integer> exit = new CompletableFuture<>();
        private final Thread main;

        Command(String... arguments) {
            var line = MsgServer.commandLine(new MsgServer.ServerCommand(folder));
            line.setOut(new PrintWriter(out, true)).setErr(new PrintWriter(err, true));
            main = Thread.ofPlatform().daemon().start(() -> exit.complete(line.execute(arguments)));
        }

        /** Its exit code; {@link #out} and {@link #err} are complete then. */
        int exit() throws Exception {
            return exit.get(30, TimeUnit.SECONDS);
        }

        int port() throws Exception {
            Pattern hint = Pattern.compile("jbang MsgClient\\.java \\S+ \\d+\\R"); // a whole line
            eventually(
                    "the server is ready: " + err,
                    () -> exit.isDone() || hint.matcher(out.toString()).find());
            List<String> lines = out.toString().lines().toList();
            assertFalse(exit.isDone(), () -> "it ended: " + err);
            assertTrue(lines.getFirst().matches("Listening on port [0-9]+"), lines.toString());
            return Integer.parseInt(lines.getFirst().substring("Listening on port ".length()));
        }

        int stop() {
            main.interrupt();
            return exit.orTimeout(30, TimeUnit.SECONDS).join();
        }

        /** The lines of requests, waited for until there are {@code count}. */
        List<String> log(int count) throws Exception {
            eventually(
                    count + " lines in the log: " + out,
                    () -> out.toString().lines().filter(l -> l.contains("->")).count() >= count);
            return out.toString().lines().filter(l -> l.contains("->")).toList();
        }

        @Override
        public void close() {
            stop();
        }
    }

    @Nested
    class TheCommand {

        @Test
        void saysFirstThatItListensThenWhereMessagesAreKept() throws Exception {
            try (Command command = new Command("0")) {
                int port = command.port();
                assertEquals(EMPTY, Wire.ask(port, "fetch;nobody"));
                command.log(1); // all that is said at the start comes before it
                List<String> lines = command.out.toString().lines().toList();
                assertEquals("Listening on port " + port, lines.get(0));
                Path store = folder.toRealPath().resolve(".msg-server").resolve("messages.db");
                assertEquals("Messages are kept in " + store, lines.get(1));
                assertTrue(Files.exists(store));
                Set<String> hints = new HashSet<>();
                for (NetworkInterface card : NetworkInterface.networkInterfaces().toList()) {
                    card.inetAddresses()
                            .filter(a -> !a.isLoopbackAddress() && !a.isLinkLocalAddress())
                            .forEach(a ->
                                    hints.add(
                                            "On another machine: jbang MsgClient.java "
                                                    + a.getHostAddress().replaceFirst("%.*", "")
                                                    + " "
                                                    + port));
                }
                if (hints.isEmpty()) {
                    hints.add("On this machine only: jbang MsgClient.java 127.0.0.1 " + port);
                }
                assertEquals(hints, Set.copyOf(lines.subList(2, 2 + hints.size())));
            }
        }

        @Test
        void goesWithAGoodbyeAndLeavesOneFile() throws Exception {
            Command command = new Command("0", "--store", folder.resolve("class.db").toString());
            assertEquals(STORED, Wire.ask(command.port(), "store;bob;al;hi"));
            assertEquals(0, command.stop());
            assertTrue(
                    command.out
                            .toString()
                            .endsWith(
                                    "Goodbye. Every acknowledged message is kept."
                                            + System.lineSeparator()),
                    command.out.toString());
            assertEquals("", command.err.toString());
            try (Stream<Path> files = Files.list(folder)) {
                assertEquals(List.of(folder.resolve("class.db")), files.toList());
            }
        }

        @ParameterizedTest
        @ValueSource(strings = {"127.0.0.1", "::1"})
        void bindsOneAddressAndSaysHowToReachIt(String address) throws Exception {
            try (ServerSocket probe = new ServerSocket(0, 1, InetAddress.getByName(address))) {
                assertTrue(probe.isBound());
            } catch (BindException e) {
                Assumptions.abort("this machine has no " + address);
            }
            try (Command command = new Command("0", "--bind", address)) {
                int port = command.port();
                String hint = command.out.toString().lines().toList().get(2);
                String prefix = "On this machine only: jbang MsgClient.java ";
                assertTrue(hint.startsWith(prefix), hint);
                String host = hint.substring(prefix.length()).replaceFirst(" .*", "");
                try (Wire wire = new Wire(new InetSocketAddress(host, port), 0)) {
                    assertEquals(EMPTY, wire.send("fetch;nobody\n").receive(), hint);
                }
                String other = address.equals("::1") ? "127.0.0.1" : "127.0.0.2";
                assertThrows(
                        ConnectException.class,
                        () -> new Wire(new InetSocketAddress(other, port), 0).close());
            }
        }

        @Test
        void logsOneLineForEachRequestWithoutTheMessage() throws Exception {
            try (Command command = new Command("0")) {
                int port = command.port();
                Wire.ask(port, "store;bob;al;a secret");
                command.log(1);
                Wire.ask(port, "fetch;bob");
                command.log(2);
                Wire.ask(port, "fetch;nobody");
                command.log(3);
                Wire.ask(port, "a secret;bob");
                List<String> log = command.log(4);
                String start = "\\d\\d:\\d\\d:\\d\\d\\.\\d{3}  #%d  127\\.0\\.0\\.1:\\d+  ";
                String end = "  \\d+\\.\\d ms  VirtualThread\\[#\\d+,conversation-%d\\]";
                assertMatches(
                        start.formatted(1) + "store to bob from al  ->  stored" + end.formatted(1),
                        log.get(0));
                assertMatches(
                        start.formatted(2) + "fetch bob  ->  1 message" + end.formatted(2),
                        log.get(1));
                assertMatches(
                        start.formatted(3) + "fetch nobody  ->  no such name" + end.formatted(3),
                        log.get(2));
                assertMatches(
                        start.formatted(4)
                                + "-  ->  Message declined\\. Bad verb"
                                + end.formatted(4),
                        log.get(3));
                assertFalse(command.out.toString().contains("secret"));
                assertEquals("", command.err.toString());
            }
        }

        @Test
        void logsNamesThatCannotHurtATerminal() throws Exception {
            try (Command command = new Command("0")) {
                int port = command.port();
                Wire.ask(port, "store;\u202egnp.exe\u202c;\u2066al\u2069;hi");
                command.log(1);
                Wire.ask(port, "fetch;a\tb\u2028c");
                command.log(2);
                Wire.ask(port, "fetch;\u001b[2J\u0007");
                List<String> log = command.log(3);
                assertTrue(
                        log.get(0)
                                .contains(
                                        "store to \\u202egnp.exe\\u202c from \\u2066al\\u2069  ->"),
                        log.get(0));
                assertTrue(log.get(1).contains("fetch a\\tb\\u2028c  ->"), log.get(1));
                assertTrue(log.get(2).contains("-  ->  Message declined. Control characters"));
                assertTrue(
                        command.out
                                .toString()
                                .codePoints()
                                .noneMatch(
                                        c -> c != '\n' && c != '\r' && Character.isISOControl(c)));
            }
        }

        private static void assertMatches(String pattern, String line) {
            assertTrue(line.matches(pattern), line + "\n does not match " + pattern);
        }

        @Test
        void quietMeansNoLineForEachRequest() throws Exception {
            Command command = new Command("0", "--quiet");
            int port = command.port();
            assertEquals(STORED, Wire.ask(port, "store;bob;al;hi"));
            assertEquals(0, command.stop());
            assertFalse(command.out.toString().contains("->"), command.out.toString());
        }

        @Test
        void timeoutIsTheDeadlineOfARequest() throws Exception {
            try (Command command = new Command("0", "--timeout", "1");
                    Wire wire = new Wire(command.port())) {
                long start = System.nanoTime();
                assertEquals(TIMED_OUT, wire.receive());
                assertTrue(millisSince(start) < 5_000, "was " + millisSince(start) + " ms");
            }
        }

        @ParameterizedTest
        @CsvSource(
                delimiter = '|',
                value = {
                    "abc|'abc'",
                    "70000|70000",
                    "-1|-1",
                    "65536|65536",
                    "0 1|'1'",
                    "0 --timeout 0|not 0",
                    "0 --timeout 3601|not 3601",
                    "0 --timeout soon|'soon'",
                    "0 --bind [::zz]|[::zz]",
                    "0 --nonsense|--nonsense",
                    "0 --store|--store",
                    "|PORT"
                })
        void wrongUsageIsSaidAndExitsWith2(String arguments, String said) throws Exception {
            Command command = new Command(arguments == null ? new String[0] : arguments.split(" "));
            assertEquals(2, command.exit());
            List<String> lines = command.err.toString().lines().toList();
            assertEquals(2, lines.size(), lines.toString());
            assertTrue(lines.get(0).contains(said), lines.get(0));
            assertEquals(
                    "What it takes: " + Program.started("MsgServer.java") + " --help",
                    lines.get(1));
            assertEquals("", command.out.toString());
            assertFalse(Files.exists(folder.resolve(".msg-server")), "no store for a mistake");
        }

        @Test
        void wrongUsageIsShownWithoutControlCharacters() throws Exception {
            Command command = new Command("\u001b[31m5000");
            assertEquals(2, command.exit());
            assertTrue(command.err.toString().contains("\\u001b[31m5000"));
            assertFalse(command.err.toString().contains("\u001b"));
        }

        @Test
        void helpLeadsWithExamples() throws Exception {
            Command command = new Command("--help");
            assertEquals(0, command.exit());
            List<String> lines = command.out.toString().lines().toList();
            assertEquals("Examples:", lines.get(0));
            assertTrue(lines.get(1).contains("jbang MsgServer.java 5000"), lines.get(1));
            for (String part :
                    List.of(
                            "PORT",
                            "--bind",
                            "--store",
                            "--timeout",
                            "--quiet",
                            "MSG_PORT",
                            "MSG_BIND",
                            "MSG_STORE",
                            "MSG_TIMEOUT",
                            "130 and 143")) {
                assertTrue(command.out.toString().contains(part), part);
            }
            assertEquals("", command.err.toString());
        }

        @Test
        void versionIsPrinted() throws Exception {
            Command command = new Command("--version");
            assertEquals(0, command.exit());
            assertMatches("MsgServer \\d+\\.\\d+\\s*", command.out.toString());
        }

        @Test
        void aPortInUseIsNamedWithWhatToTypeInstead() throws Exception {
            try (ServerSocket other = new ServerSocket(0)) {
                int port = other.getLocalPort();
                Command command = new Command(Integer.toString(port));
                assertEquals(1, command.exit());
                String sentence = command.err.toString().strip();
                assertEquals(1, sentence.lines().count(), sentence);
                assertTrue(sentence.startsWith("Cannot listen on port " + port + ": "), sentence);
                assertTrue(sentence.contains("AirPlay Receiver holds 5000"), sentence);
                assertTrue(sentence.endsWith("jbang MsgServer.java 5000"), sentence);
                assertEquals("", command.out.toString());
                Path store = folder.resolve(".msg-server");
                try (Stream<Path> files = Files.list(store)) {
                    assertEquals(List.of(store.resolve("messages.db")), files.toList());
                }
            }
        }

        @Test
        void anAddressOfAnotherMachineIsSaid() throws Exception {
            Command command = new Command("0", "--bind", "203.0.113.1");
            assertEquals(1, command.exit());
            String sentence = command.err.toString().strip();
            assertEquals(1, sentence.lines().count(), sentence);
            assertTrue(sentence.contains("203.0.113.1"), sentence);
            assertFalse(sentence.contains("AirPlay"), "the port is not to blame: " + sentence);
        }

        @Test
        void aStoreThatCannotBeTrustedIsSaid() throws Exception {
            Path thesis = Files.writeString(folder.resolve("thesis.txt"), "A thesis. ".repeat(900));
            Command command = new Command("0", "--store", thesis.toString());
            assertEquals(1, command.exit());
            String sentence = command.err.toString().strip();
            assertTrue(sentence.startsWith("Cannot keep messages in " + thesis.toRealPath()));
            assertEquals(1, sentence.lines().count(), sentence);
            assertEquals("", command.out.toString());
        }
    }

    // ---------------------------------------------------------------- the command, as a process

    @Nested
    @EnabledOnOs({OS.LINUX, OS.MAC})
    class AsAProcess {

        private ServerProcess server(String... more) throws IOException {
            return new ServerProcess(ServerProcess.command(folder.resolve("messages.db"), more));
        }

        @Test
        void aSecondServerOnTheSameStoreLeavesWithOneSentence() throws Exception {
            try (ServerProcess first = server()) {
                assertEquals(STORED, Wire.ask(first.port(), "store;bob;al;one"));
                for (int i = 0; i < 2; i++) { // the second try once found the lock gone
                    try (ServerProcess second = server()) {
                        assertEquals(1, second.awaitExit(Duration.ofSeconds(15)));
                        assertEquals(
                                "Cannot keep messages in "
                                        + folder.toRealPath().resolve("messages.db")
                                        + ": another server has it open\n",
                                second.errors());
                        assertEquals("", second.output());
                    }
                }
                assertEquals(STORED, Wire.ask(first.port(), "store;bob;al;two"));
                first.kill();
            }
            try (ServerProcess next = server()) {
                assertEquals(
                        "Retrieving messages...\nbob;al;one\nbob;al;two\nNO MORE MESSAGES\n",
                        Wire.ask(next.port(), "fetch;bob"));
            }
        }

        @Test
        void aRefusedStoreOfThisProcessDoesNotGiveTheFileToOthers() throws Exception {
            // POSIX drops a process's locks on a file when it closes any of its descriptors.
            try (Engine engine = new Engine(ROOMY)) {
                assertThrows(
                        MessageStore.StoreException.class,
                        () -> new MessageStore(engine.store.place()).close());
                try (ServerProcess second = server()) {
                    assertEquals(1, second.awaitExit(Duration.ofSeconds(15)));
                }
            }
        }

        @ParameterizedTest
        @CsvSource({"INT, 130", "TERM, 143"})
        void signalsEndItWithAGoodbye(String signal, int exitCode) throws Exception {
            try (ServerProcess server = server()) {
                assertEquals(STORED, Wire.ask(server.port(), "store;bob;al;hi"));
                server.signal(signal);
                assertEquals(exitCode, server.awaitExit(Duration.ofSeconds(15)));
                assertTrue(
                        server.output().endsWith("Goodbye. Every acknowledged message is kept.\n"),
                        server.output());
                assertEquals("", server.errors());
                assertEquals(
                        List.of("messages.db"),
                        ServerProcess.filesBeside(folder.resolve("messages.db")));
            }
        }

        @Test
        void takesWhatIsNotGivenFromTheEnvironment() throws Exception {
            Path store = folder.resolve("from the environment.db");
            List<String> command = new ArrayList<>();
            command.add("env");
            command.add("MSG_PORT=0");
            command.add("MSG_BIND=127.0.0.1");
            command.add("MSG_STORE=" + store);
            command.add("MSG_TIMEOUT=1");
            command.addAll(ServerProcess.java("MsgServer"));
            try (ServerProcess server = new ServerProcess(command)) {
                int port = server.port();
                assertNotEquals(0, port);
                try (Wire silent = new Wire(port)) {
                    long start = System.nanoTime();
                    assertEquals(TIMED_OUT, silent.receive());
                    assertTrue(millisSince(start) < 5_000);
                }
                assertThrows(
                        ConnectException.class,
                        () -> new Wire(new InetSocketAddress("127.0.0.2", port), 0).close());
                assertTrue(Files.exists(store));
            }
        }

        @Test
        void namesInAnyScriptAreLoggedInUtf8AlsoWhereTheLocaleIsPosix() throws Exception {
            List<String> command = new ArrayList<>();
            command.addAll(List.of("env", "LC_ALL=POSIX"));
            command.addAll(ServerProcess.java("MsgServer", "0", "--bind", "127.0.0.1"));
            command.addAll(List.of("--store", folder.resolve("messages.db").toString()));
            try (ServerProcess server = new ServerProcess(command)) {
                assertEquals(STORED, Wire.ask(server.port(), "store;Κυριάκος;γιαγιά 👵;γειά"));
                eventually(
                        "the line is there: " + server.output(),
                        () -> server.output().contains("store to Κυριάκος from γιαγιά 👵  ->"));
            }
        }

        @Test
        @EnabledOnOs(OS.LINUX)
        void descriptorsUsedUpAreSurvived() throws Exception {
            // The classic server's parent kept every descriptor and died after 1,020 requests;
            // accept without a pause spun when there were none left.
            List<String> command = new ArrayList<>();
            command.addAll(List.of("bash", "-c", "ulimit -n 300; exec \"$@\"", "bash"));
            command.addAll(ServerProcess.command(folder.resolve("messages.db"), "--timeout", "3"));
            try (ServerProcess server = new ServerProcess(command)) {
                int port = server.port();
                assertEquals(STORED, Wire.ask(port, "store;bob;al;hi"));
                String one = "Retrieving messages...\nbob;al;hi\nNO MORE MESSAGES\n";
                assertEquals(one, Wire.ask(port, "fetch;bob"));
                eventually("the conversations end", () -> server.descriptors() < 200);
                long before = server.descriptors();

                List<Future<String>> replies = new ArrayList<>();
                for (int i = 0; i < 600; i++) {
                    replies.add(
                            inBackground(() -> {
                                try (Wire idle = new Wire(port)) {
                                    return idle.receive();
                                }
                            }));
                }
                for (Future<String> reply : replies) {
                    String said = reply.get(60, TimeUnit.SECONDS);
                    assertTrue(
                            said.equals(TIMED_OUT) || said.equals(BUSY), "each is told: " + said);
                }
                assertEquals(one, Wire.ask(port, "fetch;bob"), "served again afterwards");
                eventually("descriptors are given back", () -> server.descriptors() < before + 20);
                for (int i = 0; i < 1_500; i++) {
                    assertEquals(EMPTY, Wire.ask(port, "fetch;nobody"));
                }
                eventually("none is kept", () -> server.descriptors() < before + 20);
            }
        }

        @Test
        @EnabledOnOs(OS.LINUX)
        void acceptOutOfDescriptorsIsSaidOnceAndWaitedOut() throws Exception {
            Assumptions.assumeTrue(
                    Files.exists(Path.of("/usr/bin/prlimit")), "prlimit is not installed");
            try (ServerProcess server = server("--timeout", "60")) {
                int port = server.port();
                assertEquals(STORED, Wire.ask(port, "store;bob;al;hi"));
                assertEquals(
                        "Retrieving messages...\nbob;al;hi\nNO MORE MESSAGES\n",
                        Wire.ask(port, "fetch;bob"));
                try (Wire waiting = new Wire(port)) { // the first wait makes a descriptor or two
                    waiting.send("f");
                    Thread.sleep(200);
                    assertEquals(EMPTY, waiting.send("etch;nobody\n").receive());
                }
                // Its own limit is far higher, so that only the kernel can refuse.
                long limit = server.descriptors() + 20;
                int done =
                        new ProcessBuilder(
                                        "prlimit",
                                        "--pid=" + server.pid(),
                                        "--nofile=" + limit + ":")
                                .inheritIO()
                                .start()
                                .waitFor();
                assertEquals(0, done);
                List<Wire> idle = new ArrayList<>();
                try {
                    for (int i = 0; i < 60; i++) {
                        idle.add(new Wire(port));
                    }
                    eventually(
                            "it says so",
                            () -> server.errors().contains("Cannot accept connections for now: "));
                    ProcessHandle process = ProcessHandle.of(server.pid()).orElseThrow();
                    Duration before = process.info().totalCpuDuration().orElseThrow();
                    Thread.sleep(1_500); // the time over which its work is measured
                    Duration used = process.info().totalCpuDuration().orElseThrow().minus(before);
                    assertTrue(used.toMillis() < 500, "it spins: " + used + " of 1.5 s");
                    assertEquals(1, server.errors().lines().count(), server.errors());
                } finally {
                    for (Wire client : idle) {
                        client.close();
                    }
                }
                assertEquals(EMPTY, Wire.ask(port, "fetch;nobody"), "served again");
                eventually(
                        "it says so: " + server.errors(),
                        () -> {
                            // Whether it can accept shows when somebody comes.
                            Wire.ask(port, "fetch;nobody");
                            return server.errors().endsWith("Connections are accepted again.\n");
                        });
            }
        }
    }

    // ---------------------------------------------------------------- waiting

    @FunctionalInterface
    private interface Condition {
        boolean holds() throws Exception;
    }

    private static <T> Future<T> inBackground(Callable<T> action) {
        FutureTask<T> task = new FutureTask<>(action);
        Thread.ofVirtual().start(task);
        return task;
    }

    private static long millisSince(long start) {
        return (System.nanoTime() - start) / 1_000_000;
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
