///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of clients that are silent, drip, reset or do not read: others are served
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Engine.java
//SOURCES ../MsgClient.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.EnumSource;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/** Each conversation has a deadline for its request, and for each stretch of its reply. */
@ParameterizedClass(name = "{0}")
@EnumSource(Transport.class)
@Order(8) // it takes long
class DeadlinesTest {
    /** Milliseconds: on a busy machine a handshake takes half of them. */
    private static final int SHORT = 900;

    @Parameter private Transport transport;
    @TempDir private Path folder;

    @Test
    void aSilentClientIsToldSo() throws Exception {
        try (Engine engine = new Engine(transport, folder, Engine.limits(SHORT, 100, 2_000))) {
            long start = System.nanoTime();
            try (Wire wire = engine.wire()) {
                assertEquals(Wire.TIMED_OUT, wire.receive());
                assertSoonAfter(SHORT, Waiting.millisSince(start));
            }
            assertEquals("Message declined. Timed out", engine.heard.conversation().outcome);
        }
    }

    /** They took 10.5 s together, so an honest client gave up just before its reply. */
    @Test
    void theServersWaitsTogetherAreShorterThanTheClients() {
        Duration request = Connection.SILENCE;
        Duration store = MessageStore.PATIENCE.plus(MessageStore.POLL);
        Duration all = request.plus(store).plus(Connection.DRAIN_TIME);
        assertTrue(all.compareTo(MsgClient.READ_TIMEOUT) < 0, "the waits of the server: " + all);
    }

    @Test
    void aClientThatDoesNotCloseIsLetGoAfterItsReply() throws Exception {
        // A read that had timed out left the connection so that the next one waited for ever. And
        // the log showed the 2 s in which nobody closed as the duration of a reply of 2 ms.
        long start = System.nanoTime(); // before any handshake
        try (Engine engine = new Engine(transport, folder, Engine.limits(SHORT, 100, 2_000));
                Wire silent = engine.wire();
                Wire answered = engine.wire()) {
            assertEquals(Wire.EMPTY, answered.send("fetch;nobody\n").receive());
            long answeredAfter = Waiting.millisSince(start);
            assertEquals(Wire.TIMED_OUT, silent.receive());
            Waiting.eventually("both end", () -> engine.heard.conversations().size() == 2);
            assertTrue(Waiting.millisSince(start) >= 1_900, "who does not close has 2 s");
            long shown = engine.heard.of("nobody").untilReply.toMillis();
            assertTrue(shown <= answeredAfter, shown + " ms, answered after " + answeredAfter);
        }
    }

    @Test
    void drippingDoesNotExtendTheDeadline() throws Exception {
        // A limit for each read was never reached by a client that sent a byte now and then.
        try (Engine engine = new Engine(transport, folder, Engine.limits(600, 100, 2_000))) {
            // On a busy machine a handshake may take all of the time; then nobody is told.
            Waiting.eventually("it is told", () -> Wire.TIMED_OUT.equals(toldToADrip(engine)));
        }
    }

    private static String toldToADrip(Engine engine) throws Exception {
        long start = System.nanoTime();
        try (Wire wire = engine.wire()) {
            Future<Wire.Answer> answer = Waiting.inBackground(wire::answer);
            while (!answer.isDone() && Waiting.millisSince(start) < 20_000) {
                try {
                    wire.send("x");
                } catch (IOException e) {
                    break; // it has been let go
                }
                Thread.sleep(50);
            }
            String told = answer.get(20, TimeUnit.SECONDS).text();
            assertSoonAfter(600, Waiting.millisSince(start));
            return told;
        }
    }

    @Test
    void oneByteOrTwoPiecesWithoutAnEndTimeOut() throws Exception {
        // If the machine lets the server wait, both pieces come with its first read.
        try (Engine engine = new Engine(transport, folder, Engine.limits(1_500, 100, 2_000));
                Wire terminal = engine.wire()) {
            terminal.send("f");
            Waiting.eventually(
                    "two pieces time out",
                    () -> {
                        long start = System.nanoTime();
                        try (Wire wire = engine.wire()) {
                            wire.send("store;Kyr");
                            Thread.sleep(20);
                            wire.send("iakos;geo");
                            boolean timedOut = wire.receive().equals(Wire.TIMED_OUT);
                            if (timedOut) {
                                assertSoonAfter(1_500, Waiting.millisSince(start));
                            }
                            return timedOut;
                        }
                    });
            assertEquals(Wire.TIMED_OUT, terminal.receive());
        }
    }

