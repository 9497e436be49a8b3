///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of how the client trusts a server's key, and of its messages to the user
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/ClientRun.java
//SOURCES support/Engine.java
//SOURCES support/FakeServer.java
//SOURCES support/FakeTls.java
//SOURCES support/RecordingProxy.java
//SOURCES support/TlsUser.java
//SOURCES support/Transport.java
//SOURCES support/Waiting.java
//SOURCES support/Wire.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * The client's side of TLS. The client trusts a server's key if the key is in its arguments, is
 * known from before, or is accepted by a person. The client sends no byte of a request to any other
 * server.
 */
class TrustTest extends TlsUser {
    private static final String NOT_TRUSTED =
            "The server is not trusted, and nothing was sent. In a script, give --tls the key"
                    + " that the server printed.";

    /**
     * The sentence about names, which appears once. The client cannot know whether a name is free.
     */
    private String aboutNames() {
        return "A name is yours if your key is the first to use it. Keep a copy of %s\n"
                .formatted(keyFile());
    }

    // ---------------------------------------------------------------- the key was given

    @Test
    void aPipeWorksWithTheKeyThatTheServerPrinted() throws Exception {
        Files.createDirectory(keyFile().getParent()); // the client creates its own key there
        ClientRun run = piped(READ, port, "--tls", key);
        assertEquals("", run.err());
        assertEquals(0, run.exit());
        assertEquals(aboutNames() + "There are no messages for george.\n", run.answer(0));
        assertEquals("127.0.0.1 " + port + " " + key + "\n", Files.readString(knownServers()));

        run = piped("1\nbob\nhi\n2\n3\n", port, "--tls=" + key.toLowerCase());
        assertEquals(0, run.exit(), run.err());
        assertFalse(
                run.out().contains("A name is yours"), "the sentence about names appears again");
    }

    /**
     * In an earlier version the client reported that the server does not answer in TLS, although
     * the server had answered in TLS.
     */
    @Test
    void aKeyThatCannotBeSavedIsReportedAndNoRequestIsSent() throws Exception {
        known("");
        var out = new PrintWriter(new StringWriter());
        Trust trust = new Trust(home, "127.0.0.1", engine.port(), key, null, out);
        Files.delete(knownServers());
        Files.createDirectory(knownServers());
        var client = new MsgClient("127.0.0.1", engine.port(), trust);
        var refused = assertThrows(RequestException.class, () -> client.fetch("bob", mail -> {}));
        assertTrue(
                refused.getMessage()
                        .startsWith(
                                "Cannot write the server's key into %s, and nothing was sent: "
                                        .formatted(knownServers())),
                refused.getMessage());
        assertNull(engine.heard.conversation().request);
    }

    @Test
    void laterRequestsOfOneMenuResumeTheSession() throws Exception {
        // A full handshake for each request takes 2 ms more on both sides, and sends the
        // certificate again.
        try (var proxy = new RecordingProxy(engine.port())) {
            ClientRun run = piped("2\n2\n3\n", String.valueOf(proxy.port()), "--tls", key);
            assertEquals(0, run.exit(), run.err());
            List<Integer> sent =
                    proxy.recordings().stream().map(each -> each.fromClient().size()).toList();
            assertEquals(2, sent.size());
            int certificate = 300; // at least this many bytes
            assertTrue(
                    proxy.recordings().get(1).fromServer().size() + certificate
                            < proxy.recordings().get(0).fromServer().size(),
                    sent.toString());
        }
    }

    // ---------------------------------------------------------------- the key is asked for

