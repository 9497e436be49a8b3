///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the client at a real terminal
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Commands.java
//SOURCES support/FakeServer.java
//SOURCES support/ServerProcess.java
//SOURCES support/Waiting.java
//SOURCES ../MsgClient.java
//SOURCES ../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * The client on a pseudo-terminal, which util-linux' {@code script} creates. The test sends keys as
 * a terminal sends them, and reads the bytes that the client sends to the screen.
 */
@EnabledOnOs(OS.LINUX) // the option -c of "script" exists only on Linux
@Order(2) // long test classes start first
class PromptTest {
    private static final String ENTER = "\r";

    /**
     * A folder in which no file can be created, so that JLine cannot unpack its library and has to
     * call stty.
     */
    private static final String NO_LIBRARY = "-Djava.io.tmpdir=/proc";

    private static final String CTRL_C = "\u0003";
    private static final String CTRL_D = "\u0004";
    private static final String UP = "\u001bOA";
    private static final String RECIPIENT = "Recipient (empty to go back): ";
    private static final String MESSAGE = "Message (at most 241 bytes, empty to go back): ";
    private static final String LETTER =
            "Dear Mary,\n2\nhere is the plan\n1\nbob\nsecret for Mary\n";

    private FakeServer server;
    private Process process;
    private OutputStream keys;
    private final StringBuffer screen = new StringBuffer();
    private int read;

    @BeforeEach
    void skipWithoutScript() throws IOException {
        Commands.need("script"); // util-linux' command, which makes the terminal
        server = FakeServer.answering("Message accepted and stored:\n");
    }

    @AfterEach
    void end() throws Exception {
        if (process != null) {
            process.descendants().forEach(ProcessHandle::destroyForcibly);
            process.destroyForcibly();
        }
        if (server != null) {
            server.close();
        }
    }

    /** Starts the client as {@code al} after the shell command {@code setup}. */
    private void start(String setup, int port, String... jvmOptions) throws IOException {
        List<String> java = new ArrayList<>(ServerProcess.java("MsgClient", "127.0.0.1"));
        java.addAll(List.of(Integer.toString(port), "--user", "al"));
        java.addAll(java.indexOf("-cp"), List.of(jvmOptions));
        // Without the trap, Ctrl+C would end the shell, too.
        String command =
                "trap : INT; "
                        + setup
                        + "; '"
                        + String.join("' '", java)
                        + "'; echo \"ended with $?\"; stty -a";
        ProcessBuilder builder = new ProcessBuilder("script", "-qec", command, "/dev/null");
        builder.environment().putAll(Map.of("TERM", "xterm", "SHELL", "/bin/sh"));
        process = builder.redirectErrorStream(true).start();
        keys = process.getOutputStream();
        Thread.ofVirtual().start(() -> collect(process.getInputStream()));
    }

    private void collect(InputStream in) {
        try {
            byte[] buffer = new byte[4096];
            for (int count; (count = in.read(buffer)) >= 0; ) {
                screen.append(new String(buffer, 0, count, UTF_8));
            }
        } catch (IOException e) {
            // Tolerated: end() closes this stream. A test that still waits for output fails.
        }
    }

    private void startInATerminal() throws IOException {
        start("stty rows 24 cols 80", server.port());
    }

    /** Waits for {@code text} in the output since the last match. */
    private void see(String text) throws Exception {
        try {
            Waiting.eventually(text, () -> screen.indexOf(text, read) >= 0);
        } catch (AssertionError e) {
            throw new AssertionError(
                    e.getMessage() + ", but: " + Protocol.visible(screen.substring(read)), e);
        }
        read = screen.indexOf(text, read) + text.length();
    }

    private void type(String text) throws IOException {
        keys.write(text.getBytes(UTF_8));
        keys.flush();
    }

    /**
     * Pastes like a terminal in bracketed paste mode, which marks the beginning and the end of a
     * paste.
     */
    private void paste(String text) throws IOException {
        type("\u001b[200~" + text.replace('\n', '\r') + "\u001b[201~");
    }

    /** Pastes like any other terminal: the text arrives like quick typing. */
    private void pastePlain(String text) throws IOException {
        type(text.replace('\n', '\r'));
    }

    private void goToMessage() throws Exception {
        see("Your choice: ");
        type("1" + ENTER);
        see(RECIPIENT);
        type("mary" + ENTER);
        see(MESSAGE);
    }

