///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the conformance check: who passes, and what it says of planted mistakes
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/ClassicServer.java
//SOURCES support/PythonPrograms.java
//SOURCES support/ServerProcess.java
//SOURCES ../MsgClient.java
//SOURCES ../conformance/Check.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
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
 * The conformance check against programs that are right, and against the same programs with one
 * line changed: then it must fail in the cases that the line is about, and in no other.
 */
@DisabledOnOs(OS.WINDOWS) // the commands are a shell's
@Order(4) // it takes long
class CheckTest {
    private static final int SERVER_CASES = 74;
    private static final int CLIENT_CASES = 30;
    private static final String NO_PYTHON = "needs python3, 3.10 or newer, on the PATH";

    @TempDir static Path folder;

    /** What a check printed, and its exit code. */
    private record Outcome(int exit, String out, String err) {
        /** The line that begins so. */
        String line(String start) {
            return out.lines().filter(line -> line.startsWith(start)).findFirst().orElse(out);
        }

        /** The last line, which counts. */
        String last() {
            return out.lines().toList().getLast();
        }

        void passes(int cases) {
            assertEquals(cases + " passed, 0 failed", last(), out);
            assertEquals("", err);
            assertEquals(0, exit);
        }

        /** Each fault is told in one line; what fails with it is named once, in another. */
        void tells(List<Fault> faults, int cases) {
            List<String> expected = new ArrayList<>();
            int failed = 0;
            for (Fault fault : faults) {
                failed += fault.breaks.size();
                if (!fault.breaks.isEmpty()) {
                    String first = fault.breaks.getFirst();
                    assertTrue(line("FAIL " + first + ": ") != out, first + " in " + out);
                    expected.add(first);
                    String others = String.join("; ", fault.breaks.subList(1, fault.breaks.size()));
                    String with = "Fails with \"" + first + "\": ";
                    assertEquals(others.isEmpty() ? out : with + others, line(with));
                }
            }
            assertEquals(
                    expected.size(), out.lines().filter(l -> l.startsWith("FAIL ")).count(), out);
            int passed = cases - failed;
            if (out.contains("\nNothing else is asked before that is right.\n")) {
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

    /** The long checks run beside each other, since a check waits most of the time. */
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
            for (List<Fault> faults : servers()) {
                SERVERS.put(faults, BESIDE.submit(() -> checkedServer(faults)));
            }
            for (List<Fault> faults : clients()) {
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
    void ofTheClassicServerTheWholeCheckSaysWhatItCannotDo() throws Exception {
        try (ClassicServer server = new ClassicServer()) {
            String port = Integer.toString(server.port());
            Outcome outcome =
                    check("server", "127.0.0.1", port, "--only", "a message keeps its `;`");
            assertEquals(1, outcome.exit());
            assertTrue(
                    outcome.out()
                            .matches(
                                    "FAIL a message keeps its `;`: sent"
                                        + " \"store;\\w+;al;one;two;;three;\" and the end of input,"
                                        + " then \"fetch;\\w+\" and the end of input; came"
                                        + " \"Retrieving messages...\\\\n\\w+;al;one\\\\nNO MORE"
                                        + " MESSAGES\"; the protocol says: \"Retrieving"
                                        + " messages...\\\\n\\w+;al;one;two;;three;\\\\nNO MORE"
                                        + " MESSAGES\\\\n\", since \"The message is all that"
                                        + " follows the third `;`, kept as it is\"\n"
                                        + "0 passed, 1 failed\n"),
                    outcome.out());
        }
    }

    @Test
    void whatOnlyAKillTellsIsSaidToBeUnasked() throws Exception {
        try (ClassicServer server = new ClassicServer()) {
            assertEquals(
                    "Not asked: an acknowledged message survives kill -9; that takes --run, which"
                            + " kills the server\n"
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
        assertTrue(outcome.err().endsWith("\nAll options: jbang check --help\n"), outcome.err());
    }

    @Test
    void whereNothingIsToCheckOneSentenceSaysSo() {
        // Port 1 of loopback: nobody but root could listen there, and nobody does.
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
    void aTextThatNoCaseHasInItsNameIsWrongUsage() {
        assertEquals(
                new Outcome(
                        2,
                        "",
                        "--only: no case has \"juggle\" in its name\n"
                                + "All options: jbang check --help\n"),
                check("client", "--only", "juggle", "echo"));
    }

    @Test
    void aServerThatDoesNotStartIsShownWithWhatItPrinted() {
        Outcome outcome = check("server", "--run", "echo no such door; exit 3 # {port}");
        assertEquals(1, outcome.exit());
        assertTrue(outcome.err().startsWith("The server does not listen on port "), outcome.err());
        assertTrue(outcome.err().contains("\nno such door\n"), outcome.err());
    }

    @Test
    void optionsAfterTheClientsCommandAreTheClients() {
        Outcome outcome = check("client", "--only", "has an end", "echo", "--patience", "x");
        assertEquals(1, outcome.exit());
        assertTrue(
                outcome.out()
                        .contains(
                                "; came no request (it printed \"--patience x 127.0.0.1"
                                        + " PORT\\n\", exit code 0); the protocol says: The request"
                                        + " ends at LF;"),
                outcome.out());
    }

    // ---------------------------------------------------------------- in another language

    /** A wrong line in a program that is right otherwise, and all the cases that it breaks. */
    enum Fault {
        // Of a server:
        READS_ONE_PIECE_ONLY(
                "if len(data) > MAX_BYTES + 1:",
                "if data:",
                "a request comes in pieces",
                "a character comes in pieces",
                "half a second in the middle does not cut a request",
                "pieces and the end of the sending side make a request",
                "one byte is no request",
                "pieces without an end are no request",
                "a client that drips bytes is not waited for longer"),
        WAITS_FOR_AN_END(
                "perhaps_whole = pieces == 1 and len(data) > 1",
                "perhaps_whole = False",
                "silence after one piece ends a request"),
        LETS_A_DRIPPING_CLIENT_GO_ON(
                "left = deadline - time.monotonic()",
                "left = TIMEOUT",
                "a client that drips bytes is not waited for longer"),
        HAS_NO_PATIENCE_THAT_ENDS(
                "deadline = time.monotonic() + TIMEOUT",
                "deadline = time.monotonic() + 3600",
                "a client that sends nothing is told that it timed out",
                "one byte is no request",
                "pieces without an end are no request",
                "a client that drips bytes is not waited for longer"),
        SERVES_ONE_AT_A_TIME(
                "threading.Thread(target=converse, args=(connection,), daemon=True).start()",
                "converse(connection)",
                "clients that are silent hold up nobody"),
        ENDS_AT_A_RESET(
                "        pass  # it has left",
                "        os._exit(1)",
                "clients that leave early harm nobody"),
        NEVER_CLOSES(
                "        client.shutdown(socket.SHUT_WR)",
                "        time.sleep(60)",
                "it closes after a store",
                "it closes after a fetch",
                "it closes after a refusal",
                "it closes although the client keeps its sending side open"),
        LEAVES_OUT_THE_LAST_LF(
                "client.sendall(reply.encode())",
                "client.sendall(reply.rstrip().encode())",
                "every line of a reply ends with LF"),
        ENDS_LINES_AS_WINDOWS_DOES(
                "client.sendall(reply.encode())",
                "client.sendall(reply.replace('\\n', '\\r\\n').encode())",
                "every line of a reply ends with LF"),
        WORDS_IT_ITS_OWN_WAY(
                "return \"Message accepted and stored:\\n\"",
                "return \"Message stored\\n\"",
                "what is stored is fetched"),
        SORTS_A_MAILBOX(
                "\"\\n\".join(mine)",
                "\"\\n\".join(sorted(mine))",
                "messages come in the order of acceptance"),
        TRIMS_WHAT_PYTHON_TRIMS(
                "name.strip(\" \\t\")",
                "name.strip()",
                "nothing else at the ends of names is dropped"),
        SPLITS_THE_MESSAGE(
                "line.split(\";\", 3)",
                "line.split(\";\")",
                "a message keeps its `;`",
                "a message may begin with `;`"),
        TRIMS_THE_MESSAGE(
                "    if not message:",
                "    message = message.strip()\n    if not message:",
                "a message keeps its spaces and tabs"),
        COUNTS_CHARACTERS(
                "    if len(data) > MAX_BYTES:",
                "    if len(data.decode(errors='replace')) > MAX_BYTES:",
                "bytes are counted, not characters"),
        TAKES_ANY_BYTES(
                "data.decode(\"utf-8\")",
                "data.decode(\"utf-8\", \"replace\")",
                "\"\\xff\" is refused",
                "\"\\xce\" is refused",
                "\"\\xc0\\x80\" is refused",
                "\"\\xed\\xa0\\x80\" is refused",
                "\"\\xf0\\x9f\\x98\" is refused",
                "the encoding is checked before the parts"),
        LOOKS_AT_THE_VERB_FIRST(
                "    if not recipient:",
                "    if verb not in (\"fetch\", \"store\"):\n"
                        + "        raise Refused(\"Message declined. Bad verb\")\n"
                        + "    if not recipient:",
                "\"bogus\" is answered \"No recipient\"",
                "\"STORE;\" is answered \"No recipient\""),
        ANSWERS_BEFORE_IT_HAS_STORED(
                "        kept.flush()\n        os.fsync(kept.fileno())",
                "        threading.Timer(0.5, kept.flush).start()",
                "an acknowledged message survives kill -9"),

        // Not wrong, but of another shape: a client that
        PRINTS_THE_REPLY_AS_IT_CAME(
                "    first, *messages = request(f\"fetch;{user}\").split(\"\\n\")",
                "    sys.stdout.write(request(f\"fetch;{user}\"))\n    return"),
        PRINTS_A_CLOCK(
                "print(\"Sent.\")",
                "print(\"Sent in\", __import__(\"time\").perf_counter(),"
                        + " __import__(\"time\").ctime())"),
        DRAWS_ITS_MENU_ANEW(
                "        choice = input(",
                "        print(\"\\033[2J\\033[H\", end=\"\")\n        choice = input("),

        // Of a client:
        WAITS_FOR_EVER(
                "timeout=5",
                "timeout=None",
                "a server that never replies is not waited for for ever",
                "a reply that stops in the middle is not waited for for ever",
                "a reply without a close is not waited for for ever"),
        TAKES_A_PIECE_FOR_A_REPLY(
                "        while piece := server.recv(4096):  # until the server closes: a piece is"
                        + " not a reply\n"
                        + "            reply += piece\n",
                "        reply = server.recv(4096)\n",
                "a mailbox of 2,000 messages is shown whole",
                "a reply in pieces is one reply",
                "a character in pieces is one character",
                "a message that reads like a last line does not end a mailbox"),
        STOPS_AT_NO_MORE(
                "            reply += piece\n",
                "            reply += piece\n            if b\"NO MORE\" in reply:\n"
                        + "                break\n",
                "a message that reads like a last line does not end a mailbox"),
        READS_EACH_PIECE_AS_TEXT(
                "            reply += piece\n",
                "            reply += piece.decode(errors='replace').encode()\n",
                "a character in pieces is one character"),
        CUTS_THE_MESSAGE_AT_A_SEMICOLON(
                "message = input(\"Text: \")",
                "message = input(\"Text: \").split(\";\")[0]",
                "a message goes out with its `;` and its spaces"),
        TRIMS_WHAT_IS_TYPED(
                "message = input(\"Text: \")",
                "message = input(\"Text: \").strip()",
                "a message goes out with the spaces at its ends"),
        CUTS_A_LONG_MESSAGE(
                "        print(\"That is too long.\")\n        return\n",
                "        line = line[:255]\n",
                "a message that is too long is not cut"),
        SENDS_WHAT_WINDOWS_SENDS(
                "server.sendall(line.encode(\"utf-8\"))",
                "server.sendall(line.encode(\"cp1253\", \"replace\"))",
                "text goes out as UTF-8"),
        HIDES_THE_SENDER("{sender} writes: ", "", "mail is shown, with who sent it"),
        HIDES_THE_REASON(
                "print(\"Not sent:\", reply or",
                "print(\"Not sent:\", \"for some reason\" or",
                "the refusal \"Could not be stored, try again later\" is shown",
                "the refusal \"Server is busy, try again later\" is shown",
                "the refusal \"Control characters\" is shown"),
        LEAVES_AFTER_A_REFUSAL(
                "        print(\"Not sent:\", reply or \"the connection was closed\")\n",
                "        sys.exit(\"Not sent: \" + reply)\n",
                "after a refusal the menu goes on"),
        TAKES_A_CUT_REPLY_FOR_A_WHOLE_ONE(
                "\"That is all.\" if whole else",
                "\"That is all.\" if True else",
                "a mailbox that was cut off is told from a whole one"),
        TELLS_IT_BY_A_CLOCK_ONLY(
                "print(\"That is all.\" if whole else \"The rest is missing.\")",
                "print(__import__(\"time\").ctime(), __import__(\"time\").time())",
                "a mailbox that was cut off is told from a whole one"),
        CRASHES_WITHOUT_A_SERVER(
                "except OSError as e:",
                "except TimeoutError as e:",
                "where no server is, the client says so"),
        BELIEVES_THAT_ALL_IS_STORED(
                "if reply == \"Message accepted and stored:\":",
                "if True:",
                "a message is stored only when the server says so",
                "the refusal \"Could not be stored, try again later\" is shown",
                "the refusal \"Server is busy, try again later\" is shown",
                "the refusal \"Control characters\" is shown");

        private final String right;
        private final String wrong;
        private final List<String> breaks;

        Fault(String right, String wrong, String... breaks) {
            this.right = right;
            this.wrong = wrong;
            this.breaks = List.of(breaks);
        }
    }

    /** What has nothing to do with each other is planted in one program: each must be told. */
    static List<List<Fault>> servers() {
        return List.of(
                List.of(),
                List.of(Fault.SERVES_ONE_AT_A_TIME, Fault.LOOKS_AT_THE_VERB_FIRST),
                List.of(Fault.READS_ONE_PIECE_ONLY, Fault.SORTS_A_MAILBOX),
                List.of(Fault.WAITS_FOR_AN_END, Fault.TAKES_ANY_BYTES, Fault.TRIMS_THE_MESSAGE),
                List.of(
                        Fault.LETS_A_DRIPPING_CLIENT_GO_ON,
                        Fault.TRIMS_WHAT_PYTHON_TRIMS,
                        Fault.ENDS_LINES_AS_WINDOWS_DOES),
                List.of(Fault.HAS_NO_PATIENCE_THAT_ENDS, Fault.COUNTS_CHARACTERS),
                List.of(Fault.NEVER_CLOSES, Fault.SPLITS_THE_MESSAGE),
                List.of(Fault.LEAVES_OUT_THE_LAST_LF, Fault.ANSWERS_BEFORE_IT_HAS_STORED),
                List.of(Fault.ENDS_AT_A_RESET),
                List.of(Fault.WORDS_IT_ITS_OWN_WAY));
    }

    /** Clients as {@link #servers()} are. */
    static List<List<Fault>> clients() {
        return List.of(
                List.of(),
                List.of(
                        Fault.PRINTS_THE_REPLY_AS_IT_CAME,
                        Fault.PRINTS_A_CLOCK,
                        Fault.DRAWS_ITS_MENU_ANEW),
                List.of(Fault.WAITS_FOR_EVER, Fault.TRIMS_WHAT_IS_TYPED, Fault.HIDES_THE_SENDER),
                List.of(
                        Fault.TAKES_A_PIECE_FOR_A_REPLY,
                        Fault.CUTS_THE_MESSAGE_AT_A_SEMICOLON,
                        Fault.LEAVES_AFTER_A_REFUSAL),
                List.of(
                        Fault.STOPS_AT_NO_MORE,
                        Fault.CUTS_A_LONG_MESSAGE,
                        Fault.TAKES_A_CUT_REPLY_FOR_A_WHOLE_ONE),
                List.of(
                        Fault.READS_EACH_PIECE_AS_TEXT,
                        Fault.HIDES_THE_REASON,
                        Fault.CRASHES_WITHOUT_A_SERVER),
                List.of(
                        Fault.SENDS_WHAT_WINDOWS_SENDS,
                        Fault.TELLS_IT_BY_A_CLOCK_ONLY,
                        Fault.BELIEVES_THAT_ALL_IS_STORED));
    }

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

        static List<List<Fault>> servers() {
            return CheckTest.servers();
        }

        static List<List<Fault>> clients() {
            return CheckTest.clients();
        }

        @ParameterizedTest
        @MethodSource("servers")
        void eachFaultOfAServerIsToldInOneLine(List<Fault> faults) throws Exception {
            SERVERS.get(faults).get().tells(faults, SERVER_CASES);
        }

        @ParameterizedTest
        @MethodSource("clients")
        void eachFaultOfAClientIsToldInOneLine(List<Fault> faults) throws Exception {
            CLIENTS.get(faults).get().tells(faults, CLIENT_CASES);
        }

        private static Outcome endOfARequest(String instead) throws Exception {
            Path script = PythonPrograms.copy("client.py", folder);
            PythonPrograms.plant(script, "        server.shutdown(socket.SHUT_WR)", instead);
            List<String> only = List.of("client", "--only", "a request has an end");
            return check(only, PythonPrograms.command(script));
        }

        @Test
        void aRequestThatNeverEndsIsToldAsItCame() throws Exception {
            String line =
                    endOfARequest(
                                    "        __import__('time').sleep(0.4)\n"
                                            + "        server.sendall(b' or not')")
                            .line("FAIL");
            assertTrue(
                    line.contains(
                            "; came [\"store;Kyriakos;george;hi or not\" in 2 pieces without an"
                                    + " end]; the protocol says: The request ends at LF; or when"),
                    line);
        }

        @Test
        void aRequestThatSilenceEndsIsRightAndNoted() throws Exception {
            Outcome outcome = endOfARequest("        pass");
            outcome.passes(1);
            assertTrue(
                    outcome.out()
                            .startsWith("ok   a request has an end; note: 1 s of silence ends it."),
                    outcome.out());
        }

        @Test
        void theSentenceSaysWhatWasSentWhatCameAndWhatTheProtocolSays() throws Exception {
            assertEquals(
                    "FAIL it closes after a store: sent \"store;NAME;al;hi\" and the end of input;"
                        + " came \"Message accepted and stored:\\n\", and the connection stayed"
                        + " open; the protocol says: The server sends one reply ... and closes.",
                    told(Fault.NEVER_CLOSES).replaceFirst("store;\\w+", "store;NAME"));
            String order = told(Fault.SORTS_A_MAILBOX);
            assertTrue(
                    order.matches(
                            ".*; came \"\\w+;al;a\" as number 1, \"\\w+;al;b\" as number 2,"
                                    + " \"\\w+;al;c\" as number 3; the protocol says: .*"),
                    order);
            String cut = told(Fault.CUTS_THE_MESSAGE_AT_A_SEMICOLON);
            assertTrue(
                    cut.contains(
                            " came [\"store;Kyriakos;george;one\"]; the protocol says:"
                                + " [\"store;Kyriakos;george;one;two;;three;  four\"], since \"The"
                                + " message is ... kept as it is, further `;` included.\""),
                    cut);
            String crash = told(Fault.CRASHES_WITHOUT_A_SERVER);
            assertTrue(crash.contains("; came a crash: \"Name: "), crash);
            assertTrue(crash.contains(" and on stderr \"Traceback "), crash);
            String ever = told(Fault.WAITS_FOR_EVER);
            assertTrue(ever.contains(", and never ended; the protocol says: the server "), ever);
        }

        private static String told(Fault fault) throws Exception {
            Map<List<Fault>, Future<Outcome>> all = new HashMap<>(SERVERS);
            all.putAll(CLIENTS);
            for (List<Fault> faults : all.keySet()) {
                if (faults.contains(fault)) {
                    return all.get(faults).get().line("FAIL " + fault.breaks.getFirst());
                }
            }
            throw new AssertionError(fault + " is planted nowhere");
        }
    }
}
