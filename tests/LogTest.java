///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the server's log: blocked output, Errors, hostile texts
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Waiting.java
//SOURCES ../MsgServer.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.Writer;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.stream.IntStream;

/**
 * The server's log: while its output is blocked, it drops only lines of requests, never a report or
 * its last line.
 */
class LogTest {
    private static final InetSocketAddress PEER = new InetSocketAddress("127.0.0.1", 1);

    private final StringWriter out = new StringWriter();
    private final StringWriter err = new StringWriter();

    private static void close(
            RequestLog log, int number, Protocol.Request request, String outcome) {
        var ended = new Observer.Conversation(number, PEER) {};
        ended.request = request;
        ended.outcome = outcome;
        log.step(Observer.Step.CLOSED, ended);
    }

    @Test
    void whileOutputIsBlockedTheLogDropsOnlyLinesOfRequests() throws Exception {
        var taken = new CountDownLatch(1);
        var terminal = // a terminal whose output the user has stopped with Ctrl+S
                new PrintWriter(out) {
                    @Override
                    public void flush() {
                        try {
                            taken.await();
                        } catch (InterruptedException e) {
                            throw new AssertionError(e);
                        }
                        super.flush();
                    }
                };
        var log = new RequestLog(terminal, new PrintWriter(err), false);
        log.open();
        for (int i = 1; i <= 12_000; i++) {
            close(log, i, new Protocol.Fetch("bob"), "no such name");
            if (i % 2_000 == 0) {
                log.report("Trouble " + i + ".");
            }
        }
        taken.countDown();
        Waiting.eventually("the log continues", () -> err.toString().contains("Trouble 12000."));
        log.close("Goodbye.");
        List<String> troubles = err.toString().lines().toList();
        assertEquals(6, troubles.size(), troubles.toString());
        assertTrue(troubles.getLast().endsWith("  Trouble 12000."), troubles.toString());
        String lines = out.toString();
        assertTrue(lines.contains(" lines were left out: the log could not follow)"), lines);
        assertEquals("Goodbye.", lines.lines().toList().getLast());
    }

    @Test
    void anErrorLosesOneLineAndDoesNotEndTheLog() {
        // In an earlier version the Error ended the log's thread, and the log showed no later
        // event.
        var broken =
                new Writer() {
                    @Override
                    public void write(char[] text, int from, int length) {
                        String written = new String(text, from, length);
                        if (written.contains("broken")) {
                            throw new StackOverflowError("as if");
                        }
                        out.write(text, from, length);
                    }

                    @Override
                    public void flush() {}

                    @Override
                    public void close() {}
                };
        var log = new RequestLog(new PrintWriter(broken), new PrintWriter(broken), false);
        log.open();
        close(log, 1, new Protocol.Fetch("broken"), "no such name");
        log.report("broken");
        close(log, 2, new Protocol.Fetch("bob"), "no such name");
        log.report("The message store fails: as if");
        log.close("Goodbye.");
        String lines = out.toString();
        assertTrue(lines.contains("  #2  127.0.0.1:1  fetch bob  ->  no such name"), lines);
        assertTrue(lines.contains("(2 lines were left out"), lines);
        assertTrue(lines.contains("  The message store fails: as if"), lines);
        assertEquals("Goodbye.", lines.lines().toList().getLast());
    }

    @Test
    void aLineOfAStoreFitsAHundredColumns() {
        var log = new RequestLog(new PrintWriter(out), new PrintWriter(err), false);
        close(log, 1_000, new Protocol.Store("Kyriakos", "george", "hi"), "stored");
        log.close("Goodbye.");
        // A line at a terminal lacks the date and the offset from UTC, which have 17 characters. A
        // client's port may have four digits more than here.
        String line = out.toString().lines().findFirst().orElseThrow().substring(17);
        assertTrue(line.length() <= 100 - "5000".length(), line);
    }

    @Test
    void noLineIsLongerThanAThousandBytesOrLosesItsEnd() {
        String[] outcomes = {"cut off: ", "Message declined. ", "failed: "};
        var log = new RequestLog(new PrintWriter(out), new PrintWriter(err), false);
        String name = "\u00ad".repeat(61);
        for (String outcome : outcomes) {
            close(log, 1, new Protocol.Store(name, name, "hi"), outcome);
            close(log, 2, null, outcome + "\u001b[2J\n".repeat(10_000));
            close(log, 3, new Protocol.Fetch("bob"), outcome + "γ".repeat(10_000));
            log.report(outcome + "\n".repeat(10_000));
        }
        log.close("Goodbye.");
        List<String> lines = out.toString().lines().toList();
        assertEquals(3 * outcomes.length + 1, lines.size());
        assertTrue(
                IntStream.range(0, lines.size() - 1)
                        .allMatch(i -> lines.get(i).matches(".* ms  platform")),
                lines::toString);
        assertEquals(outcomes.length, err.toString().lines().count());
        (out.toString() + err)
                .lines()
                .forEach(line ->
                        assertTrue(line.getBytes(StandardCharsets.UTF_8).length <= 1_000, line));
    }
}
