//JAVA 21+
//SOURCES Site.java
//SOURCES ../support/Load.java
//SOURCES ../../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Clients that go on storing whatever happens to the servers, and keep books of it: each attempt
 * has a text of its own.
 */
final class Clients implements AutoCloseable {
    private static final int MAILBOXES = 20;
    private static final Duration PAUSE = Duration.ofMillis(5); // else they take all of a machine

    private final Site site;
    private final Load.Ledger ledger = new Load.Ledger("box-", MAILBOXES);
    private final Map<String, Gap> gaps = new LinkedHashMap<>();
    private final List<Thread> threads = new ArrayList<>();
    private final AtomicInteger refused = new AtomicInteger();
    private final AtomicInteger broken = new AtomicInteger();
    private int refusedBefore;
    private int brokenBefore;
    private volatile boolean stop;

    /** How long a server has acknowledged nothing, at most, and until now. */
    private static final class Gap {
        private long last = System.nanoTime();
        private long longest;
        private boolean any;

        synchronized void end() {
            longest = Math.max(longest, System.nanoTime() - last);
            last = System.nanoTime();
            any = true;
        }

        synchronized void begin() {
            last = System.nanoTime();
            longest = 0;
            any = false;
        }

        synchronized double longestSeconds() {
            return Math.max(longest, System.nanoTime() - last) / 1e9;
        }

        synchronized double nowSeconds() {
            return (System.nanoTime() - last) / 1e9;
        }

        synchronized boolean any() {
            return any;
        }
    }

    /** Starts {@code count} clients, each of one of these servers of the page. */
    Clients(Site site, int count, String... servers) {
        this.site = site;
        for (String server : servers) {
            gaps.put(server, new Gap());
        }
        for (int i = 0; i < count; i++) {
            String sender = "client-" + i;
            String server = servers[i % servers.length];
            threads.add(Thread.ofVirtual().start(() -> run(sender, server)));
        }
    }

    private void run(String sender, String server) {
        while (!stop) {
            Protocol.Store message = ledger.next(sender);
            String request = new String(message.bytes(), StandardCharsets.UTF_8);
            Wire.Answer answer = site.answer(server, request);
            if (answer.stored()) {
                ledger.acknowledge(message);
                gaps.get(server).end();
            } else {
                (answer.whole() ? refused : broken).incrementAndGet();
            }
            try {
                Thread.sleep(PAUSE);
            } catch (InterruptedException e) {
                return;
            }
        }
    }

    /** Begins to count and to measure anew. */
    void mark() {
        gaps.values().forEach(Gap::begin);
        refusedBefore = refused.get();
        brokenBefore = broken.get();
    }

    /**
     * Waits until each server has acknowledged something for which it was asked after this call.
     */
    void awaitStoresOnAll(int seconds) throws Exception {
        int before = ledger.acknowledged();
        site.await(
                seconds,
                "stores on all servers",
                () ->
                        ledger.acknowledged() > before + 100
                                && gaps.values().stream()
                                        .allMatch(gap -> gap.any() && gap.nowSeconds() < 0.5));
    }

    /** Waits until no server has acknowledged anything for so long. */
    void awaitNoneFor(int seconds) throws Exception {
        site.await(
                seconds + 20,
                "no stores for " + seconds + " s",
                () -> gaps.values().stream().allMatch(gap -> gap.nowSeconds() > seconds));
    }

    String failures() {
        return "%d refused, %d broken"
                .formatted(refused.get() - refusedBefore, broken.get() - brokenBefore);
    }

    /** Since {@link #mark}: what failed, and for how long each server acknowledged nothing. */
    @Override
    public String toString() {
        StringBuilder all = new StringBuilder(failures());
        gaps.forEach((server, gap) ->
                all.append("; %s none for %.1f s".formatted(server, gap.longestSeconds())));
        return all.toString();
    }

    String fetch(String server, int mailbox) {
        return site.answer(server, "fetch;" + ledger.mailbox(mailbox)).text();
    }

    /** Lets each end with the answer that it waits for. */
    private void finish() throws InterruptedException {
        stop = true;
        for (Thread thread : threads) {
            thread.join();
        }
    }

    @Override
    public void close() {
        try {
            finish();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt(); // they end by themselves
        }
    }

    /** Holds all mailboxes against the books, once all clients have ended. */
    String check(String server) throws IOException, InterruptedException {
        finish();
        List<Protocol.Store> found = new ArrayList<>();
        for (int i = 0; i < MAILBOXES; i++) {
            byte[] mailbox = fetch(server, i).getBytes(StandardCharsets.UTF_8);
            Protocol.Reply reply =
                    Protocol.readReply(new ByteArrayInputStream(mailbox), found::add);
            assertEquals(Protocol.Mailbox.class, reply.getClass(), reply.toString());
        }
        List<String> problems = ledger.problems(found);
        assertEquals(
                0, problems.size(), () -> problems.subList(0, Math.min(5, problems.size())) + "");
        int acknowledged = ledger.acknowledged();
        String books =
                "through %s: %,d acknowledged, none lost, twice or out of order;"
                        + " %,d others, %d of them there";
        return books.formatted(
                server, acknowledged, refused.get() + broken.get(), found.size() - acknowledged);
    }
}
