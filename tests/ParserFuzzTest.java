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
 * Hostile input for the parser. Each result of the parser is compared with {@link
 * HostileInput#naive}, an independent implementation of the protocol's description.
 *
 * <p>Each run prints its seed. {@code -Dfuzz.seed=N} repeats a run; {@code -Dfuzz.inputs=N} makes a
 * run longer.
 *
 * <p>Jazzer, a fuzzer guided by code coverage, runs only by hand, for ten minutes:
 *
 * <pre>JAZZER_FUZZ=1 jbang tests/ParserFuzzTest.java --include-tag=jazzer</pre>
 *
 * <p>Jazzer keeps its corpus in {@code .cifuzz-corpus} of the working folder, and each failing
 * input in a file {@code crash-...}. Add a failing input to {@link HostileInput#seeds}, which every
 * run replays. {@code -Djazzer.max_duration=1h}, before the file's name, makes the run longer.
 */
class ParserFuzzTest {
    private static final int INPUTS = Integer.getInteger("fuzz.inputs", 1_000_000);
    // The inputs are divided into shares, which run in parallel. In every run with the same seed a
    // share has the same inputs.
    private static final int SHARES = 4;

    /**
     * The parser's result for the first {@code length} bytes: a request, or the text of a refusal.
     */
    private static Object parsed(byte[] bytes, int length) {
        try {
            return Protocol.parse(bytes, length);
        } catch (Protocol.RefusedException e) {
            return e.refusal.text;
        }
    }

    /**
     * Checks every property of the parser that must hold for any {@code line}.
     *
     * @return the parser's result
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
                fail("the parser reads the bytes of the request as another one: " + request);
            }
            checkName(request.recipient());
            if (request instanceof Protocol.Store store) {
                checkName(store.sender());
                if (store.message().isEmpty() || HostileInput.hasControl(store.message())) {
                    fail("the parser accepted a forbidden message: " + store);
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
            fail("the parser accepted a forbidden name: <" + name + ">");
        }
        String shown = Protocol.visible(name);
        if (HostileInput.hasControl(shown) || shown.indexOf('\t') >= 0) {
            fail("the name is shown with control characters: <" + name + ">");
        }
    }

    /**
     * Parses {@code stream} as it arrives in random pieces, and checks that the request is the
     * first line, whatever the pieces are.
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
    void everyInputIsARequestOrIsRefusedForTheRightReason() {
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
            assertTrue(
                    count > INPUTS / 500,
                    "too few inputs had the outcome <" + outcome + ">: " + outcomes);
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
                        fail("the result depends on bytes after the request in the buffer");
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

    /** Runs only on request: Jazzer's agent would slow down every test of this JVM. */
    @EnabledIfEnvironmentVariable(named = "JAZZER_FUZZ", matches = ".+")
    static class JazzerTest {
        static {
            // By default Jazzer does not instrument the default package, which has our classes.
            System.setProperty("jazzer.instrument", "*");
        }

        @MethodSource("ParserFuzzTest#seedBytesAlone")
        @Timeout(value = 24, unit = TimeUnit.HOURS)
        @FuzzTest(maxDuration = "10m") // Jazzer requires that its annotation is the last one
        void jazzer(byte[] input) {
            check(input);
            checkFraming(input, new Random(Arrays.hashCode(input)));
        }
    }

    static Stream<Arguments> seedBytesAlone() {
        return HostileInput.seedBytes().stream().map(Arguments::of);
    }
}
