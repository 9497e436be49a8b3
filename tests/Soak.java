///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Minutes of load with random kills and restarts: no lost message, no leak
//JAVA 21+
//SOURCES support/ServerProcess.java
//SOURCES support/Load.java
//SOURCES ../MsgServer.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;

/**
 * The soak runs clients that store and fetch, and clients that misbehave. At random moments it ends
 * the server with kill -9 or SIGTERM, and starts it again. In the last fifth of the time the server
 * runs undisturbed under the same load, while the soak watches its memory and descriptors. At the
 * end the store must have each acknowledged message once.
 *
 * <pre>jbang tests/Soak.java 10        for 10 minutes; exit code 0: passed, 1: failed</pre>
 */
final class Soak {
    private static final int CLIENTS = 16;
    private static final int MAILBOXES = 1_000;
    private static final int LONGEST_MINUTES = 600;
    private static final Duration PAUSE = Duration.ofMillis(10);
    private static final Duration LONGEST_LIFE = Duration.ofSeconds(20);
    private static final Duration SETTLE = Duration.ofSeconds(20);
    private static final String HEAP = "-Xmx128m";

    /** A healthy server's number of sockets and files varies by this many. */
    private static final int FEW = 5;

    private static final int SLACK_KIB = 24 * 1024;

    private final Path store;
    private final Load.Ledger ledger = new Load.Ledger("mailbox-", MAILBOXES);
    private final Random random = new Random(10);
    private final List<String> failures = new ArrayList<>();

    private Soak(Path folder) {
        store = folder.resolve("messages.db");
    }

    private ServerProcess start() throws IOException {
        var command = ServerProcess.command(store, "--quiet", "--timeout", "3");
        command.add(command.indexOf("-cp"), HEAP);
        return new ServerProcess(command);
    }

    private void run(Duration duration) throws Exception {
        long begun = System.nanoTime();
        int lives = 0;
        for (; System.nanoTime() - begun < duration.toNanos() / 5 * 4; lives++) {
            try (var server = start();
                    var load = new Load(server.port(), ledger, "life-" + lives, CLIENTS, PAUSE);
                    var rude = new RudeClients(server.port())) {
                Thread.sleep(random.nextLong(LONGEST_LIFE.toMillis()));
                if (lives % 4 == 3) {
                    server.signal("TERM");
                    int code = server.awaitExit();
                    check(code == 143, "exit code " + code + " after SIGTERM");
                } else {
                    server.kill();
                }
                load.join();
                for (Wire.Answer answer : load.brokenAnswers()) {
                    check(answer.text().isEmpty() || lives % 4 != 3, "torn: " + answer);
                }
                check(rude.sent > 0, "no rude clients");
            }
        }
        System.out.printf("%d lives, %,d acknowledged%n", lives, ledger.acknowledged());
        runUndisturbed(Duration.ofNanos(duration.toNanos() / 5));
        ledger.assertAllThere(Load.Ledger.contentOf(store));
        check(
                ServerProcess.filesBeside(store).equals(List.of("messages.db")),
                "left behind: " + ServerProcess.filesBeside(store));
        System.out.printf("%,d acknowledged messages, none lost%n", ledger.acknowledged());
    }

    /** Measures memory and descriptors of a server that runs undisturbed. */
    private void runUndisturbed(Duration duration) throws Exception {
        try (var server = start()) {
            ledger.assertAllThere(server.port());
            long descriptorsIdle = server.descriptors();
            var memory = new ArrayList<Long>();
            try (var load = new Load(server.port(), ledger, "alone", CLIENTS, PAUSE);
                    var rude = new RudeClients(server.port())) {
                long until = System.nanoTime() + duration.toNanos();
                while (System.nanoTime() < until) {
                    Thread.sleep(Math.max(1, duration.toMillis() / 60));
                    memory.add(server.statusKib("VmRSS"));
                }
                check(rude.sent > 0, "no rude clients");
                load.finish();
                check(load.brokenAnswers().isEmpty(), "broken replies: " + load.brokenAnswers());
            }
            long descriptors = settledDescriptors(server, descriptorsIdle + FEW);
            int third = memory.size() / 3;
            long early = median(memory.subList(third, 2 * third));
            long late = median(memory.subList(2 * third, memory.size()));
            System.out.printf(
                    "left alone for %d s: resident %,d KiB in the second third, %,d in the last;"
                            + " %d descriptors before, %d after%n",
                    duration.toSeconds(), early, late, descriptorsIdle, descriptors);
            check(late < early + SLACK_KIB, "memory grows");
            check(descriptors <= descriptorsIdle + FEW, "descriptors are lost");
            check(server.errors().isEmpty(), server.errors());
            server.signal("TERM");
            check(server.awaitExit() == 143, "exit code");
        }
    }

    private static long settledDescriptors(ServerProcess server, long enough) throws Exception {
        long giveUp = System.nanoTime() + SETTLE.toNanos();
        while (server.descriptors() > enough && System.nanoTime() < giveUp) {
            Thread.sleep(50);
        }
        return server.descriptors();
    }

    private static long median(List<Long> values) {
        return values.stream().sorted().skip(values.size() / 2).findFirst().orElseThrow();
    }

    private void check(boolean fine, String otherwise) {
        if (!fine) {
            failures.add(otherwise);
            System.out.println("NOT AS IT SHOULD BE: " + otherwise);
        }
    }

    /**
     * One client after the other; each is silent, resets, floods, ends its input or reads nothing.
     */
    private static final class RudeClients implements AutoCloseable {
        private final int port;
        private final Thread thread;
        private volatile boolean stop;
        private volatile int sent;

        RudeClients(int port) {
            this.port = port;
            thread = Thread.ofVirtual().start(this::run);
        }

        private void run() {
            var held = new ArrayList<Wire>();
            String flood = "store;" + "x".repeat(1 << 20);
            while (!stop) {
                try {
                    var client = new Wire(port);
                    held.add(client);
                    switch (sent++ % 5) {
                        case 0 -> {} // silent
                        case 1 -> client.send("s").reset();
                        case 2 -> client.send(flood);
                        case 3 -> client.endInput();
                        default -> client.send("fetch;mailbox-1\n"); // will not read
                    }
                    if (held.size() > 50) {
                        held.removeFirst().close();
                    }
                } catch (IOException e) {
                    // Tolerated: the server cuts off rude clients, and the soak kills the server.
                }
                try {
                    Thread.sleep(PAUSE);
                } catch (InterruptedException e) {
                    stop = true;
                }
            }
            held.forEach(client -> {
                try {
                    client.close();
                } catch (IOException e) {
                    // Tolerated: the connection is closed either way.
                }
            });
        }

        @Override
        public void close() {
            stop = true;
            try {
                thread.join();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt(); // the thread ends without help
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        String minutes = arguments.length == 0 ? "10" : arguments[0];
        if (arguments.length > 1
                || !minutes.matches("[1-9]\\d{0,2}")
                || Integer.parseInt(minutes) > LONGEST_MINUTES) {
            System.err.println("All options: jbang tests/Soak.java [MINUTES], 600 at most");
            System.exit(2);
        }
        Path folder = Files.createTempDirectory("soak-");
        var soak = new Soak(folder);
        try {
            soak.run(Duration.ofMinutes(Integer.parseInt(minutes)));
        } finally {
            try (Stream<Path> all = Files.walk(folder)) {
                for (Path path : all.toList().reversed()) {
                    Files.delete(path);
                }
            }
        }
        System.exit(soak.failures.isEmpty() ? 0 : 1);
    }
}
