///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Runs the commands and the configuration of docs/scale-out.md
//JAVA 21+
//MAIN TestMain
//SOURCES ../TestMain.java
//SOURCES ../support/Databases.java
//SOURCES Site.java
//SOURCES Clients.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

import java.io.IOException;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;

/**
 * Uses the code blocks of docs/scale-out.md as files and commands. The first line of each block has
 * its language and its name. Each test has its own {@link Site}, in which the page's machines are
 * addresses of loopback.
 *
 * <p>These tests take minutes, so {@code ./jbang test} does not run them.
 */
@Execution(ExecutionMode.CONCURRENT)
class ScaleOutPageTest {
    private static final int CLIENTS = 16;
    private static final String ONE = "10.0.0.21";
    private static final String TWO = "10.0.0.22";
    private static final String THREE = "10.0.0.23";
    private static final String BALANCER = "10.0.0.10";

    @Test
    void eachBlockIsRunByATest() throws IOException {
        Path test = TestMain.checkout().resolve("tests/cluster/ScaleOutPageTest.java");
        String tests = Files.readString(test);
        for (String name : Site.blocks().keySet()) {
            assertTrue(
                    name.startsWith("not-run-") || tests.contains("\"" + name + "\""),
                    "no test runs block " + name);
        }
    }

    // ---------------------------------------------------------------- Patroni

    @Test
    @Timeout(value = 10, unit = TimeUnit.MINUTES) // two and a half minutes on an idle machine
    void patroniKeepsEveryAcknowledgedMessageWhateverIsLost() throws Exception {
        try (Site site = new Site("patroni")) {
            List<Site.Node> nodes = new ArrayList<>();
            for (int i = 1; i <= 3; i++) {
                Site.Node node = site.node("db" + i, "10.0.0.1" + i);
                nodes.add(node);
                node.start(node.own(site.block("etcd")), "exec etcd");
                Path file = site.file(node.name() + ".yml", node.own(site.block("patroni")));
                node.replace("/etc/patroni/config.yml", file.toString());
            }
            for (Site.Node node : nodes) {
                startPatroni(node);
            }
            awaitWhole(site, nodes);
            String list = nodes.getFirst().ok(site.block("state"), "");
            assertTrue(list.contains("Leader") && list.contains("Sync Standby"), list);
            Site.Node leader = leader(nodes);
            leader.psql("postgres", site.block("database"));

            site.start("exec haproxy -db -f " + site.file("db.cfg", site.block("haproxy-db")));
            site.server(ONE, site.block("server"));
            site.server(TWO, site.block("server"));
            String hosts = site.real("10.0.0.11,10.0.0.12,10.0.0.13");
            site.server(THREE, site.block("server").replace(hosts, site.real(BALANCER)));
            try (Clients clients = new Clients(site, CLIENTS, ONE, TWO, THREE)) {
                clients.awaitStoresOnAll(60);

                clients.mark();
                leader.killPostgres();
                clients.awaitNoneFor(1);
                clients.awaitStoresOnAll(90);
                site.say("PostgreSQL of the leader killed: " + clients);
                awaitWhole(site, nodes);

                Site.Node old = leader(nodes);
                clients.mark();
                assertEquals(0, old.run(site.block("switchover")).exit());
                site.await(
                        60, "the replicas elect a new leader", () -> isOther(leader(nodes), old));
                clients.awaitStoresOnAll(60);
                site.say("switched over: " + clients);
                awaitWhole(site, nodes);

                Site.Node next = leader(nodes);
                List<Site.Node> replicas = new ArrayList<>(nodes);
                replicas.remove(next);
                site.await(
                        60, "one replica is synchronous", () -> first(replicas, "/sync") != null);
                Site.Node sync = first(replicas, "/sync");
                clients.mark();
                sync.kill();
                clients.awaitNoneFor(1);
                clients.awaitStoresOnAll(60);
                site.say("the synchronous replica killed: " + clients);
                clients.mark();
                for (Site.Node replica : replicas) {
                    replica.kill();
                }
                clients.awaitNoneFor(15); // without strict mode, stores go on after 4 s
                assertTrue(clients.fetch(ONE, 0).startsWith("Retrieving messages..."));
                site.say("both replicas killed: " + clients);
                clients.mark();
                for (Site.Node replica : replicas) {
                    startPatroni(replica);
                }
                clients.awaitStoresOnAll(90);
                site.say("both replicas back: " + clients);
                awaitWhole(site, nodes);

                clients.mark();
                next.signal("STOP");
                site.await(90, "the replicas elect another leader", () -> leader(replicas) != null);
                clients.awaitStoresOnAll(60);
                next.signal("CONT");
                awaitWhole(site, replicas);
                clients.awaitStoresOnAll(60);
                site.say("leader frozen and thawed: " + clients);

                for (String server : List.of(ONE, TWO, THREE)) {
                    site.say(clients.check(server));
                }
            }
        }
    }

