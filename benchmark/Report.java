//JAVA 21+
//SOURCES Load.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.util.ArrayList;
import java.util.List;
import java.util.function.ToDoubleFunction;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;

/**
 * The figures of a run, as tables.
 *
 * @param bars lines that judge the project's goals
 * @param flush microseconds that one flush of the disk takes
 */
record Report(List<Lane> lanes, List<Target.Count> counts, List<String> bars, Spread flush) {
    /** One target at one number of clients, and what its turns gave, one a round. */
    record Lane(Target target, int clients, List<Load.Turn> turns) {
        Lane(Target target, int clients) {
            this(target, clients, new ArrayList<>());
        }

        private double[] of(ToDoubleFunction<Load.Turn> figure) {
            return turns.stream().mapToDouble(figure).toArray();
        }

        double median(ToDoubleFunction<Load.Turn> figure) {
            return Spread.of(DoubleStream.of(of(figure))).median;
        }

        /** Round by round, the figure of this lane over that of another. */
        Spread over(Lane other, ToDoubleFunction<Load.Turn> figure) {
            var over = of(figure);
            var under = other.of(figure);
            return Spread.of(IntStream.range(0, over.length).mapToDouble(i -> over[i] / under[i]));
        }

        @Override
        public String toString() {
            return target.name + " at " + clients;
        }
    }

    /** Median, smallest and largest. */
    record Spread(double median, double min, double max) {
        /** Of at least one value. */
        static Spread of(DoubleStream values) {
            var sorted = values.sorted().toArray();
            int last = sorted.length - 1;
            double median = (sorted[last / 2] + sorted[(last + 1) / 2]) / 2;
            return new Spread(median, sorted[0], sorted[last]);
        }

        /** With each number in {@code format}. */
        String text(String format) {
            return "%s (%s..%s)".replace("%s", format).formatted(median, min, max);
        }
    }

    /** Fine if no request failed and every message is where it belongs. */
    boolean isFine() {
        return lanes.stream().flatMap(lane -> lane.turns.stream()).allMatch(t -> t.failures() == 0)
                && counts.stream().allMatch(Target.Count::isWhole);
    }

    void print() {
        printFigures();
        printRatios();
        counts.forEach(count -> System.out.println(count.text()));
        bars.forEach(System.out::println);
    }

    private void printFigures() {
        System.out.println(
                "target    at clients  requests/s   p50 us   p99 us  CPU us  load us  RSS MB");
        for (var lane : lanes) {
            System.out.printf("%-13s %7d", lane.target.name, lane.clients);
            System.out.printf("  %,10.0f", lane.median(Load.Turn::rate));
            System.out.printf("  %,7.0f", lane.median(Load.Turn::p50));
            System.out.printf("  %,7.0f", lane.median(Load.Turn::p99));
            System.out.printf("  %6.1f", lane.median(Load.Turn::cpu));
            System.out.printf("  %7.1f", lane.median(Load.Turn::load));
            System.out.printf("  %6.0f%n", lane.median(Load.Turn::resident));
        }
        System.out.printf(
                """
                Medians of the rounds. CPU: the server's, load: the generator's, a request.
                One flush of this disk takes %s us.
                (Less than 10 us is no disk but memory: choose a folder on a disk with --dir.)
                """,
                flush.text("%.0f"));
    }

    /** Compares our server, or else the first, with each other one at as many clients. */
    private void printRatios() {
        var names = lanes.stream().map(lane -> lane.target.name).toList();
        var reference = names.contains("ours") ? "ours" : names.getFirst();
        var format = "%-14s %6s %19s %19s %19s %19s%n";
        System.out.printf("%n" + format, reference + " /", "", "requests/s", "p50", "p99", "CPU");
        for (var other : lanes) {
            lanes.stream()
                    .filter(lane -> lane.target.name.equals(reference))
                    .filter(lane -> lane.clients == other.clients && lane != other)
                    .forEach(lane ->
                            System.out.printf(
                                    format,
                                    other.target.name,
                                    other.clients,
                                    lane.over(other, Load.Turn::rate).text("%.2f"),
                                    lane.over(other, Load.Turn::p50).text("%.2f"),
                                    lane.over(other, Load.Turn::p99).text("%.2f"),
                                    lane.over(other, Load.Turn::cpu).text("%.2f")));
        }
        System.out.println("Medians of the ratios within a round (smallest..largest).\n");
    }
}
