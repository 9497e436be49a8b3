///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the engine: how it starts, accepts and closes, and its state afterwards
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Engine.java
//SOURCES support/Transport.java
//SOURCES support/Waiting.java
//SOURCES support/Wire.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.EnumSource;

import java.io.IOException;
import java.net.BindException;
import java.net.ConnectException;
import java.net.InetSocketAddress;
import java.net.SocketException;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/** {@link MsgServer} in this JVM, over each transport. */
@ParameterizedClass(name = "{0}")
@EnumSource(Transport.class)
class MsgServerTest {
    @Parameter private Transport transport;
    @TempDir private Path folder;

    @Test
    void aPortInUseIsReportedAtTheStart() throws Exception {
        try (Engine engine = new Engine(transport, folder, Engine.ROOMY)) {
            MsgServer second =
                    new MsgServer(
                            new InetSocketAddress(engine.port()),
                            engine.store,
                            Engine.ROOMY,
                            engine.heard,
                            Thread.ofVirtual(),
                            transport.serverKey());
            assertThrows(BindException.class, second::start);
            assertEquals(Wire.EMPTY, engine.ask("fetch;nobody"));
        }
    }

    /**
     * In an earlier version an Error ended the acceptor. The process continued without accepting
     * connections.
     */
    @Test
    void failureToStartThreadsIsReportedAndTheServerRecovers() throws Exception {
        Thread.Builder.OfPlatform threads = Thread.ofPlatform().stackSize(1L << 56);
        Engine.Heard heard = new Engine.Heard();
        try (MessageStore store = new MessageStore(folder.resolve("messages.db").toString());
                MsgServer server =
                        new MsgServer(
                                new InetSocketAddress(0),
                                store,
                                // ten connections; the 18 failures must not use them up
                                Engine.limits(10_000, 10, 2_000),
                                heard,
                                threads,
                                transport.serverKey())) {
            server.start();
            for (int i = 0; i < 3; i++) {
                assertEquals("", Wire.answer(transport, server.port(), "fetch;nobody").text());
            }
            // In an earlier version the server reported recovery after each accepted connection,
            // although the server could serve no connection.
            assertEquals(
                    1,
                    heard.troubles().size(),
                    () -> "the failure is reported once: " + heard.troubles());
            // In an earlier version the acceptor paused after each connection, as if accepting
            // itself had failed.
            long start = System.nanoTime();
            for (int i = 0; i < 15; i++) {
                Wire.answer(transport, server.port(), "fetch;nobody");
            }
            assertTrue(
                    Waiting.millisSince(start) < 4_000, "the acceptor pauses between connections");
            assertTrue(heard.troubles().get(0).startsWith("Cannot accept connections: "));
            threads.stackSize(0);
            Waiting.eventually(
                    "the server serves again",
                    () -> Wire.answer(transport, server.port(), "fetch;nobody").whole());
            assertEquals("Connections are accepted again.", heard.troubles().getLast());
            Observer.Conversation served = heard.conversation();
            assertEquals("conversation-" + served.number, heard.thread(served).getName());
        }
    }

    @Test
    void aRequestInHandIsAnsweredWhileClosing() throws Exception {
        Engine engine = new Engine(transport, folder, Engine.ROOMY);
        try (Wire wire = engine.wire()) {
            wire.send("f");
            assertEquals(
                    Wire.EMPTY,
                    engine.ask("fetch;nobody")); // so the connection with "f" is accepted, too
            Future<Long> closing =
                    Waiting.inBackground(() -> {
                        long start = System.nanoTime();
                        engine.close();
                        return Waiting.millisSince(start);
                    });
            Waiting.eventually("the server refuses new connections", () -> refuses(engine.port()));
            assertFalse(closing.isDone(), "close did not wait for the request in hand");
            wire.send("etch;nobody\n").endInput();
            assertEquals(Wire.EMPTY, wire.receive());
            assertTrue(closing.get(60, TimeUnit.SECONDS) < 10_000);
        }
    }

    @Test
    void closingWhileIdleIsPrompt() throws Exception {
        Engine engine = new Engine(transport, folder, Engine.limits(10_000, 100, 10_000));
        assertEquals(Wire.EMPTY, engine.ask("fetch;nobody"));
        long start = System.nanoTime();
        engine.close();
        assertTrue(Waiting.millisSince(start) < 5_000, "was " + Waiting.millisSince(start) + " ms");
    }

