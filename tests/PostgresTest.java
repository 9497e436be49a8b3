///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the store on a PostgreSQL whose network, primary and replicas fail
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Databases.java
//SOURCES support/FlakyProxy.java
//SOURCES ../store/MessageStore.java
//SOURCES ../store/Database.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import java.util.logging.SimpleFormatter;

/**
 * What the store owes its callers when PostgreSQL or the network to it fails: an acknowledged
 * message is there once, a refused one at most once, the refusal comes before a client has given
 * up, and the store works again by itself. What holds on every database stands in MessageStoreTest.
 */
class PostgresTest {

    /** How long our client waits for its reply. */
    private static final Duration CLIENT_PATIENCE = Duration.ofSeconds(10);

    /** How long a store tries again when it does not know what became of a message. */
    private static final Duration RETRY_FOR = Duration.ofSeconds(5);

    private Databases.Server server;
    private String url;

    @BeforeEach
    void freshDatabase() {
        server = Databases.sharedServer();
        url = server.freshDatabase();
    }

    // ---------------------------------------------------------------- opening

    /** PostgreSQL lets IF NOT EXISTS fail with 23505 when another session was faster. */
    @Test
    void serversThatStartAtTheSameMomentShareOneTable() throws Exception {
        int servers = 3;
        try (ExecutorService threads = Executors.newFixedThreadPool(servers);
                Connection fastest = server.superuser(url);
                Statement statement = fastest.createStatement()) {
            statement.execute("SET ROLE " + Databases.USER);
            fastest.setAutoCommit(false);
            // As long as this is not committed the others see no table, and wait at its name.
            statement.execute(
                    "CREATE TABLE message (recipient text NOT NULL, id uuid NOT NULL, sender text"
                            + " NOT NULL, text text NOT NULL, PRIMARY KEY (recipient, id))");
            List<Future<Void>> starts = new ArrayList<>();
            for (int i = 0; i < servers; i++) {
                starts.add(
                        threads.submit(() -> {
                            try (MessageStore store = new MessageStore(url)) {
                                store.store("bob", "al", "hi");
                            }
                            return null;
                        }));
            }
            String waiting =
                    "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND"
                            + " datname = current_database()";
            await("the others", () -> server.column(url, waiting).size() == servers);
            fastest.commit();
            for (Future<Void> start : starts) {
                start.get();
            }
        }
        assertEquals(3, texts(url, "bob").size());
    }

