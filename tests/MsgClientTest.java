///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the client's requests: on the wire, and when they fail
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/ClassicServer.java
//SOURCES support/FakeServer.java
//SOURCES support/ClientRun.java
//SOURCES ../MsgClient.java
//SOURCES ../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.StringReader;
import java.io.StringWriter;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.net.StandardSocketOptions;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;

/**
 * {@link MsgClient} against a server that behaves like the classic C server on the wire, and
 * against faulty servers. The tests repeat the client's questions and sentences literally, because
 * scripts rely on them.
 */
class MsgClientTest {

    @Nested
    class WithTheClassicServer {

        @Test
        void aSession() throws Exception {
            try (ClassicServer server = new ClassicServer()) {
                ClientRun run =
                        ClientRun.piped(
                                server.port(),
                                "2\n1\nbob\nhi\n1\ngeorge\nnote\n1\ngeorge\nsecond note\n2\n3\n",
                                "--user",
                                "george");
                assertEquals("", run.err());
                assertEquals(0, run.exit());
                assertEquals(
                        ClientRun.MENU
                                + "There are no messages for george.\n\n"
                                + ClientRun.MENU
                                + "Recipient: \nMessage: \nThe message to bob is stored.\n\n"
                                + ClientRun.MENU
                                + "Recipient: \nMessage: \nThe message to george is stored.\n\n"
                                + ClientRun.MENU
                                + "Recipient: \nMessage: \nThe message to george is stored.\n\n"
                                + ClientRun.MENU
                                + "   1. george: note\n   2. george: second note\n"
                                + "These are all 2 messages.\n\n"
                                + ClientRun.MENU
                                + "Goodbye.\n",
                        run.out());
            }
        }

        @Test
        void itsSpellingIsShown() throws Exception {
            try (FakeServer server = FakeServer.answering("No reciever\n")) {
                assertEquals(
                        "The server refused: No reciever",
                        ClientRun.piped(server.port(), "2\n", "--user", "bob").sentence());
            }
        }

        @Test
        void localhostReachesAServerOnIpv4Only() throws Exception {
            try (ClassicServer server = new ClassicServer()) {
                String port = Integer.toString(server.port());
                assertEquals(
                        0,
                        ClientRun.command(false, "2\n", "localhost", port, "--user", "bob").exit());
            }
        }
    }

    // ---------------------------------------------------------------- on the wire

    @Nested
    class OnTheWire {

        @Test
        void aRequestIsOnePieceWithoutALineEndThenTheEndOfInput() throws Exception {
            var pieces = new ConcurrentLinkedQueue<Integer>();
            try (FakeServer server =
                    new FakeServer(socket -> {
                        InputStream in = socket.getInputStream();
                        byte[] buffer = new byte[1000];
                        for (int count; (count = in.read(buffer)) >= 0; ) {
                            pieces.add(count);
                        }
                        socket.getOutputStream().write("No verb\n".getBytes());
                    })) {
                MsgClient client = new MsgClient("127.0.0.1", server.port(), null);
                for (int i = 0; i < 20; i++) {
                    assertThrows(
                            RequestException.class,
                            () -> client.store("bob", "al", "x".repeat(242)));
                }
            }
            assertEquals(
                    IntStream.generate(() -> 255).limit(20).boxed().toList(), List.copyOf(pieces));
        }

        @Test
        void theRequestContainsTheAnswersOfTheUser() throws Exception {
            try (FakeServer server = FakeServer.answering("Message accepted and stored:\n")) {
                ClientRun.piped(server.port(), "1\nΚυριάκος\nγειά; 👋 \n", "--user", "al");
                assertEquals(List.of("store;Κυριάκος;al;γειά; 👋 "), List.copyOf(server.requests));
            }
            try (FakeServer server =
                    FakeServer.answering("Retrieving messages...\nThere is no such name")) {
                ClientRun.piped(server.port(), "2\n", "--user", "al");
                assertEquals(List.of("fetch;al"), List.copyOf(server.requests));
            }
        }

