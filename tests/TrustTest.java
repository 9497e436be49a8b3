///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Which servers the client speaks TLS with, and what it tells its user
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/ClientRun.java
//SOURCES support/Engine.java
//SOURCES support/FakeTls.java
//SOURCES support/RecordingProxy.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * The client's side of TLS: a server's key is given, known, or accepted by a person; with any other
 * nothing of a request leaves.
 */
class TrustTest {
    private static final String OTHER_KEY = "K7QD-M2XA-9P4T-ZR6H-B3WE";
    private static final String READ = "2\n3\n";

    @TempDir private Path folder;
    private Path home;
    private Engine engine;
    private String port;
    private String key;

    @BeforeEach
    void start() throws Exception {
        engine = new Engine(Transport.TLS, folder, Engine.ROOMY);
        port = String.valueOf(engine.port());
        key = Transport.Keys.SERVER.fingerprint();
        home = Files.createDirectory(folder.resolve("home"));
    }

    @AfterEach
    void stop() {
        engine.close();
    }

    private ClientRun piped(String input, String port, String... more) throws IOException {
        return run(false, input, port, more);
    }

    private ClientRun run(boolean person, String input, String port, String... more)
            throws IOException {
        if (String.join(" ", more).contains("--tls") && !Files.exists(keyFile().getParent())) {
            Transport.Keys.copy(Transport.Keys.OTHER, keyFile()); // to make one takes a second
        }
        List<String> arguments = new ArrayList<>(List.of("127.0.0.1", port, "--user=george"));
        arguments.addAll(List.of(more));
        return ClientRun.command(home, person, input, arguments.toArray(String[]::new));
    }

    private Path keyFile() {
        return home.resolve(".msg-client").resolve("key.pem");
    }

    private Path knownServers() {
        return home.resolve(".msg-client").resolve("known-servers");
    }

    private String claimed() {
        return "The name george now belongs to your key, in " + keyFile() + ". Keep a copy.\n";
    }

    // ---------------------------------------------------------------- the key was given

    @Test
    void aPipeWorksWithTheKeyThatTheServerPrinted() throws Exception {
        Files.createDirectory(keyFile().getParent()); // the client makes its own key there
        ClientRun run = piped(READ, port, "--tls", key);
        assertEquals("", run.err());
        assertEquals(0, run.exit());
        assertEquals(claimed() + "There are no messages for george.\n", run.answer(0));
        assertEquals("127.0.0.1 " + port + " " + key + "\n", Files.readString(knownServers()));

        run = piped("1\nbob\nhi\n2\n3\n", port, "--tls=" + key.toLowerCase());
        assertEquals(0, run.exit(), run.err());
        assertFalse(run.out().contains("belongs"), "that is said once");
    }

    /** The user was told that the server does not answer in TLS, which it did. */
    @Test
    void aKeyThatCannotBeRememberedIsSaidAndNothingIsSent() throws Exception {
        Path missing = folder.resolve("missing").resolve("known-servers");
        Files.createSymbolicLink(
                Files.createDirectory(home.resolve(".msg-client")).resolve("known-servers"),
                missing);
        ClientRun run = piped(READ, port, "--tls", key);
        assertEquals(1, run.exit());
        assertEquals(
                "Cannot write the server's key into %s, and nothing was sent: %s%n"
                        .formatted(
                                knownServers(),
                                "java.nio.file.NoSuchFileException: " + knownServers()),
                run.err());
        assertNull(engine.heard.conversation().request());
    }

