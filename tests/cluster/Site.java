//JAVA 21+
//SOURCES ../TestMain.java
//SOURCES ../support/ServerProcess.java
//SOURCES ../support/Wire.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URLConnection;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The machines of docs/scale-out.md as addresses of loopback, with a different set for each test:
 * 10.0.0.x becomes 127.N.M.x, with the same ports. PostgreSQL refuses to run as root. If the test
 * runs as root, PostgreSQL, Patroni, etcd and PgBouncer run as {@code postgres}. Closing the site
 * ends every process that it started.
 */
final class Site implements AutoCloseable {
    private static final Pattern BLOCK =
            Pattern.compile("^```\\w+ ([a-z-]+)\\n(.*?)^```$", Pattern.MULTILINE | Pattern.DOTALL);

    private static final AtomicInteger SITES = new AtomicInteger();
    private static final boolean ROOT = System.getProperty("user.name").equals("root");
    private static final String POSTGRES_BIN = postgresBin();

    private static final List<String> NEEDED =
            List.of(
                    "postgres",
                    "patroni",
                    "etcd",
                    "haproxy",
                    "pgbouncer",
                    "socat",
                    "nc",
                    "openssl",
                    "setpriv");

    /** The search path for commands; Debian keeps PostgreSQL's commands out of the PATH. */
    private static final String PATH =
            POSTGRES_BIN + ":" + TestMain.checkout() + ":/usr/sbin:" + System.getenv("PATH");

    private final String name;
    private final Path folder;
    private final String network;
    private final Map<String, String> examples = new LinkedHashMap<>();
    private final List<Process> processes = new ArrayList<>();

    /** Exit code and output of a command. */
    record Ended(int exit, String out) {}

    /**
     * Creates a site; {@code name} begins each line that it prints. Skips the test if a command is
     * missing.
     */
    Site(String name) throws IOException {
        List<String> missing = new ArrayList<>(NEEDED);
        missing.removeIf(Site::isInstalled);
        assumeTrue(missing.isEmpty(), "not installed: " + String.join(", ", missing));
        this.name = name;
        folder = Files.createTempDirectory("msg-" + name + "-");
        Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwxrwxrwx"));
        long pid = ProcessHandle.current().pid();
        network = "127.%d.%d.".formatted(100 + SITES.getAndIncrement() % 100, pid % 250);
        examples.put("10.0.0.0/24", "127.0.0.0/8"); // the peer addresses of loopback connections
        examples.put("10.0.0.", network);
        examples.put("/run/haproxy/", folder + "/");
        examples.put("/etc/haproxy/", folder + "/");
        examples.put("/etc/pgbouncer/", folder + "/");
        examples.put("/usr/lib/postgresql/15/bin", POSTGRES_BIN);
        // Starting a server from this JVM's class path takes a tenth of the time that jbang takes.
        String java =
                ServerProcess.java("MsgServer").stream()
                        .map(word -> "'" + word + "'")
                        .collect(Collectors.joining(" "));
        onPath(
                "jbang",
                """
                #!/bin/sh
                [ $1 = MsgServer.java ] || exec '%s/jbang' "$@"
                shift
                exec %s "$@"
                """
                        .formatted(TestMain.checkout(), java));
    }

    private static boolean isInstalled(String command) {
        return Stream.of(PATH.split(File.pathSeparator))
                .anyMatch(bin -> Files.isExecutable(Path.of(bin, command)));
    }

