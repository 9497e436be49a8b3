///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of a failing store: refusals, reports, recovery, no lost message
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Asking.java
//SOURCES support/Engine.java
//SOURCES support/Load.java
//SOURCES support/Mailboxes.java
//SOURCES support/ServerProcess.java
//SOURCES support/SmallDisk.java
//SOURCES support/Statements.java
//SOURCES support/Transport.java
//SOURCES support/Waiting.java
//SOURCES support/Wire.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.UnaryOperator;

/**
 * While the store fails, clients get a refusal. No acknowledged message is lost and no message
 * appears twice. The server recovers without help when the cause is gone.
 */
@Timeout(value = 5, unit = TimeUnit.MINUTES)
@Order(5) // long test classes start first
class StoreFaultsTest {
    @TempDir private Path folder;

    private static Engine serve(Path store, UnaryOperator<Connection> wrap) throws Exception {
        return new Engine(Transport.PLAIN, store.getParent(), Engine.ROOMY, wrap);
    }

    // ---------------------------------------------------------------- SQLException at the nth call

    /** The moments at which a planned failure occurs. */
    enum Plan {
        /** Once, before the call runs. */
        ONCE_BEFORE,
        /** Once, after the call has run, so the caller does not know its outcome. */
        ONCE_AFTER,
        /**
         * At every call from the nth on. The failures pause to let the server recover, and return
         * for its close.
         */
        FOR_EVER
    }

    /**
     * Runs many short lives of a server. In the first life the first JDBC call fails, in the second
     * life the second call, and so on, until a life has too few calls.
     */
    @ParameterizedTest
    @EnumSource
    void failureOfTheNthCallLosesNoMessageAndTheServerRecovers(Plan plan) throws Exception {
        int workers = 4;
        var next = new AtomicInteger(1);
        var last = new AtomicInteger(Integer.MAX_VALUE);
        Callable<Void> work =
                () -> {
                    for (int n; (n = next.getAndIncrement()) <= last.get(); ) {
                        var faults = new Faults(plan, n);
                        try {
                            live(Files.createDirectory(folder.resolve("n" + n)), faults);
                        } catch (Throwable e) {
                            throw new AssertionError(plan + " at call " + n + " of " + faults, e);
                        }
                        if (faults.struck == null) {
                            int untouched = n;
                            last.updateAndGet(known -> Math.min(known, untouched));
                        }
                    }
                    return null;
                };
        try (var executor = Executors.newFixedThreadPool(workers)) {
            for (Future<Void> done : executor.invokeAll(Collections.nCopies(workers, work))) {
                done.get();
            }
        }
        System.out.println(plan + ": every call from the 1st to number " + (last.get() - 1));
        assertTrue(last.get() > 50, "the plan covered too few calls: " + last);
    }

    private static void live(Path folder, Faults faults) throws Exception {
        Path store = folder.resolve("messages.db");
        var ledger = new Load.Ledger("mailbox-", 2);
        boolean openAgain = faults.plan == Plan.FOR_EVER;
        try (var served = serve(store, faults::wrap)) {
            storeAndFetch(ledger, served.port());
            faults.healed = true;
            Asking.awaitStored(ledger, served.port(), "healed");
            Asking.awaitFetched(ledger, served.port());
            faults.healed = faults.plan != Plan.FOR_EVER;
        } catch (MessageStore.StoreException e) {
            Asking.assertOneSentence(e, store);
            openAgain = true;
        }
        if (openAgain) {
            try (var served = serve(store, UnaryOperator.identity())) {
                assertEquals(Asking.STORED, Asking.store(ledger, served.port(), "later"));
                ledger.assertAllThere(served.port());
            }
        }
        ledger.assertAllThere(Load.Ledger.contentOf(store));
        assertEquals(List.of("messages.db"), ServerProcess.filesBeside(store));
    }

    private static void storeAndFetch(Load.Ledger ledger, int port) throws Exception {
        Asking.assertStoredOrNot(Asking.store(ledger, port, "first"));
        Asking.fetch(ledger, port);
        try (var clients = Executors.newVirtualThreadPerTaskExecutor()) {
            var replies = new ArrayList<Future<String>>();
            for (int i = 0; i < 3; i++) {
                String sender = "together-" + i;
                replies.add(clients.submit(() -> Asking.store(ledger, port, sender)));
            }
            for (Future<String> reply : replies) {
                Asking.assertStoredOrNot(reply.get());
            }
        }
        Asking.fetch(ledger, port);
        Asking.assertStoredOrNot(Asking.store(ledger, port, "last"));
    }

