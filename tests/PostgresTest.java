///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the store on a PostgreSQL that refuses, or whose network is bad
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Databases.java
//SOURCES support/FlakyProxy.java
//SOURCES support/Mailboxes.java
//SOURCES support/Outcomes.java
//SOURCES support/Waiting.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
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
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import java.util.logging.SimpleFormatter;

/**
 * The store's promises when PostgreSQL or the network to it fails: each acknowledged message is
 * kept once, and each refused message at most once. A refusal comes before the client's timeout.
 * The store recovers without help. {@code MessageStoreTest} covers the promises that hold on every
 * database.
 */
class PostgresTest {

    /** The client's timeout for its reply. */
    private static final Duration CLIENT_PATIENCE = Duration.ofSeconds(10);

    /** How long the store retries a message whose outcome it does not know. */
    private static final Duration RETRY_FOR = Duration.ofSeconds(5);

    private Databases.Server server;
    private String url;

    @BeforeEach
    void freshDatabase() {
        server = Databases.sharedServer();
        url = server.freshDatabase();
    }

    // ---------------------------------------------------------------- opening

    /**
     * In PostgreSQL, CREATE TABLE IF NOT EXISTS fails with 23505 (unique violation) if another
     * session creates the table at the same moment.
     */
    @Test
    void serversThatStartAtTheSameMomentShareOneTable() throws Exception {
        int servers = 3;
        try (ExecutorService threads = Executors.newFixedThreadPool(servers);
                Connection fastest = server.superuser(url);
                Statement statement = fastest.createStatement()) {
            statement.execute("SET ROLE " + Databases.USER);
            fastest.setAutoCommit(false);
            // Until this transaction commits, the other sessions do not see the table, and their
            // CREATE TABLE waits.
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
            Waiting.eventually(
                    "the other sessions wait for a lock",
                    () -> server.column(url, waiting).size() == servers);
            fastest.commit();
            for (Future<Void> start : starts) {
                start.get();
            }
        }
        assertEquals(3, texts(url, "bob").size());
    }

