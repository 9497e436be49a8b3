///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of requests and their framing
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES ../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
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

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.IntStream;

/**
 * {@link Protocol} without a socket. The tests repeat every text of the protocol literally, since
 * the text is the contract.
 */
class ProtocolTest {

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static Protocol.Request parse(String line) throws Protocol.RefusedException {
        return parse(utf8(line));
    }

    private static Protocol.Request parse(byte[] line) throws Protocol.RefusedException {
        return Protocol.parse(line, line.length);
    }

    /** The reply that refuses {@code line}. */
    private static String refusal(byte[] line) {
        return assertThrows(Protocol.RefusedException.class, () -> parse(line)).refusal.text;
    }

    // ---------------------------------------------------------------- requests

    @Nested
    class Requests {

        static List<Arguments> accepted() {
            return List.of(
                    arguments("fetch;george", new Protocol.Fetch("george")),
                    arguments(
                            "store;Kyriakos;george;hi Kyriakos",
                            new Protocol.Store("Kyriakos", "george", "hi Kyriakos")),
                    arguments("store;bob;al;a;b;;c;", new Protocol.Store("bob", "al", "a;b;;c;")),
                    arguments("store;bob;al;;", new Protocol.Store("bob", "al", ";")),
                    arguments("store;bob;al; ", new Protocol.Store("bob", "al", " ")),
                    arguments("store; bob ;\tal\t;  hi ", new Protocol.Store("bob", "al", "  hi ")),
                    arguments("fetch;  van der Berg  ", new Protocol.Fetch("van der Berg")),
                    arguments("fetch;bob\u00a0 ", new Protocol.Fetch("bob\u00a0")),
                    // In a regular expression "$" also matches before a final line separator. In an
                    // earlier version a trim by pattern dropped the space before U+2028.
                    arguments("fetch;bob \u2028", new Protocol.Fetch("bob \u2028")),
                    arguments("fetch;bob;", new Protocol.Fetch("bob")),
                    arguments("fetch;bob;ignored;;too", new Protocol.Fetch("bob")),
                    arguments("store;bob;al;a\tb", new Protocol.Store("bob", "al", "a\tb")),
                    arguments(
                            "store;Κυριάκος;Γιώργος;γειά σου 👋",
                            new Protocol.Store("Κυριάκος", "Γιώργος", "γειά σου 👋")),
                    arguments("fetch;../../etc/passwd", new Protocol.Fetch("../../etc/passwd")),
                    arguments("fetch;store", new Protocol.Fetch("store")),
                    arguments(
                            "store;fetch;store;fetch",
                            new Protocol.Store("fetch", "store", "fetch")),
                    arguments("fetch;Bob", new Protocol.Fetch("Bob")),
                    arguments("fetch;bob", new Protocol.Fetch("bob")));
        }

        @ParameterizedTest
        @MethodSource
        void accepted(String line, Protocol.Request request) throws Exception {
            assertEquals(request, parse(line));
            assertEquals(
                    request,
                    parse(request.bytes()),
                    "the parser reads the bytes as another request");
        }

        /**
         * Languages trim different white space: Java's strip() removes U+3000 and keeps U+00A0,
         * Python's strip() removes both. So the protocol lists the two characters to trim.
         */
        @Test
        void namesAreTrimmedOfSpacesAndTabsOnly() throws Exception {
            int[] spaces =
                    IntStream.rangeClosed(0, Character.MAX_CODE_POINT)
                            .filter(c -> Character.isWhitespace(c) || Character.isSpaceChar(c))
                            .filter(c -> !Character.isISOControl(c) && c != ' ')
                            .toArray();
            assertTrue(spaces.length > 15);
            for (int space : spaces) {
                String name = Character.toString(space) + "bob" + Character.toString(space);
                assertEquals(new Protocol.Fetch(name), parse("fetch;\t " + name + " \t"));
                assertEquals(
                        new Protocol.Store("bob", name, "hi"),
                        parse("store;bob; " + name + "\t;hi"));
            }
        }

