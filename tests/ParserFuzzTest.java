///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the parser with hostile input: millions of requests
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/HostileInput.java
//DEPS com.code-intelligence:jazzer-junit:0.30.0
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import com.code_intelligence.jazzer.junit.FuzzTest;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledIfEnvironmentVariable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * Hostile input for the parser. What it says is compared with {@link HostileInput#naive}, which
 * says the same in another way, straight from the protocol's description.
 *
 * <p>Each run has a seed of its own, which it prints; {@code -Dfuzz.seed=N} repeats it, {@code
 * -Dfuzz.inputs=N} makes it longer.
 *
 * <p>Ten minutes with Jazzer, which sees how far into the code an input gets, by hand:
 *
 * <pre>JAZZER_FUZZ=1 jbang tests/ParserFuzzTest.java --include-tag=jazzer</pre>
 *
 * <p>It keeps what it learns in {@code .cifuzz-corpus} of the working folder, and an input that
 * fails in a file {@code crash-...}: that belongs into {@link HostileInput#seeds}, which every run
 * replays. {@code -Djazzer.max_duration=1h}, before the file's name, for longer.
 */
class ParserFuzzTest {
    private static final int INPUTS = Integer.getInteger("fuzz.inputs", 1_000_000);
    private static final int SHARES = 4; // side by side, each the same in every run of a seed

    /** What the parser makes of the first {@code length} bytes: a request or a refusal's text. */
    private static Object parsed(byte[] bytes, int length) {
        try {
            return Protocol.parse(bytes, length);
        } catch (Protocol.RefusedException e) {
            return e.refusal.text;
        }
    }

    /**
     * Everything that has to hold for the parser and {@code line}, whatever it is.
     *
     * @return what the parser made of it
     */
    private static Object check(byte[] line) {
        Object result = parsed(line, line.length);
        Object expected = HostileInput.naive(line);
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
                if (store.message().isEmpty() || HostileInput.hasControl(store.message())) {
                    fail("such a message must not be accepted: " + store);
                }
            }
        }
        return result;
    }

    private static void checkName(String name) {
        boolean bad =
                name.isEmpty()
                        || !name.equals(HostileInput.trimmed(name))
                        || name.indexOf(';') >= 0
                        || HostileInput.hasControl(name);
        if (bad) {
            fail("such a name must not be accepted: <" + name + ">");
        }
        String shown = Protocol.visible(name);
        if (HostileInput.hasControl(shown) || shown.indexOf('\t') >= 0) {
            fail("shown with control characters: <" + name + ">");
        }
    }

    /**
     * Lets {@code stream} arrive in pieces that {@code random} cuts, and checks that the request is
     * its first line, however it came.
     */
    private static void checkFraming(byte[] stream, Random random) {
        Object expected = HostileInput.naive(HostileInput.firstLine(stream));
        Object result;
        try {
            int arrived = 0;
            int end;
            do {
                int left = stream.length - arrived;
                arrived += left == 0 || random.nextBoolean() ? left : 1 + random.nextInt(left);
                end = Protocol.end(stream, arrived);
            } while (end < 0 && arrived < stream.length);
            result = Protocol.parse(stream, end < 0 ? arrived : end);
        } catch (Protocol.RefusedException e) {
            result = e.refusal.text;
        }
        if (!expected.equals(result)) {
            fail("in pieces: expected " + expected + ", was " + result);
        }
    }

    @ParameterizedTest
    @MethodSource("HostileInput#seeds")
    void seeds(HostileInput.Seed seed) {
        check(seed.bytes());
        for (int i = 0; i < 20; i++) {
            checkFraming(seed.bytes(), new Random(i));
        }
    }

    @Test
    void whateverComesIsARequestOrRefusedForTheRightReason() {
        System.out.printf("Parser: %,d inputs, -Dfuzz.seed=%d%n", INPUTS, HostileInput.SEED);
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
                        HostileInput.TOO_LONG,
                        "Message declined. Not UTF-8",
                        "Message declined. Control characters")) {
            int count = outcomes.getOrDefault(outcome, 0);
            assertTrue(count > INPUTS / 500, "too few got to <" + outcome + ">: " + outcomes);
        }
    }

    private static void fuzz(int share, Map<String, Integer> outcomes) {
        Random random = new Random(HostileInput.SEED + share);
        HostileInput.Mutator mutator = new HostileInput.Mutator(random);
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
                                .formatted(
                                        i,
                                        share,
                                        HostileInput.SEED,
                                        HexFormat.of().formatHex(input)),
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

        @MethodSource("ParserFuzzTest#seedBytesAlone")
        @Timeout(value = 24, unit = TimeUnit.HOURS)
        @FuzzTest(maxDuration = "10m") // Jazzer wants to be the last annotation
        void jazzer(byte[] input) {
            check(input);
            checkFraming(input, new Random(Arrays.hashCode(input)));
        }
    }

    static Stream<Arguments> seedBytesAlone() {
        return HostileInput.seedBytes().stream().map(Arguments::of);
    }
}
