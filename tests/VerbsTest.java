///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests that every verb and refusal is parsed, sent, answered, logged and in README.md
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Engine.java
//SOURCES support/HostileInput.java
//SOURCES ../server/RequestLog.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.reflect.RecordComponent;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Checks every verb that {@link Protocol.Request} permits, and every refusal, in each place that
 * must handle it. These tests fail until a new verb or refusal is in all of these places, README.md
 * included.
 */
class VerbsTest {
    private static final Pattern CODE = Pattern.compile("`([^`]+)`");

    private static String readme;

    /** A row of README.md's table of requests and replies: the code in its cells. */
    private record Row(List<String> requests, List<String> replies) {}

    @BeforeAll
    static void readReadme() throws IOException {
        readme = Files.readString(TestMain.checkout().resolve("README.md"));
    }

    private static List<Row> table() {
        String begin = "| request | reply |\n|---|---|\n";
        int from = readme.indexOf(begin) + begin.length();
        assertTrue(from > begin.length(), "README.md has no table of requests and replies");
        return readme.substring(from, readme.indexOf("\n\n", from))
                .lines()
                .map(line -> line.split("\\|"))
                .map(cells -> new Row(code(cells[1]), code(cells[2])))
                .toList();
    }

    private static List<String> code(String cell) {
        return CODE.matcher(cell).results().map(found -> found.group(1)).toList();
    }

    /** The row that describes {@code reply}. */
    private static Row rowOf(String reply) {
        return table().stream()
                .filter(row -> row.replies().contains(reply))
                .findFirst()
                .orElseThrow(() -> new AssertionError("README.md's table has no `" + reply + "`"));
    }

    // ---------------------------------------------------------------- verbs

    static List<Protocol.Request> requests() throws Exception {
        List<Protocol.Request> requests = new ArrayList<>();
        for (Class<?> type : Protocol.Request.class.getPermittedSubclasses()) {
            RecordComponent[] parts = type.getRecordComponents();
            Class<?>[] types =
                    Stream.of(parts).map(RecordComponent::getType).toArray(Class<?>[]::new);
            Object[] values = Stream.of(parts).map(part -> "any " + part.getName()).toArray();
            requests.add((Protocol.Request) type.getDeclaredConstructor(types).newInstance(values));
        }
        return requests;
    }

    private static String sent(Protocol.Request request) {
        return new String(request.bytes(), StandardCharsets.UTF_8);
    }

    private static String verb(Protocol.Request request) {
        return request.getClass().getSimpleName().toLowerCase(Locale.ROOT);
    }

    private static Protocol.Request parse(String line) throws Protocol.RefusedException {
        byte[] bytes = line.getBytes(StandardCharsets.UTF_8);
        return Protocol.parse(bytes, bytes.length);
    }

    private static String refusal(String line) {
        return assertThrows(Protocol.RefusedException.class, () -> parse(line), line).refusal.text;
    }

    @ParameterizedTest
    @MethodSource("requests")
    void eachVerbIsParsedFromItsBytes(Protocol.Request request) throws Exception {
        assertTrue(sent(request).startsWith(verb(request) + ";any recipient"), sent(request));
        assertEquals(request, parse(sent(request)));
        assertEquals("No recipient", refusal(verb(request)));
        assertEquals("No recipient", refusal(verb(request) + ";"));
        assertEquals(
                "Message declined. Bad verb",
                refusal(sent(request).toUpperCase(Locale.ROOT)),
                "verbs are lower case");
    }