        @Test
        void theClientConnectsOnlyAfterAllAnswers() throws Exception {
            // The classic client connected before it asked its questions, and occupied a process of
            // the server meanwhile.
            try (FakeServer server = FakeServer.answering("Message accepted and stored:\n")) {
                BufferedReader answers =
                        new BufferedReader(new StringReader("al\n1\nbob\nhi\n")) {
                            @Override
                            public String readLine() throws IOException {
                                String answer = super.readLine();
                                if (answer != null) {
                                    assertEquals(0, server.requests.size(), answer);
                                }
                                return answer;
                            }
                        };
                StringWriter out = new StringWriter();
                PrintWriter screen = new PrintWriter(out);
                Menu menu =
                        new Menu(
                                new MsgClient("127.0.0.1", server.port(), null),
                                new Answers.Lines(answers, screen, true),
                                screen,
                                screen);
                assertTrue(menu.run(null), out.toString());
                assertEquals(1, server.requests.size());
            }
        }

        @Test
        void eachRequestUsesANewConnection() throws Exception {
            try (FakeServer server =
                    FakeServer.answering("Retrieving messages...\nThere is no such name\n")) {
                assertEquals(0, ClientRun.piped(server.port(), "2\n2\n2\n", "--user", "al").exit());
                assertEquals(
                        List.of("fetch;al", "fetch;al", "fetch;al"), List.copyOf(server.requests));
            }
        }

        @Test
        void aReplyByteByByteIsWhole() throws Exception {
            byte[] reply =
                    "Retrieving messages...\nbob;al;γειά 👋\nNO MORE MESSAGES"
                            .getBytes(StandardCharsets.UTF_8);
            try (FakeServer server =
                    new FakeServer(socket -> {
                        socket.getInputStream().readAllBytes();
                        socket.setTcpNoDelay(true);
                        OutputStream out = socket.getOutputStream();
                        for (byte b : reply) {
                            out.write(b);
                        }
                    })) {
                ClientRun run = ClientRun.piped(server.port(), "2\n", "--user", "bob");
                assertEquals("", run.err());
                assertTrue(run.out().contains("   1. al: γειά 👋\nThis is the only message.\n"));
            }
        }
    }

    // ---------------------------------------------------------------- failures

    /** Each failure is reported in one sentence, the menu continues, and the exit code is 1. */
    @Nested
    class Failures {

        /** The two sentences of a run in which one store and one fetch failed. */
        private static List<String> sentences(ClientRun run) {
            assertEquals(1, run.exit());
            assertTrue(
                    run.out().endsWith("Goodbye.\n"),
                    "the client did not return to the menu: " + run.out());
            List<String> sentences = run.err().lines().toList();
            assertEquals(2, sentences.size(), run.err());
            assertFalse(run.err().contains("Exception"), run.err());
            assertFalse(
                    run.err().chars().anyMatch(c -> c != '\n' && Character.isISOControl(c)),
                    run.err());
            return sentences;
        }

        private static final String BOTH = "1\nbob\nhi\n2\n3\n";

        @Test
        void nobodyListens() throws Exception {
            try (Socket dead = FakeServer.deadPort()) {
                int port = dead.getLocalPort();
                String expected =
                        "No server answers at 127.0.0.1 port %d. To start one there: %s %d"
                                .formatted(port, Program.started("MsgServer.java"), port);
                ClientRun run = ClientRun.piped(port, BOTH, "--user", "al");
                assertEquals(List.of(expected, expected), sentences(run));
                assertTrue(
                        run.out().contains("Recipient: \nMessage: \n"),
                        "the client still asks its questions");
            }
        }

        @Test
        void aPersonsRunFailsToo() throws Exception {
            try (Socket dead = FakeServer.deadPort()) {
                assertEquals(
                        1, ClientRun.typed(dead.getLocalPort(), "2\n3\n", "--user", "al").exit());
            }
        }

