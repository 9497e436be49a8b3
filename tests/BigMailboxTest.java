///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of a big mailbox, whose replies together do not fit into memory
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/ServerProcess.java
//SOURCES support/Waiting.java
//SOURCES ../store/MessageStore.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.EnumSource;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;

/**
 * A big mailbox is fetched in constant memory, while other clients request the same mailbox and do
 * not read their replies. All replies together are many times larger than the server's heap.
 *
 * <pre>jbang -Dmessages=1000000 tests/BigMailboxTest.java       instead of 200,000</pre>
 */
@ParameterizedClass(name = "{0}")
@EnumSource(Transport.class)
class BigMailboxTest {
    private static final int TURNED_AWAY = 10;
    private static final int MESSAGES = Integer.getInteger("messages", 200_000);
    private static final String FILLER = "x".repeat(80);
    private static final String HEAP = "-Xmx48m";

    /**
     * The old generation gets most of this heap; otherwise the collector uses all of the processor.
     */
    private static final List<String> SMALL_HEAP = List.of("-Xmx20m", "-Xmn4m");

    /**
     * Options for a quick start. These tests remove them, since encrypting tens of megabytes needs
     * the optimizer.
     */
    private static final List<String> UNOPTIMIZED =
            List.of("-XX:TieredStopAtLevel=1", "-XX:CompileThresholdScaling=5");

    private static final int TOO_MUCH_KIB = 150 * 1024;

    @TempDir private static Path once;

    @Parameter private Transport transport;
    @TempDir private Path folder;
    private int nonReaderCount;

    @BeforeEach
    void chooseNumberOfNonReaders() {
        // Each client over TLS costs a handshake and the encryption of its reply.
        nonReaderCount = transport == Transport.TLS ? 15 : 60;
    }

    @Test
    @EnabledOnOs(value = OS.LINUX, disabledReason = "reads /proc")
    @Timeout(value = 10, unit = TimeUnit.MINUTES)
    void bigMailboxIsFetchedInConstantMemoryWhileOthersDoNotRead() throws Exception {
        Path store = folder.resolve("messages.db");
        Files.copy(filled(), store);
        var command = ServerProcess.command(store, "--timeout", "120");
        command.addAll(List.of(transport.options(store)));
        command.removeAll(UNOPTIMIZED);
        command.add(command.indexOf("-cp"), HEAP);
        try (var server = new ServerProcess(command)) {
            int port = server.port();
            fetchSome(port, "small", 1);
            long descriptors = server.descriptors();
            long before = server.statusKib("VmRSS");
            var nonReaders = new ArrayList<Wire>();
            try {
                for (int i = 0; i < nonReaderCount; i++) {
                    nonReaders.add(nonReader(port));
                }
                for (Wire client : nonReaders) {
                    assertEquals("Retrieving", new String(client.receive(10), UTF_8));
                }
                var longest = new AtomicLong();
                Thread others = Thread.startVirtualThread(() -> storeMeanwhile(port, longest));
                long begun = System.nanoTime();
                fetchSome(port, "big", MESSAGES);
                long took = System.nanoTime() - begun;
                others.interrupt();
                others.join();
                long peak = server.statusKib("VmHWM");
                System.out.printf(
                        "%,d messages fetched in %,d ms; resident %,d KiB before, %,d at most;"
                                + " a store meanwhile took %d ms at most%n",
                        MESSAGES, took / 1_000_000, before, peak, longest.get() / 1_000_000);
                assertTrue(peak - before < TOO_MUCH_KIB, peak - before + " KiB more");
                assertTrue(longest.get() > 0, "no client stored a message meanwhile");
            } finally {
                for (Wire client : nonReaders) {
                    client.close();
                }
            }
            // The store's threads open their connections when they first need them, so the server
            // has a few more descriptors than before.
            Waiting.eventually(
                    "the descriptors of the departed clients are free",
                    () -> server.descriptors() <= descriptors + nonReaderCount / 4);
            assertEquals("", server.errors());
        }
    }

