//JAVA 21+
//SOURCES Idle.java
//SOURCES Plot.java
//SOURCES Servers.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import com.sun.management.UnixOperatingSystemMXBean;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * Compares a process, a platform thread and a virtual thread for each connection, and an event loop
 * for all connections, in bare servers and in our server. Many clients are connected and send
 * nothing. The comparison measures the threads and the memory that these clients cost the server,
 * and the speed of 16 other clients.
 *
 * <p>All servers end with the benchmark, which takes no longer than {@link #END_S} seconds.
 */
final class Threads {
    private static final List<Integer> IDLE = List.of(100, 1_000, 5_000, 10_000);
    private static final List<Integer> FEW_IDLE = List.of(10, 30, 100);
    private static final int OTHERS = 16;

    /** No measurement starts after this time. */
    private static final int LIMIT_S = 190;

    /** The benchmark ends after this time: 4 minutes at most with the start of the JVM. */
    private static final int END_S = 230;

    /** Descriptors and processes that the machine needs for everything else. */
    private static final int SPARE = 300;

    /** The most memory that a client costs: that of a process, mostly in the kernel. */
    private static final int CLIENT_KB = 200;

    /** The stack that Linux keeps for each thread on x86-64 and on arm64. */
    private static final int KERNEL_STACK_KB = 16;

    /** A kind of server: its name in the table, and its start. */
    private record Kind(String name, Starter starter) {}

    private interface Starter {
        Servers.Server start() throws IOException;
    }

    /**
     * The figures of one kind of server with {@code idle} clients.
     *
     * @param threads the threads of all its processes, counted by the operating system
     * @param megabytes its pages (PSS: each of n processes that share a page counts an n-th of it),
     *     its page tables, and its threads' stacks in the kernel
     * @param p99 the p99 of the other clients, in milliseconds
     * @param rate the requests of the other clients in a second
     */
    record Point(
            String kind, int idle, double threads, double megabytes, double p99, double rate) {}

    private final Bench bench;
    private final List<Point> points = new ArrayList<>();
    private final List<String> remarks = new ArrayList<>();
    private final long start = System.nanoTime();

    Threads(Bench bench) {
        this.bench = bench;
    }

    /** Measures, prints a table, and draws the chart into {@code folder}. */
    void compare(Path folder) throws IOException {
        Thread.ofPlatform().daemon().start(Threads::endInTime);
        for (var kind : kinds()) {
            try {
                measure(kind);
            } catch (IOException e) {
                remarks.add(kind.name + ": stopped here. " + e.getMessage());
            }
        }
        bench.progress("");
        print();
        if (points.stream().mapToInt(Point::idle).distinct().count() > 1) {
            Plot.draw(points, folder);
        }
    }

    private static void endInTime() {
        try {
            TimeUnit.SECONDS.sleep(END_S);
            System.err.println("\nThe benchmark takes too long; it ends all servers now.");
            System.exit(1);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private List<Kind> kinds() {
        return List.of(
                new Kind("fork", this::fork),
                new Kind("platform", () -> bench.starter.yardstick("platform")),
                new Kind("virtual", () -> bench.starter.yardstick("virtual")),
                new Kind("event loop", () -> bench.starter.yardstick("loop")),
                new Kind("ours, platform", () -> ours("platform")),
                new Kind("ours, virtual", () -> ours("virtual")));
    }

    private Servers.Server ours(String threads) throws IOException {
        var store = bench.starter.folder().resolve(threads + ".db").toString();
        return bench.starter.ours("ours-" + threads, Path.of(""), store, "--threads", threads);
    }

    private Servers.Server fork() throws IOException {
        var program = bench.starter.folder().resolve("fork").toString();
        var source = Path.of("benchmark", "fork.c").toString();
        try {
            var compiler =
                    new ProcessBuilder("cc", "-O2", "-o", program, source).inheritIO().start();
            if (!compiler.waitFor(30, TimeUnit.SECONDS) || compiler.exitValue() != 0) {
                throw new IOException("cc does not compile " + source + ".");
            }
        } catch (InterruptedException e) {
            throw new IOException("interrupted while compiling", e);
        }
        return bench.starter.start("fork-server", List.of(program), Servers.READY);
    }

    private void measure(Kind kind) throws IOException {
        bench.progress(kind.name + ": warming up");
        var server = kind.starter.start();
        try (var target = new Target(kind.name, List.of(server));
                var idle = new Idle(target)) {
            Load.turn(target, OTHERS, bench.warmup, Integer.MAX_VALUE);
            for (int count : bench.quick ? FEW_IDLE : IDLE) {
                check(kind, count);
                bench.progress("%s: %,d idle clients".formatted(kind.name, count));
                idle.hold(count);
                var turn = Load.turn(target, OTHERS, bench.seconds, Integer.MAX_VALUE);
                double threads = sum(server, "status", "Threads");
                double kilobytes =
                        sum(server, "smaps_rollup", "Pss") + sum(server, "status", "VmPTE");
                double megabytes = (kilobytes + threads * KERNEL_STACK_KB) / 1024;
                points.add(
                        new Point(
                                kind.name,
                                count,
                                threads,
                                megabytes,
                                turn.p99() / 1e3,
                                turn.rate()));
                if (turn.failures() > 0 || !idle.count().isWhole()) {
                    throw new IOException(turn.failures() + " failures; " + idle.count().text());
                }
            }
        }
    }

    /** Sums over all processes of a server; takes a second for ten thousand processes. */
    private static double sum(Servers.Server server, String file, String key) {
        var handle = server.process().toHandle();
        return Stream.concat(Stream.of(handle), handle.descendants())
                .mapToDouble(process -> Servers.number(process, file, key))
                .sum();
    }

    /** Throws an exception if the machine lacks time, descriptors, processes or memory. */
    private void check(Kind kind, int count) throws IOException {
        if (System.nanoTime() - start > TimeUnit.SECONDS.toNanos(LIMIT_S)) {
            throw new IOException("The time of " + LIMIT_S + " s is over.");
        }
        var system = ManagementFactory.getOperatingSystemMXBean();
        if (system instanceof UnixOperatingSystemMXBean unix
                && unix.getMaxFileDescriptorCount() < count + SPARE) {
            var most = unix.getMaxFileDescriptorCount();
            throw new IOException("There are %,d descriptors, see ulimit -n.".formatted(most));
        }
        if (!kind.name.endsWith("fork") && !kind.name.endsWith("platform")) {
            return; // the other kinds cost the system little
        }
        long most = Math.min(number("/proc/sys/kernel/pid_max"), number("/sys/fs/cgroup/pids.max"));
        if (most < count + SPARE) {
            throw new IOException("The limit is %,d processes.".formatted(most));
        }
        long free = number("/proc/meminfo");
        if (free < (long) count * CLIENT_KB) {
            throw new IOException("There are %,d MB of free memory.".formatted(free / 1024));
        }
    }

    /** Returns the first number in a file, or the available memory, or else the largest long. */
    private static long number(String file) throws IOException {
        if (!Files.exists(Path.of(file))) {
            return Long.MAX_VALUE;
        }
        return Files.readAllLines(Path.of(file)).stream()
                .filter(line -> !file.endsWith("meminfo") || line.startsWith("MemAvailable"))
                .map(line -> line.replaceAll("\\D", ""))
                .filter(digits -> !digits.isEmpty()) // "max"
                .map(Long::parseLong)
                .findFirst()
                .orElse(Long.MAX_VALUE);
    }

    private void print() {
        System.out.println(
                "served by               idle clients  OS threads  memory MB  16 others: p99 ms  "
                        + " rate");
        var last = "";
        for (var point : points) {
            System.out.printf(
                    "%-22s %,13d  %,10.0f  %,9.0f  %,17.1f %,6.0f%n",
                    point.kind.equals(last) ? "" : point.kind,
                    point.idle,
                    point.threads,
                    point.megabytes,
                    point.p99,
                    point.rate);
            last = point.kind;
        }
        System.out.println(
                """
                OS threads and memory are sums over all processes of a server. Memory counts pages
                (PSS: processes divide a shared page), page tables, and the kernel's stacks.
                Our server stores each message and waits for the disk; the others store nothing.\
                """);
        remarks.forEach(System.out::println);
    }
}