    @Test
    void onePieceIsAWholeRequestOnlyWhenItsSecondOfSilenceIsOver() throws Exception {
        // Inside TLS it never is: whoever stands in between can hold back what follows.
        boolean tls = transport == Transport.TLS;
        try (Engine engine = new Engine(transport, folder, Engine.limits(1_500, 100, 2_000))) {
            long start = System.nanoTime();
            try (Wire wire = engine.wire()) {
                String reply = wire.send("store;bob;al;pay 1").receive();
                assertEquals(tls ? Wire.TIMED_OUT : Wire.STORED, reply);
                assertSoonAfter(tls ? 1_500 : 1_000, Waiting.millisSince(start));
            }
            assertEquals(tls, engine.ask("fetch;bob").equals(Wire.EMPTY));
        }
        // Half a message could be all that came before a deadline that is shorter than the silence.
        try (Engine engine = new Engine(transport, folder, Engine.limits(SHORT, 100, 2_000));
                Wire wire = engine.wire()) {
            assertEquals(Wire.TIMED_OUT, wire.send("store;eve;al;pay 10").receive());
            assertEquals(Wire.EMPTY, engine.ask("fetch;eve"));
        }
    }

    @Test
    void aClientThatDoesNotReadIsLetGoAndOthersAreServed() throws Exception {
        try (Engine engine = new Engine(transport, folder, Engine.limits(SHORT, 100, 2_000))) {
            engine.fill("bob", 40_000, "x".repeat(230)); // more than kernels buffer
            long start = System.nanoTime();
            try (Wire wire = engine.slowReader()) {
                wire.send("fetch;bob").endInput();
                while (engine.heard.of("bob") == null) {
                    assertEquals(Wire.EMPTY, engine.ask("fetch;nobody"));
                    assertTrue(Waiting.millisSince(start) < 20_000, "still not let go");
                    Thread.sleep(20);
                }
                assertTrue(Waiting.millisSince(start) >= 3 * SHORT, "it had its time");
            }
            var ended = engine.heard.of("bob");
            assertEquals("cut off: it took too long", ended.outcome);
            assertSoonAfter(3 * SHORT, ended.sinceAccept().toMillis());
        }
    }

    @Test
    void aClientThatReadsByDripsIsLetGo() throws Exception {
        try (Engine engine = new Engine(transport, folder, Engine.limits(600, 100, 2_000))) {
            engine.fill("bob", 25_000, "x".repeat(230));
            try (Wire wire = engine.slowReader()) {
                wire.send("fetch;bob").endInput();
                Waiting.eventually(
                        "it is let go",
                        () -> {
                            wire.receive(200);
                            Thread.sleep(25); // less than 15 KB before the deadline
                            return engine.heard.of("bob") != null;
                        });
            }
            assertEquals("cut off: it took too long", engine.heard.of("bob").outcome);
        }
    }

    @Test
    void aClientThatReadsSlowlyButSteadilyIsNotCutOff() throws Exception {
        // The kernel took 4 MB, and a blocked write came back when a third of it had been read.
        try (Engine engine = new Engine(transport, folder, Engine.limits(SHORT, 100, 2_000))) {
            engine.fill("bob", 25_000, "x".repeat(230));
            try (Wire wire = engine.slowReader()) {
                wire.send("fetch;bob").endInput();
                for (int i = 0; i < 20; i++) { // a page of 64 KB takes longer than the deadline
                    assertEquals(4096, wire.receive(4096).length);
                    Thread.sleep(250);
                }
                assertEquals(null, engine.heard.of("bob"), "it goes on beyond its deadline");
            }
        }
    }

    @Test
    void aClientThatResetsIsForgotten() throws Exception {
        try (Engine engine = new Engine(transport, folder, Engine.ROOMY)) {
            for (String sent : List.of("", "f", "fetch;bob", "fetch;bob\n")) {
                Wire wire = engine.wire();
                wire.send(sent);
                wire.reset();
            }
            Waiting.eventually("all four end", () -> engine.heard.conversations().size() == 4);
            assertEquals(Wire.EMPTY, engine.ask("fetch;nobody"));
            assertEquals(List.of(), engine.heard.troubles());
        }
    }

    private static void assertSoonAfter(long limitMs, long wasMs) {
        assertTrue(
                wasMs >= limitMs - 20 && wasMs < limitMs + 5_000,
                "at the deadline of " + limitMs + " ms, was " + wasMs + " ms");
    }
}
