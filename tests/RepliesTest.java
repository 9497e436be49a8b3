///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of replies: their wording, parsing by a client, and display of foreign text
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES ../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.net.ProtocolException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * Replies without a socket. The tests repeat every text of the protocol literally, since the text
 * is the contract.
 */
class RepliesTest {
    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    // ---------------------------------------------------------------- replies, worded

    @Nested
    class RepliesWorded {

        @ParameterizedTest
        @CsvSource(
                delimiter = '|',
                value = {
                    "NO_VERB|No verb",
                    "NO_RECIPIENT|No recipient",
                    "NO_SENDER|No sender",
                    "NO_MESSAGE|No message",
                    "BAD_VERB|Message declined. Bad verb",
                    "TOO_LONG|Message declined. Too long, 255 bytes at most",
                    "NOT_UTF8|Message declined. Not UTF-8",
                    "CONTROL_CHARACTERS|Message declined. Control characters",
                    "TIMED_OUT|Message declined. Timed out",
                    "NOT_STORED|Message declined. Could not be stored, try again later",
                    "BUSY|Message declined. Server is busy, try again later"
                })
        void refusalsAreWordedAsPromised(Protocol.Refusal refusal, String text) {
            assertEquals(text, refusal.text);
            assertEquals(text, new Protocol.RefusedException(refusal).getMessage());
        }

        @Test
        void answersAreWordedAsPromised() {
            assertEquals("Message accepted and stored:", Protocol.STORED);
            assertEquals("Retrieving messages...", Protocol.RETRIEVING);
            assertEquals("NO MORE MESSAGES", Protocol.NO_MORE_MESSAGES);
            assertEquals("There is no such name", Protocol.NO_SUCH_NAME);
            assertEquals(255, Protocol.MAX_BUFF_LEN);
        }

        @Test
        void aLineEndsWithLineFeed() {
            assertArrayEquals(utf8("γειά\n"), Protocol.line("γειά"));
        }

        @Test
        void aMessageIsListedAsItsThreeParts() {
            assertEquals(
                    "Κυριάκος;george;a;b;",
                    new Protocol.Store("Κυριάκος", "george", "a;b;").parts());
        }

        @Test
        void requestsAreBytesWithoutALineEnd() {
            assertArrayEquals(utf8("fetch;Κυριάκος"), new Protocol.Fetch("Κυριάκος").bytes());
            assertArrayEquals(
                    utf8("store;bob;al;a;b"), new Protocol.Store("bob", "al", "a;b").bytes());
        }
    }

    // ---------------------------------------------------------------- replies, read

    @Nested
    class RepliesRead {

        private static final String MAILBOX =
                "Retrieving messages...\n"
                        + "Κυριάκος;george;hi;there\n"
                        + "Κυριάκος;al;👋\n"
                        + "NO MORE MESSAGES\n";
        private static final String EMPTY = "Retrieving messages...\nThere is no such name\n";

        private final List<Protocol.Store> mail = new ArrayList<>();

        private Protocol.Reply read(byte[] reply) throws IOException {
            mail.clear();
            return Protocol.readReply(new ByteArrayInputStream(reply), mail::add);
        }

        private Protocol.Reply read(String reply) throws IOException {
            return read(utf8(reply));
        }

        static List<Arguments> complete() {
            return List.of(
                    arguments("Message accepted and stored:\n", new Protocol.Stored()),
                    arguments(MAILBOX, new Protocol.Mailbox(2)),
                    arguments(EMPTY, new Protocol.Mailbox(0)),
                    arguments("No verb\n", new Protocol.Refused("No verb")),
                    arguments(
                            "Message declined. Too long, 255 bytes at most\n",
                            new Protocol.Refused("Message declined. Too long, 255 bytes at most")));
        }

        @ParameterizedTest
        @MethodSource
        void complete(String reply, Protocol.Reply read) throws Exception {
            assertEquals(read, read(reply));
            assertEquals(
                    read,
                    read(reply.strip()),
                    "the reply means the same without its last line end");
        }

        @ParameterizedTest
        @MethodSource("complete")
        void aReplyCutAtAnyByteIsReportedAsCutOff(String reply, Protocol.Reply ignored) {
            byte[] whole = utf8(reply);
            for (int length = 0; length < whole.length - 1; length++) {
                byte[] cut = Arrays.copyOf(whole, length);
                assertThrows(
                        EOFException.class,
                        () -> read(cut),
                        () -> "cut off after: " + new String(cut, StandardCharsets.UTF_8));
            }
        }

        @Test
        void messagesComeInOrderWithTheirSemicolons() throws Exception {
            read(MAILBOX);
            assertEquals(
                    List.of(
                            new Protocol.Store("Κυριάκος", "george", "hi;there"),
                            new Protocol.Store("Κυριάκος", "al", "👋")),
                    mail);
        }