        @ParameterizedTest(quoteTextArguments = true)
        @CsvSource(
                delimiter = '|',
                ignoreLeadingAndTrailingWhitespace = false,
                textBlock =
                        """
                        |No verb
                        ;|No verb
                        ;;;|No verb
                        ;bob|No verb
                        ;bob;al;hi|No verb
                        fetch|No recipient
                        fetch;|No recipient
                        fetch; |No recipient
                        fetch;;al|No recipient
                        store|No recipient
                        store;|No recipient
                        store;;al;hi|No recipient
                        hello|No recipient
                        STORE|No recipient
                        hello;|No recipient
                        hello;bob|Message declined. Bad verb
                        STORE;bob;al;hi|Message declined. Bad verb
                        Fetch;bob|Message declined. Bad verb
                         fetch;bob|Message declined. Bad verb
                        fetch ;bob|Message declined. Bad verb
                        fetchh;bob|Message declined. Bad verb
                        stor;bob;al;hi|Message declined. Bad verb
                        hello;bob;;|Message declined. Bad verb
                         ;bob|Message declined. Bad verb
                        store;bob|No sender
                        store;bob;|No sender
                        store;bob; |No sender
                        store;bob;;hi|No sender
                        store;bob; ;hi|No sender
                        store;bob;al|No message
                        store;bob;al;|No message
                        """)
        void refused(String line, String reply) {
            assertEquals(reply, refusal(line == null ? new byte[0] : utf8(line)));
        }

        @ParameterizedTest
        @ValueSource(
                strings = {
                    "\0",
                    "\b",
                    "\n",
                    "\u000b",
                    "\r",
                    "\u001b",
                    "\u001b[2J",
                    "\u007f",
                    "\u0085",
                    "\u009b"
                })
        void controlCharactersAreRefusedAnywhere(String control) {
            for (String line :
                    List.of(
                            control,
                            control + "fetch;bob",
                            "fetch;b" + control + "ob",
                            "store;bob;a" + control + "l;hi",
                            "store;bob;al;h" + control + "i",
                            "store;bob;al;hi" + control,
                            "fetch;bob;ignored" + control)) {
                assertEquals(
                        "Message declined. Control characters",
                        refusal(utf8(line)),
                        () -> Protocol.visible(line));
            }
        }

        @ParameterizedTest
        @CsvSource({
            "ff, a byte that UTF-8 never uses",
            "80, a continuation without a beginning",
            "c3, a beginning without its continuation",
            "e282, two bytes of three",
            "c0af, a slash in two bytes",
            "e080af, a slash in three bytes",
            "eda080, a surrogate",
            "f4908080, beyond the last code point",
            "f8888080 80, five bytes"
        })
        void malformedUtf8IsRefusedAnywhere(String hex, String what) {
            byte[] bad = HexFormat.of().parseHex(hex.replace(" ", ""));
            for (String before : List.of("", "fetch;", "fetch;bob;", "store;bob;al;hi")) {
                for (String after : List.of("", ";x")) {
                    byte[] line = joined(utf8(before), bad, utf8(after));
                    assertEquals("Message declined. Not UTF-8", refusal(line), what);
                }
            }
        }

        @Test
        void allOtherTextIsAccepted() throws Exception {
            int[] text =
                    IntStream.rangeClosed(0, Character.MAX_CODE_POINT)
                            .filter(c -> c == '\t' || !Character.isISOControl(c))
                            .filter(c -> c > 0xffff || !Character.isSurrogate((char) c))
                            .toArray();
            int some = 60; // 60 characters of four bytes fit into a request
            for (int i = 0; i < text.length; i += some) {
                String message = new String(text, i, Math.min(some, text.length - i));
                assertEquals(new Protocol.Store("b", "a", message), parse("store;b;a;" + message));
            }
        }

        @Test
        void lengthIsCountedInBytes() throws Exception {
            String start = "store;bob;al;";
            assertEquals(
                    new Protocol.Store("bob", "al", "é".repeat(121)),
                    parse(start + "é".repeat(121)),
                    "13 + 242 = 255 bytes");
            assertEquals(
                    "Message declined. Too long, 255 bytes at most",
                    refusal(utf8(start + "é".repeat(121) + "x")));
            assertEquals(
                    new Protocol.Store("bob", "al", "x".repeat(242)),
                    parse(start + "x".repeat(242)));
            assertEquals(
                    "Message declined. Too long, 255 bytes at most",
                    refusal(utf8(start + "x".repeat(243))));
        }

