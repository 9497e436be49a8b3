///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Measures the server beside a bare accept loop and Redis, in turn, and prints ratios
//JAVA 21+
//DEPS info.picocli:picocli:4.7.7
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmn256m

import java.io.Closeable;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.StandardProtocolFamily;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.ToDoubleFunction;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.DoubleStream;
import java.util.stream.Stream;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * Drives the message server, a bare accept loop (the floor) and Redis with the same load, in turn.
 *
 * <p>Every target is a process of its own and stays up over all rounds; each round visits every
 * target at every number of clients, in an order that changes, and the figures to trust are the
 * ratios within one round, not the rates. Afterwards every message is fetched and counted.
 *
 * <p>What the figures do not say: load and server share this machine and its loopback, so a rate is
 * that of both together, and no network is in any latency; the loop is closed, so a slow server
 * gets fewer requests instead of a longer queue; connection handling is most of the work, so a
 * server behind persistent connections would look quite different; Redis keeps its data in memory
 * and answers many requests on one connection when allowed to, neither of which is asked of it here.
 */
@Command(
        name = "bench",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        usageHelpAutoWidth = true,
        description = "Measures the server beside a bare accept loop and Redis, in turn.",
        footer = {
            "%nRun it in a checkout of the project, for example:",
            "  ./jbang bench --clients 64 --rounds 5",
            "  ./jbang bench --mode fetch --targets ours,floor",
            "  ./jbang bench --variant one=-Djdk.virtualThreadScheduler.parallelism=1"
        })
public class Bench implements Callable<Integer> {
    /** Text of every message after its number: 40 bytes in all, about a line of chat. */
    private static final String TEXT = " a short line of chat, nothing much";

    private static final String SENDER = "bench";
    private static final int NUMBER_DIGITS = 9;
    private static final int MAILBOX_DIGITS = 6;

    /** How long a server may take to its ready line: the first start compiles it. */
    private static final Duration START_LIMIT = Duration.ofSeconds(120);

    /** A request without a whole answer by then has failed. */
    private static final Duration ANSWER_LIMIT = Duration.ofSeconds(15);

    /** What each request does. In MIXED, one request of four is a fetch. */
    enum Mode {
        STORE,
        FETCH,
        MIXED
    }

    /** The servers that can be measured. */
    enum Kind {
        OURS,
        FLOOR,
        REDIS
    }

    @Option(
            names = "--mode",
            defaultValue = "store",
            description = "store, fetch or mixed (default: ${DEFAULT-VALUE})")
    Mode mode;

    @Option(
            names = "--targets",
            split = ",",
            defaultValue = "floor,redis,ours",
            description =
                    "What to measure (default: ${DEFAULT-VALUE}; Redis where it is installed)")
    List<Kind> kinds;

    @Option(
            names = "--clients",
            split = ",",
            defaultValue = "1,64,1000",
            description = "Clients at once, each with one request at a time (${DEFAULT-VALUE})")
    int[] clients;

    @Option(names = "--rounds", defaultValue = "5", description = "Rounds (${DEFAULT-VALUE})")
    int rounds;

    @Option(
            names = "--seconds",
            defaultValue = "2",
            description = "Length of a target's turn in a round (${DEFAULT-VALUE})")
    double seconds;

    @Option(
            names = "--requests",
            defaultValue = "1000000",
            description = "Requests at most in a turn (${DEFAULT-VALUE})")
    int requests;

    @Option(
            names = "--warmup",
            defaultValue = "4",
            description = "Seconds of load before the first round, uncounted (${DEFAULT-VALUE})")
    double warmup;

    @Option(
            names = "--mailboxes",
            defaultValue = "1000",
            description = "Recipients the messages go to (${DEFAULT-VALUE})")
    int mailboxes;

    @Option(
            names = "--variant",
            paramLabel = "NAME=JVM-OPTIONS",
            description = "Measure our server with these JVM options too; can be repeated")
    Map<String, String> variants = new LinkedHashMap<>();

    @Option(
            names = "--against",
            paramLabel = "FOLDER",
            description = "Measure the server of another checkout too; can be repeated")
    List<Path> others = List.of();

    @Option(
            names = "--jbang",
            defaultValue = "./jbang",
            description = "The launcher that starts our server (${DEFAULT-VALUE})")
    String jbang;

    @Option(names = "--dir", description = "Folder for temporary stores (default: the system's)")
    Path dir;

