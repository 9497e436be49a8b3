///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Measures the server beside a bare accept loop and Redis, in turn, and prints ratios
//JAVA 21+
//DEPS info.picocli:picocli:4.7.7
//SOURCES Bars.java
//SOURCES Load.java
//SOURCES Report.java
//SOURCES Servers.java
//SOURCES Target.java
//SOURCES ../store/MessageStore.java
//SOURCES ../store/Database.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror
//RUNTIME_OPTIONS -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmn256m

import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Stream;

/**
 * Puts the same load on our server, on a bare accept loop (the floor) and on Redis, in turn.
 *
 * <p>Each target is a process of its own that stays up over all rounds. A round visits every target
 * at every number of clients, in an order that changes. What counts is the ratio of two figures of
 * the same round: the rates themselves are those of this machine, today. Afterwards every message
 * is fetched and counted. (The generator is compiled by C1 only: what it does is system calls, and
 * C2 would compile it on the processors that are being measured.)
 *
 * <p>What the figures do not say. Load and server share the processors, so a rate is that of both
 * together, and there is no network in any latency. The generator is one thread: where requests a
 * second times its microseconds a request come near a million, it is the limit. The loop is closed:
 * a slow server is asked less often, no queue builds up before it. With one connection a request,
 * most of the work is the kernel's; Redis, made for many requests on one connection and holding its
 * data in memory, is measured at something it is not used for. A disk that lies about its flushes
 * makes durable stores look free.
 */
@Command(
        name = "bench",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        usageHelpAutoWidth = true,
        header = {
            "Examples, in a checkout of the project:",
            "  ./jbang bench --clients 64 --rounds 9",
            "  ./jbang bench --mode fetch --targets ours,floor",
            "  ./jbang bench --variant one=-Djdk.virtualThreadScheduler.parallelism=1",
            "  ./jbang bench --bars",
            ""
        },
        description = "Measures the server beside a bare accept loop and Redis, in turn.%n",
        footer = {
            "",
            "Exit codes: 0 fine, 1 a request failed or a message is missing, 2 wrong usage."
        })
public final class Bench implements Callable<Integer> {
    static final String OURS = "ours";

    private static final int PRELOADING_CLIENTS = 64;

    /** The servers that can be measured. */
    enum Kind {
        FLOOR,
        REDIS,
        OURS
    }

    @Option(names = "--mode", defaultValue = "store", description = "store, fetch or mixed")
    Load.Mode mode;

    @Option(names = "--targets", split = ",", defaultValue = "floor,redis,ours")
    List<Kind> kinds;

    @Option(
            names = "--clients",
            split = ",",
            defaultValue = "1,64,1000",
            description = "clients at once, each with one request under way; 1,64,1000")
    List<Integer> clients;

    @Option(names = "--rounds", defaultValue = "5", description = "5, if not given")
    int rounds;

    @Option(
            names = "--seconds",
            defaultValue = "2",
            description = "how long a target's turn in a round is; 2")
    double seconds;

    @Option(
            names = "--requests",
            defaultValue = "1000000",
            description = "most requests in a turn; 1000000")
    int requests;

    @Option(
            names = "--warmup",
            defaultValue = "3",
            description = "seconds of load for each target and number of clients before; 3")
    double warmup;

    @Option(names = "--mailboxes", defaultValue = "1000", description = "recipients; 1000")
    int mailboxes;

    @Option(
            names = "--per-mailbox",
            defaultValue = "10",
            description = "messages in each mailbox to fetch, in mode fetch; 10")
    int perMailbox;

    @Option(
            names = "--idle",
            paramLabel = "N",
            description = "our server again, with N silent clients connected all the time")
    int idle;

    @Option(
            names = "--preload",
            paramLabel = "N",
            description = "our server again, with N messages stored before")
    int preload;

    @Option(
            names = "--variant",
            paramLabel = "NAME=JVM-OPTIONS",
            description = "our server again, with these JVM options; can be repeated")
    Map<String, String> variants = new LinkedHashMap<>();

    @Option(
            names = "--against",
            paramLabel = "FOLDER",
            description = "the server of another checkout too; can be repeated")
    List<Path> checkouts = List.of();

    @Option(
            names = "--store",
            paramLabel = "jdbc:URL",
            description =
                    "a database for our server; the messages stay there. If not given, a new file")
    String place;

    @Option(
            names = "--servers",
            split = ",",
            defaultValue = "1",
            description = "how many of our servers share the database of --store, such as 1,2,3")
    List<Integer> servers;

    @Option(
            names = "--dir",
            paramLabel = "FOLDER",
            defaultValue = "${sys:java.io.tmpdir}",
            description = "where the files of all servers go; the system's temporary folder")
    Path parent;

