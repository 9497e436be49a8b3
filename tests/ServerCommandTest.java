///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the server's command: options, output, exit codes
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/ServerProcess.java
//SOURCES support/Transport.java
//SOURCES support/Waiting.java
//SOURCES support/Wire.java
//SOURCES ../MsgServer.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.BindException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.NetworkInterface;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * {@link ServerCommand} through picocli's writers, and as a process where a process behaves
 * differently.
 */
class ServerCommandTest {
    @TempDir private Path folder;

    /**
     * Runs the command with a new home, like a user who types it, until {@link #stop} interrupts
     * it.
     */
    private final class Command implements AutoCloseable {
        final StringWriter out = new StringWriter();
        final StringWriter err = new StringWriter();
        private final CompletableFuture<Integer> exit = new CompletableFuture<>();
        private final Thread main;

        Command(String... arguments) {
            var line = Program.commandLine(new ServerCommand(folder), "MsgServer.java");
            line.setOut(new PrintWriter(out, true)).setErr(new PrintWriter(err, true));
            main = Thread.ofPlatform().daemon().start(() -> exit.complete(line.execute(arguments)));
        }

        /** Waits for the exit code; {@link #out} and {@link #err} are complete then. */
        int exit() throws Exception {
            return exit.get(60, TimeUnit.SECONDS);
        }

        int port() throws Exception {
            Pattern hint = Pattern.compile("jbang MsgClient\\.java \\S+ \\d+\\R"); // a whole line
            Waiting.eventually(
                    "the server is ready: " + err,
                    () -> exit.isDone() || hint.matcher(out.toString()).find());
            List<String> lines = out.toString().lines().toList();
            assertFalse(exit.isDone(), () -> "the server ended: " + err);
            assertTrue(lines.getFirst().matches("Listening on port [0-9]+"), lines.toString());
            return Integer.parseInt(lines.getFirst().substring("Listening on port ".length()));
        }

        int stop() {
            main.interrupt();
            return exit.orTimeout(30, TimeUnit.SECONDS).join();
        }

        /** Waits for {@code count} lines of requests and returns them. */
        List<String> log(int count) throws Exception {
            Waiting.eventually(
                    count + " lines in the log: " + out,
                    () -> out.toString().lines().filter(l -> l.contains("->")).count() >= count);
            return out.toString().lines().filter(l -> l.contains("->")).toList();
        }

        @Override
        public void close() {
            stop();
        }
    }

    @Test
    void theFirstLineIsThePortAndTheSecondIsTheStore() throws Exception {
        try (Command command = new Command("0")) {
            int port = command.port();
            assertEquals(Wire.EMPTY, Wire.ask(port, "fetch;nobody"));
            command.log(1); // the server logs a request only after all lines of its start
            List<String> lines = command.out.toString().lines().toList();
            assertEquals("Listening on port " + port, lines.get(0));
            Path store = folder.toRealPath().resolve(".msg-server").resolve("messages.db");
            assertEquals("Messages are kept in " + store, lines.get(1));
            assertEquals("The file takes 0.1M, without a limit (--max-size)", lines.get(2));
            assertTrue(Files.exists(store));
            Set<String> hints = new HashSet<>();
            for (NetworkInterface card : NetworkInterface.networkInterfaces().toList()) {
                card.inetAddresses()
                        .filter(a -> !a.isLoopbackAddress() && !a.isLinkLocalAddress())
                        .forEach(a ->
                                hints.add(
                                        "On another machine: "
                                                + Program.started("MsgClient.java")
                                                + " "
                                                + a.getHostAddress().replaceFirst("%.*", "")
                                                + " "
                                                + port));
            }
            if (hints.isEmpty()) {
                hints.add(
                        "On this machine only: "
                                + Program.started("MsgClient.java")
                                + " 127.0.0.1 "
                                + port);
            }
            assertEquals(hints, Set.copyOf(lines.subList(3, 3 + hints.size())));
        }
    }

    @Test
    void theServerEndsWithAGoodbyeAndLeavesOneFile() throws Exception {
        Command command = new Command("0", "--store", folder.resolve("class.db").toString());
        assertEquals(Wire.STORED, Wire.ask(command.port(), "store;bob;al;hi"));
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
    void theServerBindsOneAddressAndPrintsTheClientsCommand(String address) throws Exception {
        try (ServerSocket probe = new ServerSocket(0, 1, InetAddress.getByName(address))) {
            assertTrue(probe.isBound());
        } catch (BindException e) {
            Assumptions.abort("this machine has no " + address);
        }
        try (Command command = new Command("0", "--bind", address)) {
            int port = command.port();
            String hint = command.out.toString().lines().toList().get(3);
            String prefix = "On this machine only: " + Program.started("MsgClient.java") + " ";
            assertTrue(hint.startsWith(prefix), hint);
            String host = hint.substring(prefix.length()).replaceFirst(" .*", "");
            try (Wire wire = new Wire(Transport.PLAIN, new InetSocketAddress(host, port), 0)) {
                assertEquals(Wire.EMPTY, wire.send("fetch;nobody\n").receive(), hint);
            }
            String other = address.equals("::1") ? "127.0.0.1" : "127.0.0.2";
            assertThrows(
                    ConnectException.class,
                    () -> new Wire(Transport.PLAIN, new InetSocketAddress(other, port), 0).close());
        }
    }

    @Test
    void eachRequestIsLoggedInOneLineWithoutItsText() throws Exception {
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
            // A log in a file is kept over days and a change to winter time, so its lines have the
            // date and the offset from UTC.
            String start =
                    "\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d\\.\\d{3}[+-]\\d\\d:\\d\\d  #%d "
                            + " 127\\.0\\.0\\.1:\\d+  ";
            String end = "  \\d+\\.\\d ms  virtual";
            assertMatches(
                    start.formatted(1) + "store to bob from al  ->  stored" + end, log.get(0));
            assertMatches(start.formatted(2) + "fetch bob  ->  1 message" + end, log.get(1));
            assertMatches(start.formatted(3) + "fetch nobody  ->  no such name" + end, log.get(2));
            assertMatches(
                    start.formatted(4) + "-  ->  Message declined\\. Bad verb" + end, log.get(3));
            assertFalse(command.out.toString().contains("secret"));
            assertEquals("", command.err.toString());
        }
    }

