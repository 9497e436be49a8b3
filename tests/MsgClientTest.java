///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the client: its requests, its menu, its command
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/ServerProcess.java
//SOURCES ../MsgClient.java
//SOURCES ../MsgServer.java
//SOURCES ../store/MessageStore.java
//SOURCES ../store/Database.java
//SOURCES ../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.StringReader;
import java.io.StringWriter;
import java.net.BindException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.net.StandardSocketOptions;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * {@link MsgClient} against our server, against one that behaves as the classic C server does on
 * the wire, and against servers that misbehave. Questions and sentences are spelled out: whoever
 * pipes input into the client relies on their order.
 */
class MsgClientTest {

    private static final String MENU =
            """
            1. Send message
            2. Read messages
            3. Exit
            Your choice:\s
            """;

    // ---------------------------------------------------------------- servers for the client

    /** What a fake server does with one connection, which is closed afterwards. */
    @FunctionalInterface
    private interface Conversation {
        void on(Socket socket) throws IOException;
    }

    /** A server on loopback that serves one connection after the other as a test tells it to. */
    private static final class Fake implements AutoCloseable {
        private final ServerSocket listener;
        private final ConcurrentLinkedQueue<String> requests = new ConcurrentLinkedQueue<>();

        Fake(Conversation conversation) throws IOException {
            this("127.0.0.1", conversation);
        }

        Fake(String address, Conversation conversation) throws IOException {
            listener = new ServerSocket(0, 50, InetAddress.getByName(address));
            Thread.ofVirtual()
                    .start(() -> {
                        while (!listener.isClosed()) {
                            try (Socket socket = listener.accept()) {
                                conversation.on(socket);
                            } catch (IOException e) {
                                // Tolerated: the client may leave, and the test end.
                            }
                        }
                    });
        }

        /** Reads a request to its end, keeps it, and answers {@code reply}. */
        static Fake answering(String reply) throws IOException {
            Fake[] self = new Fake[1];
            self[0] =
                    new Fake(socket -> {
                        byte[] request = socket.getInputStream().readAllBytes();
                        self[0].requests.add(new String(request, StandardCharsets.UTF_8));
                        socket.getOutputStream().write(reply.getBytes(StandardCharsets.UTF_8));
                    });
            return self[0];
        }

        int port() {
            return listener.getLocalPort();
        }

        @Override
        public void close() throws IOException {
            listener.close();
        }
    }

    /**
     * The classic C server's behaviour on the wire: one read of at most 128 bytes is the request,
     * its fields are what strtok finds, replies to a fetch end without a newline.
     */
    private static Fake classicServer() throws IOException {
        Map<String, StringBuilder> mailboxes = new LinkedHashMap<>();
        return new Fake(socket -> {
            byte[] buffer = new byte[128];
            int count = socket.getInputStream().read(buffer);
            String request = new String(buffer, 0, Math.max(0, count), StandardCharsets.UTF_8);
            List<String> fields = Stream.of(request.split(";")).filter(f -> !f.isEmpty()).toList();
            socket.getOutputStream()
                    .write(classicReply(fields, mailboxes).getBytes(StandardCharsets.UTF_8));
        });
    }

    private static String classicReply(List<String> fields, Map<String, StringBuilder> mailboxes) {
        if (fields.isEmpty()) {
            return "No verb\n";
        }
        if (fields.size() < 2) {
            return "No reciever\n";
        }
        if (fields.get(0).equals("fetch")) {
            StringBuilder mailbox = mailboxes.get(fields.get(1));
            return "Retrieving messages...\n"
                    + (mailbox == null ? "There is no such name" : mailbox + "NO MORE MESSAGES");
        }
        if (!fields.get(0).equals("store")) {
            return "Message declined. Bad verb\n";
        }
        if (fields.size() < 3) {
            return "No sender\n";
        }
        if (fields.size() < 4) {
            return "No message\n";
        }
        mailboxes
                .computeIfAbsent(fields.get(1), name -> new StringBuilder())
                .append(String.join(";", fields.subList(1, 4)))
                .append('\n');
        return "Message accepted and stored:\n";
    }

    /** Holds a port of loopback on which nobody listens, and nobody else can. */
    private static Socket deadPort() throws IOException {
        Socket holder = new Socket();
        holder.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
        return holder;
    }

