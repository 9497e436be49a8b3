///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION No client holds up others: silent, dripping, resetting, or not reading
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Engine.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.EnumSource;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/** Each conversation has a deadline for its request, and for each stretch of its reply. */
@ParameterizedClass(name = "{0}")
@EnumSource(Transport.class)
class DeadlinesTest {
    @Parameter private Transport transport;
    @TempDir private Path folder;

    @Test
    void aSilentClientIsToldSo() throws Exception {
        try (Engine engine = new Engine(transport, folder, Engine.limits(400, 100, 2_000))) {
            long start = System.nanoTime();
            try (Wire wire = engine.wire()) {
                assertEquals(Wire.TIMED_OUT, wire.receive());
                assertSoonAfter(400, Waiting.millisSince(start));
            }
            assertEquals("Message declined. Timed out", engine.heard.conversation().outcome());
        }
    }

    @Test
    void aClientThatDoesNotCloseIsLetGoAfterItsReply() throws Exception {
        // A read that had timed out left the connection so that the next one waited for ever.
        try (Engine engine = new Engine(transport, folder, Engine.limits(400, 100, 2_000));
                Wire silent = engine.wire();
                Wire answered = engine.wire()) {
            assertEquals(Wire.EMPTY, answered.send("fetch;nobody\n").receive());
            assertEquals(Wire.TIMED_OUT, silent.receive());
            Waiting.eventually("both end", () -> engine.heard.conversations().size() == 2);
        }
    }

    @Test
    void drippingDoesNotExtendTheDeadline() throws Exception {
        // A limit for each read was never reached by a client that sent a byte now and then.
        try (Engine engine = new Engine(transport, folder, Engine.limits(600, 100, 2_000))) {
            long start = System.nanoTime();
            try (Wire wire = engine.wire()) {
                Future<String> reply = Waiting.inBackground(() -> wire.receive());
                while (!reply.isDone() && Waiting.millisSince(start) < 20_000) {
                    try {
                        wire.send("x");
                    } catch (IOException e) {
                        break; // it has been let go
                    }
                    Thread.sleep(50);
                }
                assertEquals(Wire.TIMED_OUT, reply.get(20, TimeUnit.SECONDS));
                assertSoonAfter(600, Waiting.millisSince(start));
            }
        }
    }

    @Test
    void twoPiecesWithoutAnEndTimeOut() throws Exception {
        // If the machine lets the server wait, both pieces come with its first read.
        try (Engine engine = new Engine(transport, folder, Engine.limits(400, 100, 2_000))) {
            Waiting.eventually(
                    "they time out",
                    () -> {
                        try (Wire wire = engine.wire()) {
                            wire.send("f");
                            Thread.sleep(20);
                            wire.send("etch;bob");
                            return wire.receive().equals(Wire.TIMED_OUT);
                        }
                    });
        }
    }

    @Test
    void aClientThatDoesNotReadIsLetGoAndOthersAreServed() throws Exception {
        try (Engine engine = new Engine(transport, folder, Engine.limits(1_000, 100, 2_000))) {
            engine.fill("bob", 40_000, "x".repeat(230)); // more than kernels buffer
            long start = System.nanoTime();
            try (Wire wire = engine.slowReader()) {
                wire.send("fetch;bob").endInput();
                while (engine.heard.conversations().stream()
                        .noneMatch(c -> "bob".equals(c.recipient()))) {
                    assertEquals(Wire.EMPTY, engine.ask("fetch;nobody"));
                    assertTrue(Waiting.millisSince(start) < 20_000, "still not let go");
                    Thread.sleep(20);
                }
                assertTrue(Waiting.millisSince(start) >= 1_000, "it had its time");
            }
            Listener.Conversation ended =
                    engine.heard.conversations().stream()
                            .filter(c -> "bob".equals(c.recipient()))
                            .findFirst()
                            .orElseThrow();
            assertTrue(ended.outcome().startsWith("cut off: "), ended.outcome());
            assertSoonAfter(1_000, ended.untilReply().toMillis());
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
