//JAVA 21+
//SOURCES Case.java
//SOURCES ServerUnderCheck.java
//SOURCES Talk.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * The cases for a message server. Most cases run one after the other; the last four wait for the
 * server's timeout at the same time. Each case uses new mailboxes, so that the check can be
 * repeated, also while other clients use the server.
 */
final class ServerCheck {
    private static final String TOO_LONG = "Message declined. Too long, 255 bytes at most\n";
    private static final String NOT_UTF8 = "Message declined. Not UTF-8\n";
    private static final String CONTROL = "Message declined. Control characters\n";
    private static final String STORES = "a stored message can be fetched";
    private static final String SILENT = "clients that send nothing hold up nobody";
    static final String SURVIVES = "an acknowledged message survives kill -9";

    /** The prefix of all names: only four characters, because a request has only 255 bytes. */
    private static final String RUN =
            Integer.toString(ThreadLocalRandom.current().nextInt(46_656, 1_679_616), 36);

    private static final AtomicInteger COUNT = new AtomicInteger();
    private static final Duration HALF_A_SECOND = Duration.ofMillis(500);

    private final InetSocketAddress server;
    private final ServerUnderCheck started;
    private final Duration timeout;
    private boolean lenient;
    private final List<Case> cases = new ArrayList<>();
    private final int prompt;

    /**
     * Checks {@code server}, which waits {@code timeout} for a request.
     *
     * @param started the server's process; null if the check has not started it
     */
    ServerCheck(InetSocketAddress server, ServerUnderCheck started, Duration timeout) {
        this.server = server;
        this.started = started;
        this.timeout = timeout;
        endsOfLines();
        storingAndFetching();
        harmedByNobody();
        namesAndMessages();
        closing();
        missingParts();
        theEndOfARequest();
        theLength();
        theText();
        manyAtOnce();
        prompt = cases.size();
        lateClients();
    }

    /** Runs the cases. Returns false if the server stores nothing or does not listen any more. */
    boolean run(Case.Report report) throws InterruptedException {
        for (Case one : cases.subList(0, prompt)) {
            boolean passes = report.passes(one);
            if (!report.passed(STORES) || !passes && !ServerUnderCheck.accepts(server)) {
                report.say(Case.Report.NOTHING_ELSE);
                return false;
            }
        }
        // A server that serves one client at a time fails SILENT, and gets these cases one by one.
        report.run(cases.subList(prompt, cases.size()), report.passed(SILENT) ? 4 : 1);
        return true;
    }

    /** The test of a case, with a name that no other case uses. */
    interface Body {
        void ask(Talk talk, String name) throws Exception;
    }

    /** One exchange, for which the case gives a name or the start of a request. */
    interface Question {
        Talk.Answer ask(Talk talk, String start) throws Exception;
    }

    /** Adds a case: a claim that must hold for every server, and the rule that demands it. */
    Case.Claim<Body> claim(String claim, Rule says) {
        return body -> cases.add(new Case(claim, () -> ask(body, says)));
    }

    private void ask(Body body, Rule says) throws Exception {
        try {
            body.ask(talk(server, says), RUN + COUNT.incrementAndGet());
        } catch (Case.Difference e) {
            throw started == null ? e : new Case.Difference(e, started.end());
        }
    }

    private Talk talk(InetSocketAddress address, Rule says) {
        return new Talk(address, timeout.plus(Talk.SLACK), lenient, says);
    }

    /** Tests the line ends once. If this case fails, all further cases accept any line end. */
    private void endsOfLines() {
        claim("every line of a reply ends with LF", Rule.LF)
                .holds((talk, name) -> {
                    lenient = true;
                    boolean more = talk.store(name + ";al;hi").endsItsLines();
                    for (String next : List.of("fetch;" + name, "fetch;" + name + "x", "fetch;")) {
                        more = more && talk.half(next).endsItsLines();
                    }
                    lenient = false;
                });
    }