    @Test
    void aPersonIsAskedOnceForAServer() throws Exception {
        String none = "There are no messages for george.\n";
        String question =
                """
                This server is new here. Its key is %s.
                Is that what the server printed? (yes/no) \
                """
                        .formatted(key);
        ClientRun run = run(true, "2\nyes\n2\n3\n", port, "--tls");
        assertEquals("", run.err());
        assertTrue(run.out().contains("Your choice: " + question + aboutNames() + none), run.out());
        assertEquals(2, run.out().split("Is that what").length, "asked once: " + run.out());
        assertFalse(run(true, READ, port, "--tls").out().contains("new here"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"y", "Y", "yes", " Yes "})
    void anAnswerOfYesMayBeShort(String answer) throws Exception {
        ClientRun run = run(true, "1\nbob\nhi\n" + answer + "\n3\n", port, "--tls");
        assertEquals("", run.err());
        assertTrue(engine.ask("fetch;bob").contains("bob;george;hi"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"no\n", "\n", "yesterday\n", ""})
    void anyOtherAnswerThanYesIsNo(String answer) throws Exception {
        ClientRun run = run(true, "1\nbob\nhi\n" + answer, port, "--tls");
        assertEquals(NOT_TRUSTED, run.sentence());
        assertEquals(1, run.exit());
        assertFalse(Files.exists(knownServers()));
        assertEquals(Wire.EMPTY, engine.ask("fetch;bob"));
    }

    @Test
    void aPersonMayTakeLongerThanTheServerWaits() throws Exception {
        // When the person answers, the server has closed the connection of the first handshake. The
        // client then connects again.
        Path other = Files.createDirectory(folder.resolve("other"));
        try (Engine hasty = new Engine(Transport.TLS, other, Engine.limits(1_000, 100, 1_000))) {
            var out = new PrintWriter(new StringWriter());
            var slow = new Slow(hasty);
            Trust trust = new Trust(home, "127.0.0.1", hasty.port(), Trust.ANY, slow, out);
            var client = new MsgClient("127.0.0.1", hasty.port(), trust);
            assertEquals(0, client.fetch("george", mail -> {}));
        }
    }

    /** Answers yes after the server has closed the first connection. */
    private record Slow(Engine server) implements Answers {
        @Override
        public String ask(String question) throws IOException {
            try {
                Waiting.eventually(
                        "the first connection has ended",
                        () -> !server.heard.conversations().isEmpty());
            } catch (Exception e) {
                throw new IOException(e);
            }
            return "yes";
        }

        @Override
        public boolean person() {
            return true;
        }
    }

    @Test
    void aPipeGetsTheKeyAndNoRequestIsSent() throws Exception {
        ClientRun run = piped("1\nbob\nhi\n3\n", port, "--tls");
        assertEquals(
                "This server is new here. Its key is " + key + ".\n",
                run.answer(0).lines().skip(2).findFirst().orElseThrow() + "\n");
        assertEquals(NOT_TRUSTED, run.sentence());
        assertEquals(1, run.exit());
        assertEquals(Wire.EMPTY, engine.ask("fetch;bob"));
    }

    // ---------------------------------------------------------------- the key is another one

    @Test
    void aServerWithAnotherKeyReceivesNoRequest() throws Exception {
        try (FakeServer other = FakeTls.answering(Transport.Keys.OTHER.sockets, Wire.STORED)) {
            String port = String.valueOf(other.port());
            String shown = Transport.Keys.OTHER.fingerprint;
            // In an earlier version the sentence showed the stranger's key in a command, which a
            // user could paste.
            String sentence =
                    "127.0.0.1 port %s shows the key %s instead of %s, and nothing was sent. Either"
                            + " it was set up anew, or another server answers in its place: ask its"
                            + " operator, not through this server, for the key that it printed.";
            ClientRun given = piped("1\nbob\nhi\n3\n", port, "--tls", OTHER_KEY);
            assertEquals(sentence.formatted(port, shown, OTHER_KEY), given.sentence());
            assertEquals(1, given.exit());

            String lines = "name.invalid 5000 K\n127.0.0.1 P K\n\nlocalhost P K\n";
            Files.writeString(knownServers(), lines.replace("P", port).replace("K", key));
            String remove =
                    " If that is the new key, delete line 2 and line 4 of %s and start again with"
                            + " --tls.";
            for (String[] options : new String[][] {{"--tls"}, {}}) {
                for (boolean person : new boolean[] {true, false}) {
                    ClientRun known = run(person, "1\nbob\nhi\n3\n", port, options);
                    assertEquals(
                            sentence.formatted(port, shown, key) + remove.formatted(knownServers()),
                            known.sentence());
                    assertEquals(1, known.exit());
                }
            }
            assertEquals(List.of(), List.copyOf(other.requests));

            // The test follows the advice of the sentence.
            Files.writeString(knownServers(), "name.invalid 5000 " + key + "\n\n");
            ClientRun renewed = run(true, "1\nbob\nhi\nyes\n3\n", port, "--tls");
            assertEquals("", renewed.err());
            assertEquals(0, piped("1\nbob\nhi\n3\n", port).exit());
            assertEquals(
                    List.of("store;bob;george;hi", "store;bob;george;hi"),
                    List.copyOf(other.requests),
                    "inside TLS the bytes are those of the plain protocol");
        }
    }

    @Test
    void aServerWithTheCertificateButNotItsKeyReceivesNoRequest() throws Exception {
        Path pem = folder.resolve("server.pem");
        String certified = Transport.Keys.OTHER.fingerprint;
        Transport.Keys.copy(Transport.Keys.OTHER, pem);
        try (FakeServer forger = FakeTls.answering(FakeTls.withCertificateOf(pem), Wire.STORED)) {
            ClientRun run =
                    piped("1\nbob\nhi\n3\n", String.valueOf(forger.port()), "--tls", certified);
            assertTrue(run.sentence().contains("and nothing was sent"), run.sentence());
            assertTrue(run.sentence().contains("CertificateVerify"), run.sentence());
            assertEquals(1, run.exit());
            assertEquals(List.of(), List.copyOf(forger.requests));
        }
    }

    /**
     * In an earlier version the client reported a full server as a server without TLS, and users
     * then chose plain text.
     */
    @Test
    void aFullServerIsReportedAsBusy() throws Exception {
        try (FakeServer full =
                new FakeServer(socket -> {
                    socket.getInputStream().readNBytes(20);
                    socket.getOutputStream().write(TlsConnection.BUSY);
                })) {
            ClientRun run = piped(READ, String.valueOf(full.port()), "--tls", key);
            assertEquals(
                    "The server refused: Message declined. Server is busy, try again later",
                    run.sentence());
            assertEquals(1, run.exit());
        }
    }

    @Test
    void aServerThatAnswersInPlainTextReceivesNoRequest() throws Exception {
        try (FakeServer plain =
                new FakeServer(socket -> {
                    byte[] request = socket.getInputStream().readNBytes(20);
                    String text = new String(request, StandardCharsets.ISO_8859_1);
                    assertFalse(text.startsWith("store"), text);
                    socket.getOutputStream().write(Wire.STORED.getBytes());
                })) {
            String port = String.valueOf(plain.port());
            ClientRun run = piped("1\nbob\nhi\n3\n", port, "--tls", key);
            String sentence = run.sentence();
            assertTrue(
                    sentence.startsWith(
                            "127.0.0.1 port "
                                    + port
                                    + " does not answer in TLS, and nothing was sent: "),
                    sentence);
            assertTrue(
                    sentence.endsWith(". Was it started with --tls? If not, see docs/tls.md."),
                    sentence);
            assertEquals(1, run.exit());
        }
    }

    // ---------------------------------------------------------------- no plain text by accident

    @Test
    void aKnownServerGetsNoPlainText() throws Exception {
        assertEquals(0, piped(READ, port, "--tls", key).exit());
        ClientRun run = piped(READ, port);
        assertTrue(run.out().startsWith("The key of this server is known, so TLS is used.\n"));
        assertEquals(0, run.exit(), run.err());
    }

    @Test
    void withoutTlsTheClientCreatesNoFileInTheHome() throws Exception {
        try (FakeServer server = FakeServer.answering(Wire.EMPTY)) {
            assertEquals(0, piped(READ, String.valueOf(server.port())).exit());
            assertFalse(Files.exists(home.resolve(".msg-client")));
        }
    }

    @Test
    void aPlainClientOfATlsServerPrintsTheRightCommand() throws Exception {
        assertEquals(
                "The server refused: Message declined. This server speaks TLS only. Start with"
                        + " --tls.",
                piped(READ, port).sentence());
    }

    // ---------------------------------------------------------------- names and typing

    @Test
    void aNameOfAnotherKeyIsRefusedWithAdvice() throws Exception {
        engine.ask("store;bob;george;hi"); // with the key of Transport.Keys.CLIENT
        ClientRun run = piped("1\nbob\nhi\n2\n3\n", port, "--tls", key);
        String sentence =
                "The server refused: Message declined. That name belongs to another key. Copy to "
                        + keyFile()
                        + " the key that first used the name, or ask the operator.\n";
        assertEquals(sentence + sentence, run.err());
        assertEquals(1, run.exit());
    }

    @Test
    void aHostInPlaceOfTheKeyIsReported() {
        ClientRun run = ClientRun.command(home, false, READ, "--tls", "127.0.0.1", port);
        assertEquals(2, run.exit());
        String first = run.err().lines().findFirst().orElseThrow();
        assertTrue(first.contains("'127.0.0.1' is no key"), first);
    }
}
