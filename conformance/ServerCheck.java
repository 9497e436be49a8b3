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

/**
 * What a message server has to do, as cases. They come in two rounds: first those that an answer
 * ends at once, one after the other, then those that wait for the server's patience to end, all
 * together.
 *
 * <p>Each case writes to mailboxes of its own, with names that nobody used before, so that a server
 * may be asked again and again, and while others use it.
 */
final class ServerCheck {

    /**
     * What the server is asked, and how.
     *
     * @param classic only what the classic C server can do
     * @param timeout how long the server waits for a request
     */
    record Options(boolean classic, Duration timeout) {}

    private static final String TIMED_OUT = "Message declined. Timed out\n";

    /** The case that takes a server which the check has started. */
    static final String SURVIVES = "an acknowledged message survives kill -9";

    /** Beyond a server's own timeout, for it to notice, and for a busy machine. */
    private static final Duration SLACK = Duration.ofSeconds(3);

    /** Four characters, since a request has only 255 bytes. */
    private static final String RUN =
            Integer.toString(ThreadLocalRandom.current().nextInt(46_656, 1_679_616), 36);

    private static final AtomicInteger NAMES = new AtomicInteger();

    private final InetSocketAddress server;
    private final Options options;
    private final List<Case> prompt = new ArrayList<>();
    private final List<Case> late = new ArrayList<>();

    ServerCheck(InetSocketAddress server, Options options) {
        this.server = server;
        this.options = options;
        storingAndFetching();
        names();
        theMessage();
        closing();
        new RequestCases(this, options.classic()).add();
        harmedByNobody();
        if (!options.classic()) {
            oneRequest();
            manyAtOnce();
            lateClients();
        }
    }

    void run(Case.Report report) throws InterruptedException {
        report.run(prompt, 1);
        if (!late.isEmpty()) {
            report.run(late, late.size());
        }
    }

    // ---------------------------------------------------------------- the questions

    /** What a case does, with a name that nobody used before. */
    @FunctionalInterface
    interface Body {
        void ask(Talk talk, String name) throws Exception;
    }

    /** One exchange, about a name or with the start of a request. */
    @FunctionalInterface
    interface Question {
        Talk.Answer ask(Talk talk, String start) throws Exception;
    }

    private Case.Claim<Body> claim(List<Case> cases, String claim, String says) {
        return body ->
                cases.add(new Case(claim, () -> body.ask(talk(server, options, says), newName())));
    }

    /** What the server's answer tells at once, and the sentence of the protocol it is about. */
    Case.Claim<Body> claim(String claim, String says) {
        return claim(prompt, claim, says);
    }

    /** What the classic server does not do. */
    private Case.Claim<Body> claimToday(String claim, String says) {
        return options.classic() ? body -> {} : claim(claim, says);
    }

    private static Talk talk(InetSocketAddress server, Options options, String says) {
        return new Talk(server, options.timeout(), options.classic(), says);
    }

    private static String newName() {
        return RUN + NAMES.incrementAndGet();
    }

    private void storingAndFetching() {
        claim("what is stored is fetched", "puts a message into a mailbox")
                .holds((talk, name) ->
                        talk.store(name + ";al;hi there").keeps(name + ";al;hi there"));
        claim(
                        "a mailbox that nobody wrote to has no such name",
                        "Retrieving messages..., There is no such name")
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
        claim("names are case-sensitive", "they are case-sensitive")
                .holds((talk, name) -> {
                    talk.store(name + "x;al;small").gives(Talk.STORED);
                    talk.fetch(name + "X").gives(Talk.EMPTY);
                });
        claim("a name is all of it", "Names are ... any text without `;`")
                .holds((talk, name) -> {
                    talk.store(name + "ab;al;for ab").gives(Talk.STORED);
                    talk.fetch(name + "a").gives(Talk.EMPTY);
                    talk.fetch(name + "abc").gives(Talk.EMPTY);
                });
        claimToday("names are any text", "Names are trimmed and any text without `;`")
                .holds((talk, name) -> {
                    for (String odd : List.of("../", "a b ", "'\"%\\", "*", "Γιώργος 😀 ")) {
                        String message = odd + name + ";" + odd + "al;hi";
                        talk.store(message).keeps(message);
                    }
                });
        claimToday("names are trimmed", "Names are trimmed")
                .holds((talk, name) -> {
                    talk.half("store; " + name + "  ;\tal ;hi").keeps(name + ";al;hi");
                    talk.half("fetch;  " + name + " ").givesMail(List.of(name + ";al;hi"));
                });
    }

