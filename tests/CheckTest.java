///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the conformance check: which programs pass, and how it reports planted faults
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/ClassicServer.java
//SOURCES support/Fault.java
//SOURCES support/PythonPrograms.java
//SOURCES support/ServerProcess.java
//SOURCES ../MsgClient.java
//SOURCES ../conformance/Check.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.EnabledIf;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;

/**
 * Runs the conformance check against correct programs, and against Python programs with planted
 * faults. Each faulty program must fail exactly the cases that its faults break.
 */
@DisabledOnOs(OS.WINDOWS) // The commands need a POSIX shell.
@Order(3) // long test classes start first
class CheckTest {
    private static final int SERVER_CASES = 75;
    private static final int CLIENT_CASES = 30;
    private static final String NO_PYTHON = "needs python3, 3.10 or newer, on the PATH";

    private static final String ALIKE = "These failed alike; the first has its FAIL line above:\n";
    private static final String LEAVES =
            "The check leaves more than 400 messages, each time in new mailboxes: give the server a"
                    + " separate store.\n";

    @TempDir static Path folder;

    /** Output and exit code of a check. */
    private record Outcome(int exit, String out, String err) {
        /** The output line that begins with {@code start}. */
        String line(String start) {
            return out.lines().filter(line -> line.startsWith(start)).findFirst().orElse(out);
        }

        /** The last line, which contains the counts. */
        String last() {
            return out.lines().toList().getLast();
        }

        void passes(int cases) {
            assertEquals(cases + " passed, 0 failed", last(), out);
            assertEquals("", err);
            assertEquals(0, exit);
        }

        /**
         * Asserts one FAIL line for each fault that breaks a case. If a fault breaks several cases,
         * one list must name all of them.
         */
        void reportsFaults(List<Fault> faults, int cases) {
            List<String> expected = new ArrayList<>();
            int failed = 0;
            int listed = 0;
            for (Fault fault : faults) {
                failed += fault.breaks.size();
                if (!fault.breaks.isEmpty()) {
                    String first = fault.breaks.getFirst();
                    assertTrue(line("FAIL " + first + ": ") != out, first + " in " + out);
                    expected.add(first);
                }
                if (fault.breaks.size() > 1) {
                    listed += fault.breaks.size();
                    String list = ALIKE + "     " + String.join("\n     ", fault.breaks) + "\n";
                    assertTrue(out.contains(list), list + " in " + out);
                }
            }
            assertEquals(
                    expected.size(), out.lines().filter(l -> l.startsWith("FAIL ")).count(), out);
            assertEquals(listed, out.lines().filter(l -> l.matches(" {5}\\S.*")).count(), out);
            assertFalse(out.contains("%d") || out.contains("%s"), out);
            int passed = cases - failed;
            if (out.contains("\nThe check stops here: correct this fault first.\n")) {
                passed = (int) out.lines().filter(l -> l.startsWith("ok ")).count();
            }
            assertEquals(passed + " passed, " + failed + " failed", last(), out);
            assertEquals("", err);
            assertEquals(failed == 0 ? 0 : 1, exit);
        }
    }

    private static Outcome check(String... arguments) {
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        int exit =
                Check.commandLine(new PrintWriter(out, true), new PrintWriter(err, true))
                        .execute(arguments);
        return new Outcome(exit, out.toString(), err.toString());
    }

    private static Outcome check(List<String> first, List<String> then) {
        List<String> all = new ArrayList<>(first);
        all.addAll(then);
        return check(all.toArray(String[]::new));
    }

    private static String shellCommand(List<String> words) {
        return words.stream()
                .map(word -> "'" + word.replace("'", "'\\''") + "'")
                .collect(Collectors.joining(" ", "exec ", ""));
    }

    // ---------------------------------------------------------------- programs that are right

    /** A check mostly waits, so the long checks run in parallel. */
    private static final ExecutorService BESIDE = Executors.newFixedThreadPool(12);

    private static Future<Outcome> ourServer;
    private static Future<Outcome> ourClient;
    private static final Map<List<Fault>, Future<Outcome>> SERVERS = new HashMap<>();
    private static final Map<List<Fault>, Future<Outcome>> CLIENTS = new HashMap<>();

