//JAVA 21+
//SOURCES Case.java
//SOURCES ClientUnderCheck.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * What a message client has to do, as cases. The answers that are typed are always in the order of
 * the menu: a name, then for each request 1, a recipient and a message, or 2, and at last 3.
 *
 * <p>How a client words things is its own affair. So what it shows is looked for only where it came
 * from a server, and for the rest two runs are compared: can a user tell them apart?
 */
final class ClientCheck {
    private static final String STORED = "Message accepted and stored:\n";
    private static final String EMPTY = "Retrieving messages...\nThere is no such name\n";
    private static final String MORE = "Retrieving messages...\n";
    private static final String LAST = "NO MORE MESSAGES\n";

    private static final String CUT_OFF = "A reply whose last line did not come was cut off.";

    /** Clients that run at the same time; more would only wait for each other's start. */
    private static final int AT_ONCE = 4;

    private final List<String> command;
    private final Duration patience;
    private final boolean classic;
    private final List<Case> cases = new ArrayList<>();

    /**
     * @param command to which host and port are appended
     * @param patience how long a run may take
     * @param classic whether it must suit the classic C server, too
     */
    ClientCheck(List<String> command, Duration patience, boolean classic) {
        this.command = command;
        this.patience = patience;
        this.classic = classic;
        requests();
        theEndOfARequest();
        theMessage();
        mail();
        wholeReplies();
        refusals();
        cutOff();
        waiting();
    }

    /** The first case runs by itself: what a first start prepares is then there for all others. */
    void run(Case.Report report) throws InterruptedException {
        report.run(cases.subList(0, 1), 1);
        report.run(cases.subList(1, cases.size()), AT_ONCE);
    }

    private Case.Claim<Case.Body> claim(String name) {
        return body -> cases.add(new Case(name, body));
    }

    private ClientUnderCheck.Run run(List<String> answers, String... replies)
            throws IOException, InterruptedException {
        return runWith(
                answers,
                Stream.of(replies)
                        .map(ClientUnderCheck.Reply::of)
                        .toArray(ClientUnderCheck.Reply[]::new));
    }

    private ClientUnderCheck.Run runWith(List<String> answers, ClientUnderCheck.Reply... replies)
            throws IOException, InterruptedException {
        return ClientUnderCheck.run(command, patience, answers, replies);
    }

    /** George sends {@code message} to Kyriakos, and the server replies {@code reply}. */
    private ClientUnderCheck.Run send(String message, String reply)
            throws IOException, InterruptedException {
        return run(sending(message), reply);
    }

    private static List<String> sending(String message) {
        return List.of("george", "1", "Kyriakos", message, "3");
    }

    /** Kyriakos reads his mail, and the server replies {@code reply}. */
    private ClientUnderCheck.Run read(String reply) throws IOException, InterruptedException {
        return run(READING, reply);
    }

    private static final List<String> READING = List.of("Kyriakos", "2", "3");

    // ---------------------------------------------------------------- what it asks

    private void requests() {
        String form = "store;recipient;sender;message";
        claim("a message goes out as store;recipient;sender;message")
                .holds(() ->
                        send("hi Kyriakos", STORED)
                                .ends(form)
                                .asks(form, "store;Kyriakos;george;hi Kyriakos"));
        claim("mail is asked for with fetch;recipient")
                .holds(() ->
                        read(EMPTY)
                                .ends("fetch;recipient")
                                .asks("fetch;recipient", "fetch;Kyriakos"));
        claim("each request has a connection of its own")
                .holds(() ->
                        run(
                                        List.of("george 1 Kyriakos hi 2 1 al ho 3".split(" ")),
                                        STORED,
                                        EMPTY,
                                        STORED)
                                .asks(
                                        "The client connects and sends one request",
                                        "store;Kyriakos;george;hi",
                                        "fetch;george",
                                        "store;al;george;ho"));
    }

