///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of how many clients a server accepts, and how it refuses more clients
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
 * Beyond a limit the server refuses new clients at once. Accepted clients keep their places, and
 * the server recovers when clients leave.
 */
class ServerLimitsTest {
    @TempDir private Path folder;

    /** The engine's limit of conversations. */
    @Nested
    @ParameterizedClass(name = "{0}")
    @EnumSource(Transport.class)
    class Places {
        @Parameter private Transport transport;

        /**
         * Asserts that the server refuses a client for lack of a place. Over TLS the refusal is an
         * alert, since the server cannot send text before the handshake.
         */
        private void assertTurnedAway(Engine engine) throws Exception {
            if (transport == Transport.PLAIN) {
                // A reset may follow the reply, if the request arrived too late.
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
        void beyondTheLimitClientsAreRefusedAtOnce() throws Exception {
            try (Engine engine = new Engine(transport, folder, Engine.limits(20_000, 2, 2_000));
                    Wire second = engine.wire()) {
                try (Wire first = engine.wire()) {
                    Waiting.eventually(
                            "both clients have a place", () -> engine.heard.served() == 2);
                    for (int i = 0; i < 20; i++) {
                        assertTurnedAway(engine);
                    }
                    assertEquals(
                            List.of("Cannot accept connections: all 2 places are taken"),
                            engine.heard.troubles());
                    assertEquals(Wire.EMPTY, first.send("fetch;nobody\n").receive());
                }
                Waiting.eventually("the place of the first client is free", () -> isServed(engine));
                assertEquals("Connections are accepted again.", engine.heard.troubles().getLast());
                assertEquals(
                        Wire.EMPTY,
                        second.send("fetch;nobody\n").receive(),
                        "a client with a place is served");
            }
        }

        @Test
        void besideManySilentClientsOthersAreAnsweredAtOnce() throws Exception {
            // In an earlier version a few clients waited for a place, and delayed all later clients
            // by 10 to 30 s.
            List<Wire> silent = new ArrayList<>();
            try (Engine engine = new Engine(transport, folder, Engine.limits(60_000, 20, 2_000))) {
                for (int i = 0; i < 200; i++) {
                    silent.add(new Wire(engine.port()));
                }
                for (int i = 0; i < 20; i++) {
                    long start = System.nanoTime();
                    assertTurnedAway(engine);
                    long millis = Waiting.millisSince(start);
                    assertTrue(millis < 5_000, "an answer took " + millis + " ms");
                }
                for (Wire client : silent) {
                    client.close();
                }
                Waiting.eventually(
                        "the places of the silent clients are free", () -> isServed(engine));
            } finally {
                for (Wire client : silent) {
                    client.close();
                }
            }
        }

        @Test
        void aFailedConversationFreesItsPlace() throws Exception {
            // In an earlier version, if a step failed before the code that frees the place, the
            // place stayed taken. In the end no client got a place.
            AtomicBoolean failing = new AtomicBoolean(true);
            AtomicInteger begun = new AtomicInteger();
            Engine.Heard heard =
                    new Engine.Heard() {
                        @Override
                        public void step(Step step, Conversation conversation) {
                            begun.addAndGet(step == Step.ACCEPTED ? 1 : 0);
                            // Each conversation fails at another step.
                            Step failsAt =
                                    Step.values()[(int) conversation.number % Step.values().length];
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
                Waiting.eventually("the server serves", () -> isServed(engine));
                assertTrue(
                        heard.troubles()
                                .contains(
                                        "A conversation failed: java.lang.StackOverflowError: as"
                                                + " if"),
                        heard.troubles().toString());
                long start = System.nanoTime();
                engine.server.close();
                assertTrue(
                        Waiting.millisSince(start) < 5_000,
                        "close waits for conversations that have ended");
            }
        }

        /** {@code -Didle.clients=9000} sets the number of idle clients for a run by hand. */
        @Test
        void idleClientsDoNotSlowOthersDown() throws Exception {
            // 2,000 handshakes would take half a minute and would test nothing more.
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
                // The test checks the median, since other processes may delay single requests.
                assertTrue(millis.get(100) < 100, "in ms: " + millis);
                assertEquals(Wire.STORED, engine.ask("store;bob;al;hi"));
                Waiting.eventually(
                        "all other conversations end",
                        () -> engine.heard.conversations().size() == 201);
                clients.getFirst().send("fetch;nobody\n");
                assertEquals(
                        Wire.EMPTY,
                        clients.getFirst().receive(),
                        "the idle clients keep their places");
            } finally {
                for (Wire client : clients) {
                    client.close();
                }
            }
        }
    }

    /** Limits of descriptors and memory, which need a separate process. */
    @Nested
    @EnabledOnOs(OS.LINUX)
    class OfTheMachine {

        @Test
        void theServerSurvivesALackOfDescriptors() throws Exception {
            // The parent of the classic server kept every descriptor and died after 1,020 requests.
            // A server that accepts without a pause uses all of a processor while no descriptor is
            // free.
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
                            "each client gets the refusal: " + said);
                }
                Waiting.eventually(
                        "the server serves again", () -> one.equals(Wire.ask(port, "fetch;bob")));
                Waiting.eventually(
                        "the server closes the descriptors",
                        () -> server.descriptors() < before + 20);
                for (int i = 0; i < 1_500; i++) {
                    assertEquals(Wire.EMPTY, Wire.ask(port, "fetch;nobody"));
                }
                Waiting.eventually(
                        "the server keeps no descriptor", () -> server.descriptors() < before + 20);
            }
        }