    @BeforeAll
    static void checkAll() {
        List<String> command = ServerProcess.java("MsgServer", "{port}", "--bind", "127.0.0.1");
        command.addAll(List.of("--store", folder.resolve("ours.db").toString(), "--timeout", "2"));
        ourServer =
                BESIDE.submit(
                        () -> check("server", "--timeout", "2", "--run", shellCommand(command)));
        ourClient = BESIDE.submit(() -> check(List.of("client"), ServerProcess.java("MsgClient")));
        if (PythonPrograms.available()) {
            for (List<Fault> faults : Fault.servers()) {
                SERVERS.put(faults, BESIDE.submit(() -> checkedServer(faults)));
            }
            for (List<Fault> faults : Fault.clients()) {
                CLIENTS.put(faults, BESIDE.submit(() -> checkedClient(faults)));
            }
        }
    }

    @AfterAll
    static void end() {
        BESIDE.shutdownNow();
    }

    @Test
    void ourServerPasses() throws Exception {
        ourServer.get().passes(SERVER_CASES);
    }

    @Test
    void ourClientPasses() throws Exception {
        ourClient.get().passes(CLIENT_CASES);
    }

    @Test
    void theWholeCheckReportsTheFaultsOfTheClassicServer() throws Exception {
        try (ClassicServer server = new ClassicServer()) {
            String port = Integer.toString(server.port());
            Outcome outcome =
                    check("server", "127.0.0.1", port, "--only", "a message keeps its `;`");
            assertEquals(1, outcome.exit());
            assertTrue(
                    outcome.out()
                            .matches(
                                    LEAVES
                                            + "FAIL a message keeps its `;`: sent"
                                            + " \"store;\\w+;al;one;two;;three;\" and the end of"
                                            + " input, then \"fetch;\\w+\" and the end of input;"
                                            + " got \"Retrieving"
                                            + " messages...\\\\n\\w+;al;one\\\\nNO MORE MESSAGES\";"
                                            + " the protocol says: \"Retrieving"
                                            + " messages...\\\\n\\w+;al;one;two;;three;\\\\nNO MORE"
                                            + " MESSAGES\\\\n\", since \"The message is all text"
                                            + " after the third ;, kept as it is, further ;"
                                            + " included.\"\n"
                                            + "0 passed, 1 failed\n"),
                    outcome.out());
        }
    }

    @Test
    void caseThatNeedsAKillIsReportedAsNotAsked() throws Exception {
        try (ClassicServer server = new ClassicServer()) {
            assertEquals(
                    LEAVES
                            + "Not run: an acknowledged message survives kill -9; it needs"
                            + " --run, which kills the server\n"
                            + "0 passed, 0 failed\n",
                    check("server", "127.0.0.1", "" + server.port(), "--only", "survives").out());
        }
    }