    // ---------------------------------------------------------------- a person or a pipe

    /** What a run of the menu or the command left behind. */
    private record Run(int exit, String out, String err) {}

    private static Run command(boolean interactive, String input, String... arguments) {
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        var command =
                new MsgClient.ClientCommand(
                        new BufferedReader(new StringReader(input)), interactive);
        int exit =
                MsgClient.commandLine(command)
                        .setOut(new PrintWriter(out, true))
                        .setErr(new PrintWriter(err, true))
                        .execute(arguments);
        return new Run(exit, lines(out.toString()), lines(err.toString()));
    }

    private static String lines(String text) {
        return text.replace(System.lineSeparator(), "\n");
    }

    /** Input through a pipe. */
    private static Run piped(int port, String input, String... more) {
        return command(false, input, withPort(port, more));
    }

    /** Input of a person, whose Enter ends the line of a question. */
    private static Run typed(int port, String input, String... more) {
        return command(true, input, withPort(port, more));
    }

    private static String[] withPort(int port, String... more) {
        return Stream.concat(Stream.of("127.0.0.1", Integer.toString(port)), Stream.of(more))
                .toArray(String[]::new);
    }

    /** The only sentence of {@code err}. */
    private static String sentence(Run run) {
        assertEquals(1, run.err().lines().count(), run.err());
        return run.err().strip();
    }

    // ---------------------------------------------------------------- with our server

    @Nested
    class WithOurServer {
        @TempDir Path folder;

        private MessageStore store;
        private MsgServer server;

        @BeforeEach
        void start() throws Exception {
            store = new MessageStore(folder.resolve("messages.db").toString());
            server =
                    new MsgServer(
                            new InetSocketAddress(0),
                            store,
                            Limits.withTimeout(java.time.Duration.ofSeconds(10)),
                            new Listener() {
                                @Override
                                public void step(Step step, Conversation conversation) {}

                                @Override
                                public void trouble(String sentence) {}
                            },
                            Thread.ofVirtual());
            server.start();
        }

        @AfterEach
        void stop() {
            server.close();
            store.close();
        }

        @Test
        void aPipedSession() {
            Run run =
                    piped(
                            server.port(),
                            """
                            george
                            1
                            Kyriakos
                            hi Kyriakos; how are you?
                            2
                            1
                            george
                            note to myself
                            2
                            3
                            """);
            assertEquals("", run.err());
            assertEquals(
                    "Your user name: \n"
                            + MENU
                            + "Recipient: \nMessage: \n"
                            + "The message to Kyriakos is stored.\n\n"
                            + MENU
                            + "There are no messages for george.\n\n"
                            + MENU
                            + "Recipient: \nMessage: \n"
                            + "The message to george is stored.\n\n"
                            + MENU
                            + "   1. george: note to myself\n"
                            + "That is the only message.\n\n"
                            + MENU
                            + "Goodbye.\n",
                    run.out());
            assertEquals(0, run.exit());
            assertEquals(
                    "   1. george: hi Kyriakos; how are you?\nThat is the only message.\n",
                    answer(piped(server.port(), "2\n3\n", "--user", "Kyriakos"), 0));
        }

        /** What follows the nth menu, up to the next. */
        private static String answer(Run run, int menu) {
            return run.out().split(Pattern.quote(MENU))[menu + 1].replaceFirst("\n$", "");
        }

        @Test
        void aPersonsEnterEndsTheLineOfAQuestion() {
            Run run = typed(server.port(), "george\n1\nbob\nhi\n3\n");
            assertTrue(
                    run.out()
                            .startsWith(
                                    """
                                    Your user name: 1. Send message
                                    2. Read messages
                                    3. Exit
                                    Your choice: Recipient: Message: The message to bob is stored.
                                    """),
                    run.out());
        }

        @Test
        void mailIsNumberedAndCounted() throws Exception {
            store.store("bob", "al", "one");
            store.store("bob", "zoe", " two;2 ");
            store.store("bob", "Κυριάκος", "γειά 👋");
            assertEquals(
                    "   1. al: one\n"
                            + "   2. zoe:  two;2 \n"
                            + "   3. Κυριάκος: γειά 👋\n"
                            + "These are all 3 messages.\n",
                    answer(piped(server.port(), "2\n3\n", "--user", "bob"), 0));
        }