    @Test
    void laterRequestsOfOneMenuResumeTheSession() throws Exception {
        // A whole handshake for each request takes both sides 2 ms more, and shows the certificate.
        try (var proxy = new RecordingProxy(engine.port())) {
            ClientRun run = piped("2\n2\n3\n", String.valueOf(proxy.port()), "--tls", key);
            assertEquals(0, run.exit(), run.err());
            List<Integer> sent =
                    proxy.recordings().stream().map(each -> each.fromClient().size()).toList();
            assertEquals(2, sent.size());
            int certificate = 300; // bytes, or more
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
        assertTrue(run.out().contains("Your choice: " + question + claimed() + none), run.out());
        assertEquals(2, run.out().split("Is that what").length, "asked once: " + run.out());
        assertFalse(run(true, READ, port, "--tls").out().contains("new here"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"no\n", "\n", "y\n", ""})
    void anythingButYesIsNo(String answer) throws Exception {
        ClientRun run = run(true, "1\nbob\nhi\n" + answer, port, "--tls");
        assertEquals("That server is not trusted, and nothing was sent.", run.sentence());
        assertEquals(1, run.exit());
        assertFalse(Files.exists(knownServers()));
        assertEquals(Wire.EMPTY, engine.ask("fetch;bob"));
    }

    @Test
    void aPersonMayTakeLongerThanTheServerWaits() throws Exception {
        // The handshake has ended by then, and another one follows.
        Path other = Files.createDirectory(folder.resolve("other"));
        try (Engine hasty = new Engine(Transport.TLS, other, Engine.limits(1_000, 100, 1_000))) {
            var out = new PrintWriter(new StringWriter());
            var slow = new Slow(hasty);
            Trust trust = Trust.of(home, "127.0.0.1", hasty.port(), Trust.ANY, slow, out);
            var client = new MsgClient("127.0.0.1", hasty.port(), trust);
            assertEquals(0, client.fetch("george", mail -> {}));
        }
    }

    /** Says yes, once the server has let go of the first connection. */
    private record Slow(Engine server) implements Answers {
        @Override
        public String ask(String question) throws IOException {
            try {
                Waiting.eventually("it is over", () -> !server.heard.conversations().isEmpty());
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
    void aPipeIsToldTheKeyAndNothingIsSent() throws Exception {
        ClientRun run = piped("1\nbob\nhi\n3\n", port, "--tls");
        assertEquals(
                "This server is new here, with the key "
                        + key
                        + ", and nothing was sent. If that"
                        + " is what it printed at its start, start with --tls "
                        + key
                        + ".",
                run.sentence());
        assertEquals(1, run.exit());
        assertEquals(Wire.EMPTY, engine.ask("fetch;bob"));
    }

    // ---------------------------------------------------------------- the key is another one

    @Test
    void aServerWithAnotherKeyReceivesNothing() throws Exception {
        try (FakeServer other = FakeTls.answering(Transport.Keys.OTHER.sockets(), Wire.STORED)) {
            String port = String.valueOf(other.port());
            String shown = Transport.Keys.OTHER.fingerprint();
            String sentence =
                    "127.0.0.1 port %s shows the key %s instead of %s, and nothing was sent. Either"
                            + " it was set up anew, or another answers in its place: ask who runs"
                            + " it, and if that key is right, start once with --tls %2$s.";
            ClientRun given = piped("1\nbob\nhi\n3\n", port, "--tls", OTHER_KEY);
            assertEquals(sentence.formatted(port, shown, OTHER_KEY), given.sentence());
            assertEquals(1, given.exit());

            Files.writeString(knownServers(), "127.0.0.1 " + port + " " + key + "\n");
            for (String[] options : new String[][] {{"--tls"}, {}}) {
                for (boolean person : new boolean[] {true, false}) {
                    ClientRun known = run(person, "1\nbob\nhi\n3\n", port, options);
                    assertEquals(sentence.formatted(port, shown, key), known.sentence());
                    assertEquals(1, known.exit());
                }
            }
            assertEquals(List.of(), List.copyOf(other.requests));

            // What the sentence says to do.
            ClientRun renewed = piped("1\nbob\nhi\n3\n", port, "--tls", shown);
            assertEquals("", renewed.err());
            assertEquals(0, piped("1\nbob\nhi\n3\n", port).exit());
            assertEquals(
                    List.of("store;bob;george;hi", "store;bob;george;hi"),
                    List.copyOf(other.requests),
                    "inside TLS the bytes are those of the plain protocol");
        }
    }

    @Test
    void aServerWithTheCertificateButNotItsKeyReceivesNothing() throws Exception {
        Path pem = folder.resolve("server.pem");
        String certified = Transport.Keys.OTHER.fingerprint();
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

    @Test
    void whoAnswersInPlainTextReceivesNothing() throws Exception {
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
            assertTrue(sentence.endsWith(". Was it started with --tls?"), sentence);
            assertEquals(1, run.exit());
        }
    }

    // ---------------------------------------------------------------- no plain text by accident

    @Test
    void aKnownServerIsNotSpokenToInPlainTextAnyMore() throws Exception {
        assertEquals(0, piped(READ, port, "--tls", key).exit());
        ClientRun run = piped(READ, port);
        assertTrue(run.out().startsWith("The key of this server is known, so TLS is used.\n"));
        assertEquals(0, run.exit(), run.err());
    }

    @Test
    void withoutTlsNothingIsMadeInTheHome() throws Exception {
        try (FakeServer server = FakeServer.answering(Wire.EMPTY)) {
            assertEquals(0, piped(READ, String.valueOf(server.port())).exit());
            assertFalse(Files.exists(home.resolve(".msg-client")));
        }
    }

    @Test
    void aPlainClientOfATlsServerIsToldWhatToType() throws Exception {
        assertEquals(
                "The server refused: Message declined. This server speaks TLS only. Start with"
                        + " --tls.",
                piped(READ, port).sentence());
    }

    @ParameterizedTest
    @ValueSource(strings = {"127.0.0.1 5000", "127.0.0.1 5000 K7QD-M2XA", "\u0000", "\n"})
    void knownServersThatCannotBeReadEndTheClient(String content) throws Exception {
        // Whether a server is known must not be guessed: the request could go out in plain text.
        Files.createDirectory(home.resolve(".msg-client"));
        Files.writeString(knownServers(), content);
        for (String[] options : new String[][] {{}, {"--tls"}, {"--tls", key}}) {
            ClientRun run = piped(READ, port, options);
            assertTrue(
                    run.sentence()
                            .startsWith("Cannot tell which servers are known: " + knownServers()),
                    run.sentence());
            assertEquals(1, run.exit());
            assertEquals("", run.out());
            assertEquals(content, Files.readString(knownServers()));
        }
    }

    @Test
    void aKeyFileThatCannotBeReadEndsTheClient() throws Exception {
        Files.createDirectory(home.resolve(".msg-client"));
        Files.writeString(keyFile(), "-----BEGIN PRIVATE KEY-----\nMIGHAgEA");
        ClientRun run = piped(READ, port, "--tls", key);
        assertTrue(run.sentence().startsWith("Cannot use the key in " + keyFile()), run.sentence());
        assertEquals(1, run.exit());
    }

    // ---------------------------------------------------------------- names and typing

    @Test
    void aNameOfAnotherKeyIsRefusedWithWhatToDo() throws Exception {
        engine.ask("store;bob;george;hi"); // by the key of the tests' raw client
        ClientRun run = piped("1\nbob\nhi\n2\n3\n", port, "--tls", key);
        String sentence =
                "The server refused: Message declined. That name belongs to another key. Copy the"
                        + " key from the machine that used the name first to "
                        + keyFile()
                        + ", or ask who runs the server.\n";
        assertEquals(sentence + sentence, run.err());
        assertEquals(1, run.exit());
        assertFalse(run.out().contains("belongs to your key"), run.out());
    }

    @Test
    void aHostInThePlaceOfTheKeyIsToldSo() {
        ClientRun run = ClientRun.command(home, false, READ, "--tls", "127.0.0.1", port);
        assertEquals(2, run.exit());
        String first = run.err().lines().findFirst().orElseThrow();
        assertTrue(first.contains("'127.0.0.1' is no key"), first);
    }
}