        @Test
        void theFirstFaultIsReported() {
            byte[] longMalformedControl = new byte[256];
            Arrays.fill(longMalformedControl, (byte) 0xff);
            longMalformedControl[0] = 0;
            assertEquals(
                    "Message declined. Too long, 255 bytes at most", refusal(longMalformedControl));
            assertEquals(
                    "Message declined. Not UTF-8",
                    refusal(joined(utf8(";\0"), new byte[] {(byte) 0xff})));
            assertEquals("Message declined. Control characters", refusal(utf8(";\0")));
            assertEquals("No verb", refusal(utf8(";")));
            assertEquals("No recipient", refusal(utf8("nonsense;")));
            assertEquals("Message declined. Bad verb", refusal(utf8("nonsense;bob;")));
        }

        @Test
        void onlyTheGivenLengthIsRead() throws Exception {
            byte[] buffer = utf8("fetch;bob!!!");
            assertEquals(new Protocol.Fetch("bob"), Protocol.parse(buffer, 9));
        }
    }

    // ---------------------------------------------------------------- framing

    @Nested
    class Framing {
        private static final String GREEK = "store;Κυριάκος;george;γειά 👋";
        private static final Protocol.Request GREEK_READ =
                new Protocol.Store("Κυριάκος", "george", "γειά 👋");

        /** The request in {@code pieces}, which arrive one after another until the input ends. */
        private static Protocol.Request read(byte[]... pieces) throws Exception {
            byte[] arrived = {};
            for (byte[] piece : pieces) {
                arrived = joined(arrived, piece);
                int end = Protocol.end(arrived, arrived.length);
                if (end >= 0) {
                    return Protocol.parse(arrived, end);
                }
            }
            return Protocol.parse(arrived, arrived.length);
        }

        private static String refusal(byte[]... pieces) {
            return assertThrows(Protocol.RefusedException.class, () -> read(pieces)).refusal.text;
        }

        @Test
        void lineFeedEndsARequest() throws Exception {
            assertEquals(GREEK_READ, read(utf8(GREEK + "\n")));
        }

        @Test
        void carriageReturnBeforeLineFeedIsDropped() throws Exception {
            assertEquals(GREEK_READ, read(utf8(GREEK + "\r\n")));
        }

        @Test
        void onlyOneCarriageReturnIsDropped() {
            assertEquals("Message declined. Control characters", refusal(utf8("fetch;bob\r\r\n")));
        }

        @Test
        void endOfInputEndsARequest() throws Exception {
            assertEquals(GREEK_READ, read(utf8(GREEK)));
        }

        @Test
        void carriageReturnWithoutLineFeedIsPartOfTheRequest() {
            assertEquals("Message declined. Control characters", refusal(utf8("fetch;bob\r")));
        }

        @Test
        void withoutALineEndARequestHasNoEndYet() throws Exception {
            byte[] request = utf8(GREEK + "\r\n");
            for (int arrived = 0; arrived < request.length; arrived++) {
                assertEquals(-1, Protocol.end(request, arrived), arrived + " bytes have arrived");
            }
            assertEquals(request.length - 2, Protocol.end(request, request.length));
        }

        @Test
        void bytesBeyondTheArrivedOnesAreNotRead() throws Exception {
            assertEquals(-1, Protocol.end(utf8("fetch;bob\n"), 9));
        }

        @ParameterizedTest
        @ValueSource(strings = {"\n", "\r\n", ""})
        void everySplitInTwoGivesTheSameRequest(String end) throws Exception {
            byte[] request = utf8(GREEK + end);
            for (int split = 1; split < request.length; split++) {
                assertEquals(
                        GREEK_READ,
                        read(
                                Arrays.copyOf(request, split),
                                Arrays.copyOfRange(request, split, request.length)),
                        "split at byte " + split);
            }
        }