    private void storingAndFetching() {
        kept(STORES, Rule.MAIL, "NAME;al;hi there");
        claim("a fetch of an unknown name reports that there is no such name", Rule.NOBODY)
                .holds((talk, name) -> talk.fetch(name).gives(Talk.EMPTY));
        claim("messages come in the order of acceptance", Rule.ORDERED)
                .holds((talk, name) -> {
                    List<String> mail = List.of(name + ";al;b", name + ";al;c", name + ";al;a");
                    for (String message : mail) {
                        talk.store(message).gives(Talk.STORED);
                    }
                    talk.fetch(name).givesMail(mail);
                });
        claim("fetching deletes nothing", Rule.NOTHING_DELETED)
                .holds((talk, name) -> {
                    talk.store(name + ";al;here").keeps(name + ";al;here");
                    talk.fetch(name).givesMail(List.of(name + ";al;here"));
                });
    }

    private void namesAndMessages() {
        claim("names are case-sensitive", Rule.NAME)
                .holds((talk, name) -> {
                    talk.store(name + "x;al;small").gives(Talk.STORED);
                    talk.fetch(name + "X").gives(Talk.EMPTY);
                });
        claim("a part of a name is another name", Rule.NOBODY)
                .holds((talk, name) -> {
                    talk.store(name + "ab;al;for ab").gives(Talk.STORED);
                    talk.fetch(name + "a").gives(Talk.EMPTY);
                    talk.fetch(name + "abc").gives(Talk.EMPTY);
                });
        kept(
                "a name may be any text",
                Rule.NAME,
                "../NAME;../;hi",
                "a b NAME;' \"%\\;hi",
                "*NAME;😀;hi");
        claim("spaces and tabs at the ends of names are dropped", Rule.NAMES)
                .holds((talk, name) -> {
                    talk.store(" " + name + "  ;\tal ;hi").gives(Talk.STORED);
                    talk.fetch("\t " + name + "\t").givesMail(List.of(name + ";al;hi"));
                });
        // Spaces that Python, JavaScript, Java or Go would drop, and quotes.
        kept(
                "no other character at the ends of names is dropped",
                Rule.NAMES,
                Stream.of("\u00a0", "\u2003", "\u2028", "\u3000", "\ufeff", "'", "\"")
                        .map(odd -> odd + "NAME" + odd + ";" + odd + "al" + odd + ";hi")
                        .toArray(String[]::new));
        kept("a message in any script is kept", Rule.UTF8, "NAME;Γιώργος;Καλημέρα 😀");
        kept("a message keeps its `;`", Rule.SEMICOLONS, "NAME;al;one;two;;three;");
        kept("a message may begin with `;`", Rule.SEMICOLONS, "NAME;al;;wink");
        kept("a message keeps its spaces and tabs", Rule.KEPT, "NAME;al;  in\tthe middle  ");
        claim("text after the recipient of a fetch is ignored", Rule.IGNORED)
                .holds((talk, name) -> {
                    talk.store(name + ";al;hi").gives(Talk.STORED);
                    talk.fetch(name + ";x;;y").givesMail(List.of(name + ";al;hi"));
                });
    }

    /** Adds a case: the server keeps each of {@code messages}, with a new name for NAME. */
    private void kept(String claim, Rule says, String... messages) {
        claim(claim, says)
                .holds((talk, name) -> {
                    for (String message : messages) {
                        String own = message.replace("NAME", name);
                        talk.store(own).keeps(own);
                    }
                });
    }

    private void closing() {
        closes("the server closes after a store", (talk, name) -> talk.store(name + ";al;hi"));
        closes("the server closes after a fetch", (talk, name) -> talk.fetch(name));
        closes("the server closes after a refusal", (talk, name) -> talk.half("store;bob"));
        closes(
                "the server closes although the client keeps its sending side open",
                (talk, name) -> talk.open("store;" + name + ";al;hi\n"));
    }

    private void closes(String claim, Question question) {
        claim(claim, Rule.CLOSES)
                .holds((talk, name) -> question.ask(talk.waitingForTheClose(), name).closes());
    }

    private void harmedByNobody() {
        claim("clients that leave early harm nobody", Rule.UNHURT)
                .holds((talk, name) -> {
                    for (int i = 0; i < 20; i++) {
                        talk.leave(i % 2 == 0 ? "" : "store;" + name + ";al");
                    }
                    talk.store(name + "ok;al;hi").gives(Talk.STORED);
                });
        claim(SILENT, Rule.SILENT)
                .holds((talk, name) ->
                        talk.besideSilent(20, () -> talk.fetch(name).gives(Talk.EMPTY)));
    }