        @Test
        void namesAndTextsComeBackAsTheyWereTyped() {
            // The classic client crashed on a name of 80 characters and replies over 8,000 bytes.
            String name = "n".repeat(80);
            StringBuilder input = new StringBuilder();
            for (int i = 0; i < 60; i++) {
                input.append("1\n")
                        .append(name)
                        .append('\n')
                        .append("x".repeat(80))
                        .append(i + "\n");
            }
            Run sent = piped(server.port(), input + "2\n3\n", "--user", name);
            assertEquals("", sent.err());
            String mail = answer(sent, 60);
            assertTrue(mail.length() > 8_000, mail);
            assertEquals(61, mail.lines().count());
            assertTrue(mail.endsWith("These are all 60 messages.\n"), mail);
        }

        @Test
        void namesAreTrimmedTextsAreNot() {
            piped(server.port(), "1\n  bob  \n  hi  \n", "--user", "\t al ");
            assertEquals(
                    "   1. al:   hi  \nThat is the only message.\n",
                    answer(piped(server.port(), "2\n", "--user", "bob"), 0));
        }

        @ParameterizedTest
        @ValueSource(ints = {1, 2, 100})
        void aTextThatIsTooLongIsMeasuredAndAskedForAgain(int excess) {
            int fits = 255 - "store;bob;al;".length();
            Run run =
                    typed(
                            server.port(),
                            "1\nbob\n"
                                    + "x".repeat(fits + excess)
                                    + "\n"
                                    + "y".repeat(fits)
                                    + "\n3\n",
                            "--user",
                            "al");
            assertEquals(
                    "That is " + excess + (excess == 1 ? " byte" : " bytes") + " too long.",
                    sentence(run));
            assertTrue(run.out().contains("Message: Message: The message to bob is stored."));
            assertEquals(0, run.exit(), "a person who corrects a mistake has made none");
        }

        @Test
        void lengthIsMeasuredInBytes() {
            Run run =
                    typed(
                            server.port(),
                            "1\nbob\n" + "γ".repeat(122) + "\nhi\n3\n",
                            "--user",
                            "al");
            assertEquals("That is 2 bytes too long.", sentence(run));
        }

        @Test
        void aPipeIsNotAskedAgain() throws Exception {
            // Its next line, meant for the menu, was taken for the corrected text.
            Run run =
                    piped(
                            server.port(),
                            "1\nbob\n" + "x".repeat(300) + "\n1\nbob\nhi\n3\n",
                            "--user",
                            "al");
            assertEquals("That is 58 bytes too long.", sentence(run));
            assertTrue(run.out().contains("The message to bob is stored."), run.out());
            assertEquals(1, run.exit());
            assertEquals(
                    List.of(new MessageStore.Message("al", "hi")), store.fetch("bob").nextPage());
        }

        @ParameterizedTest
        @CsvSource(
                delimiter = '|',
                value = {
                    "a;b|A name cannot contain ';'.",
                    "''|A name cannot be empty.",
                    "' '|A name cannot be empty."
                })
        void aNameThatCannotBeIsAskedForAgain(String name, String why) throws Exception {
            Run run = typed(server.port(), name + "\nal\n1\n" + name + "\nbob\nhi\n3\n");
            assertEquals(why + "\n" + why + "\n", run.err());
            assertEquals(0, run.exit());
            assertEquals(
                    List.of(new MessageStore.Message("al", "hi")), store.fetch("bob").nextPage());
        }

        @Test
        void aTextThatCannotBeSentIsSaidInTheServersWords() {
            Run run = typed(server.port(), "1\nbob\na\u001b[2Jb\n\nhi\n3\n", "--user", "al");
            assertEquals(
                    "That cannot be sent: Message declined. Control characters\n"
                            + "A message cannot be empty.\n",
                    run.err());
        }

        @Test
        void aTextThatDidNotArriveAsUtf8IsNotSent() throws Exception {
            Run run = piped(server.port(), "1\nbob\nh\ufffd!\n3\n", "--user", "al");
            assertEquals("That holds characters that did not arrive as UTF-8.", sentence(run));
            assertEquals(1, run.exit());
            assertEquals(List.of(), store.fetch("bob").nextPage());
        }