    private static void startPatroni(Site.Node node) throws Exception {
        node.start("", "exec patroni /etc/patroni/config.yml");
    }

    /** Waits for a leader and two up-to-date replicas, one of them synchronous. */
    private static void awaitWhole(Site site, List<Site.Node> nodes) throws Exception {
        site.await(
                120,
                "a leader and two replicas",
                () -> {
                    String cluster = nodes.getFirst().get("/cluster");
                    return cluster.contains("\"leader\"")
                            && cluster.contains("\"sync_standby\"")
                            && cluster.split("\"(running|streaming)\"", -1).length == 4;
                });
    }

    private static boolean isOther(Site.Node leader, Site.Node old) {
        return leader != null && leader != old;
    }

    private static Site.Node leader(List<Site.Node> nodes) {
        return first(nodes, "/primary");
    }

    /** The first node whose Patroni answers with success, or null. */
    private static Site.Node first(List<Site.Node> nodes, String path) {
        return nodes.stream().filter(node -> !node.get(path).isEmpty()).findFirst().orElse(null);
    }

    // ---------------------------------------------------------------- by hand

    @Test
    void replicasByHandAndOldMessages() throws Exception {
        try (Site site = new Site("replicas")) {
            Site.Node db1 = site.node("db1", "10.0.0.11");
            Site.Node db2 = site.node("db2", "10.0.0.12");
            Site.Node db3 = site.node("db3", "10.0.0.13");
            db1.ok(
                    "initdb --auth-local=peer --auth-host=scram-sha-256 -E UTF8 && cat"
                            + " >>$PGDATA/postgresql.conf",
                    site.block("replica-primary"));
            db1.ok("cat >>$PGDATA/pg_hba.conf", site.block("replica-hba"));
            db1.ok("pg_ctl -l $PGDATA/log start", "");
            db1.psql("postgres", site.block("replica-roles"));
            for (Site.Node replica : List.of(db2, db3)) {
                String copy = site.block("replica-copy").replace("db2", replica.name());
                copy = copy.replace(site.real("10.0.0.12"), replica.address());
                replica.ok(copy, "");
            }
            db1.psql("postgres", site.block("replica-sync"));
            String quorum = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'";
            site.await(
                    20,
                    "both replicas are connected",
                    () -> db1.psql("postgres", quorum).equals("2"));

            site.server(ONE, site.block("server"));
            site.server(TWO, site.block("server"));
            Site.Node next;
            try (Clients clients = new Clients(site, CLIENTS, ONE, TWO)) {
                clients.awaitStoresOnAll(30);
                clients.mark();
                db3.kill();
                clients.awaitStoresOnAll(10);
                site.say("one replica lost: " + clients);
                clients.mark();
                db2.kill();
                clients.awaitNoneFor(6);
                assertTrue(clients.fetch(ONE, 0).startsWith("Retrieving messages..."));
                for (Site.Node replica : List.of(db2, db3)) {
                    replica.ok("pg_ctl -l $PGDATA/log start", "");
                }
                clients.awaitStoresOnAll(30);
                site.say("both replicas lost, and back: " + clients);

                clients.mark();
                db1.kill();
                // the replica that received the most log has every acknowledged message
                boolean second = received(db2) >= received(db3);
                next = second ? db2 : db3;
                Site.Node other = second ? db3 : db2;
                next.ok(site.block("replica-promote").replace("db3", other.name()), "");
                String follow = site.block("replica-follow").replace("db3", other.name());
                other.ok(follow.replace(site.real("10.0.0.12"), next.address()), "");
                clients.awaitStoresOnAll(30);
                site.say("primary lost, a replica promoted by hand: " + clients);
                site.say(clients.check(ONE));
                site.say(clients.check(TWO));
            }

            // The page's commands for old messages now run on the promoted replica.
            String app =
                    "export PGPASSWORD=SECRET; psql -v ON_ERROR_STOP=1 -Atq -U app -h "
                            + next.address()
                            + " -d msg";
            next.ok(app, site.block("old"));
            String insert =
                    "INSERT INTO message SELECT 'old', first_id(now() - interval '%s'), 'al', '%s'";
            next.ok(
                    app,
                    insert.formatted("91 days", "older")
                            + ";"
                            + insert.formatted("89 days", "newer"));
            String job =
                    site.block("old-job")
                            .replaceFirst("^30 3 \\* \\* \\*", "export PGPASSWORD=SECRET;");
            assertEquals("DELETE 1", next.ok(job, ""));
            assertEquals("newer", next.ok(app, "SELECT text FROM message WHERE recipient = 'old'"));

            next.psql("postgres", "CREATE DATABASE months OWNER app");
            String months = app.replace("-d msg", "-d months");
            next.ok(months, site.block("old").replaceFirst("(?s)CREATE INDEX.*", ""));
            next.ok(months, site.block("months"));
            site.server(THREE, site.block("server").replace("/msg?", "/months?"));
            assertEquals(Wire.STORED, site.answer(THREE, "store;bob;al;hi").text());
            assertTrue(site.answer(THREE, "fetch;bob").text().contains("bob;al;hi\n"));
            next.ok(months, "DROP TABLE message_2026_11");

            Site.Ended check =
                    site.run(
                            "export PGPASSWORD=SECRET; "
                                    + site.block("check").strip()
                                    + " --quick");
            assertEquals(0, check.exit(), check.out());
        }
    }

