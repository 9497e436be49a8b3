//JAVA 21+
//SOURCES Case.java
//SOURCES RequestCases.java
//SOURCES ServerUnderCheck.java
//SOURCES Talk.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

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
 * The cases for a message server. Most are asked one after the other; the last four wait for the
 * server's timeout, together. Each writes to mailboxes that nobody used before, so that a server
 * may be asked again and again, and while others use it.
 */
final class ServerCheck {
    static final String NAMES =
            "spaces and tabs (U+0020, U+0009) at its ends are dropped, nothing else is";
    static final String END =
            "The request ends at LF; or when the client shuts down its sending side; or after 1 s"
                    + " of silence when what came arrived in one piece of more than one byte.";

    private static final String STORES = "what is stored is fetched";
    private static final String SILENT = "clients that are silent hold up nobody";

    static final String SURVIVES = "an acknowledged message survives kill -9";

    /** Four characters, since a request has only 255 bytes. */
    private static final String RUN =
            Integer.toString(ThreadLocalRandom.current().nextInt(46_656, 1_679_616), 36);

    private static final AtomicInteger COUNT = new AtomicInteger();

    private final InetSocketAddress server;
    private final Duration timeout;
    private boolean lenient;
    private final List<Case> cases = new ArrayList<>();
    private final int prompt;

    /** Asks {@code server}, which waits {@code timeout} for a request. */
    ServerCheck(InetSocketAddress server, Duration timeout) {
        this.server = server;
        this.timeout = timeout;
        endsOfLines();
        storingAndFetching();
        harmedByNobody();
        names();
        theMessage();
        closing();
        new RequestCases(this).add();
        manyAtOnce();
        prompt = cases.size();
        lateClients();
    }

    /** Asks; false if it stopped because nothing is stored, or nobody listens any more. */
    boolean run(Case.Report report) throws InterruptedException {
        for (Case one : cases.subList(0, prompt)) {
            boolean passes = report.passes(one);
            if (!report.passed(STORES) || !passes && !ServerUnderCheck.accepts(server)) {
                report.say(Case.Report.NOTHING_ELSE);
                return false;
            }
        }
        // A server of one conversation at a time, which is told so already, gets them one by one.
        report.run(cases.subList(prompt, cases.size()), report.passed(SILENT) ? 4 : 1);
        return true;
    }

    // ---------------------------------------------------------------- the questions

    /** What a case does, with a name that nobody used before. */
    interface Body {
        void ask(Talk talk, String name) throws Exception;
    }

    /** One exchange, about a name or with the start of a request. */
    interface Question {
        Talk.Answer ask(Talk talk, String start) throws Exception;
    }

    /** What a right server does, and the sentence of the protocol it is about. */
    Case.Claim<Body> claim(String claim, String says) {
        return body ->
                cases.add(
                        new Case(
                                claim,
                                () -> body.ask(talk(server, says), RUN + COUNT.incrementAndGet())));
    }

    private Talk talk(InetSocketAddress address, String says) {
        return new Talk(address, timeout.plus(Talk.SLACK), lenient, says);
    }

    /** The end of the lines is asked for once. If it is wrong, any is good enough from then on. */
    private void endsOfLines() {
        claim("every line of a reply ends with LF", "one reply, every line ended by LF")
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
        kept(STORES, "for each message, then NO MORE MESSAGES", "NAME;al;hi there");
        claim("a mailbox that nobody wrote to is no such name", "There is no such name")
                .holds((talk, name) -> talk.fetch(name).gives(Talk.EMPTY));
        claim("messages come in the order of acceptance", "in the order of acceptance")
                .holds((talk, name) -> {
                    List<String> mail = List.of(name + ";al;b", name + ";al;c", name + ";al;a");
                    for (String message : mail) {
                        talk.store(message).gives(Talk.STORED);
                    }
                    talk.fetch(name).givesMail(mail);
                });
        claim("fetching deletes nothing", "Fetching deletes nothing.")
                .holds((talk, name) -> {
                    talk.store(name + ";al;here").keeps(name + ";al;here");
                    talk.fetch(name).givesMail(List.of(name + ";al;here"));
                });
    }

    private void names() {
        claim("names are case-sensitive", "any text without `;`, and case-sensitive")
                .holds((talk, name) -> {
                    talk.store(name + "x;al;small").gives(Talk.STORED);
                    talk.fetch(name + "X").gives(Talk.EMPTY);
                });
        String any = "A name is any text without `;`";
        claim("a name is all of it", any)
                .holds((talk, name) -> {
                    talk.store(name + "ab;al;for ab").gives(Talk.STORED);
                    talk.fetch(name + "a").gives(Talk.EMPTY);
                    talk.fetch(name + "abc").gives(Talk.EMPTY);
                });
        kept("names are any text", any, "../NAME;../;hi", "a b NAME;' \"%\\;hi", "*NAME;😀;hi");
        claim("spaces and tabs at the ends of names are dropped", NAMES)
                .holds((talk, name) -> {
                    talk.store(" " + name + "  ;\tal ;hi").gives(Talk.STORED);
                    talk.fetch("\t " + name + "\t").givesMail(List.of(name + ";al;hi"));
                });
        // Some of what Python, JavaScript, Java and Go drop, and quotes.
        kept(
                "nothing else at the ends of names is dropped",
                NAMES,
                Stream.of("\u00a0", "\u2003", "\u2028", "\u3000", "\ufeff", "'", "\"")
                        .map(odd -> odd + "NAME" + odd + ";" + odd + "al" + odd + ";hi")
                        .toArray(String[]::new));
    }

