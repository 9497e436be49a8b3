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
import java.util.Optional;
import java.util.function.ToDoubleFunction;
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
    private final List<String> bars = new ArrayList<>();
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

    /** Command to ready line and command to menu, each over the hello world of the same round. */
    private void starts() throws IOException {
        var folder = bench.starter.folder();
        var store = folder.resolve("starts.db").toString();
        var server = Servers.script(Path.of("MsgServer.java"), "0", "--store", store);
        var client = Servers.script(Path.of("MsgClient.java"), "::1", "1", "--user", "bench");
        var hello = Servers.script(Files.writeString(folder.resolve("Hello.java"), HELLO));
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

    /** Returns what a flush of the disk costs. */
    private Report.Spread load() throws IOException {
        int messages = count(2_000_000);
        int silent = count(9_000);
        var targets = bench.targets(List.of("floor", "shape", "redis", "ours"));
        for (int clients : List.of(1, BUSY, MANY)) {
            targets.forEach(target -> lanes.add(new Report.Lane(target, clients)));
        }
        lanes.add(new Report.Lane(bench.preloaded("preloaded", messages, Bench.MAILBOXES), BUSY));
        var disturbed = bench.ours("with-idle");
        lanes.add(new Report.Lane(disturbed, BUSY));
        try (var idle = new Idle(disturbed)) {
            disturbed.storeOne(); // loads what a conversation needs
            double before = disturbed.memory("VmRSS");
            idle.hold(silent);
            var cost = DoubleStream.of(disturbed.memory("VmRSS") - before);
            bar("RSS for %,d idle clients".formatted(silent), "<= 60", "%.0f MB", cost);
            var flush = bench.measure(lanes);
            counts.addAll(bench.count(lanes));
            counts.add(idle.count());
            ratio("CPU", Load.Turn::cpu, "ours at 64", "shape at 64", "<= 1.2");
            ratio("rate", Load.Turn::rate, "ours at 64", "shape at 64", ">= 0.85");
            ratio("rate", Load.Turn::rate, "ours at 64", "floor at 64", ">= 0.85");
            ratio("rate", Load.Turn::rate, "ours at 64", "redis at 64", ">= 0.7");
            ratio("p99", Load.Turn::p99, "ours at 64", "redis at 64", "<= 1.5");
            ratio("CPU", Load.Turn::cpu, "ours at 64", "redis at 64", "<= 1.6");
            ratio("rate", Load.Turn::rate, "ours at 1000", "ours at 64", ">= 0.9");
            ratio("rate", Load.Turn::rate, "ours at 1000", "floor at 1000", ">= 0.85");
            ratio("rate", Load.Turn::rate, "preloaded at 64", "ours at 64", ">= 0.9");
            ratio("p99", Load.Turn::p99, "with-idle at 64", "ours at 64", "<= 1.1");
            beyondFloor(lane("ours at 1").get(), lane("floor at 1").get(), flush.median());
            return flush;
        }
    }

    private Optional<Report.Lane> lane(String name) {
        return lanes.stream().filter(lane -> lane.toString().equals(name)).findFirst();
    }

    /** A store has to wait for the disk once, and may take 100 us more than no store at all. */
    private void beyondFloor(Report.Lane ours, Report.Lane floor, double flush) {
        var micros =
                IntStream.range(0, bench.rounds)
                        .mapToDouble(i -> ours.turns().get(i).p50() - floor.turns().get(i).p50());
        bar("p50: ours at 1 - floor at 1", "<= %.0f".formatted(flush + 100), "%.0f us", micros);
    }

    /** Without Redis there is no bar for it. */
    private void ratio(
            String what,
            ToDoubleFunction<Load.Turn> figure,
            String over,
            String under,
            String goal) {
        lane(under)
                .map(other -> lane(over).orElseThrow().over(other, figure))
                .ifPresent(ratio -> bar(what + ": " + over + " / " + under, goal, RATIO, ratio));
    }

    private void bar(String what, String goal, String format, DoubleStream measured) {
        bar(what, goal, format, Report.Spread.of(measured));
    }

    /** Judges the median by a goal that begins with {@code <=} or {@code >=}. */
    private void bar(String what, String goal, String format, Report.Spread measured) {
        double beyond = measured.median() - Double.parseDouble(goal.substring(3));
        boolean reached = goal.startsWith("<=") ? beyond <= 0 : beyond >= 0;
        var verdict = reached ? "reached" : "MISSED";
        bars.add("%-44s %9s  %-28s  %s".formatted(what, goal, measured.text(format), verdict));
    }
}