        @Test
        void failureToAcceptIsReportedOnceAndRetriedWithoutSpinning() throws Exception {
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
                try (Wire waiting = new Wire(port)) { // the first wait opens a descriptor or two
                    waiting.send("f");
                    Thread.sleep(200);
                    assertEquals(Wire.EMPTY, waiting.send("etch;nobody\n").receive());
                }
                // The server's own limit of conversations is far higher, so only the kernel can
                // refuse.
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
                            "the server reports the lack of descriptors",
                            () -> server.errors().contains("Cannot accept connections: "));
                    ProcessHandle process = ProcessHandle.of(server.pid()).orElseThrow();
                    Duration before = process.info().totalCpuDuration().orElseThrow();
                    // the processor time of the server is measured over this time
                    Thread.sleep(1_500);
                    Duration used = process.info().totalCpuDuration().orElseThrow().minus(before);
                    assertTrue(used.toMillis() < 500, "the server spins: " + used + " of 1.5 s");
                    long said =
                            server.errors()
                                    .lines()
                                    .filter(l -> l.contains("Cannot accept"))
                                    .count();
                    assertTrue(
                            said <= 2,
                            // a connection may get through after the first report, so a second
                            // report is tolerated
                            server.errors());
                } finally {
                    for (Wire client : idle) {
                        client.close();
                    }
                }
                assertEquals(
                        Wire.EMPTY, Wire.ask(port, "fetch;nobody"), "a client is served again");
                Waiting.eventually(
                        "the server reports its recovery: " + server.errors(),
                        () -> {
                            // The server learns that it can accept again only when a new client
                            // connects.
                            Wire.ask(port, "fetch;nobody");
                            return server.errors().endsWith("Connections are accepted again.\n");
                        });
            }
        }

        @Test
        void silentClientsThatTheHeapHasNoRoomForAreRefused() throws Exception {
            // In an earlier version the clients used up the heap before the server reached its
            // limit, and the server never recovered.
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
                        "later clients are served",
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
        void aServerThatRunsOutOfMemoryEnds() {
            // Without this option the process would stay up without serving. A service manager
            // restarts an ended server.
            HotSpotDiagnosticMXBean options =
                    ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class);
            assertEquals("true", options.getVMOption("ExitOnOutOfMemoryError").getValue());
        }

        @Test
        void theLimitsFitTheMachine() {
            Limits limits = Limits.of(Duration.ofSeconds(10), false);
            assertTrue(
                    Limits.of(Duration.ofSeconds(10), true).connections() <= limits.connections());
            assertEquals(Duration.ofSeconds(10), limits.timeout());
            assertEquals(Duration.ofSeconds(2), limits.grace());
            if (ManagementFactory.getOperatingSystemMXBean()
                    instanceof UnixOperatingSystemMXBean unix) {
                assertTrue(
                        limits.connections() < unix.getMaxFileDescriptorCount(),
                        "the limit leaves no descriptors for the store");
            }
        }
    }
}
