///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the behaviour that both programs share as commands
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/ClientRun.java
//SOURCES support/FakeServer.java
//SOURCES support/ServerProcess.java
//SOURCES support/Waiting.java
//SOURCES ../common/Program.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;

/** The behaviour that {@link Program} gives both programs: values, homes, output, locales. */
class ProgramTest {
    @TempDir Path folder;

    /** A command that prints its values. */
    @Command(
            mixinStandardHelpOptions = true,
            version = "MsgServer 1.0",
            header = {"Examples:", "  jbang MsgServer.java 5000"})
    private static final class Printing implements Callable<Integer> {
        @Parameters(index = "0", paramLabel = "PORT")
        private int port;

        @Option(names = "--max-size")
        private String size;

        @Option(names = "--timeout", defaultValue = "10")
        private int timeout;

        @Option(names = "--quiet", fallbackValue = "true")
        private boolean quiet;

        @Spec private CommandSpec spec;

        @Override
        public Integer call() {
            if (timeout > 60) {
                throw Program.wrong(spec, "--timeout", "--timeout is 60 at most");
            }
            spec.commandLine().getOut().println(port + " " + timeout + " " + size);
            return 0;
        }
    }

    private record Run(int exit, String out, List<String> err) {}

    private Run run(Map<String, String> environment, String... arguments) {
        var out = new StringWriter();
        var err = new StringWriter();
        int exit =
                new Program("MsgServer.java", environment, folder)
                        .commandLine(new Printing())
                        .setOut(new PrintWriter(out, true))
                        .setErr(new PrintWriter(err, true))
                        .execute(arguments);
        return new Run(exit, out.toString(), err.toString().lines().toList());
    }

    @Test
    void eachValueMayComeFromTheVariableOfItsName() {
        var environment = Map.of("MSG_PORT", "7", "MSG_MAX_SIZE", "2G", "MSG_TIMEOUT", "3");
        assertEquals(new Run(0, "7 3 2G%n".formatted(), List.of()), run(environment));
    }

    @Test
    void argumentsOverrideVariablesEvenInvalidOnes() {
        var environment = Map.of("MSG_PORT", "abc", "MSG_TIMEOUT", "999");
        assertEquals("5 4 null%n".formatted(), run(environment, "5", "--timeout=4").out());
    }

    @Test
    void emptyVariableIsIgnored() {
        // In an earlier version an empty MSG_STORE was used as a store without a name, and an empty
        // MSG_TIMEOUT was reported as "not an int".
        var environment = Map.of("MSG_MAX_SIZE", "", "MSG_TIMEOUT", "");
        assertEquals("5 10 null%n".formatted(), run(environment, "5").out());
        assertEquals(
                List.of(
                        "Missing required parameter: 'PORT'",
                        "All options: jbang MsgServer.java --help"),
                run(Map.of("MSG_PORT", "")).err());
    }

