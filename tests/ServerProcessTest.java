///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION The server as a process: signals, descriptors, the environment, one store
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/ServerProcess.java
//SOURCES support/Engine.java
//SOURCES ../MsgClient.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.HotSpotDiagnosticMXBean;
import com.sun.management.UnixOperatingSystemMXBean;

import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.net.ConnectException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/** The command as a process, where descriptors, signals or the environment matter. */
@EnabledOnOs({OS.LINUX, OS.MAC})
class ServerProcessTest {
    @TempDir private Path folder;

    private ServerProcess server(String... more) throws IOException {
        return new ServerProcess(ServerProcess.command(folder.resolve("messages.db"), more));
    }

    @Test
    void aSecondServerOnTheSameStoreLeavesWithOneSentence() throws Exception {
        try (ServerProcess first = server()) {
            assertEquals(Wire.STORED, Wire.ask(first.port(), "store;bob;al;one"));
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
            assertEquals(Wire.STORED, Wire.ask(first.port(), "store;bob;al;two"));
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
        try (Engine engine = new Engine(Transport.PLAIN, folder, Engine.ROOMY)) {
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
            assertEquals(Wire.STORED, Wire.ask(server.port(), "store;bob;al;hi"));
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
        Path store = folder.resolve("from the ${environment}$$.db");
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
                assertEquals(Wire.TIMED_OUT, silent.receive());
                assertTrue(Waiting.millisSince(start) < 5_000);
            }
            assertThrows(
                    ConnectException.class,
                    () ->
                            new Wire(Transport.PLAIN, new InetSocketAddress("127.0.0.2", port), 0)
                                    .close());
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
            assertEquals(Wire.STORED, Wire.ask(server.port(), "store;Κυριάκος;γιαγιά 👵;γειά"));
            Waiting.eventually(
                    "the line is there: " + server.output(),
                    () -> server.output().contains("store to Κυριάκος from \"γιαγιά 👵\"  ->"));
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
            assertEquals(one, Wire.ask(port, "fetch;bob"), "served again afterwards");
            Waiting.eventually(
                    "descriptors are given back", () -> server.descriptors() < before + 20);
            for (int i = 0; i < 1_500; i++) {
                assertEquals(Wire.EMPTY, Wire.ask(port, "fetch;nobody"));
            }
            Waiting.eventually("none is kept", () -> server.descriptors() < before + 20);
        }
    }

    @Test
    @EnabledOnOs(OS.LINUX)
    void acceptOutOfDescriptorsIsSaidOnceAndWaitedOut() throws Exception {
        Assumptions.assumeTrue(
                Files.exists(Path.of("/usr/bin/prlimit")), "prlimit is not installed");
        try (ServerProcess server = server("--timeout", "60")) {
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
                                    "prlimit", "--pid=" + server.pid(), "--nofile=" + limit + ":")
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
                        server.errors().lines().filter(l -> l.contains("Cannot accept")).count();
                assertTrue(
                        said <= 2, server.errors()); // it may have begun with one that got through
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

    /** An Error ended the acceptor: the process stayed up and accepted nobody any more. */
    @Test
    void whenNoThreadCanBeStartedTheServerSaysSoAndServesAgainAfterwards() throws Exception {
        Thread.Builder.OfPlatform threads = Thread.ofPlatform().stackSize(1L << 56);
        Engine.Heard heard = new Engine.Heard();
        try (MessageStore store = new MessageStore(folder.resolve("messages.db").toString());
                MsgServer server =
                        new MsgServer(
                                new InetSocketAddress(0),
                                store,
                                Engine.limits(10_000, 10, 2_000), // fewer than fail
                                heard,
                                threads,
                                null)) {
            server.start();
            for (int i = 0; i < 3; i++) {
                assertEquals("", Wire.answer(server.port(), "fetch;nobody").text());
            }
            // It was said to be over with each connection, although none was served.
            assertEquals(1, heard.troubles().size(), () -> "said once: " + heard.troubles());
            // The acceptor paused for each, as if nobody could be accepted.
            long start = System.nanoTime();
            for (int i = 0; i < 15; i++) {
                Wire.answer(server.port(), "fetch;nobody");
            }
            assertTrue(Waiting.millisSince(start) < 1_200, "the acceptor pauses");
            assertTrue(heard.troubles().get(0).startsWith("Cannot accept connections: "));
            threads.stackSize(0);
            Waiting.eventually(
                    "it serves again", () -> Wire.answer(server.port(), "fetch;nobody").whole());
            assertEquals("Connections are accepted again.", heard.troubles().getLast());
            Listener.Conversation served = heard.of("nobody");
            assertEquals("conversation-" + served.number, heard.thread(served).getName());
        }
    }

    @Test
    @EnabledOnOs(OS.LINUX)
    void aServerWhoseReadyLineNobodyGetsEnds() throws Exception {
        List<String> command = ServerProcess.command(folder.resolve("messages.db"));
        command.addAll(0, List.of("bash", "-c", "exec \"$@\" >/dev/full", "bash"));
        try (ServerProcess server = new ServerProcess(command)) {
            assertEquals(1, server.awaitExit(Duration.ofSeconds(15)));
            assertEquals("Not all output could be written.\n", server.errors());
        }
    }

    /** {@code LC_ALL=ar_EG.UTF-8} printed a port that whoever waited for it could not read. */
    @ParameterizedTest
    @CsvSource({"ar, EG", "fa, IR", "tr, TR", "de, DE"})
    void programsCanReadWhatBothProgramsPrintInEveryLocale(String language, String country)
            throws Exception {
        String store = folder.resolve("messages.db").toString();
        try (ServerProcess server =
                new ServerProcess(
                        inLocale(language, country, "MsgServer", "0", "--store", store))) {
            int port = server.port();
            Path input = Files.writeString(folder.resolve("in"), "1\nbob\nhi\n2\n3\n");
            List<String> arguments = List.of("127.0.0.1", "" + port, "--user", "bob");
            Process client =
                    new ProcessBuilder(
                                    inLocale(
                                            language,
                                            country,
                                            "MsgClient",
                                            arguments.toArray(String[]::new)))
                            .redirectInput(input.toFile())
                            .redirectErrorStream(true)
                            .start();
            String answer = new String(client.getInputStream().readAllBytes());
            assertTrue(answer.contains("\n   1. bob: hi\n"), answer);
            Waiting.eventually("both are logged", () -> server.output().contains("1 message"));
            server.signal("TERM");
            server.awaitExit(Duration.ofSeconds(15));
            String output = server.output();
            assertTrue(output.contains("Listening on port " + port + "\n"), output);
            assertTrue(output.contains("\nThat is a file of 0.1M, "), output);
            assertTrue(
                    output.matches("(?s).*  fetch bob  ->  1 message  \\d+\\.\\d ms  .*"), output);
            assertTrue((answer + output).chars().allMatch(c -> c < 0x7f), answer + output);
        }
    }

    /** As in that locale, which need not be installed. */
    private static List<String> inLocale(
            String language, String country, String main, String... arguments) {
        List<String> command = ServerProcess.java(main, arguments);
        command.addAll(
                command.indexOf("-cp"),
                List.of("-Duser.language=" + language, "-Duser.country=" + country));
        return command;
    }

    @Test
    @EnabledOnOs(OS.LINUX)
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
                    server.output().contains("\nRoom for 8") && server.output().contains("(-Xmx)"),
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
        assertTrue(Limits.of(Duration.ofSeconds(10), true).connections() <= limits.connections());
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
