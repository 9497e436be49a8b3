///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Measures the server beside bare servers and Redis, in turn, and prints ratios
//JAVA 21+
//MAIN Bench
//DEPS info.picocli:picocli:4.7.7
//DEPS org.hdrhistogram:HdrHistogram:2.2.2
//DEPS org.jfree:jfreechart:1.5.6
//DEPS org.jfree:org.jfree.svg:5.0.7
//SOURCES Bars.java
//SOURCES Idle.java
//SOURCES Load.java
//SOURCES Plot.java
//SOURCES Report.java
//SOURCES Servers.java
//SOURCES Target.java
//SOURCES Threads.java
//SOURCES TlsCosts.java
//SOURCES Yardsticks.java
//SOURCES ../store/MessageStore.java
//SOURCES ../store/Database.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror
//RUNTIME_OPTIONS -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmn256m

import static java.nio.file.StandardOpenOption.CREATE;
import static java.nio.file.StandardOpenOption.WRITE;

import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
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
 * Puts the same load on our server, on bare servers ({@link Yardsticks}) and on Redis, in turn.
 *
 * <p>Each target is a process of its own that stays up over all rounds. A round visits every target
 * at every number of clients, in an order that changes. What counts is the ratio of two figures of
 * the same round: the rates themselves are those of this machine, today, and of a generator that
 * shares its processors. Afterwards every message is fetched and counted. (The generator is
 * compiled by C1 only: what it does is system calls, and C2 would compile it on the processors that
 * are being measured.) README.md says what the figures do not say.
 */
@Command(
        name = "bench",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        usageHelpAutoWidth = true,
        showDefaultValues = true,
        header = {
            "In a checkout of the project, for example:",
            "  ./jbang bench --bars",
            "  ./jbang bench --clients 64 --rounds 9 --against ../another-checkout%n"
        },
        description = "Measures the server beside bare servers and Redis, in turn.%n",
        footer = "%nExit codes: 0 fine, 1 a request failed or a message is missing, 2 wrong usage.")
public final class Bench implements Callable<Integer> {
    static final int MAILBOXES = 1000;
    private static final Path HERE = Path.of("");

    @Option(names = "--targets", split = ",", defaultValue = "floor,shape,redis,ours")
    List<String> names;

    @Option(names = "--clients", split = ",", defaultValue = "1,64,1000", description = "at once")
    List<Integer> clients;

    @Option(names = "--rounds", defaultValue = "5", description = "turns of each")
    int rounds;

    @Option(names = "--seconds", defaultValue = "2", description = "how long a turn is")
    double seconds;

    @Option(names = "--warmup", defaultValue = "3", description = "seconds of load before")
    double warmup;

    @Option(names = "--preload", description = "ours again, with so many messages stored before")
    int preload;

    @Option(names = "--against", description = "the server of another checkout too; repeatable")
    List<Path> checkouts = List.of();

    @Option(names = "--store", description = "a database for ours; its messages stay there")
    String place;

    @Option(names = "--servers", split = ",", description = "so many of ours, sharing that --store")
    List<Integer> servers = List.of(1);

    @Option(names = "--dir", description = "where the files of all servers go; not into memory")
    Path parent = Path.of(System.getProperty("java.io.tmpdir"));

    @Option(names = "--bars", description = "everything needed to judge the project's goals")
    boolean bars;

    @Option(names = "--threads", description = "processes, platform threads and virtual threads")
    boolean threads;

    @Option(names = "--tls", description = "what --tls costs")
    boolean tls;

    @Option(names = "--plot", description = "the folder for what --threads draws")
    Path plot = Path.of("docs");

    @Option(names = "--quick", description = "small counts: shows that it works, nothing more")
    boolean quick;

    Servers starter;
    private int started;

    /** Runs the benchmark. */
    public static void main(String... args) {
        Locale.setDefault(Locale.ROOT); // a point for a decimal
        var line = new CommandLine(new Bench());
        line.setExecutionExceptionHandler((e, command, parsed) -> {
            System.err.println(e.getMessage() == null ? e : e.getMessage());
            return e instanceof IllegalArgumentException ? 2 : 1;
        });
        System.exit(line.execute(args));
    }

    @Override
    public Integer call() throws IOException {
        if (quick) {
            clients = List.of(1, 16);
            rounds = 1;
            seconds = 0.3;
            warmup = 0.3;
        }
        starter = new Servers(Files.createTempDirectory(parent, "msg-bench"));
        // However the run ends: main leaves through System.exit.
        Runtime.getRuntime().addShutdownHook(new Thread(this::cleanUp, "bench-cleaner"));
        if (threads) {
            new Threads(this).compare(plot);
            return 0;
        }
        if (tls) {
            new TlsCosts(this).measure();
            return 0;
        }
        var report = bars ? new Bars(this).report() : report();
        report.print();
        if (warmup < 2) { // or quick
            System.out.println(
                    "\nFigures of cold JVMs: it works; how fast, --warmup 3 would tell.");
        }
        return report.isFine() ? 0 : 1;
    }

