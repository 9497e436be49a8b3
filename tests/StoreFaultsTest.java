///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION The server while its store fails, and afterwards
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/ServerProcess.java
//SOURCES support/Load.java
//SOURCES support/Statements.java
//SOURCES ../Protocol.java
//SOURCES ../store/MessageStore.java
//SOURCES ../MsgServer.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.UnaryOperator;

/**
 * A store that fails: what clients are told meanwhile, that nothing acknowledged goes missing and
 * nothing appears twice, and that the server works again by itself when the cause is gone.
 */
@Timeout(value = 5, unit = TimeUnit.MINUTES)
class StoreFaultsTest {
    private static final String STORED = "Message accepted and stored:\n";
    private static final String NOT_STORED =
            "Message declined. Could not be stored, try again later\n";
    private static final String BUSY = "Message declined. Server is busy, try again later\n";

    /** Where a database file says how long its pages are (sqlite.org/fileformat.html). */
    private static final int PAGE_SIZE_AT = 16;

    /** First byte of a page that holds messages and leads to no other (sqlite.org/fileformat). */
    private static final int LEAF_PAGE = 10;

    private static final Duration RECOVERY = Duration.ofSeconds(5);

    @TempDir private Path folder;

    // ---------------------------------------------------------------- SQLException at the nth call

    /** When the planned failures strike. */
    enum Plan {
        /** Once, before the call has done anything. */
        ONCE_BEFORE,
        /** Once, after the call was carried out: nobody knows. */
        ONCE_AFTER,
        /** From then on; healed to see it recover, and again for ever when it closes. */
        FOR_EVER
    }

    /**
     * Fails the first, second, third ... JDBC call of a short life of the server, until a life goes
     * by untouched.
     */
    @ParameterizedTest
    @EnumSource
    void failureOfTheNthCallLosesNothingAndIsRecoveredFrom(Plan plan) throws Exception {
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
        assertTrue(last.get() > 50, "too few calls to have been the real ones: " + last);
    }

    private static void live(Path folder, Faults faults) throws Exception {
        Path store = folder.resolve("messages.db");
        var ledger = new Load.Ledger("mailbox-", 2);
        boolean openAgain = faults.plan == Plan.FOR_EVER;
        try (var served = Served.open(store, faults::wrap)) {
            storeAndFetch(ledger, served.port());
            faults.healed = true;
            awaitStored(ledger, served.port(), "healed");
            awaitFetched(ledger, served.port());
            faults.healed = faults.plan != Plan.FOR_EVER;
        } catch (MessageStore.StoreException e) {
            assertOneSentence(e, store);
            openAgain = true;
        }
        if (openAgain) {
            try (var served = Served.open(store, UnaryOperator.identity())) {
                assertEquals(STORED, store(ledger, served.port(), "later"));
                ledger.assertAllThere(served.port());
            }
        }
        ledger.assertAllThere(Load.Ledger.contentOf(store));
        assertEquals(List.of("messages.db"), ServerProcess.filesBeside(store));
    }

    private static void storeAndFetch(Load.Ledger ledger, int port) throws Exception {
        assertStoredOrNot(store(ledger, port, "first"));
        fetch(ledger, port);
        try (var clients = Executors.newVirtualThreadPerTaskExecutor()) {
            var replies = new ArrayList<Future<String>>();
            for (int i = 0; i < 3; i++) {
                String sender = "together-" + i;
                replies.add(clients.submit(() -> store(ledger, port, sender)));
            }
            for (Future<String> reply : replies) {
                assertStoredOrNot(reply.get());
            }
        }
        fetch(ledger, port);
        assertStoredOrNot(store(ledger, port, "last"));
    }

    private static void assertStoredOrNot(String reply) {
        assertTrue(List.of(STORED, NOT_STORED).contains(reply), reply);
    }

    private static String store(Load.Ledger ledger, int port, String sender) {
        Protocol.Store message = ledger.next(sender);
        Wire.Answer answer = Wire.answer(port, new String(message.bytes(), StandardCharsets.UTF_8));
        if (answer.stored()) {
            ledger.acknowledge(message);
        }
        return answer.end() == null ? answer.text() : answer.toString();
    }

