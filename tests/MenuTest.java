///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the client's menu, with our server
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/FakeServer.java
//SOURCES support/ClientRun.java
//SOURCES ../MsgClient.java
//SOURCES ../MsgServer.java
//SOURCES ../store/MessageStore.java
//SOURCES ../store/Database.java
//SOURCES ../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

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
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** The client's {@link Menu} with our server, for a pipe and for a person. */
class MenuTest {

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
                        + "That is the only message.\n\n"
                        + ClientRun.MENU
                        + "Goodbye.\n",
                run.out());
        assertEquals(0, run.exit());
        assertEquals(
                "   1. george: hi Kyriakos; how are you?\nThat is the only message.\n",
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
                ClientRun.piped(server.port(), "2\n3\n", "--user", "bob").answer(0));
    }

    @Test
    void namesAndTextsComeBackAsTheyWereTyped() {
        // The classic client crashed on a name of 80 characters and replies over 8,000 bytes.
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
        ClientRun.piped(server.port(), "1\n  bob  \n  hi  \n", "--user", "\t al ");
        assertEquals(
                "   1. al:   hi  \nThat is the only message.\n",
                ClientRun.piped(server.port(), "2\n", "--user", "bob").answer(0));
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
                "That is " + excess + (excess == 1 ? " byte" : " bytes") + " too long.",
                run.sentence());
        assertTrue(run.out().contains("Message: Message: The message to bob is stored."));
        assertEquals(0, run.exit(), "a person who corrects a mistake has made none");
    }

    @Test
    void lengthIsMeasuredInBytes() {
        ClientRun run =
                ClientRun.typed(
                        server.port(), "1\nbob\n" + "γ".repeat(122) + "\nhi\n3\n", "--user", "al");
        assertEquals("That is 2 bytes too long.", run.sentence());
    }

    @Test
    void aPipeIsNotAskedAgain() throws Exception {
        // Its next line, meant for the menu, was taken for the corrected text.
        ClientRun run =
                ClientRun.piped(
                        server.port(),
                        "1\nbob\n" + "x".repeat(300) + "\n1\nbob\nhi\n3\n",
                        "--user",
                        "al");
        assertEquals("That is 58 bytes too long.", run.sentence());
        assertTrue(run.out().contains("The message to bob is stored."), run.out());
        assertEquals(1, run.exit());
        assertEquals(List.of(new MessageStore.Message("al", "hi")), store.fetch("bob").nextPage());
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
        ClientRun run =
                ClientRun.typed(server.port(), name + "\nal\n1\n" + name + "\nbob\nhi\n3\n");
        assertEquals(why + "\n" + why + "\n", run.err());
        assertEquals(0, run.exit());
        assertEquals(List.of(new MessageStore.Message("al", "hi")), store.fetch("bob").nextPage());
    }

    @Test
    void aTextThatCannotBeSentIsSaidInTheServersWords() {
        ClientRun run =
                ClientRun.typed(server.port(), "1\nbob\na\u001b[2Jb\n\nhi\n3\n", "--user", "al");
        assertEquals(
                "That cannot be sent: Message declined. Control characters\n"
                        + "A message cannot be empty.\n",
                run.err());
    }

    @Test
    void aTextThatDidNotArriveAsUtf8IsNotSent() throws Exception {
        ClientRun run = ClientRun.piped(server.port(), "1\nbob\nh\ufffd!\n3\n", "--user", "al");
        assertEquals("That holds characters that did not arrive as UTF-8.", run.sentence());
        assertEquals(1, run.exit());
        assertEquals(List.of(), store.fetch("bob").nextPage());
    }

    @ParameterizedTest
    @ValueSource(strings = {"x", "", "4", "0", "-1", "1.", "12", "99999999999999999999", "one"})
    void aChoiceThatIsNoneIsSaidOnce(String choice) {
        // The classic client looped for ever on a choice that was no number.
        ClientRun person = ClientRun.typed(server.port(), choice + "\n3\n", "--user", "al");
        assertEquals("Please choose 1, 2 or 3.", person.sentence());
        assertEquals(0, person.exit());
        ClientRun pipe = ClientRun.piped(server.port(), choice + "\n3\n", "--user", "al");
        assertEquals("Please choose 1, 2 or 3.", pipe.sentence());
        assertEquals(1, pipe.exit(), "a script that has lost its place");
    }

    @Test
    void endOfInputAnywhereEndsIt() {
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

    @Test
    void ipv6AndLocalhostWork() throws Exception {
        store.store("bob", "al", "hi");
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