    /**
     * Counts every JDBC call on connections, statements and results, and fails the planned calls.
     */
    private static final class Faults {
        private final Plan plan;
        private final int number;
        private final AtomicInteger calls = new AtomicInteger();
        private volatile boolean healed;
        private volatile String struck;

        Faults(Plan plan, int number) {
            this.plan = plan;
            this.number = number;
        }

        Connection wrap(Connection connection) {
            return wrap(Connection.class, connection);
        }

        private <T> T wrap(Class<T> type, Object target) {
            return type.cast(
                    Proxy.newProxyInstance(
                            StoreFaultsTest.class.getClassLoader(),
                            new Class<?>[] {type},
                            (proxy, method, arguments) -> call(target, method, arguments)));
        }

        private Object call(Object target, Method method, Object[] arguments) throws Throwable {
            boolean fails = method.getDeclaringClass() != Object.class && fails(method);
            boolean closes = method.getName().equals("close");
            if (fails && !closes && plan != Plan.ONCE_AFTER) {
                throw new SQLException("planned failure");
            }
            Object result;
            try {
                result = method.invoke(target, arguments);
            } catch (InvocationTargetException e) {
                throw e.getCause();
            }
            if (fails) {
                if (result instanceof AutoCloseable open) {
                    open.close();
                }
                throw new SQLException("planned failure");
            }
            Class<?> type = method.getReturnType();
            return result != null && type.isInterface() && type.getName().startsWith("java.sql.")
                    ? wrap(type, result)
                    : result;
        }

        private boolean fails(Method method) {
            int call = calls.incrementAndGet();
            boolean once = plan == Plan.ONCE_BEFORE || plan == Plan.ONCE_AFTER;
            boolean fails = !healed && (call == number || call > number && !once);
            if (fails && struck == null) {
                struck = method.toString();
            }
            return fails;
        }

        @Override
        public String toString() {
            return calls + ", " + struck;
        }
    }

    // ---------------------------------------------------------------- replies and reports

    /** Replies to clients and reports to the operator when statements fail. */
    @Nested
    @ParameterizedClass(name = "{0}")
    @EnumSource(Transport.class)
    class Replies {
        @Parameter private Transport transport;

        private volatile String failing = "nothing";
        private Engine engine;

        @BeforeEach
        void start() throws Exception {
            engine =
                    new Engine(
                            transport,
                            folder,
                            Engine.ROOMY,
                            Statements.seenBy(sql -> {
                                if (sql.startsWith(failing)) {
                                    throw new SQLException("disk I/O error");
                                }
                            }));
        }

        /**
         * The beginning of the statement that reads a page of a mailbox. Over TLS the server first
         * looks up the mailbox's owner with another statement, which must not fail.
         */
        private static final String PAGE = "SELECT id";

        @AfterEach
        void stop() {
            engine.close();
        }

        private String ask(String request) throws IOException {
            return engine.ask(request);
        }

        @Test
        void failuresOfFetchesAreReportedSeparately() throws Exception {
            assertEquals(Wire.STORED, ask("store;bob;al;one"));
            failing = PAGE;
            for (int i = 0; i < 3; i++) {
                assertEquals(
                        "Message declined. Server is busy, try again later\n", ask("fetch;bob"));
                assertEquals(Wire.STORED, ask("store;bob;al;more"));
            }
            failing = "nothing";
            assertTrue(ask("fetch;bob").endsWith("NO MORE MESSAGES\n"));
            assertEquals(
                    List.of(
                            "Mailboxes cannot be read: disk I/O error",
                            "Mailboxes can be read again."),
                    engine.heard.troubles());
        }

        @Test
        void aMessageThatIsNotDurableIsNotAcknowledged() throws Exception {
            // The classic server acknowledged each message before writing the message to disk, so a
            // client got "accepted" for an unwritable mailbox.
            assertEquals(Wire.STORED, ask("store;bob;al;one"));
            failing = "COMMIT";
            for (int i = 0; i < 3; i++) {
                assertEquals(
                        "Message declined. Could not be stored, try again later\n",
                        ask("store;bob;al;lost"));
            }
            assertEquals(
                    "Retrieving messages...\nbob;al;one\nNO MORE MESSAGES\n",
                    ask("fetch;bob"),
                    "fetches still work");
            failing = "nothing";
            assertEquals(Wire.STORED, ask("store;bob;al;two"), "the store recovers without help");
            assertEquals(
                    "Retrieving messages...\nbob;al;one\nbob;al;two\nNO MORE MESSAGES\n",
                    ask("fetch;bob"));
            assertEquals(
                    List.of(
                            "The message store fails: disk I/O error",
                            "Messages can be stored again."),
                    engine.heard.troubles(),
                    "each report appears once for all clients");
        }