    @Option(names = "--json", description = "Print the figures as JSON")
    boolean json;

    @CommandLine.Spec CommandLine.Model.CommandSpec spec;

    private Path folder;
    private final List<Target> targets = new ArrayList<>();

    /** Runs the benchmark, or with the argument {@code run-floor} the floor's process. */
    public static void main(String[] args) {
        var command = new CommandLine(new Bench()).setCaseInsensitiveEnumValuesAllowed(true);
        command.addSubcommand(new Floor());
        System.exit(command.execute(args));
    }

    @Override
    public Integer call() throws Exception {
        if (kinds.contains(Kind.OURS) && !Files.exists(Path.of("MsgServer.java"))) {
            return fail("Run this in a checkout of the project: there is no MsgServer.java here.");
        }
        var temporary = dir == null ? Path.of(System.getProperty("java.io.tmpdir")) : dir;
        folder = Files.createTempDirectory(temporary, "msg-bench");
        var cleaner = new Thread(this::cleanUp, "bench-cleaner");
        Runtime.getRuntime().addShutdownHook(cleaner);
        try {
            startTargets();
            return run();
        } finally {
            Runtime.getRuntime().removeShutdownHook(cleaner);
            cleanUp();
        }
    }

    private int fail(String sentence) {
        spec.commandLine().getErr().println(sentence);
        return 1;
    }

    private void cleanUp() {
        targets.forEach(Target::close);
        try (var files = Files.walk(folder)) {
            files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
        } catch (IOException e) {
            spec.commandLine().getErr().println("Left behind: " + folder + " (" + e + ")");
        }
    }

    // ---- What is measured -------------------------------------------------------------------

    private void startTargets() throws IOException {
        if (kinds.contains(Kind.FLOOR)) {
            add("floor", false, floor());
        }
        if (kinds.contains(Kind.REDIS)) {
            if (Server.isInstalled("redis-server")) {
                add("redis", true, redis());
            } else {
                spec.commandLine().getErr().println("redis-server is not installed: left out.");
            }
        }
        if (kinds.contains(Kind.OURS)) {
            add("ours", true, ours("ours", "", Path.of("")));
        }
        for (var variant : variants.entrySet()) {
            var name = variant.getKey();
            add(name, true, ours(name, variant.getValue(), Path.of("")));
        }
        for (var other : others) {
            var name = other.toRealPath().getFileName().toString();
            add(name, true, ours(name, "", other));
        }
    }

    private void add(String name, boolean stores, Server server) {
        Wire wire = name.equals("redis") ? new RedisWire(name) : new MessageWire(name);
        targets.add(new Target(name, stores, wire, List.of(server)));
    }

    /** Our server as a user starts it: JBang's launcher puts the java command in its own place. */
    private Server ours(String name, String jvmOptions, Path checkout) throws IOException {
        var command = new ArrayList<>(List.of(jbang, "run"));
        for (var option : jvmOptions.split(" ")) {
            if (!option.isEmpty()) {
                command.add("--java-options=" + option);
            }
        }
        var store = folder.resolve(name + ".db").toString();
        var script = checkout.resolve("MsgServer.java").toString();
        command.addAll(List.of(script, "0", "--store", store, "--timeout", "600", "--quiet"));
        return Server.start(name, command, folder, Pattern.compile("Listening on port (\\d+)"), 0);
    }

    private Server floor() throws IOException {
        var java = ProcessHandle.current().info().command().orElse("java");
        var path = System.getProperty("java.class.path");
        var command =
                List.of(java, "-XX:+UseSerialGC", "-cp", path, Bench.class.getName(), "run-floor");
        return Server.start(
                "floor", command, folder, Pattern.compile("Listening on port (\\d+)"), 0);
    }

    /** Redis as durable as we are; protected mode keeps it to this machine's own addresses. */
    private Server redis() throws IOException {
        int port;
        try (var free = new ServerSocket(0)) {
            port = free.getLocalPort();
        }
        var options =
                "--port %d --bind 0.0.0.0 --protected-mode yes --appendonly yes --appendfsync always"
                        + " --auto-aof-rewrite-percentage 0 --tcp-backlog 1024 --maxclients 15000";
        var command = new ArrayList<>(List.of("redis-server"));
        command.addAll(List.of(options.formatted(port).split(" ")));
        var home = Files.createDirectory(folder.resolve("redis")).toString();
        command.addAll(List.of("--save", "", "--dir", home));
        return Server.start(
                "redis", command, folder, Pattern.compile("Ready to accept connections"), port);
    }

