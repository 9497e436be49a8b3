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
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.InetAddress;
import java.net.NetworkInterface;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/**
 * The client's side of TLS: a server's key is given, known, or accepted by a person; with any other
 * nothing of a request leaves.
 */
class TrustTest {
    private static final String OTHER_KEY = "K7QD-M2XA-9P4T-ZR6H-B3WE";
    private static final String READ = "2\n3\n";
    private static final String NOT_TRUSTED =
            "That server is not trusted, and nothing was sent. A script starts with --tls and the"
                    + " key that the server printed.";

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
            Transport.Keys.copy(Transport.Keys.OTHER, keyFile());
        }
        return run("127.0.0.1", person, input, port, more);
    }

    private ClientRun run(String host, boolean person, String input, String port, String... more) {
        List<String> arguments = new ArrayList<>(List.of(host, port, "--user=george"));
        arguments.addAll(List.of(more));
        return ClientRun.command(home, person, input, arguments.toArray(String[]::new));
    }

    /** What a user has who has accepted servers before: a key, and {@code lines}. */
    private void known(String lines) throws IOException {
        Transport.Keys.copy(Transport.Keys.OTHER, keyFile());
        Files.writeString(knownServers(), lines);
    }

    private Path keyFile() {
        return home.resolve(".msg-client").resolve("key.pem");
    }

    private Path knownServers() {
        return home.resolve(".msg-client").resolve("known-servers");
    }

    /** What is said of names, once, whatever becomes of them: the client cannot tell. */
    private String aboutNames() {
        return "A name is yours if your key is the first to use it. Keep a copy of %s\n"
                .formatted(keyFile());
    }

    // ---------------------------------------------------------------- the key was given

    @Test
    void aPipeWorksWithTheKeyThatTheServerPrinted() throws Exception {
        Files.createDirectory(keyFile().getParent()); // the client makes its own key there
        ClientRun run = piped(READ, port, "--tls", key);
        assertEquals("", run.err());
        assertEquals(0, run.exit());
        assertEquals(aboutNames() + "There are no messages for george.\n", run.answer(0));
        assertEquals("127.0.0.1 " + port + " " + key + "\n", Files.readString(knownServers()));

        run = piped("1\nbob\nhi\n2\n3\n", port, "--tls=" + key.toLowerCase());
        assertEquals(0, run.exit(), run.err());
        assertFalse(run.out().contains("A name is yours"), "that is said once");
    }

    /** The user was told that the server does not answer in TLS, which it did. */
    @Test
    void aKeyThatCannotBeRememberedIsSaidAndNothingIsSent() throws Exception {
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
    void anythingButYesIsNo(String answer) throws Exception {
        ClientRun run = run(true, "1\nbob\nhi\n" + answer, port, "--tls");
        assertEquals(NOT_TRUSTED, run.sentence());
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
            Trust trust = new Trust(home, "127.0.0.1", hasty.port(), Trust.ANY, slow, out);
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
                "This server is new here. Its key is " + key + ".\n",
                run.answer(0).lines().skip(2).findFirst().orElseThrow() + "\n");
        assertEquals(NOT_TRUSTED, run.sentence());
        assertEquals(1, run.exit());
        assertEquals(Wire.EMPTY, engine.ask("fetch;bob"));
    }

    // ---------------------------------------------------------------- the key is another one

    @Test
    void aServerWithAnotherKeyReceivesNothing() throws Exception {
        try (FakeServer other = FakeTls.answering(Transport.Keys.OTHER.sockets(), Wire.STORED)) {
            String port = String.valueOf(other.port());
            String shown = Transport.Keys.OTHER.fingerprint();
            // The sentence had the stranger's key in a command, ready to be pasted.
            String sentence =
                    "127.0.0.1 port %s shows the key %s instead of %s, and nothing was sent. Either"
                            + " it was set up anew, or another answers in its place: ask who runs"
                            + " it, by another way than this server, for the key that it printed.";
            ClientRun given = piped("1\nbob\nhi\n3\n", port, "--tls", OTHER_KEY);
            assertEquals(sentence.formatted(port, shown, OTHER_KEY), given.sentence());
            assertEquals(1, given.exit());

            String lines = "name.invalid 5000 K\n127.0.0.1 P K\n\nlocalhost P K\n";
            Files.writeString(knownServers(), lines.replace("P", port).replace("K", key));
            String remove =
                    " If that is the new one, delete line 2 and line 4 of %s and start again with"
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

            // What the sentence says to do.
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
            assertTrue(
                    sentence.endsWith(". Was it started with --tls? If not, see docs/tls.md."),
                    sentence);
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

    // ---------------------------------------------------------------- one server, many spellings

    private static final String IN_TLS = "The key of this server is known, so TLS is used.\n";

    /** Its names and addresses, however they are written. */
    private static Set<String> thisMachine() throws IOException {
        Set<String> hosts =
                new LinkedHashSet<>(
                        List.of(
                                "localhost",
                                "LocalHost",
                                "::1",
                                "[::1]",
                                "0:0:0:0:0:0:0:1",
                                "0::1",
                                "127.1",
                                "127.0.1",
                                "127.0.0.1",
                                "2130706433",
                                "127.0.0.2",
                                "::ffff:127.0.0.1",
                                "[::ffff:127.0.0.1]",
                                "::ffff:7f00:1",
                                "::FFFF:7F00:0001",
                                "0",
                                "0.0.0.0",
                                "::"));
        String own = InetAddress.getLocalHost().getHostName();
        for (String name : List.of("localhost.", "ip6-localhost", "::1%lo", own)) {
            try {
                InetAddress.getAllByName(name);
                hosts.add(name);
            } catch (UnknownHostException e) {
                // Not every machine has this name.
            }
        }
        for (NetworkInterface each : Collections.list(NetworkInterface.getNetworkInterfaces())) {
            each.inetAddresses().forEach(address -> hosts.add(address.getHostAddress()));
        }
        return hosts;
    }

    /** The request went out in plain text as soon as the server was called something else. */
    @Test
    void aServerIsKnownByItsAddressWhateverItIsCalled() throws Exception {
        for (String host : thisMachine()) {
            for (String accepted : List.of("127.0.0.1", "localhost")) {
                known("%s %s %s\n".formatted(accepted, port, key));
                assertEquals(IN_TLS, said(host), accepted + " as " + host);
                known("%s %s %s\n".formatted(host, port, key));
                assertEquals(IN_TLS, said(accepted), host + " as " + accepted);
            }
        }
        known("127.0.0.1 %s %s\n".formatted(port, key));
        for (String host : List.of("127.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]")) {
            assertEquals("", run(host, false, READ, port).err());
        }
    }

    /** What the client says at its start without {@code --tls}. */
    private String said(String host) throws IOException {
        var out = new StringWriter();
        new Trust(home, host, engine.port(), null, null, new PrintWriter(out));
        return out.toString().replace(System.lineSeparator(), "\n");
    }

    @Test
    void aServerIsKnownByTheAddressAtWhichItWasAccepted() throws Exception {
        // Names change their addresses, and are unknown where no one can be asked.
        run("localhost", false, READ, port, "--tls", key);
        String lines = Files.readString(knownServers());
        assertEquals("localhost P K\n127.0.0.1 P K\n", lines.replace(port, "P").replace(key, "K"));
        Files.writeString(knownServers(), lines.replace("localhost", "name.invalid"));
        assertEquals(IN_TLS, said("127.1"));
    }

    @Test
    void aNameIsKnownWithoutItsAddress() throws Exception {
        known("name.invalid %s %s\n".formatted(port, key));
        for (String name : List.of("name.invalid", "NAME.Invalid", "name.invalid.")) {
            assertEquals(IN_TLS, said(name), name);
        }
    }

    /** Whoever can answer for a name could point it at another server that was accepted. */
    @Test
    void aNameThatIsKnownIsNotKnownByItsAddress() throws Exception {
        known(
                "localhost P OTHER\n127.0.0.1 P KEY\n"
                        .replace("P", port)
                        .replace("OTHER", OTHER_KEY)
                        .replace("KEY", key));
        String sentence = run("localhost", false, READ, port).sentence();
        assertTrue(sentence.contains(key + " instead of " + OTHER_KEY), sentence);
    }

    @Test
    void anotherPortIsAnotherServer() throws Exception {
        try (FakeServer server = FakeServer.answering(Wire.EMPTY)) {
            known("127.0.0.1 " + port + " " + key + "\n");
            ClientRun run = piped(READ, String.valueOf(server.port()));
            assertEquals("", run.err());
            assertEquals(List.of("fetch;george"), List.copyOf(server.requests));
        }
    }

    /** Its user, who has a key, could take it for a conversation in TLS. */
    @Test
    void whoHasAKeyIsToldOfPlainText() throws Exception {
        known("");
        try (FakeServer server = FakeServer.answering(Wire.EMPTY)) {
            ClientRun run = piped(READ, String.valueOf(server.port()));
            String warning = "No key of this server is known, so plain text is sent (see --tls).\n";
            assertTrue(run.out().startsWith(warning), run.out());
            assertEquals(0, run.exit());
        }
    }

    /** A menu that was open in plain text went on so. */
    @Test
    void aServerThatIsAcceptedMeanwhileGetsNoPlainText() throws Exception {
        var out = new StringWriter();
        Trust trust = new Trust(home, "127.0.0.1", engine.port(), null, null, new PrintWriter(out));
        assertEquals("", out.toString());
        known("127.0.0.1 " + port + " " + key + "\n");
        var client = new MsgClient("127.0.0.1", engine.port(), trust);
        client.store("bob", "george", "secret");
        assertEquals(IN_TLS, out.toString().replace(System.lineSeparator(), "\n"));
        assertEquals("bob", engine.heard.conversation().request.recipient());
    }

    // ---------------------------------------------------------------- the file of known servers

    @Test
    void linesMayBeBlankOrCommentsAndEndAsTheyLike() throws Exception {
        for (String content :
                List.of(
                        "HOST PORT KEY",
                        "HOST PORT KEY\r\n",
                        "[HOST] PORT KEY\n",
                        "HOST. PORT KEY\n",
                        "\n\nHOST PORT KEY\n \n",
                        "# the server of the class\nHOST PORT KEY\n# another",
                        "other.invalid 1 KEY\nHOST PORT KEY\nother.invalid 2 KEY\n")) {
            known(content.replace("HOST", "127.0.0.1").replace("PORT", port).replace("KEY", key));
            assertEquals(IN_TLS, said("127.0.0.1"), content);
        }
    }

    /** Whether a server is known must not be guessed: a request could go out in plain text. */
    @Test
    void aLineOfAnotherFormEndsTheClient() throws Exception {
        for (String line :
                List.of(
                        "HOST PORT",
                        "HOST PORT K7QD-M2XA",
                        "KEY",
                        "HOST  PORT KEY",
                        "HOST PORT  KEY",
                        " HOST PORT KEY",
                        "HOST PORT KEY ",
                        "HOST\tPORT\tKEY",
                        "HOST\u00a0PORT KEY",
                        "\u00a0HOST PORT KEY",
                        "\ufeffHOST PORT KEY",
                        "HOST\u200b PORT KEY",
                        "HOST PORT KEY\ufeff",
                        "HOST 0PORT KEY",
                        "HOST +PORT KEY",
                        "HOST:PORT KEY",
                        "'HOST' PORT KEY",
                        "HOST, PORT KEY",
                        "tcp://HOST PORT KEY",
                        "HOST PORT KEY # mine",
                        "HOST PORT KEYHOST PORT KEY",
                        "\u0000",
                        "HOST PORT KEY\u0000",
                        "\u00a0")) {
            String content = "# mine\n\n%s\n".formatted(line);
            content =
                    content.replace("HOST", "127.0.0.1").replace("PORT", port).replace("KEY", key);
            known(content);
            var refused = assertThrows(IOException.class, () -> said("127.0.0.1"), line);
            assertEquals(
                    ("Cannot tell which servers are known: %s: line 3 is not HOST PORT KEY;"
                                    + " mend or delete it.")
                            .formatted(knownServers()),
                    refused.getMessage());
            assertEquals(content, Files.readString(knownServers()));
        }
        for (String[] options : new String[][] {{}, {"--tls"}, {"--tls", key}}) {
            ClientRun run = piped(READ, port, options);
            assertTrue(run.sentence().startsWith("Cannot tell which"), run.sentence());
            assertEquals(1, run.exit());
            assertEquals("", run.out());
        }
    }

    @Test
    void aFileInAnotherEncodingEndsTheClient() throws Exception {
        for (String charset : List.of("UTF-16", "UTF-16LE", "UTF-32")) {
            known("");
            String line = "127.0.0.1 %s %s\n".formatted(port, key);
            Files.write(knownServers(), line.getBytes(charset));
            String sentence = piped(READ, port).sentence();
            assertTrue(sentence.contains(knownServers() + ": line 1 is not "), sentence);
        }
    }

    private static void pipe(Path file) throws Exception {
        assertEquals(0, new ProcessBuilder("mkfifo", file.toString()).start().waitFor());
    }

    /** Reasons not to read a file, none of which proves that there is no file. */
    private enum Unreadable {
        A_LINK_THAT_LEADS_NOWHERE {
            @Override
            void make(Path folder) throws IOException {
                Files.createDirectory(folder);
                Files.createSymbolicLink(folder.resolve("known-servers"), Path.of("nowhere"));
            }
        },
        A_FOLDER_THAT_IS_SUCH_A_LINK {
            @Override
            void make(Path folder) throws IOException {
                Files.createSymbolicLink(folder, Path.of("nowhere"));
            }
        },
        A_HOME_THAT_IS_SUCH_A_LINK {
            @Override
            void make(Path folder) throws IOException {
                Files.delete(folder.getParent());
                Files.createSymbolicLink(folder.getParent(), Path.of("nowhere"));
            }
        },
        A_FOLDER_THAT_IS_A_FILE {
            @Override
            void make(Path folder) throws IOException {
                Files.createFile(folder);
            }
        },
        A_LINK_TO_ITSELF { // as unreadable as a folder without x, and for root, too
            @Override
            void make(Path folder) throws IOException {
                Files.createSymbolicLink(folder, folder);
            }
        },
        A_FOLDER {
            @Override
            void make(Path folder) throws IOException {
                Files.createDirectories(folder.resolve("known-servers"));
            }
        },
        A_PIPE {
            @Override
            void make(Path folder) throws Exception {
                Files.createDirectory(folder);
                pipe(folder.resolve("known-servers"));
            }
        },
        A_DEVICE {
            @Override
            void make(Path folder) throws Exception {
                Files.createDirectory(folder);
                Files.createSymbolicLink(folder.resolve("known-servers"), Path.of("/dev/zero"));
            }
        },
        A_LARGE_FILE {
            @Override
            void make(Path folder) throws Exception {
                Files.createDirectory(folder);
                Files.writeString(folder.resolve("known-servers"), "# none\n".repeat(9_363));
            }
        },
        A_FILE_OF_ANOTHER_USER { // who could add a server of their own
            @Override
            void make(Path folder) throws IOException {
                Files.createDirectory(folder);
                Path file = Files.writeString(folder.resolve("known-servers"), "# none\n");
                try {
                    Files.setAttribute(file, "unix:uid", 12_345);
                } catch (IOException | UnsupportedOperationException e) {
                    Assumptions.abort("only root gives files away: " + e.getMessage());
                }
            }
        },
        A_FILE_THAT_OTHERS_MAY_CHANGE {
            @Override
            void make(Path folder) throws IOException {
                Files.createDirectory(folder);
                Path file = Files.writeString(folder.resolve("known-servers"), "# none\n");
                try {
                    Files.setPosixFilePermissions(
                            file, PosixFilePermissions.fromString("rw-rw-rw-"));
                } catch (UnsupportedOperationException e) {
                    Assumptions.abort("files have no permissions here");
                }
            }
        };

        abstract void make(Path folder) throws Exception;
    }

    @ParameterizedTest
    @EnumSource(Unreadable.class)
    void aFileThatCannotBeReadEndsTheClient(Unreadable reason) throws Exception {
        reason.make(home.resolve(".msg-client"));
        try (FakeServer server = FakeServer.answering(Wire.EMPTY)) {
            String port = String.valueOf(server.port());
            ClientRun run = Waiting.inBackground(() -> piped(READ, port)).get(10, TimeUnit.SECONDS);
            assertTrue(
                    run.sentence()
                            .startsWith("Cannot tell which servers are known: " + knownServers()),
                    run.sentence());
            assertEquals(1, run.exit());
            assertEquals(List.of(), List.copyOf(server.requests));
        } finally {
            if (reason == Unreadable.A_DEVICE) {
                Files.delete(knownServers()); // JUnit has a warning for a link that leads away
            }
        }
    }

    @Test
    void aHomeThatIsNotThereKnowsNobody() throws Exception {
        Files.delete(home);
        try (FakeServer server = FakeServer.answering(Wire.EMPTY)) {
            ClientRun run = piped(READ, String.valueOf(server.port()));
            assertEquals("", run.err());
        }
    }

    /** Both servers were forgotten, since their lines had become one. */
    @Test
    void whatIsAddedBeginsALine() throws Exception {
        known("# by hand\nname.invalid 5000 " + OTHER_KEY);
        assertEquals("", piped(READ, port, "--tls", key).err());
        assertEquals(
                "# by hand\nname.invalid 5000 %s\n127.0.0.1 %s %s\n"
                        .formatted(OTHER_KEY, port, key),
                Files.readString(knownServers()));
        assertTrue(run("name.invalid", false, READ, "5000").out().startsWith(IN_TLS));
        assertTrue(piped(READ, port).out().startsWith(IN_TLS));
    }

    @Test
    void whatIsMadeIsForItsUserAlone() throws Exception {
        piped(READ, port, "--tls", key);
        if (OwnFiles.POSIX) {
            assertEquals(
                    "rw-------",
                    PosixFilePermissions.toString(Files.getPosixFilePermissions(knownServers())));
        }
    }

    @Test
    void aKeyFileThatCannotBeReadEndsTheClient() throws Exception {
        Files.createDirectory(home.resolve(".msg-client"));
        Files.createFile(keyFile(), OwnFiles.only("rw-------"));
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
                        + " key that used the name first to "
                        + keyFile()
                        + ", or ask who runs the server.\n";
        assertEquals(sentence + sentence, run.err());
        assertEquals(1, run.exit());
    }

    @Test
    void aHostInThePlaceOfTheKeyIsToldSo() {
        ClientRun run = ClientRun.command(home, false, READ, "--tls", "127.0.0.1", port);
        assertEquals(2, run.exit());
        String first = run.err().lines().findFirst().orElseThrow();
        assertTrue(first.contains("'127.0.0.1' is no key"), first);
    }
}