        @Test
        void anIntermittentFailureIsReportedAsLasting() throws Exception {
            // In an earlier version a store at its size limit refused 1,348 messages, although the
            // last report was a recovery.
            for (int i = 0; i < 3; i++) {
                failing = "COMMIT";
                assertEquals(Asking.NOT_STORED, ask("store;bob;al;lost"));
                failing = "nothing";
                assertEquals(Wire.STORED, ask("store;bob;al;kept"));
            }
            assertEquals(
                    List.of(
                            "The message store fails: disk I/O error",
                            "Messages can be stored again.",
                            "The message store fails: disk I/O error"),
                    engine.heard.troubles());
        }

        @Test
        void aMailboxThatCannotBeReadIsNotReportedAsEmpty() throws Exception {
            assertEquals(Wire.STORED, ask("store;bob;al;one"));
            failing = PAGE;
            assertEquals(Wire.BUSY, ask("fetch;bob"));
            assertEquals(Wire.STORED, ask("store;bob;al;two"), "stores still work");
            failing = "nothing";
            assertEquals(
                    "Retrieving messages...\nbob;al;one\nbob;al;two\nNO MORE MESSAGES\n",
                    ask("fetch;bob"));
        }

        @Test
        void aMailboxThatCannotBeReadToItsEndIsCutOff() throws Exception {
            engine.fill("bob", 40_000, "x".repeat(230)); // more than kernels buffer
            try (Wire wire = engine.slowReader()) {
                wire.send("fetch;bob").endInput();
                wire.receive(1_000);
                failing = PAGE;
                String rest = wire.receive();
                assertFalse(rest.endsWith("NO MORE MESSAGES\n"), "a partial mailbox looks whole");
                assertFalse(rest.contains("There is no such name"));
                assertFalse(rest.contains("Message declined"), "the reply contains a second reply");
            }
            Observer.Conversation ended = engine.heard.conversation();
            assertTrue(ended.outcome.startsWith("cut off: "), ended.outcome);
        }
    }

    // ---------------------------------------------------------------- a thread's own failure

    @Test
    void anErrorDuringFailureHandlingEndsNoThreadOfTheStore() throws Exception {
        // In an earlier version no thread served the queue after such an Error, so each store and
        // fetch waited for its full timeout.
        var failing = new AtomicBoolean();
        var closed = new AtomicInteger();
        UnaryOperator<Connection> noClosing =
                connection ->
                        (Connection)
                                Proxy.newProxyInstance(
                                        StoreFaultsTest.class.getClassLoader(),
                                        new Class<?>[] {Connection.class},
                                        (proxy, method, arguments) -> {
                                            if (failing.get() && method.getName().equals("close")) {
                                                closed.incrementAndGet();
                                                throw new InternalError("planned");
                                            }
                                            return method.invoke(connection, arguments);
                                        });
        Statements.Hook hook =
                sql -> {
                    if (failing.get()) {
                        throw new SQLException("planned failure");
                    }
                };
        String place = folder.resolve("messages.db").toString();
        try (var store =
                new MessageStore(
                        place,
                        Long.MAX_VALUE,
                        connection -> noClosing.apply(Statements.seenBy(hook).apply(connection)))) {
            store.store("bob", "al", "before");
            for (int i = 0; i < 8; i++) { // enough fetches to use both readers
                assertEquals(1, store.fetch("bob").nextPage().size());
            }
            failing.set(true);
            Waiting.inBackground(() -> store.store("bob", "al", "lost"));
            Waiting.inBackground(() -> store.fetch("bob").nextPage());
            Waiting.inBackground(() -> store.fetch("bob").nextPage());
            Waiting.eventually("the store closes three connections", () -> closed.get() >= 3);
            failing.set(false);
            store.store("bob", "al", "after");
            for (int i = 0; i < 8; i++) {
                List<String> texts = new ArrayList<>(Mailboxes.texts(store, "bob"));
                // The message may be stored, since its retries continue after the failures end.
                texts.remove("lost");
                assertEquals(List.of("before", "after"), texts);
            }
        }
    }