    private void cleanUp() {
        ProcessHandle.current().descendants().forEach(ProcessHandle::destroyForcibly);
        try (var files = Files.walk(starter.folder())) {
            files.sorted(Comparator.reverseOrder()).map(Path::toFile).forEach(File::delete);
        } catch (IOException e) {
            progress("Not all deleted: " + e.getMessage());
        }
    }

    private Report report() throws IOException {
        var all = targets(names);
        for (var checkout : checkouts) {
            all.add(ours(checkout.toRealPath().getFileName().toString(), 1, checkout));
        }
        if (preload > 0) {
            all.add(preloaded("preloaded", preload, MAILBOXES));
        }
        var lanes = new ArrayList<Report.Lane>();
        for (int count : clients) {
            all.forEach(target -> lanes.add(new Report.Lane(target, count)));
        }
        var flush = measure(lanes);
        return new Report(lanes, count(lanes), List.of(), flush);
    }

    /** Starts one of each name, without Redis where it is not installed. */
    List<Target> targets(List<String> names) throws IOException {
        var all = new ArrayList<Target>();
        for (var name : names) {
            switch (name) {
                case "floor", "shape" -> all.add(target(name, List.of(starter.yardstick(name))));
                case "redis" -> {
                    if (Servers.isInstalled("redis-server")) {
                        all.add(target(name, List.of(starter.redis())));
                    } else {
                        System.err.println("redis-server is not installed: left out");
                    }
                }
                case "ours" -> {
                    for (int count : servers) {
                        all.add(ours(count == 1 ? name : name + " x" + count, count, HERE));
                    }
                }
                default -> throw new IllegalArgumentException("There is no target " + name + ".");
            }
        }
        return all;
    }

    private Target target(String name, List<Servers.Server> group) {
        return new Target(name, group, prefix(), MAILBOXES, 0);
    }

    /** Mailboxes that no other target and no other run has: they may share a database. */
    private String prefix() {
        return "%s-%d-".formatted(starter.folder().getFileName(), started++);
    }

    Target ours(String name) throws IOException {
        return ours(name, 1, HERE);
    }

    private Target ours(String name, int count, Path checkout) throws IOException {
        progress("starting " + name);
        var store = place == null ? starter.folder().resolve(name + ".db").toString() : place;
        var group = new ArrayList<Servers.Server>();
        while (group.size() < count) {
            group.add(starter.ours(name, checkout, store));
        }
        return target(name, group);
    }

    Target preloaded(String name, int messages, int mailboxes) throws IOException {
        progress("storing %,d messages".formatted(messages));
        var file = starter.folder().resolve(name + ".db").toString();
        var prefix = prefix();
        Target.preload(file, prefix, mailboxes, messages);
        var server = starter.ours(name, HERE, file);
        return new Target(name, List.of(server), prefix, mailboxes, messages);
    }

    /** Gives every lane its turns, and returns what a flush of the disk cost in each round. */
    Report.Spread measure(List<Report.Lane> lanes) throws IOException {
        for (var lane : lanes) {
            progress("warming up: " + lane);
            turn(lane, warmup);
        }
        var fsyncMicros = DoubleStream.builder();
        for (int round = 0; round < rounds; round++) {
            fsyncMicros.add(fsyncMicros());
            var order = new ArrayList<>(lanes);
            Collections.rotate(order, round);
            if (round % 2 == 1) {
                Collections.reverse(order); // who comes after whom changes too
            }
            for (var lane : order) {
                progress("round %d of %d: %s".formatted(round + 1, rounds, lane));
                lane.turns().add(turn(lane, seconds));
            }
        }
        return Report.Spread.of(fsyncMicros.build());
    }

    private static Load.Turn turn(Report.Lane lane, double seconds) throws IOException {
        return Load.turn(lane.target(), lane.clients(), seconds, Integer.MAX_VALUE);
    }

    /** The median of what one flush of 4 KiB costs: no durable store can take less. */
    private double fsyncMicros() throws IOException {
        var page = ByteBuffer.allocateDirect(4096);
        var micros = DoubleStream.builder();
        var file = starter.folder().resolve("fsync");
        try (var channel = FileChannel.open(file, CREATE, WRITE)) {
            for (int i = 0; i <= 100; i++) {
                long start = System.nanoTime();
                channel.write(page.rewind(), 0);
                channel.force(false);
                if (i > 0) { // the first one makes the file longer
                    micros.add((System.nanoTime() - start) / 1e3);
                }
            }
        }
        return Report.Spread.of(micros.build()).median();
    }

    /** Looks for every message that the targets of these lanes have acknowledged. */
    List<Target.Count> count(List<Report.Lane> lanes) throws IOException {
        var counts = new ArrayList<Target.Count>();
        for (var target : lanes.stream().map(Report.Lane::target).distinct().toList()) {
            if (target.canFetch()) {
                progress("counting every message: " + target.name);
                counts.add(target.count());
            }
        }
        progress("");
        return counts;
    }

    /** One line that changes, on a terminal; else one line each. */
    void progress(String what) {
        System.err.printf(System.console() != null ? "\r%-78s\r" : "%s%n", what);
    }
}