    @Test
    void afterTheGraceConversationsAreCut() throws Exception {
        Engine engine = new Engine(transport, folder, Engine.limits(60_000, 100, 300));
        try (Wire silent = engine.wire();
                Wire half = engine.wire()) {
            half.send("f");
            assertEquals(Wire.EMPTY, engine.ask("fetch;nobody"));
            long start = System.nanoTime();
            engine.close();
            long millis = Waiting.millisSince(start);
            assertTrue(
                    millis >= 300 && millis < 5_000,
                    "milliseconds until the conversations were cut: " + millis);
            assertEquals("", silent.receive(), "a clean close, no half reply");
            assertEquals("", half.receive());
            // In an earlier version the log claimed that these conversations took too long,
            // although the server's close had cut them.
            assertEquals(
                    List.of(
                            "no such name",
                            "cut off: the server ended",
                            "cut off: the server ended"),
                    engine.heard.conversations().stream().map(it -> it.outcome).toList());
        }
    }

    @Test
    void aClientThatDoesNotReadIsCutAfterTheGrace() throws Exception {
        Engine engine = new Engine(transport, folder, Engine.limits(60_000, 100, 300));
        engine.fill("bob", 40_000, "x".repeat(230));
        try (Wire wire = engine.slowReader()) {
            wire.send("fetch;bob").endInput();
            assertEquals(22, wire.receive(22).length);
            long start = System.nanoTime();
            engine.close();
            assertTrue(
                    Waiting.millisSince(start) < 5_000,
                    "was " + Waiting.millisSince(start) + " ms");
            assertEquals("cut off: the server ended", engine.heard.conversation().outcome);
        }
    }

    @Test
    void closingFreesThePortAndKeepsTheMessages() throws Exception {
        Engine engine = new Engine(transport, folder, Engine.ROOMY);
        int port = engine.port();
        assertEquals(Wire.STORED, engine.ask("store;bob;al;hi"));
        engine.close();
        try (MessageStore store = new MessageStore(folder.resolve("messages.db").toString());
                MsgServer again =
                        new MsgServer(
                                new InetSocketAddress(port),
                                store,
                                Engine.ROOMY,
                                new Engine.Heard(),
                                Thread.ofVirtual(),
                                transport.serverKey())) {
            again.start();
            assertEquals(
                    "Retrieving messages...\nbob;al;hi\nNO MORE MESSAGES\n",
                    Wire.answer(transport, port, "fetch;bob").text());
        }
    }

    @Test
    void closingTwiceOrBeforeTheStartIsHarmless() throws Exception {
        Engine engine = new Engine(transport, folder, Engine.ROOMY);
        engine.server.close();
        engine.close();
        try (MessageStore store = new MessageStore(folder.resolve("messages.db").toString())) {
            new MsgServer(
                            new InetSocketAddress(0),
                            store,
                            Engine.ROOMY,
                            new Engine.Heard(),
                            Thread.ofVirtual(),
                            transport.serverKey())
                    .close();
        }
    }

    @Test
    void closingEndsEveryThread() throws Exception {
        Set<Thread> before = Thread.getAllStackTraces().keySet();
        Engine engine = new Engine(transport, folder, Engine.ROOMY);
        assertEquals(Wire.EMPTY, engine.ask("fetch;nobody"));
        // The set has the engine's threads, and perhaps threads of a parallel test. Both kinds end.
        Set<Thread> started = new HashSet<>(Thread.getAllStackTraces().keySet());
        started.removeAll(before);
        started.removeIf(t -> !t.getName().matches("acceptor|store-.*"));
        assertTrue(started.size() >= 5, started.toString());
        engine.close();
        Waiting.eventually(
                "the threads of the engine end", () -> started.stream().noneMatch(Thread::isAlive));
    }

    private static boolean refuses(int port) throws IOException {
        try {
            new Wire(port).close();
            return false;
        } catch (SocketException e) {
            // The kernel resets a connection that arrived just before the listener closed; this
            // client has to try again.
            return e instanceof ConnectException;
        }
    }
}