    @Test
    void emptyArgumentIsRefused() {
        // In an earlier version the server used --store "" as a store without a name.
        Run run = run(Map.of(), "5", "--max-size", "");
        assertEquals("--max-size cannot be empty", run.err().getFirst());
        assertEquals(2, run.exit());
        assertEquals(0, run(Map.of(), "5", "--quiet").exit());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"data-${tag}.db", "$${tag}", "a$b", "a$$b", "${", "$", "${sys:user.home}"})
    void valueWithADollarIsTakenLiterally(String value) {
        // In an earlier version the server with MSG_STORE='data-${tag}.db' created data-null.db.
        var expected = "5 10 " + value + System.lineSeparator();
        assertEquals(expected, run(Map.of("MSG_MAX_SIZE", value), "5").out());
        assertEquals(expected, run(Map.of(), "5", "--max-size", value).out());
    }

    @Test
    void valueWithAnAtSignIsTakenLiterally() throws IOException {
        // In an earlier version the client replaced --user @al by the content of the file al, if
        // this file existed.
        var file = Files.writeString(folder.resolve("al"), "from the file");
        assertEquals(
                "5 10 @%s%n".formatted(file), run(Map.of(), "5", "--max-size", "@" + file).out());
    }

    @Test
    void anErrorNamesTheVariableOfItsValue() {
        assertEquals(
                new Run(
                        2,
                        "",
                        List.of(
                                "--timeout: 'x' is not a whole number, from MSG_TIMEOUT",
                                "All options: jbang MsgServer.java --help")),
                run(Map.of("MSG_TIMEOUT", "x"), "5"));
        assertEquals(
                "--timeout is 60 at most, from MSG_TIMEOUT",
                run(Map.of("MSG_TIMEOUT", "61"), "5").err().getFirst());
        for (var typed : List.of(List.of("--timeout", "61"), List.of("--timeout=61"))) {
            assertEquals(
                    "--timeout is 60 at most",
                    run(Map.of("MSG_PORT", "5"), typed.toArray(String[]::new)).err().getFirst());
        }
    }

    @Test
    void aValueOfAWrongTypeIsRefusedInPlainWords() {
        // In an earlier version the message was "Invalid value for positional parameter at index 0
        // (PORT): 'abc' is not an int".
        assertEquals("PORT: 'abc' is not a whole number", run(Map.of(), "abc").err().getFirst());
        assertEquals(
                "--quiet: 'maybe' is not true or false, from MSG_QUIET",
                run(Map.of("MSG_QUIET", "maybe"), "5").err().getFirst());
    }

    @Test
    void helpIsShownDespiteInvalidVariables() {
        var help = run(Map.of("MSG_PORT", "x", "JBANG_LAUNCH_CMD", "./jbang"), "--help");
        assertEquals(0, help.exit());
        var lines = help.out().lines().toList();
        assertEquals(List.of("Examples:", "  ./jbang MsgServer.java 5000"), lines.subList(0, 2));
        assertTrue(lines.get(2).startsWith("Usage: ./jbang MsgServer.java ["), lines.get(2));
    }

    @ParameterizedTest
    @ValueSource(strings = {"5", "--help", "--version"})
    void outputThatCannotBeWrittenIsAFailure(String argument) {
        // In an earlier version the program lost its whole output on a full disk and exited with 0.
        var full =
                new OutputStream() {
                    @Override
                    public void write(int b) throws IOException {
                        throw new IOException("No space left on device");
                    }
                };
        var err = new StringWriter();
        int exit =
                new Program("MsgServer.java", Map.of(), folder)
                        .commandLine(new Printing())
                        .setOut(new PrintWriter(full))
                        .setErr(new PrintWriter(err))
                        .execute(argument);
        assertEquals("Not all output could be written.%n".formatted(), err.toString());
        assertEquals(1, exit);
    }

    // ---------------------------------------------------------------- how it was started

    private String started(Map<String, String> environment) {
        return new Program("MsgServer.java", environment, folder).started();
    }

    @Test
    void theHintRepeatsTheUsersCommand() throws IOException {
        // In an earlier version the hint "jbang MsgServer.java" was shown to users who have only
        // ./jbang.
        Files.createFile(folder.resolve("MsgServer.java"));
        assertEquals("jbang MsgServer.java", started(Map.of()));
        assertEquals("./jbang MsgServer.java", started(Map.of("JBANG_LAUNCH_CMD", "./jbang")));
        var installed = Map.of("JBANG_LAUNCH_CMD", "/opt/jbang/bin/jbang", "PATH", "/bin");
        assertEquals("/opt/jbang/bin/jbang MsgServer.java", started(installed));
    }

    @Test
    @DisabledOnOs(OS.WINDOWS)
    void aLauncherOnThePathIsShownByItsNameOnly() {
        var path = "/usr/bin:/opt/jbang/bin";
        var environment = Map.of("JBANG_LAUNCH_CMD", "/opt/jbang/bin/jbang", "PATH", path);
        assertEquals("jbang MsgServer.java", started(environment));
    }

    @Test
    void aScriptBesideTheLauncherIsShownWithItsPath() throws IOException {
        Files.createFile(folder.resolve("MsgServer.java"));
        Files.createDirectory(folder.resolve("sub"));
        var program =
                new Program(
                        "MsgServer.java",
                        Map.of("JBANG_LAUNCH_CMD", "../jbang"),
                        folder.resolve("sub"));
        assertEquals("../jbang ../MsgServer.java", program.started());
    }

    @Test
    @DisabledOnOs(OS.WINDOWS)
    void theHintIsTheInstalledCommandIfThereIsNoScript() throws IOException {
        var bin = Files.createDirectory(folder.resolve("bin"));
        Files.createFile(bin.resolve("msg-server")).toFile().setExecutable(true);
        var environment = Map.of("JBANG_LAUNCH_CMD", bin + "/jbang", "PATH", "/bin:" + bin);
        assertEquals("msg-server", started(environment));
    }

    // ---------------------------------------------------------------- both, as processes

    /**
     * In an earlier version the server printed its port in Arabic digits in the locale {@code
     * ar_EG.UTF-8}. Programs could not read this port.
     */
    @ParameterizedTest
    @CsvSource({"ar, EG", "fa, IR", "tr, TR", "de, DE"})
    void theOutputOfBothProgramsIsMachineReadableInEveryLocale(String language, String country)
            throws Exception {
        String store = folder.resolve("messages.db").toString();
        try (ServerProcess server =
                new ServerProcess(
                        inLocale(language, country, "MsgServer", "0", "--store", store))) {
            int port = server.port();
            Path input = Files.writeString(folder.resolve("in"), "1\nbob\nhi\n2\n3\n");
            List<String> arguments = List.of("127.0.0.1", "" + port, "--user", "bob");
            Process client =
                    new ProcessBuilder(
                                    inLocale(
                                            language,
                                            country,
                                            "MsgClient",
                                            arguments.toArray(String[]::new)))
                            .redirectInput(input.toFile())
                            .redirectErrorStream(true)
                            .start();
            String answer = new String(client.getInputStream().readAllBytes());
            assertTrue(answer.contains("\n   1. bob: hi\n"), answer);
            Waiting.eventually(
                    "the server logs both requests", () -> server.output().contains("1 message"));
            server.signal("TERM");
            server.awaitExit();
            String output = server.output();
            assertTrue(output.contains("Listening on port " + port + "\n"), output);
            assertTrue(output.contains("\nThe file takes 0.1M, "), output);
            assertTrue(
                    output.matches("(?s).*  fetch bob  ->  1 message  \\d+\\.\\d ms  .*"), output);
            assertTrue((answer + output).chars().allMatch(c -> c < 0x7f), answer + output);
        }
    }

    /** A command whose JVM options set the locale, so the system need not have this locale. */
    private static List<String> inLocale(
            String language, String country, String main, String... arguments) {
        List<String> command = ServerProcess.java(main, arguments);
        command.addAll(
                command.indexOf("-cp"),
                List.of("-Duser.language=" + language, "-Duser.country=" + country));
        return command;
    }

    @Test
    void withoutAHomeThePlainConnectionWorksAndTlsIsRefused() throws Exception {
        // In an earlier version the programs created a folder named "?" with a new key in each
        // working folder.
        try (FakeServer server =
                FakeServer.answering("Retrieving messages...\nThere is no such name")) {
            String port = Integer.toString(server.port());
            ClientRun run = homeless(folder, "MsgClient", "127.0.0.1", port, "--user=al");
            assertEquals("", run.err());
            assertEquals(0, run.exit());
            run = homeless(folder, "MsgClient", "127.0.0.1", port, "--user=al", "--tls");
            assertEquals(
                    "Your home is not known: set HOME", run.err().lines().findFirst().orElse(""));
            assertEquals(2, run.exit());
            run = homeless(folder, "MsgServer", "0");
            assertEquals(
                    "Your home is not known: set HOME, or --store FILE",
                    run.err().lines().findFirst().orElse(""));
            assertEquals(2, run.exit());
        }
        assertEquals(0, folder.toFile().list().length);
    }

    /** Runs {@code main} in {@code folder}, for a user without a known home. */
    private static ClientRun homeless(Path folder, String main, String... args) throws Exception {
        List<String> java = ServerProcess.java(main, args);
        java.add(java.indexOf("-cp"), "-Duser.home=?");
        List<String> command =
                new ArrayList<>(List.of("sh", "-c", "cd \"$0\" && exec \"$@\"", "" + folder));
        command.addAll(java);
        return ClientRun.process(Map.of("HOME", ""), "2\n", command);
    }
}