    @Option(names = "--bars", description = "everything needed to judge the project's goals")
    boolean bars;

    @Option(names = "--quick", description = "small counts: shows that it works, nothing more")
    boolean quick;

    @Option(names = "--json", description = "for programs")
    boolean json;

    @Option(
            names = "--jbang",
            paramLabel = "COMMAND",
            description = "what starts our server; ./jbang, or else jbang")
    String jbang = Files.isExecutable(Path.of("jbang")) ? "./jbang" : "jbang";

    @Spec CommandSpec spec;

    private final List<Target> targets = new ArrayList<>();
    Path folder;
    Servers starter;

    /** Runs the benchmark; {@code run-floor} runs the floor, for the benchmark itself. */
    public static void main(String... args) {
        Locale.setDefault(Locale.ROOT); // a point for a decimal, for people and for JSON
        var line = new CommandLine(new Bench());
        line.addSubcommand(new Servers.Floor());
        line.setCaseInsensitiveEnumValuesAllowed(true);
        line.setParameterExceptionHandler((e, arguments) -> {
            e.getCommandLine().getErr().println(e.getMessage());
            e.getCommandLine().getErr().println("What it takes: jbang bench --help");
            return CommandLine.ExitCode.USAGE;
        });
        line.setExecutionExceptionHandler((e, command, parsed) -> {
            command.getErr().println(e instanceof IOException ? e.getMessage() : e);
            return CommandLine.ExitCode.SOFTWARE;
        });
        System.exit(line.execute(args));
    }

    @Override
    public Integer call() throws IOException {
        check();
        folder = Files.createTempDirectory(parent, "msg-bench");
        starter = new Servers(jbang, folder);
        // However the run ends: main leaves through System.exit.
        Runtime.getRuntime().addShutdownHook(new Thread(this::cleanUp, "bench-cleaner"));
        var report = bars ? new Bars(this).report() : report();
        var out = spec.commandLine().getOut();
        if (json) {
            report.json(out);
        } else {
            report.text(out);
        }
        out.flush();
        return report.isFine() ? 0 : 1;
    }

    private void check() {
        if (!Files.exists(Path.of("MsgServer.java"))) {
            throw new ParameterException(
                    spec.commandLine(),
                    "Run it in a checkout of the project: there is no MsgServer.java here.");
        }
        boolean several = servers.stream().anyMatch(count -> count > 1);
        if (place == null ? several : !place.startsWith("jdbc:postgresql:") || preload > 0) {
            throw new ParameterException(
                    spec.commandLine(),
                    "--servers needs a --store that they can share, jdbc:postgresql://...,"
                            + " and --preload needs a file of its own.");
        }
        if (bars && (place != null || mode != Load.Mode.STORE)) {
            throw new ParameterException(
                    spec.commandLine(), "--bars goes with neither --store nor --mode.");
        }
        if (quick) {
            clients = List.of(1, 16);
            rounds = 1;
            seconds = 0.3;
            warmup = 0.3;
        }
    }

    private void cleanUp() {
        starter.stopAll();
        try (var files = Files.walk(folder)) {
            files.sorted(Comparator.reverseOrder()).map(Path::toFile).forEach(java.io.File::delete);
        } catch (IOException e) {
            spec.commandLine().getErr().println("Not deleted: " + folder + ", " + e.getMessage());
        }
    }

    private Report report() throws IOException {
        startTargets();
        var lanes = new ArrayList<Report.Lane>();
        for (int count : clients) {
            targets.forEach(target -> lanes.add(new Report.Lane(target, count)));
        }
        if (mode == Load.Mode.FETCH) {
            fillMailboxes();
        }
        var fsyncMicros = measure(lanes);
        return new Report(lanes, count(lanes), List.of(), fsyncMicros);
    }

    // ---------------------------------------------------------------- the targets

    private void startTargets() throws IOException {
        if (kinds.contains(Kind.FLOOR)) {
            addFloor();
        }
        if (kinds.contains(Kind.REDIS)) {
            addRedis();
        }
        if (kinds.contains(Kind.OURS)) {
            for (int count : servers) {
                addOurs(count == 1 ? OURS : OURS + " x" + count, count, "", Path.of(""));
            }
        }
        for (var variant : variants.entrySet()) {
            addOurs(variant.getKey(), 1, variant.getValue(), Path.of(""));
        }
        for (var checkout : checkouts) {
            addOurs(checkout.toRealPath().getFileName().toString(), 1, "", checkout);
        }
        if (preload > 0) {
            addPreloaded("ours+preload", preload, mailboxes);
        }
        if (idle > 0) {
            addOurs("ours+idle", 1, "", Path.of("")).holdIdle(idle);
        }
    }