    private void theEndOfARequest() {
        claim("a request has an end")
                .holds(() ->
                        send("hi", STORED)
                                .hasNone(
                                        "The request ends at LF; or when the client shuts down its"
                                                + " sending side; or after 1 s of silence when what"
                                                + " came arrived in one piece",
                                        request -> request.end() == ClientUnderCheck.End.NONE));
        if (classic) {
            claim("a request is one write without LF")
                    .holds(() ->
                            send("hi", STORED)
                                    .hasNone(
                                            "one write without LF, then shut down the sending side:"
                                                    + " that suits both servers",
                                            request ->
                                                    request.pieces() > 1
                                                            || request.end()
                                                                    == ClientUnderCheck.End.LF));
        }
    }

    private void theMessage() {
        String kept = "The message is all that follows the third `;`, kept as it is";
        claim("a message goes out with its `;` and its spaces")
                .holds(() ->
                        send("one;two;;three;  four", STORED)
                                .asks(kept, "store;Kyriakos;george;one;two;;three;  four"));
        claim("a message of 200 bytes goes out whole")
                .holds(() -> {
                    String text = "x".repeat(199) + "y";
                    send(text, STORED).asks("at most 255 bytes", "store;Kyriakos;george;" + text);
                });
        claim("a message that is too long is not cut")
                .holds(() -> {
                    String text = "x".repeat(300);
                    var run = send(text, "Message declined. Too long, 255 bytes at most\n");
                    run.ends("at most 255 bytes");
                    if (!run.requests().isEmpty()) {
                        run.asks("at most 255 bytes", "store;Kyriakos;george;" + text);
                    }
                });
        claim("text goes out as UTF-8")
                .holds(() ->
                        run(List.of("Γιώργος", "1", "Κυριάκος", "Καλημέρα 😀", "3"), STORED)
                                .asks("all text is UTF-8", "store;Κυριάκος;Γιώργος;Καλημέρα 😀"));
    }

    // ---------------------------------------------------------------- what it shows

    private void mail() {
        String says = "then recipient;sender;message for each message";
        claim("mail is shown, with who sent it")
                .holds(() ->
                        read(MORE + "Kyriakos;george;hi there\nKyriakos;al;bye then\n" + LAST)
                                .shows(says, "george", "hi there", "al", "bye then"));
        claim("a message is shown with its `;`")
                .holds(() ->
                        read(MORE + "Kyriakos;george;one;two;;three\n" + LAST)
                                .shows(says, "one;two;;three"));
        claim("text in any script is shown")
                .holds(() ->
                        read(MORE + "Kyriakos;Γιώργος;Καλημέρα 😀\n" + LAST)
                                .shows("all text is UTF-8", "Γιώργος", "Καλημέρα 😀"));
    }

    private void wholeReplies() {
        claim("a mailbox of 2,000 messages is shown whole")
                .holds(() -> {
                    String[] texts =
                            IntStream.range(0, 2_000)
                                    .mapToObj("number %d of many"::formatted)
                                    .toArray(String[]::new);
                    StringBuilder reply = new StringBuilder(MORE);
                    Stream.of(texts)
                            .forEach(text ->
                                    reply.append("Kyriakos;george;").append(text).append('\n'));
                    read(reply + LAST).shows("The client reads until then.", texts);
                });
        claim("a reply in pieces is one reply")
                .holds(() -> {
                    byte[][] pieces =
                            inPieces(
                                    MORE + "Kyriakos;Γιώργος;hi 😀\nKyriakos;al;bye then\n" + LAST);
                    runWith(READING, ClientUnderCheck.Reply.of(pieces))
                            .shows(
                                    "The client reads until then.",
                                    "Γιώργος",
                                    "hi 😀",
                                    "al",
                                    "bye then");
                });
        claim("a reply may lack its last LF")
                .holds(() -> {
                    String both = "that suits both servers: one ends a mailbox without a last LF";
                    for (String reply :
                            List.of(MORE + "Kyriakos;george;hi there\n" + LAST, EMPTY)) {
                        read(reply.stripTrailing()).isAs(read(reply), both);
                    }
                    send("hi", STORED.stripTrailing()).isAs(send("hi", STORED), both);
                });
    }

