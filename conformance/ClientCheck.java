//JAVA 21+
//SOURCES Case.java
//SOURCES ClientUnderCheck.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static java.nio.charset.StandardCharsets.UTF_8;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * The cases for a message client. The typed answers follow the menu: a name; then, for each
 * request, either "1", a recipient and a message, or "2"; at the end "3".
 *
 * <p>The protocol does not fix the words of a menu. So a case looks only for texts of the server,
 * or compares the output of two runs.
 */
final class ClientCheck {
    private static final String STORED = "Message accepted and stored:\n";
    private static final String EMPTY = "Retrieving messages...\nThere is no such name\n";
    private static final String MORE = "Retrieving messages...\n";
    private static final String LAST = "NO MORE MESSAGES\n";

    /** The number of clients at the same time; more of them would only delay each other's start. */
    private static final int AT_ONCE = 4;

    private final List<String> command;
    private final Duration patience;
    private final List<Case> cases = new ArrayList<>();

    /**
     * @param command the client's command, to which the check appends host and port
     * @param patience the time that the client may run after its first request
     */
    ClientCheck(List<String> command, Duration patience) {
        this.command = command;
        this.patience = patience;
        requests();
        shown();
        refusals();
        cutOff();
        waiting();
    }

    /** Runs the first two cases alone: all others need them, and a first start may compile. */
    void run(Case.Report report) throws InterruptedException {
        if (report.passes(cases.get(0)) && report.passes(cases.get(1))) {
            report.run(cases.subList(2, cases.size()), AT_ONCE);
        } else {
            report.say(Case.Report.NOTHING_ELSE);
        }
    }

    private Case.Claim<Case.Body> claim(String name) {
        return body -> cases.add(new Case(name, body));
    }

    private ClientUnderCheck.Run run(List<String> answers, ClientUnderCheck.Reply... replies)
            throws Exception {
        return ClientUnderCheck.run(command, patience, answers, List.of(replies));
    }

    private static ClientUnderCheck.Reply reply(String... pieces) {
        return new ClientUnderCheck.Reply(true, pieces);
    }

    /** George sends {@code message} to Kyriakos, and the server replies {@code reply}. */
    private ClientUnderCheck.Run send(String message, String reply) throws Exception {
        return run(List.of("george", "1", "Kyriakos", message, "3"), reply(reply));
    }

    /** Kyriakos reads his mail, and the server replies in these pieces. */
    private ClientUnderCheck.Run read(String... pieces) throws Exception {
        return run(READING, reply(pieces));
    }

    private static final List<String> READING = List.of("Kyriakos", "2", "3");

    /** Returns a mailbox with {@code messages}, each as {@code sender;message}. */
    private static String mailbox(String... messages) {
        return Stream.of(messages)
                .map(message -> "Kyriakos;" + message + "\n")
                .collect(Collectors.joining("", MORE, LAST));
    }

    private void requests() {
        claim("a message goes out as store;recipient;sender;message")
                .holds(() ->
                        send("hi Kyriakos", STORED)
                                .asks(Rule.STORE, "store;Kyriakos;george;hi Kyriakos"));
        claim("a client asks for mail with fetch;recipient")
                .holds(() -> read(EMPTY).asks(Rule.FETCH, "fetch;Kyriakos"));
        claim("each request has its own connection")
                .holds(() ->
                        run(
                                        List.of("george 1 Kyriakos hi 2 1 al ho 3".split(" ")),
                                        reply(STORED),
                                        reply(EMPTY),
                                        reply(STORED))
                                .asks(
                                        Rule.ONE_REQUEST,
                                        "store;Kyriakos;george;hi",
                                        "fetch;george",
                                        "store;al;george;ho"));
        claim("a request has an end")
                .holds(() -> {
                    var request = send("hi", STORED).one();
                    if (request.end() == ClientUnderCheck.End.SILENCE) {
                        throw new Case.Note(
                                "1 s of silence ends it. The server waits for that second, and"
                                        + " refuses a request in two pieces.");
                    }
                    if (request.end() == ClientUnderCheck.End.LF || request.pieces() > 1) {
                        throw new Case.Note(
                                "the classic C server needs one write without LF, and then the"
                                        + " end of the sending side.");
                    }
                });
        goesOut(
                "a message goes out with its `;` and its spaces",
                Rule.SEMICOLONS,
                "one;two;;three;  four");
        goesOut("a message goes out with the spaces at its ends", Rule.KEPT, "  two, and two  ");
        goesOut("a message of 200 bytes goes out whole", Rule.LINE, "x".repeat(199) + "y");
        claim("a message that is too long is not cut")
                .holds(() -> {
                    String text = "x".repeat(300);
                    var run = send(text, "Message declined. Too long, 255 bytes at most\n");
                    if (!run.ends(Rule.TOO_LONG).requests().isEmpty()) {
                        run.asks(Rule.TOO_LONG, "store;Kyriakos;george;" + text);
                    }
                });
        claim("text goes out as UTF-8")
                .holds(() ->
                        run(List.of("Γιώργος 1 Κυριάκος Καλημέρα😀 3".split(" ")), reply(STORED))
                                .asks(Rule.UTF8, "store;Κυριάκος;Γιώργος;Καλημέρα😀"));
    }

    private void goesOut(String claim, Rule says, String text) {
        claim(claim).holds(() -> send(text, STORED).asks(says, "store;Kyriakos;george;" + text));
    }

