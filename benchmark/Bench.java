///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Compares the server with bare servers and other message stores, and prints ratios
//JAVA 21+
//MAIN Bench
//DEPS info.picocli:picocli:4.7.7
//SOURCES Bars.java
//SOURCES Threads.java
//SOURCES TlsCosts.java
//SOURCES Yardsticks.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror
//RUNTIME_OPTIONS -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmn256m

import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.stream.DoubleStream;

/**
 * Puts the same load on our server, on bare servers ({@link Yardsticks}) and on other message
 * stores ({@link Peer}), in turn.
 *
 * <p>Each target is a separate process that stays up over all rounds. A round visits every target
 * at every number of clients, in random order. Only ratios of two figures of the same round are
 * meaningful: a rate depends on the machine, on its other work, and on the generator, which shares
 * the processors. Last, the benchmark fetches and counts all messages; a peer counts its own. (The
 * generator uses the JVM's quick compiler C1 only. It mostly makes system calls, and C2 would take
 * processor time from the measured servers.) docs/benchmark.md lists the limits of the figures.
 */
@Command(
        name = "bench",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        showDefaultValues = true,
        header = {
            "In a checkout of the project, for example:",
            "  ./jbang bench --bars",
            "  ./jbang bench --clients 64 --rounds 9 --targets ours,../another-checkout%n"
        },
        description = "Compares the server with bare servers and other message stores, in turn.%n",
        footer = "%nExit codes: 0 success, 1 a failed request or a missing message, 2 wrong usage.")
public final class Bench implements Callable<Integer> {
    private static final Path HERE = Path.of("");

    /** The yardsticks, which have no messages to count. */
    private static final List<String> BARE = List.of("floor", "shape", "loop");

    @Option(names = "--targets", split = ",", description = "servers, or other checkouts")
    List<String> names = List.of("floor", "shape", "redis", "ours");

    @Option(
            names = "--clients",
            split = ",",
            defaultValue = "1,64,1000",
            description = "clients at once")
    List<Integer> clients;

    @Option(names = "--rounds", defaultValue = "5", description = "turns of each target")
    int rounds;

    @Option(names = "--seconds", defaultValue = "2", description = "seconds of a turn")
    double seconds;

    @Option(names = "--warmup", defaultValue = "3", description = "seconds of load before round 1")
    double warmup;

    @Option(names = "--store", description = "a database for our servers; keeps the messages")
    String place;

    @Option(names = "--servers", split = ",", description = "numbers of our servers on one --store")
    List<Integer> servers = List.of(1);

    @Option(names = "--dir", description = "the folder for all files; must be on a disk")
    Path parent = Path.of(System.getProperty("java.io.tmpdir"));

    @Option(names = "--bars", description = "measures all figures for the project's goals")
    boolean bars;

    @Option(names = "--peers", description = "compares other message stores, if installed")
    boolean peers;

    @Option(names = "--threads", description = "compares processes, threads and virtual threads")
    boolean threads;

    @Option(names = "--tls", description = "measures the cost of --tls")
    boolean tls;

    @Option(
            names = "--plot",
            description = "the folder for the chart of --threads; default: a new folder")
    Path plot;

    @Option(names = "--quick", description = "small counts, only to show that the benchmark works")
    boolean quick;

    Servers starter;

    /** Runs the benchmark. */
    public static void main(String... args) {
        Locale.setDefault(Locale.ROOT); // for decimal points
        var line = new CommandLine(new Bench());
        line.setExecutionExceptionHandler((e, command, parsed) -> {
            System.err.println(e.getMessage() == null ? e : e.getMessage());
            return e instanceof IllegalArgumentException ? 2 : 1;
        });
        System.exit(line.execute(args));
    }

    @Override
    public Integer call() throws IOException {
        if (peers) {
            names = List.of("ours", "redis", "beanstalkd", "nats", "mosquitto", "postgresql");
            clients = List.of(64);
        }
        if (quick) {
            clients = List.of(1, 16);
            rounds = 1;
            seconds = warmup = 0.3;
        }
        starter = new Servers(Files.createTempDirectory(parent, "msg-bench"));
        // The hook also runs after a failure, because main ends with System.exit.
        Runtime.getRuntime().addShutdownHook(new Thread(this::cleanUp, "bench-cleaner"));
        if (threads) {
            new Threads(this)
                    .compare(plot == null ? Files.createTempDirectory(parent, "msg-plot") : plot);
            return 0;
        }
        if (tls) {
            new TlsCosts(this).measure();
            return 0;
        }
        return (bars ? new Bars(this).report() : report()).print() ? 0 : 1;
    }