    /** The end of a replica's received log, in bytes. */
    private static long received(Site.Node replica) throws Exception {
        String bytes = "SELECT pg_last_wal_receive_lsn() - '0/0'";
        return Long.parseLong(replica.psql("postgres", bytes));
    }

    // ---------------------------------------------------------------- in front of the servers

    @Test
    void serversAreRestartedBehindTheBalancerWithoutAFailedRequest() throws Exception {
        try (Site site = new Site("balancer")) {
            site.useDatabase(Databases.freshPostgres());
            Path config = site.file("haproxy.cfg", site.block("haproxy"));
            Path log = site.start("exec haproxy -db -f " + config);
            for (String address : List.of(ONE, TWO, THREE)) {
                site.server(address, site.block("server"));
            }
            site.onPath("ssh", site.restarter());
            try (Clients clients = new Clients(site, CLIENTS, BALANCER)) {
                clients.awaitStoresOnAll(60);
                site.await(20, "all three servers are up", () -> site.stats().contains(ALL_UP));
                clients.mark();
                Site.Ended rolled = site.run(site.block("rolling"));
                assertEquals(0, rolled.exit(), rolled.out());
                assertTrue(site.stats().contains(ALL_UP), site.stats());
                clients.awaitStoresOnAll(10);
                site.say("rolling restart of three servers: " + clients);
                assertEquals("0 refused, 0 broken", clients.failures());
                site.say(clients.check(ONE));
            }
            for (String address : List.of(ONE, TWO, THREE)) {
                assertEquals(2, site.log(address).split("Listening on port", -1).length - 1);
            }

            int port;
            try (Socket client = new Socket()) {
                client.connect(site.at(BALANCER, 5000));
                port = client.getLocalPort();
                client.getOutputStream().write("fetch;whose\n".getBytes(StandardCharsets.UTF_8));
                assertTrue(client.getInputStream().readAllBytes().length > 0);
            }
            Pattern line = Pattern.compile("#\\d+  (\\S+)  fetch whose");
            List<String> peers = new ArrayList<>();
            site.await(
                    10,
                    "a server's log has the request",
                    () -> {
                        for (String address : List.of(ONE, TWO, THREE)) {
                            line.matcher(site.log(address))
                                    .results()
                                    .forEach(found -> peers.add(found.group(1)));
                        }
                        return !peers.isEmpty();
                    });
            String join =
                    site.block("join").replace(site.real("10.0.0.10:41822"), peers.getFirst());
            join = join.replace("haproxy.log", log.toString());
            assertTrue(site.run(join).out().contains(":" + port + " " + peers.getFirst() + " "));
        }
    }

