//JAVA 21+
//SOURCES Idle.java
//SOURCES Report.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;

/** Everything that is needed to judge the project's goals for speed, in one run. */
final class Bars {
    private static final int BUSY = 64;
    private static final int MANY = 1000;
    private static final double LONGEST_S = 120;
    private static final String RATIO = "%.2f";

    /** A script that does as little as one with a command line can. */
    private static final String HELLO =
            """
            //JAVA 21+
            //DEPS info.picocli:picocli:4.7.7
            @picocli.CommandLine.Command(name = "hello")
            public class Hello implements Runnable {
                public static void main(String... args) {
                    System.exit(new picocli.CommandLine(new Hello()).execute(args));
                }
                public void run() {
                    System.out.println("Hello, world");
                }
            }
            """;

    private final Bench bench;
    private final List<Report.Lane> lanes = new ArrayList<>();
    private final List<Report.Bar> bars = new ArrayList<>();
    private final List<Target.Count> counts = new ArrayList<>();

    Bars(Bench bench) {
        this.bench = bench;
    }

    /** How much of something there is: a fiftieth, if it only has to be shown that it works. */
    private int count(int full) {
        return bench.quick ? full / 50 : full;
    }

    Report report() throws IOException {
        starts();
        memory();
        bigMailbox();
        var flush = load();
        return new Report(lanes, counts, bars, flush);
    }

    // ---------------------------------------------------------------- bars that stand alone

    /** Command to ready line and command to menu, each over the hello world of the same round. */
    private void starts() throws IOException {
        var folder = bench.starter.folder();
        var hello = Servers.script(Files.writeString(folder.resolve("Hello.java"), HELLO), "");
        var server = Servers.script(Path.of("MsgServer.java"), "");
        server.addAll(List.of("0", "--store", folder.resolve("starts.db").toString()));
        var client = Servers.script(Path.of("MsgClient.java"), "");
        client.addAll(List.of("127.0.0.1", "5000", "--user", "bench"));
        var ready = DoubleStream.builder();
        var menu = DoubleStream.builder();
        for (int i = 0; i <= 2 * bench.rounds; i++) {
            bench.progress("starting programs, round " + i);
            double base = millisUntil("Hello", hello);
            double toReady = millisUntil("Listening on port", server);
            double toMenu = millisUntil("Exit", client);
            if (i > 0) { // the first time compiles, and makes the store
                ready.add(toReady / base);
                menu.add(toMenu / base);
            }
        }
        bar("server: command to ready / picocli hello", "<= 1.45", RATIO, ready.build());
        bar("client: command to menu / picocli hello", "<= 1.1", RATIO, menu.build());
    }

    /** From starting {@code command} until it has written {@code text}. */
    private double millisUntil(String text, List<String> command) throws IOException {
        long start = System.nanoTime();
        var program = bench.starter.start("starts", command, text);
        double millis = (System.nanoTime() - start) / 1e6;
        program.stop();
        return millis;
    }

    private void memory() throws IOException {
        int stores = count(100_000);
        var resident = DoubleStream.builder();
        for (int i = 1; i <= bench.rounds; i++) {
            bench.progress("%,d stores, server %d".formatted(stores, i));
            try (var target = bench.ours("memory" + i)) {
                resident.add(Load.turn(target, BUSY, LONGEST_S, stores).resident());
                counts.add(target.count());
            }
        }
        bar("RSS after %,d stores".formatted(stores), "<= 120", "%.0f MB", resident.build());
    }

    /** All of one mailbox, again and again, by a client that reads as fast as it can. */
    private void bigMailbox() throws IOException {
        int messages = count(1_000_000);
        var rates = DoubleStream.builder();
        try (var target = bench.preloaded("mailbox", messages, 1)) {
            counts.add(target.count()); // and warms up
            double before = target.memory("VmRSS");
            for (int i = 1; i <= bench.rounds; i++) {
                bench.progress("fetching %,d messages, round %d".formatted(messages, i));
                long start = System.nanoTime();
                try (var reply = target.fetch(0)) {
                    reply.getInputStream().transferTo(OutputStream.nullOutputStream());
                }
                rates.add(messages / ((System.nanoTime() - start) / 1e9));
            }
            var what = "messages a second, of a mailbox of %,d".formatted(messages);
            bar(what, ">= 300000", "%,.0f", rates.build());
            var peak = DoubleStream.of(target.memory("VmHWM"));
            bar("RSS during that: flat, + 10%", "<= %.0f".formatted(1.1 * before), "%.0f MB", peak);
        }
    }