    private void missingParts() {
        Rule order = Rule.ORDER;
        refused("No verb", order, "", ";", ";bob");
        refused("No recipient", order, "fetch", "bogus", "fetch;", "store;;al;hi", "STORE;");
        refused("Message declined. Bad verb", order, "STORE;bob", "bogus;bob;al;hi", "fetch ;bob");
        refused("No sender", order, "store;bob", "store;bob;", "store;bob;;hi", "store;bob;;");
        refused("No message", order, "store;bob;al", "store;bob;al;");
        refused("No recipient", Rule.NAMES, "fetch; \t");
        refused("No sender", Rule.NAMES, "store;bob; ;hi");
    }

    private void refused(String reply, Rule says, String... requests) {
        for (String request : requests) {
            claim(Case.shown(request) + " is answered \"" + reply + "\"", says)
                    .holds((talk, name) -> talk.half(request).gives(reply + "\n"));
        }
    }

    private void theEndOfARequest() {
        ends("silence after one piece ends a request", Rule.SILENCE, (talk, s) -> talk.open(s));
        ends("LF ends a request", Rule.END, (talk, s) -> talk.open(s + "\n"));
        ends("CR LF ends a request as one line end", Rule.END, (talk, s) -> talk.open(s + "\r\n"));
        ends(
                "a request may come in pieces",
                Rule.END,
                (talk, s) -> talk.open("sto", s.substring(3, 9), s.substring(9), "\n"));
        ends(
                "a character may come in pieces",
                Rule.END,
                (talk, s) -> talk.pausing(Duration.ofMillis(20)).byteByByte(s + "\n"));
        ends(
                "a pause of half a second does not cut a request",
                Rule.END,
                (talk, s) ->
                        talk.pausing(HALF_A_SECOND)
                                .open(s.substring(0, 18), s.substring(18) + "\n"));
        ends(
                "the end of the sending side ends a request in pieces",
                Rule.END,
                (talk, s) -> talk.half(s.substring(0, 6), s.substring(6, 12), s.substring(12)));
    }

    /** Adds a case: {@code question} sends a store, with an end of its choice. */
    private void ends(String claim, Rule says, Question question) {
        claim(claim, says)
                .holds((talk, name) ->
                        question.ask(talk, "store;" + name + ";al;pay 10000 😀")
                                .keeps(name + ";al;pay 10000 😀"));
    }