    // ---------------------------------------------------------------- a full disk

    @Test
    void fullDiskRefusesStoresServesFetchesAndRecovers() throws Exception {
        try (var disk = new SmallDisk(Files.createDirectory(folder.resolve("disk")), "size=6m")) {
            Path store = disk.folder.resolve("messages.db");
            var ledger = new Load.Ledger("mailbox-", 4);
            try (var server = new ServerProcess(disk.inside(ServerProcess.command(store)))) {
                int port = server.port();
                for (int i = 0; i < 50; i++) {
                    assertEquals(Asking.STORED, Asking.store(ledger, port, "before"));
                }
                for (int round = 0; round < 2; round++) {
                    disk.run("head -c 100M /dev/zero > balloon");
                    int refused = 0;
                    for (int i = 0; refused < 20; i++) {
                        String reply = Asking.store(ledger, port, "full");
                        Asking.assertStoredOrNot(reply);
                        refused += reply.equals(Asking.NOT_STORED) ? 1 : 0;
                        assertTrue(i < 2_000, "the disk does not get full");
                    }
                    assertTrue(Asking.fetch(ledger, port), "fetches work on a full disk");
                    disk.run("rm balloon");
                    Asking.awaitStored(ledger, port, "room-again");
                    ledger.assertAllThere(port);
                }
                assertTrue(server.errors().contains("The message store fails: "), server::errors);
                server.kill();
            }
            disk.run("head -c 100M /dev/zero > balloon");
            try (var server = new ServerProcess(disk.inside(ServerProcess.command(store)))) {
                ledger.assertAllThere(server.port());
            }
            disk.run("rm balloon");
            try (var server = new ServerProcess(disk.inside(ServerProcess.command(store)))) {
                ledger.assertAllThere(server.port());
                assertEquals(Asking.STORED, Asking.store(ledger, server.port(), "after"));
                disk.run("head -c 100M /dev/zero > balloon");
                server.signal("TERM");
                assertEquals(143, server.awaitExit(), server::errors);
            }
            disk.run("rm balloon");
            try (var server = new ServerProcess(disk.inside(ServerProcess.command(store)))) {
                ledger.assertAllThere(server.port());
                server.signal("TERM");
                assertEquals(143, server.awaitExit(), server::errors);
            }
            // In an earlier version this start failed with "I/O error within xShmMap while trying
            // to resize an existing shared memory segment".
            disk.run("head -c 40K /dev/zero > room; head -c 100M /dev/zero > balloon");
            try (var server = new ServerProcess(disk.inside(ServerProcess.command(store)))) {
                assertEquals(1, server.awaitExit(), server::output);
                assertEquals(
                        "Cannot keep messages in "
                                + store
                                + ": the disk is full; a start takes 40 KB\n",
                        server.errors());
            }
            disk.run("rm room");
            try (var server = new ServerProcess(disk.inside(ServerProcess.command(store)))) {
                ledger.assertAllThere(server.port());
                server.signal("TERM");
                assertEquals(143, server.awaitExit(), server::errors);
            }
            // In an earlier version SQLite's library, of 1,084 KB, took the room that the start
            // needed.
            disk.run("rm balloon; head -c 1100K /dev/zero > room");
            disk.run("head -c 100M /dev/zero > balloon; rm room");
            try (var server = new ServerProcess(disk.inside(ServerProcess.command(store)))) {
                ledger.assertAllThere(server.port());
            }
        }
    }

    @Test
    void databaseAtItsLimitRefusesStoresServesFetchesAndRecovers() throws Exception {
        // At its limit SQLite rolls back and returns SQLITE_FULL, as on a full disk.
        var full = new AtomicBoolean();
        var ledger = new Load.Ledger("mailbox-", 2);
        UnaryOperator<Connection> limited =
                connection ->
                        Statements.seenBy(
                                        sql -> {
                                            if (sql.startsWith("BEGIN")
                                                    && full.compareAndSet(true, false)) {
                                                Asking.execute(
                                                        connection, "PRAGMA max_page_count = 1");
                                            }
                                        })
                                .apply(connection);
        try (var served = serve(folder.resolve("messages.db"), limited)) {
            assertEquals(Asking.STORED, Asking.store(ledger, served.port(), "before"));
            full.set(true);
            int refused = 0;
            for (int i = 0; refused == 0; i++) {
                String reply = Asking.store(ledger, served.port(), "full");
                Asking.assertStoredOrNot(reply);
                refused += reply.equals(Asking.NOT_STORED) ? 1 : 0;
                assertTrue(i < 2_000, "the database does not reach its limit");
            }
            assertTrue(Asking.fetch(ledger, served.port()), "fetches work");
            Asking.awaitStored(ledger, served.port(), "room-again");
            ledger.assertAllThere(served.port());
        }
        ledger.assertAllThere(Load.Ledger.contentOf(folder.resolve("messages.db")));
    }

