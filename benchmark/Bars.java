//JAVA 21+
//SOURCES Report.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;

/** Everything that is needed to judge the project's goals for speed, in one run. */
final class Bars {
    private static final Path HERE = Path.of("");
    private static final int BUSY_CLIENTS = 64;
    private static final int TOUCHES = 100;
    private static final double LONGEST_S = 120;

    /** A script that does as little as one with a command line can. */
    private static final String HELLO =
            """
            //JAVA 21+
            //DEPS info.picocli:picocli:4.7.7

            import picocli.CommandLine;

            @CommandLine.Command(name = "hello")
            public class Hello implements Runnable {
                public static void main(String... args) {
                    System.exit(new CommandLine(new Hello()).execute(args));
                }

                @Override
                public void run() {
                    System.out.println("Hello, world");
                }
            }
            """;

    /** How much of everything. */
    private record Sizes(
            int rounds, int manyClients, int preloaded, int mailbox, int stores, int idle) {
        static final Sizes FULL = new Sizes(5, 1000, 2_000_000, 1_000_000, 100_000, 9_000);
        static final Sizes QUICK = new Sizes(1, 100, 20_000, 20_000, 2_000, 200);
    }

    private final Bench bench;
    private final Sizes sizes;
    private final List<Report.Lane> lanes = new ArrayList<>();
    private final List<Report.Bar> bars = new ArrayList<>();
    private final List<Target.Count> counts = new ArrayList<>();

    Bars(Bench bench) {
        this.bench = bench;
        sizes = bench.quick ? Sizes.QUICK : Sizes.FULL;
    }

    Report report() throws IOException {
        starts();
        memory();
        bigMailbox();
        return load();
    }

    // ---------------------------------------------------------------- bars that stand alone

    /** Command to ready line and command to menu, each over the hello world of the same round. */
    private void starts() throws IOException {
        var hello = Files.writeString(bench.folder.resolve("Hello.java"), HELLO);
        var store = bench.folder.resolve("starts.db").toString();
        var server = bench.starter.script(Path.of("MsgServer.java"), List.of());
        server.addAll(List.of("0", "--store", store));
        var client = bench.starter.script(Path.of("MsgClient.java"), List.of());
        client.addAll(List.of("127.0.0.1", "5000", "--user", "bench"));
        var serverRatios = DoubleStream.builder();
        var clientRatios = DoubleStream.builder();
        for (int i = 0; i <= 2 * sizes.rounds; i++) {
            bench.progress("starting programs, round " + i);
            double base = millisUntil("Hello", "hello", bench.starter.script(hello, List.of()));
            double ready = millisUntil("Listening on port", "server", server);
            double menu = millisUntil("Exit", "client", client);
            if (i > 0) { // the first time compiles, and makes the store
                serverRatios.add(ready / base);
                clientRatios.add(menu / base);
            }
        }
        var toReady = Report.Spread.of(serverRatios.build().toArray());
        var toMenu = Report.Spread.of(clientRatios.build().toArray());
        most("server: command to ready line / picocli hello world", 1.3, toReady);
        most("client: command to menu / picocli hello world", 1.1, toMenu);
    }

    /** From starting {@code command} until it has written {@code text}. */
    private double millisUntil(String text, String name, List<String> command) throws IOException {
        long start = System.nanoTime();
        var process = bench.starter.launch(name, command);
        var said = new StringBuilder();
        try (var output = process.inputReader()) {
            while (said.indexOf(text) < 0) {
                int read = output.read();
                if (read < 0) {
                    throw bench.starter.failed(name, command);
                }
                said.append((char) read);
            }
            return (System.nanoTime() - start) / 1e6;
        } finally {
            new Servers.Server(process, 0).stop();
        }
    }

    private void memory() throws IOException {
        var resident = DoubleStream.builder();
        for (int i = 1; i <= sizes.rounds; i++) {
            bench.progress("%,d stores, server %d".formatted(sizes.stores, i));
            try (var target = bench.addOurs("memory" + i, 1, "", HERE)) {
                var turn =
                        Load.turn(target, Load.Mode.STORE, BUSY_CLIENTS, LONGEST_S, sizes.stores);
                resident.add(turn.residentMegabytes());
                counts.add(target.count());
            }
        }
        var spread = Report.Spread.of(resident.build().toArray());
        var what = "RSS after %,d stores".formatted(sizes.stores);
        bar(what, "<= 120 MB", spread.text("%.0f") + " MB", spread.median() <= 120);
    }

    /** All of one mailbox, again and again, by a client that reads as fast as it can. */
    private void bigMailbox() throws IOException {
        var rates = new double[sizes.rounds];
        double peak = 0;
        try (var target = bench.addPreloaded("mailbox", sizes.mailbox, 1)) {
            counts.add(target.count()); // and warms up
            double before = target.residentMegabytes();
            for (int i = 0; i < rates.length; i++) {
                bench.progress("fetching %,d messages, round %d".formatted(sizes.mailbox, i + 1));
                long start = System.nanoTime();
                peak = Math.max(peak, fetchAll(target));
                rates[i] = sizes.mailbox / ((System.nanoTime() - start) / 1e9);
            }
            var spread = Report.Spread.of(rates);
            var what = "fetch of %,d messages from one mailbox".formatted(sizes.mailbox);
            bar(what, ">= 300,000 /s", spread.text("%,.0f") + " /s", spread.median() >= 300_000);
            var resident =
                    "%.0f, %.0f, %.0f MB".formatted(before, peak, target.residentMegabytes());
            bar("RSS before, at most during, after", "flat: + 10%", resident, peak <= 1.1 * before);
        }
    }

