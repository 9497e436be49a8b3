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
import java.util.function.ToDoubleFunction;
import java.util.stream.DoubleStream;

/** Measures, in one run, all figures for which the project has a goal. */
final class Bars {
    private static final int BUSY = 64;

    /** The smallest script with a command line. JBang itself never prints "Good day". */
    private static final String HELLO =
            """
            //JAVA 21+
            //DEPS info.picocli:picocli:4.7.7
            @picocli.CommandLine.Command
            public class Hello implements Runnable {
                public static void main(String... args) {
                    System.exit(new picocli.CommandLine(new Hello()).execute(args));
                }
                public void run() { System.out.println("Good day"); }
            }
            """;

    private final Bench bench;
    private final List<Report.Lane> lanes = new ArrayList<>();
    private final List<String> bars = new ArrayList<>();
    private final List<Target.Count> counts = new ArrayList<>();

    Bars(Bench bench) {
        this.bench = bench;
    }

    private int count(int full) {
        return bench.quick ? full / 50 : full; // a quick run only shows that the benchmark works
    }

    Report report() throws IOException {
        starts();
        memory();
        bigMailbox();
        return load();
    }

    /** Measures both programs' starts, each divided by the hello world's of the same round. */
    private void starts() throws IOException {
        var folder = bench.starter.folder();
        var store = folder.resolve("starts.db").toString();
        var server = Servers.script(Path.of("MsgServer.java"), "0", "--store", store);
        var client = Servers.script(Path.of("MsgClient.java"), "::1", "1", "--user", "bench");
        var helloScript = Servers.script(Files.writeString(folder.resolve("Hello.java"), HELLO));
        var ready = DoubleStream.builder();
        var menu = DoubleStream.builder();
        for (int i = 0; i <= 2 * bench.rounds; i++) {
            bench.progress("starting programs, round " + i);
            double hello = millisUntil("Good day", helloScript);
            ready.add(millisUntil("Listening on port", server) / hello);
            menu.add(millisUntil("Exit", client) / hello);
        }
        // The first round does not count: it compiles the programs and creates the store.
        bar("server: command to ready / picocli hello", "<= 1.45", "%.2f", ready.build().skip(1));
        bar("client: command to menu / picocli hello", "<= 1.1", "%.2f", menu.build().skip(1));
    }

    /** Returns the time from the start of {@code command} until it has written {@code text}. */
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
                resident.add(Load.turn(target, BUSY, 120, stores).resident());
                counts.add(target.count());
            }
        }
        bar("RSS after %,d stores".formatted(stores), "<= 120", "%.0f MB", resident.build());
    }

    /** Fetches one big mailbox again and again, as fast as a client can read. */
    private void bigMailbox() throws IOException {
        int messages = count(1_000_000);
        var rates = DoubleStream.builder();
        try (var target = bench.ours("mailbox")) {
            target.mailboxes = 1;
            bench.preload(target, messages);
            counts.add(target.count()); // also warms up
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
            bar("RSS then: at most 10% more", "<= %.0f".formatted(1.1 * before), "%.0f MB", peak);
        }
    }

    /** Measures all targets under load. Returns the report with all bars. */
    private Report load() throws IOException {
        int messages = count(2_000_000);
        int silent = count(9_000);
        var targets = bench.targets(List.of("floor", "shape", "redis", "ours"));
        for (int clients : List.of(1, BUSY, 1000)) {
            targets.forEach(target -> lanes.add(new Report.Lane(target, clients)));
        }
        lanes.add(new Report.Lane(bench.preload(bench.ours("preloaded"), messages), BUSY));
        var disturbed = bench.ours("with-idle");
        lanes.add(new Report.Lane(disturbed, BUSY));
        try (var idle = new Idle(disturbed)) {
            Load.turn(disturbed, 1, 120, 1); // loads the classes of a conversation
            double before = disturbed.memory("VmRSS");
            idle.hold(silent);
            var cost = DoubleStream.of(disturbed.memory("VmRSS") - before);
            bar("RSS for %,d idle clients".formatted(silent), "<= 60", "%.0f MB", cost);
            var measured = bench.measure(lanes);
            counts.addAll(measured.counts());
            counts.add(idle.count());
            ratio("CPU", Load.Turn::cpu, "ours at 64", "shape at 64", "<= 1.2");
            ratio("rate", Load.Turn::rate, "ours at 64", "floor at 64", ">= 0.85");
            ratio("rate", Load.Turn::rate, "ours at 64", "redis at 64", ">= 0.7");
            ratio("p99", Load.Turn::p99, "ours at 64", "redis at 64", "<= 1.5");
            ratio("CPU", Load.Turn::cpu, "ours at 64", "redis at 64", "<= 1.6");
            ratio("rate", Load.Turn::rate, "ours at 1000", "ours at 64", ">= 0.9");
            ratio("rate", Load.Turn::rate, "ours at 1000", "floor at 1000", ">= 0.85");
            ratio("rate", Load.Turn::rate, "preloaded at 64", "ours at 64", ">= 0.9");
            ratio("p99", Load.Turn::p99, "with-idle at 64", "ours at 64", "<= 1.1");
            // A store may take longer than the floor by one flush of the disk and 100 us.
            var goal = "<= %.0f".formatted(measured.flush().median() + 100);
            var floor = lane("floor at 1").of(Load.Turn::p50).iterator();
            var beyond = lane("ours at 1").of(Load.Turn::p50).map(p50 -> p50 - floor.next());
            bar("p50: ours at 1 - floor at 1", goal, "%.0f us", beyond);
            return new Report(lanes, counts, bars, measured.flush());
        }
    }

    /** Returns null if there is no such lane. */
    private Report.Lane lane(String name) {
        return lanes.stream().filter(l -> l.toString().equals(name)).findFirst().orElse(null);
    }

    private void ratio(
            String what, ToDoubleFunction<Load.Turn> of, String over, String under, String goal) {
        if (lane(under) != null) { // without Redis, the bars that need Redis are left out
            var ratios = lane(over).over(lane(under), of);
            bar(what + ": " + over + " / " + under, goal, "%.2f", ratios);
        }
    }

    /** Judges the median by a goal that begins with {@code <=} or {@code >=}. */
    private void bar(String what, String goal, String format, DoubleStream values) {
        var measured = Report.Spread.of(values);
        double beyond = measured.median() - Double.parseDouble(goal.substring(3));
        boolean reached = goal.startsWith("<=") ? beyond <= 0 : beyond >= 0;
        var verdict = reached ? "reached" : "MISSED";
        bars.add("%-44s %9s  %-28s  %s".formatted(what, goal, measured.text(format), verdict));
    }
}
