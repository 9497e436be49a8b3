///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the store on a PostgreSQL that is killed, or waits for its replicas
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Databases.java
//SOURCES support/Mailboxes.java
//SOURCES support/Outcomes.java
//SOURCES support/Statements.java
//SOURCES support/Waiting.java
//SOURCES ../store/Owners.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

import java.sql.Connection;
import java.sql.Statement;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;

/** A PostgreSQL that is killed and restarted, and a PostgreSQL whose replicas do not answer. */
class PostgresAwayTest {

    @Test
    void databaseRestartedUnderLoadExpectNoMessageLostOrTwice() throws Exception {
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
                                        Thread.sleep(20); // a person would wait as long, or longer
                                    }
                                }
                                return null;
                            }));
                }
                try {
                    Waiting.eventually("some stores", () -> outcomes.stored.size() > 500);
                    own.stopImmediately();
                    Waiting.eventually(
                            "the store refuses a message", () -> !outcomes.refused.isEmpty());
                    // The store retries the pending messages for 5 s. After their refusal the store
                    // cannot connect, and refuses each message at once. The test times these
                    // refusals.
                    outcomes.timeFromNowOn();
                    int refusedSoFar = outcomes.refused.size();
                    Waiting.eventually(
                            "refusals", () -> outcomes.refused.size() > refusedSoFar + 200);
                    Duration whileAway = outcomes.slowest();
                    // with retries a refusal would take 5 s
                    assertTrue(whileAway.toSeconds() < 4, "refused after " + whileAway);
                    own.startAgain();
                    int storedSoFar = outcomes.stored.size();
                    long start = System.nanoTime();
                    Waiting.eventually(
                            "the store accepts messages again",
                            () -> outcomes.stored.size() > storedSoFar + 100);
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
     * While no replica answers, PostgreSQL has the row on one machine and blocks the commit. If the
     * connection ends during this wait, the row exists, but no replica has it. If a retry only
     * skipped the existing row, the store would acknowledge a message that the loss of one machine
     * destroys. If an operator cancels the wait, PostgreSQL even reports success, with a warning.
     *
     * <p>By its settings this database neither waits nor warns, so the store has to request both.
     * The test resets the session's settings before each statement, like a pooler that gives each
     * transaction another connection. So the store has to request both in each transaction.
     */
    @Test
    void noReplicaAnswersExpectNoAcknowledgementAndNoneByARetry() throws Exception {
        try (Databases.Server own = Databases.ownServer("wal_level=replica", "max_wal_senders=2")) {
            String place = own.freshDatabase();
            String database = place.replaceFirst(".*/(\\w+).*", "ALTER DATABASE $1 SET ");
            own.run(place, database + "synchronous_commit = off");
            own.run(place, database + "client_min_messages = error");
            String waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
            Outcomes outcomes = new Outcomes();
            AtomicBoolean stop = new AtomicBoolean();
            try (MessageStore store =
                            new MessageStore(place, Long.MAX_VALUE, PostgresAwayTest::pooled);
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
                        Waiting.eventually(
                                "the first commit waits for a replica",
                                () -> !own.column(place, waiting).isEmpty());
                        int acknowledged = outcomes.stored.size();
                        String first = own.column(place, waiting).getFirst();
                        own.run(place, "SELECT " + interrupt + "(" + first + ")");
                        Waiting.eventually(
                                "the store retries the commit",
                                () ->
                                        outcomes.stored.size() > acknowledged
                                                || own.column(place, waiting).stream()
                                                        .anyMatch(pid -> !pid.equals(first)));
                        assertEquals(acknowledged, outcomes.stored.size(), "after " + interrupt);
                        own.run(place, "ALTER SYSTEM RESET synchronous_standby_names");
                        own.run(place, "SELECT pg_reload_conf()");
                        Waiting.eventually(
                                "the store accepts messages again",
                                () -> outcomes.stored.size() > acknowledged);
                    }
                } finally {
                    // otherwise the clients never end, and the test hangs instead of reporting its
                    // failure
                    stop.set(true);
                }
                client.get();
                Owners owners = new Owners(store);
                owners.open(true);
                own.run(place, "ALTER SYSTEM SET synchronous_standby_names = 'away'");
                own.run(place, "SELECT pg_reload_conf()");
                List<Future<Boolean>> claims = new ArrayList<>();
                Waiting.eventually(
                        "a claim of a name waits for a replica",
                        () -> {
                            String name = "name" + claims.size();
                            claims.add(threads.submit(() -> owners.allow(name, "key", true)));
                            return !own.column(place, waiting).isEmpty();
                        });
                own.run(place, "ALTER SYSTEM RESET synchronous_standby_names");
                own.run(place, "SELECT pg_reload_conf()");
                for (Future<Boolean> claim : claims) {
                    assertTrue(claim.get());
                }
            }
            outcomes.check(texts(place, "bob"), outcomes.toString());
        }
    }

    private static Connection pooled(Connection connection) {
        return Statements.seenBy(
                        sql -> {
                            try (Statement statement = connection.createStatement()) {
                                statement.execute("RESET ALL");
                            }
                        })
                .apply(connection);
    }

    private static List<String> texts(String place, String recipient) throws Exception {
        try (MessageStore store = new MessageStore(place)) {
            return Mailboxes.texts(store, recipient);
        }
    }
}
