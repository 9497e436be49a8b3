///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION The end of a store whose database does not answer
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Databases.java
//SOURCES support/ServerProcess.java
//SOURCES support/Statements.java
//SOURCES support/Waiting.java
//SOURCES support/Wire.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;

/** Ending waits for a database for a while, and not for ever; no thread is left behind. */
class EndOfAStoreTest {
    @TempDir private Path folder;

    @Test
    @DisabledOnOs(value = OS.WINDOWS, disabledReason = "has no such signals")
    void frozenPostgresqlDoesNotHoldUpTheEnd() throws Exception {
        // It took 8.1 s: each thread of the store was waited for in turn.
        try (var database = Databases.ownServer()) {
            for (int waiting : List.of(0, 1, 4)) {
                assertEndsWhileFrozen(database, waiting);
            }
        }
    }

    private static void assertEndsWhileFrozen(Databases.Server database, int waiting)
            throws Exception {
        List<String> command = ServerProcess.java("MsgServer", "0", "--bind", "127.0.0.1");
        command.addAll(List.of("--store", database.freshDatabase()));
        try (var server = new ServerProcess(command)) {
            int port = server.port();
            assertTrue(Wire.answer(port, "store;bob;al;hi").stored());
            assertTrue(Wire.answer(port, "fetch;bob").whole());
            database.freeze();
            try {
                List<Future<Wire.Answer>> clients = new ArrayList<>();
                for (int i = 0; i < waiting; i++) {
                    String request = i % 2 == 0 ? "store;bob;al;late" : "fetch;bob";
                    clients.add(Waiting.inBackground(() -> Wire.answer(port, request)));
                }
                for (Future<Wire.Answer> client : clients) {
                    assertThrows(
                            TimeoutException.class, () -> client.get(200, TimeUnit.MILLISECONDS));
                }
                long told = System.nanoTime();
                server.signal("TERM");
                assertEquals(143, server.awaitExit(Duration.ofSeconds(20)), server.errors());
                long took = Waiting.millisSince(told);
                assertTrue(took < 4_500, waiting + " waiting, ended after " + took + " ms");
            } finally {
                database.thaw();
            }
        }
    }

    @Test
    void readerThatIsStuckWhenTheStoreClosesEndsLater() throws Exception {
        // The writer, clearing what nobody would serve any more, took its order to stop, too.
        AtomicBoolean sticks = new AtomicBoolean();
        CountDownLatch stuck = new CountDownLatch(1);
        CountDownLatch goOn = new CountDownLatch(1);
        Set<Thread> threads = ConcurrentHashMap.newKeySet();
        Statements.Hook hook =
                sql -> {
                    if (Thread.currentThread().getName().startsWith("store-")) {
                        threads.add(Thread.currentThread());
                    }
                    if (sticks.get() && sql.startsWith("SELECT id, ")) {
                        stuck.countDown();
                        Waiting.until(goOn);
                    }
                };
        String place = folder.resolve("messages.db").toString();
        MessageStore store = new MessageStore(place, Long.MAX_VALUE, Statements.seenBy(hook));
        store.store("bob", "al", "hi");
        sticks.set(true);
        Future<?> fetching = Waiting.inBackground(() -> store.fetch("bob").nextPage());
        Waiting.until(stuck);
        long closing = System.nanoTime();
        store.close(Duration.ofMillis(300));
        assertTrue(Waiting.millisSince(closing) < 2_000, "it has one deadline");
        var refused =
                assertThrows(ExecutionException.class, () -> fetching.get(5, TimeUnit.SECONDS));
        assertEquals("the message store is closed", refused.getCause().getMessage());
        goOn.countDown();
        Waiting.eventually("its threads end", () -> threads.stream().noneMatch(Thread::isAlive));
        assertTrue(threads.size() >= 2, threads.toString());
    }
}