    @Test
    @EnabledOnOs(value = OS.LINUX, disabledReason = "reads /proc")
    @Timeout(value = 2, unit = TimeUnit.MINUTES)
    void unreadRepliesTakeLittleMemoryEvenIfTheHeapMayGrow() throws Exception {
        // In an earlier version 60 unread replies took 160 MB, mostly garbage. The server wrote up
        // to 4 MB of each reply to the kernel.
        Path store = folder.resolve("messages.db");
        Files.copy(filled(), store);
        var command = ServerProcess.command(store, "--timeout", "120");
        command.addAll(List.of(transport.options(store)));
        command.removeAll(UNOPTIMIZED);
        try (var server = new ServerProcess(command)) {
            int port = server.port();
            for (int i = 0; i < 50; i++) {
                fetchSome(port, "small", 1);
            }
            long before = server.statusKib("VmRSS");
            var nonReaders = new ArrayList<Wire>();
            try {
                for (int i = 0; i < nonReaderCount; i++) {
                    nonReaders.add(new Wire(transport, Wire.loopback(port), 0).send("fetch;big"));
                    nonReaders.getLast().endInput();
                }
                long[] last = {0};
                Waiting.eventually(
                        "all fetches wait",
                        () -> {
                            long was = last[0];
                            Thread.sleep(300);
                            last[0] = server.statusKib("VmRSS");
                            return last[0] == was;
                        });
                assertTrue(last[0] - before < 90 << 10, last[0] - before + " KiB more");
            } finally {
                for (Wire client : nonReaders) {
                    client.close();
                }
            }
        }
    }

    @Test
    @Timeout(value = 2, unit = TimeUnit.MINUTES)
    void clientsThatDoNotReadAreTurnedAwayWhenMemoryIsShort() throws Exception {
        Path store = folder.resolve("messages.db");
        Files.copy(filled(), store);
        var command = ServerProcess.command(store, "--timeout", "120");
        command.addAll(List.of(transport.options(store)));
        command.removeAll(UNOPTIMIZED);
        command.addAll(command.indexOf("-cp"), SMALL_HEAP);
        try (var server = new ServerProcess(command)) {
            int port = server.port();
            var nonReaders = new ArrayList<Wire>();
            int busy = 0;
            try {
                for (int i = 0; i < 300 && busy < TURNED_AWAY; i++) {
                    Wire client = nonReader(port);
                    nonReaders.add(client);
                    byte[] begin = client.receive(8);
                    busy += new String(begin, UTF_8).equals("Message ") ? 1 : 0;
                    assertTrue(Wire.answer(transport, port, "store;other;al;hi").stored());
                }
            } finally {
                for (Wire client : nonReaders) {
                    client.close();
                }
            }
            assertEquals(TURNED_AWAY, busy, "the number of refused clients");
            Waiting.eventually(
                    "a client that reads is served again",
                    () -> Wire.answer(transport, port, "fetch;small").whole());
            assertEquals("", server.errors());
        }
    }

    @BeforeAll
    static void fill() throws Exception {
        new MessageStore(filled().toString()).close();
        try (Connection connection = DriverManager.getConnection("jdbc:sqlite:" + filled())) {
            insert(connection, "small", 1);
            insert(connection, "big", MESSAGES);
        }
    }

    private static Path filled() {
        return once.resolve("filled.db");
    }

    /**
     * Inserts messages with ids of UUID version 7, as the store makes them; a higher message number
     * has a higher id.
     */
    private static void insert(Connection connection, String recipient, int count)
            throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < "
                            + count
                            + ") INSERT INTO message (recipient, id, sender, text) SELECT '"
                            + recipient
                            + "', unhex(printf('%012x70008000000000000000', 1700000000000 + i)),"
                            + " 'al', i || ' "
                            + FILLER
                            + "' FROM n");
        }
    }

    /** Fetches a mailbox of {@code count} messages and compares each line with the expected one. */
    private void fetchSome(int port, String recipient, int count) throws IOException {
        try (Wire client = new Wire(transport, Wire.loopback(port), 0);
                BufferedReader lines = client.send("fetch;" + recipient).endInput().lines()) {
            assertEquals("Retrieving messages...", lines.readLine());
            for (int i = 1; i <= count; i++) {
                String line = lines.readLine();
                if (!(recipient + ";al;" + i + " " + FILLER).equals(line)) {
                    throw new AssertionError("number " + i + " is " + line);
                }
            }
            assertEquals("NO MORE MESSAGES", lines.readLine());
            assertEquals(null, lines.readLine());
        }
    }

    private Wire nonReader(int port) throws IOException {
        return new Wire(transport, Wire.loopback(port), 4096).send("fetch;big").endInput();
    }

    private void storeMeanwhile(int port, AtomicLong longest) {
        while (!Thread.currentThread().isInterrupted()) {
            long begun = System.nanoTime();
            if (!Wire.answer(transport, port, "store;other;al;hi").stored()) {
                // The interrupt or a failure ended this store, so its time does not count.
                return;
            }
            long took = System.nanoTime() - begun;
            longest.accumulateAndGet(took, Math::max);
            LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(20));
        }
    }
}