    private static String postgresBin() {
        Path versions = Path.of("/usr/lib/postgresql");
        try (Stream<Path> all = Files.exists(versions) ? Files.list(versions) : Stream.of()) {
            return all.map(version -> version.resolve("bin").toString())
                    .max(Comparator.naturalOrder())
                    .orElse("/usr/lib/postgresql/15/bin");
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    Path folder() {
        return folder;
    }

    // ---------------------------------------------------------------- the page

    /** All blocks of the page by their unique names. */
    static Map<String, String> blocks() throws IOException {
        String page = Files.readString(TestMain.checkout().resolve("docs/scale-out.md"));
        Map<String, String> blocks = new LinkedHashMap<>();
        for (MatchResult block : BLOCK.matcher(page).results().toList()) {
            assertNull(blocks.put(block.group(1), block.group(2)), block.group(1));
        }
        long fences = page.lines().filter(line -> line.startsWith("```")).count();
        assertEquals(fences, 2L * blocks.size() + 2, "a block other than the drawing has no name");
        return blocks;
    }

    /** The block {@code block}, with the addresses and paths of this site. */
    String block(String block) throws IOException {
        String text = blocks().get(block);
        assertNotNull(text, "the page has no block " + block);
        return real(text);
    }

    /** Replaces the page's addresses and paths in {@code example} by those of this site. */
    String real(String example) {
        String text = example;
        for (Map.Entry<String, String> each : examples.entrySet()) {
            text = text.replace(each.getKey(), each.getValue());
        }
        return text;
    }

    /** Adds a replacement, which {@link #real} makes before those that exist already. */
    void replace(String example, String real) {
        Map<String, String> others = new LinkedHashMap<>(examples);
        examples.clear();
        examples.put(example, real);
        examples.putAll(others);
    }

    /** Makes the servers use this database; the URL has user and password. */
    void useDatabase(String url) {
        replace("jdbc:postgresql://10.0.0.11,10.0.0.12,10.0.0.13/msg?user=app", url);
    }

    // ---------------------------------------------------------------- files and commands

    /** Writes a file that every user may read. */
    Path file(String file, String text) throws IOException {
        Path path = Files.writeString(folder.resolve(file), real(text));
        Files.setPosixFilePermissions(path, PosixFilePermissions.fromString("rwxr-xr-x"));
        return path;
    }

    private ProcessBuilder shell(boolean asPostgres, Map<String, String> more, String script) {
        List<String> command = new ArrayList<>(List.of("sh", "-c", real(script)));
        if (asPostgres && ROOT) {
            command.addAll(0, List.of("setpriv", "--reuid=postgres", "--regid=postgres"));
            command.addAll(3, List.of("--init-groups", "--"));
        }
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.directory((asPostgres ? folder : TestMain.checkout()).toFile());
        builder.environment().put("PATH", folder + "/bin:" + PATH);
        builder.environment().putAll(more);
        return builder;
    }

    private Path start(ProcessBuilder builder) throws IOException {
        Path output = Files.createTempFile(folder, "output", ".txt");
        builder.redirectInput(new File("/dev/null")).redirectOutput(output.toFile());
        processes.add(builder.start());
        return output;
    }

    private Ended run(ProcessBuilder builder, String input) throws Exception {
        Path typed = Files.writeString(Files.createTempFile(folder, "input", ".txt"), real(input));
        Path output = Files.createTempFile(folder, "output", ".txt");
        Process process =
                builder.redirectInput(typed.toFile()).redirectOutput(output.toFile()).start();
        processes.add(process);
        assertTrue(
                process.waitFor(120, TimeUnit.SECONDS), () -> "does not end: " + builder.command());
        Ended ended = new Ended(process.exitValue(), Files.readString(output).strip());
        Files.delete(typed);
        Files.delete(output);
        return ended;
    }

    /** Starts a script that keeps running; returns the file of its output. */
    Path start(String script) throws IOException {
        return start(shell(false, Map.of(), script));
    }

    /** Like {@link #start}, as the user postgres. */
    Path startAsPostgres(String script) throws IOException {
        return start(shell(true, Map.of(), script));
    }

    /** Runs a script in the checkout until it ends. */
    Ended run(String script) throws Exception {
        return run(shell(false, Map.of(), script), "");
    }

    /** Puts a script before all other commands of this name in the PATH. */
    void onPath(String command, String script) throws IOException {
        Files.createDirectories(folder.resolve("bin"));
        file("bin/" + command, script);
    }

    // ---------------------------------------------------------------- servers

    /** Starts a server by {@code block} on an address of the page, and waits until it listens. */
    void server(String address, String block) throws Exception {
        String at = block.replace(real("10.0.0.21"), real(address));
        file(real(address) + ".start", at.replace("\njbang ", "\nexec jbang "));
        file("serve", "exec >>$1.log 2>&1 </dev/null; sh $1.start & echo $! >$1.pid\n");
        assertEquals(
                new Ended(0, ""), run("sh " + folder + "/serve " + folder + "/" + real(address)));
        await(
                60,
                "the server at " + address,
                () -> log(address).contains("Listening on port 5000"));
    }

    /** A script that replaces {@code ssh ADDRESS systemctl restart msg-server}. */
    String restarter() {
        return """
        #!/bin/sh
        cd %s
        kill -TERM $(cat $1.pid)
        while kill -0 $(cat $1.pid) 2>/dev/null; do sleep 0.1; done
        cd %s; sh %s/serve %s/$1
        """
                .formatted(folder, TestMain.checkout(), folder, folder);
    }

    /** The output of the server at {@code address}. */
    String log(String address) throws IOException {
        return Files.readString(folder.resolve(real(address) + ".log"));
    }

    /** An address and a port of the page, at this site. */
    InetSocketAddress at(String address, int port) {
        return new InetSocketAddress(real(address), port);
    }

    /** The reply to {@code request} from the server at {@code address}. */
    Wire.Answer answer(String address, String request) {
        try (Wire wire = new Wire(Transport.PLAIN, at(address, 5000), 0)) {
            return wire.send(request).endInput().answer();
        } catch (IOException e) {
            return new Wire.Answer("", e);
        }
    }

    /** The state of each server in HAProxy's statistics. */
    String stats() throws Exception {
        return run("echo 'show stat' | socat stdio " + folder + "/admin.sock | cut -d, -f1,2,18")
                .out();
    }

    // ---------------------------------------------------------------- waiting and reporting

    @FunctionalInterface
    interface Condition {
        boolean holds() throws Exception;
    }

    void await(int seconds, String what, Condition condition) throws Exception {
        long start = System.nanoTime();
        while (!condition.holds()) {
            long passed = Duration.ofNanos(System.nanoTime() - start).toSeconds();
            assertTrue(passed < seconds, () -> "not within " + seconds + " s: " + what + outputs());
            Thread.sleep(50);
        }
    }

    /** Prints a measurement for the reader of the test's output. */
    void say(String sentence) {
        System.out.println(name + ": " + sentence);
    }

    /** The last lines of the output of every process. */
    private String outputs() {
        StringBuilder all = new StringBuilder();
        try (Stream<Path> files = Files.walk(folder, 2)) {
            for (Path file : files.filter(Site::isOutput).sorted().toList()) {
                List<String> lines = Files.readAllLines(file, StandardCharsets.ISO_8859_1);
                List<String> last = lines.subList(Math.max(0, lines.size() - 8), lines.size());
                all.append("\n== ").append(file.getFileName()).append('\n');
                all.append(String.join("\n", last));
            }
        } catch (IOException e) {
            all.append(e);
        }
        return all.toString();
    }

    private static boolean isOutput(Path file) {
        return file.toString().matches(".*(/output.*\\.txt|log)") && Files.isRegularFile(file);
    }

    @Override
    public void close() throws IOException {
        List<ProcessHandle> all = new ArrayList<>();
        for (Process process : processes) {
            process.descendants().forEach(all::add);
            all.add(process.toHandle());
        }
        try (Stream<Path> files = Files.walk(folder)) {
            for (Path file : files.filter(path -> path.toString().endsWith(".pid")).toList()) {
                all.addAll(tree(file));
            }
        }
        all.forEach(ProcessHandle::destroyForcibly);
        all.forEach(each ->
                each.onExit().orTimeout(10, TimeUnit.SECONDS).exceptionally(e -> each).join());
        try (Stream<Path> files = Files.walk(folder)) {
            files.sorted(Comparator.reverseOrder()).forEach(path -> path.toFile().delete());
        }
    }

    /** The process whose id is the first line of {@code pidFile}, and its descendants. */
    private static List<ProcessHandle> tree(Path pidFile) throws IOException {
        List<ProcessHandle> all = new ArrayList<>();
        if (Files.exists(pidFile)) {
            long pid = Long.parseLong(Files.readAllLines(pidFile).getFirst().strip());
            ProcessHandle.of(pid)
                    .ifPresent(process -> {
                        process.descendants().forEach(all::add);
                        all.addFirst(process);
                    });
        }
        return all;
    }

    // ---------------------------------------------------------------- a machine of the database

    /** The page's machine with this name and address. */
    Node node(String node, String address) throws Exception {
        Path home = Files.createDirectory(folder.resolve(node));
        Files.setPosixFilePermissions(home, PosixFilePermissions.fromString("rwxrwxrwx"));
        return new Node(node, real(address), home);
    }

    /** A machine that runs PostgreSQL. */
    final class Node {
        private final String name;
        private final String address;
        private final Path home;
        private final Map<String, String> places = new LinkedHashMap<>();
        private final List<Process> companions = new ArrayList<>();

        private Node(String name, String address, Path home) {
            this.name = name;
            this.address = address;
            this.home = home;
            // Otherwise the sockets of all machines would have the same path.
            places.put("pg_ctl -l", "pg_ctl -o '-k " + home + "' -l");
            places.put("/var/lib/postgresql/15/msg", home + "/data");
            places.put("/var/lib/etcd/msg", home + "/etcd");
            places.put("/var/run/postgresql", home.toString());
        }

        String name() {
            return name;
        }

        String address() {
            return address;
        }

        /** Patroni's response to {@code path}, or an empty text if the request fails. */
        String get(String path) {
            try {
                URI uri = URI.create("http://" + address + ":8008" + path);
                URLConnection patroni = uri.toURL().openConnection();
                patroni.setConnectTimeout(500);
                patroni.setReadTimeout(2_000);
                try (InputStream answer = patroni.getInputStream()) {
                    return new String(answer.readAllBytes(), StandardCharsets.UTF_8);
                }
            } catch (IOException noOrNobody) {
                return "";
            }
        }

        void replace(String example, String real) {
            places.put(example, real);
        }

        /**
         * Adapts a file of db1 to this machine: replaces the name, the address and the paths. A
         * line with the addresses of all machines keeps them.
         */
        String own(String text) {
            StringBuilder own = new StringBuilder();
            for (String line : text.split("(?<=\n)")) {
                boolean all = line.contains(real("10.0.0.12"));
                String mine = line.replace(real("10.0.0.11"), address).replace("db1", name);
                own.append(all ? line : mine);
            }
            return placed(own.toString());
        }

        private String placed(String text) {
            String placed = text;
            for (Map.Entry<String, String> each : places.entrySet()) {
                placed = placed.replace(each.getKey(), each.getValue());
            }
            return placed;
        }

        private ProcessBuilder shell(String script) {
            Map<String, String> own =
                    Map.of(
                            "HOME",
                            home + "",
                            "PGHOST",
                            home + "",
                            "PGUSER",
                            "postgres",
                            "PGDATA",
                            home + "/data");
            return Site.this.shell(true, own, placed(script));
        }

        /** Starts etcd or Patroni, with an environment of {@code NAME=value} lines. */
        void start(String environment, String script) throws IOException {
            String exports = environment.replaceAll("(?m)^(?=.)", "export ");
            Site.this.start(shell(exports + "\n" + script));
            companions.add(processes.getLast());
        }

        Ended run(String script) throws Exception {
            return Site.this.run(shell(script), "");
        }

        /** Runs a script that must succeed; returns its output. */
        String ok(String script, String input) throws Exception {
            Ended ended = Site.this.run(shell(script), placed(input));
            assertEquals(0, ended.exit(), () -> script + "\n" + ended.out() + outputs());
            return ended.out();
        }

        /** Runs SQL as superuser. */
        String psql(String database, String sql) throws Exception {
            return ok("psql -X -v ON_ERROR_STOP=1 -Atq -d " + database, sql);
        }

        /** Kills the postmaster with kill -9; its children end by themselves. */
        void killPostgres() throws IOException {
            tree(home.resolve("data/postmaster.pid")).getFirst().destroyForcibly();
        }

        /** Kills PostgreSQL, and Patroni if it runs, like a loss of power. etcd goes on. */
        void kill() throws IOException {
            if (companions.size() > 1) {
                companions.removeLast().destroyForcibly().onExit().join();
            }
            List<ProcessHandle> all = tree(home.resolve("data/postmaster.pid"));
            all.forEach(ProcessHandle::destroyForcibly);
            all.forEach(each -> each.onExit().join());
        }

        /**
         * Sends a signal to every process of this machine: STOP freezes the machine, CONT resumes
         * it.
         */
        void signal(String signal) throws Exception {
            List<ProcessHandle> all = tree(home.resolve("data/postmaster.pid"));
            for (Process companion : companions) {
                all.add(companion.toHandle());
                companion.descendants().forEach(all::add);
            }
            StringBuilder kill = new StringBuilder("kill -" + signal);
            all.forEach(each -> kill.append(' ').append(each.pid()));
            assertEquals(0, Site.this.run(kill.toString()).exit());
        }
    }
}
