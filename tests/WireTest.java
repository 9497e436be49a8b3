///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the server over a socket: every request, its reply, how a request ends
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Engine.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.net.BindException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/**
 * Requests and replies over a socket. The tests repeat every text of the protocol literally, since
 * the text is the contract.
 */
@ParameterizedClass(name = "{0}")
@EnumSource(Transport.class)
class WireTest {
    @Parameter private Transport transport;
    @TempDir private Path folder;

    private Engine engine;

    @BeforeEach
    void start() throws Exception {
        engine = new Engine(transport, folder, Engine.ROOMY);
    }

    @AfterEach
    void stop() {
        engine.close();
    }

    private String ask(String request) throws IOException {
        return engine.ask(request);
    }

    static List<Arguments> table() {
        return List.of(
                arguments("store;bob;al;hi", "Message accepted and stored:\n"),
                arguments("store;bob;al;a;b;;c;", "Message accepted and stored:\n"),
                arguments("fetch;nobody", "Retrieving messages...\nThere is no such name\n"),
                arguments("fetch;nobody;x;y", "Retrieving messages...\nThere is no such name\n"),
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
        try (Wire wire = engine.wire()) {
            assertEquals(reply, wire.send(request + "\n").receive(), "LF");
        }
        try (Wire wire = engine.wire()) {
            assertEquals(reply, wire.send(request + "\r\n").receive(), "CR LF");
        }
        try (Wire wire = engine.wire()) {
            assertEquals(reply, wire.sendByteByByte(request + "\n").receive(), "byte by byte");
        }
    }

    /**
     * Like {@link #table}, but all requests are sent at once, since each one waits for 1 s of
     * silence.
     */
    @Test
    void silenceEndsARequestThatCameInOnePiece() throws Exception {
        if (transport == Transport.TLS) {
            return; // silence ends no request inside TLS, see DeadlinesTest
        }
        Map<Arguments, Future<String>> replies = new LinkedHashMap<>();
        for (Arguments row : table()) {
            String request = (String) row.get()[0];
            if (request.length() > 1) {
                replies.put(
                        row,
                        Waiting.inBackground(() -> {
                            try (Wire wire = engine.wire()) {
                                return wire.send(request).receive();
                            }
                        }));
            }
        }
        for (var one : replies.entrySet()) {
            Object[] row = one.getKey().get();
            assertEquals(row[1], one.getValue().get(60, TimeUnit.SECONDS), () -> "to " + row[0]);
        }
    }

    @Test
    void malformedUtf8IsRefused() throws Exception {
        try (Wire wire = engine.wire()) {
            wire.send("store;bob;al;").send(new byte[] {(byte) 0xc3, 0x28}).endInput();
            assertEquals("Message declined. Not UTF-8\n", wire.receive());
        }
        assertEquals(Wire.EMPTY, ask("fetch;bob"));
    }

    @Test
    void messagesComeInTheOrderOfTheirAcceptanceAndStay() throws Exception {
        assertEquals(Wire.STORED, ask("store; bob ; al ;hi;there"));
        assertEquals(Wire.STORED, ask("store;bob;zoe; 👋 γειά "));
        assertEquals(Wire.STORED, ask("store;BOB;al;another mailbox"));
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
    void aMailboxOfAnySizeArrivesWhole(int size) throws Exception {
        engine.fill("bob", size, "hi");
        assertEquals(
                "Retrieving messages...\n" + "bob;al;hi\n".repeat(size) + "NO MORE MESSAGES\n",
                ask("fetch;bob"));
    }

    @Test
    void aRequestTypedKeyByKeyIsNotCutOff() throws Exception {
        try (Wire wire = engine.wire()) {
            wire.send("f");
            Thread.sleep(1_200); // longer than the silence that ends a request in one piece
            assertEquals(Wire.EMPTY, wire.send("e").send("tch;nobody\n").receive());
        }
    }

    @Test
    void aLineInTwoPiecesIsStoredWhole() throws Exception {
        // A client sends "pay 10", pauses for 150 ms and sends "000 euro". In an earlier version
        // the server acknowledged and stored "pay 10".
        Waiting.eventually(
                "a try that takes less than 700 ms on this machine",
                () -> {
                    String mailbox = "bob" + System.nanoTime();
                    long start = System.nanoTime();
                    try (Wire wire = engine.wire()) {
                        wire.send("store;" + mailbox + ";al;pay 10");
                        Thread.sleep(150);
                        wire.send("000 euro\n");
                        if (Waiting.millisSince(start) > 700) {
                            return false;
                        }
                        assertEquals(Wire.STORED, wire.receive());
                    }
                    assertEquals(
                            "Retrieving messages...\n"
                                    + mailbox
                                    + ";al;pay 10000 euro\n"
                                    + "NO MORE MESSAGES\n",
                            engine.ask("fetch;" + mailbox));
                    return true;
                });
    }

    @Test
    void aCharacterMayBeSplit() throws Exception {
        byte[] request = "store;Κυριάκος;al;👋\n".getBytes(StandardCharsets.UTF_8);
        for (int split = 7; split < request.length; split += 3) {
            try (Wire wire = engine.wire()) {
                wire.send(Arrays.copyOf(request, 1));
                wire.send(Arrays.copyOfRange(request, 1, split));
                wire.send(Arrays.copyOfRange(request, split, request.length));
                assertEquals(Wire.STORED, wire.receive(), "split at " + split);
            }
        }
    }

    @Test
    void bytesAfterTheFirstLineAreNoSecondRequest() throws Exception {
        try (Wire wire = engine.wire()) {
            wire.send("store;bob;al;one\nstore;bob;al;forged\n");
            assertEquals(Wire.STORED, wire.receive());
        }
        assertEquals("Retrieving messages...\nbob;al;one\nNO MORE MESSAGES\n", ask("fetch;bob"));
    }

    @Test
    void unreadInputDoesNotDestroyTheReply() throws Exception {
        // In an earlier version the server closed with unread input, which reset the connection. A
        // client that was still writing lost its reply.
        byte[] more = new byte[600_000];
        Arrays.fill(more, (byte) 'x');
        for (int i = 0; i < 20; i++) {
            try (Wire wire = engine.wire()) {
                assertEquals(Wire.EMPTY, wire.send("fetch;nobody\n").send(more).receive());
            }
            try (Wire wire = engine.wire()) {
                assertEquals(
                        "Message declined. Too long, 255 bytes at most\n",
                        wire.send(more).receive());
            }
        }
    }

    @Test
    void aClientThatNeverStopsWritingIsDisconnected() throws Exception {
        try (Wire wire = engine.wire()) {
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
                engine.heard.conversation().outcome);
        assertEquals(Wire.EMPTY, ask("fetch;nobody"));
    }

    @Test
    void ipv4AndIpv6AreServed() throws Exception {
        assertEquals(Wire.EMPTY, ask("fetch;nobody"));
        InetAddress six = InetAddress.getByName("::1");
        try (ServerSocket probe = new ServerSocket(0, 1, six)) {
            assertTrue(probe.isBound());
        } catch (BindException e) {
            Assumptions.abort("this machine has no IPv6: " + e.getMessage());
        }
        try (Wire wire = new Wire(transport, new InetSocketAddress(six, engine.port()), 0)) {
            assertEquals(Wire.EMPTY, wire.send("fetch;nobody").endInput().receive());
        }
    }

    @Test
    void eachConversationHasItsOwnVirtualThread() throws Exception {
        for (int i = 0; i < 3; i++) {
            ask("fetch;nobody");
        }
        ask("store;bob;al;a secret");
        ask("nonsense;bob");
        Waiting.eventually(
                "five conversations end", () -> engine.heard.conversations().size() == 5);
        Set<Thread> threads = new HashSet<>();
        for (Observer.Conversation ended : engine.heard.conversations()) {
            Thread thread = engine.heard.thread(ended);
            assertTrue(thread.isVirtual(), thread.toString());
            assertEquals("conversation-" + ended.number, thread.getName());
            threads.add(thread);
            assertTrue(ended.peer.getAddress().isLoopbackAddress());
            assertTrue(ended.untilReply.isPositive());
        }
        assertEquals(5, threads.size());
        List<Observer.Conversation> inOrder =
                engine.heard.conversations().stream()
                        .sorted(Comparator.comparing(it -> it.number))
                        .toList();
        assertEquals(List.of(1L, 2L, 3L, 4L, 5L), inOrder.stream().map(it -> it.number).toList());
        assertEquals(new Protocol.Fetch("nobody"), inOrder.get(0).request);
        assertEquals("no such name", inOrder.get(0).outcome);
        assertEquals(new Protocol.Store("bob", "al", "a secret"), inOrder.get(3).request);
        assertEquals("stored", inOrder.get(3).outcome);
        assertNull(inOrder.get(4).request);
        assertEquals("Message declined. Bad verb", inOrder.get(4).outcome);
    }
}