        @ParameterizedTest
        @ValueSource(strings = {"x", "", "4", "0", "-1", "1.", "12", "99999999999999999999", "one"})
        void aChoiceThatIsNoneIsSaidOnce(String choice) {
            // The classic client looped for ever on a choice that was no number.
            Run person = typed(server.port(), choice + "\n3\n", "--user", "al");
            assertEquals("Please choose 1, 2 or 3.", sentence(person));
            assertEquals(0, person.exit());
            Run pipe = piped(server.port(), choice + "\n3\n", "--user", "al");
            assertEquals("Please choose 1, 2 or 3.", sentence(pipe));
            assertEquals(1, pipe.exit(), "a script that has lost its place");
        }

        @Test
        void endOfInputAnywhereEndsIt() {
            // The classic client looped for ever at the end of its input.
            List<String> input = List.of("george", "1", "bob", "hi", "2", "x", "1", "bob");
            for (int length = 0; length <= input.size(); length++) {
                String lines = String.join("\n", input.subList(0, length));
                for (String end : List.of("", "\n")) {
                    Run run = typed(server.port(), lines + (length == 0 ? "" : end));
                    assertTrue(run.out().endsWith("\nGoodbye.\n"), run.out());
                    assertEquals(0, run.exit());
                }
            }
        }

        @Test
        void ipv6AndLocalhostWork() throws Exception {
            store.store("bob", "al", "hi");
            String port = Integer.toString(server.port());
            assertEquals(0, command(false, "2\n", "localhost", port, "--user", "bob").exit());
            try (ServerSocket probe = new ServerSocket(0, 1, InetAddress.getByName("::1"))) {
                assertTrue(probe.isBound());
            } catch (BindException e) {
                Assumptions.abort("this machine has no IPv6: " + e.getMessage());
            }
            assertEquals(0, command(false, "2\n", "::1", port, "--user", "bob").exit());
        }

        @Test
        void requestsAreCallableWithoutTheMenu() throws Exception {
            MsgClient client = new MsgClient("127.0.0.1", server.port());
            client.store("bob", "al", "one;1");
            client.store("bob", "al", "two");
            List<Protocol.Store> mail = new ArrayList<>();
            assertEquals(2, client.fetch("bob", mail::add));
            assertEquals(
                    List.of(
                            new Protocol.Store("bob", "al", "one;1"),
                            new Protocol.Store("bob", "al", "two")),
                    mail);
            assertEquals(0, client.fetch("nobody", mail::add));
            assertEquals(
                    "The server refused: Message declined. Too long, 255 bytes at most",
                    assertThrows(
                                    MsgClient.RequestException.class,
                                    () -> client.store("bob", "al", "x".repeat(300)))
                            .getMessage());
        }
    }

    // ---------------------------------------------------------------- with the classic server

    @Nested
    class WithTheClassicServer {

        @Test
        void aSession() throws Exception {
            try (Fake server = classicServer()) {
                Run run =
                        piped(
                                server.port(),
                                "2\n1\nbob\nhi\n1\ngeorge\nnote\n1\ngeorge\nsecond note\n2\n3\n",
                                "--user",
                                "george");
                assertEquals("", run.err());
                assertEquals(0, run.exit());
                assertEquals(
                        MENU
                                + "There are no messages for george.\n\n"
                                + MENU
                                + "Recipient: \nMessage: \nThe message to bob is stored.\n\n"
                                + MENU
                                + "Recipient: \nMessage: \nThe message to george is stored.\n\n"
                                + MENU
                                + "Recipient: \nMessage: \nThe message to george is stored.\n\n"
                                + MENU
                                + "   1. george: note\n   2. george: second note\n"
                                + "These are all 2 messages.\n\n"
                                + MENU
                                + "Goodbye.\n",
                        run.out());
            }
        }

        @Test
        void itsSpellingIsShown() throws Exception {
            try (Fake server = Fake.answering("No reciever\n")) {
                assertEquals(
                        "The server refused: No reciever",
                        sentence(piped(server.port(), "2\n", "--user", "bob")));
            }
        }

        @Test
        void itIsFoundUnderLocalhostThoughItListensOnIpv4Only() throws Exception {
            try (Fake server = classicServer()) {
                String port = Integer.toString(server.port());
                assertEquals(0, command(false, "2\n", "localhost", port, "--user", "bob").exit());
            }
        }
    }

    // ---------------------------------------------------------------- on the wire

    @Nested
    class OnTheWire {