    private void cleanUp() {
        ProcessHandle.current().descendants().forEach(ProcessHandle::destroyForcibly);
        try (var files = Files.walk(starter.folder())) {
            files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
        } catch (IOException e) {
            progress("Some files are not deleted: " + e.getMessage());
        }
    }

    private Report report() throws IOException {
        var all = targets(names);
        var lanes = new ArrayList<Report.Lane>();
        for (int count : clients) {
            all.forEach(target -> lanes.add(new Report.Lane(target, count)));
        }
        return measure(lanes);
    }

    /** Starts a target for each name, except peers that are not installed. */
    List<Target> targets(List<String> names) throws IOException {
        var all = new ArrayList<Target>();
        for (var name : names) {
            switch (name) {
                case "ours" -> {
                    for (int count : servers) {
                        var group = count == 1 ? name : name + " x" + count;
                        all.add(new Target(group, start(group, count, HERE)));
                    }
                }
                case String bare when BARE.contains(bare) ->
                        all.add(new Target(bare, List.of(starter.yardstick(bare))));
                case String peer when Peer.of(peer) != null -> {
                    try {
                        var target = new Target(peer, List.of(starter.peer(peer)));
                        target.count(); // still 0, but NATS now creates its stream
                        all.add(target);
                    } catch (IOException e) {
                        System.err.println("Without " + peer + ": " + e.getMessage());
                    }
                }
                default -> {
                    if (!Files.exists(Path.of(name, "MsgServer.java"))) {
                        throw new IllegalArgumentException("There is no target " + name + ".");
                    }
                    var checkout = Path.of(name).toRealPath();
                    var last = checkout.getFileName().toString();
                    all.add(new Target(last, start(last, 1, checkout)));
                }
            }
        }
        return all;
    }

    Target ours(String name) throws IOException {
        return new Target(name, start(name, 1, HERE));
    }

    private List<Servers.Server> start(String name, int count, Path checkout) throws IOException {
        progress("starting " + name);
        var store = place == null ? starter.folder().resolve(name + ".db").toString() : place;
        var group = new ArrayList<Servers.Server>();
        while (group.size() < count) {
            group.add(starter.ours(name, checkout, store));
        }
        return group;
    }

    /**
     * Stores {@code messages}, and starts the server again, so that the new process has done no
     * more work than the other servers.
     */
    Target preload(Target target, int messages) throws IOException {
        progress("storing %,d messages".formatted(messages));
        Load.turn(target, 1000, 1e6, messages);
        target.close();
        target.servers = start(target.name, 1, HERE);
        return target;
    }

    /** Gives every lane its turns, then looks for every acknowledged message. */
    Report measure(List<Report.Lane> lanes) throws IOException {
        var fsyncMicros = DoubleStream.builder();
        var order = new ArrayList<>(lanes);
        for (int round = 0; round <= rounds; round++) { // round 0 warms up
            fsyncMicros.add(fsyncMicros());
            Collections.shuffle(order);
            for (var lane : order) {
                progress("round %d of %d: %s".formatted(round, rounds, lane));
                double time = round == 0 ? warmup : seconds;
                var turn = Load.turn(lane.target(), lane.clients(), time, Integer.MAX_VALUE);
                if (round > 0) {
                    lane.turns().add(turn);
                }
            }
        }
        var counts = new ArrayList<Target.Count>();
        for (var target : lanes.stream().map(Report.Lane::target).distinct().toList()) {
            if (!BARE.contains(target.name)) {
                progress("counting every message: " + target.name);
                counts.add(target.count());
            }
        }
        progress("");
        return new Report(lanes, counts, List.of(), Report.Spread.of(fsyncMicros.build()));
    }

    /** Returns the median time of a flush of 4 KiB: no durable store can take less. */
    private double fsyncMicros() throws IOException {
        var micros = DoubleStream.builder();
        try (var file = new RandomAccessFile(starter.folder().resolve("fsync").toFile(), "rw")) {
            for (int i = 0; i < 100; i++) {
                long start = System.nanoTime();
                file.seek(0);
                file.write(new byte[4096]);
                file.getChannel().force(false);
                micros.add((System.nanoTime() - start) / 1e3);
            }
        }
        return Report.Spread.of(micros.build()).median();
    }

    /** Shows the progress in one changing line on a terminal, otherwise in a new line. */
    void progress(String what) {
        System.err.printf(System.console() != null ? "\r%-78s\r" : "%s%n", what);
    }
}
