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
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
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
    private static final String NO_PYTHON = "needs python3, 3.10 or newer, on the PATH";

    @TempDir static Path folder;

    /** What a check printed, and its exit code. */
    private record Outcome(int exit, String out, String err) {
        Set<String> failed() {
            return out.lines()
                    .filter(line -> line.startsWith("FAIL "))
                    .map(line ->
                            line.substring(5).replaceFirst(": (sent|could not be asked).*", ""))
                    .collect(Collectors.toSet());
        }

        String line(String start) {
            return out.lines().filter(line -> line.startsWith(start)).findFirst().orElse(out);
        }

        void passes(int cases) {
            assertEquals(Set.of(), failed(), out);
            assertTrue(out.endsWith("\n" + cases + " passed, 0 failed\n"), out);
            assertEquals("", err);
            assertEquals(0, exit);
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
    private static final ExecutorService BESIDE = Executors.newFixedThreadPool(8);

    private static Future<Outcome> ourServer;
    private static Future<Outcome> ourClient;
    private static final Map<WrongServer, Future<Outcome>> SERVERS =
            new EnumMap<>(WrongServer.class);
    private static final Map<WrongClient, Future<Outcome>> CLIENTS =
            new EnumMap<>(WrongClient.class);

    @BeforeAll
    static void checkAll() {
        List<String> command = ServerProcess.java("MsgServer", "{port}", "--bind", "127.0.0.1");
        command.addAll(List.of("--store", folder.resolve("ours.db").toString(), "--timeout", "2"));
        ourServer =
                BESIDE.submit(
                        () -> check("server", "--timeout", "2", "--run", shellCommand(command)));
        ourClient =
                BESIDE.submit(() ->
                        check(List.of("client", "--classic"), ServerProcess.java("MsgClient")));
        if (PythonPrograms.available()) {
            for (WrongServer server : WrongServer.values()) {
                SERVERS.put(server, BESIDE.submit(() -> checked(server)));
            }
            for (WrongClient client : WrongClient.values()) {
                CLIENTS.put(client, BESIDE.submit(() -> checked(client)));
            }
        }
    }

    @AfterAll
    static void end() {
        BESIDE.shutdownNow();
    }

    @Test
    void ourServerPasses() throws Exception {
        ourServer.get().passes(71);
    }

    @Test
    void ourClientPasses() throws Exception {
        ourClient.get().passes(28);
    }

    @Test
    void theClassicServerPassesWhatItCanDo() throws Exception {
        try (ClassicServer server = new ClassicServer()) {
            check("server", "127.0.0.1", "" + server.port(), "--classic").passes(20);
        }
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
                                        + " follows the third `;`, kept as it is, further `;`"
                                        + " included.\"\n"
                                        + "0 passed, 1 failed\n"),
                    outcome.out());
        }
    }

    @Test
    void whatOnlyAKillTellsIsSaidToBeUnasked() {
        assertEquals(
                "Not asked: is a message safe before it is acknowledged? That takes --run, which"
                        + " kills the server in between.\n0 passed, 0 failed\n",
                check("server", "127.0.0.1", "1", "--only", "survives").out());
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
        assertTrue(outcome.err().endsWith("\nWhat it takes: jbang check --help\n"), outcome.err());
    }

    @Test
    void whereNoServerIsEachCaseFails() {
        // Port 1 of loopback: nobody but root could listen there, and nobody does.
        Outcome outcome = check("server", "127.0.0.1", "1", "--only", "is stored is fetched");
        assertEquals(1, outcome.exit());
        assertTrue(
                outcome.out().startsWith("FAIL what is stored is fetched: could not be asked, "),
                outcome.out());
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

    /** Each is one wrong line in a server that is right otherwise, and all that it breaks. */
    enum WrongServer {
        NONE("", ""),
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
        SPLITS_THE_MESSAGE(
                "line.split(\";\", 3)",
                "line.split(\";\")",
                "a message keeps its `;`",
                "a message may begin with `;`"),
        COUNTS_CHARACTERS(
                "    if len(data) > MAX_BYTES:",
                "    if len(data.decode(errors='replace')) > MAX_BYTES:",
                "bytes are counted, not characters"),
        NEVER_CLOSES(
                "        client.shutdown(socket.SHUT_WR)",
                "        time.sleep(60)",
                "it closes after a store",
                "it closes after a fetch",
                "it closes after a refusal",
                "it closes although the client keeps its sending side open"),
        ANSWERS_BEFORE_IT_HAS_STORED(
                "        kept.flush()\n        os.fsync(kept.fileno())",
                "        threading.Timer(0.5, kept.flush).start()",
                "an acknowledged message survives kill -9"),
        WAITS_FOR_AN_END(
                "perhaps_whole = pieces == 1 and len(data) > 1",
                "perhaps_whole = False",
                "silence after one piece ends a request"),
        LETS_A_DRIPPING_CLIENT_GO_ON(
                "left = deadline - time.monotonic()",
                "left = TIMEOUT",
                "a client that drips bytes is not waited for longer");

        private final String right;
        private final String wrong;
        private final Set<String> breaks;

        WrongServer(String right, String wrong, String... breaks) {
            this.right = right;
            this.wrong = wrong;
            this.breaks = Set.of(breaks);
        }
    }

    /** Each is one wrong line in a client that is right otherwise, and all that it breaks. */
    enum WrongClient {
        NONE("", ""),
        WAITS_FOR_EVER(
                "timeout=5",
                "timeout=None",
                "a server that never replies is not waited for for ever",
                "a reply that stops in the middle is not waited for for ever",
                "a reply without a close is not waited for for ever"),
        READS_ONE_PIECE_ONLY(
                "        while piece := server.recv(4096):\n            reply += piece\n",
                "        reply = server.recv(4096)\n",
                "a mailbox of 2,000 messages is shown whole",
                "a reply in pieces is one reply"),
        CUTS_THE_MESSAGE_AT_A_SEMICOLON(
                "message = input(\"Text: \")",
                "message = input(\"Text: \").split(\";\")[0]",
                "a message goes out with its `;` and its spaces"),
        TAKES_A_CUT_REPLY_FOR_A_WHOLE_ONE(
                "if last == \"NO MORE MESSAGES\" else",
                "if True else",
                "a mailbox that was cut off is told from a whole one"),
        BELIEVES_THAT_ALL_IS_STORED(
                "if reply == [\"Message accepted and stored:\"]:",
                "if True:",
                "the refusal \"Could not be stored, try again later\" is shown",
                "the refusal \"Server is busy, try again later\" is shown",
                "the refusal \"Control characters\" is shown",
                "a message is stored only when the server says so");

        private final String right;
        private final String wrong;
        private final Set<String> breaks;

        WrongClient(String right, String wrong, String... breaks) {
            this.right = right;
            this.wrong = wrong;
            this.breaks = Set.of(breaks);
        }
    }

    private static Outcome checked(WrongServer wrong) throws Exception {
        Path script = PythonPrograms.with("small_server.py", wrong.right, wrong.wrong, folder);
        List<String> command = PythonPrograms.command(script);
        command.addAll(List.of("{port}", Files.createTempFile(folder, "mail", "").toString()));
        return check("server", "--timeout", "2", "--run", shellCommand(command));
    }

    private static Outcome checked(WrongClient wrong) throws Exception {
        Path script = PythonPrograms.with("small_client.py", wrong.right, wrong.wrong, folder);
        return check(List.of("client", "--patience", "12"), PythonPrograms.command(script));
    }

    @Nested
    @EnabledIf(value = "PythonPrograms#available", disabledReason = NO_PYTHON)
    class InAnotherLanguage {

        @ParameterizedTest
        @EnumSource
        void aWrongServerIsNamedRightly(WrongServer wrong) throws Exception {
            Outcome outcome = SERVERS.get(wrong).get();
            assertEquals(wrong.breaks, outcome.failed(), outcome.out());
            assertEquals(wrong == WrongServer.NONE ? 0 : 1, outcome.exit());
            assertEquals(71, outcome.out().lines().filter(l -> l.matches("(ok|FAIL) .*")).count());
        }

        @ParameterizedTest
        @EnumSource
        void aWrongClientIsNamedRightly(WrongClient wrong) throws Exception {
            Outcome outcome = CLIENTS.get(wrong).get();
            assertEquals(wrong.breaks, outcome.failed(), outcome.out());
            assertEquals(wrong == WrongClient.NONE ? 0 : 1, outcome.exit());
            assertEquals(27, outcome.out().lines().filter(l -> l.matches("(ok|FAIL) .*")).count());
        }

        @Test
        void aRequestThatNeverEndsIsNamedRightly() throws Exception {
            Path script =
                    PythonPrograms.with(
                            "small_client.py",
                            "        server.sendall(line.encode(\"utf-8\"))\n"
                                    + "        server.shutdown(socket.SHUT_WR)",
                            "        for part in (line[:3], line[3:]):\n"
                                    + "            server.sendall(part.encode(\"utf-8\"))\n"
                                    + "            time.sleep(0.4)",
                            folder);
            List<String> only = List.of("client", "--only", "has an end");
            String line = check(only, PythonPrograms.command(script)).line("FAIL");
            assertTrue(
                    line.contains(
                            "; came \"store;Kyriakos;george;hi\" in 2 pieces with no end; the"
                                    + " protocol says: The request ends at LF; or when"),
                    line);
        }

        @Test
        void theSentenceSaysWhatWasSentWhatCameAndWhatTheProtocolSays() throws Exception {
            assertEquals(
                    "FAIL it closes after a refusal: sent \"store;bob\" and the end of input; came"
                        + " \"No sender\\n\", and the connection stayed open; the protocol says:"
                        + " The server sends one reply ... and closes.",
                    SERVERS.get(WrongServer.NEVER_CLOSES)
                            .get()
                            .line("FAIL it closes after a refu"));
            String cut =
                    CLIENTS.get(WrongClient.CUTS_THE_MESSAGE_AT_A_SEMICOLON).get().line("FAIL");
            assertTrue(
                    cut.contains(
                            " came \"store;Kyriakos;george;one\"; the protocol says:"
                                + " \"store;Kyriakos;george;one;two;;three;  four\", since \"The"
                                + " message is all that follows the third `;`"),
                    cut);
            String ever = CLIENTS.get(WrongClient.WAITS_FOR_EVER).get().line("FAIL");
            assertTrue(ever.contains(", and never ended; the protocol says: the server "), ever);
        }
    }
}