        @Test
        void aRequestIsOnePieceWithoutALineEndThenTheEndOfInput() throws Exception {
            var pieces = new ConcurrentLinkedQueue<Integer>();
            try (Fake server =
                    new Fake(socket -> {
                        InputStream in = socket.getInputStream();
                        byte[] buffer = new byte[1000];
                        for (int count; (count = in.read(buffer)) >= 0; ) {
                            pieces.add(count);
                        }
                        socket.getOutputStream().write("No verb\n".getBytes());
                    })) {
                MsgClient client = new MsgClient("127.0.0.1", server.port());
                for (int i = 0; i < 20; i++) {
                    assertThrows(
                            MsgClient.RequestException.class,
                            () -> client.store("bob", "al", "x".repeat(242)));
                }
            }
            assertEquals(
                    IntStream.generate(() -> 255).limit(20).boxed().toList(), List.copyOf(pieces));
        }

        @Test
        void whatIsAskedIsWhatIsSent() throws Exception {
            try (Fake server = Fake.answering("Message accepted and stored:\n")) {
                piped(server.port(), "1\nΚυριάκος\nγειά; 👋 \n", "--user", "al");
                assertEquals(List.of("store;Κυριάκος;al;γειά; 👋 "), List.copyOf(server.requests));
            }
            try (Fake server = Fake.answering("Retrieving messages...\nThere is no such name")) {
                piped(server.port(), "2\n", "--user", "al");
                assertEquals(List.of("fetch;al"), List.copyOf(server.requests));
            }
        }

        @Test
        void itAsksFirstAndConnectsLast() throws Exception {
            // The classic client connected before it asked, and held a process of the server.
            try (Fake server = Fake.answering("Message accepted and stored:\n")) {
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
                MsgClient.Menu menu =
                        new MsgClient.Menu(
                                new MsgClient("127.0.0.1", server.port()),
                                answers,
                                new PrintWriter(out),
                                new PrintWriter(out),
                                true);
                assertTrue(menu.run(null), out.toString());
                assertEquals(1, server.requests.size());
            }
        }

        @Test
        void eachRequestHasAConnectionOfItsOwn() throws Exception {
            try (Fake server = Fake.answering("Retrieving messages...\nThere is no such name\n")) {
                assertEquals(0, piped(server.port(), "2\n2\n2\n", "--user", "al").exit());
                assertEquals(
                        List.of("fetch;al", "fetch;al", "fetch;al"), List.copyOf(server.requests));
            }
        }

        @Test
        void aReplyByteByByteIsWhole() throws Exception {
            byte[] reply =
                    "Retrieving messages...\nbob;al;γειά 👋\nNO MORE MESSAGES"
                            .getBytes(StandardCharsets.UTF_8);
            try (Fake server =
                    new Fake(socket -> {
                        socket.getInputStream().readAllBytes();
                        socket.setTcpNoDelay(true);
                        OutputStream out = socket.getOutputStream();
                        for (byte b : reply) {
                            out.write(b);
                        }
                    })) {
                Run run = piped(server.port(), "2\n", "--user", "bob");
                assertEquals("", run.err());
                assertTrue(run.out().contains("   1. al: γειά 👋\nThat is the only message.\n"));
            }
        }
    }

    // ---------------------------------------------------------------- failures

    /** Every failure is one sentence and back to the menu; a pipe's run then exits with 1. */
    @Nested
    class Failures {

        /** Sends and reads, and gives the two sentences for it. */
        private static List<String> sentences(Run run) {
            assertEquals(1, run.exit());
            assertTrue(run.out().endsWith("Goodbye.\n"), "back to the menu: " + run.out());
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
            try (Socket dead = deadPort()) {
                int port = dead.getLocalPort();
                String expected =
                        "No server answers at 127.0.0.1 port %d. To start one there: jbang MsgServer.java %d"
                                .formatted(port, port);
                Run run = piped(port, BOTH, "--user", "al");
                assertEquals(List.of(expected, expected), sentences(run));
                assertTrue(run.out().contains("Recipient: \nMessage: \n"), "it asks all the same");
            }
        }

        @Test
        void aPersonsRunFailsToo() throws Exception {
            try (Socket dead = deadPort()) {
                assertEquals(1, typed(dead.getLocalPort(), "2\n3\n", "--user", "al").exit());
            }
        }

