//JAVA 21+
//SOURCES Load.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.util.ArrayList;
import java.util.List;
import java.util.function.ToDoubleFunction;
import java.util.stream.DoubleStream;

/**
 * The figures of a run, as tables.
 *
 * @param bars lines that compare figures with the project's goals
 * @param flush microseconds that one flush of the disk takes
 */
record Report(List<Lane> lanes, List<Target.Count> counts, List<String> bars, Spread flush) {
    /** The figures of a turn. The report has ratios of the first four. */
    private static final List<ToDoubleFunction<Load.Turn>> FIGURES =
            List.of(
                    Load.Turn::rate,
                    Load.Turn::p50,
                    Load.Turn::p99,
                    Load.Turn::cpu,
                    Load.Turn::load,
                    Load.Turn::resident);

    /** One target at one number of clients, with a turn for each round. */
    record Lane(Target target, int clients, List<Load.Turn> turns) {
        Lane(Target target, int clients) {
            this(target, clients, new ArrayList<>());
        }

        DoubleStream of(ToDoubleFunction<Load.Turn> figure) {
            return turns.stream().mapToDouble(figure);
        }

        /** Returns, round by round, the figure of this lane over the figure of {@code other}. */
        DoubleStream over(Lane other, ToDoubleFunction<Load.Turn> figure) {
            var others = other.of(figure).iterator();
            return of(figure).map(value -> value / others.next());
        }

        @Override
        public String toString() {
            return target.name + " at " + clients;
        }
    }

    /** Median, smallest and largest value. */
    record Spread(double median, double min, double max) {
        /** Takes at least one value. */
        static Spread of(DoubleStream values) {
            var sorted = values.sorted().toArray();
            int last = sorted.length - 1;
            double median = (sorted[last / 2] + sorted[(last + 1) / 2]) / 2;
            return new Spread(median, sorted[0], sorted[last]);
        }

        /** Returns the three numbers, each in {@code format}. */
        String text(String format) {
            return "%s (%s..%s)".replace("%s", format).formatted(median, min, max);
        }
    }

    /** Prints the report. Returns whether no request failed and each message is there once. */
    boolean print() {
        printFigures();
        printRatios();
        counts.forEach(count -> System.out.println(count.text()));
        bars.forEach(System.out::println);
        return lanes.stream().flatMap(lane -> lane.turns.stream()).allMatch(t -> t.failures() == 0)
                && counts.stream().allMatch(Target.Count::isWhole);
    }

    private void printFigures() {
        System.out.println(
                "target    at clients requests/s    p50 us    p99 us    CPU us   load us   RSS MB");
        for (var lane : lanes) {
            System.out.printf("%-13s %7d", lane.target.name, lane.clients);
            for (var figure : FIGURES) {
                System.out.printf("%,10.0f", Spread.of(lane.of(figure)).median);
            }
            System.out.println();
        }
        System.out.println(
                "Medians of the rounds. CPU per request: the server's; load: the generator's.");
        System.out.printf("One flush of this disk takes %s us", flush.text("%.0f"));
        System.out.println("; below 10 us it is memory, not a disk: see --dir.");
    }

    /** Compares our server (without it, the first target) with the rest at equal client counts. */
    private void printRatios() {
        var names = lanes.stream().map(lane -> lane.target.name).toList();
        var reference = names.contains("ours") ? "ours" : names.getFirst();
        System.out.printf("%n%-14s %6s", reference + " /", "");
        System.out.printf(" %19s %19s %19s %19s%n", "requests/s", "p50", "p99", "CPU");
        for (var other : lanes) {
            for (var lane : lanes) {
                boolean beside = lane.clients == other.clients && lane != other;
                if (beside && lane.target.name.equals(reference)) {
                    System.out.printf("%-14s %6d", other.target.name, other.clients);
                    for (var figure : FIGURES.subList(0, 4)) {
                        var ratio = Spread.of(lane.over(other, figure));
                        System.out.printf(" %19s", ratio.text("%.2f"));
                    }
                    System.out.println(
                            other.target.peer == null ? "" : "  " + other.target.peer.safe());
                }
            }
        }
        System.out.println("Medians of the ratios within a round (smallest..largest).\n");
    }
}