    // ---------------------------------------------------------------- the command

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "server",
                "server 127.0.0.1",
                "server 127.0.0.1 x",
                "server 127.0.0.1 0",
                "server 127.0.0.1 65536",
                "server 127.0.0.1 5000 --timeout 0",
                "server no.such.host.invalid 5000",
                "server --run ./server",
                "server 127.0.0.1 5000 --run {port}",
                "client",
                "client --patience 0 sh",
                "sever 127.0.0.1 5000"
            })
    void wrongUsageIsOneSentenceAndExitCode2(String arguments) {
        Outcome outcome = check(arguments.isEmpty() ? new String[0] : arguments.split(" "));
        assertEquals(2, outcome.exit());
        assertEquals("", outcome.out());
        assertEquals(2, outcome.err().lines().count(), outcome.err());
        assertTrue(outcome.err().endsWith("\nAll options: ./jbang check --help\n"), outcome.err());
    }

    @Test
    void theHelpDescribesBothCommandsInNarrowLines() {
        String help = check("--help").out();
        assertTrue(help.contains("\n  client  Runs COMMAND HOST PORT against "), help);
        assertTrue(help.contains("\n  ./jbang check client python3 client.py\n"), help);
        assertTrue(help.contains("\nUsage: ./jbang check ["), help);
        for (String examples : help.split("\n\n")[0].split("\n")) {
            assertTrue(examples.matches("Examples:|  \\./jbang check .*"), help);
        }
    }

    @Test
    void theHelpWarnsThatMessagesStayInTheStore() {
        String help = check("server", "--help").out().replaceAll("\\s+", " ");
        assertTrue(help.contains(LEAVES.strip()), help);
    }

    @Test
    void eachRuleIsQuotedFromTheReadme() throws Exception {
        String readme = plain(Files.readString(TestMain.checkout().resolve("README.md")));
        for (Rule rule : Rule.values()) {
            assertTrue(readme.contains(plain(rule.quote)), rule.name() + ": " + rule.quote);
        }
    }

    /** {@code markdown} without emphasis and line breaks. */
    private static String plain(String markdown) {
        return markdown.replaceAll("[*`]", "").replaceAll("\\s+", " ");
    }

    @Test
    void casesAreListedAsAlikeOnlyIfTheyShareARuleOrAReply() throws Exception {
        // In an earlier version the third case was listed below the first case, although the two
        // cases share no rule and no reply.
        StringWriter out = new StringWriter();
        Case.Report report = new Case.Report(new PrintWriter(out, true), "");
        report.passes(failing("one", "rule 1", "reply 1"));
        report.passes(failing("two", "rule 2", "reply 1"));
        report.passes(failing("three", "rule 2", "reply 2"));
        report.end();
        assertEquals(
                "FAIL one: sent a; got b; the protocol says: c\n"
                        + "FAIL three: sent a; got b; the protocol says: c\n"
                        + ALIKE
                        + "     one\n"
                        + "     two\n"
                        + "0 passed, 3 failed\n",
                out.toString());
    }

    private static Case failing(String name, String... faults) {
        return new Case(
                name,
                () -> {
                    throw new Case.Difference("a", "b", "c", faults);
                });
    }

    @Test
    void missingServerOrClientIsReportedInOneSentence() {
        // Only root could listen on port 1 of loopback, and no program does.
        assertEquals(
                new Outcome(1, "", "Nobody listens on 127.0.0.1 port 1.\n"),
                check("server", "127.0.0.1", "1"));
        Outcome noCommand = check("client", "./no-such-client", "--fast");
        assertEquals(1, noCommand.exit());
        assertEquals("", noCommand.out());
        assertTrue(
                noCommand.err().matches("Cannot run program \"./no-such-client\".*\n"),
                noCommand.err());
    }

    @Test
    void onlyWithAnUnknownCaseNameIsWrongUsage() {
        assertEquals(
                new Outcome(
                        2,
                        "",
                        "--only: no case has \"juggle\" in its name\n"
                                + "All options: ./jbang check --help\n"),
                check("client", "--only", "juggle", "echo"));
    }

    @Test
    void aServerThatDoesNotStartIsReportedWithItsOutput() {
        Outcome outcome = check("server", "--run", "echo no such door; exit 3 # {port}");
        assertEquals(1, outcome.exit());
        assertTrue(outcome.err().startsWith("The server does not listen on port "), outcome.err());
        assertTrue(outcome.err().endsWith("\n    no such door\n"), outcome.err());
    }

    @Test
    void optionsAfterTheClientsCommandAreTheClients() {
        Outcome outcome = check("client", "--only", "has an end", "echo", "--patience", "x");
        assertEquals(1, outcome.exit());
        assertTrue(
                outcome.out()
                        .contains(
                                "; got no request (it printed \"--patience x 127.0.0.1"
                                        + " PORT\\n\", exit code 0); the protocol says: \"The"
                                        + " request ends at LF "),
                outcome.out());
    }

    // ---------------------------------------------------------------- in another language

    private static Outcome checkedServer(List<Fault> faults) throws Exception {
        List<String> command = PythonPrograms.command(planted("server.py", faults));
        String mail = Files.createTempFile(folder, "mail", "").toString();
        command.addAll(List.of("{port}", mail, "2"));
        return check("server", "--timeout", "2", "--run", shellCommand(command));
    }

    private static Outcome checkedClient(List<Fault> faults) throws Exception {
        Path script = planted("client.py", faults);
        return check(List.of("client", "--patience", "12"), PythonPrograms.command(script));
    }

    private static Path planted(String name, List<Fault> faults) throws Exception {
        Path script = PythonPrograms.copy(name, folder);
        for (Fault fault : faults) {
            PythonPrograms.plant(script, fault.right, fault.wrong);
        }
        return script;
    }

    @Nested
    @EnabledIf(value = "PythonPrograms#available", disabledReason = NO_PYTHON)
    class InAnotherLanguage {

        @ParameterizedTest
        @MethodSource("Fault#servers")
        void eachFaultOfAServerIsReportedInOneLine(List<Fault> faults) throws Exception {
            SERVERS.get(faults).get().reportsFaults(faults, SERVER_CASES);
        }

        @ParameterizedTest
        @MethodSource("Fault#clients")
        void eachFaultOfAClientIsReportedInOneLine(List<Fault> faults) throws Exception {
            CLIENTS.get(faults).get().reportsFaults(faults, CLIENT_CASES);
        }

        private static Outcome endOfARequest(String instead) throws Exception {
            Path script = PythonPrograms.copy("client.py", folder);
            PythonPrograms.plant(script, "        server.shutdown(socket.SHUT_WR)", instead);
            List<String> only = List.of("client", "--only", "a request has an end");
            return check(only, PythonPrograms.command(script));
        }

        @Test
        void aRequestThatNeverEndsIsReportedAsItArrived() throws Exception {
            String line =
                    endOfARequest(
                                    "        __import__('time').sleep(0.4)\n"
                                            + "        server.sendall(b' or not')")
                            .line("FAIL");
            assertTrue(
                    line.contains(
                            "; got [\"store;Kyriakos;george;hi or not\" in 2 pieces without an"
                                    + " end]; the protocol says: \"The request ends at LF "),
                    line);
        }

        @Test
        void aRequestEndedBySilencePassesWithANote() throws Exception {
            Outcome outcome = endOfARequest("        pass");
            outcome.passes(1);
            assertTrue(
                    outcome.out()
                            .startsWith("ok   a request has an end; note: 1 s of silence ends it."),
                    outcome.out());
        }

        @Test
        void theReportQuotesRequestReplyAndProtocol() throws Exception {
            assertEquals(
                    "FAIL the server closes after a store: sent \"store;NAME;al;hi\" and the end of"
                        + " input; got \"Message accepted and stored:\\n\", and the connection"
                        + " stayed open; the protocol says: \"The server sends one reply, ends each"
                        + " line with LF, and closes.\"",
                    told(Fault.NEVER_CLOSES).replaceFirst("store;\\w+", "store;NAME"));
            String order = told(Fault.SORTS_A_MAILBOX);
            assertTrue(
                    order.matches(
                            ".*; got \"\\w+;al;a\" as number 1, \"\\w+;al;b\" as number 2,"
                                    + " \"\\w+;al;c\" as number 3; the protocol says: .*"),
                    order);
            String cut = told(Fault.CUTS_THE_MESSAGE_AT_A_SEMICOLON);
            assertTrue(
                    cut.contains(
                            " got [\"store;Kyriakos;george;one\"]; the protocol says:"
                                + " [\"store;Kyriakos;george;one;two;;three;  four\"], since \"The"
                                + " message is all text after the third ;, kept as it is, further ;"
                                + " included.\""),
                    cut);
            String crash = told(Fault.CRASHES_WITHOUT_A_SERVER);
            assertTrue(crash.contains("; got a crash: \"Name: "), crash);
            assertTrue(crash.contains(" and on stderr \"Traceback "), crash);
            String ever = told(Fault.WAITS_FOR_EVER);
            assertTrue(
                    ever.endsWith(
                            ", and did not end (see --patience); the protocol says: \"and"
                                    + " closes. The client reads to the close.\"; a client gives up"
                                    + " on a server that does not close"),
                    ever);
        }

        @Test
        void aBrokenTimeoutIsNamedWithItsOption() throws Exception {
            // In an earlier version the sentence contained a literal "here %d s".
            String late = told(Fault.HAS_NO_DEADLINE);
            assertTrue(
                    late.endsWith("says: \"not complete within the timeout\" (see --timeout)"),
                    late);
        }

        @Test
        void aRefusedFetchIsExplainedByASentenceAboutFetching() throws Exception {
            // In an earlier version the sentence explained "Message accepted and stored:" instead.
            String refused = told(Fault.HIDES_THE_REASON_FROM_A_READER);
            assertTrue(refused.contains("; a fetch is refused in a line "), refused);
            assertFalse(refused.contains("stored"), refused);
        }

        @Test
        void aServerThatEndsIsShownWithItsExitCodeAndItsLastLines() throws Exception {
            // In an earlier version the report contained only "Connection refused".
            String out = SERVERS.get(List.of(Fault.ENDS_AT_A_RESET)).get().out();
            assertTrue(
                    out.contains(
                            "; the server process ended, exit code 3, and on stderr:\n"
                                    + "    cannot go on\n"),
                    out);
        }

        private static String told(Fault fault) throws Exception {
            Map<List<Fault>, Future<Outcome>> all = new HashMap<>(SERVERS);
            all.putAll(CLIENTS);
            for (List<Fault> faults : all.keySet()) {
                if (faults.contains(fault)) {
                    return all.get(faults).get().line("FAIL " + fault.breaks.getFirst());
                }
            }
            throw new AssertionError(fault + " is planted in no program");
        }
    }
}