    private void theMessage() {
        String all = "The message is all that follows the third `;`, kept as it is";
        kept("a message in any script is kept", "all text is UTF-8", "NAME;Γιώργος;Καλημέρα 😀");
        kept("a message keeps its `;`", all, "NAME;al;one;two;;three;");
        kept("a message may begin with `;`", all, "NAME;al;;wink");
        kept("a message keeps its spaces and tabs", all, "NAME;al;  in\tthe middle  ");
        claim("what follows the recipient of a fetch is ignored", "is ignored")
                .holds((talk, name) -> {
                    talk.store(name + ";al;hi").gives(Talk.STORED);
                    talk.fetch(name + ";x;;y").givesMail(List.of(name + ";al;hi"));
                });
    }

    /** Each of {@code messages}, with a new name for NAME, is kept as it is sent. */
    private void kept(String claim, String says, String... messages) {
        claim(claim, says)
                .holds((talk, name) -> {
                    for (String message : messages) {
                        String own = message.replace("NAME", name);
                        talk.store(own).keeps(own);
                    }
                });
    }

    private void closing() {
        closes("it closes after a store", (talk, name) -> talk.store(name + ";al;hi"));
        closes("it closes after a fetch", (talk, name) -> talk.fetch(name));
        closes("it closes after a refusal", (talk, name) -> talk.half("store;bob"));
        closes(
                "it closes although the client keeps its sending side open",
                (talk, name) -> talk.open("store;" + name + ";al;hi\n"));
    }

    private void closes(String claim, Question question) {
        claim(claim, "The server sends one reply ... and closes.")
                .holds((talk, name) -> question.ask(talk.waitingForTheClose(), name).closes());
    }

    // ---------------------------------------------------------------- many clients

    private void harmedByNobody() {
        claim("clients that leave early harm nobody", "one request per connection")
                .holds((talk, name) -> {
                    for (int i = 0; i < 20; i++) {
                        talk.leave(i % 2 == 0 ? "" : "store;" + name + ";al");
                    }
                    talk.store(name + "ok;al;hi").gives(Talk.STORED);
                });
        claim(SILENT, "No client holds up others: silent, dripping, resetting")
                .holds((talk, name) ->
                        talk.besideSilent(20, () -> talk.fetch(name).gives(Talk.EMPTY)));
    }

    private void manyAtOnce() {
        claim("a connection is for one request", "sends one request")
                .holds((talk, name) ->
                        talk.store(name + ";al;one\nstore;" + name + ";al;two\n")
                                .keeps(name + ";al;one"));
        claim("100 clients at once are all answered, none twice", "each once")
                .holds((talk, name) -> {
                    List<String> mail = mail(name, 100, "number ");
                    talk.storeAtOnce(mail);
                    talk.fetch(name).givesInAnyOrder(mail);
                });
        claim("a mailbox of 300 messages comes whole", "for each message")
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

    // ---------------------------------------------------------------- late clients

    private void lateClients() {
        timesOut(
                "a client that sends nothing is told that it timed out",
                (talk, name) -> talk.open(""));
        timesOut("one byte is no request", (talk, name) -> talk.open("f"));
        timesOut(
                "pieces without an end are no request",
                (talk, name) -> talk.open("store;bob;al;o", "ne, tw", "o"));
        timesOut(
                "a client that drips bytes is not waited for longer",
                (talk, name) ->
                        talk.pausing(timeout.dividedBy(5)).byteByByte("store;bob;al;dripped "));
    }

    private void timesOut(String claim, Question question) {
        String says =
                "not complete within the timeout: Message declined. Timed out (here %d s, see"
                        + " --timeout)".formatted(timeout.toSeconds());
        claim(claim, says)
                .holds((talk, name) ->
                        question.ask(talk, name).timesOut(timeout.plus(Talk.SLACK), END));
    }

    // ---------------------------------------------------------------- killed in between

    /** Adds the case that kills {@code server} and starts it again. */
    void runRestart(Case.Report report, ServerUnderCheck started) throws InterruptedException {
        Case.Body restarts =
                () -> {
                    for (int round = 0; round < 3; round++) {
                        restart(started);
                    }
                };
        report.passes(new Case(SURVIVES, restarts));
    }

    /** Kills the server in the moment in which the 40th acknowledgement comes. */
    private void restart(ServerUnderCheck started) throws Exception {
        String says = "An acknowledged message survives a killed server.";
        String name = RUN + COUNT.incrementAndGet();
        Set<String> acknowledged = ConcurrentHashMap.newKeySet();
        AtomicInteger number = new AtomicInteger();
        try (ExecutorService clients = Executors.newVirtualThreadPerTaskExecutor()) {
            for (int i = 0; i < 8; i++) {
                clients.submit(() -> {
                    while (acknowledged.size() < 40) {
                        String message = name + ";al;" + number.incrementAndGet();
                        talk(started.address, says).store(message).gives(Talk.STORED);
                        acknowledged.add(message);
                    }
                    started.kill();
                    return null;
                });
            }
        }
        started.kill();
        started.start();
        String after = talk(started.address, says).fetch(name).text();
        Set<String> lost = new HashSet<>(acknowledged);
        after.lines().forEach(lost::remove);
        if (!lost.isEmpty() || acknowledged.isEmpty()) {
            throw new Case.Difference(
                    number + " messages, of which " + acknowledged.size() + " were acknowledged",
                    (acknowledged.size() - lost.size()) + " of these after kill -9 and a new start",
                    says);
        }
    }
}