    /**
     * If a server starts together with its database, the database may still be starting, or may
     * have no free connection.
     */
    @Test
    void databaseWithoutAFreeConnectionExpectTheStartWaits() throws Exception {
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

    /** The driver's message names only the last host, so it hides the reasons of the others. */
    @Test
    void noHostAcceptsWritesExpectTheReasonOfEach() throws Exception {
        readOnly("on");
        String here = "127.0.0.1:" + server.port();
        String hosts = url.replace(here, "127.0.0.1:1," + here + ",nowhere.invalid");
        String sentence =
                assertThrows(MessageStore.StoreException.class, () -> new MessageStore(hosts))
                        .getMessage();
        assertTrue(sentence.contains(": 127.0.0.1:1: java.net.ConnectException: "), sentence);
        assertTrue(sentence.contains("; " + here + ": it is a standby or read-only"), sentence);
        assertTrue(
                sentence.contains("; nowhere.invalid: java.net.UnknownHostException: "), sentence);
    }

    @Test
    void onlyHostIsAStandbyExpectASentenceThatSaysSo() throws Exception {
        readOnly("on"); // the first round finds no table, and the second round finds one
        for (int i = 0; i < 2; i++) {
            String sentence =
                    assertThrows(MessageStore.StoreException.class, () -> new MessageStore(url))
                            .getMessage();
            assertTrue(
                    sentence.endsWith(": it is a standby or read-only; name all hosts"), sentence);
            readOnly("off");
            new MessageStore(url).close();
            readOnly("on");
        }
    }

    private void readOnly(String onOrOff) throws SQLException {
        String database = server.column(url, "SELECT current_database()").getFirst();
        server.run(
                "/postgres",
                "ALTER DATABASE " + database + " SET default_transaction_read_only = " + onOrOff);
    }

    @Test
    void settingsOfTheUrlOverrideDefaults() throws Exception {
        try (MessageStore ours = new MessageStore(url)) {
            ours.store("bob", "al", "hi");
            assertEquals(List.of("MsgServer"), applications());
        }
        Waiting.eventually("the store's connections end", () -> applications().isEmpty());
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
                Exception refusal =
                        assertThrows(
                                Exception.class,
                                () -> new MessageStore(place).close(),
                                "the store accepted a place with a bad password");
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
     * Each retry has the id of the first try. If each retry had a new id, this test would store
     * about 375 rows. In its 5 s for retries the store tries about ten times, so it refuses a
     * message only after about ten lost answers in a row.
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

    /**
     * After the loss of a route no reset and no answer arrives, so without a timeout the store
     * would wait for ever.
     */
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
    void connectionsEndedByTheDatabaseExpectNoRefusal() throws Exception {
        try (MessageStore store = new MessageStore(url)) {
            for (int i = 0; i < 5; i++) {
                store.store("bob", "al", "m" + i);
                assertEquals(i + 1, Mailboxes.texts(store, "bob").size());
                assertTrue(server.killBackends(url) > 0);
            }
            assertEquals(List.of("m0", "m1", "m2", "m3", "m4"), Mailboxes.texts(store, "bob"));
        }
    }

    // ---------------------------------------------------------------- refusals by the database

    @ParameterizedTest
    @ValueSource(strings = {"40001", "40P01", "40003", "25006", "57P01"})
    void temporaryFailureExpectARetryOfTheWholeBatch(String state) throws Exception {
        try (MessageStore store = new MessageStore(url)) {
            failInserts(state, 2);
            store.store("bob", "al", "hi");
            assertEquals(List.of("hi"), Mailboxes.texts(store, "bob"));
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
            assertEquals(List.of("again"), Mailboxes.texts(store, "bob"));
        }
    }

    @Test
    void lastingConflictExpectRefusalBeforeTheClientGivesUp() throws Exception {
        try (MessageStore store = new MessageStore(url)) {
            failInserts("40001", Integer.MAX_VALUE);
            Outcomes outcomes = new Outcomes();
            outcomes.store(store, "bob", "hi");
            assertEquals(List.of("hi"), List.copyOf(outcomes.refused));
            assertTrue(outcomes.slowest().compareTo(CLIENT_PATIENCE) < 0, outcomes.toString());
            assertEquals(List.of(), Mailboxes.texts(store, "bob"));
        }
    }

    /**
     * Each row may hit a conflict independently, so a large batch nearly always contains a row in
     * conflict.
     */
    @Test
    void someRowsConflictExpectTheOthersAreStoredWithoutThem() throws Exception {
        try (MessageStore store = new MessageStore(url);
                ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
            trigger("IF random() < 0.02 THEN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END IF");
            List<Future<Void>> waiting = new ArrayList<>();
            for (int i = 0; i < 300; i++) {
                waiting.add(storing(threads, store, "m" + i));
            }
            for (Future<Void> one : waiting) {
                one.get();
            }
            assertEquals(300, Set.copyOf(Mailboxes.texts(store, "bob")).size());
            assertEquals(300, Mailboxes.texts(store, "bob").size());
        }
    }

    /**
     * In an earlier version a notice of a trigger made the store refuse a message although the
     * message was stored. The notice contained the message's text, and appeared in the log.
     */
    @Test
    void triggersRaiseNoticesAndWarningsExpectStoredAtOnce() throws Exception {
        try (MessageStore store = new MessageStore(url)) {
            trigger("RAISE NOTICE 'new: %', new.text; RAISE WARNING 'new: %', new.text");
            long start = System.nanoTime();
            store.store("bob", "al", "hi");
            assertTrue(Waiting.millisSince(start) < 4_000, "the store retried a stored message");
            assertEquals(List.of("hi"), Mailboxes.texts(store, "bob"));
        }
    }

    private void trigger(String forEachRow) throws SQLException {
        server.run(
                url,
                """
                CREATE FUNCTION each() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN %s; RETURN new; END $$;
                CREATE TRIGGER each BEFORE INSERT ON message
                    FOR EACH ROW EXECUTE FUNCTION each()\
                """
                        .formatted(forEachRow));
    }

    /** A sequence counts the failures, since a rollback does not reset a sequence. */
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

    /** After a failover the old primary refuses writes, so the store has to connect again. */
    @Test
    void databaseTurnedReadOnlyExpectWritesOverANewConnection() throws Exception {
        try (MessageStore store = new MessageStore(url);
                ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
            store.store("bob", "al", "before");
            readOnly("on");
            server.killBackends(url);
            Future<Void> waiting = storing(threads, store, "during");
            readOnly("off");
            waiting.get(5, TimeUnit.SECONDS);
            assertEquals(List.of("before", "during"), Mailboxes.texts(store, "bob"));
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
                Waiting.eventually("the clock's next tick", () -> System.currentTimeMillis() > now);
                (i % 2 == 0 ? one : other).store("bob", "al", "m" + i);
                expected.add("m" + i);
            }
            assertEquals(expected, Mailboxes.texts(one, "bob"));
            assertEquals(expected, Mailboxes.texts(other, "bob"));
        }
    }

    /**
     * After this machine's clock was set back, the database's clock and the existing messages are
     * an hour ahead.
     */
    @Test
    void clockSetBackOverARestartExpectTheOrderOfTheDatabasesClock() throws Exception {
        new MessageStore(url).close();
        long hour = Duration.ofHours(1).toMillis();
        UUID id = new Ids(System.currentTimeMillis() + hour - 1_000).next();
        server.run(url, "INSERT INTO message VALUES ('bob', '" + id + "', 'al', 'before')");
        String database = server.column(url, "SELECT current_database()").getFirst();
        server.run(
                url,
                """
                CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
                    $$ SELECT pg_catalog.clock_timestamp() + interval '1 hour' $$;
                ALTER DATABASE %s SET search_path = public, pg_catalog\
                """
                        .formatted(database));
        try (MessageStore store = new MessageStore(url)) {
            store.store("bob", "al", "after");
            assertEquals(List.of("before", "after"), Mailboxes.texts(store, "bob"));
        }
    }

    // ---------------------------------------------------------------- helpers

    private static Future<Void> storing(ExecutorService threads, MessageStore store, String text) {
        return threads.submit(() -> {
            store.store("bob", "al", text);
            return null;
        });
    }

    private static List<String> texts(String place, String recipient) throws Exception {
        try (MessageStore store = new MessageStore(place)) {
            return Mailboxes.texts(store, recipient);
        }
    }
}
