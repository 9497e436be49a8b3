///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the client's command: options, streams, exit codes
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/ClassicServer.java
//SOURCES support/ClientRun.java
//SOURCES support/FakeServer.java
//SOURCES support/ServerProcess.java
//SOURCES ../MsgClient.java
//SOURCES ../MsgServer.java
//SOURCES ../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.OutputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** The client as a command: options, exit codes, streams. */
class ClientCommandTest {

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "localhost abc|PORT: 'abc' is not a whole number",
                "127.0.0.1:5000|PORT",
                "127.0.0.1:5000 5000|HOST and PORT are two words, not 127.0.0.1:5000",
                "localhost 5000 --tls=maybe|--tls: 'maybe' is no key",
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
    void wrongUsageIsReportedAndExitsWith2(String arguments, String said) {
        ClientRun run =
                ClientRun.command(
                        false, "", arguments == null ? new String[0] : arguments.split(" "));
        assertEquals(2, run.exit());
        List<String> lines = run.err().lines().toList();
        assertEquals(2, lines.size(), run.err());
        assertTrue(lines.get(0).contains(said), run.err());
        assertEquals("All options: " + Program.started("MsgClient.java") + " --help", lines.get(1));
        assertEquals("", run.out());
    }

    @Test
    void aUserNameThatIsTooLongIsWrongUsage() {
        ClientRun run =
                ClientRun.command(false, "", "localhost", "5000", "--user", "n".repeat(250));
        assertEquals(2, run.exit());
        assertTrue(run.err().contains("bytes too long"), run.err());
    }

    @Test
    void helpLeadsWithExamples() {
        ClientRun run = ClientRun.command(false, "", "--help");
        assertEquals(0, run.exit());
        assertTrue(
                run.out().startsWith("Examples:\n  " + Program.started("MsgClient.java") + " "),
                run.out());
        for (String part :
                List.of("HOST", "PORT", "--user", "MSG_HOST", "MSG_PORT", "MSG_USER", "130")) {
            assertTrue(run.out().contains(part), part);
        }
        assertEquals("", run.err());
    }

    @Test
    void versionIsPrinted() {
        ClientRun run = ClientRun.command(false, "", "--version");
        assertEquals(0, run.exit());
        assertTrue(run.out().matches("MsgClient \\d+\\.\\d+\n"), run.out());
    }

    // ---------------------------------------------------------------- as a process

    @Nested
    @EnabledOnOs({OS.LINUX, OS.MAC})
    class AsAProcess {

        /** Runs the client with {@code environment}; its stdin is {@code input}. */
        private static ClientRun client(
                Map<String, String> environment, String input, String... args) throws Exception {
            return ClientRun.process(environment, input, ServerProcess.java("MsgClient", args));
        }

