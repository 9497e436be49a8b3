///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the output of --trace for each conversation, and of --threads
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/ServerProcess.java
//SOURCES support/Waiting.java
//SOURCES support/Wire.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;

/** Each line has columns: number, time since accept, thread, carrier, step. */
class TraceTest {
    private static final Pattern LINE =
            Pattern.compile(
                    "(?m)^ *#(\\d+) +(\\d+\\.\\d) ms  (conversation-\\d+) +(worker-\\d+|-) +(.*)$");

    @TempDir private Path folder;

    private ServerProcess server(String... options) throws Exception {
        return new ServerProcess(ServerProcess.command(folder.resolve("messages.db"), options));
    }

    /** The steps of conversation {@code number}, in the order of their lines. */
    private static List<String> steps(ServerProcess server, int number) {
        return LINE.matcher(server.output())
                .results()
                .filter(line -> line.group(1).equals(Integer.toString(number)))
                .map(line -> line.group(5))
                .toList();
    }

    @Test
    void eachStepOfAStoreAndOfAFetchIsALineAndNoTextIsShown() throws Exception {
        try (ServerProcess server = server("--trace")) {
            Wire.ask(server.port(), "store;bob;al;a secret");
            Wire.ask(server.port(), "fetch;bob");
            Wire.ask(server.port(), "STORE;bob");
            Waiting.eventually(
                    "all three conversations are closed",
                    () -> server.output().lines().filter(l -> l.endsWith("closed")).count() == 3);
            assertEquals(
                    List.of(
                            "waiting for its request",
                            "request read: store to bob from al",
                            "waiting for the commit",
                            "committed, batch of 1",
                            "replied: stored",
                            "closed"),
                    withoutFirst(steps(server, 1)));
            assertEquals(
                    List.of(
                            "waiting for its request",
                            "request read: fetch bob",
                            "replied: 1 message",
                            "closed"),
                    withoutFirst(steps(server, 2)));
            assertEquals(
                    List.of(
                            "waiting for its request",
                            "replied: Message declined. Bad verb",
                            "closed"),
                    withoutFirst(steps(server, 3)));
            assertFalse(server.output().contains("a secret"), server::output);
            assertFalse(
                    server.output().contains("  ->  "),
                    "the trace contains a line of the request log");
        }
    }

    private static List<String> withoutFirst(List<String> steps) {
        assertTrue(steps.get(0).matches("accepted from 127\\.0\\.0\\.1:\\d+"), steps.toString());
        return steps.subList(1, steps.size());
    }

    /** Without a trace the log shows a slow client only after the end of its conversation. */
    @Test
    void aSlowClientAppearsWhileItWaits() throws Exception {
        try (ServerProcess server = server("--trace");
                Wire slow = new Wire(server.port())) {
            slow.send("s");
            Waiting.eventually(
                    "the slow client's conversation waits", () -> steps(server, 1).size() == 2);
            Wire.ask(server.port(), "fetch;bob");
            Waiting.eventually(
                    "another conversation ends", () -> steps(server, 2).contains("closed"));
            assertEquals("waiting for its request", steps(server, 1).getLast());
        }
    }

    @Test
    void columnsLineUpAndLinesFitAHundredCharacters() throws Exception {
        try (ServerProcess server = server("--trace")) {
            Wire.ask(server.port(), "store;" + "b".repeat(100) + ";" + "a".repeat(100) + ";x");
            Wire.ask(server.port(), "fetch;Καλημέρα");
            Waiting.eventually(
                    "both conversations are closed", () -> steps(server, 2).contains("closed"));
            Set<Integer> columns = new HashSet<>();
            for (MatchResult line : LINE.matcher(server.output()).results().toList()) {
                assertTrue(line.group().length() <= 100, line.group());
                columns.add(line.start(5) - line.start());
                columns.add(line.start(4) - line.start() + 11);
            }
            assertEquals(1, columns.size(), server::output);
        }
    }

    @Test
    void theTraceShowsChangesOfCarriersAndSharedCommits() throws Exception {
        try (ServerProcess server = server("--trace")) {
            int port = server.port();
            List<Future<String>> asked = new ArrayList<>();
            for (int i = 0; i < 300; i++) {
                asked.add(Waiting.inBackground(() -> Wire.ask(port, "store;bob;al;x")));
            }
            for (Future<String> one : asked) {
                assertEquals("Message accepted and stored:\n", one.get(60, TimeUnit.SECONDS));
            }
            Waiting.eventually(
                    "all conversations are closed",
                    () -> server.output().lines().filter(l -> l.endsWith("closed")).count() == 300);
            Map<String, Set<String>> carriers = new HashMap<>();
            LINE.matcher(server.output())
                    .results()
                    .forEach(line ->
                            carriers.computeIfAbsent(line.group(1), n -> new HashSet<>())
                                    .add(line.group(4)));
            assertTrue(carriers.values().stream().anyMatch(c -> c.size() > 1), server::output);
            assertTrue(
                    Pattern.compile("committed, batch of ([2-9]|\\d\\d+)\n")
                            .matcher(server.output())
                            .find(),
                    server::output);
        }
    }

    @Test
    void withPlatformThreadsAConversationNeedsNoCarrier() throws Exception {
        try (ServerProcess server = server("--trace", "--threads", "platform")) {
            assertEquals(
                    "Message accepted and stored:\n", Wire.ask(server.port(), "store;bob;al;hi"));
            Waiting.eventually(
                    "the conversation is closed", () -> steps(server, 1).contains("closed"));
            assertTrue(
                    LINE.matcher(server.output()).results().allMatch(l -> l.group(4).equals("-")),
                    server::output);
        }
    }

    @Test
    void theLogShowsTheKindOfThread() throws Exception {
        try (ServerProcess server = server("--threads", "platform")) {
            Wire.ask(server.port(), "fetch;bob");
            Waiting.eventually(
                    "the request is logged", () -> server.output().contains("no such name"));
            assertTrue(server.output().contains(" ms  platform\n"), server::output);
        }
        try (ServerProcess server = server()) {
            Wire.ask(server.port(), "fetch;bob");
            Waiting.eventually(
                    "the request is logged", () -> server.output().contains("no such name"));
            assertTrue(server.output().contains(" ms  virtual\n"), server::output);
        }
    }
}