    /** What is fetched is right, or nothing is. */
    private static boolean fetch(Load.Ledger ledger, int port) throws IOException {
        try {
            ledger.assertAllThere(port);
            return true;
        } catch (IOException e) {
            assertEquals("no mailbox: Refused[text=" + BUSY.strip() + "]", e.getMessage());
            return false;
        }
    }

    private static void awaitStored(Load.Ledger ledger, int port, String sender) throws Exception {
        long giveUp = System.nanoTime() + RECOVERY.toNanos();
        for (String reply; !(reply = store(ledger, port, sender)).equals(STORED); ) {
            assertEquals(NOT_STORED, reply);
            assertTrue(System.nanoTime() < giveUp, "does not work again by itself");
            Thread.sleep(10);
        }
    }

    private static void awaitFetched(Load.Ledger ledger, int port) throws Exception {
        long giveUp = System.nanoTime() + RECOVERY.toNanos();
        while (!fetch(ledger, port)) {
            assertTrue(System.nanoTime() < giveUp, "does not work again by itself");
            Thread.sleep(10);
        }
    }

    private static void assertOneSentence(MessageStore.StoreException e, Path store) {
        assertTrue(
                e.getMessage().startsWith("Cannot keep messages in " + store + ": "), e::toString);
        assertEquals(1, e.getMessage().lines().count(), e::toString);
    }

    /** Counts every JDBC call, on connections, statements and results, and fails some. */
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
            return type.isInterface() && type.getName().startsWith("java.sql.")
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

    /** An engine in this process, with the store it serves from. */
    private record Served(MessageStore store, MsgServer server) implements AutoCloseable {
        static Served open(Path file, UnaryOperator<Connection> wrap) throws Exception {
            var store = new MessageStore(file.toString(), wrap);
            var listener =
                    new Listener() {
                        @Override
                        public void step(Step step, Conversation conversation) {}

                        @Override
                        public void trouble(String sentence) {}
                    };
            var server =
                    new MsgServer(
                            new InetSocketAddress(InetAddress.getLoopbackAddress(), 0),
                            store,
                            new Limits(Duration.ofSeconds(10), 100, Duration.ofSeconds(2)),
                            listener,
                            Thread.ofVirtual());
            server.start();
            return new Served(store, server);
        }

        int port() {
            return server.port();
        }

        @Override
        public void close() {
            server.close();
            store.close();
        }
    }

    // ---------------------------------------------------------------- a full disk

    @Test
    void fullDiskRefusesStoresServesFetchesAndRecovers() throws Exception {
        try (var disk = new SmallDisk(Files.createDirectory(folder.resolve("disk")))) {
            Path store = disk.folder.resolve("messages.db");
            var ledger = new Load.Ledger("mailbox-", 4);
            try (var server = new ServerProcess(disk.inside(ServerProcess.command(store)))) {
                int port = server.port();
                for (int i = 0; i < 50; i++) {
                    assertEquals(STORED, store(ledger, port, "before"));
                }
                for (int round = 0; round < 2; round++) {
                    disk.run("head -c 100M /dev/zero > balloon");
                    int refused = 0;
                    for (int i = 0; refused < 20; i++) {
                        String reply = store(ledger, port, "full");
                        assertStoredOrNot(reply);
                        refused += reply.equals(NOT_STORED) ? 1 : 0;
                        assertTrue(i < 2_000, "it does not get full");
                    }
                    assertTrue(fetch(ledger, port), "fetches work on a full disk");
                    disk.run("rm balloon");
                    awaitStored(ledger, port, "room-again");
                    ledger.assertAllThere(port);
                }
                assertTrue(server.errors().contains("The message store fails: "), server::errors);
                server.kill();
            }
            disk.run("rm -r messages.db.driver; head -c 100M /dev/zero > balloon");
            try (var server = new ServerProcess(disk.inside(ServerProcess.command(store)))) {
                assertEquals(1, server.awaitExit(Duration.ofSeconds(30)), "started on a full disk");
                assertEquals(1, server.errors().lines().count(), server::errors);
            }
            disk.run("rm balloon");
            try (var server = new ServerProcess(disk.inside(ServerProcess.command(store)))) {
                ledger.assertAllThere(server.port());
                assertEquals(STORED, store(ledger, server.port(), "after"));
                disk.run("head -c 100M /dev/zero > balloon");
                server.signal("TERM");
                assertEquals(143, server.awaitExit(Duration.ofSeconds(30)), server::errors);
            }
            disk.run("rm balloon");
            try (var server = new ServerProcess(disk.inside(ServerProcess.command(store)))) {
                ledger.assertAllThere(server.port());
            }
        }
    }

