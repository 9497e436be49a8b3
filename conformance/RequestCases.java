//JAVA 21+
//SOURCES ServerCheck.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.time.Duration;
import java.util.List;

/** The cases about a request line: its parts, its end, its length and its text. */
final class RequestCases {
    private static final String TOO_LONG = "Message declined. Too long, 255 bytes at most\n";
    private static final String NOT_UTF8 = "Message declined. Not UTF-8\n";
    private static final String CONTROL = "Message declined. Control characters\n";

    private static final String BYTES =
            "at most 255 bytes, its end not counted; this is checked before the parts";
    private static final String TEXT = "all text is UTF-8; this is checked before the parts";
    private static final String CONTROLS =
            "control characters (U+0000 to U+001F, U+007F to U+009F) other than TAB; this is"
                    + " checked before the parts";

    private final ServerCheck server;

    RequestCases(ServerCheck server) {
        this.server = server;
    }

    /** Adds them all. */
    void add() {
        missingParts();
        theEndOfARequest();
        theLength();
        theText();
    }

    private void missingParts() {
        String order = "in the order: verb there, recipient there, verb known, sender, message";
        refused("No verb", order, "", ";", ";bob");
        refused("No recipient", order, "fetch", "bogus", "fetch;", "store;;al;hi", "STORE;");
        refused("Message declined. Bad verb", order, "STORE;bob", "bogus;bob;al;hi", "fetch ;bob");
        refused("No sender", order, "store;bob", "store;bob;", "store;bob;;hi", "store;bob;;");
        refused("No message", order, "store;bob;al", "store;bob;al;");
        refused("No recipient", ServerCheck.NAMES, "fetch; \t");
        refused("No sender", ServerCheck.NAMES, "store;bob; ;hi");
    }

    private void refused(String reply, String says, String... requests) {
        for (String request : requests) {
            server.claim(Case.shown(request) + " is answered \"" + reply + "\"", says)
                    .holds((talk, name) -> talk.half(request).gives(reply + "\n"));
        }
    }

    private void theEndOfARequest() {
        ends("silence after one piece ends a request", "hi", (talk, s) -> talk.open(s + "hi"));
        ends("LF ends a request", "hi", (talk, s) -> talk.open(s + "hi\n"));
        ends("CR LF ends a request, as one", "hi", (talk, s) -> talk.open(s + "hi\r\n"));
        ends(
                "a request comes in pieces",
                "hi",
                (talk, s) -> talk.open("sto", s.substring(3), "h", "i", "\n"));
        ends(
                "a character comes in pieces",
                "😀",
                (talk, s) -> talk.pausing(Duration.ofMillis(20)).byteByByte(s + "😀\n"));
        ends(
                "half a second in the middle does not cut a request",
                "pay 10000 euro",
                (talk, s) -> talk.pausing(Duration.ofMillis(500)).open(s + "pay 10", "000 euro\n"));
        ends(
                "pieces and the end of the sending side make a request",
                "hi",
                (talk, s) -> talk.half(s.substring(0, 6), s.substring(6), "h", "i"));
    }

    /** {@code question} sends a store that ends in {@code text}, however it ends the request. */
    private void ends(String claim, String text, ServerCheck.Question question) {
        server.claim(claim, ServerCheck.END)
                .holds((talk, name) ->
                        question.ask(talk, "store;" + name + ";al;").keeps(name + ";al;" + text));
    }

    private void theLength() {
        for (String end : List.of("", "\n", "\r\n")) {
            String says = end.isEmpty() ? BYTES : ServerCheck.END;
            server.claim("255 bytes and then " + Case.shown(end) + " are taken", says)
                    .holds((talk, name) -> {
                        String message = filled(name + ";al;", 249, "λ");
                        talk.half("store;" + message + end).keeps(message);
                    });
        }
        server.claim("256 bytes are refused, and nothing is kept of them", BYTES)
                .holds((talk, name) -> {
                    for (String end : List.of("", "\n", "\r\n")) {
                        talk.store(filled(name + ";al;", 250, "x") + end).gives(TOO_LONG);
                        talk.fetch(name).gives(Talk.EMPTY);
                    }
                });
        server.claim("bytes are counted, not characters", BYTES)
                .holds((talk, name) -> {
                    for (String character : List.of("λ", "世", "😀")) {
                        talk.store(filled(name + ";al;", 249, character) + character)
                                .gives(TOO_LONG);
                        talk.fetch(name).gives(Talk.EMPTY);
                    }
                });
        declined(
                "a request that is far too long is refused",
                TOO_LONG,
                BYTES,
                (talk, s) -> talk.half(s + "x".repeat(100_000)));
    }

    /** {@code start} and as much of {@code filler} as makes {@code bytes}, with x for the rest. */
    private static String filled(String start, int bytes, String filler) {
        int room = bytes - start.length();
        int size = filler.getBytes(UTF_8).length;
        return start + filler.repeat(room / size) + "x".repeat(room % size);
    }

    private void theText() {
        String malformed = "\u00ff \u00ce \u00c0\u0080 \u00ed\u00a0\u0080 \u00f0\u009f\u0098";
        for (String bad : malformed.split(" ")) {
            declined(
                    Case.shown(bad.getBytes(ISO_8859_1)) + " is refused",
                    NOT_UTF8,
                    TEXT,
                    (talk, s) -> talk.half((s + bad).getBytes(ISO_8859_1)));
        }
        for (String character : List.of("\0", "\u001b", "\u007f", "\u0085", "\r")) {
            declined(
                    Case.shown(character) + " in a message is refused",
                    CONTROL,
                    CONTROLS,
                    (talk, s) -> talk.half(s + "a" + character + "b\n"));
        }
        server.claim("the encoding is checked before the parts", TEXT)
                .holds((talk, name) ->
                        talk.half("bogus\u00ff".getBytes(ISO_8859_1)).gives(NOT_UTF8));
        refused(TOO_LONG.strip(), BYTES, "x".repeat(256));
        refused(CONTROL.strip(), CONTROLS, "bogus;b\u0007b");
    }

    /** {@code question} sends a store that is refused, and of which nothing may be kept. */
    private void declined(String claim, String reply, String says, ServerCheck.Question question) {
        server.claim(claim, says)
                .holds((talk, name) -> {
                    question.ask(talk, "store;" + name + ";al;").gives(reply);
                    talk.fetch(name).gives(Talk.EMPTY);
                });
    }
}
