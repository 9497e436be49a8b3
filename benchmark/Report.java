//JAVA 21+
//SOURCES Load.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * The figures of a run, as tables for people or as JSON for programs.
 *
 * @param fsyncMicros what one flush of the disk cost, round by round
 */
record Report(
        List<Lane> lanes, List<Target.Count> counts, List<Bar> bars, List<Double> fsyncMicros) {

    /** No disk flushes in less than this. */
    private static final double NO_DISK_MICROS = 10;

    /** One target at one number of clients, and what its turns gave, one a round. */
    record Lane(Target target, int clients, List<Load.Turn> turns) {
        Lane(Target target, int clients) {
            this(target, clients, new ArrayList<>());
        }

        int failures() {
            return turns.stream().mapToInt(Load.Turn::failures).sum();
        }

        @Override
        public String toString() {
            return "%s, %d client%s".formatted(target.name, clients, clients == 1 ? "" : "s");
        }
    }

    /** What is taken from each turn. */
    enum Figure {
        RATE("requests/s", "%,.0f", Load.Turn::rate),
        P50("p50 us", "%,.0f", Load.Turn::p50),
        P99("p99 us", "%,.0f", Load.Turn::p99),
        MAX("max us", "%,.0f", Load.Turn::max),
        CPU("CPU us", "%.1f", Load.Turn::cpuMicros),
        LOAD("load us", "%.1f", Load.Turn::loadMicros),
        RSS("RSS MB", "%.0f", Load.Turn::residentMegabytes);

        /** Those that are worth a ratio. */
        static final List<Figure> COMPARED = List.of(RATE, P50, P99, CPU);

        private final String title;
        private final String format;
        private final ToDoubleFunction<Load.Turn> of;

        Figure(String title, String format, ToDoubleFunction<Load.Turn> of) {
            this.title = title;
            this.format = format;
            this.of = of;
        }

        /** Its name in JSON; the unit is in the title. */
        private String key() {
            return name().toLowerCase(Locale.ROOT);
        }

        double[] of(Lane lane) {
            return lane.turns.stream().mapToDouble(of).toArray();
        }

        /** Round by round, the figure of {@code lane} over that of {@code other}. */
        Spread ratio(Lane lane, Lane other) {
            var over = of(lane);
            var under = of(other);
            return Spread.of(
                    IntStream.range(0, over.length).mapToDouble(i -> over[i] / under[i]).toArray());
        }
    }

    /** Median, smallest and largest. */
    record Spread(double median, double min, double max) {
        static Spread of(List<Double> values) {
            return of(values.stream().mapToDouble(Double::doubleValue).toArray());
        }

        static Spread of(double... values) {
            var sorted = values.clone();
            Arrays.sort(sorted);
            int last = sorted.length - 1;
            return last < 0
                    ? new Spread(Double.NaN, Double.NaN, Double.NaN)
                    : new Spread(
                            (sorted[last / 2] + sorted[(last + 1) / 2]) / 2,
                            sorted[0],
                            sorted[last]);
        }

        /** With each number in {@code format}. */
        String text(String format) {
            return "%s (%s..%s)".replace("%s", format).formatted(median, min, max);
        }
    }

    /** A goal and what was measured. */
    record Bar(String what, String goal, String measured, boolean reached) {}

    /** Fine if no request failed and every message is where it belongs. */
    boolean isFine() {
        return lanes.stream().allMatch(lane -> lane.failures() == 0)
                && counts.stream().allMatch(Target.Count::isWhole);
    }

    /** Lanes to compare: ours, or else the first, with each other one of as many clients. */
    private List<List<Lane>> pairs() {
        var names = lanes.stream().map(lane -> lane.target.name).toList();
        var reference = names.contains(Bench.OURS) ? Bench.OURS : names.getFirst();
        var pairs = new ArrayList<List<Lane>>();
        for (var lane : lanes) {
            for (var other : lanes) {
                if (lane.target.name.equals(reference)
                        && other.target != lane.target
                        && other.clients == lane.clients) {
                    pairs.add(List.of(lane, other));
                }
            }
        }
        return pairs;
    }

    // ---------------------------------------------------------------- for people

    void text(PrintWriter out) {
        var rows = new ArrayList<List<String>>();
        rows.add(row("", "clients", List.of(Figure.values()), figure -> figure.title, "failures"));
        for (var lane : lanes) {
            rows.add(
                    row(
                            lane.target.name,
                            "" + lane.clients,
                            List.of(Figure.values()),
                            figure -> median(figure, lane),
                            "" + lane.failures()));
        }
        table(out, rows);
        out.println("Medians of the rounds. CPU: the server's, load: the generator's, a request.");
        var fsync = Spread.of(fsyncMicros);
        out.printf("One flush of this disk takes %s us.%n", fsync.text("%.0f"));
        if (fsync.median < NO_DISK_MICROS) {
            out.println("That is no disk but memory: choose a folder on a disk with --dir.");
        }
        out.println();
        rows.clear();
        rows.add(row("", "clients", Figure.COMPARED, figure -> figure.title, ""));
        for (var pair : pairs()) {
            var lane = pair.getFirst();
            var other = pair.getLast();
            rows.add(
                    row(
                            lane.target.name + " / " + other.target.name,
                            "" + lane.clients,
                            Figure.COMPARED,
                            figure -> figure.ratio(lane, other).text("%.2f"),
                            ""));
        }
        if (rows.size() > 1) {
            table(out, rows);
            out.println("Medians of the ratios within a round (smallest..largest).\n");
        }
        for (var lane : lanes) {
            lane.turns.stream()
                    .map(Load.Turn::firstFailure)
                    .filter(Objects::nonNull)
                    .findFirst()
                    .ifPresent(why -> out.println(lane + ": the first failure: " + why));
        }
        counts.forEach(out::println);
        rows.clear();
        rows.add(List.of("", "bar", "measured", "reached"));
        for (var bar : bars) {
            rows.add(List.of(bar.what, bar.goal, bar.measured, bar.reached ? "yes" : "NO"));
        }
        if (rows.size() > 1) {
            out.println();
            table(out, rows);
        }
    }

    private static String median(Figure figure, Lane lane) {
        return figure.format.formatted(Spread.of(figure.of(lane)).median);
    }

    private static List<String> row(
            String first,
            String second,
            List<Figure> figures,
            java.util.function.Function<Figure, String> cell,
            String last) {
        var row = new ArrayList<>(List.of(first, second));
        figures.forEach(figure -> row.add(cell.apply(figure)));
        row.add(last);
        return row;
    }

    /** Names to the left, the rest to the right of columns as wide as they need to be. */
    private static void table(PrintWriter out, List<List<String>> rows) {
        var format = new StringBuilder();
        for (int i = 0; i < rows.getFirst().size(); i++) {
            int column = i;
            int width = rows.stream().mapToInt(row -> row.get(column).length()).max().orElse(0);
            format.append(i == 0 ? "%-" : "  %").append(Math.max(1, width)).append('s');
        }
        rows.forEach(
                row -> out.println(format.toString().formatted(row.toArray()).stripTrailing()));
    }

    // ---------------------------------------------------------------- for programs

    /** Each figure is [median, smallest, largest]; times in microseconds, memory in megabytes. */
    void json(PrintWriter out) {
        var tree = new LinkedHashMap<String, Object>();
        tree.put("processors", Runtime.getRuntime().availableProcessors());
        tree.put("system", System.getProperty("os.name") + " " + System.getProperty("os.version"));
        tree.put("java", System.getProperty("java.version"));
        tree.put("fsyncMicros", Spread.of(fsyncMicros));
        tree.put("lanes", lanes.stream().map(Report::tree).toList());
        tree.put("ratios", pairs().stream().map(Report::tree).toList());
        tree.put("counts", counts);
        tree.put("bars", bars);
        tree.put("fine", isFine());
        out.println(json(tree));
    }

    private static Map<String, Object> tree(Lane lane) {
        var tree = new LinkedHashMap<String, Object>();
        tree.put("target", lane.target.name);
        tree.put("clients", lane.clients);
        for (var figure : Figure.values()) {
            tree.put(figure.key(), Spread.of(figure.of(lane)));
        }
        tree.put("requests", lane.turns.stream().mapToInt(Load.Turn::requests).sum());
        tree.put("failures", lane.failures());
        return tree;
    }

    private static Map<String, Object> tree(List<Lane> pair) {
        var tree = new LinkedHashMap<String, Object>();
        tree.put("target", pair.getFirst().target.name);
        tree.put("over", pair.getLast().target.name);
        tree.put("clients", pair.getFirst().clients);
        for (var figure : Figure.COMPARED) {
            tree.put(figure.key(), figure.ratio(pair.getFirst(), pair.getLast()));
        }
        return tree;
    }

    private static String json(Object value) {
        return switch (value) {
            case Map<?, ?> map ->
                    map.entrySet().stream()
                            .map(entry -> json(entry.getKey()) + ": " + json(entry.getValue()))
                            .collect(Collectors.joining(", ", "{", "}"));
            case List<?> list ->
                    list.stream().map(Report::json).collect(Collectors.joining(",\n  ", "[", "]"));
            case Double number -> Double.isFinite(number) ? "%.3f".formatted(number) : "null";
            case Integer number -> number.toString();
            case Boolean truth -> truth.toString();
            case Spread(var median, var min, var max) ->
                    "[%s, %s, %s]".formatted(json(median), json(min), json(max));
            case Bar(var what, var goal, var measured, var reached) ->
                    json(
                            Map.of(
                                    "what",
                                    what,
                                    "bar",
                                    goal,
                                    "measured",
                                    measured,
                                    "reached",
                                    reached));
            case Target.Count count ->
                    json(
                            Map.of(
                                    "target", count.target(),
                                    "acknowledged", count.acknowledged(),
                                    "missing", count.missing(),
                                    "twice", count.twice(),
                                    "torn", count.torn(),
                                    "more", count.more(),
                                    "hungUp", count.hungUp()));
            default -> '"' + value.toString().replace("\\", "\\\\").replace("\"", "\\\"") + '"';
        };
    }
}
