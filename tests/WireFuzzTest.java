///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Hostile input for the parser and the server: millions of requests, thousands of clients
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Wire.java
//SOURCES ../MsgServer.java
//SOURCES ../store/MessageStore.java
//SOURCES ../store/Database.java
//SOURCES ../Protocol.java
//DEPS com.code-intelligence:jazzer-junit:0.30.0
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import com.code_intelligence.jazzer.junit.FuzzTest;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledIfEnvironmentVariable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * Hostile input. What the parser says is compared with {@link #naive}, which says the same in
 * another way, straight from the protocol's description.
 *
 * <p>Each run has a seed of its own, which it prints; {@code -Dfuzz.seed=N} repeats it. {@code
 * -Dfuzz.inputs=N} and {@code -Dfuzz.connections=50000} make it longer.
 *
 * <p>Ten minutes with Jazzer, which sees how far into the code an input gets, by hand:
 *
 * <pre>JAZZER_FUZZ=1 jbang tests/WireFuzzTest.java --include-tag=jazzer</pre>
 *
 * <p>It keeps what it learns in {@code .cifuzz-corpus} of the working folder, and an input that
 * fails in a file {@code crash-...}: that belongs into {@link #seeds}, which every run replays.
 * {@code -Djazzer.max_duration=1h}, before the file's name, for longer.
 */
class WireFuzzTest {
    private static final int INPUTS = Integer.getInteger("fuzz.inputs", 2_000_000);
    private static final int CONNECTIONS = Integer.getInteger("fuzz.connections", 2_000);
    private static final int SHARES = 4; // side by side, each the same in every run of a seed
    private static final long SEED = Long.getLong("fuzz.seed", System.nanoTime());

    // ---------------------------------------------------------------- what has to hold

    private static final String TOO_LONG = "Message declined. Too long, 255 bytes at most";

    /**
     * What the protocol says about {@code line}: a request, or the text of the refusal. Slow and
     * plain on purpose; it shares no code with the parser.
     */
    private static Object naive(byte[] line) {
        if (line.length > 255) {
            return TOO_LONG;
        }
        String text = new String(line, StandardCharsets.UTF_8);
        if (!Arrays.equals(text.getBytes(StandardCharsets.UTF_8), line)) {
            return "Message declined. Not UTF-8"; // what is malformed does not survive both ways
        }
        if (hasControl(text)) {
            return "Message declined. Control characters";
        }
        String[] fields = text.split(";", 4);
        String verb = fields[0];
        String recipient = fields.length > 1 ? trimmed(fields[1]) : "";
        String sender = fields.length > 2 ? trimmed(fields[2]) : "";
        String message = fields.length > 3 ? fields[3] : "";
        if (verb.equals("")) {
            return "No verb";
        } else if (recipient.equals("")) {
            return "No recipient";
        } else if (verb.equals("fetch")) {
            return new Protocol.Fetch(recipient);
        } else if (!verb.equals("store")) {
            return "Message declined. Bad verb";
        } else if (sender.equals("")) {
            return "No sender";
        } else if (message.equals("")) {
            return "No message";
        } else {
            return new Protocol.Store(recipient, sender, message);
        }
    }

    private static boolean hasControl(String text) {
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c != '\t' && (c < 0x20 || c >= 0x7f && c < 0xa0)) {
                return true;
            }
        }
        return false;
    }

    private static String trimmed(String name) {
        while (!name.isEmpty() && Character.isWhitespace(name.codePointAt(0))) {
            name = name.substring(1);
        }
        while (!name.isEmpty() && Character.isWhitespace(name.charAt(name.length() - 1))) {
            name = name.substring(0, name.length() - 1);
        }
        return name;
    }

    /** What the parser makes of the first {@code length} bytes: a request or a refusal's text. */
    private static Object parsed(byte[] bytes, int length) {
        try {
            return Protocol.parse(bytes, length);
        } catch (Protocol.RefusedException e) {
            return e.refusal().text();
        }
    }

    /**
     * Everything that has to hold for the parser and {@code line}, whatever it is.
     *
     * @return what the parser made of it
     */
    private static Object check(byte[] line) {
        Object result = parsed(line, line.length);
        Object expected = naive(line);
        if (!expected.equals(result)) {
            fail("expected " + expected + ", was " + result);
        }
        if (result instanceof Protocol.Request request) {
            byte[] sent = request.bytes();
            if (sent.length > 255 || !request.equals(parsed(sent, sent.length))) {
                fail("what it sends is not what it was read from: " + request);
            }
            checkName(request.recipient());
            if (request instanceof Protocol.Store store) {
                checkName(store.sender());
                if (store.message().isEmpty() || hasControl(store.message())) {
                    fail("such a message must not be accepted: " + store);
                }
            }
        }
        return result;
    }

    /** The request in all that was sent before the end of input. */
    private static byte[] firstLine(byte[] stream) {
        int end = 0;
        while (end < stream.length && stream[end] != '\n') {
            end++;
        }
        boolean crLf = end > 0 && end < stream.length && stream[end - 1] == '\r';
        return Arrays.copyOf(stream, crLf ? end - 1 : end);
    }

    private static void checkName(String name) {
        boolean bad =
                name.isEmpty()
                        || !name.equals(name.strip())
                        || name.indexOf(';') >= 0
                        || hasControl(name);
        if (bad) {
            fail("such a name must not be accepted: <" + name + ">");
        }
        String shown = Protocol.visible(name);
        if (hasControl(shown) || shown.indexOf('\t') >= 0) {
            fail("shown with control characters: <" + name + ">");
        }
    }

    /**
     * Reads {@code stream} in pieces that {@code random} cuts, and checks that the request is its
     * first line, however it came.
     */
    private static void checkFraming(byte[] stream, Random random) throws IOException {
        Object expected = naive(firstLine(stream));
        int[] position = {0};
        Protocol.TimedInput pieces =
                (buffer, offset, length, limit) -> {
                    int left = stream.length - position[0];
                    if (left == 0) {
                        return -1;
                    }
                    int most = Math.min(left, length);
                    int count = random.nextBoolean() ? most : 1 + random.nextInt(most);
                    System.arraycopy(stream, position[0], buffer, offset, count);
                    position[0] += count;
                    return count;
                };
        Object result;
        try {
            result = Protocol.read(pieces, Duration.ofMinutes(1));
        } catch (Protocol.RefusedException e) {
            result = e.refusal().text();
        }
        if (!expected.equals(result)) {
            fail("in pieces: expected " + expected + ", was " + result);
        }
    }

    // ---------------------------------------------------------------- inputs

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Where fuzzing starts, and what it has found: replayed in every run. */
    static Stream<Arguments> seeds() {
        return Stream.concat(
                Stream.of(
                                "store;Kyriakos;george;hi Kyriakos",
                                "fetch;george",
                                "store;bob;al;a;b;;c;",
                                "store; bob ;\tal\t;  hi ",
                                "fetch;bob;ignored;too",
                                "",
                                ";",
                                ";;;",
                                "fetch",
                                "fetch;",
                                "store;;al;hi",
                                "store;bob",
                                "store;bob;;hi",
                                "store;bob;al",
                                "store;bob;al;",
                                "STORE;bob;al;hi",
                                "nonsense;bob",
                                "store;bob;al;a\0b",
                                "fetch;\u001b[2J",
                                "fetch;\u0085",
                                "fetch;\u3000\u2028name\u2003",
                                "fetch;\u00a0name",
                                "fetch;../../etc/passwd",
                                "store;'; drop table message; --;al;hi",
                                "store;Κυριάκος;γιαγιά;γειά σου 👋",
                                "store;\u202egnp;e\u0301;\uffff\ufffd",
                                "store;bob;al;" + "x".repeat(242),
                                "store;bob;al;" + "x".repeat(243),
                                "store;bob;al;" + "γ".repeat(121),
                                "store;bob;al;" + "👋".repeat(61),
                                "fetch;bob\r",
                                "fetch;bob\r\nstore;bob;al;second")
                        .map(text -> arguments(text, utf8(text))),
                Stream.of(
                                "66657463683bff",
                                "66657463683bc0af",
                                "66657463683be080af",
                                "66657463683beda080",
                                "66657463683bf4908080",
                                "66657463683bf09f918b",
                                "66657463683bf09f91",
                                "73746f72653b613b623bc3",
                                "80")
                        .map(hex -> arguments(hex, HexFormat.of().parseHex(hex))));
    }

    private static List<byte[]> seedBytes() {
        return seeds().map(seed -> (byte[]) seed.get()[1]).toList();
    }

    /** Makes inputs out of others, and remembers those that got somewhere new. */
    private static final class Mutator {
        private static final int MAX_CORPUS = 500;
        private static final int MAX_LENGTH = 400;
        private static final List<byte[]> TOKENS =
                Stream.of(
                                ";", ";;", " ", "\t", "\r", "\n", "\0", "\u007f", "\u0080",
                                "\u009f", "\u00a0", "\u2028", "\u3000", "é", "👋", "fetch;",
                                "store;", "fetch", "store", "Store", "x")
                        .map(WireFuzzTest::utf8)
                        .toList();

        private final Random random;
        private final List<byte[]> corpus = new ArrayList<>(seedBytes());
        private final Set<List<Object>> reached = new HashSet<>();

        Mutator(Random random) {
            this.random = random;
        }

        byte[] next() {
            byte[] input = corpus.get(random.nextInt(corpus.size()));
            for (int i = random.nextInt(5); i > 0; i--) {
                input = mutated(input);
            }
            return input;
        }

        /** Told what came of an input: the first of a kind becomes one to go on from. */
        void learn(byte[] input, Object result) {
            int fields = 0;
            for (byte b : input) {
                fields += b == ';' ? 1 : 0;
            }
            Object outcome = result instanceof String ? result : result.getClass();
            if (corpus.size() < MAX_CORPUS
                    && input.length < MAX_LENGTH
                    && reached.add(List.of(outcome, Math.min(fields, 6), input.length / 16))) {
                corpus.add(input);
            }
        }

        private byte[] mutated(byte[] in) {
            int at = random.nextInt(in.length + 1);
            int to = Math.min(in.length, at + 1 + random.nextInt(8));
            return switch (random.nextInt(10)) {
                case 0 -> replaced(in, at, to, new byte[0]);
                case 1, 2 -> replaced(in, at, at, TOKENS.get(random.nextInt(TOKENS.size())));
                case 3 -> replaced(in, at, to, TOKENS.get(random.nextInt(TOKENS.size())));
                case 4 -> replaced(in, at, at, Arrays.copyOfRange(in, at, to));
                case 5 -> replaced(in, at, at, new byte[] {(byte) random.nextInt(256)});
                case 6 -> replaced(in, at, to, new byte[] {(byte) random.nextInt(256)});
                case 7 -> Arrays.copyOf(in, at);
                case 8 -> {
                    byte[] other = corpus.get(random.nextInt(corpus.size()));
                    yield replaced(
                            in,
                            at,
                            in.length,
                            Arrays.copyOfRange(
                                    other, random.nextInt(other.length + 1), other.length));
                }
                default -> { // around the greatest length
                    byte[] padding = new byte[Math.max(0, 250 + random.nextInt(12) - in.length)];
                    Arrays.fill(padding, (byte) (random.nextInt(4) == 0 ? ';' : 'x'));
                    yield replaced(in, at, at, padding);
                }
            };
        }

        private static byte[] replaced(byte[] in, int from, int to, byte[] with) {
            byte[] out = new byte[in.length - (to - from) + with.length];
            System.arraycopy(in, 0, out, 0, from);
            System.arraycopy(with, 0, out, from, with.length);
            System.arraycopy(in, to, out, from + with.length, in.length - to);
            return out;
        }
    }

    // ---------------------------------------------------------------- the parser

    @ParameterizedTest(name = "{0}")
    @MethodSource
    void seeds(String name, byte[] input) throws IOException {
        check(input);
        for (int i = 0; i < 20; i++) {
            checkFraming(input, new Random(i));
        }
    }

    @Test
    void whateverComesIsARequestOrRefusedForTheRightReason() {
        System.out.printf("Parser: %,d inputs, -Dfuzz.seed=%d%n", INPUTS, SEED);
        Map<String, Integer> outcomes = new ConcurrentHashMap<>();
        IntStream.range(0, SHARES).parallel().forEach(share -> fuzz(share, outcomes));
        for (String outcome :
                List.of(
                        "Store",
                        "Fetch",
                        "No verb",
                        "No recipient",
                        "No sender",
                        "No message",
                        "Message declined. Bad verb",
                        TOO_LONG,
                        "Message declined. Not UTF-8",
                        "Message declined. Control characters")) {
            int count = outcomes.getOrDefault(outcome, 0);
            assertTrue(count > INPUTS / 500, "too few got to <" + outcome + ">: " + outcomes);
        }
    }

    private static void fuzz(int share, Map<String, Integer> outcomes) {
        Random random = new Random(SEED + share);
        Mutator mutator = new Mutator(random);
        byte[] larger = new byte[1 << 16];
        for (int i = 0; i < INPUTS / SHARES; i++) {
            byte[] input = mutator.next();
            try {
                Object result = check(input);
                if (i % 8 == 0) {
                    checkFraming(input, random);
                    System.arraycopy(input, 0, larger, 0, input.length);
                    if (!result.equals(parsed(larger, input.length))) {
                        fail("what lies behind it in the buffer matters");
                    }
                }
                mutator.learn(input, result);
                outcomes.merge(
                        result instanceof String text ? text : result.getClass().getSimpleName(),
                        1,
                        Integer::sum);
            } catch (Throwable e) {
                throw new AssertionError(
                        "input %d of share %d, -Dfuzz.seed=%d: %s"
                                .formatted(i, share, SEED, HexFormat.of().formatHex(input)),
                        e);
            }
        }
    }

    /** Only where it is asked for: its agent would slow down every test of this JVM. */
    @EnabledIfEnvironmentVariable(named = "JAZZER_FUZZ", matches = ".+")
    static class JazzerTest {
        static {
            // By itself it looks at packages only, and our classes are in none.
            System.setProperty("jazzer.instrument", "*");
        }

        @MethodSource("WireFuzzTest#seedBytesAlone")
        @Timeout(value = 24, unit = TimeUnit.HOURS)
        @FuzzTest(maxDuration = "10m") // Jazzer wants to be the last annotation
        void jazzer(byte[] input) throws IOException {
            check(input);
            checkFraming(input, new Random(Arrays.hashCode(input)));
        }
    }

    static Stream<Arguments> seedBytesAlone() {
        return seedBytes().stream().map(Arguments::of);
    }

    // ---------------------------------------------------------------- the server

    private static final String STORED = "Message accepted and stored:\n";
    private static final int AT_ONCE = 32;
    private static final Duration LIMIT = Duration.ofSeconds(1);

    /** What clients do, and what they were told. */
    private static final class Clients {
        private final int port;
        private final AtomicInteger started = new AtomicInteger();
        private final Map<Protocol.Store, Integer> acknowledged =
                Collections.synchronizedMap(new HashMap<>());

        Clients(int port) {
            this.port = port;
        }

        /** One after the other until all have been. */
        void run() throws Exception {
            for (int number; (number = started.getAndIncrement()) < CONNECTIONS; ) {
                Random random = new Random(SEED + number);
                byte[] input = new Mutator(random).next();
                try {
                    run(input, random);
                } catch (Throwable e) {
                    throw new AssertionError(
                            "connection %d of seed %d, %s"
                                    .formatted(number, SEED, HexFormat.of().formatHex(input)),
                            e);
                }
            }
        }

        private void run(byte[] input, Random random) throws Exception {
            long start = System.nanoTime();
            try (Wire wire = new Wire(port)) {
                switch (random.nextInt(8)) {
                    case 0, 1 -> { // as our client does
                        wire.send(input).endInput();
                        judge(wire.receive(), firstLine(input), inTime(start));
                    }
                    case 2 -> { // a line in one piece
                        byte[] line = joined(input, utf8("\n"));
                        judge(wire.send(line).receive(), firstLine(line), inTime(start));
                    }
                    case 3 -> { // in pieces, with pauses, perhaps without an end
                        // An early answer is followed by 2 s of draining, then by a reset.
                        boolean whole = inPieces(wire, input, random) && inTime(start);
                        judge(whole ? wire.receive() : receive(wire), firstLine(input), false);
                    }
                    case 4 -> { // gone without a word, wherever it was
                        inPieces(
                                wire,
                                Arrays.copyOf(input, random.nextInt(input.length + 1)),
                                random);
                        wire.reset();
                    }
                    case 5 -> { // gone with its reply unread
                        wire.send(joined(input, utf8("\n")));
                    }
                    case 6 -> { // more than anyone asked for
                        byte[] more = new byte[random.nextInt(100_000)];
                        random.nextBytes(more);
                        byte[] line = joined(input, utf8("\n"));
                        judge(wire.send(line).send(more).receive(), firstLine(line), inTime(start));
                    }
                    default -> { // noise
                        byte[] noise = new byte[random.nextInt(600)];
                        random.nextBytes(noise);
                        wire.send(noise).endInput();
                        judge(wire.receive(), firstLine(noise), inTime(start));
                    }
                }
            }
        }

        /** Whether this machine's own pauses cannot have cost the client its deadline. */
        private static boolean inTime(long start) {
            return System.nanoTime() - start < LIMIT.toNanos() / 2;
        }

        /** Whether the server was left nothing to wait for. */
        private static boolean inPieces(Wire wire, byte[] input, Random random) throws Exception {
            try {
                for (int from = 0; from < input.length; ) {
                    int to = Math.min(input.length, from + 1 + random.nextInt(40));
                    wire.send(Arrays.copyOfRange(input, from, to));
                    from = to;
                    if (random.nextInt(3) == 0) {
                        Thread.sleep(random.nextInt(random.nextInt(10) == 0 ? 150 : 10));
                    }
                }
                switch (random.nextInt(3)) {
                    case 0 -> wire.send("\n");
                    case 1 -> wire.endInput();
                    default -> {
                        return false;
                    }
                }
                return true;
            } catch (IOException e) {
                return false; // answered and closed before all was sent: its right
            }
        }

        /** Its reply, unless it was closed upon input that came after it. */
        private static String receive(Wire wire) {
            try {
                return wire.receive();
            } catch (IOException e) {
                return null;
            }
        }

        /** The reply is whole, and where the server had no choice, the right one. */
        private void judge(String reply, byte[] line, boolean exactly) {
            Object expected = naive(line);
            if (reply == null) {
                return;
            }
            if (reply.equals(STORED) && expected instanceof Protocol.Store store && exactly) {
                acknowledged.merge(store, 1, Integer::sum);
            }
            if (!exactly) {
                assertTrue(
                        reply.equals(STORED) || isMailbox(reply) || isRefusal(reply),
                        () -> "no whole reply: " + Protocol.visible(reply));
                return;
            }
            switch (expected) {
                case Protocol.Store store -> assertEquals(STORED, reply);
                case Protocol.Fetch fetch ->
                        assertTrue(isMailbox(reply), () -> Protocol.visible(reply));
                default -> assertEquals(expected + "\n", reply);
            }
        }

        private static boolean isMailbox(String reply) {
            return reply.equals("Retrieving messages...\nThere is no such name\n")
                    || reply.startsWith("Retrieving messages...\n")
                            && reply.endsWith("\nNO MORE MESSAGES\n");
        }

        private static boolean isRefusal(String reply) {
            return Stream.of(Protocol.Refusal.values())
                    .anyMatch(refusal -> reply.equals(refusal.text() + "\n"));
        }
    }

    private static byte[] joined(byte[] first, byte[] second) {
        ByteArrayOutputStream both = new ByteArrayOutputStream();
        both.writeBytes(first);
        both.writeBytes(second);
        return both.toByteArray();
    }

    @Test
    @Timeout(value = 20, unit = TimeUnit.MINUTES)
    void whateverClientsDoOthersAreServed(@TempDir Path folder) throws Exception {
        System.out.printf("Server: %,d connections, -Dfuzz.seed=%d%n", CONNECTIONS, SEED);
        var ended = new AtomicInteger();
        var troubles = new ConcurrentLinkedQueue<String>();
        var listener =
                new Listener() {
                    @Override
                    public void ended(Listener.Ended conversation) {
                        ended.incrementAndGet();
                        if (conversation.outcome() == null) {
                            troubles.add("no outcome: " + conversation);
                        }
                    }

                    @Override
                    public void trouble(String sentence) {
                        troubles.add(sentence);
                    }
                };
        var limits = new Limits(LIMIT, 1_000, Duration.ofSeconds(5));
        try (MessageStore store = new MessageStore(folder.resolve("messages.db").toString());
                MsgServer server =
                        new MsgServer(new InetSocketAddress(0), store, limits, listener)) {
            server.start();
            Clients clients = new Clients(server.port());
            List<Future<Void>> running = new ArrayList<>();
            for (int i = 0; i < AT_ONCE; i++) {
                FutureTask<Void> client =
                        new FutureTask<>(() -> {
                            clients.run();
                            return null;
                        });
                Thread.ofVirtual().start(client);
                running.add(client);
            }
            AtomicBoolean over = new AtomicBoolean();
            FutureTask<List<Long>> probe = new FutureTask<>(() -> probe(server.port(), over));
            Thread.ofPlatform().start(probe);
            for (Future<Void> client : running) {
                client.get(15, TimeUnit.MINUTES);
            }
            over.set(true);
            List<Long> millis = probe.get(1, TimeUnit.MINUTES);
            // All but a few: the machine that runs the tests makes pauses of its own.
            millis.sort(null);
            assertTrue(
                    millis.get((int) (millis.size() * 0.95)) < 100,
                    "a request among them takes, in ms: " + millis);

            int all = CONNECTIONS + millis.size();
            long deadline = System.nanoTime() + Duration.ofSeconds(20).toNanos();
            while (ended.get() < all && System.nanoTime() - deadline < 0) {
                Thread.sleep(5);
            }
            assertEquals(all, ended.get(), "every conversation has an end");
            assertEquals(List.of(), List.copyOf(troubles));
            assertFalse(clients.acknowledged.isEmpty());
            for (var message : clients.acknowledged.entrySet()) {
                assertTrue(
                        count(store, message.getKey()) >= message.getValue(),
                        () -> "acknowledged and not there: " + message);
            }
        }
    }

    /** Asks again and again; how many milliseconds each answer took. */
    private static List<Long> probe(int port, AtomicBoolean over) throws Exception {
        List<Long> millis = new ArrayList<>();
        while (!over.get()) {
            long start = System.nanoTime();
            assertEquals(
                    "Retrieving messages...\nThere is no such name\n",
                    Wire.ask(port, "fetch;the probe's own mailbox, which nobody writes to"));
            millis.add((System.nanoTime() - start) / 1_000_000);
            Thread.sleep(5);
        }
        return millis;
    }

    private static long count(MessageStore store, Protocol.Store wanted)
            throws MessageStore.StoreException {
        MessageStore.Mailbox mailbox = store.fetch(wanted.recipient());
        MessageStore.Message same = new MessageStore.Message(wanted.sender(), wanted.message());
        long count = 0;
        while (mailbox.hasNext()) {
            count += mailbox.nextPage().stream().filter(same::equals).count();
        }
        return count;
    }
}
