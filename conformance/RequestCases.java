//JAVA 21+
//SOURCES ServerCheck.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HexFormat;
import java.util.List;

/** What a server has to make of a request line: its parts, its end, its length and its text. */
final class RequestCases {
    private static final String TOO_LONG = "Message declined. Too long, 255 bytes at most\n";
    private static final String NOT_UTF8 = "Message declined. Not UTF-8\n";
    private static final String CONTROL = "Message declined. Control characters\n";

    private final ServerCheck server;
    private final boolean classic;

    /**
     * Cases for {@code server}; only those that the classic C server passes, if {@code classic}.
     */
    RequestCases(ServerCheck server, boolean classic) {
        this.server = server;
        this.classic = classic;
    }

    /** Adds them all. */
    void add() {
        missingParts();
        silence();
        if (!classic) {
            theEndOfARequest();
            theLength();
            tooLong();
            theText();
        }
    }

    private void missingParts() {
        refused(classic ? ";" : ";bob", "No verb");
        refused("fetch", "No recipient");
        refused("bogus", "No recipient");
        refused("STORE;bob", "Message declined. Bad verb");
        refused("bogus;bob;al;hi", "Message declined. Bad verb");
        refused("store;bob", "No sender");
        refused("store;bob;al", "No message");
        if (classic) {
            return;
        }
        refused("", "No verb");
        refused(";", "No verb");
        refused("fetch;", "No recipient");
        refused("fetch; \t", "No recipient");
        refused("store;;al;hi", "No recipient");
        refused("STORE;", "No recipient");
        refused("fetch ;bob", "Message declined. Bad verb");
        refused("store;bob;", "No sender");
        refused("store;bob;;hi", "No sender");
        refused("store;bob; ;hi", "No sender");
        refused("store;bob;;", "No sender");
        refused("store;bob;al;", "No message");
    }

    private void refused(String request, String reply) {
        server.claim(
                        Case.shown(request) + " is answered \"" + reply + "\"",
                        "the parts in the order: verb there, recipient there, verb known, sender,"
                                + " message.")
                .holds((talk, name) -> talk.half(request).gives(reply + "\n"));
    }

    private void theEndOfARequest() {
        ends("LF ends a request", "hi", (talk, start) -> talk.open(start + "hi\n"));
        ends(
                "CR LF ends a request, and neither is part of it",
                "hi",
                (talk, start) -> talk.open(start + "hi\r\n"));
        ends(
                "a request comes in pieces",
                "hi",
                (talk, start) -> talk.open("sto", start.substring(3), "h", "i", "\n"));
        ends(
                "a character comes in pieces",
                "😀",
                (talk, start) -> talk.byteByByte(start + "😀\n", Duration.ofMillis(20)));
        ends(
                "half a second in the middle does not cut a request",
                "pay 10000 euro",
                (talk, start) -> talk.open(Duration.ofMillis(500), start + "pay 10", "000 euro\n"));
        ends(
                "pieces and the end of the sending side make a request",
                "hi",
                (talk, start) -> talk.half(start.substring(0, 6), start.substring(6), "h", "i"));
    }

    private void silence() {
        ends(
                "silence after one piece ends a request",
                "hi",
                (talk, start) -> talk.open(start + "hi"));
    }

    /** {@code question} sends a store that ends in {@code text}, however it ends the request. */
    private void ends(String claim, String text, ServerCheck.Question question) {
        server.claim(
                        claim,
                        "The request ends at LF; or when the client shuts down its sending side; or"
                            + " after 1 s of silence when what came arrived in one piece of more"
                            + " than one byte.")
                .holds((talk, name) ->
                        question.ask(talk, "store;" + name + ";al;").keeps(name + ";al;" + text));
    }

    private void theLength() {
        String says = "a line of at most 255 bytes, its end not counted";
        server.claim("255 bytes are taken, however the request ends", says)
                .holds((talk, name) -> {
                    for (String end : List.of("", "\n", "\r\n")) {
                        String request =
                                filled("store;" + name + "e" + end.length() + ";al;", 255, "x");
                        talk.half(request + end).keeps(request.substring("store;".length()));
                    }
                });
        server.claim("255 bytes of two-byte characters are taken", says)
                .holds((talk, name) -> {
                    String request = filled("store;" + name + ";al;", 255, "λ");
                    talk.half(request).keeps(request.substring("store;".length()));
                });
    }

    private void tooLong() {
        String says = "a line of at most 255 bytes, its end not counted";
        server.claim("256 bytes are refused, and nothing is kept of them", says)
                .holds((talk, name) -> {
                    for (String end : List.of("", "\n", "\r\n")) {
                        talk.half(filled("store;" + name + ";al;", 256, "x") + end).gives(TOO_LONG);
                        talk.fetch(name).gives(Talk.EMPTY);
                    }
                });
        server.claim("bytes are counted, not characters", says)
                .holds((talk, name) -> {
                    for (String character : List.of("λ", "世", "😀")) {
                        talk.half(filled("store;" + name + ";al;", 255, character) + character)
                                .gives(TOO_LONG);
                        talk.fetch(name).gives(Talk.EMPTY);
                    }
                });
        declined(
                "a request that is far too long is refused, and the client hears of it",
                TOO_LONG,
                says,
                (talk, start) -> talk.open(start + "x".repeat(100_000) + "\n"));
    }

    /** {@code start} and as much of {@code filler} as makes {@code bytes}, with x for the rest. */
    private static String filled(String start, int bytes, String filler) {
        int room = bytes - start.length();
        int size = filler.getBytes(StandardCharsets.UTF_8).length;
        return start + filler.repeat(room / size) + "x".repeat(room % size);
    }

    private void theText() {
        String malformed = "malformed UTF-8";
        for (String hex : List.of("ff", "ce", "c080", "eda080", "f09f98")) {
            byte[] bytes = HexFormat.of().parseHex(hex);
            declined(
                    Case.shown(bytes) + " is refused",
                    NOT_UTF8,
                    malformed,
                    (talk, start) -> talk.half(joined(start, bytes)));
        }
        String control = "control characters other than TAB";
        for (String character : List.of("\0", "\u001b", "\u007f", "\u0085", "\r")) {
            declined(
                    Case.shown(character) + " in a message is refused",
                    CONTROL,
                    control,
                    (talk, start) -> talk.half(start + "a" + character + "b\n"));
        }
        String order = "Length, encoding and control characters are checked first";
        server.claim("the length is checked before the parts", order)
                .holds((talk, name) -> talk.half("x".repeat(256)).gives(TOO_LONG));
        server.claim("the encoding is checked before the parts", order)
                .holds((talk, name) ->
                        talk.half(joined("bogus", new byte[] {(byte) 0xff})).gives(NOT_UTF8));
        server.claim("control characters are looked for before the parts", order)
                .holds((talk, name) -> talk.half("bogus;b\u0007b").gives(CONTROL));
    }

    /** {@code question} sends a store that is refused, and of which nothing may be kept. */
    private void declined(String claim, String reply, String says, ServerCheck.Question question) {
        server.claim(claim, says)
                .holds((talk, name) -> {
                    question.ask(talk, "store;" + name + ";al;").gives(reply);
                    talk.fetch(name).gives(Talk.EMPTY);
                });
    }

    private static byte[] joined(String text, byte[] more) {
        var all = new ByteArrayOutputStream();
        all.writeBytes(text.getBytes(StandardCharsets.UTF_8));
        all.writeBytes(more);
        return all.toByteArray();
    }
}