        @Test
        void anUnknownHost() {
            Run run = command(false, BOTH, "[::zz]", "5000", "--user", "al"); // asks no DNS
            assertEquals(
                    List.of("There is no host called [::zz].", "There is no host called [::zz]."),
                    sentences(run));
        }

        @Test
        void aReplyCutOff() throws Exception {
            try (Fake server = Fake.answering("")) {
                assertEquals(
                        List.of(
                                "The server's reply was cut off; the message may or may not be"
                                        + " stored.",
                                "The server's reply was cut off."),
                        sentences(piped(server.port(), BOTH, "--user", "al")));
            }
        }

        @Test
        void aMailboxCutOff() throws Exception {
            try (Fake server =
                    Fake.answering("Retrieving messages...\nbob;al;one\nbob;al;two\nbob;al;th")) {
                Run run = piped(server.port(), "2\n", "--user", "bob");
                assertEquals("The server's reply was cut off.", sentence(run));
                assertTrue(run.out().contains("   1. al: one\n   2. al: two\n"), run.out());
                assertFalse(run.out().contains("al: th"), "half a message is none");
                assertFalse(run.out().contains("all"), "nothing says that this was all");
            }
        }

        @Test
        void aConnectionReset() throws Exception {
            try (Fake server =
                    new Fake(socket -> {
                        socket.getInputStream().readAllBytes();
                        socket.setOption(StandardSocketOptions.SO_LINGER, 0);
                    })) {
                List<String> sentences = sentences(piped(server.port(), BOTH, "--user", "al"));
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
            try (Fake server = Fake.answering("HTTP/1.1 400 Bad\u001b[31m Request\r\n\r\n")) {
                for (String sentence : sentences(piped(server.port(), BOTH, "--user", "al"))) {
                    assertTrue(sentence.contains("not a reply of a message server"), sentence);
                    assertTrue(sentence.contains("HTTP/1.1 400 Bad\\u001b[31m Request"), sentence);
                }
            }
        }

        @Test
        void anAnswerToAnotherQuestion() throws Exception {
            try (Fake server = Fake.answering("Message accepted and stored:\n")) {
                Run run = piped(server.port(), "2\n", "--user", "al");
                assertTrue(sentence(run).endsWith("not a reply to this request"), run.err());
                assertEquals(1, run.exit());
            }
            try (Fake server = Fake.answering("Retrieving messages...\nThere is no such name\n")) {
                Run run = piped(server.port(), "1\nbob\nhi\n", "--user", "al");
                assertTrue(sentence(run).endsWith("not a reply to this request"), run.err());
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
            try (Fake server = Fake.answering(refusal + "\n")) {
                String sentence = "The server refused: " + refusal;
                assertEquals(
                        List.of(sentence, sentence),
                        sentences(piped(server.port(), BOTH, "--user", "al")));
            }
        }

        @Test
        void foreignTextCannotHurtTheTerminal() throws Exception {
            try (Fake server =
                    Fake.answering(
                            "Retrieving messages...\n"
                                    + "bob;\u202emallory;\u001b[2J\u0007a\tb\r\u009b31m\n"
                                    + "NO MORE MESSAGES\n")) {
                Run run = piped(server.port(), "2\n", "--user", "bob");
                assertTrue(
                        run.out()
                                .contains(
                                        "   1. \\u202emallory:"
                                                + " \\u001b[2J\\u0007a\\tb\\u000d\\u009b31m\n"),
                        run.out());
            }
            try (Fake server = Fake.answering("No \u001b]0;owned\u0007\n")) {
                assertEquals(
                        "The server refused: No \\u001b]0;owned\\u0007",
                        sentence(piped(server.port(), "2\n", "--user", "bob")));
            }
        }
    }

    // ---------------------------------------------------------------- servers that do not answer

    /**
     * They are waited for while the other tests run: it takes as long as the client has patience.
     */
    @Nested
    @EnabledOnOs(OS.LINUX) // where a full backlog drops connections silently
    class Patience {

        @Test
        void fiveSecondsToConnect() throws Exception {
            long millis = waits.connecting().get(60, TimeUnit.SECONDS);
            assertTrue(millis >= 4_900 && millis < 9_000, "was " + millis + " ms");
        }

        @Test
        void tenSecondsForAnAnswer() throws Exception {
            long millis = waits.reading().get(60, TimeUnit.SECONDS);
            assertTrue(millis >= 9_900 && millis < 14_000, "was " + millis + " ms");
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

    /** Two requests under way that nobody answers. */
    private static final class Waits implements AutoCloseable {
        private final Fake silent = new Fake(Waits::keepSilent);
        private final ServerSocket full = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
        private final List<Socket> fillers = new ArrayList<>();
        private final Future<Long> connecting;
        private final Future<Long> reading;

        Waits() throws IOException {
            for (int i = 0; i < 3; i++) { // a backlog of 1 takes two
                Socket filler = new Socket();
                fillers.add(filler);
                try {
                    filler.connect(full.getLocalSocketAddress(), 200);
                } catch (SocketTimeoutException e) {
                    break; // it is full
                }
            }
            connecting = timed(full.getLocalPort(), "");
            reading = timed(silent.port(), "; the message may or may not be stored");
        }

        Future<Long> connecting() {
            return connecting;
        }

        Future<Long> reading() {
            return reading;
        }

        /** Takes the request and never answers. */
        private static void keepSilent(Socket socket) throws IOException {
            socket.getInputStream().readAllBytes();
            try {
                Thread.sleep(15_000); // longer than any client waits
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }

        /** How many milliseconds a store at {@code port} takes that nobody answers. */
        private static Future<Long> timed(int port, String doubt) {
            FutureTask<Long> task =
                    new FutureTask<>(() -> {
                        long start = System.nanoTime();
                        Run run = piped(port, "1\nal\nhi\n", "--user", "bob");
                        assertEquals(
                                "The server at 127.0.0.1 port %d did not answer in time%s."
                                        .formatted(port, doubt),
                                sentence(run));
                        assertEquals(1, run.exit());
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
            silent.close();
        }
    }

    // ---------------------------------------------------------------- the command

    @Nested
    class TheCommand {

        @ParameterizedTest
        @CsvSource(
                delimiter = '|',
                value = {
                    "localhost abc|'abc'",
                    "localhost 70000|70000",
                    "localhost 0|not 0",
                    "localhost -1|-1",
                    "localhost 5000 6000|'6000'",
                    "localhost|PORT",
                    "|HOST",
                    "localhost 5000 --nonsense|--nonsense",
                    "localhost 5000 --user|--user",
                    "localhost 5000 --user=a;b|cannot contain ';'",
                    "localhost 5000 --user=|cannot be empty"
                })
        void wrongUsageIsSaidAndExitsWith2(String arguments, String said) {
            Run run = command(false, "", arguments == null ? new String[0] : arguments.split(" "));
            assertEquals(2, run.exit());
            List<String> lines = run.err().lines().toList();
            assertEquals(2, lines.size(), run.err());
            assertTrue(lines.get(0).contains(said), run.err());
            assertEquals("What it takes: jbang MsgClient.java --help", lines.get(1));
            assertEquals("", run.out());
        }

        @Test
        void aUserNameThatIsTooLongIsWrongUsage() {
            Run run = command(false, "", "localhost", "5000", "--user", "n".repeat(250));
            assertEquals(2, run.exit());
            assertTrue(run.err().contains("bytes too long"), run.err());
        }

        @Test
        void helpLeadsWithExamples() {
            Run run = command(false, "", "--help");
            assertEquals(0, run.exit());
            assertTrue(run.out().startsWith("Examples:\n  jbang MsgClient.java "), run.out());
            for (String part :
                    List.of("HOST", "PORT", "--user", "MSG_HOST", "MSG_PORT", "MSG_USER", "130")) {
                assertTrue(run.out().contains(part), part);
            }
            assertEquals("", run.err());
        }

        @Test
        void versionIsPrinted() {
            Run run = command(false, "", "--version");
            assertEquals(0, run.exit());
            assertTrue(run.out().matches("MsgClient \\d+\\.\\d+\n"), run.out());
        }
    }

    // ---------------------------------------------------------------- as a process

    @Nested
    @EnabledOnOs({OS.LINUX, OS.MAC})
    class AsAProcess {

        /** Runs the client with {@code environment} and {@code input}; stdin ends after it. */
        private static Run client(Map<String, String> environment, String input, String... args)
                throws Exception {
            ProcessBuilder builder = new ProcessBuilder(ServerProcess.java("MsgClient", args));
            builder.environment().putAll(environment);
            Process process = builder.start();
            try {
                FutureTask<String> err = new FutureTask<>(() -> text(process.getErrorStream()));
                Thread.ofVirtual().start(err);
                try (OutputStream stdin = process.getOutputStream()) {
                    stdin.write(input.getBytes(StandardCharsets.UTF_8));
                }
                String out = text(process.getInputStream());
                assertTrue(process.waitFor(30, TimeUnit.SECONDS), "still running: " + out);
                return new Run(process.exitValue(), out, err.get(30, TimeUnit.SECONDS));
            } finally {
                process.destroyForcibly();
            }
        }

        private static String text(InputStream in) throws IOException {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        }

        @Test
        void anyScriptWorksAlsoWhereTheLocaleIsPosix() throws Exception {
            try (Fake server = classicServer()) {
                Run run =
                        client(
                                Map.of("LC_ALL", "POSIX"),
                                "Κυριάκος\n1\nΚυριάκος\nγειά σου 👋\n2\n3\n",
                                "127.0.0.1",
                                Integer.toString(server.port()));
                assertEquals("", run.err());
                assertTrue(run.out().contains("The message to Κυριάκος is stored.\n"), run.out());
                assertTrue(run.out().contains("   1. Κυριάκος: γειά σου 👋\n"), run.out());
                assertEquals(0, run.exit());
            }
        }

        @Test
        void takesWhatIsNotGivenFromTheEnvironment() throws Exception {
            try (Fake server = Fake.answering("Retrieving messages...\nThere is no such name")) {
                Run run =
                        client(
                                Map.of(
                                        "MSG_HOST",
                                        "127.0.0.1",
                                        "MSG_PORT",
                                        Integer.toString(server.port()),
                                        "MSG_USER",
                                        "george"),
                                "2\n");
                assertEquals("", run.err());
                assertEquals(List.of("fetch;george"), List.copyOf(server.requests));
                assertEquals(0, run.exit());
            }
        }

        @Test
        void aFailureIsOneSentenceAndExitCode1() throws Exception {
            try (Socket dead = deadPort()) {
                String port = Integer.toString(dead.getLocalPort());
                Run run = client(Map.of(), "2\n3\n", "127.0.0.1", port, "--user", "bob");
                assertEquals(
                        "No server answers at 127.0.0.1 port "
                                + port
                                + ". To start one there: jbang MsgServer.java "
                                + port
                                + "\n",
                        run.err());
                assertEquals(1, run.exit());
            }
        }

        @Test
        void bytesThatAreNoUtf8AreSaidNotSent() throws Exception {
            try (Fake server = Fake.answering("Message accepted and stored:\n")) {
                ProcessBuilder builder =
                        new ProcessBuilder(
                                ServerProcess.java(
                                        "MsgClient",
                                        "127.0.0.1",
                                        Integer.toString(server.port()),
                                        "--user",
                                        "bob"));
                Process process = builder.start();
                try (OutputStream stdin = process.getOutputStream()) {
                    stdin.write("1\nal\n".getBytes(StandardCharsets.UTF_8));
                    stdin.write(new byte[] {'h', (byte) 0xe9, '\n'}); // é in Latin-1
                }
                assertEquals(
                        "That holds characters that did not arrive as UTF-8.\n",
                        text(process.getErrorStream()));
                assertTrue(process.waitFor(30, TimeUnit.SECONDS));
                assertEquals(1, process.exitValue());
                assertEquals(0, server.requests.size());
            }
        }

        @Test
        void interruptEndsItWhileItAsks() throws Exception {
            Process process =
                    new ProcessBuilder(ServerProcess.java("MsgClient", "127.0.0.1", "5000"))
                            .start();
            try {
                byte[] question = "Your user name: ".getBytes(StandardCharsets.UTF_8);
                assertTrue(
                        Arrays.equals(
                                question, process.getInputStream().readNBytes(question.length)));
                new ProcessBuilder("kill", "-INT", Long.toString(process.pid())).start().waitFor();
                assertTrue(process.waitFor(20, TimeUnit.SECONDS), "still running");
                assertEquals(130, process.exitValue());
                assertEquals("", text(process.getErrorStream()));
            } finally {
                process.destroyForcibly();
            }
        }
    }
}
