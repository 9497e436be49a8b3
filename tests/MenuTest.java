///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the client's menu, with our server
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Engine.java
//SOURCES support/FakeServer.java
//SOURCES support/ClientRun.java
//SOURCES ../MsgClient.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.net.BindException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.IntStream;

/** The client's {@link Menu} with our server, used through a pipe and by a person. */
class MenuTest {

    @TempDir Path folder;

    private Engine server;

    @BeforeEach
    void start() throws Exception {
        server = new Engine(Transport.PLAIN, folder, Engine.ROOMY);
    }

    @AfterEach
    void stop() {
        server.close();
    }

    @Test
    void aPipedSession() {
        ClientRun run =
                ClientRun.piped(
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
                        + ClientRun.MENU
                        + "Recipient: \nMessage: \n"
                        + "The message to Kyriakos is stored.\n\n"
                        + ClientRun.MENU
                        + "There are no messages for george.\n\n"
                        + ClientRun.MENU
                        + "Recipient: \nMessage: \n"
                        + "The message to george is stored.\n\n"
                        + ClientRun.MENU
                        + "   1. george: note to myself\n"
                        + "This is the only message.\n\n"
                        + ClientRun.MENU
                        + "Goodbye.\n",
                run.out());
        assertEquals(0, run.exit());
        assertEquals(
                "   1. george: hi Kyriakos; how are you?\nThis is the only message.\n",
                ClientRun.piped(server.port(), "2\n3\n", "--user", "Kyriakos").answer(0));
    }

    @Test
    void aPersonsEnterEndsTheLineOfAQuestion() {
        ClientRun run = ClientRun.typed(server.port(), "george\n1\nbob\nhi\n3\n");
        assertTrue(
                run.out()
                        .startsWith(
                                """
                                Your user name: 1. Send message
                                2. Read messages
                                3. Exit
                                Your choice: Recipient (empty to go back): \
                                Message (at most 238 bytes, empty to go back): \
                                The message to bob is stored.
                                """),
                run.out());
    }

    @Test
    void mailIsNumberedAndCounted() throws Exception {
        server.store.store("bob", "al", "one");
        server.store.store("bob", "zoe", " two;2 ");
        server.store.store("bob", "Κυριάκος", "γειά 👋");
        assertEquals(
                "   1. al: one\n"
                        + "   2. zoe:  two;2 \n"
                        + "   3. Κυριάκος: γειά 👋\n"
                        + "These are all 3 messages.\n",
                ClientRun.piped(server.port(), "2\n3\n", "--user", "bob").answer(0));
    }

    @Test
    void namesAndTextsAreReturnedUnchanged() {
        // The classic client crashed on a name of 80 characters and on replies of more than 8,000
        // bytes.
        String name = "n".repeat(80);
        StringBuilder input = new StringBuilder();
        for (int i = 0; i < 60; i++) {
            input.append("1\n").append(name).append('\n').append("x".repeat(80)).append(i + "\n");
        }
        ClientRun sent = ClientRun.piped(server.port(), input + "2\n3\n", "--user", name);
        assertEquals("", sent.err());
        String mail = sent.answer(60);
        assertTrue(mail.length() > 8_000, mail);
        assertEquals(61, mail.lines().count());
        assertTrue(mail.endsWith("These are all 60 messages.\n"), mail);
    }