        @Test
        void messagesBeforeTheCutAreDelivered() {
            assertThrows(
                    EOFException.class,
                    () -> read("Retrieving messages...\nbob;al;one\nbob;al;two\nbob;al;thr"));
            assertEquals(
                    List.of(
                            new Protocol.Store("bob", "al", "one"),
                            new Protocol.Store("bob", "al", "two")),
                    mail,
                    "the client shows half a message");
        }

        @Test
        void nothingIsReadBeyondTheReply() throws Exception {
            InputStream in =
                    new ByteArrayInputStream(utf8("Message accepted and stored:\nNo verb\n"));
            assertEquals(new Protocol.Stored(), Protocol.readReply(in, mail::add));
            assertEquals("No verb\n", new String(in.readAllBytes(), StandardCharsets.UTF_8));
        }

        @Test
        void theClassicServersRepliesAreUnderstood() throws Exception {
            assertEquals(new Protocol.Refused("No reciever"), read("No reciever\n"));
            assertEquals(
                    new Protocol.Mailbox(0), read("Retrieving messages...\nThere is no such name"));
            assertEquals(
                    new Protocol.Mailbox(2),
                    read("Retrieving messages...\nbob;al;hi\n\nbob;al;ho\nNO MORE MESSAGES"),
                    "the classic server keeps a message's line end, so a blank line follows");
            assertEquals(
                    List.of(
                            new Protocol.Store("bob", "al", "hi"),
                            new Protocol.Store("bob", "al", "ho")),
                    mail);
        }

        @Test
        void aLineThatIsNoMessageIsDeliveredWithoutNames() throws Exception {
            assertEquals(
                    new Protocol.Mailbox(2),
                    read("Retrieving messages...\njust text\nbob;text\nNO MORE MESSAGES\n"));
            assertEquals(
                    List.of(
                            new Protocol.Store("", "", "just text"),
                            new Protocol.Store("", "", "bob;text")),
                    mail);
        }

        @Test
        void noSuchNameEndsOnlyAnEmptyMailbox() throws Exception {
            assertEquals(
                    new Protocol.Mailbox(2),
                    read(
                            "Retrieving messages...\nbob;al;hi\nThere is no such name\n"
                                    + "NO MORE MESSAGES\n"));
        }

        @Test
        void malformedUtf8OfAForeignServerIsShownNotThrown() throws Exception {
            byte[] reply =
                    joined(
                            utf8("Retrieving messages...\nbob;al;h"),
                            new byte[] {(byte) 0xe9},
                            utf8("!\nNO MORE MESSAGES\n"));
            assertEquals(new Protocol.Mailbox(1), read(reply));
            assertEquals(List.of(new Protocol.Store("bob", "al", "h\ufffd!")), mail);
        }

        @ParameterizedTest
        @ValueSource(
                strings = {
                    "HTTP/1.1 400 Bad Request\r\n",
                    "SSH-2.0-OpenSSH_9.2\n",
                    "\n",
                    "message accepted and stored:\n",
                    "Message accepted and stored: or not\n",
                    "\u001b]0;owned\u0007\n"
                })
        void aReplyOfAnotherProtocolIsReported(String reply) {
            ProtocolException e = assertThrows(ProtocolException.class, () -> read(reply));
            assertTrue(e.getMessage().startsWith("not a reply of a message server"));
            assertFalse(e.getMessage().chars().anyMatch(Character::isISOControl), e.getMessage());
        }

        @Test
        void anEndlessLineIsGivenUp() {
            int[] taken = {0};
            InputStream endless =
                    new InputStream() {
                        @Override
                        public int read() {
                            taken[0]++;
                            return 'x';
                        }
                    };
            assertThrows(ProtocolException.class, () -> Protocol.readReply(endless, mail::add));
            assertTrue(taken[0] <= 1 << 20, "after " + taken[0] + " bytes");
        }
    }

    // ---------------------------------------------------------------- showing foreign text