    @Test
    void theClientUnderstandsEachAnswerAndReadmeDescribesIt(@TempDir Path folder) throws Exception {
        try (Engine engine = new Engine(Transport.PLAIN, folder, Engine.ROOMY)) {
            for (Protocol.Request request : requests()) {
                String answer = engine.ask(sent(request));
                Protocol.Reply reply =
                        Protocol.readReply(
                                new ByteArrayInputStream(answer.getBytes(StandardCharsets.UTF_8)),
                                mail -> {});
                assertFalse(reply instanceof Protocol.Refused, () -> request + ": " + answer);
                String first = anyNumber(answer.lines().findFirst().orElseThrow());
                assertTrue(
                        table().stream()
                                .filter(row ->
                                        row.replies().stream()
                                                .map(VerbsTest::anyNumber)
                                                .anyMatch(first::equals))
                                .flatMap(row -> row.requests().stream())
                                .anyMatch(described -> described.startsWith(verb(request) + ";")),
                        () -> "README.md's table does not have " + verb(request) + ", " + first);
            }
        }
    }

    private static String anyNumber(String reply) {
        return reply.replaceAll("\\d+", "0");
    }

    @ParameterizedTest
    @MethodSource("requests")
    void eachVerbIsInReadmeWithItsParts(Protocol.Request request) {
        String form =
                Stream.of(request.getClass().getRecordComponents())
                        .map(RecordComponent::getName)
                        .collect(Collectors.joining(";", verb(request) + ";", ""));
        assertTrue(
                Pattern.compile("^" + Pattern.quote(form) + "$", Pattern.MULTILINE)
                        .matcher(readme)
                        .find(),
                "README.md has no line " + form);
    }

    @ParameterizedTest
    @MethodSource("requests")
    void eachVerbIsLoggedWithItsNamesAndWithoutItsText(Protocol.Request request) {
        String line = logged(request, "its outcome");
        Matcher asked = Pattern.compile("127\\.0\\.0\\.1:1 +(.*?) +-> +its outcome").matcher(line);
        assertTrue(asked.find(), line);
        assertTrue(asked.group(1).startsWith(verb(request) + " "), line);
        for (RecordComponent part : request.getClass().getRecordComponents()) {
            boolean isName = !part.getName().equals("message");
            assertEquals(isName, line.contains("any " + part.getName()), line);
        }
    }

    @ParameterizedTest
    @MethodSource("requests")
    void eachVerbIsAmongTheFuzzingSeeds(Protocol.Request request) {
        assertTrue(
                HostileInput.seedBytes().stream()
                        .anyMatch(seed -> request.getClass().isInstance(HostileInput.naive(seed))),
                "no seed is read as " + request.getClass());
    }

    // ---------------------------------------------------------------- refusals

    @ParameterizedTest
    @EnumSource(Protocol.Refusal.class)
    void aRefusalIsUnderstoodByTheClientAndLogged(Protocol.Refusal refusal) throws Exception {
        assertEquals(
                new Protocol.Refused(refusal.text),
                Protocol.readReply(
                        new ByteArrayInputStream(Protocol.line(refusal.text)), mail -> {}));
        assertTrue(logged(null, refusal.text).contains("  -  ->  " + refusal.text + "  "));
    }

    @ParameterizedTest
    @EnumSource(Protocol.Refusal.class)
    void readmeHasEachRefusalWithCorrectExamples(Protocol.Refusal refusal) {
        for (String example : rowOf(refusal.text).requests()) {
            assertEquals(refusal.text, refusal(example), "to README.md's " + example);
        }
    }

    @Test
    void readmeHasNoUnknownRefusal() {
        assertEquals(
                Stream.of(Protocol.Refusal.values()).map(it -> it.text).sorted().toList(),
                table().stream()
                        .flatMap(row -> row.replies().stream())
                        .filter(reply -> reply.matches("No \\w+|Message declined\\..*"))
                        .sorted()
                        .toList());
    }

    /** The log line of a conversation from port 1 of this machine. */
    private static String logged(Protocol.Request request, String outcome) {
        StringWriter out = new StringWriter();
        RequestLog log = new RequestLog(new PrintWriter(out), new PrintWriter(out), false);
        var ended = new Observer.Conversation(1, new InetSocketAddress("127.0.0.1", 1)) {};
        ended.request = request;
        ended.outcome = outcome;
        log.step(Observer.Step.CLOSED, ended);
        log.close("Goodbye.");
        return out.toString();
    }
}