    private void theMessage() {
        claim("a message in any script is kept", "all text is UTF-8")
                .holds((talk, name) ->
                        talk.store(name + ";Γιώργος;Καλημέρα 😀")
                                .keeps(name + ";Γιώργος;Καλημέρα 😀"));
        keepsMessage("a message keeps its `;`", "one;two;;three;");
        keepsMessage("a message may begin with `;`", ";wink");
        keepsMessage("a message keeps its spaces and tabs", "  in\tthe middle  ");
        claimToday("what follows the recipient of a fetch is ignored", "is ignored")
                .holds((talk, name) -> {
                    talk.store(name + ";al;hi").gives(Talk.STORED);
                    talk.fetch(name + ";x;;y").givesMail(List.of(name + ";al;hi"));
                });
    }

    private void keepsMessage(String claim, String text) {
        claimToday(
                        claim,
                        "The message is all that follows the third `;`, kept as it is, further `;`"
                                + " included.")
                .holds((talk, name) ->
                        talk.store(name + ";al;" + text).keeps(name + ";al;" + text));
    }

    private void closing() {
        closes("it closes after a store", (talk, name) -> talk.store(name + ";al;hi"));
        closes("it closes after a fetch", (talk, name) -> talk.fetch(name));
        closes("it closes after a refusal", (talk, name) -> talk.half("store;bob"));
        if (!options.classic()) {
            closes(
                    "it closes although the client keeps its sending side open",
                    (talk, name) -> talk.open("store;" + name + ";al;hi\n"));
        }
    }

    private void closes(String claim, Question question) {
        claim(claim, "The server sends one reply ... and closes.")
                .holds((talk, name) -> question.ask(talk.waitingForTheClose(), name).closes());
    }

    private void oneRequest() {
        claim("a connection is for one request", "sends one request")
                .holds((talk, name) ->
                        talk.store(name + ";al;one\nstore;" + name + ";al;two\n")
                                .keeps(name + ";al;one"));
    }

    // ---------------------------------------------------------------- many clients

    private void harmedByNobody() {
        String says = "one request per connection";
        claim("clients that leave early harm nobody", says)
                .holds((talk, name) -> {
                    for (int i = 0; i < 20; i++) {
                        talk.leave(i % 2 == 0 ? "" : "store;" + name + ";al");
                    }
                    talk.store(name + "ok;al;hi").gives(Talk.STORED);
                });
        claim("clients that are silent hold up nobody", says)
                .holds((talk, name) ->
                        talk.besideSilent(20, () -> talk.fetch(name).gives(Talk.EMPTY)));
    }

    private void manyAtOnce() {
        claim("100 clients at once are all answered, none twice", "each once")
                .holds((talk, name) -> {
                    List<String> mail = mail(name, 100, "number ");
                    talk.storeAtOnce(mail);
                    talk.fetch(name).givesInAnyOrder(mail);
                });
        claim("a mailbox of 300 messages comes whole", "for each message")
                .holds((talk, name) -> {
                    List<String> mail = mail(name, 300, "x".repeat(200));
                    for (int i = 0; i < 300; i += 100) {
                        talk.storeAtOnce(mail.subList(i, i + 100));
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
        Duration pause = options.timeout().dividedBy(5);
        timesOut(
                "a client that drips bytes is not waited for longer",
                (talk, name) -> talk.byteByByte("store;bob;al;dripped ", pause));
    }

    private void timesOut(String claim, Question question) {
        Duration latest = options.timeout().plus(SLACK);
        String says =
                "not complete within the timeout: Message declined. Timed out (here %d s, see --timeout)"
                        .formatted(options.timeout().toSeconds());
        claim(late, claim, says)
                .holds((talk, name) -> question.ask(talk, name).givesWithin(latest, TIMED_OUT));
    }

    // ---------------------------------------------------------------- killed in between

    /** Adds the case that kills {@code server} and starts it again. */
    static void runRestart(Case.Report report, ServerUnderCheck server, Options options)
            throws InterruptedException {
        Case.Body body =
                () -> {
                    for (int round = 0; round < 3; round++) {
                        restart(server, options);
                    }
                };
        report.run(List.of(new Case(SURVIVES, body)), 1);
    }

    /** Kills the server in the moment in which the 40th acknowledgement comes. */
    private static void restart(ServerUnderCheck server, Options options) throws Exception {
        String says = "An acknowledged message survives a killed server.";
        String name = newName();
        Set<String> acknowledged = ConcurrentHashMap.newKeySet();
        AtomicInteger number = new AtomicInteger();
        try (ExecutorService clients = Executors.newVirtualThreadPerTaskExecutor()) {
            for (int i = 0; i < 8; i++) {
                clients.submit(() -> {
                    while (acknowledged.size() < 40) {
                        String message = name + ";al;" + number.incrementAndGet();
                        talk(server.address(), options, says).store(message).gives(Talk.STORED);
                        acknowledged.add(message);
                    }
                    server.kill();
                    return null;
                });
            }
        }
        server.kill();
        server.start();
        String after = talk(server.address(), options, says).fetch(name).text();
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