        @ParameterizedTest
        @ValueSource(strings = {"\n", "\r\n", ""})
        void byteByByteGivesTheSameRequest(String end) throws Exception {
            byte[] request = utf8(GREEK + end);
            byte[][] bytes =
                    IntStream.range(0, request.length)
                            .mapToObj(i -> Arrays.copyOfRange(request, i, i + 1))
                            .toArray(byte[][]::new);
            assertEquals(GREEK_READ, read(bytes));
        }

        @Test
        void bytesAfterTheLineFeedAreIgnored() throws Exception {
            assertEquals(new Protocol.Fetch("bob"), read(utf8("fetch;bob\nstore;bob;al;forged\n")));
        }

        @ParameterizedTest
        @ValueSource(strings = {"", "\n", "\r\n", "\n\n", "\nfetch;bob\n"})
        void anEmptyLineHasNoVerb(String input) {
            assertEquals("No verb", refusal(utf8(input)));
        }

        @Test
        void aCharacterCutByTheEndOfInputIsMalformed() {
            assertEquals(
                    "Message declined. Not UTF-8", refusal(Arrays.copyOf(utf8("fetch;👋"), 8)));
        }

        /**
         * Each way to end a request, for the longest request that fits and for one that is a byte
         * shorter.
         */
        @ParameterizedTest
        @CsvSource({"lf, 254", "lf, 255", "crlf, 254", "crlf, 255", "end, 254", "end, 255"})
        void upTo255BytesFit(String ending, int length) throws Exception {
            String message = "x".repeat(length - "store;bob;al;".length());
            byte[] line = ended("store;bob;al;" + message, ending);
            assertEquals(new Protocol.Store("bob", "al", message), read(line));
            assertEquals(new Protocol.Store("bob", "al", message), read(inTwo(line)));
        }

        @ParameterizedTest
        @CsvSource({
            "lf, 256",
            "lf, 257",
            "lf, 258",
            "crlf, 256",
            "crlf, 257",
            "crlf, 258",
            "end, 256",
            "end, 257",
            "end, 258",
            "lf, 100000",
            "end, 100000"
        })
        void moreThan255BytesAreRefusedAndNeverCut(String ending, int length) {
            byte[] line =
                    ended("store;bob;al;" + "x".repeat(length - "store;bob;al;".length()), ending);
            assertEquals("Message declined. Too long, 255 bytes at most", refusal(line));
            assertEquals("Message declined. Too long, 255 bytes at most", refusal(inTwo(line)));
        }

        @Test
        void carriageReturnAsThe256thByteCountsUnlessLineFeedFollows() throws Exception {
            String longest = "fetch;" + "x".repeat(249);
            Protocol.Fetch read = new Protocol.Fetch("x".repeat(249));
            assertEquals(read, read(utf8(longest + "\r"), utf8("\n")));
            assertEquals(read, read(utf8(longest), utf8("\r"), utf8("\n")));
            for (String after : List.of("x", "\r", "x\n", "")) {
                assertEquals(
                        "Message declined. Too long, 255 bytes at most",
                        refusal(utf8(longest + "\r"), utf8(after)));
            }
        }

        @Test
        void tooLongIsReportedBeforeTheRequestEnds() {
            // A client that never stops writing would otherwise never get a refusal.
            byte[] begun = utf8("x".repeat(256));
            Protocol.RefusedException refused =
                    assertThrows(
                            Protocol.RefusedException.class,
                            () -> Protocol.end(begun, begun.length));
            assertEquals("Message declined. Too long, 255 bytes at most", refused.refusal.text);
        }

        private static byte[] ended(String line, String ending) {
            return utf8(
                    switch (ending) {
                        case "lf" -> line + "\n";
                        case "crlf" -> line + "\r\n";
                        default -> line;
                    });
        }

        private static byte[][] inTwo(byte[] line) {
            return new byte[][] {
                Arrays.copyOf(line, 250), Arrays.copyOfRange(line, 250, line.length)
            };
        }
    }

    private static byte[] joined(byte[]... parts) {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        for (byte[] part : parts) {
            all.writeBytes(part);
        }
        return all.toByteArray();
    }
}
