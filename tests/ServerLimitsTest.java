///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of how many clients a server takes, and what it tells the others
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Engine.java
//SOURCES support/ServerProcess.java
//SOURCES support/Transport.java
//SOURCES support/Waiting.java
//SOURCES support/Wire.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.HotSpotDiagnosticMXBean;
import com.sun.management.UnixOperatingSystemMXBean;

import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.EnumSource;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Beyond a limit clients are told so at once, those who have a place keep it, and all is well again
 * afterwards.
 */
class ServerLimitsTest {
    @TempDir private Path folder;

    /** How many conversations the engine has places for. */
    @Nested
    @ParameterizedClass(name = "{0}")
    @EnumSource(Transport.class)
    class Places {
        @Parameter private Transport transport;

        /** Of a client for whom there is no place: inside TLS nothing can be said to it. */
        private void assertTurnedAway(Engine engine) throws Exception {
            if (transport == Transport.PLAIN) {
                // A reset may follow, where the request came too late.
                String said = Wire.answer(transport, engine.port(), "fetch;nobody").text();
                assertEquals(Wire.BUSY, said);
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
                            List.of("Cannot accept connections: all 2 places are taken"),
                            engine.heard.troubles());
                    assertEquals(Wire.EMPTY, first.send("fetch;nobody\n").receive());
                }
                Waiting.eventually("the place of the first is free", () -> isServed(engine));
                assertEquals("Connections are accepted again.", engine.heard.troubles().getLast());
                assertEquals(
                        Wire.EMPTY, second.send("fetch;nobody\n").receive(), "who has a place");
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
                            // Each conversation at another step; the last step has no place any
                            // more.
                            Step failsAt =
                                    Step.values()[
                                            (int) conversation.number % Step.CLOSED.ordinal()];
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
                            return begun.get() >= 4 * Observer.Step.values().length;
                        });
                failing.set(false);
                Waiting.eventually("it serves", () -> isServed(engine));
                assertTrue(
                        heard.troubles()
                                .contains(
                                        "A conversation failed: java.lang.StackOverflowError: as"
                                                + " if"),
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
                // Half of them: the machine that runs the tests has other work, too.
                assertTrue(millis.get(100) < 100, "in ms: " + millis);
                assertEquals(Wire.STORED, engine.ask("store;bob;al;hi"));
                Waiting.eventually(
                        "all others end", () -> engine.heard.conversations().size() == 201);
                clients.getFirst().send("fetch;nobody\n");
                assertEquals(Wire.EMPTY, clients.getFirst().receive(), "the idle are still there");
            } finally {
                for (Wire client : clients) {
                    client.close();
                }
            }
        }
    }

    /** Descriptors and memory, which only a process of its own can run out of. */
    @Nested
    @EnabledOnOs(OS.LINUX)
    class OfTheMachine {

        @Test
        void descriptorsUsedUpAreSurvived() throws Exception {
            // The classic server's parent kept every descriptor and died after 1,020 requests;
            // accept without a pause spun when there were none left.
            List<String> command = new ArrayList<>();
            command.addAll(List.of("bash", "-c", "ulimit -n 300; exec \"$@\"", "bash"));
            command.addAll(ServerProcess.command(folder.resolve("messages.db"), "--timeout", "3"));
            try (ServerProcess server = new ServerProcess(command)) {
                int port = server.port();
                assertEquals(Wire.STORED, Wire.ask(port, "store;bob;al;hi"));
                String one = "Retrieving messages...\nbob;al;hi\nNO MORE MESSAGES\n";
                assertEquals(one, Wire.ask(port, "fetch;bob"));
                Waiting.eventually("the conversations end", () -> server.descriptors() < 200);
                long before = server.descriptors();

                List<Future<String>> replies = new ArrayList<>();
                for (int i = 0; i < 600; i++) {
                    replies.add(
                            Waiting.inBackground(() -> {
                                try (Wire idle = new Wire(port)) {
                                    return idle.receive();
                                }
                            }));
                }
                for (Future<String> reply : replies) {
                    String said = reply.get(60, TimeUnit.SECONDS);
                    assertTrue(
                            said.equals(Wire.TIMED_OUT) || said.equals(Wire.BUSY),
                            "each is told: " + said);
                }
                Waiting.eventually(
                        "it serves again", () -> one.equals(Wire.ask(port, "fetch;bob")));
                Waiting.eventually(
                        "descriptors are given back", () -> server.descriptors() < before + 20);
                for (int i = 0; i < 1_500; i++) {
                    assertEquals(Wire.EMPTY, Wire.ask(port, "fetch;nobody"));
                }
                Waiting.eventually("none is kept", () -> server.descriptors() < before + 20);
            }
        }

        @Test
        void acceptOutOfDescriptorsIsSaidOnceAndWaitedOut() throws Exception {
            Assumptions.assumeTrue(
                    Files.exists(Path.of("/usr/bin/prlimit")), "prlimit is not installed");
            try (ServerProcess server =
                    new ServerProcess(
                            ServerProcess.command(
                                    folder.resolve("messages.db"), "--timeout", "60"))) {
                int port = server.port();
                assertEquals(Wire.STORED, Wire.ask(port, "store;bob;al;hi"));
                assertEquals(
                        "Retrieving messages...\nbob;al;hi\nNO MORE MESSAGES\n",
                        Wire.ask(port, "fetch;bob"));
                try (Wire waiting = new Wire(port)) { // the first wait makes a descriptor or two
                    waiting.send("f");
                    Thread.sleep(200);
                    assertEquals(Wire.EMPTY, waiting.send("etch;nobody\n").receive());
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
                    Waiting.eventually(
                            "it says so",
                            () -> server.errors().contains("Cannot accept connections: "));
                    ProcessHandle process = ProcessHandle.of(server.pid()).orElseThrow();
                    Duration before = process.info().totalCpuDuration().orElseThrow();
                    Thread.sleep(1_500); // the time over which its work is measured
                    Duration used = process.info().totalCpuDuration().orElseThrow().minus(before);
                    assertTrue(used.toMillis() < 500, "it spins: " + used + " of 1.5 s");
                    long said =
                            server.errors()
                                    .lines()
                                    .filter(l -> l.contains("Cannot accept"))
                                    .count();
                    assertTrue(
                            said <= 2,
                            server.errors()); // it may have begun with one that got through
                } finally {
                    for (Wire client : idle) {
                        client.close();
                    }
                }
                assertEquals(Wire.EMPTY, Wire.ask(port, "fetch;nobody"), "served again");
                Waiting.eventually(
                        "it says so: " + server.errors(),
                        () -> {
                            // Whether it can accept shows when somebody comes.
                            Wire.ask(port, "fetch;nobody");
                            return server.errors().endsWith("Connections are accepted again.\n");
                        });
            }
        }

        @Test
        void moreSilentClientsThanTheHeapHasRoomForAreTurnedAway() throws Exception {
            // They used up the heap before the limit was reached, and the server never came back.
            int silent = 4_500;
            if (ManagementFactory.getOperatingSystemMXBean()
                    instanceof UnixOperatingSystemMXBean unix) {
                Assumptions.assumeTrue(unix.getMaxFileDescriptorCount() > silent + 500);
            }
            List<String> command = ServerProcess.command(folder.resolve("messages.db"));
            command.addAll(command.indexOf("-cp"), List.of("-Xmx20m", "-Xmn4m"));
            List<Wire> clients = new ArrayList<>();
            try (ServerProcess server = new ServerProcess(command)) {
                int port = server.port();
                for (int i = 0; i < silent; i++) {
                    clients.add(new Wire(port));
                }
                for (int i = 0; i < 20; i++) {
                    long start = System.nanoTime();
                    assertEquals(Wire.BUSY, Wire.answer(port, "fetch;nobody").text());
                    assertTrue(Waiting.millisSince(start) < 5_000);
                }
                for (Wire client : clients) {
                    client.close();
                }
                Waiting.eventually(
                        "those who come later are served",
                        () -> Wire.answer(port, "store;bob;al;hi").stored());
                assertTrue(
                        server.output().contains("\nRoom for 8")
                                && server.output().contains("(-Xmx)"),
                        server::output);
            } finally {
                for (Wire client : clients) {
                    client.close();
                }
            }
        }

        @Test
        void aServerWithoutMemoryEnds() {
            // Else it is up and serves nobody; a service manager starts it again.
            HotSpotDiagnosticMXBean options =
                    ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class);
            assertEquals("true", options.getVMOption("ExitOnOutOfMemoryError").getValue());
        }

        @Test
        void theLimitsSuitTheMachine() {
            Limits limits = Limits.of(Duration.ofSeconds(10), false);
            assertTrue(
                    Limits.of(Duration.ofSeconds(10), true).connections() <= limits.connections());
            assertEquals(Duration.ofSeconds(10), limits.timeout());
            assertEquals(Duration.ofSeconds(2), limits.grace());
            if (ManagementFactory.getOperatingSystemMXBean()
                    instanceof UnixOperatingSystemMXBean unix) {
                assertTrue(
                        limits.connections() < unix.getMaxFileDescriptorCount(),
                        "some descriptors are for the store");
            }
        }
    }
}