    private void leave() throws Exception {
        leave(0);
    }

    private void leave(int exitCode) throws Exception {
        see("Your choice: ");
        type("3" + ENTER);
        see("Goodbye.");
        see("ended with " + exitCode);
    }

    @Test
    void aBracketedPasteIsOneAnswer() throws Exception {
        // In an earlier version each pasted line became an answer, so "secret for Mary" was stored
        // in bob's mailbox.
        startInATerminal();
        goToMessage();
        paste(LETTER);
        see("secret for Mary");
        type(ENTER);
        see("The answer has 6 lines instead of one: none is taken.");
        see(MESSAGE);
        paste("Dear Mary; all is well.\n");
        see("all is well.");
        type(ENTER);
        see("The message to mary is stored.");
        leave();
        assertEquals(
                List.of("store;mary;al;Dear Mary; all is well."), List.copyOf(server.requests));
    }

    @ParameterizedTest
    @ValueSource(strings = {"TERM=xterm", "TERM=dumb", "unset TERM", "stty rows 0 cols 0"})
    void aPlainPasteIsOneAnswer(String setup) throws Exception {
        // The client must not send a part of a paste, even if the terminal does not mark pastes.
        start(setup, server.port());
        goToMessage();
        pastePlain(LETTER);
        seeTheLetterRefused();
    }

    /** The client must not send any line of the letter, but it must send the next answer. */
    private void seeTheLetterRefused() throws Exception {
        see("The answer has 6 lines instead of one: none is taken.");
        see(MESSAGE);
        type("all is well" + ENTER);
        see("The message to mary is stored.");
        leave();
        assertEquals(List.of("store;mary;al;all is well"), List.copyOf(server.requests));
    }

    @Test
    void aPlainPasteMayArriveInPieces() throws Exception {
        // In an earlier version the client sent the end of a paste to Mary as the message if this
        // end came a tenth of a second late.
        startInATerminal();
        goToMessage();
        int cut = LETTER.indexOf("t for Mary");
        pastePlain(LETTER.substring(0, cut));
        Thread.sleep(400); // a slow line has such pauses
        pastePlain(LETTER.substring(cut));
        seeTheLetterRefused();
    }

    @Test
    void aTerminalNeedsNoNativeLibrary() throws Exception {
        // In an earlier version JLine printed a warning on the screen if it could not unpack its
        // library, for instance on a noexec mount.
        start("stty rows 24 cols 80", server.port(), NO_LIBRARY);
        goToMessage();
        pastePlain(LETTER);
        see("The answer has 6 lines instead of one: none is taken.");
        type("hx\u001bODi" + "\u001b[3~" + ENTER);
        see("The message to mary is stored.");
        leave();
        assertEquals(List.of("store;mary;al;hi"), List.copyOf(server.requests));
        assertFalse(screen.toString().contains("WARNING"), screen.toString());
    }

    @Test
    void aPasteAtTheMenuChoosesNothing() throws Exception {
        startInATerminal();
        see("Your choice: ");
        pastePlain("1\nbob\nsecret for Mary\n3\n");
        see("The answer has 4 lines instead of one: none is taken.");
        leave();
        assertEquals(0, server.requests.size());
    }

    @Test
    void textTypedDuringARequestIsDiscardedWithANotice() throws Exception {
        // In an earlier version text typed during a request answered questions that the user had
        // not seen yet.
        CountDownLatch asked = new CountDownLatch(1);
        CountDownLatch typed = new CountDownLatch(1);
        try (FakeServer slow =
                new FakeServer(socket -> {
                    socket.getInputStream().readAllBytes();
                    asked.countDown();
                    await(typed);
                    socket.getOutputStream()
                            .write(
                                    "Retrieving messages...\nThere is no such name\n"
                                            .getBytes(UTF_8));
                })) {
            start("stty rows 24 cols 80", slow.port());
            see("Your choice: ");
            type("2" + ENTER);
            await(asked);
            type("3" + ENTER);
            see("3\r\n"); // the echo proves that the terminal has received the text
            typed.countDown();
            see("There are no messages for al.");
            see("Text typed before this question is thrown away.");
            leave();
        }
    }