        @Test
        void anUnknownHost() {
            ClientRun run =
                    ClientRun.command(false, BOTH, "[::zz]", "5000", "--user", "al"); // asks no DNS
            assertEquals(
                    List.of("There is no host called [::zz].", "There is no host called [::zz]."),
                    sentences(run));
        }

        @Test
        void aReplyCutOff() throws Exception {
            try (FakeServer server = FakeServer.answering("")) {
                assertEquals(
                        List.of(
                                "The server's reply was cut off; the message may or may not be"
                                        + " stored.",
                                "The server's reply was cut off."),
                        sentences(ClientRun.piped(server.port(), BOTH, "--user", "al")));
            }
        }

        @Test
        void aMailboxCutOff() throws Exception {
            try (FakeServer server =
                    FakeServer.answering(
                            "Retrieving messages...\nbob;al;one\nbob;al;two\nbob;al;th")) {
                ClientRun run = ClientRun.piped(server.port(), "2\n", "--user", "bob");
                assertEquals("The server's reply was cut off.", run.sentence());
                assertTrue(run.out().contains("   1. al: one\n   2. al: two\n"), run.out());
                assertFalse(run.out().contains("al: th"), "half a message is shown");
                assertFalse(
                        run.out().contains("all"),
                        "the client claims that the mailbox is complete");
            }
        }

        @Test
        void aConnectionReset() throws Exception {
            try (FakeServer server =
                    new FakeServer(socket -> {
                        socket.getInputStream().readAllBytes();
                        socket.setOption(StandardSocketOptions.SO_LINGER, 0);
                    })) {
                List<String> sentences =
                        sentences(ClientRun.piped(server.port(), BOTH, "--user", "al"));
                String start = "The connection to 127.0.0.1 port " + server.port() + " failed";
                assertTrue(
                        sentences
                                .get(0)
                                .startsWith(start + "; the message may or may not be stored: "),
                        sentences.get(0));
                assertTrue(sentences.get(1).startsWith(start + ": "), sentences.get(1));
            }
        }

        @Test
        void aServerOfAnotherKind() throws Exception {
            try (FakeServer server =
                    FakeServer.answering("HTTP/1.1 400 Bad\u001b[31m Request\r\n\r\n")) {
                for (String sentence :
                        sentences(ClientRun.piped(server.port(), BOTH, "--user", "al"))) {
                    assertTrue(sentence.contains("not a reply of a message server"), sentence);
                    assertTrue(sentence.contains("HTTP/1.1 400 Bad\\u001b[31m Request"), sentence);
                }
            }
        }

        @Test
        void anAnswerToAnotherQuestion() throws Exception {
            try (FakeServer server = FakeServer.answering("Message accepted and stored:\n")) {
                ClientRun run = ClientRun.piped(server.port(), "2\n", "--user", "al");
                assertTrue(run.sentence().endsWith("not a reply to this request"), run.err());
                assertEquals(1, run.exit());
            }
            try (FakeServer server =
                    FakeServer.answering("Retrieving messages...\nThere is no such name\n")) {
                ClientRun run = ClientRun.piped(server.port(), "1\nbob\nhi\n", "--user", "al");
                assertTrue(run.sentence().endsWith("not a reply to this request"), run.err());
                assertFalse(run.out().contains("is stored"), run.out());
            }
        }

        @ParameterizedTest
        @ValueSource(
                strings = {
                    "Message declined. Could not be stored, try again later",
                    "Message declined. Server is busy, try again later",
                    "Message declined. Timed out"
                })
        void aRefusalIsShownInTheServersWords(String refusal) throws Exception {
            try (FakeServer server = FakeServer.answering(refusal + "\n")) {
                String sentence = "The server refused: " + refusal;
                assertEquals(
                        List.of(sentence, sentence),
                        sentences(ClientRun.piped(server.port(), BOTH, "--user", "al")));
            }
        }