    // ---- The run ----------------------------------------------------------------------------

    /** One target at one number of clients, and what its turns gave, round by round. */
    record Lane(Target target, int clients, List<Round> rounds) {
        String title() {
            return "%s, %d client%s".formatted(target.name, clients, clients == 1 ? "" : "s");
        }
    }

    private int run() throws IOException {
        var lanes = new ArrayList<Lane>();
        for (int count : clients) {
            targets.forEach(target -> lanes.add(new Lane(target, count, new ArrayList<>())));
        }
        var load = new Load(mailboxes);
        for (var lane : lanes) {
            progress("warming up: " + lane.title());
            load.run(lane.target, Mode.STORE, lane.clients, warmup / clients.length, requests);
        }
        var fsyncMicros = new ArrayList<Double>();
        for (int round = 0; round < rounds; round++) {
            fsyncMicros.add(fsyncMicros(folder));
            // Whoever comes after whom changes too, not only who comes first.
            var order = new ArrayList<>(lanes);
            Collections.rotate(order, round);
            if (round % 2 == 1) {
                Collections.reverse(order);
            }
            for (var lane : order) {
                progress("round %d of %d: %s".formatted(round + 1, rounds, lane.title()));
                lane.rounds.add(load.run(lane.target, mode, lane.clients, seconds, requests));
            }
        }
        progress("counting every message");
        boolean whole = true;
        var counts = new ArrayList<String>();
        for (var target : targets) {
            if (target.stores) {
                var count = Count.of(target, mailboxes);
                whole &= count.isWhole();
                counts.add(count.toString());
            }
        }
        progress("");
        var out = spec.commandLine().getOut();
        var report = new Report(lanes, median(fsyncMicros.stream().mapToDouble(d -> d)));
        if (json) {
            report.json(out);
        } else {
            report.text(out);
            counts.forEach(out::println);
        }
        out.flush();
        return whole && lanes.stream().noneMatch(Report::failed) ? 0 : 1;
    }

    private void progress(String what) {
        var err = spec.commandLine().getErr();
        if (System.console() != null) {
            err.printf("\r%-78s\r", what);
        } else if (!what.isEmpty()) {
            err.println(what);
        }
        err.flush();
    }