    @Test
    void loggedNamesCannotHurtATerminal() throws Exception {
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
                                    "store to \"\\u202egnp.exe\\u202c\" from \"\\u2066al\\u2069\" "
                                            + " ->"),
                    log.get(0));
            assertTrue(log.get(1).contains("fetch \"a\\tb\\u2028c\"  ->"), log.get(1));
            assertTrue(log.get(2).contains("-  ->  Message declined. Control characters"));
            assertTrue(
                    command.out
                            .toString()
                            .codePoints()
                            .noneMatch(c -> c != '\n' && c != '\r' && Character.isISOControl(c)));
        }
    }

    private static void assertMatches(String pattern, String line) {
        assertTrue(line.matches(pattern), line + "\n does not match " + pattern);
    }

    @Test
    void quietMeansNoLineForEachRequest() throws Exception {
        Command command = new Command("0", "--quiet");
        int port = command.port();
        assertEquals(Wire.STORED, Wire.ask(port, "store;bob;al;hi"));
        assertEquals(0, command.stop());
        assertFalse(command.out.toString().contains("->"), command.out.toString());
    }

    @Test
    void theTimeoutOptionSetsTheDeadlineOfARequest() throws Exception {
        try (Command command = new Command("0", "--timeout", "1");
                Wire wire = new Wire(command.port())) {
            long start = System.nanoTime();
            assertEquals(Wire.TIMED_OUT, wire.receive());
            assertTrue(
                    Waiting.millisSince(start) < 5_000,
                    "was " + Waiting.millisSince(start) + " ms");
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
                "0 --max-size 0M|--max-size must be a number of MB or GB",
                "0 --max-size 500|--max-size must be a number of MB or GB",
                "0 --max-size 500MB|--max-size must be a number of MB or GB",
                "0 --max-size -1M|--max-size must be a number of MB or GB",
                "0 --max-size 1.5G|--max-size must be a number of MB or GB",
                "0 --max-size 9999999G|--max-size must be a number of MB or GB",
                "0 --store jdbc:postgresql://h/db --max-size 1G|--max-size is for files only",
                "|PORT"
            })
    void wrongUsageIsReportedAndExitsWith2(String arguments, String said) throws Exception {
        Command command = new Command(arguments == null ? new String[0] : arguments.split(" "));
        assertEquals(2, command.exit());
        List<String> lines = command.err.toString().lines().toList();
        assertEquals(2, lines.size(), lines.toString());
        assertTrue(lines.get(0).contains(said), lines.get(0));
        assertEquals("All options: " + Program.started("MsgServer.java") + " --help", lines.get(1));
        assertEquals("", command.out.toString());
        assertFalse(Files.exists(folder.resolve(".msg-server")), "wrong usage creates a store");
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
            assertFalse(sentence.contains("AirPlay"), "AirPlay uses only port 5000: " + sentence);
            assertTrue(sentence.endsWith("jbang MsgServer.java 5000"), sentence);
            assertEquals("", command.out.toString());
            Path store = folder.resolve(".msg-server");
            try (Stream<Path> files = Files.list(store)) {
                assertEquals(List.of(store.resolve("messages.db")), files.toList());
            }
        }
    }

    @Test
    void anAddressOfAnotherMachineIsReported() throws Exception {
        Command command = new Command("0", "--bind", "203.0.113.1");
        assertEquals(1, command.exit());
        String sentence = command.err.toString().strip();
        assertEquals(1, sentence.lines().count(), sentence);
        assertTrue(sentence.contains("203.0.113.1"), sentence);
        assertFalse(sentence.contains("AirPlay"), "the sentence blames the port: " + sentence);
    }

    @Test
    void aForeignFileInPlaceOfTheStoreIsReported() throws Exception {
        Path thesis = Files.writeString(folder.resolve("thesis.txt"), "A thesis. ".repeat(900));
        Command command = new Command("0", "--store", thesis.toString());
        assertEquals(1, command.exit());
        String sentence = command.err.toString().strip();
        assertTrue(sentence.startsWith("Cannot keep messages in " + thesis.toRealPath()));
        assertEquals(1, sentence.lines().count(), sentence);
        assertEquals("", command.out.toString());
    }

    // ---------------------------------------------------------------- as a process

    @Test
    void missingArgumentsComeFromTheEnvironment() throws Exception {
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
    @EnabledOnOs(OS.LINUX)
    void aServerThatCannotPrintItsReadyLineEnds() throws Exception {
        List<String> command = ServerProcess.command(folder.resolve("messages.db"));
        command.addAll(0, List.of("bash", "-c", "exec \"$@\" >/dev/full", "bash"));
        try (ServerProcess server = new ServerProcess(command)) {
            assertEquals(1, server.awaitExit());
            assertEquals("Not all output could be written.\n", server.errors());
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
                    "the log has the line: " + server.output(),
                    () -> server.output().contains("store to Κυριάκος from \"γιαγιά 👵\"  ->"));
        }
    }
}