    /** A disk of a few MB, seen only by a shell that holds it and by processes put inside. */
    private static final class SmallDisk implements AutoCloseable {
        private static final String END = "end-of-output";

        private final Path folder;
        private final Process shell;
        private final BufferedWriter input;
        private final BufferedReader answers;

        SmallDisk(Path folder) throws IOException {
            this.folder = folder;
            var command = List.of("unshare", "--user", "--map-root-user", "--mount", "sh");
            Process started = null;
            try {
                started = new ProcessBuilder(command).redirectErrorStream(true).start();
            } catch (IOException e) {
                Assumptions.abort("needs unshare, of util-linux");
            }
            shell = started;
            input = shell.outputWriter();
            answers = shell.inputReader();
            String mounted =
                    run("mount -t tmpfs -o size=6m none '" + folder + "' && cd '" + folder + "'");
            if (!mounted.isEmpty()) {
                shell.destroyForcibly();
                Assumptions.abort("needs leave to mount in a namespace of its own: " + mounted);
            }
        }

        /** Runs a line of shell there, and returns what it printed. */
        String run(String line) throws IOException {
            input.write(line + "; echo; echo " + END + "\n");
            input.flush();
            var text = new StringBuilder();
            for (String read; (read = answers.readLine()) != null && !read.equals(END); ) {
                text.append(read);
            }
            return text.toString();
        }

        List<String> inside(List<String> command) {
            var inside = new ArrayList<>(List.of("nsenter", "--preserve-credentials", "--user"));
            inside.addAll(List.of("--mount", "--target", Long.toString(shell.pid()), "--"));
            inside.addAll(command);
            return inside;
        }

        @Override
        public void close() {
            shell.destroyForcibly();
        }
    }

    @Test
    void databaseAtItsLimitRefusesStoresServesFetchesAndRecovers() throws Exception {
        // SQLITE_FULL as on a full disk, without one: SQLite has rolled back by itself.
        var full = new AtomicBoolean();
        var ledger = new Load.Ledger("mailbox-", 2);
        UnaryOperator<Connection> limited =
                connection ->
                        Statements.seenBy(
                                        sql -> {
                                            if (sql.startsWith("BEGIN")
                                                    && full.compareAndSet(true, false)) {
                                                execute(connection, "PRAGMA max_page_count = 1");
                                            }
                                        })
                                .apply(connection);
        try (var served = Served.open(folder.resolve("messages.db"), limited)) {
            assertEquals(STORED, store(ledger, served.port(), "before"));
            full.set(true);
            int refused = 0;
            for (int i = 0; refused == 0; i++) {
                String reply = store(ledger, served.port(), "full");
                assertStoredOrNot(reply);
                refused += reply.equals(NOT_STORED) ? 1 : 0;
                assertTrue(i < 2_000, "it does not get full");
            }
            assertTrue(fetch(ledger, served.port()), "fetches work");
            awaitStored(ledger, served.port(), "room-again");
            ledger.assertAllThere(served.port());
        }
        ledger.assertAllThere(Load.Ledger.contentOf(folder.resolve("messages.db")));
    }

    // ---------------------------------------------------------------- an I/O error