    /** What one flush of 4 KiB costs on this disk: the least that a durable store can take. */
    private static double fsyncMicros(Path folder) throws IOException {
        var file = folder.resolve("fsync");
        var page = ByteBuffer.allocateDirect(4096);
        int pages = 64;
        var micros = new double[100];
        try (var channel =
                FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
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
        return median(Arrays.stream(micros));
    }

    static double median(DoubleStream values) {
        var sorted = values.sorted().toArray();
        int half = sorted.length / 2;
        return sorted.length == 0
                ? Double.NaN
                : sorted.length % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
    }

    // ---- Servers ----------------------------------------------------------------------------

    /** A process that is ready to serve on a port. */
    record Server(Process process, int port) {
        static boolean isInstalled(String program) {
            var path = System.getenv().getOrDefault("PATH", "");
            return Stream.of(path.split(java.io.File.pathSeparator))
                    .anyMatch(folder -> Files.isExecutable(Path.of(folder, program)));
        }

        /** Waits for the ready line; the port is its first group, or {@code port} if not 0. */
        static Server start(
                String name, List<String> command, Path folder, Pattern ready, int port)
                throws IOException {
            var errors = folder.resolve(name + ".err").toFile();
            var process = new ProcessBuilder(command).redirectError(errors).start();
            process.getOutputStream().close();
            var found = new CompletableFuture<Integer>();
            Thread.ofPlatform()
                    .name(name + "-output")
                    .daemon()
                    .start(() -> follow(process, ready, port, found));
            try {
                return new Server(
                        process, found.get(START_LIMIT.toSeconds(), TimeUnit.SECONDS));
            } catch (InterruptedException | ExecutionException | TimeoutException e) {
                process.destroyForcibly();
                var said = Files.readString(errors.toPath()).strip();
                throw new IOException(name + " did not start: " + command + "\n" + said, e);
            }
        }

        /** Reads the output to its end, so that the server never waits for a reader. */
        private static void follow(
                Process process, Pattern ready, int port, CompletableFuture<Integer> found) {
            try (var lines = process.inputReader()) {
                for (var line = lines.readLine(); line != null; line = lines.readLine()) {
                    Matcher matcher = ready.matcher(line);
                    if (!found.isDone() && matcher.find()) {
                        found.complete(port != 0 ? port : Integer.parseInt(matcher.group(1)));
                    }
                }
                found.completeExceptionally(new IOException("it ended before it was ready"));
            } catch (IOException e) {
                found.completeExceptionally(e);
            }
        }

        /** User and system time; where a launcher stays in front (Windows), its child's too. */
        Duration cpu() {
            return Stream.concat(Stream.of(process.toHandle()), process.descendants())
                    .map(handle -> handle.info().totalCpuDuration().orElse(Duration.ZERO))
                    .reduce(Duration.ZERO, Duration::plus);
        }

        /** Resident memory in MB, or NaN where there is no /proc. */
        double residentMegabytes() {
            var status = Path.of("/proc", Long.toString(process.pid()), "status");
            try (var lines = Files.lines(status)) {
                return lines.filter(line -> line.startsWith("VmRSS:"))
                        .mapToDouble(line -> Double.parseDouble(line.split("\\s+")[1]) / 1024)
                        .findFirst()
                        .orElse(Double.NaN);
            } catch (IOException | UncheckedIOException e) {
                return Double.NaN;
            }
        }

        void stop() {
            process.destroy();
            try {
                if (!process.waitFor(10, TimeUnit.SECONDS)) {
                    process.destroyForcibly();
                }
            } catch (InterruptedException e) {
                process.destroyForcibly();
                Thread.currentThread().interrupt();
            }
        }
    }

    /** One or more servers under one name, and which messages they have acknowledged. */
    static final class Target implements Closeable {
        /**
         * A client's address and port rest for a minute after each connection (TIME_WAIT), and
         * 28,000 ports would be used up in a second; to another address of the server, the same
         * port serves again. Only Linux answers on all of 127.0.0.0/8 unasked.
         */
        private static final int ADDRESSES =
                System.getProperty("os.name").startsWith("Linux") ? 16 : 1;

        final String name;
        final boolean stores;
        final Wire wire;
        final List<Server> servers;
        final InetSocketAddress[] addresses;
        final BitSet acknowledged = new BitSet();
        int issued;
        int lastAcknowledged;

        Target(String name, boolean stores, Wire wire, List<Server> servers) {
            this.name = name;
            this.stores = stores;
            this.wire = wire;
            this.servers = servers;
            addresses =
                    Stream.iterate(1, host -> host <= ADDRESSES, host -> host + 1)
                            .flatMap(host -> servers.stream().map(server -> at(host, server)))
                            .toArray(InetSocketAddress[]::new);
        }

        private static InetSocketAddress at(int host, Server server) {
            return new InetSocketAddress("127.0.0." + host, server.port());
        }

        double cpuMicros() {
            return servers.stream().mapToDouble(server -> server.cpu().toNanos() / 1e3).sum();
        }

        double residentMegabytes() {
            return servers.stream().mapToDouble(Server::residentMegabytes).sum();
        }

        @Override
        public void close() {
            servers.forEach(Server::stop);
        }
    }

    // ---- What is said to them ---------------------------------------------------------------

    /** A request in which only the digits of its mailbox and its number change. */
    static final class Template {
        private final ByteBuffer bytes;
        private final int mailboxAt;
        private final int numberAt;

        /** The places are marked with one {@code @} and one {@code #} a digit. */
        Template(String text) {
            var ascii = text.getBytes(StandardCharsets.US_ASCII);
            bytes = ByteBuffer.allocateDirect(ascii.length).put(ascii);
            mailboxAt = text.indexOf('@');
            numberAt = text.indexOf('#');
        }

        ByteBuffer filled(int mailbox, int number) {
            digits(mailboxAt, MAILBOX_DIGITS, mailbox);
            if (numberAt >= 0) {
                digits(numberAt, NUMBER_DIGITS, number);
            }
            return bytes.rewind();
        }

        private void digits(int at, int count, int value) {
            int rest = value;
            for (int i = at + count - 1; i >= at; i--) {
                bytes.put(i, (byte) ('0' + rest % 10));
                rest /= 10;
            }
        }
    }

    /** The beginning, the end and the length of a reply: enough to tell whether it is whole. */
    static final class Reply {
        private static final int KEPT = 64;
        private final byte[] head = new byte[KEPT];
        private final byte[] tail = new byte[KEPT];
        private long length;

        void clear() {
            length = 0;
        }

        void add(ByteBuffer piece) {
            int size = piece.remaining();
            if (length < KEPT) {
                piece.get(piece.position(), head, (int) length, Math.min(size, KEPT - (int) length));
            }
            int fresh = Math.min(size, KEPT);
            System.arraycopy(tail, fresh, tail, 0, KEPT - fresh);
            piece.get(piece.limit() - fresh, tail, KEPT - fresh, fresh);
            length += size;
        }

        boolean is(byte[] text) {
            return length == text.length && startsWith(text);
        }

        boolean startsWith(byte[] text) {
            return length >= text.length
                    && Arrays.equals(head, 0, text.length, text, 0, text.length);
        }

        boolean endsWith(byte[] text) {
            return length >= text.length
                    && Arrays.equals(tail, KEPT - text.length, KEPT, text, 0, text.length);
        }

        @Override
        public String toString() {
            var text = new String(head, 0, (int) Math.min(length, KEPT), StandardCharsets.UTF_8);
            return length + " bytes: " + text.replaceAll("\\p{Cntrl}", " ");
        }
    }

    /** How a target is asked, and how its answers are read. */
    interface Wire {
        Template store();

        Template fetch();

        boolean isStored(Reply reply);

        boolean isFetched(Reply reply);

        /** The part of a line of a fetched mailbox from the message's text on, or null. */
        String text(String line);
    }

    /** The project's protocol. */
    static final class MessageWire implements Wire {
        private static final byte[] STORED = ascii("Message accepted and stored:\n");
        private static final byte[] FETCHED = ascii("Retrieving messages...\n");
        private static final byte[] END = ascii("\nNO MORE MESSAGES\n");
        private final String prefix;
        private final Template store;
        private final Template fetch;

        MessageWire(String name) {
            var mailbox = name + "@".repeat(MAILBOX_DIGITS);
            prefix = ";" + SENDER + ";";
            store = new Template("store;" + mailbox + prefix + "#".repeat(NUMBER_DIGITS) + TEXT);
            fetch = new Template("fetch;" + mailbox);
        }

        @Override
        public Template store() {
            return store;
        }

        @Override
        public Template fetch() {
            return fetch;
        }

        @Override
        public boolean isStored(Reply reply) {
            return reply.is(STORED);
        }

        @Override
        public boolean isFetched(Reply reply) {
            return reply.startsWith(FETCHED) && reply.endsWith(END);
        }

        @Override
        public String text(String line) {
            int at = line.indexOf(prefix);
            return at < 0 ? null : line.substring(at + prefix.length());
        }
    }

    /** Redis's protocol: a mailbox is a list. Redis closes once the client has half-closed. */
    static final class RedisWire implements Wire {
        private static final byte[] LINE_END = ascii("\r\n");
        private final Template store;
        private final Template fetch;

        RedisWire(String name) {
            var mailbox = name + "@".repeat(MAILBOX_DIGITS);
            store = command("RPUSH", mailbox, SENDER + ";" + "#".repeat(NUMBER_DIGITS) + TEXT);
            fetch = command("LRANGE", mailbox, "0", "-1");
        }

        private static Template command(String... words) {
            var text = new StringBuilder("*" + words.length + "\r\n");
            for (var word : words) {
                text.append("$").append(word.length()).append("\r\n").append(word).append("\r\n");
            }
            return new Template(text.toString());
        }

        @Override
        public Template store() {
            return store;
        }

        @Override
        public Template fetch() {
            return fetch;
        }

        @Override
        public boolean isStored(Reply reply) {
            return reply.startsWith(ascii(":")) && reply.endsWith(LINE_END);
        }

        @Override
        public boolean isFetched(Reply reply) {
            return reply.startsWith(ascii("*"))
                    && !reply.startsWith(ascii("*0"))
                    && reply.endsWith(LINE_END);
        }

        @Override
        public String text(String line) {
            return line.startsWith(SENDER + ";") ? line.substring(SENDER.length() + 1) : null;
        }
    }

    private static byte[] ascii(String text) {
        return text.getBytes(StandardCharsets.US_ASCII);
    }

    // ---- The load ---------------------------------------------------------------------------

    /** What one turn gave. */
    record Round(
            int requests,
            int failures,
            String firstFailure,
            double seconds,
            Histogram latency,
            double cpuMicros,
            double residentMegabytes,
            double loadMicros) {
        double rate() {
            return requests / seconds;
        }
    }

    /**
     * A closed loop on one selector and one thread: each client connects, sends, shuts down its
     * sending side, reads to the end, and begins again. Bounded in time and in requests.
     */
    static final class Load {
        private static final int FAILURE_LIMIT = 1000;
        private final ByteBuffer input = ByteBuffer.allocateDirect(1 << 16);
        private final int mailboxes;
        private Target target;
        private Mode mode;
        private long deadline;
        private int left;
        private int running;
        private int done;
        private int failures;
        private String firstFailure;
        private Histogram latency;
        private Selector selector;

        /** One client and its one request under way. */
        private static final class Client {
            final Reply reply = new Reply();
            SocketChannel channel;
            SelectionKey key;
            long start;
            int number;
            boolean fetching;
        }

        Load(int mailboxes) {
            this.mailboxes = mailboxes;
        }

        Round run(Target on, Mode what, int clients, double seconds, int requests)
                throws IOException {
            target = on;
            mode = what;
            left = requests;
            running = 0;
            done = 0;
            failures = 0;
            firstFailure = null;
            latency = new Histogram();
            double cpuBefore = target.cpuMicros();
            long busyBefore = threadCpuNanos();
            long start = System.nanoTime();
            deadline = start + (long) (seconds * 1e9);
            try (var opened = Selector.open()) {
                selector = opened;
                for (int i = 0; i < clients; i++) {
                    running++;
                    begin(new Client());
                }
                long end = deadline + ANSWER_LIMIT.toNanos();
                while (running > 0 && System.nanoTime() < end) {
                    selector.select(this::proceed, 1000);
                }
                for (var key : selector.keys()) {
                    if (key.isValid()) {
                        fail("no whole answer within " + ANSWER_LIMIT.toSeconds() + " s");
                        key.channel().close();
                    }
                }
            }
            double elapsed = (System.nanoTime() - start) / 1e9;
            double busy = (threadCpuNanos() - busyBefore) / 1e3 / Math.max(1, done);
            double cpu = (target.cpuMicros() - cpuBefore) / Math.max(1, done);
            double resident = target.residentMegabytes();
            return new Round(
                    done, failures, firstFailure, elapsed, latency, cpu, resident, busy);
        }

        private static long threadCpuNanos() {
            return ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime();
        }

        /** Starts the client's next request; a client that may not start another one is gone. */
        private void begin(Client client) {
            while (left > 0 && failures < FAILURE_LIMIT && System.nanoTime() < deadline) {
                left--;
                client.start = System.nanoTime();
                client.fetching =
                        mode == Mode.FETCH
                                || mode == Mode.MIXED
                                        && left % 4 == 0
                                        && !target.acknowledged.isEmpty();
                client.number = client.fetching ? target.lastAcknowledged : target.issued++;
                if (mode == Mode.FETCH) {
                    target.lastAcknowledged++;
                }
                client.reply.clear();
                try {
                    client.channel = SocketChannel.open(StandardProtocolFamily.INET);
                    client.channel.configureBlocking(false);
                    var address = target.addresses[left % target.addresses.length];
                    // On the same machine the connection stands by the time finishConnect asks.
                    if (client.channel.connect(address) || client.channel.finishConnect()) {
                        send(client);
                    } else {
                        client.key =
                                client.channel.register(selector, SelectionKey.OP_CONNECT, client);
                    }
                    return;
                } catch (IOException e) {
                    fail(e.toString());
                    close(client);
                }
            }
            running--;
        }

        private void send(Client client) throws IOException {
            int mailbox = client.number % mailboxes;
            var template = client.fetching ? target.wire.fetch() : target.wire.store();
            var request = template.filled(mailbox, client.number);
            client.channel.write(request);
            if (request.hasRemaining()) {
                throw new IOException("a short request did not fit into an empty socket");
            }
            client.channel.shutdownOutput();
            client.key = client.channel.register(selector, SelectionKey.OP_READ, client);
        }

        private void proceed(SelectionKey key) {
            var client = (Client) key.attachment();
            try {
                if (key.isConnectable()) {
                    client.channel.finishConnect();
                    send(client);
                } else if (isAnswered(client)) {
                    end(client);
                    begin(client);
                }
            } catch (IOException e) {
                fail(e.toString());
                close(client);
                begin(client);
            }
        }

        private boolean isAnswered(Client client) throws IOException {
            int size;
            while ((size = client.channel.read(input.clear())) > 0) {
                client.reply.add(input.flip());
            }
            return size < 0;
        }

        private void end(Client client) {
            close(client);
            var wire = target.wire;
            boolean fine =
                    client.fetching
                            ? wire.isFetched(client.reply)
                            : wire.isStored(client.reply);
            if (!fine) {
                fail("reply of " + client.reply);
                return;
            }
            done++;
            latency.add(System.nanoTime() - client.start);
            if (!client.fetching) {
                target.acknowledged.set(client.number);
                target.lastAcknowledged = client.number;
            }
        }

        private void fail(String why) {
            failures++;
            firstFailure = firstFailure == null ? why : firstFailure;
        }

        private static void close(Client client) {
            try {
                client.channel.close();
            } catch (IOException e) {
                throw new UncheckedIOException(e); // closing a socket does not fail
            }
        }
    }

    /** Latencies, kept to within one percent. */
    static final class Histogram {
        private static final int FINE_BITS = 7;
        private final int[] counts = new int[(64 - FINE_BITS) << FINE_BITS];
        private long total;
        private long max;

        void add(long nanos) {
            counts[bucket(nanos)]++;
            total++;
            max = Math.max(max, nanos);
        }

        /** Each power of two has 128 buckets; the bucket's number is exponent, then fraction. */
        private static int bucket(long nanos) {
            int shift = Math.max(0, 64 - FINE_BITS - 1 - Long.numberOfLeadingZeros(nanos));
            return (shift << FINE_BITS) + (int) (nanos >>> shift);
        }

        double micros(double quantile) {
            long rank = (long) Math.ceil(quantile * total);
            long seen = 0;
            for (int i = 0; i < counts.length; i++) {
                seen += counts[i];
                if (seen >= rank && seen > 0) {
                    int shift = Math.max(0, (i >> FINE_BITS) - 1);
                    return ((long) (i - (shift << FINE_BITS)) << shift) / 1e3;
                }
            }
            return Double.NaN;
        }

        double maxMicros() {
            return max / 1e3;
        }
    }

    // ---- Counting ---------------------------------------------------------------------------

    /** What a target holds after the run, compared with what it acknowledged. */
    record Count(String target, int acknowledged, int missing, int twice, int torn, int extra) {
        static Count of(Target target, int mailboxes) throws IOException {
            var seen = new BitSet();
            int twice = 0;
            int torn = 0;
            for (int mailbox = 0; mailbox < mailboxes; mailbox++) {
                for (var line : fetch(target, mailbox).split("\r?\n")) {
                    var text = target.wire.text(line);
                    if (text == null) {
                        continue;
                    }
                    if (!text.matches("\\d{9}" + Pattern.quote(TEXT))) {
                        torn++;
                        continue;
                    }
                    int number = Integer.parseInt(text.substring(0, NUMBER_DIGITS));
                    if (seen.get(number)) {
                        twice++;
                    }
                    seen.set(number);
                }
            }
            var missing = (BitSet) target.acknowledged.clone();
            missing.andNot(seen);
            seen.andNot(target.acknowledged);
            return new Count(
                    target.name,
                    target.acknowledged.cardinality(),
                    missing.cardinality(),
                    twice,
                    torn,
                    seen.cardinality());
        }

        private static String fetch(Target target, int mailbox) throws IOException {
            var request = target.wire.fetch().filled(mailbox, 0);
            var bytes = new byte[request.remaining()];
            request.get(bytes);
            try (var socket = new Socket()) {
                socket.connect(target.addresses[mailbox % target.addresses.length]);
                socket.setSoTimeout((int) ANSWER_LIMIT.toMillis());
                socket.getOutputStream().write(bytes);
                socket.shutdownOutput();
                return new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            }
        }

        boolean isWhole() {
            return missing == 0 && twice == 0 && torn == 0;
        }

        @Override
        public String toString() {
            return "%-12s %,d messages acknowledged: %s, %d twice, %d torn; %d more, unacknowledged"
                    .formatted(
                            target,
                            acknowledged,
                            missing == 0 ? "all there" : missing + " MISSING",
                            twice,
                            torn,
                            extra);
        }
    }

    // ---- The report -------------------------------------------------------------------------

    /** The figures of a run, for people and for programs. */
    record Report(List<Lane> lanes, double fsyncMicros) {
        static boolean failed(Lane lane) {
            return lane.rounds.stream().anyMatch(round -> round.failures > 0);
        }

        void text(PrintWriter out) {
            out.printf(
                    "%-12s %7s %9s %9s %9s %9s %8s %7s %7s %s%n",
                    "target", "clients", "req/s", "p50 us", "p99 us", "max us", "CPU us", "RSS MB",
                    "load us", "failures");
            for (var lane : lanes) {
                out.printf(
                        Locale.ROOT,
                        "%-12s %7d %,9.0f %,9.0f %,9.0f %,9.0f %8.1f %7.0f %7.1f %d%n",
                        lane.target.name,
                        lane.clients,
                        of(lane, Round::rate),
                        of(lane, round -> round.latency.micros(.5)),
                        of(lane, round -> round.latency.micros(.99)),
                        lane.rounds.stream().mapToDouble(r -> r.latency.maxMicros()).max().orElse(0),
                        of(lane, Round::cpuMicros),
                        lane.rounds.getLast().residentMegabytes,
                        of(lane, Round::loadMicros),
                        lane.rounds.stream().mapToInt(Round::failures).sum());
                lane.rounds.stream()
                        .filter(round -> round.firstFailure != null)
                        .findFirst()
                        .ifPresent(round -> out.println("    first failure: " + round.firstFailure));
            }
            out.printf(Locale.ROOT, "One flush of this disk: %.0f us%n%n", fsyncMicros);
            out.printf(
                    "%-20s %7s %-22s %-22s %-22s %-22s%n",
                    "ours / other", "clients", "rate", "p50", "p99", "CPU");
            for (var ours : lanes) {
                for (var other : lanes) {
                    if (ours.target.name.equals("ours")
                            && other.target != ours.target
                            && other.clients == ours.clients) {
                        out.printf(
                                "%-20s %7d %-22s %-22s %-22s %-22s%n",
                                "ours / " + other.target.name,
                                ours.clients,
                                ratio(ours, other, Round::rate),
                                ratio(ours, other, round -> round.latency.micros(.5)),
                                ratio(ours, other, round -> round.latency.micros(.99)),
                                ratio(ours, other, Round::cpuMicros));
                    }
                }
            }
        }

        private static double of(Lane lane, ToDoubleFunction<Round> figure) {
            return median(lane.rounds.stream().mapToDouble(figure));
        }

        static Ratio ratio(Lane ours, Lane other, ToDoubleFunction<Round> figure) {
            var ratios = new double[ours.rounds.size()];
            for (int i = 0; i < ratios.length; i++) {
                ratios[i] =
                        figure.applyAsDouble(ours.rounds.get(i))
                                / figure.applyAsDouble(other.rounds.get(i));
            }
            return new Ratio(ratios);
        }

        void json(PrintWriter out) {
            out.println("{}");
        }
    }

    /** Ratios of the same figure, round by round. */
    record Ratio(double[] values) {
        @Override
        public String toString() {
            return String.format(
                    Locale.ROOT,
                    "%.2f (%.2f..%.2f)",
                    median(Arrays.stream(values)),
                    Arrays.stream(values).min().orElse(Double.NaN),
                    Arrays.stream(values).max().orElse(Double.NaN));
        }
    }

    // ---- The floor --------------------------------------------------------------------------

    /**
     * The least a server with one connection a request can do: one platform thread accepts, reads
     * to the end of input, answers a fixed line and closes. It stores nothing.
     */
    @Command(name = "run-floor", hidden = true, description = "Runs the bare accept loop")
    static final class Floor implements Callable<Integer> {
        private static final int BACKLOG = 1024;

        @Override
        public Integer call() throws IOException {
            try (var listener = ServerSocketChannel.open()) {
                listener.bind(new InetSocketAddress(0), BACKLOG);
                System.out.println("Listening on port " + listener.socket().getLocalPort());
                var input = ByteBuffer.allocateDirect(256);
                var reply = ByteBuffer.allocateDirect(MessageWire.STORED.length);
                reply.put(MessageWire.STORED);
                while (true) {
                    try (var client = listener.accept()) {
                        input.clear();
                        while (client.read(input) >= 0 && input.hasRemaining()) {
                            // until the client has shut down its sending side
                        }
                        client.write(reply.rewind());
                    }
                }
            }
        }
    }
}