        @Test
        void aRefusalHasALength() throws Exception {
            // In an earlier version the client showed a refusal of 64 KB in full. Escaping made the
            // refusal six times longer.
            try (FakeServer server = FakeServer.answering("No " + "\u001b".repeat(60_000) + "\n")) {
                for (String sentence :
                        sentences(ClientRun.piped(server.port(), BOTH, "--user", "al"))) {
                    assertTrue(sentence.startsWith("The server refused: No \\u001b"), sentence);
                    assertTrue(sentence.length() < 1_000, sentence.length() + " characters");
                }
            }
        }

        @Test
        void foreignTextCannotHurtTheTerminal() throws Exception {
            try (FakeServer server =
                    FakeServer.answering(
                            "Retrieving messages...\n"
                                    + "bob;\u202emallory;\u001b[2J\u0007a\tb\r\u009b31m\n"
                                    + "NO MORE MESSAGES\n")) {
                ClientRun run = ClientRun.piped(server.port(), "2\n", "--user", "bob");
                assertTrue(
                        run.out()
                                .contains(
                                        "   1. \"\\u202emallory\":"
                                                + " \\u001b[2J\\u0007a\\tb\\u000d\\u009b31m\n"),
                        run.out());
            }
            try (FakeServer server = FakeServer.answering("No \u001b]0;owned\u0007\n")) {
                assertEquals(
                        "The server refused: No \\u001b]0;owned\\u0007",
                        ClientRun.piped(server.port(), "2\n", "--user", "bob").sentence());
            }
        }

        @Test
        void textOfAnExceptionCannotHurtTheTerminal() {
            // The JDK quotes bytes of the peer in some failures of a handshake.
            String sentence =
                    new RequestException("\u001b[2J" + "x".repeat(9_000), null).getMessage();
            assertTrue(sentence.startsWith("\\u001b[2Jxx"), sentence);
            assertTrue(sentence.length() < 1_000, sentence.length() + " characters");
        }
    }

    // ---------------------------------------------------------------- servers that do not answer

    /**
     * The requests of {@link Waits} run in the background of the other tests, because each lasts
     * until the client's timeout.
     */
    @Nested
    @EnabledOnOs(OS.LINUX) // Linux drops connections silently if the backlog is full
    class Patience {

        @Test
        void fiveSecondsToConnect() throws Exception {
            long millis = waits.connecting.get(60, TimeUnit.SECONDS);
            assertTrue(millis >= 4_900 && millis < 9_000, "was " + millis + " ms");
        }

        @Test
        void tenSecondsForAnAnswer() throws Exception {
            isTenSeconds(waits.reading);
        }

        @Test
        void tenSecondsForAReplyThatDrips() throws Exception {
            // In an earlier version the client restarted its timeout of ten seconds at each byte.
            isTenSeconds(waits.dripping);
        }

        @Test
        void tenSecondsForBlankLinesWithoutEnd() throws Exception {
            isTenSeconds(waits.blank);
        }

        @Test
        void tenSecondsForAHandshakeThatDrips() throws Exception {
            isTenSeconds(waits.handshake);
        }

        private static void isTenSeconds(Future<Long> wait) throws Exception {
            long millis = wait.get(60, TimeUnit.SECONDS);
            assertTrue(millis >= 9_900 && millis < 30_000, "was " + millis + " ms");
        }

        @Test
        void aMailboxIsReadWhileMessagesKeepArriving() throws Exception {
            long millis = waits.steady.get(60, TimeUnit.SECONDS);
            assertTrue(millis >= 12_000, "was " + millis + " ms");
        }
    }

    private static Waits waits;

    @BeforeAll
    static void beginToWait() throws IOException {
        waits = new Waits();
    }

    @AfterAll
    static void waitNoMore() throws IOException {
        waits.close();
    }

    /** Pending requests to servers that do not answer, or answer slowly. */
    private static final class Waits implements AutoCloseable {
        private final ServerSocket full = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
        private final List<Socket> fillers = new ArrayList<>();
        private final List<FakeServer> servers = new ArrayList<>();
        private final Path home = Files.createTempDirectory("home");
        final Future<Long> connecting;
        final Future<Long> reading;
        final Future<Long> dripping;
        final Future<Long> blank;
        final Future<Long> handshake;
        final Future<Long> steady;

