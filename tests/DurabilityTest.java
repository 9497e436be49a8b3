///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the store after kill -9 under load
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/ServerProcess.java
//SOURCES support/Load.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;

/**
 * After {@code kill -9} under load the store has each acknowledged message once, no torn message,
 * and each unacknowledged message at most once. This test cannot detect a missing fsync; {@code
 * PowerCutTest} does.
 *
 * <pre>jbang -Dkills=200 tests/DurabilityTest.java       200 cycles instead of 10</pre>
 */
class DurabilityTest {
    private static final int KILLS = Integer.getInteger("kills", 10);
    private static final int CLIENTS = 32;
    private static final int MAILBOXES = 4;
    private static final int MAX_BEFORE_KILL = 1_000;

    @TempDir private Path folder;

    @Test
    @Timeout(value = 60, unit = TimeUnit.MINUTES)
    void killedAgainAndAgainKeepsEachAcknowledgedMessageOnce() throws Exception {
        Path store = folder.resolve("messages.db");
        var random = new Random(KILLS);
        var ledgers = new ArrayList<Load.Ledger>();
        for (int cycle = 0; cycle < KILLS; cycle++) {
            try (var server = new ServerProcess(ServerProcess.command(store, "--quiet"))) {
                if (cycle > 0) {
                    ledgers.getLast().assertAllThere(server.port());
                }
                var ledger = new Load.Ledger("cycle-" + cycle + "-mailbox-", MAILBOXES);
                ledgers.add(ledger);
                int killAfter = 1 + random.nextInt(MAX_BEFORE_KILL);
                try (var load = new Load(server.port(), ledger, "client", CLIENTS)) {
                    load.await(() -> ledger.acknowledged() >= killAfter);
                    server.kill();
                    load.join();
                }
            }
        }
        try (var server = new ServerProcess(ServerProcess.command(store, "--quiet"))) {
            for (Load.Ledger ledger : ledgers) {
                ledger.assertAllThere(server.port());
            }
            server.signal("TERM");
            assertEquals(143, server.awaitExit(), server.errors());
        }
        assertEquals(
                List.of("messages.db"),
                ServerProcess.filesBeside(store),
                "the files left by the kills are deleted");
        int acknowledged = ledgers.stream().mapToInt(Load.Ledger::acknowledged).sum();
        System.out.printf("%d kills, %,d acknowledged messages, none lost%n", KILLS, acknowledged);
        assertTrue(acknowledged >= KILLS * CLIENTS / 2, "too little load for a valid result");
    }
}