        @Test
        void anyScriptWorksAlsoWhereTheLocaleIsPosix() throws Exception {
            try (ClassicServer server = new ClassicServer()) {
                ClientRun run =
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
        void missingArgumentsComeFromTheEnvironment() throws Exception {
            try (FakeServer server =
                    FakeServer.answering("Retrieving messages...\nThere is no such name")) {
                ClientRun run =
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

        @ParameterizedTest
        @ValueSource(strings = {"false", "FALSE"})
        void msgTlsAcceptsTheSameValuesAsTheServer(String value) throws Exception {
            try (FakeServer server =
                    FakeServer.answering("Retrieving messages...\nThere is no such name")) {
                String port = Integer.toString(server.port());
                ClientRun run =
                        client(
                                Map.of("MSG_TLS", value, "HOME", "/nowhere"),
                                "2\n",
                                "127.0.0.1",
                                port,
                                "--user=al");
                assertEquals("", run.err());
                assertEquals(List.of("fetch;al"), List.copyOf(server.requests));
            }
        }

        @Test
        void aFailureIsOneSentenceAndExitCode1() throws Exception {
            try (Socket dead = FakeServer.deadPort()) {
                String port = Integer.toString(dead.getLocalPort());
                ClientRun run = client(Map.of(), "2\n3\n", "127.0.0.1", port, "--user", "bob");
                assertEquals(
                        "No server answers at 127.0.0.1 port "
                                + port
                                + ". To start one there: "
                                + Program.started("MsgServer.java")
                                + " "
                                + port
                                + "\n",
                        run.err());
                assertEquals(1, run.exit());
            }
        }

        @Test
        void malformedUtf8IsReportedAndNotSent() throws Exception {
            try (FakeServer server = FakeServer.answering("Message accepted and stored:\n")) {
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
                    // é in Latin-1, which is not valid UTF-8
                    stdin.write(new byte[] {'h', (byte) 0xe9, '\n'});
                }
                assertEquals(
                        "The text is not valid UTF-8.\n", ClientRun.text(process.getErrorStream()));
                assertTrue(process.waitFor(60, TimeUnit.SECONDS));
                assertEquals(1, process.exitValue());
                assertEquals(0, server.requests.size());
            }
        }

        @Test
        void interruptEndsTheClientAtAQuestion() throws Exception {
            Process process =
                    new ProcessBuilder(ServerProcess.java("MsgClient", "127.0.0.1", "5000"))
                            .start();
            try {
                byte[] question = "Your user name: ".getBytes(StandardCharsets.UTF_8);
                assertTrue(
                        Arrays.equals(
                                question, process.getInputStream().readNBytes(question.length)));
                new ProcessBuilder("kill", "-INT", Long.toString(process.pid())).start().waitFor();
                assertTrue(process.waitFor(60, TimeUnit.SECONDS), "still running");
                assertEquals(130, process.exitValue());
                assertEquals("", ClientRun.text(process.getErrorStream()));
            } finally {
                process.destroyForcibly();
            }
        }

        /** Runs the client with {@code redirection} in the shell's syntax. */
        private static ClientRun redirected(String redirection, String input, String... args)
                throws Exception {
            List<String> command =
                    new ArrayList<>(List.of("sh", "-c", "exec \"$0\" \"$@\" " + redirection));
            command.addAll(ServerProcess.java("MsgClient", args));
            return ClientRun.process(Map.of(), input, command);
        }

        @Test
        void aClosedStandardInputIsTheEndOfInput() throws Exception {
            // Without stdin, a file of the JVM gets descriptor 0. In an earlier version the client
            // read the bytes of this file as answers, and sent two messages.
            try (FakeServer server = FakeServer.answering("Message accepted and stored:\n")) {
                String port = Integer.toString(server.port());
                ClientRun run = redirected("<&-", "", "127.0.0.1", port, "--user", "al");
                assertEquals("", run.err());
                assertEquals(ClientRun.MENU + "Goodbye.\n", run.out());
                assertEquals(0, run.exit());
                assertEquals(0, server.requests.size());
            }
        }

        @Test
        void aFileOfAnswersIsReadLikeAPipe(@TempDir Path folder) throws Exception {
            Path answers = Files.writeString(folder.resolve("answers"), "1\nbob\nhi\n3\n");
            try (FakeServer server = FakeServer.answering("Message accepted and stored:\n")) {
                String port = Integer.toString(server.port());
                ClientRun run =
                        redirected("<'" + answers + "'", "", "127.0.0.1", port, "--user", "al");
                assertEquals(List.of("store;bob;al;hi"), List.copyOf(server.requests));
                assertEquals(0, run.exit());
            }
        }

        @ParameterizedTest
        @ValueSource(strings = {">/dev/full", ">&-"})
        @EnabledOnOs(OS.LINUX) // only Linux has /dev/full
        void lostOutputExitsWith1(String redirection) throws Exception {
            // In an earlier version the client lost the mail on a full disk and still exited with
            // 0.
            try (FakeServer server =
                    FakeServer.answering("Retrieving messages...\nThere is no such name")) {
                String port = Integer.toString(server.port());
                ClientRun run =
                        redirected(redirection, "2\n3\n", "127.0.0.1", port, "--user", "al");
                assertEquals("Not all output could be written.\n", run.err());
                assertEquals(1, run.exit());
                assertEquals(1, redirected(redirection, "", "--help").exit());
            }
        }

        @ParameterizedTest
        @CsvSource(
                delimiter = '|',
                value = {
                    "MSG_PORT|70000|PORT must be 1 to 65535, not 70000, from MSG_PORT",
                    "MSG_USER|a;b|from MSG_USER"
                })
        void aWrongValueFromTheEnvironmentNamesItsVariable(String name, String value, String said)
                throws Exception {
            // In an earlier version the sentence named an option that the user had not typed.
            Map<String, String> environment = new HashMap<>();
            environment.put("MSG_HOST", "localhost");
            environment.put("MSG_PORT", "5000");
            environment.put(name, value);
            ClientRun run = client(environment, "");
            assertTrue(run.err().lines().findFirst().orElse("").endsWith(said), run.err());
            assertEquals(2, run.exit());
        }
    }
}