        Waits() throws IOException {
            for (int i = 0; i < 3; i++) { // a backlog of 1 holds two connections
                Socket filler = new Socket();
                fillers.add(filler);
                try {
                    filler.connect(full.getLocalSocketAddress(), 200);
                } catch (SocketTimeoutException e) {
                    break; // the backlog is full
                }
            }
            String store = "1\nal\nhi\n";
            String doubt = "; the message may or may not be stored";
            connecting = timed(full.getLocalPort(), store, late(full.getLocalPort(), ""));
            int port = saying(Duration.ofSeconds(15), "", "");
            reading = timed(port, store, late(port, doubt));
            port = saying(Duration.ofSeconds(2), "Message accepted ", "x");
            dripping = timed(port, store, late(port, doubt));
            port = saying(Duration.ofMillis(20), "Retrieving messages...\n", "\n".repeat(1_000));
            blank = timed(port, "2\n", late(port, ""));
            port = saying(Duration.ofSeconds(2), "\u0016\u0003\u0003\u0040\u0000\u0002", "\u0001");
            String noTls =
                    "127.0.0.1 port %d does not answer in TLS, and nothing was sent: Read timed"
                            + " out. Was it started with --tls? If not, see docs/tls.md.";
            handshake = timed(port, store, noTls.formatted(port), "--tls");
            port = saying(Duration.ofSeconds(6), "Retrieving messages...\n", "bob;al;hi\n", 2);
            steady = timed(port, "2\n", "");
        }

        /** A server that sends {@code first}, and then {@code more} after each {@code pause}. */
        private int saying(Duration pause, String first, String more) throws IOException {
            return saying(pause, first, more, Integer.MAX_VALUE);
        }

        private int saying(Duration pause, String first, String more, int times)
                throws IOException {
            FakeServer server =
                    new FakeServer(socket -> {
                        OutputStream out = socket.getOutputStream();
                        out.write(first.getBytes(StandardCharsets.UTF_8));
                        for (int i = 0; i < times; i++) {
                            try {
                                Thread.sleep(pause);
                            } catch (InterruptedException e) {
                                Thread.currentThread().interrupt();
                            }
                            out.write(more.getBytes(StandardCharsets.UTF_8));
                        }
                        out.write("NO MORE MESSAGES\n".getBytes(StandardCharsets.UTF_8));
                    });
            servers.add(server);
            return server.port();
        }

        private static String late(int port, String doubt) {
            return "The server at 127.0.0.1 port %d did not answer in time%s."
                    .formatted(port, doubt);
        }

        /**
         * The duration, in milliseconds, of a request to {@code port}. The run must print {@code
         * sentence} on stderr.
         */
        private Future<Long> timed(int port, String input, String sentence, String... more) {
            FutureTask<Long> task =
                    new FutureTask<>(() -> {
                        long start = System.nanoTime();
                        List<String> arguments = new ArrayList<>(List.of("127.0.0.1", "" + port));
                        arguments.addAll(List.of("--user", "bob"));
                        arguments.addAll(List.of(more));
                        ClientRun run =
                                ClientRun.command(
                                        home, false, input, arguments.toArray(String[]::new));
                        assertEquals(sentence, run.err().strip());
                        assertEquals(sentence.isEmpty() ? 0 : 1, run.exit());
                        return (System.nanoTime() - start) / 1_000_000;
                    });
            Thread.ofVirtual().start(task);
            return task;
        }

        @Override
        public void close() throws IOException {
            for (Socket filler : fillers) {
                filler.close();
            }
            full.close();
            for (FakeServer server : servers) {
                server.close();
            }
            Path folder = home.resolve(".msg-client");
            for (Path file : List.of(folder.resolve("key.pem"), folder, home)) {
                Files.deleteIfExists(file);
            }
        }
    }
}