    private static void await(CountDownLatch latch) throws IOException {
        try {
            if (!latch.await(60, TimeUnit.SECONDS)) {
                throw new IOException("the latch did not open in time");
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    @Test
    void arrowKeysEditAndRecall() throws Exception {
        // In an earlier version the arrow keys printed ^[[D, and the client refused the line at
        // Enter.
        startInATerminal();
        goToMessage();
        type("γειά σο" + "\u001bOD".repeat(3) + "\u007f" + "\u001bOD!" + "\u001bOF" + "υ" + ENTER);
        see("The message to mary is stored.");
        see("Your choice: ");
        type("1" + ENTER);
        see(RECIPIENT);
        type(UP);
        see("mary");
        type(ENTER);
        see(MESSAGE);
        type("a\\n 50% !x" + ENTER);
        see("The message to mary is stored.");
        leave();
        assertEquals(
                List.of("store;mary;al;γε!ι σου", "store;mary;al;a\\n 50% !x"),
                List.copyOf(server.requests));
    }

    @Test
    void eachQuestionHasItsOwnHistory() throws Exception {
        // In an earlier version the up key recalled the last answer, whichever question it was for.
        // A user who repeated a refused message with this key sent the recipient's name as the
        // text.
        List<String> replies =
                new ArrayList<>(List.of("Message declined. Server is busy, try again later\n"));
        List<String> requests = new CopyOnWriteArrayList<>();
        try (FakeServer busy =
                new FakeServer(socket -> {
                    requests.add(new String(socket.getInputStream().readAllBytes(), UTF_8));
                    String reply =
                            replies.isEmpty()
                                    ? "Message accepted and stored:\n"
                                    : replies.removeFirst();
                    socket.getOutputStream().write(reply.getBytes(UTF_8));
                })) {
            start("stty rows 24 cols 80", busy.port());
            goToMessage();
            type("hello" + ENTER);
            see("The server refused");
            see("Your choice: ");
            type("1" + ENTER);
            see(RECIPIENT);
            type(UP);
            see("mary");
            type(ENTER);
            see(MESSAGE);
            type(UP);
            see("hello");
            type(ENTER);
            see("The message to mary is stored.");
            leave(1);
        }
        assertEquals(List.of("store;mary;al;hello", "store;mary;al;hello"), requests);
    }

    @Test
    void aDumbTerminalShowsAnAnswerOnce() throws Exception {
        // In an earlier version the terminal and the line editor both echoed an answer, so each
        // answer appeared twice.
        start("TERM=dumb", server.port());
        goToMessage();
        type("hi" + ENTER);
        see("The message to mary is stored.");
        leave();
        String shown = screen.toString().replace("\r", "");
        assertTrue(
                shown.contains("choice: 1\n" + RECIPIENT + "mary\n" + MESSAGE + "hi\nThe"), shown);
    }

    @Test
    void aTabIsPartOfTheText() throws Exception {
        // There are no completions. In an earlier version the tab key requested a completion, so
        // the tab was lost.
        startInATerminal();
        goToMessage();
        type("a\tb" + ENTER);
        see("The message to mary is stored.");
        leave();
        assertEquals(List.of("store;mary;al;a\tb"), List.copyOf(server.requests));
    }

    @Test
    void noKeyWritesAFileOrStartsAProgram(@TempDir Path folder) throws Exception {
        // In an earlier version Ctrl+X Ctrl+E wrote the text into a world-readable file and opened
        // an editor.
        start("stty rows 24 cols 80", server.port(), "-Djava.io.tmpdir=" + folder);
        goToMessage();
        List<String> before = namesIn(folder);
        for (String keys : List.of("\u0018\u0005", "\u0018\u0016" + "n")) { // Emacs keys, vi keys
            type("secret" + keys + "!");
            see("!");
            type(CTRL_C);
            see("Nothing is sent.");
            assertEquals(before, namesIn(folder));
            goToMessage();
        }
        type("all is well" + ENTER);
        see("The message to mary is stored.");
        leave();
        assertEquals(List.of("store;mary;al;all is well"), List.copyOf(server.requests));
    }

    private static List<String> namesIn(Path folder) {
        return Stream.of(folder.toFile().list()).sorted().toList();
    }

    @ParameterizedTest
    @ValueSource(strings = {"stty cols 0", "stty rows 0", "stty cols 0 rows 0"})
    void theClientWorksInAWindowWithoutSize(String command) throws Exception {
        // In an earlier version the client ended with a division by zero if the window lost its
        // width between two questions.
        try (FakeServer mailbox =
                FakeServer.answering("Retrieving messages...\nal;zoe;hi\nNO MORE MESSAGES\n")) {
            start("tty; stty rows 24 cols 80", mailbox.port());
            see("/dev/pts/");
            see("Your choice: ");
            Matcher tty = Pattern.compile("/dev/pts/\\d+").matcher(screen);
            assertTrue(tty.find());
            String resize = command.replace("stty", "stty -F " + tty.group());
            assertEquals(0, new ProcessBuilder(resize.split(" ")).start().waitFor());
            type("2" + ENTER);
            see("1. zoe: hi");
            leave();
        }
        assertFalse(screen.toString().contains("Exception"), screen.toString());
    }

    // ---------------------------------------------------------------- ending

    @ParameterizedTest
    @ValueSource(strings = {"TERM=xterm", "TERM=dumb"})
    void ctrlCReturnsToTheMenuAndEndsTheClientThere(String setup) throws Exception {
        // In an earlier version Ctrl+C ended the client, even if the user only wanted to start the
        // message again.
        start("stty rows 24 cols 80; " + setup, server.port());
        goToMessage();
        type("half");
        see("half");
        type(CTRL_C);
        see("Nothing is sent.");
        see("Your choice: ");
        type(CTRL_C);
        see("ended with 130");
        seeTheTerminalAsItWas();
        assertFalse(screen.toString().contains("Goodbye."), screen.toString());
        assertFalse(screen.toString().contains("Exception"), screen.toString());
        assertEquals(0, server.requests.size());
    }

    @Test
    void ctrlDReturnsToTheMenuAndEndsTheClientThere() throws Exception {
        startInATerminal();
        goToMessage();
        type(CTRL_D);
        see("Nothing is sent.");
        see("Your choice: ");
        type(CTRL_D);
        see("Goodbye.");
        see("ended with 0");
        seeTheTerminalAsItWas();
        assertEquals(0, server.requests.size());
    }

    /** Waits for the output of stty -a, with the settings that a shell without an editor needs. */
    private void seeTheTerminalAsItWas() throws Exception {
        see("speed 38400 baud");
        see("isig icanon iexten echo ");
    }

    @Test
    void ctrlCOutsideAQuestionLeavesTheTerminalAsItWas(@TempDir Path folder) throws Exception {
        // In an earlier version Ctrl+C ended the client before its last steps, so the terminal
        // stayed in raw mode and temporary files remained.
        start("stty rows 24 cols 80", server.port(), "-Djava.io.tmpdir=" + folder);
        goToMessage();
        pastePlain("Dear Mary,\nall is");
        see("[?2004l"); // the client waits a second for the end of the paste
        type(CTRL_C);
        see("ended with 130");
        seeTheTerminalAsItWas();
        assertEquals(List.of(), namesIn(folder));
        assertFalse(screen.toString().contains("Exception"), screen.toString());
    }

    @Test
    void ctrlCDuringAChangeOfTheTerminalsModeLeavesTheTerminalAsItWas(@TempDir Path folder)
            throws Exception {
        // In an earlier version the client's end restored the terminal, and then a stty that was
        // already under way set raw mode.
        Path slow = folder.resolve("slow");
        Path underWay = folder.resolve("under-way");
        Path stty = folder.resolve("stty");
        String script =
                """
                #!/bin/sh
                trap '' INT
                PATH=${PATH#*:}
                if [ -e slow ] && [ "$*" != "${*#*-icanon}" ]; then
                    : >under-way
                    sleep 0.5
                    stty "$@"
                    exec rm under-way
                fi
                exec stty "$@"
                """;
        Files.writeString(stty, script);
        Files.setPosixFilePermissions(stty, PosixFilePermissions.fromString("rwx------"));
        String inShell = "stty() { while [ -e under-way ]; do sleep 0.1; done; command stty $*; }";
        start(
                "stty rows 24 cols 80; cd '%s'; PATH=$PWD:$PATH; %s".formatted(folder, inShell),
                server.port());
        goToMessage();
        Files.createFile(slow);
        type("hello" + ENTER);
        Waiting.eventually("raw mode", () -> Files.exists(underWay));
        type(CTRL_C);
        see("ended with 130");
        seeTheTerminalAsItWas();
    }

    @Test
    void ctrlCWhileTheServerIsAwaitedLeavesNoFiles(@TempDir Path folder) throws Exception {
        CountDownLatch asked = new CountDownLatch(1);
        CountDownLatch ended = new CountDownLatch(1);
        try (FakeServer silent =
                new FakeServer(socket -> {
                    socket.getInputStream().readAllBytes();
                    asked.countDown();
                    await(ended);
                })) {
            start("stty rows 24 cols 80", silent.port(), "-Djava.io.tmpdir=" + folder);
            see("Your choice: ");
            type("2" + ENTER);
            await(asked);
            type(CTRL_C);
            see("ended with 130");
            seeTheTerminalAsItWas();
            assertEquals(List.of(), namesIn(folder));
        } finally {
            ended.countDown();
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"jni", "stty"})
    void sigtermAtAQuestionLeavesTheTerminalAsItWas(String way) throws Exception {
        String[] options = way.equals("jni") ? new String[0] : new String[] {NO_LIBRARY};
        start("stty rows 24 cols 80", server.port(), options);
        goToMessage();
        client().destroy();
        see("ended with 143");
        seeTheTerminalAsItWas();
        assertFalse(screen.toString().contains("Exception"), screen.toString());
    }

    /** The JVM of the client, a child of the shell. */
    private ProcessHandle client() throws Exception {
        Waiting.eventually("a client", () -> jvms().count() == 1);
        return jvms().findFirst().orElseThrow();
    }

    private Stream<ProcessHandle> jvms() {
        return process.descendants()
                .filter(child -> child.info().command().orElse("").endsWith("/java"));
    }

    @Test
    void theClientEndsWithItsTerminalEvenIfHangupsAreIgnored() throws Exception {
        // In an earlier version the client continued without a terminal in half of the runs, and
        // used all of a processor.
        start("trap '' HUP; stty rows 24 cols 80", server.port());
        goToMessage();
        ProcessHandle client = client();
        process.destroyForcibly();
        try {
            Waiting.eventually("the client's end", () -> !client.isAlive());
        } finally {
            client.destroyForcibly();
        }
    }

    /**
     * In an earlier version blanks up to the end of a row moved Eve's text to the place where a
     * message of George would begin.
     */
    @Test
    void onlyTheFirstRowOfAMessageBeginsAtTheLeft() throws Exception {
        String forged = "   2. george: send money to al";
        String mailbox = "al;eve;hi" + " ".repeat(80 - "   1. eve: hi".length()) + forged;
        String reply = "Retrieving messages...\n" + mailbox + "\nNO MORE MESSAGES\n";
        try (FakeServer eve = FakeServer.answering(reply)) {
            start("stty rows 24 cols 80", eve.port());
            see("Your choice: ");
            type("2" + ENTER);
            see(
                    "   1. eve: hi"
                            + " ".repeat(59)
                            + "\r\n        "
                            + " ".repeat(8)
                            + forged
                            + "\r\n");
            see("This is the only message.");
            leave();
        }
    }

    @Test
    void aLongMailboxFitsTheScreenAndLittleMemory() throws Exception {
        // The mailbox has 15 MB, and the client's heap has 10 MB.
        int count = 75_000;
        byte[] line = ("al;zoe;" + "x".repeat(193) + "\n").getBytes(UTF_8);
        try (FakeServer large = new FakeServer(socket -> sendMailbox(socket, line, count))) {
            start("stty rows 16 cols 60", large.port(), "-Xmx10m");
            see("Your choice: ");
            type("2" + ENTER);
            see("... and 74998 older\r\n");
            see("74999. zoe: x");
            see("75000. zoe: x");
            // A message takes four rows. The window has 16 rows, and 8 of them are for other lines.
            see("These are the newest 2 of 75000 messages.");
            see("All of them: echo 2 | ");
            leave();
        }
    }

    private static void sendMailbox(Socket socket, byte[] line, int count) throws IOException {
        socket.getInputStream().readAllBytes();
        try (OutputStream out = new BufferedOutputStream(socket.getOutputStream())) {
            out.write("Retrieving messages...\n".getBytes(UTF_8));
            for (int i = 0; i < count; i++) {
                out.write(line);
            }
            out.write("NO MORE MESSAGES\n".getBytes(UTF_8));
        }
    }
}