    // ---------------------------------------------------------------- an I/O error

    @Test
    void aDiskErrorRefusesStoresServesFetchesAndRecovers() throws Exception {
        Path store = folder.resolve("messages.db");
        var ledger = new Load.Ledger("mailbox-", 4);
        try (var server = new ServerProcess(ServerProcess.command(store))) {
            int port = server.port();
            for (int i = 0; i < 20; i++) {
                assertEquals(Asking.STORED, Asking.store(ledger, port, "before"));
            }
            // Beyond the limit each write fails with EFBIG; SQLite reports EFBIG as an I/O error.
            limitFileSize(server, "8192:");
            for (int i = 0; i < 20; i++) {
                assertEquals(Asking.NOT_STORED, Asking.store(ledger, port, "meanwhile"));
                assertTrue(Asking.fetch(ledger, port), "fetches work");
            }
            limitFileSize(server, "unlimited:");
            Asking.awaitStored(ledger, port, "afterwards");
            ledger.assertAllThere(port);
            limitFileSize(server, "8192:");
            assertEquals(Asking.NOT_STORED, Asking.store(ledger, port, "again"));
            server.kill();
        }
        try (var server = new ServerProcess(ServerProcess.command(store))) {
            ledger.assertAllThere(server.port());
            assertEquals(Asking.STORED, Asking.store(ledger, server.port(), "after"));
            server.signal("TERM");
            assertEquals(143, server.awaitExit(), server.errors());
        }
        ledger.assertAllThere(Load.Ledger.contentOf(store));
    }

    private static void limitFileSize(ServerProcess server, String limits) throws Exception {
        var command = List.of("prlimit", "--pid", Long.toString(server.pid()), "--fsize=" + limits);
        try {
            assertEquals(0, new ProcessBuilder(command).inheritIO().start().waitFor());
        } catch (IOException e) {
            Assumptions.abort("needs prlimit, of util-linux");
        }
    }

    // ---------------------------------------------------------------- a locked file

    @Test
    void lockedFileRefusesStoresServesFetchesAndRecovers() throws Exception {
        Path store = folder.resolve("messages.db");
        var ledger = new Load.Ledger("mailbox-", 2);
        try (var served = serve(store, UnaryOperator.identity());
                Connection other = DriverManager.getConnection("jdbc:sqlite:" + store)) {
            assertEquals(Asking.STORED, Asking.store(ledger, served.port(), "before"));
            Asking.execute(other, "BEGIN IMMEDIATE");
            long asked = System.nanoTime();
            assertEquals(Asking.NOT_STORED, Asking.store(ledger, served.port(), "meanwhile"));
            var took = Duration.ofNanos(System.nanoTime() - asked);
            assertTrue(took.compareTo(Duration.ofSeconds(9)) < 0, "a client waits 10 s: " + took);
            assertTrue(Asking.fetch(ledger, served.port()), "fetches work");
            Asking.execute(other, "COMMIT");
            Asking.awaitStored(ledger, served.port(), "afterwards");
            ledger.assertAllThere(served.port());
        }
        ledger.assertAllThere(Load.Ledger.contentOf(store));
    }

    @Test
    void fileLockedByAnotherProgramIsRefusedAtTheStart() throws Exception {
        Path store = folder.resolve("messages.db");
        new MessageStore(store.toString()).close();
        try (Connection other = DriverManager.getConnection("jdbc:sqlite:" + store)) {
            Asking.execute(other, "BEGIN IMMEDIATE");
            Asking.assertOneSentence(
                    assertThrows(
                            MessageStore.StoreException.class,
                            () -> new MessageStore(store.toString())),
                    store);
            Asking.execute(other, "COMMIT");
        }
        new MessageStore(store.toString()).close();
        assertEquals(List.of("messages.db"), ServerProcess.filesBeside(store));
    }
}