    /** In pieces of nine bytes: one of them ends within a character. */
    private static byte[][] inPieces(String reply) {
        byte[] bytes = reply.getBytes(StandardCharsets.UTF_8);
        return IntStream.iterate(0, from -> from < bytes.length, from -> from + 9)
                .mapToObj(from -> Arrays.copyOfRange(bytes, from, Math.min(from + 9, bytes.length)))
                .toArray(byte[][]::new);
    }

    private void refusals() {
        for (String reason :
                List.of(
                        "Could not be stored, try again later",
                        "Server is busy, try again later",
                        "Control characters")) {
            claim("the refusal \"" + reason + "\" is shown")
                    .holds(() ->
                            send("hi", "Message declined. " + reason + "\n")
                                    .shows("Message declined. " + reason, reason));
        }
        claim("the refusal \"No recipient\" is shown")
                .holds(() -> read("No recipient\n").shows("No recipient", "No recipient"));
        claim("after a refusal the menu goes on")
                .holds(() ->
                        run(
                                        List.of("george", "1", "Kyriakos", "hi", "2", "3"),
                                        "Message declined. Bad verb\n",
                                        MORE + "george;al;hi there\n" + LAST)
                                .shows("one request per connection", "hi there")
                                .asks(
                                        "one request per connection",
                                        "store;Kyriakos;george;hi",
                                        "fetch;george"));
    }

    // ---------------------------------------------------------------- what goes wrong

    private void cutOff() {
        claim("a mailbox that was cut off is told from a whole one")
                .holds(() -> {
                    String start = MORE + "Kyriakos;george;hi the";
                    var whole = read(start + "\n" + LAST);
                    read(start).differsFrom(whole, CUT_OFF);
                    read(start + "\n").differsFrom(whole, CUT_OFF);
                });
        claim("a mailbox that was cut off is told from an empty one")
                .holds(() -> {
                    var empty = read(EMPTY);
                    read("").differsFrom(empty, CUT_OFF);
                    read(MORE).differsFrom(empty, CUT_OFF);
                });
        claim("a message is stored only when the server says so")
                .holds(() -> {
                    var stored = send("hi", STORED);
                    for (String reply :
                            List.of("", "Message acc", "Message declined. Bad verb\n")) {
                        send("hi", reply).differsFrom(stored, "Message accepted and stored:");
                    }
                });
        claim("where no server is, the client says so")
                .holds(() -> {
                    var stored = send("hi", STORED);
                    run(sending("hi")).differsFrom(stored, "Message accepted and stored:");
                });
    }

    private void waiting() {
        String input = "order of the menu: a name; 1, recipient, message; 2; 3";
        claim("the end of the input ends the client")
                .holds(() -> {
                    for (List<String> answers :
                            List.of(
                                    List.<String>of(),
                                    List.of("george"),
                                    List.of("george", "1", "Kyriakos"))) {
                        run(answers, STORED).ends(input).asks(input);
                    }
                });
        String says =
                "the server replies and closes; a client gives up on one that does not (here within"
                        + " %d s, see --patience)".formatted(patience.toSeconds());
        claim("a server that never replies is not waited for for ever")
                .holds(() ->
                        runWith(sending("hi"), ClientUnderCheck.Reply.thenSilence("")).ends(says));
        claim("a reply that stops in the middle is not waited for for ever")
                .holds(() ->
                        runWith(READING, ClientUnderCheck.Reply.thenSilence(MORE + "Kyriakos;geo"))
                                .ends(says));
        claim("a reply without a close is not waited for for ever")
                .holds(() ->
                        runWith(sending("hi"), ClientUnderCheck.Reply.thenSilence(STORED))
                                .ends(says));
    }
}
