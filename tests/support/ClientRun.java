//JAVA 21+
//SOURCES ../../MsgClient.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.StringReader;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** The output and exit code of a run of the menu or the command. */
record ClientRun(int exit, String out, String err) {

    /** The menu, up to its question. */
    static final String MENU =
            """
            1. Send message
            2. Read messages
            3. Exit
            Your choice:\s
            """;

    /** Runs the command on {@code input}; a person types it if {@code interactive}. */
    static ClientRun command(boolean interactive, String input, String... arguments) {
        return command(Path.of("no such home"), interactive, input, arguments);
    }

    /** Like the method above, for a user whose home is {@code home}. */
    static ClientRun command(Path home, boolean interactive, String input, String... arguments) {
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        BufferedReader in = new BufferedReader(new StringReader(input));
        var command =
                new ClientCommand(home, questions -> new Answers.Lines(in, questions, interactive));
        int exit =
                Program.commandLine(command, "MsgClient.java")
                        .setOut(new PrintWriter(out, true))
                        .setErr(new PrintWriter(err, true))
                        .execute(arguments);
        return new ClientRun(exit, lines(out.toString()), lines(err.toString()));
    }

    private static String lines(String text) {
        return text.replace(System.lineSeparator(), "\n");
    }

    /** Input through a pipe. */
    static ClientRun piped(int port, String input, String... more) {
        return command(false, input, withPort(port, more));
    }

    /** Input that a person types: Enter, not the client, ends the line of a question. */
    static ClientRun typed(int port, String input, String... more) {
        return command(true, input, withPort(port, more));
    }

    private static String[] withPort(int port, String... more) {
        return Stream.concat(Stream.of("127.0.0.1", Integer.toString(port)), Stream.of(more))
                .toArray(String[]::new);
    }

    /**
     * Runs {@code command} with the variables of {@code environment} added; its stdin is {@code
     * input}.
     */
    static ClientRun process(Map<String, String> environment, String input, List<String> command)
            throws Exception {
        ProcessBuilder builder = new ProcessBuilder(command);
        builder.environment().putAll(environment);
        Process process = builder.start();
        try {
            FutureTask<String> err = new FutureTask<>(() -> text(process.getErrorStream()));
            Thread.ofVirtual().start(err);
            try (OutputStream stdin = process.getOutputStream()) {
                stdin.write(input.getBytes(StandardCharsets.UTF_8));
            }
            String out = text(process.getInputStream());
            assertTrue(process.waitFor(60, TimeUnit.SECONDS), "still running: " + out);
            return new ClientRun(process.exitValue(), out, err.get(60, TimeUnit.SECONDS));
        } finally {
            process.destroyForcibly();
        }
    }

    /** The whole stream as UTF-8. */
    static String text(InputStream in) throws IOException {
        return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    }

    /** The only sentence on stderr. */
    String sentence() {
        assertEquals(1, err.lines().count(), err);
        return err.strip();
    }

    /** The output after the nth menu, up to the next menu. */
    String answer(int menu) {
        return out.split(Pattern.quote(MENU))[menu + 1].replaceFirst("\n$", "");
    }
}