    /** Reads a reply to its end, and returns the most memory the server was seen to take. */
    private double fetchAll(Target target) throws IOException {
        double peak = 0;
        int lines = 0;
        try (var socket = target.ask(0)) {
            var buffer = new byte[1 << 16];
            int sampled = 0;
            for (int size; (size = socket.getInputStream().read(buffer)) > 0; ) {
                for (int i = 0; i < size; i++) {
                    lines += buffer[i] == '\n' ? 1 : 0;
                }
                if (lines - sampled > sizes.mailbox / 20) {
                    sampled = lines;
                    peak = Math.max(peak, target.residentMegabytes());
                }
            }
        }
        if (lines != sizes.mailbox + 2) {
            throw new IOException("a mailbox of " + lines + " lines, not " + (sizes.mailbox + 2));
        }
        return peak;
    }

    // ---------------------------------------------------------------- bars under load

    private Report load() throws IOException {
        var floor = bench.addFloor();
        var redis = bench.addRedis();
        var ours = bench.addOurs(Bench.OURS, 1, "", HERE);
        var full = bench.addPreloaded("ours+preload", sizes.preloaded, bench.mailboxes);
        var idle = bench.addOurs("ours+idle", 1, "", HERE);
        double idleMegabytes = holdIdle(idle);
        for (int clients : List.of(1, BUSY_CLIENTS, sizes.manyClients)) {
            lane(floor, clients);
            redis.ifPresent(target -> lane(target, clients));
            lane(ours, clients);
        }
        lane(full, BUSY_CLIENTS);
        lane(idle, BUSY_CLIENTS);
        var fsyncMicros = bench.measure(lanes);
        counts.addAll(bench.count(lanes));

        var busy = lane(ours, BUSY_CLIENTS);
        var rate = Report.Figure.RATE;
        var p99 = Report.Figure.P99;
        least("64 clients: rate / floor", 0.85, rate.ratio(busy, lane(floor, BUSY_CLIENTS)));
        redis.map(target -> lane(target, BUSY_CLIENTS))
                .ifPresent(other -> {
                    least("64 clients: rate / Redis", 1, rate.ratio(busy, other));
                    var cpu = Report.Figure.CPU.ratio(busy, other);
                    most("64 clients: server CPU a message / Redis", 1.3, cpu);
                    most("64 clients: p99 / Redis", 1, p99.ratio(busy, other));
                });
        beyondFloor(lane(ours, 1), lane(floor, 1), fsyncMicros);
        var many = rate.ratio(lane(ours, sizes.manyClients), busy);
        least("%,d clients: rate / at 64".formatted(sizes.manyClients), 0.9, many);
        var crowded = rate.ratio(lane(full, BUSY_CLIENTS), busy);
        least("%,d messages before: rate / none".formatted(sizes.preloaded), 0.9, crowded);
        var silent = "%,d idle clients: ".formatted(sizes.idle);
        var cost = "%.0f MB".formatted(idleMegabytes);
        bar(silent + "memory", "<= 60 MB", cost, idleMegabytes <= 60);
        most(silent + "p99 of others / without", 1.1, p99.ratio(lane(idle, BUSY_CLIENTS), busy));
        return new Report(lanes, counts, bars, fsyncMicros);
    }

    /** The lane of so many clients, made when it is first asked for. */
    private Report.Lane lane(Target target, int clients) {
        for (var lane : lanes) {
            if (lane.target() == target && lane.clients() == clients) {
                return lane;
            }
        }
        var lane = new Report.Lane(target, clients);
        lanes.add(lane);
        return lane;
    }

    /** Opens the idle connections, and returns what they cost the server, in megabytes. */
    private double holdIdle(Target target) throws IOException {
        Load.turn(target, Load.Mode.STORE, 1, LONGEST_S, TOUCHES);
        double before = target.residentMegabytes();
        target.holdIdle(sizes.idle);
        // Connections are served in the order they came: with these, all have been taken.
        Load.turn(target, Load.Mode.STORE, 1, LONGEST_S, TOUCHES);
        return target.residentMegabytes() - before;
    }

    /** A store has to wait for the disk once, and may take 100 us more than no store at all. */
    private void beyondFloor(Report.Lane ours, Report.Lane floor, List<Double> fsyncMicros) {
        var over = Report.Figure.P50.of(ours);
        var under = Report.Figure.P50.of(floor);
        var beyond =
                Report.Spread.of(
                        IntStream.range(0, over.length)
                                .mapToDouble(i -> over[i] - under[i])
                                .toArray());
        double fsync = Report.Spread.of(fsyncMicros).median();
        bar(
                "1 client: p50 beyond the floor's",
                "<= %.0f us, a flush + 100".formatted(fsync + 100),
                beyond.text("%.0f") + " us",
                beyond.median() <= fsync + 100);
    }

    // ---------------------------------------------------------------- wording

    private void least(String what, double goal, Report.Spread measured) {
        bar(what, ">= " + goal, measured.text("%.2f"), measured.median() >= goal);
    }

    private void most(String what, double goal, Report.Spread measured) {
        bar(what, "<= " + goal, measured.text("%.2f"), measured.median() <= goal);
    }

    private void bar(String what, String goal, String measured, boolean reached) {
        bars.add(new Report.Bar(what, goal, measured, reached));
    }
}