    static List<Arguments> visible() {
        return List.of(
                arguments("", ""),
                arguments("plain text", "plain text"),
                arguments("Κυριάκος 👋 שלום é", "Κυριάκος 👋 שלום é"),
                arguments("\u001b[2J", "\\u001b[2J"),
                arguments("a\tb", "a\\tb"),
                arguments("a\rb\nc", "a\\u000db\\u000ac"),
                arguments("a\0b", "a\\u0000b"),
                arguments("\u007f", "\\u007f"),
                arguments("\u0085\u009b31m", "\\u0085\\u009b31m"),
                arguments("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
                arguments("\u202aa\u202eb\u202c", "\\u202aa\\u202eb\\u202c"),
                arguments("\u2066a\u2067\u2068\u2069", "\\u2066a\\u2067\\u2068\\u2069"),
                arguments("👋\u001b", "👋\\u001b"),
                // In an earlier version a name with an invisible character looked like George's
                // name.
                arguments("zero\u200bwidth\u200d\ufeff", "zero\\u200bwidth\\u200d\\ufeff"),
                arguments("soft\u00adhyphen", "soft\\u00adhyphen"),
                arguments("a\u00a0b\u202fc\u3000d", "a\\u00a0b\\u202fc\\u3000d"),
                arguments("\u200ea\u200f\u061c", "\\u200ea\\u200f\\u061c"),
                arguments("tag\udb40\udc41\udb40\udc7f", "tag\\U000e0041\\U000e007f"),
                arguments("\u3164\u2800\u034f\u115f", "\\u3164\\u2800\\u034f\\u115f"),
                arguments("a\ufe0f\udb40\udd00", "a\\ufe0f\\U000e0100"),
                arguments("\ue000\udbff\udffe\u0378\ud800", "\\ue000\\U0010fffe\\u0378\\ud800"),
                arguments("❤️ 👩🏽‍💻", "❤️ 👩🏽‍💻"),
                arguments("e\u0301 नमस्ते", "e\u0301 नमस्ते"));
    }

    @ParameterizedTest
    @MethodSource
    void visible(String text, String shown) {
        assertEquals(shown, Protocol.visible(text));
    }

    @Test
    void everyInvisibleCharacterIsEscaped() {
        Pattern unseen = Pattern.compile("[\\p{C}\\p{Z}&&[^ ]]");
        // The loop leaves out visible ideographs, and unassigned and private code points.
        for (int c = 0; c < 0xe1000; c += c == 0x32000 ? 0xae000 : 256) {
            String text =
                    IntStream.range(c, c + 256)
                            .mapToObj(one -> "a" + Character.toString(one))
                            .collect(Collectors.joining());
            String shown = Protocol.visible(text, 10_000);
            assertFalse(unseen.matcher(shown).find(), shown);
            assertEquals(
                    shown,
                    Protocol.visible(shown, 10_000),
                    "visible text does not change when it is made visible again");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"x", "γ", "你", "👋", "\u001b", "\udb40\udc41", "👩🏽‍💻"})
    void aLongTextIsCutBetweenTwoCharacters(String one) {
        int bytes = Protocol.visible(one).getBytes(StandardCharsets.UTF_8).length;
        int fitting = 990 / bytes;
        String line = Protocol.visible(one.repeat(30_000));
        assertTrue(
                line.getBytes(StandardCharsets.UTF_8).length < 1_000,
                "the text does not fit into a line of the log");
        assertEquals(Protocol.visible(one).repeat(fitting), Protocol.visible(one.repeat(fitting)));
        for (int most : new int[] {20, 97, 990}) {
            String cut = Protocol.visible(one.repeat(30_000), most);
            int length = cut.getBytes(StandardCharsets.UTF_8).length;
            assertTrue(length <= most + 3 && length > most - 4, length + " of " + most);
            assertTrue(cut.endsWith("..."), cut);
            assertFalse(cut.contains("\ufffd"), cut);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"bob", "Κυριάκος", "a.b-c_d@e", "e\u0301", "नमस्ते", "7"})
    void anOrdinaryNameIsShownUnchanged(String name) {
        assertEquals(name, Protocol.visibleName(name));
    }

    static List<Arguments> visibleName() {
        return List.of(
                // In an earlier version a message from a sender with this name looked like a
                // message from George.
                arguments(
                        "George: please send 100 euros to account 42",
                        "\"George: please send 100 euros to account 42\""),
                // In an earlier version the log line "store to bob from alice from carol" did not
                // show where the recipient's name ended.
                arguments("bob from alice", "\"bob from alice\""),
                arguments(" a", "\" a\""),
                arguments("a ", "\"a \""),
                // A combining mark is drawn on the character before it. In both names this
                // character is a blank: the blank before the name, or a blank inside it.
                arguments("\u0301a", "\"\u0301a\""),
                arguments("a \u0301", "\"a \u0301\""),
                arguments("George\u200b", "\"George\\u200b\""),
                arguments("George\ufe0f", "\"George\\ufe0f\""),
                arguments("George\u3164", "\"George\\u3164\""),
                arguments("George\\u200b", "\"George\\\\u200b\""),
                arguments("\"", "\"\\\"\""),
                arguments("👋", "\"👋\""),
                arguments("", "\"\""));
    }

    @ParameterizedTest
    @MethodSource
    void visibleName(String name, String shown) {
        assertEquals(shown, Protocol.visibleName(name));
    }

    @Test
    void aRefusalHasNoStackTrace() {
        Protocol.RefusedException refused =
                new Protocol.RefusedException(Protocol.Refusal.BAD_VERB);
        assertEquals(0, refused.getStackTrace().length, "a refusal has no stack trace");
        assertInstanceOf(Exception.class, refused);
    }

    private static byte[] joined(byte[]... parts) {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        for (byte[] part : parts) {
            all.writeBytes(part);
        }
        return all.toByteArray();
    }
}