    private void theLength() {
        for (String end : List.of("", "\n", "\r\n")) {
            claim("255 bytes and then " + Case.shown(end) + " are accepted", Rule.LINE)
                    .holds((talk, name) -> {
                        String message = filled(name + ";al;", 249, "λ");
                        talk.half("store;" + message + end).keeps(message);
                    });
        }
        claim("255 bytes and an end in a later piece are accepted", Rule.END)
                .holds((talk, name) -> {
                    String message = filled(name + ";al;", 249, "x");
                    talk.pausing(HALF_A_SECOND)
                            .open("store;" + message + "\r", "\n")
                            .keeps(message);
                });
        claim("256 bytes are refused, and no part of them is stored", Rule.TOO_LONG)
                .holds((talk, name) -> {
                    for (String end : List.of("", "\n", "\r\n")) {
                        talk.store(filled(name + ";al;", 250, "x") + end).gives(TOO_LONG);
                        talk.fetch(name).gives(Talk.EMPTY);
                    }
                });
        claim("the limit counts bytes, not characters", Rule.TOO_LONG)
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
                Rule.TOO_LONG,
                (talk, s) -> talk.half(s + "x".repeat(100_000)));
    }

    /** Fills {@code start} up to {@code bytes} with {@code filler}, and the rest with x. */
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
                    Rule.MALFORMED,
                    (talk, s) -> talk.half((s + bad).getBytes(ISO_8859_1)));
        }
        for (String character : List.of("\0", "\u001b", "\u007f", "\u0085", "\r")) {
            declined(
                    Case.shown(character) + " in a message is refused",
                    CONTROL,
                    Rule.CONTROLS,
                    (talk, s) -> talk.half(s + "a" + character + "b\n"));
        }
        claim("the encoding is checked before the parts", Rule.MALFORMED)
                .holds((talk, name) ->
                        talk.half("bogus\u00ff".getBytes(ISO_8859_1)).gives(NOT_UTF8));
        claim("the length is checked before the parts", Rule.TOO_LONG)
                .holds((talk, name) -> talk.half("x".repeat(256)).gives(TOO_LONG));
        refused(CONTROL.strip(), Rule.CONTROLS, "bogus;b\u0007b");
    }

    /** Adds a case: {@code question} sends a store. The server refuses it and stores nothing. */
    private void declined(String claim, String reply, Rule says, Question question) {
        claim(claim, says)
                .holds((talk, name) -> {
                    question.ask(talk, "store;" + name + ";al;").gives(reply);
                    talk.fetch(name).gives(Talk.EMPTY);
                });
    }

    private void manyAtOnce() {
        claim("a connection is for one request", Rule.ONE_REQUEST)
                .holds((talk, name) ->
                        talk.store(name + ";al;one\nstore;" + name + ";al;two\n")
                                .keeps(name + ";al;one"));
        claim("100 clients at once get a reply each, and no message is stored twice", Rule.ORDERED)
                .holds((talk, name) -> {
                    List<String> mail = mail(name, 100, "number ");
                    talk.storeAtOnce(mail);
                    talk.fetch(name).givesInAnyOrder(mail);
                });
        claim("a mailbox of 300 messages comes whole", Rule.MAIL)
                .holds((talk, name) -> {
                    List<String> mail = mail(name, 300, "x".repeat(200));
                    for (int i = 0; i < 300; i += 30) {
                        talk.storeAtOnce(mail.subList(i, i + 30));
                    }
                    talk.fetch(name).givesInAnyOrder(mail);
                });
    }

    private static List<String> mail(String name, int count, String text) {
        return IntStream.range(0, count).mapToObj(i -> name + ";al;" + text + i).toList();
    }

    private void lateClients() {
        timesOut(
                "a client that sends nothing gets the timeout reply",
                (talk, name) -> talk.open(""));
        timesOut("one byte is no request", (talk, name) -> talk.open("f"));
        timesOut(
                "pieces without an end are no request",
                (talk, name) -> talk.open("store;bob;al;o", "ne, tw", "o"));
        timesOut(
                "dripped bytes do not extend the timeout",
                (talk, name) ->
                        talk.pausing(timeout.dividedBy(5)).byteByByte("store;bob;al;dripped "));
    }

    private void timesOut(String claim, Question question) {
        claim(claim, Rule.LATE).holds((talk, name) -> question.ask(talk, name).timesOut(timeout));
    }

    /** Runs the case that kills the server and starts it again. */
    void runRestart(Case.Report report) throws InterruptedException {
        report.passes(new Case(SURVIVES, () -> restart(3)));
    }

    /** Kills the server at the moment of the 40th acknowledgement, {@code times} times. */
    private void restart(int times) throws Exception {
        for (int i = 0; i < times; i++) {
            String name = RUN + COUNT.incrementAndGet();
            Set<String> acknowledged = ConcurrentHashMap.newKeySet();
            AtomicInteger number = new AtomicInteger();
            try (ExecutorService clients = Executors.newVirtualThreadPerTaskExecutor()) {
                for (int client = 0; client < 8; client++) {
                    clients.submit(() -> {
                        while (acknowledged.size() < 40) {
                            String message = name + ";al;" + number.incrementAndGet();
                            talk(started.address, Rule.SURVIVES).store(message).gives(Talk.STORED);
                            acknowledged.add(message);
                        }
                        started.kill();
                        return null;
                    });
                }
            }
            started.kill();
            started.start();
            String after = talk(started.address, Rule.SURVIVES).fetch(name).text;
            Set<String> lost = new HashSet<>(acknowledged);
            after.lines().forEach(lost::remove);
            if (!lost.isEmpty() || acknowledged.isEmpty()) {
                throw new Case.Difference(
                        number
                                + " messages, of which "
                                + acknowledged.size()
                                + " were acknowledged",
                        (acknowledged.size() - lost.size())
                                + " of these after kill -9 and a new start",
                        Rule.SURVIVES);
            }
        }
    }
}
