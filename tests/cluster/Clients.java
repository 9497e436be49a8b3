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
 * Clients that keep storing while servers fail, and record each attempt. Each attempt has a unique
 * text.
 */
final class Clients implements AutoCloseable {
    private static final int MAILBOXES = 20;
    // without pauses the clients would use all of a machine
    private static final Duration PAUSE = Duration.ofMillis(5);

    private final Site site;
    private final Load.Ledger ledger = new Load.Ledger("box-", MAILBOXES);
    private final Map<String, Gap> gaps = new LinkedHashMap<>();
    private final List<Thread> threads = new ArrayList<>();
    private final AtomicInteger refused = new AtomicInteger();
    private final AtomicInteger broken = new AtomicInteger();
    private int refusedBefore;
    private int brokenBefore;
    private volatile boolean stop;

    /** The longest and the current time in which one server acknowledged no store. */
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

    /** Starts {@code count} clients; each client uses one of {@code servers}. */
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

    /** Restarts all counters and measurements. */
    void mark() {
        gaps.values().forEach(Gap::begin);
        refusedBefore = refused.get();
        brokenBefore = broken.get();
    }

    /**
     * Waits until the servers have acknowledged 100 more stores, and each server one within the
     * last 0.5 s.
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

    /** Waits until no server has acknowledged a store for {@code seconds}. */
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

    /**
     * The failures since {@link #mark}, and each server's longest time without an acknowledged
     * store.
     */
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

    /** Ends each client after its pending reply. */
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
            Thread.currentThread().interrupt(); // the clients end by themselves, since stop is set
        }
    }

    /** Ends all clients, then compares all mailboxes with the records. */
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
