///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION How many clients a server takes, and what it tells the others
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Engine.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.UnixOperatingSystemMXBean;

import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.EnumSource;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;

/** Beyond the limit clients are told so at once, and those who have a place keep it. */
@ParameterizedClass(name = "{0}")
@EnumSource(Transport.class)
class ServerLimitsTest {
    @Parameter private Transport transport;
    @TempDir private Path folder;

    /** Of a client for whom there is no place: inside TLS nothing can be said to it. */
    private void assertTurnedAway(Engine engine) throws Exception {
        if (transport == Transport.PLAIN) {
            assertEquals(Wire.BUSY, engine.ask("fetch;nobody"));
        } else {
            IOException e = assertThrows(IOException.class, engine::wire);
            assertTrue(e.getMessage().contains("internal_error"), e::toString);
        }
    }

    private boolean isServed(Engine engine) {
        return Wire.answer(transport, engine.port(), "fetch;nobody").text().equals(Wire.EMPTY);
    }

    @Test
    void beyondTheLimitClientsAreToldAtOnceThatTheServerIsBusy() throws Exception {
        try (Engine engine = new Engine(transport, folder, Engine.limits(20_000, 2, 2_000));
                Wire second = engine.wire()) {
            try (Wire first = engine.wire()) {
                Waiting.eventually("both have a place", () -> engine.heard.served() == 2);
                for (int i = 0; i < 20; i++) {
                    assertTurnedAway(engine);
                }
                assertEquals(
                        List.of(
                                "Cannot accept connections: all 2 places are taken, and clients are"
                                        + " told so"),
                        engine.heard.troubles());
                assertEquals(Wire.EMPTY, first.send("fetch;nobody\n").receive());
            }
            Waiting.eventually("the place of the first is free", () -> isServed(engine));
            assertEquals("Connections are accepted again.", engine.heard.troubles().getLast());
            assertEquals(Wire.EMPTY, second.send("fetch;nobody\n").receive(), "who has a place");
        }
    }

    @Test
    void besideManyWhoSayNothingOthersAreAnsweredAtOnce() throws Exception {
        // The few who waited for a place held up all who came after them, for 10 to 30 s.
        List<Wire> silent = new ArrayList<>();
        try (Engine engine = new Engine(transport, folder, Engine.limits(60_000, 20, 2_000))) {
            for (int i = 0; i < 200; i++) {
                silent.add(new Wire(engine.port()));
            }
            for (int i = 0; i < 20; i++) {
                long start = System.nanoTime();
                assertTurnedAway(engine);
                long millis = Waiting.millisSince(start);
                assertTrue(millis < 1_000, "an answer took " + millis + " ms");
            }
            for (Wire client : silent) {
                client.close();
            }
            Waiting.eventually("their places are free", () -> isServed(engine));
        } finally {
            for (Wire client : silent) {
                client.close();
            }
        }
    }

    @Test
    void aConversationThatFailsGivesItsPlaceBack() throws Exception {
        // What failed before the place was looked after kept it, and in the end nobody got in.
        AtomicBoolean failing = new AtomicBoolean(true);
        AtomicInteger begun = new AtomicInteger();
        Engine.Heard heard =
                new Engine.Heard() {
                    @Override
                    public void step(Step step, Conversation conversation) {
                        begun.addAndGet(step == Step.ACCEPTED ? 1 : 0);
                        // Each conversation at another step; the last step has no place any more.
                        Step failsAt =
                                Step.values()[(int) conversation.number % Step.CLOSED.ordinal()];
                        if (failing.get() && step == failsAt) {
                            throw new StackOverflowError("as if");
                        }
                        super.step(step, conversation);
                    }
                };
        try (Engine engine =
                new Engine(transport, folder, Engine.limits(10_000, 1, 10_000), heard)) {
            Waiting.eventually(
                    "all steps fail, and each conversation gives its place back",
                    () -> {
                        Wire.answer(transport, engine.port(), "store;bob;al;hi");
                        return begun.get() >= 4 * Listener.Step.values().length;
                    });
            failing.set(false);
            Waiting.eventually("it serves", () -> isServed(engine));
            assertTrue(
                    heard.troubles()
                            .contains("A conversation failed: java.lang.StackOverflowError: as if"),
                    heard.troubles().toString());
            long start = System.nanoTime();
            engine.server.close();
            assertTrue(Waiting.millisSince(start) < 5_000, "it waits for who has gone");
        }
    }

    /** {@code -Didle.clients=9000} by hand. */
    @Test
    void idleClientsDoNotSlowOthersDown() throws Exception {
        // 2,000 handshakes would take half a minute, and show no more about places.
        int idle = Integer.getInteger("idle.clients", transport == Transport.TLS ? 300 : 2_000);
        if (ManagementFactory.getOperatingSystemMXBean()
                instanceof UnixOperatingSystemMXBean unix) {
            Assumptions.assumeTrue(
                    unix.getMaxFileDescriptorCount() > 2L * idle + 500,
                    "ulimit -n is too low for both ends of " + idle + " connections");
        }
        List<Wire> clients = new ArrayList<>();
        try (Engine engine =
                new Engine(transport, folder, Engine.limits(120_000, idle + 100, 100))) {
            for (int i = 0; i < idle; i++) {
                clients.add(engine.wire());
            }
            List<Long> millis = new ArrayList<>();
            for (int i = 0; i < 200; i++) {
                long start = System.nanoTime();
                assertEquals(Wire.EMPTY, engine.ask("fetch;nobody"));
                millis.add(Waiting.millisSince(start));
            }
            millis.sort(null);
            // All but a few: the machine that runs the tests makes pauses of its own.
            assertTrue(millis.get(189) < 100, "in ms: " + millis);
            assertEquals(Wire.STORED, engine.ask("store;bob;al;hi"));
            Waiting.eventually("all others end", () -> engine.heard.conversations().size() == 201);
            clients.getFirst().send("fetch;nobody\n");
            assertEquals(Wire.EMPTY, clients.getFirst().receive(), "the idle are still there");
        } finally {
            for (Wire client : clients) {
                client.close();
            }
        }
    }
}