    // ---------------------------------------------------------------- bars under load

    /** Returns what a flush of the disk costs. */
    private Report.Spread load() throws IOException {
        int messages = count(2_000_000);
        int silent = count(9_000);
        var targets = bench.targets(List.of("floor", "shape", "redis", "ours"));
        for (int clients : List.of(1, BUSY, MANY)) {
            targets.forEach(target -> lanes.add(new Report.Lane(target, clients)));
        }
        var full = new Report.Lane(bench.preloaded("preloaded", messages, Bench.MAILBOXES), BUSY);
        var disturbed = new Report.Lane(bench.ours("with idle"), BUSY);
        lanes.addAll(List.of(full, disturbed));
        try (var idle = new Idle(disturbed.target())) {
            double before = disturbed.target().memory("VmRSS");
            idle.hold(silent);
            var cost = DoubleStream.of(disturbed.target().memory("VmRSS") - before);
            bar("%,d idle clients: memory".formatted(silent), "<= 60", "%.0f MB", cost);
            var flush = bench.measure(lanes);
            counts.addAll(bench.count(lanes));
            counts.add(idle.count());
            var busy = lane("ours", BUSY);
            var p99 = disturbed.over(busy, Load.Turn::p99);
            bar("    p99 of others / without", "<= 1.1", RATIO, p99);
            var crowded = full.over(busy, Load.Turn::rate);
            bar("%,d messages before: rate / none".formatted(messages), ">= 0.9", RATIO, crowded);
            ratios(busy, lane("ours", MANY));
            if (targets.size() == 4) {
                redis(busy, lane("redis", BUSY));
            }
            oneClient(lane("ours", 1).turns(), lane("floor", 1).turns(), flush.median());
            return flush;
        }
    }

    private Report.Lane lane(String target, int clients) {
        return lanes.stream()
                .filter(lane -> lane.target().name.equals(target) && lane.clients() == clients)
                .findFirst()
                .orElseThrow();
    }

    private void ratios(Report.Lane busy, Report.Lane many) {
        var shape = lane("shape", BUSY);
        bar("64 clients: CPU / shape", "<= 1.2", RATIO, busy.over(shape, Load.Turn::cpuMicros));
        bar("64 clients: rate / shape", ">= 0.85", RATIO, busy.over(shape, Load.Turn::rate));
        var floor = lane("floor", BUSY);
        bar("64 clients: rate / floor", ">= 0.85", RATIO, busy.over(floor, Load.Turn::rate));
        bar("1,000 clients: rate / at 64", ">= 0.9", RATIO, many.over(busy, Load.Turn::rate));
        floor = lane("floor", MANY);
        bar("1,000 clients: rate / floor", ">= 0.85", RATIO, many.over(floor, Load.Turn::rate));
    }

    private void redis(Report.Lane busy, Report.Lane redis) {
        bar("64 clients: rate / Redis", ">= 0.7", RATIO, busy.over(redis, Load.Turn::rate));
        bar("64 clients: p99 / Redis", "<= 1.5", RATIO, busy.over(redis, Load.Turn::p99));
        bar("64 clients: CPU / Redis", "<= 1.6", RATIO, busy.over(redis, Load.Turn::cpuMicros));
    }

    /** A store has to wait for the disk once, and may take 100 us more than no store at all. */
    private void oneClient(List<Load.Turn> ours, List<Load.Turn> floor, double flush) {
        var micros =
                IntStream.range(0, ours.size())
                        .mapToDouble(i -> ours.get(i).p50() - floor.get(i).p50());
        var goal = "<= %.0f".formatted(flush + 100);
        bar("1 client: p50 beyond floor's: a flush + 100", goal, "%.0f us", micros);
    }

    private void bar(String what, String goal, String format, DoubleStream measured) {
        bar(what, goal, format, Report.Spread.of(measured));
    }

    /** Judges the median by a goal that begins with {@code <=} or {@code >=}. */
    private void bar(String what, String goal, String format, Report.Spread measured) {
        double beyond = measured.median() - Double.parseDouble(goal.substring(3));
        boolean reached = goal.startsWith("<=") ? beyond <= 0 : beyond >= 0;
        bars.add(new Report.Bar(what, goal, measured.text(format), reached));
    }
}