    Target addFloor() throws IOException {
        return add(
                Servers.FLOOR,
                Target.Wire.MESSAGES,
                prefix(),
                mailboxes,
                starter.floor(perMailbox));
    }

    /** Nothing where Redis is not installed. */
    Optional<Target> addRedis() throws IOException {
        if (!Servers.isInstalled("redis-server")) {
            spec.commandLine().getErr().println("redis-server is not installed: left out");
            return Optional.empty();
        }
        return Optional.of(
                add("redis", Target.Wire.REDIS, prefix(), mailboxes, starter.redis("redis")));
    }

    Target addOurs(String name, int count, String jvmOptions, Path checkout) throws IOException {
        var options = Stream.of(jvmOptions.split(" ")).filter(o -> !o.isEmpty()).toList();
        var store = place == null ? folder.resolve(name + ".db").toString() : place;
        var group = new Servers.Server[count];
        for (int i = 0; i < count; i++) {
            progress("starting " + name);
            group[i] = starter.ours(name, checkout, options, store);
        }
        return add(name, Target.Wire.MESSAGES, prefix(), mailboxes, group);
    }

    Target addPreloaded(String name, int messages, int into) throws IOException {
        var file = folder.resolve(name + ".db");
        var prefix = prefix();
        progress("storing %,d messages".formatted(messages));
        Target.preload(file, prefix, into, messages);
        var server = starter.ours(name, Path.of(""), List.of(), file.toString());
        var target = add(name, Target.Wire.MESSAGES, prefix, into, server);
        target.preloaded(messages);
        return target;
    }

    private Target add(
            String name, Target.Wire wire, String prefix, int into, Servers.Server... group) {
        var target = new Target(name, wire, List.of(group), prefix, into);
        targets.add(target);
        return target;
    }

    /** Mailboxes that no other target and no other run has: they may share a database. */
    private String prefix() {
        return "%s-%d-".formatted(folder.getFileName(), targets.size());
    }

    // ---------------------------------------------------------------- the rounds

    private void fillMailboxes() throws IOException {
        for (var target : targets) {
            progress("filling mailboxes: " + target.name);
            int messages = target.keeps() ? mailboxes * perMailbox : 0;
            Load.turn(target, Load.Mode.STORE, PRELOADING_CLIENTS, 120, messages);
        }
    }

    /** Gives every lane its turns, and returns what a flush of the disk cost in each round. */
    List<Double> measure(List<Report.Lane> lanes) throws IOException {
        for (var lane : lanes) {
            progress("warming up: " + lane);
            Load.turn(lane.target(), mode, lane.clients(), warmup, requests);
        }
        var fsyncMicros = new ArrayList<Double>();
        for (int round = 0; round < rounds; round++) {
            fsyncMicros.add(fsyncMicros());
            var order = new ArrayList<>(lanes);
            Collections.rotate(order, round);
            if (round % 2 == 1) {
                Collections.reverse(order); // who comes after whom changes too
            }
            for (var lane : order) {
                progress("round %d of %d: %s".formatted(round + 1, rounds, lane));
                lane.turns().add(Load.turn(lane.target(), mode, lane.clients(), seconds, requests));
            }
        }
        return fsyncMicros;
    }

    /** The median of what one flush of 4 KiB costs: no durable store can take less. */
    private double fsyncMicros() throws IOException {
        var page = ByteBuffer.allocateDirect(4096);
        int pages = 64;
        var micros = new double[100];
        try (var channel =
                FileChannel.open(
                        folder.resolve("fsync"),
                        StandardOpenOption.CREATE,
                        StandardOpenOption.WRITE)) {
            for (int i = 0; i < pages; i++) {
                channel.write(page.rewind());
            }
            channel.force(true);
            for (int i = 0; i < micros.length; i++) {
                long start = System.nanoTime();
                channel.write(page.rewind(), (i % pages) * 4096L);
                channel.force(false);
                micros[i] = (System.nanoTime() - start) / 1e3;
            }
        }
        return Report.Spread.of(micros).median();
    }

    /** Looks for every message that the targets of these lanes have acknowledged. */
    List<Target.Count> count(List<Report.Lane> lanes) throws IOException {
        var counts = new ArrayList<Target.Count>();
        for (var target : lanes.stream().map(Report.Lane::target).distinct().toList()) {
            if (target.keeps()) {
                progress("counting every message: " + target.name);
                counts.add(target.count());
            }
        }
        progress("");
        return counts;
    }

    /** One line that changes, on a terminal; else one line each. */
    void progress(String what) {
        var err = spec.commandLine().getErr();
        if (System.console() != null) {
            err.printf("\r%-78s\r", what);
        } else if (!what.isEmpty()) {
            err.println(what);
        }
        err.flush();
    }
}