    /** Servers that start together with their database meet it starting, or full. */
    @Test
    void databaseHasNoConnectionLeftExpectTheStartWaits() throws Exception {
        String database = server.column(url, "SELECT current_database()").getFirst();
        server.run("/postgres", "ALTER DATABASE " + database + " CONNECTION LIMIT 0");
        try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
            Future<MessageStore> opening = threads.submit(() -> new MessageStore(url));
            assertThrows(TimeoutException.class, () -> opening.get(1, TimeUnit.SECONDS));
            server.run("/postgres", "ALTER DATABASE " + database + " CONNECTION LIMIT -1");
            try (MessageStore store = opening.get(10, TimeUnit.SECONDS)) {
                store.store("bob", "al", "hi");
            }
        }
        assertEquals(List.of("hi"), texts(url, "bob"));
    }

    @Test
    void firstHostDownExpectNextHostServes() throws Exception {
        String hosts = url.replace("//127.0.0.1:", "//127.0.0.1:1,127.0.0.1:");
        try (MessageStore store = new MessageStore(hosts)) {
            store.store("bob", "al", "hi");
        }
        assertEquals(List.of("hi"), texts(url, "bob"));
    }

    @Test
    void settingsOfTheUrlWinOverOurs() throws Exception {
        try (MessageStore ours = new MessageStore(url)) {
            ours.store("bob", "al", "hi");
            assertEquals(List.of("MsgServer"), applications());
        }
        await("its connections to end", () -> applications().isEmpty());
        try (MessageStore theirs = new MessageStore(url + "&ApplicationName=mine")) {
            theirs.store("bob", "al", "hi");
            assertEquals(List.of("mine"), applications());
        }
    }

    private List<String> applications() throws Exception {
        return server.column(
                url,
                "SELECT DISTINCT application_name FROM pg_stat_activity WHERE usename = '"
                        + Databases.USER
                        + "' AND datname = current_database() AND application_name <> ''");
    }

    // ---------------------------------------------------------------- the password

    @Test
    void passwordIsNeverShown() throws Exception {
        String wrong = url.replace(Databases.PASSWORD, "wr0ng-Pw");
        List<String> places =
                List.of(
                        wrong,
                        wrong.replaceFirst("/d\\d+", "/none"),
                        wrong.replaceFirst("127.0.0.1:\\d+", "127.0.0.1:1"),
                        wrong.replaceFirst("127.0.0.1:\\d+", "nowhere.invalid"),
                        wrong.replaceFirst("127.0.0.1:\\d+", "127.0.0.1:port"),
                        wrong.replaceFirst("127.0.0.1:\\d+", "app:wr0ng-Pw@127.0.0.1:1"),
                        wrong + "&connectTimeout=soon",
                        wrong + "%",
                        "jdbc:postgresql://app:wr0ng-Pw",
                        "jdbc:postgresql:?password=wr0ng-Pw");
        StringWriter seen = new StringWriter();
        Handler log = logInto(seen);
        Logger.getLogger("").addHandler(log);
        try {
            for (String place : places) {
                MessageStore.StoreException refusal =
                        assertThrows(
                                MessageStore.StoreException.class,
                                () -> new MessageStore(place).close(),
                                "expected a refusal of a place with a bad password");
                refusal.printStackTrace(new PrintWriter(seen, true));
            }
        } finally {
            Logger.getLogger("").removeHandler(log);
        }
        List<String> giveaways =
                seen.toString().lines().filter(line -> line.contains("wr0ng-Pw")).toList();
        assertEquals(List.of(), giveaways);
        assertTrue(seen.toString().contains("authentication failed"), seen.toString());
        try (MessageStore store = new MessageStore(url)) {
            assertFalse(store.place().contains(Databases.PASSWORD), store.place());
            assertTrue(store.place().startsWith("jdbc:postgresql://127.0.0.1:"), store.place());
        }
    }

    /** The driver logs through java.util.logging, which writes to standard error. */
    private static Handler logInto(StringWriter seen) {
        return new Handler() {
            @Override
            public void publish(LogRecord record) {
                seen.append(new SimpleFormatter().format(record));
            }

            @Override
            public void flush() {}

            @Override
            public void close() {}
        };
    }

    // ---------------------------------------------------------------- answers that are lost

    /**
     * With an id made for each try this would store about 375 rows. A message is refused when ten
     * answers to it, all that the time for tries has room for, were lost one after the other.
     */
    @Test
    void answersLostBetweenStatementAndReplyExpectEveryMessageOnce() throws Exception {
        long seed = System.nanoTime();
        int stores = 4;
        int each = 75;
        try (FlakyProxy proxy = new FlakyProxy(server.port(), seed);
                ExecutorService threads = Executors.newFixedThreadPool(stores)) {
            String place = server.through(proxy.port(), url);
            Outcomes outcomes = new Outcomes();
            List<MessageStore> open = new ArrayList<>();
            List<Future<?>> running = new ArrayList<>();
            for (int i = 0; i < stores; i++) {
                open.add(new MessageStore(place));
            }
            proxy.cut(0.2);
            for (int i = 0; i < stores; i++) {
                MessageStore store = open.get(i);
                String prefix = "m" + i + "-";
                running.add(
                        threads.submit(() -> {
                            for (int n = 0; n < each; n++) {
                                outcomes.store(store, "bob", prefix + n);
                            }
                        }));
            }
            for (Future<?> one : running) {
                one.get();
            }
            proxy.cut(0);
            open.forEach(MessageStore::close);
            String context = "seed " + seed + ", " + proxy.cuts() + " answers lost, " + outcomes;
            assertTrue(proxy.cuts() >= 30, context);
            outcomes.check(texts(url, "bob"), context);
            assertTrue(outcomes.refused.size() <= 2, context);
            assertTrue(outcomes.soonestRefusal().compareTo(RETRY_FOR) >= 0, context);
        }
    }

    /** What a lost route does: no reset, no answer. Without a timeout the store waits for ever. */
    @Test
    void silentNetworkExpectRefusalBeforeTheClientGivesUpAndRecovery() throws Exception {
        try (FlakyProxy proxy = new FlakyProxy(server.port(), 1);
                MessageStore store = new MessageStore(server.through(proxy.port(), url));
                ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
            store.store("bob", "al", "before");
            Outcomes outcomes = new Outcomes();
            proxy.hold();
            List<Future<?>> waiting = new ArrayList<>();
            for (int i = 0; i < 5; i++) {
                String text = "during" + i;
                waiting.add(threads.submit(() -> outcomes.store(store, "bob", text)));
            }
            waiting.add(threads.submit(() -> outcomes.fetch(store, "bob")));
            for (Future<?> one : waiting) {
                one.get();
            }
            assertEquals(5, outcomes.refused.size(), outcomes.toString());
            assertTrue(outcomes.slowest().compareTo(CLIENT_PATIENCE) < 0, outcomes.toString());
            proxy.release();
            outcomes.storeUntilAccepted(store, "bob", "after", Duration.ofSeconds(15));
            List<String> texts = texts(url, "bob");
            outcomes.check(texts, "");
            assertEquals("before", texts.getFirst());
        }
    }

    @Test
    void connectionsEndedByTheDatabaseExpectCallersNeverNotice() throws Exception {
        try (MessageStore store = new MessageStore(url)) {
            for (int i = 0; i < 5; i++) {
                store.store("bob", "al", "m" + i);
                assertEquals(i + 1, texts(store, "bob").size());
                assertTrue(server.killBackends(url) > 0);
            }
            assertEquals(List.of("m0", "m1", "m2", "m3", "m4"), texts(store, "bob"));
        }
    }

    // ---------------------------------------------------------------- refusals by the database

    @ParameterizedTest
    @ValueSource(strings = {"40001", "40P01", "40003", "25006", "57P01"})
    void passingFailureExpectTheWholeBatchAgain(String state) throws Exception {
        try (MessageStore store = new MessageStore(url)) {
            failInserts(state, 2);
            store.store("bob", "al", "hi");
            assertEquals(List.of("hi"), texts(store, "bob"));
        }
    }

    @Test
    void lastingFailureExpectRefusalAtOnce() throws Exception {
        try (MessageStore store = new MessageStore(url)) {
            failInserts("23514", Integer.MAX_VALUE);
            Outcomes outcomes = new Outcomes();
            outcomes.store(store, "bob", "hi");
            assertEquals(List.of("hi"), List.copyOf(outcomes.refused));
            assertTrue(
                    outcomes.slowest().compareTo(Duration.ofSeconds(2)) < 0, outcomes.toString());
            server.run(url, "DROP TRIGGER fail ON message");
            store.store("bob", "al", "again");
            assertEquals(List.of("again"), texts(store, "bob"));
        }
    }

    @Test
    void conflictWithoutEndExpectRefusalBeforeTheClientGivesUp() throws Exception {
        try (MessageStore store = new MessageStore(url)) {
            failInserts("40001", Integer.MAX_VALUE);
            Outcomes outcomes = new Outcomes();
            outcomes.store(store, "bob", "hi");
            assertEquals(List.of("hi"), List.copyOf(outcomes.refused));
            assertTrue(outcomes.slowest().compareTo(CLIENT_PATIENCE) < 0, outcomes.toString());
            assertEquals(List.of(), texts(store, "bob"));
        }
    }

    /** A sequence counts the failures, since it alone is not rolled back with them. */
    private void failInserts(String state, int times) throws SQLException {
        server.run(
                url,
                """
                CREATE SEQUENCE failures;
                CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
                BEGIN
                    IF nextval('failures') <= %d THEN
                        RAISE EXCEPTION 'injected' USING ERRCODE = '%s';
                    END IF;
                    RETURN NULL;
                END $$;
                CREATE TRIGGER fail AFTER INSERT ON message
                    FOR EACH STATEMENT EXECUTE FUNCTION fail()\
                """
                        .formatted(times, state));
    }

    /** The old primary after a failover refuses writes until the connection is made anew. */
    @Test
    void databaseTurnedReadOnlyExpectWritesOverANewConnection() throws Exception {
        try (MessageStore store = new MessageStore(url);
                ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
            store.store("bob", "al", "before");
            String database = server.column(url, "SELECT current_database()").getFirst();
            server.run(
                    "/postgres",
                    "ALTER DATABASE " + database + " SET default_transaction_read_only = on");
            server.killBackends(url);
            Future<Void> waiting = storing(threads, store, "during");
            server.run(
                    "/postgres",
                    "ALTER DATABASE " + database + " RESET default_transaction_read_only");
            waiting.get(5, TimeUnit.SECONDS);
            assertEquals(List.of("before", "during"), texts(store, "bob"));
        }
    }

    // ---------------------------------------------------------------- the database away

    @Test
    void databaseKilledAndStartedAgainUnderLoadExpectNothingLostNothingTwice() throws Exception {
        try (Databases.Server own = Databases.ownServer()) {
            String place = own.freshDatabase();
            Outcomes outcomes = new Outcomes();
            AtomicBoolean stop = new AtomicBoolean();
            try (MessageStore store = new MessageStore(place);
                    ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
                List<Future<?>> clients = new ArrayList<>();
                for (int i = 0; i < 16; i++) {
                    String prefix = "c" + i + "-";
                    clients.add(
                            threads.submit(() -> {
                                for (int n = 0; !stop.get(); n++) {
                                    outcomes.store(store, "bob", prefix + n);
                                    if (outcomes.isRefusing()) {
                                        Thread.sleep(20); // as a person would, or longer
                                    }
                                }
                                return null;
                            }));
                }
                try {
                    await("some stores", () -> outcomes.stored.size() > 500);
                    own.stopImmediately();
                    await("the first refusal", () -> !outcomes.refused.isEmpty());
                    // Those that were under way are retried first; from here on it is known.
                    outcomes.timeFromNowOn();
                    int refusedSoFar = outcomes.refused.size();
                    await("refusals", () -> outcomes.refused.size() > refusedSoFar + 200);
                    Duration whileAway = outcomes.slowest();
                    // Those that are tried first take the 5 s of trying.
                    assertTrue(whileAway.toSeconds() < 4, "refused after " + whileAway);
                    own.startAgain();
                    int storedSoFar = outcomes.stored.size();
                    long start = System.nanoTime();
                    await("stores again", () -> outcomes.stored.size() > storedSoFar + 100);
                    Duration recovery = Duration.ofNanos(System.nanoTime() - start);
                    assertTrue(recovery.toSeconds() < 10, "recovered after " + recovery);
                } finally {
                    stop.set(true);
                }
                for (Future<?> client : clients) {
                    client.get();
                }
            }
            outcomes.check(texts(place, "bob"), outcomes.toString());
        }
    }

    /**
     * While no replica answers, PostgreSQL has the row on one machine and lets the commit wait.
     * When that wait ends with the connection, the row is there, but no replica has it: a retry
     * that only passes over it would acknowledge what the loss of one machine still destroys. A
     * wait that is cancelled even ends as a success, with a warning.
     */
    @Test
    void noReplicaAnswersExpectNoAcknowledgementNotEvenByARetry() throws Exception {
        try (Databases.Server own = Databases.ownServer("wal_level=replica", "max_wal_senders=2")) {
            String place = own.freshDatabase();
            String waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
            Outcomes outcomes = new Outcomes();
            AtomicBoolean stop = new AtomicBoolean();
            try (MessageStore store = new MessageStore(place);
                    ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
                Future<?> client =
                        threads.submit(() -> {
                            for (int n = 0; !stop.get(); n++) {
                                outcomes.store(store, "bob", "m" + n);
                            }
                        });
                try {
                    for (String interrupt : List.of("pg_terminate_backend", "pg_cancel_backend")) {
                        own.run(place, "ALTER SYSTEM SET synchronous_standby_names = 'away'");
                        own.run(place, "SELECT pg_reload_conf()"); // takes effect a little later
                        await("the first try", () -> !own.column(place, waiting).isEmpty());
                        int acknowledged = outcomes.stored.size();
                        String first = own.column(place, waiting).getFirst();
                        own.run(place, "SELECT " + interrupt + "(" + first + ")");
                        await(
                                "the second try",
                                () ->
                                        outcomes.stored.size() > acknowledged
                                                || own.column(place, waiting).stream()
                                                        .anyMatch(pid -> !pid.equals(first)));
                        assertEquals(acknowledged, outcomes.stored.size(), "after " + interrupt);
                        own.run(place, "ALTER SYSTEM RESET synchronous_standby_names");
                        own.run(place, "SELECT pg_reload_conf()");
                        await("stores again", () -> outcomes.stored.size() > acknowledged);
                    }
                } finally {
                    stop.set(true); // else the threads never end, and a failure is never told
                }
                client.get();
            }
            outcomes.check(texts(place, "bob"), outcomes.toString());
        }
    }

    // ---------------------------------------------------------------- order

    @Test
    void twoStoresTakeTurnsExpectTheOrderOfTheirClock() throws Exception {
        List<String> expected = new ArrayList<>();
        try (MessageStore one = new MessageStore(url);
                MessageStore other = new MessageStore(url)) {
            for (int i = 0; i < 50; i++) {
                long now = System.currentTimeMillis();
                await("the clock's next tick", () -> System.currentTimeMillis() > now);
                (i % 2 == 0 ? one : other).store("bob", "al", "m" + i);
                expected.add("m" + i);
            }
            assertEquals(expected, texts(one, "bob"));
            assertEquals(expected, texts(other, "bob"));
        }
    }

    // ---------------------------------------------------------------- helpers

    /** What became of the messages of a test, each of which has a text of its own. */
    private static final class Outcomes {
        final ConcurrentLinkedQueue<String> stored = new ConcurrentLinkedQueue<>();
        final ConcurrentLinkedQueue<String> refused = new ConcurrentLinkedQueue<>();
        private final ConcurrentLinkedQueue<Timed> times = new ConcurrentLinkedQueue<>();
        private volatile boolean refusing;
        private volatile String lastRefusal = "";
        private final ConcurrentLinkedQueue<Duration> refusals = new ConcurrentLinkedQueue<>();
        private volatile long timedFrom = System.nanoTime();

        private record Timed(long start, Duration took) {}

        void store(MessageStore store, String recipient, String text) {
            long start = System.nanoTime();
            try {
                store.store(recipient, "al", text);
                stored.add(text);
                refusing = false;
            } catch (MessageStore.StoreException e) {
                assertNotNull(e.getMessage());
                refused.add(text);
                Duration tried = Duration.ofNanos(System.nanoTime() - start);
                refusals.add(tried);
                lastRefusal = " (" + text + " after " + tried + ": " + e.getMessage() + ")";
                refusing = true;
            }
            time(start);
        }

        void fetch(MessageStore store, String recipient) {
            long start = System.nanoTime();
            assertThrows(
                    MessageStore.StoreException.class, () -> store.fetch(recipient).nextPage());
            time(start);
        }

        void storeUntilAccepted(MessageStore store, String recipient, String text, Duration limit) {
            long end = System.nanoTime() + limit.toNanos();
            int before = stored.size();
            for (int n = 0; stored.size() == before; n++) {
                assertTrue(System.nanoTime() < end, "not accepted within " + limit);
                store(store, recipient, text + n);
            }
        }

        boolean isRefusing() {
            return refusing;
        }

        /** Only requests made from now on count for {@link #slowest}. */
        void timeFromNowOn() {
            timedFrom = System.nanoTime();
        }

        private void time(long start) {
            times.add(new Timed(start, Duration.ofNanos(System.nanoTime() - start)));
        }

        Duration slowest() {
            return times.stream()
                    .filter(timed -> timed.start() - timedFrom >= 0)
                    .map(Timed::took)
                    .max(Duration::compareTo)
                    .orElseThrow();
        }

        /** Of the refusals the one that came soonest; very late if there is none. */
        Duration soonestRefusal() {
            return refusals.stream()
                    .min(Duration::compareTo)
                    .orElse(ChronoUnit.FOREVER.getDuration());
        }

        /** Every acknowledged message is there once, every refused one at most once. */
        void check(List<String> found, String context) {
            List<String> once = found.stream().distinct().toList();
            assertEquals(once.size(), found.size(), "some are there twice; " + context);
            List<String> missing = new ArrayList<>(stored);
            missing.removeAll(new HashSet<>(found));
            assertEquals(List.of(), missing, "acknowledged and not there; " + context);
        }

        @Override
        public String toString() {
            return stored.size() + " stored, " + refused.size() + " refused" + lastRefusal;
        }
    }

    private static Future<Void> storing(ExecutorService threads, MessageStore store, String text) {
        return threads.submit(() -> {
            store.store("bob", "al", text);
            return null;
        });
    }

    private static List<String> texts(String place, String recipient) throws Exception {
        try (MessageStore store = new MessageStore(place)) {
            return texts(store, recipient);
        }
    }

    private static List<String> texts(MessageStore store, String recipient) throws Exception {
        List<String> texts = new ArrayList<>();
        MessageStore.Mailbox mailbox = store.fetch(recipient);
        for (List<MessageStore.Message> page = mailbox.nextPage();
                !page.isEmpty();
                page = mailbox.nextPage()) {
            page.forEach(message -> texts.add(message.text()));
        }
        return texts;
    }

    private static void await(String what, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + Duration.ofSeconds(20).toNanos();
        while (!condition.call()) {
            assertTrue(System.nanoTime() < end, "waited 20 s in vain for " + what);
            Thread.sleep(5);
        }
    }
}