    @Test
    void errorOfTheDiskRefusesStoresServesFetchesAndRecovers() throws Exception {
        Path store = folder.resolve("messages.db");
        var ledger = new Load.Ledger("mailbox-", 4);
        try (var server = new ServerProcess(ServerProcess.command(store))) {
            int port = server.port();
            for (int i = 0; i < 20; i++) {
                assertEquals(STORED, store(ledger, port, "before"));
            }
            // Beyond the limit each write fails with EFBIG, which to SQLite is an I/O error.
            limitFileSize(server, "8192:");
            for (int i = 0; i < 20; i++) {
                assertEquals(NOT_STORED, store(ledger, port, "meanwhile"));
                assertTrue(fetch(ledger, port), "fetches work");
            }
            limitFileSize(server, "unlimited:");
            awaitStored(ledger, port, "afterwards");
            ledger.assertAllThere(port);
            limitFileSize(server, "8192:");
            assertEquals(NOT_STORED, store(ledger, port, "again"));
            server.kill();
        }
        try (var server = new ServerProcess(ServerProcess.command(store))) {
            ledger.assertAllThere(server.port());
            assertEquals(STORED, store(ledger, server.port(), "after"));
            server.signal("TERM");
            assertEquals(143, server.awaitExit(Duration.ofSeconds(10)), server.errors());
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
        try (var served = Served.open(store, UnaryOperator.identity());
                Connection other = DriverManager.getConnection("jdbc:sqlite:" + store)) {
            assertEquals(STORED, store(ledger, served.port(), "before"));
            execute(other, "BEGIN IMMEDIATE");
            long asked = System.nanoTime();
            assertEquals(NOT_STORED, store(ledger, served.port(), "meanwhile"));
            var took = Duration.ofNanos(System.nanoTime() - asked);
            assertTrue(took.compareTo(Duration.ofSeconds(9)) < 0, "a client waits 10 s: " + took);
            assertTrue(fetch(ledger, served.port()), "fetches work");
            execute(other, "COMMIT");
            awaitStored(ledger, served.port(), "afterwards");
            ledger.assertAllThere(served.port());
        }
        ledger.assertAllThere(Load.Ledger.contentOf(store));
    }

    @Test
    void fileLockedByAnotherProgramIsRefusedAtTheStart() throws Exception {
        Path store = folder.resolve("messages.db");
        new MessageStore(store.toString()).close();
        try (Connection other = DriverManager.getConnection("jdbc:sqlite:" + store)) {
            execute(other, "BEGIN IMMEDIATE");
            assertOneSentence(
                    assertThrows(
                            MessageStore.StoreException.class,
                            () -> new MessageStore(store.toString())),
                    store);
            execute(other, "COMMIT");
        }
        new MessageStore(store.toString()).close();
        assertEquals(List.of("messages.db"), ServerProcess.filesBeside(store));
    }

    private static void execute(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    // ---------------------------------------------------------------- no database of ours

    /** Files that a server must neither serve from nor change. */
    enum Foreign {
        TEXT {
            @Override
            void make(Path file) throws IOException {
                Files.writeString(file, "Dear diary,\n".repeat(1_000));
            }
        },
        ONLY_A_HEADER {
            @Override
            void make(Path file) throws IOException {
                byte[] bytes = new byte[8192];
                new Random(1).nextBytes(bytes);
                byte[] header = "SQLite format 3\0".getBytes(StandardCharsets.US_ASCII);
                System.arraycopy(header, 0, bytes, 0, header.length);
                Files.write(file, bytes);
            }
        },
        TABLES_OF_ANOTHER_PROGRAM {
            @Override
            void make(Path file) throws SQLException {
                sql(file, "CREATE TABLE bookmark (url TEXT)");
            }
        },
        MESSAGES_OF_ANOTHER_PROGRAM {
            @Override
            void make(Path file) throws SQLException {
                sql(file, "CREATE TABLE message (recipient TEXT, id BLOB, sender TEXT, text TEXT)");
            }
        },
        MARK_OF_ANOTHER_PROGRAM {
            @Override
            void make(Path file) throws SQLException {
                sql(file, "PRAGMA application_id = 252006673");
            }
        },
        OUR_MARK_WITH_OTHER_COLUMNS {
            @Override
            void make(Path file) throws Exception {
                new MessageStore(file.toString()).close();
                sql(file, "ALTER TABLE message RENAME COLUMN text TO body");
            }
        },
        FOLDER {
            @Override
            void make(Path file) throws IOException {
                Files.createDirectory(file);
            }
        };

        abstract void make(Path file) throws Exception;

        private static void sql(Path file, String sql) throws SQLException {
            try (Connection connection = DriverManager.getConnection("jdbc:sqlite:" + file)) {
                execute(connection, sql);
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void startRefusesWhatIsNoStoreOfOursAndLeavesItAsItIs(Foreign foreign) throws Exception {
        Path store = folder.resolve("messages.db");
        foreign.make(store);
        byte[] before = foreign == Foreign.FOLDER ? null : Files.readAllBytes(store);
        assertOneSentence(
                assertThrows(
                        MessageStore.StoreException.class,
                        () -> new MessageStore(store.toString()).close()),
                store);
        assertArrayEquals(before, foreign == Foreign.FOLDER ? null : Files.readAllBytes(store));
        assertEquals(List.of("messages.db"), ServerProcess.filesBeside(store));
    }

    @Test
    void commandRefusesWhatIsNoStoreInOneSentence() throws Exception {
        Path store = folder.resolve("messages.db");
        Foreign.TEXT.make(store);
        try (var server = new ServerProcess(ServerProcess.command(store))) {
            assertEquals(1, server.awaitExit(Duration.ofSeconds(30)));
            assertEquals("", server.output());
            assertTrue(server.errors().matches("Cannot keep messages in .+\n"), server::errors);
        }
    }

    // ---------------------------------------------------------------- corrupted pages

    @ParameterizedTest
    @ValueSource(strings = {"zeros", "noise", "cut"})
    void corruptedPagesSpoilOnlyTheirOwnMailboxes(String kind) throws Exception {
        Path store = folder.resolve("messages.db");
        int mailboxes = 60;
        var ledger = new Load.Ledger("mailbox-", mailboxes);
        fill(store, ledger, 3_000);
        corrupt(store, kind);
        try (var served = Served.open(store, UnaryOperator.identity())) {
            int spoiled = 0;
            for (int i = 0; i < mailboxes; i++) {
                Wire.Answer answer = Wire.answer(served.port(), "fetch;" + ledger.mailbox(i));
                List<Protocol.Store> found = new ArrayList<>();
                boolean whole = answer.whole() && !answer.text().equals(BUSY);
                spoiled += whole ? 0 : 1;
                if (whole) {
                    Protocol.readReply(
                            new ByteArrayInputStream(
                                    answer.text().getBytes(StandardCharsets.UTF_8)),
                            found::add);
                    assertEquals(
                            List.of(), ledger.problemsOfMailbox(ledger.mailbox(i), found), kind);
                }
            }
            System.out.printf("%s: %d of %d mailboxes spoiled%n", kind, spoiled, mailboxes);
            assertTrue(spoiled > 0, "corruption of nothing");
            // A file that was cut may lack pages of the tree as well, which lead to many leaves.
            int most = kind.equals("cut") ? mailboxes : mailboxes / 3;
            assertTrue(spoiled < most, spoiled + " spoiled");
            int stored = 0;
            for (int i = 0; i < mailboxes; i++) {
                String reply = store(ledger, served.port(), "afterwards");
                assertStoredOrNot(reply);
                stored += reply.equals(STORED) ? 1 : 0;
            }
            assertTrue(stored > (kind.equals("cut") ? 0 : mailboxes / 2), stored + " stored");
        } catch (MessageStore.StoreException e) {
            assertOneSentence(e, store); // to refuse all of it is just as good
        }
    }

    private static void fill(Path store, Load.Ledger ledger, int count) throws Exception {
        try (var full = new MessageStore(store.toString());
                var clients = Executors.newVirtualThreadPerTaskExecutor()) {
            var work = new ArrayList<Future<?>>();
            for (int i = 0; i < 30; i++) {
                String sender = "sender-" + i;
                work.add(
                        clients.submit(() -> {
                            for (int n = 0; n < count / 30; n++) {
                                Protocol.Store m = ledger.next(sender);
                                full.store(m.recipient(), m.sender(), m.message());
                                ledger.acknowledge(m);
                            }
                            return null;
                        }));
            }
            for (Future<?> done : work) {
                done.get();
            }
        }
    }

    /** Three pages of messages in the middle, or the last tenth of the file. */
    private static void corrupt(Path store, String kind) throws IOException {
        try (var file = new RandomAccessFile(store.toFile(), "rw")) {
            file.seek(PAGE_SIZE_AT);
            int page = file.readUnsignedShort();
            long pages = file.length() / page;
            if (kind.equals("cut")) {
                file.setLength(pages * 9 / 10 * page);
                return;
            }
            byte[] bytes = new byte[page];
            for (int i = 1; i <= 3; i++) {
                if (kind.equals("noise")) {
                    new Random(i).nextBytes(bytes);
                }
                long at = pages * i / 4 * page;
                file.seek(at);
                while (file.read() != LEAF_PAGE) {
                    at += page;
                    file.seek(at);
                }
                file.seek(at);
                file.write(bytes);
            }
        }
    }
}
