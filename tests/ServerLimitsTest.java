///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION How many clients a server takes, and what it tells the others
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Engine.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.UnixOperatingSystemMXBean;

import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.EnumSource;

import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;

/** Beyond the limit clients wait for a place, and are told so when none comes free. */
@ParameterizedClass(name = "{0}")
@EnumSource(Transport.class)
class ServerLimitsTest {
    @Parameter private Transport transport;
    @TempDir private Path folder;

    @Test
    void beyondTheLimitClientsWaitForAPlace() throws Exception {
        try (Engine engine = new Engine(transport, folder, Engine.limits(10_000, 2, 2_000));
                Wire second = engine.wire()) {
            Future<String> third;
            try (Wire first = engine.wire()) {
                Waiting.eventually("both have a place", () -> engine.heard.served() == 2);
                third = Waiting.inBackground(() -> engine.ask("fetch;nobody"));
                Waiting.eventually("all are accepted", () -> engine.heard.accepted() == 3);
                assertEquals(List.of(), engine.heard.conversations(), "but none is served");
                assertEquals(Wire.EMPTY, first.send("fetch;nobody\n").receive());
            }
            assertEquals(Wire.EMPTY, third.get(20, TimeUnit.SECONDS), "the place of the first");
            assertEquals(Wire.EMPTY, second.send("fetch;nobody\n").receive());
        }
    }

    @Test
    void afterTwoSecondsWithoutAPlaceTheyAreToldThatTheServerIsBusy() throws Exception {
        try (Engine engine = new Engine(transport, folder, Engine.limits(20_000, 1, 2_000))) {
            // The first to connect was not always the first to get the place.
            try (Wire holder = engine.wire()) {
                Waiting.eventually("it has the place", () -> engine.heard.served() == 1);
                List<Future<String>> replies = new ArrayList<>();
                for (int i = 0; i < 20; i++) {
                    replies.add(Waiting.inBackground(() -> engine.ask("fetch;nobody")));
                }
                for (Future<String> reply : replies) {
                    assertEquals(Wire.BUSY, reply.get(20, TimeUnit.SECONDS));
                }
                holder.send("fetch;nobody\n");
                assertEquals(Wire.EMPTY, holder.receive(), "who has a place keeps it");
            }
            Waiting.eventually(
                    "the others are served again",
                    () -> engine.ask("fetch;nobody").equals(Wire.EMPTY));
        }
    }

    @Test
    void aConversationThatFailsGivesItsPlaceBack() throws Exception {
        // What failed before the place was looked after kept it, and in the end nobody got in.
        AtomicBoolean failing = new AtomicBoolean(true);
        Engine.Heard heard =
                new Engine.Heard() {
                    @Override
                    public void step(Step step, Conversation conversation) {
                        // Each conversation at another step; the last step has no place any more.
                        Step failsAt =
                                Step.values()[(int) conversation.number() % Step.CLOSED.ordinal()];
                        if (failing.get() && step == failsAt) {
                            throw new StackOverflowError("as if");
                        }
                        super.step(step, conversation);
                    }
                };
        try (Engine engine =
                new Engine(transport, folder, Engine.limits(10_000, 1, 10_000), heard)) {
            for (int i = 0; i < 4 * Listener.Step.values().length; i++) {
                Wire.answer(transport, engine.port(), "store;bob;al;hi"); // perhaps without a reply
            }
            failing.set(false);
            assertEquals(Wire.STORED, engine.ask("store;bob;al;hi"));
            assertEquals(
                    List.of("A conversation failed: java.lang.StackOverflowError: as if"),
                    heard.troubles().stream().distinct().toList());
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