    @Test
    void namesAreTrimmedTextsAreNot() {
        ClientRun.piped(server.port(), "1\n \tbob  \n  hi  \n", "--user", "\t al ");
        assertEquals(
                "   1. al:   hi  \nThis is the only message.\n",
                ClientRun.piped(server.port(), "2\n", "--user", "bob").answer(0));
        ClientRun.piped(server.port(), "1\nbob\u3000\nwide\n", "--user", "al\u3000");
        assertEquals(
                "   1. \"al\\u3000\": wide\nThis is the only message.\n",
                ClientRun.piped(server.port(), "2\n", "--user", " bob\u3000").answer(0),
                "client and server trim only spaces and tabs");
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 100})
    void aTextThatIsTooLongIsMeasuredAndAskedForAgain(int excess) {
        int fits = 255 - "store;bob;al;".length();
        ClientRun run =
                ClientRun.typed(
                        server.port(),
                        "1\nbob\n" + "x".repeat(fits + excess) + "\n" + "y".repeat(fits) + "\n3\n",
                        "--user",
                        "al");
        assertEquals(
                "The text is " + excess + (excess == 1 ? " byte" : " bytes") + " too long.",
                run.sentence());
        String question = "Message (at most " + fits + " bytes, empty to go back): ";
        assertTrue(
                run.out().contains(question + question + "The message to bob is stored."),
                run.out());
        assertEquals(0, run.exit(), "a corrected mistake does not change the exit code");
    }

    @Test
    void lengthIsMeasuredInBytes() {
        ClientRun run =
                ClientRun.typed(
                        server.port(), "1\nbob\n" + "γ".repeat(122) + "\nhi\n3\n", "--user", "al");
        assertEquals("The text is 2 bytes too long.", run.sentence());
    }

    @Test
    void aPipeGetsNoSecondChance() throws Exception {
        // In an earlier version the client read the next line of the pipe, a menu choice, as the
        // corrected text.
        ClientRun run =
                ClientRun.piped(
                        server.port(),
                        "1\nbob\n" + "x".repeat(300) + "\n1\nbob\nhi\n3\n",
                        "--user",
                        "al");
        assertEquals("The text is 58 bytes too long.", run.sentence());
        assertTrue(run.out().contains("The message to bob is stored."), run.out());
        assertEquals(1, run.exit());
        assertEquals(
                List.of(new MessageStore.Message("al", "hi")),
                server.store.fetch("bob").nextPage());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "a;b|A name cannot contain ';'.",
                "''|A name cannot be empty.",
                "' '|A name cannot be empty."
            })
    void anInvalidUserNameIsAskedForAgain(String name, String why) {
        ClientRun run = ClientRun.typed(server.port(), name + "\nal\n3\n");
        assertEquals(why, run.sentence());
        assertEquals(0, run.exit());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {"a;b|A name cannot contain ';'.", "long|The text is 2 bytes too long."})
    void anInvalidRecipientIsAskedForAgain(String name, String why) throws Exception {
        String recipient = name.equals("long") ? "n".repeat(246) : name;
        ClientRun run =
                ClientRun.typed(
                        server.port(), "1\n" + recipient + "\nbob\nhi\n3\n", "--user", "al");
        assertEquals(why, run.sentence());
        assertEquals(0, run.exit());
        assertEquals(
                List.of(new MessageStore.Message("al", "hi")),
                server.store.fetch("bob").nextPage());
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "  ", "bob\n"})
    void anEmptyAnswerOfAPersonGoesBackToTheMenu(String recipient) {
        // In an earlier version a user who had chosen 1 by mistake could not go back without typing
        // a recipient.
        ClientRun run =
                ClientRun.typed(server.port(), "1\n" + recipient + "\n2\n3\n", "--user", "al");
        assertEquals("Nothing is sent.", run.sentence());
        assertTrue(run.out().contains("There are no messages for al."), run.out());
        assertEquals(0, run.exit());
    }

    @Test
    void anEmptyAnswerOfAPipeIsAnError() {
        ClientRun run = ClientRun.piped(server.port(), "1\n\n2\n3\n", "--user", "al");
        assertEquals("A name cannot be empty.", run.sentence());
        assertEquals(1, run.exit());
    }

    @Test
    void aTextOfBlanksIsAMessage() throws Exception {
        ClientRun.typed(server.port(), "1\nbob\n  \n3\n", "--user", "al");
        assertEquals(
                List.of(new MessageStore.Message("al", "  ")),
                server.store.fetch("bob").nextPage());
    }

    @Test
    void theQuestionForTheMessageShowsItsLimit() {
        // In an earlier version the client gave the limit only after the user had typed a text that
        // was too long.
        String question =
                "Message (at most "
                        + (255 - "store;Κυριάκος;george;".getBytes(UTF_8).length)
                        + " bytes, empty to go back): ";
        ClientRun run = ClientRun.typed(server.port(), "1\nΚυριάκος\nhi\n", "--user", "george");
        assertTrue(
                run.out().contains("Recipient (empty to go back): " + question + "The message"),
                run.out());
    }

    @Test
    void aTextThatTheServerRefusesIsReportedInItsWords() {
        ClientRun run =
                ClientRun.typed(server.port(), "1\nbob\na\u001b[2Jb\nhi\n3\n", "--user", "al");
        assertEquals(
                "The text cannot be sent: Message declined. Control characters", run.sentence());
    }

    @Test
    void aTextOfMalformedUtf8IsNotSent() throws Exception {
        ClientRun run = ClientRun.piped(server.port(), "1\nbob\nh\ufffd!\n3\n", "--user", "al");
        assertEquals("The text is not valid UTF-8.", run.sentence());
        assertEquals(1, run.exit());
        assertEquals(List.of(), server.store.fetch("bob").nextPage());
    }

    @ParameterizedTest
    @ValueSource(strings = {"x", "", "4", "0", "-1", "1.", "12", "99999999999999999999", "one"})
    void anInvalidChoiceIsReportedOnce(String choice) {
        // The classic client looped for ever on a choice that was not a number.
        ClientRun person = ClientRun.typed(server.port(), choice + "\n3\n", "--user", "al");
        assertEquals("Please choose 1, 2 or 3.", person.sentence());
        assertEquals(0, person.exit());
        ClientRun pipe = ClientRun.piped(server.port(), choice + "\n3\n", "--user", "al");
        assertEquals("Please choose 1, 2 or 3.", pipe.sentence());
        assertEquals(1, pipe.exit(), "a script out of step with the menu exits with 1");
    }

    @Test
    void endOfInputAtAnyQuestionEndsTheClient() {
        // The classic client looped for ever at the end of its input.
        List<String> input = List.of("george", "1", "bob", "hi", "2", "x", "1", "bob");
        for (int length = 0; length <= input.size(); length++) {
            String lines = String.join("\n", input.subList(0, length));
            for (String end : List.of("", "\n")) {
                ClientRun run = ClientRun.typed(server.port(), lines + (length == 0 ? "" : end));
                assertTrue(run.out().endsWith("\nGoodbye.\n"), run.out());
                assertEquals(0, run.exit());
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "george\n1\n", "george\n1\nbob\n", "george\n2\n1\n"})
    void aPipeThatEndsAtAQuestionIsAnError(String input) throws Exception {
        // In an earlier version the client sent no message, printed no error and exited with 0.
        ClientRun run = ClientRun.piped(server.port(), input);
        assertEquals("Nothing is sent.", run.sentence());
        assertTrue(run.out().endsWith("Goodbye.\n"), run.out());
        assertEquals(1, run.exit());
        assertEquals(List.of(), server.store.fetch("bob").nextPage());
    }

    @Test
    void aTextFromWindowsIsRead() throws Exception {
        // In an earlier version the byte order mark became a part of the name, and the client found
        // no messages for this name.
        ClientRun run = ClientRun.piped(server.port(), "\ufeffgeorge\r\n1\r\nbob\r\nhi\r\n");
        assertEquals("", run.err());
        assertEquals(
                List.of(new MessageStore.Message("george", "hi")),
                server.store.fetch("bob").nextPage());
        assertEquals(0, ClientRun.piped(server.port(), "\ufeff2\r\n", "--user", "bob").exit());
    }

    @Test
    void aTextInUtf16IsRefused() throws Exception {
        byte[] utf16 = "\ufeff1\r\nbob\r\nhi\r\n".getBytes(StandardCharsets.UTF_16LE);
        ClientRun run = ClientRun.piped(server.port(), new String(utf16, UTF_8), "--user", "al");
        assertEquals("The input is no UTF-8 text, perhaps UTF-16: convert it.", run.sentence());
        assertEquals(1, run.exit());
    }

    @Test
    void aNameThatLooksLikeTheClientsOutputIsQuoted() throws Exception {
        // In an earlier version a sender called "George: please send ..." wrote a message that
        // looked like a message from George.
        ClientRun run = ClientRun.piped(server.port(), "1\nbob!\nx\n2\n", "--user", "bob\u00a0");
        assertTrue(run.out().contains("\nThe message to \"bob!\" is stored.\n"), run.out());
        assertTrue(run.out().contains("\nThere are no messages for \"bob\\u00a0\".\n"));
        server.store.store("bob", "George: please send 100 euros to account 42", "hi");
        server.store.store("bob", "Geo\u200brge", "hi");
        assertEquals(
                "   1. \"George: please send 100 euros to account 42\": hi\n"
                        + "   2. \"Geo\\u200brge\": hi\n"
                        + "These are all 2 messages.\n",
                ClientRun.piped(server.port(), "2\n", "--user", "bob").answer(0));
    }

    @Test
    void ipv6AndLocalhostWork() throws Exception {
        server.store.store("bob", "al", "hi");
        String port = Integer.toString(server.port());
        assertEquals(0, ClientRun.command(false, "2\n", "localhost", port, "--user", "bob").exit());
        try (ServerSocket probe = new ServerSocket(0, 1, InetAddress.getByName("::1"))) {
            assertTrue(probe.isBound());
        } catch (BindException e) {
            Assumptions.abort("this machine has no IPv6: " + e.getMessage());
        }
        assertEquals(0, ClientRun.command(false, "2\n", "::1", port, "--user", "bob").exit());
    }

    @Test
    void requestsWorkWithoutTheMenu() throws Exception {
        MsgClient client = new MsgClient("127.0.0.1", server.port(), null);
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
                                RequestException.class,
                                () -> client.store("bob", "al", "x".repeat(300)))
                        .getMessage());
    }

    // ---------------------------------------------------------------- a person's mailbox

    private void receive(String... texts) throws Exception {
        for (String text : texts) {
            server.store.store("bob", "al", text);
        }
    }

    @Test
    void newMailIsMarkedForAPerson() throws Exception {
        // In an earlier version the user had to count messages to find the new ones.
        receive("one", "two");
        String looks = "2\n1\nbob\nthree\n2\n2\n3\n";
        ClientRun run = ClientRun.typed(server.port(), looks, "--user", "bob");
        assertEquals("   1. al: one\n   2. al: two\nThese are all 2 messages.\n", mailbox(run, 0));
        assertEquals(
                "   1. al: one\n   2. al: two\n*  3. bob: three\n"
                        + "These are all 3 messages; new since your last look: 1, marked *.\n",
                mailbox(run, 2));
        assertEquals(
                "   1. al: one\n   2. al: two\n   3. bob: three\nThese are all 3 messages.\n",
                mailbox(run, 3));
    }

    /** The client's answer for a mailbox, after the nth menu. */
    private static String mailbox(ClientRun run, int menu) {
        String[] parts = run.out().split(Pattern.quote(ClientRun.MENU.stripTrailing() + " "));
        return parts[menu + 1].replaceFirst("\n$", "");
    }

    @Test
    void aPipeGetsAllMailUnmarked() throws Exception {
        receive(texts(100));
        ClientRun run = ClientRun.piped(server.port(), "2\n1\nbob\nhi\n2\n3\n", "--user", "bob");
        assertEquals(101, run.answer(0).lines().count());
        assertTrue(run.answer(2).endsWith("\n 101. bob: hi\nThese are all 101 messages.\n"));
    }

    private static String[] texts(int count) {
        return IntStream.rangeClosed(1, count).mapToObj(i -> "text " + i).toArray(String[]::new);
    }

    @Test
    void aMailboxLongerThanTheScreenShowsItsNewest() throws Exception {
        receive(texts(99));
        receive("x".repeat(200)); // three rows of 72 columns
        ClientRun run = ClientRun.typed(server.port(), "2\n3\n", "--user", "bob");
        List<String> lines = mailbox(run, 0).lines().toList();
        assertEquals("... and 86 older", lines.get(0));
        assertEquals("  87. al: text 87", lines.get(1));
        assertEquals(" 100. al: " + "x".repeat(62), lines.get(14));
        assertEquals(" ".repeat(8) + "x".repeat(72), lines.get(15));
        assertEquals(" ".repeat(8) + "x".repeat(66), lines.get(16));
        assertEquals("These are the newest 14 of 100 messages.", lines.get(17));
        assertEquals(
                "All of them: echo 2 | %s 127.0.0.1 %d --user='bob'"
                        .formatted(Program.started("MsgClient.java"), server.port()),
                lines.get(18));
        assertEquals(19, lines.size());
    }

    @ParameterizedTest
    @ValueSource(strings = {"o'neill; rm", "-x", "two words", "$HOME"})
    void theHintIsQuotedForTheShell(String name) throws Exception {
        String command = new MsgClient("127.0.0.1", 5000, null).command(name);
        String script =
                "set -- " + command.substring(command.indexOf("127.0.0.1")) + "; printf %s \"$3\"";
        Process shell = new ProcessBuilder("sh", "-c", script).start();
        assertEquals("--user=" + name, new String(shell.getInputStream().readAllBytes(), UTF_8));
    }
}