    private static final String ALL_UP = "servers,one,UP\nservers,two,UP\nservers,three,UP\n";

    @Test
    void theBalancersCheckWorksWithTlsToo() throws Exception {
        // creates the keys of the tests now, since this takes some time
        assertNotNull(Transport.TLS.serverKey());
        try (Site site = new Site("tls")) {
            site.useDatabase(Databases.freshPostgres());
            assertEquals(0, site.run("cd " + site.folder() + ";" + site.block("check-key")).exit());
            String plain = "(?m)^    default-server check inter.*\n";
            String config = site.block("haproxy").replaceFirst(plain, site.block("haproxy-tls"));
            site.start("exec haproxy -db -f " + site.file("haproxy.cfg", config));
            String server =
                    site.block("server")
                            .replace("MsgServer.java 5000", "MsgServer.java 5000 --tls");
            site.server(ONE, server.replace("export", "export HOME=" + site.folder()));
            site.await(
                    20,
                    "the balancer's check succeeds",
                    () -> site.stats().contains("servers,one,UP\nservers,two,DOWN"));
            try (Wire wire = new Wire(Transport.TLS, site.at(BALANCER, 5000), 0)) {
                wire.send("store;bob;al;hi\n");
                assertEquals(Wire.STORED, wire.receive());
            }
        }
    }

    // ---------------------------------------------------------------- a pooler

    /**
     * A pooler gives each transaction another connection. The settings of a session stay with the
     * connection that received them, so the next connection commits with the database's settings.
     */
    @Test
    void poolerWithReplacedConnectionsLosesNothingWhenTheDatabaseIsKilled() throws Exception {
        for (String mode : List.of("session", "transaction")) {
            try (Site site = new Site(mode + "-pooler");
                    Databases.Server database = Databases.ownServer("wal_writer_delay=10000ms")) {
                String url = database.freshDatabase();
                String name = url.replaceFirst(".*/(\\w+)[?].*", "$1");
                database.run(url, "ALTER DATABASE " + name + " SET synchronous_commit = off");
                site.replace("SECRET", Databases.PASSWORD);
                site.replace(
                        "host=10.0.0.11 port=5432 dbname=msg",
                        "host=127.0.0.1 port=" + database.port() + " dbname=" + name);
                site.file("userlist.txt", site.real("\"app\" \"SECRET\"\n"));
                String config = site.block("pgbouncer") + "server_lifetime = 2\n";
                String pooled = "jdbc:postgresql://10.0.0.10:6432/msg?user=app&prepareThreshold=0";
                if (mode.equals("session")) {
                    config = config.replace("pool_mode = transaction", "pool_mode = session");
                    pooled = pooled.replace("&prepareThreshold=0", "");
                }
                Path file = site.file("pgbouncer.ini", config);
                site.startAsPostgres("exec pgbouncer " + file);
                site.useDatabase(site.real(pooled));
                for (String address : List.of(ONE, TWO, THREE)) {
                    site.server(address, site.block("server"));
                }
                try (Clients clients = new Clients(site, CLIENTS, ONE, TWO, THREE)) {
                    clients.awaitStoresOnAll(30);
                    Thread.sleep(5_000); // the pooler replaces connections meanwhile
                    assertEquals("0 refused, 0 broken", clients.failures());
                    database.stopImmediately();
                    clients.awaitNoneFor(1);
                    database.startAgain();
                    clients.awaitStoresOnAll(60);
                    site.say(clients.check(ONE));
                }
            }
        }
    }
}