    private void shown() {
        claim("mail is shown with its sender")
                .holds(() ->
                        read(mailbox("george;hi there")).shows(Rule.MAIL, "george", "hi there"));
        claim("a message is shown with its `;`")
                .holds(() ->
                        read(mailbox("george;one;two;;three")).shows(Rule.MAIL, "one;two;;three"));
        claim("text in any script is shown")
                .holds(() -> read(mailbox("Γιώργος;Καλημέρα 😀")).shows(Rule.UTF8, "Καλημέρα 😀"));
        claim("a mailbox of 2,000 messages is shown whole")
                .holds(() -> {
                    String[] texts =
                            IntStream.range(0, 2_000)
                                    .mapToObj("al;number %d of many"::formatted)
                                    .toArray(String[]::new);
                    String[] shown =
                            Stream.of(texts).map(t -> t.substring(3)).toArray(String[]::new);
                    read(mailbox(texts)).shows(Rule.UNTIL, shown);
                });
        claim("a reply in pieces is one reply")
                .holds(() ->
                        read("Retr", MORE.substring(4) + "Kyriakos;al;hi th", "ere\n", LAST)
                                .shows(Rule.UNTIL, "hi there"));
        claim("a character in pieces is one character")
                .holds(() -> {
                    byte[] reply = mailbox("al;hi 😀 there").getBytes(UTF_8);
                    int within = reply.length - (" there\n" + LAST).length() - 2;
                    byte[] rest = Arrays.copyOfRange(reply, within, reply.length);
                    var pieces = List.of(Arrays.copyOf(reply, within), rest);
                    run(READING, new ClientUnderCheck.Reply(true, pieces))
                            .shows(Rule.UNTIL, "there")
                            .shows(Rule.UTF8, "hi 😀 there");
                });
        claim("a message that reads like a last line does not end a mailbox")
                .holds(() ->
                        read(
                                        MORE + "Kyriakos;george;NO MORE MESSAGES",
                                        "\nKyriakos;al;There is no such name",
                                        "\nKyriakos;al;bye then\n" + LAST)
                                .shows(Rule.UNTIL, "bye then"));
        claim("a reply may lack its last LF")
                .holds(() -> {
                    for (String reply : List.of(mailbox("george;hi there"), EMPTY)) {
                        read(reply.stripTrailing()).isAs(read(reply), Rule.NO_LAST_LF);
                    }
                });
    }

    private void refusals() {
        claim("a message counts as stored only after the acknowledgement")
                .holds(() -> {
                    var stored = send("hi", STORED);
                    for (String reply : List.of("", "Message acc", "No sender\n")) {
                        send("hi", reply).differsFrom(stored, Rule.STORED);
                    }
                });
        for (String reason :
                List.of(
                        "Could not be stored, try again later",
                        "Server is busy, try again later",
                        "Control characters")) {
            claim("the refusal \"" + reason + "\" is shown")
                    .holds(() ->
                            send("hi", "Message declined. " + reason + "\n")
                                    .shows(Rule.STORED, reason));
        }
        claim("the refusal \"No recipient\" is shown")
                .holds(() -> read("No recipient\n").shows(Rule.FETCHED, "No recipient"));
        claim("after a refusal the menu goes on")
                .holds(() ->
                        run(
                                        List.of("george", "1", "Kyriakos", "hi", "2", "3"),
                                        reply("Message declined. Bad verb\n"),
                                        reply(mailbox("al;hi there")))
                                .shows(Rule.FAILURE, "hi there")
                                .asks(Rule.FAILURE, "store;Kyriakos;george;hi", "fetch;george"));
    }

    private void cutOff() {
        claim("a mailbox that was cut off differs from a whole mailbox")
                .holds(() -> {
                    // The client must neither hide the loss nor show half a message as a message.
                    var one = read(mailbox("al;one"));
                    var both = read(mailbox("al;one", "george;hi the"));
                    String start = MORE + "Kyriakos;al;one\nKyriakos;geo";
                    for (String rest : List.of("", "rge;hi the", "rge;hi the\n")) {
                        var cut = read(start + rest);
                        cut.differsFrom(one, Rule.CUT_OFF);
                        cut.differsFrom(both, Rule.CUT_OFF);
                    }
                });
        claim("a mailbox that was cut off differs from an empty mailbox")
                .holds(() -> {
                    var empty = read(EMPTY);
                    read("").differsFrom(empty, Rule.CUT_OFF);
                    read(MORE).differsFrom(empty, Rule.CUT_OFF);
                });
        claim("a client reports that there is no server")
                .holds(() ->
                        run(List.of("george", "1", "Kyriakos", "hi", "3"))
                                .differsFrom(send("hi", STORED), Rule.STORED));
    }

    private void waiting() {
        claim("the end of the input ends the client")
                .holds(() -> {
                    run(List.of(), reply(STORED)).asks(Rule.MENU);
                    run(List.of("george", "1", "Kyriakos"), reply(STORED)).asks(Rule.MENU);
                });
        givesUpOn("a server that never replies", "george 1 Kyriakos hi 3", "");
        givesUpOn("a reply that stops in the middle", "Kyriakos 2 3", MORE + "Kyriakos;geo");
        givesUpOn("a reply without a close", "george 1 Kyriakos hi 3", STORED);
    }

    private void givesUpOn(String what, String answers, String reply) {
        claim("a client gives up on " + what)
                .holds(() ->
                        run(List.of(answers.split(" ")), new ClientUnderCheck.Reply(false, reply))
                                .survives(Rule.PATIENCE));
    }
}
