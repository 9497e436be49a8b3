///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests that run the commands of docs/operating.md
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Commands.java
//SOURCES support/ServerProcess.java
//SOURCES support/Waiting.java
//SOURCES support/Wire.java
//SOURCES ../conformance/FreePort.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

import java.io.File;
import java.io.IOException;
import java.net.ConnectException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.Statement;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The tests run the code blocks of docs/operating.md, in which the paths, ports and hosts of the
 * test replace those of the examples. The first line of each block has its language and its name.
 */
@EnabledOnOs({OS.LINUX, OS.MAC}) // the document is written for Linux and macOS
@Order(1) // long test classes start first
class OperatingTest {
    private static final Duration LIMIT = Duration.ofMinutes(3);
    private static final Pattern BLOCK =
            Pattern.compile("^```\\w+ ([a-z-]+)\n(.*?)^```$", Pattern.MULTILINE | Pattern.DOTALL);

    @TempDir Path folder;

    private final Map<String, String> environment = new LinkedHashMap<>();
    private final Map<String, String> examples = new LinkedHashMap<>();
    private final List<ProcessHandle> started = new ArrayList<>();
    private final List<Process> processes = new ArrayList<>();
    private Path checkout;
    private Path home;
    private Path store;

    /** Exit code and output of a block of commands. */
    private record Ended(int exit, String out) {}

    @BeforeEach
    void createPlaces() throws IOException {
        home = Files.createDirectory(folder.resolve("home"));
        checkout = TestMain.checkout();
        if (checkout.toString().contains(" ")) { // paths in the document have no blanks
            checkout = Files.createSymbolicLink(home.resolve("checkout"), checkout);
        }
        store = folder.resolve("messages.db");
        examples.put("/var/lib/msg-server/messages.db", store.toString());
        examples.put("/opt/msg-server", checkout.toString());
        environment.putAll(TestMain.jbangsPlaces());
        environment.put("HOME", home.toString());
        environment.put("MSG_BIND", "127.0.0.1");
        environment.put("PATH", checkout + File.pathSeparator + System.getenv("PATH"));
    }

    @AfterEach
    void endProcesses() {
        started.forEach(ProcessHandle::destroyForcibly);
        processes.forEach(process -> process.descendants().forEach(ProcessHandle::destroyForcibly));
        processes.forEach(Process::destroyForcibly);
    }

    // ---------------------------------------------------------------- the document

    /** The text of the block {@code name}, with the paths and ports of the test. */
    private String block(String name) throws IOException {
        String text = blocks().get(name);
        assertNotEquals(null, text, "the document has no block " + name);
        for (Map.Entry<String, String> example : examples.entrySet()) {
            text = text.replace(example.getKey(), example.getValue());
        }
        return text;
    }

    private static Map<String, String> blocks() throws IOException {
        Map<String, String> blocks = new LinkedHashMap<>();
        for (MatchResult block : BLOCK.matcher(document()).results().toList()) {
            assertEquals(null, blocks.put(block.group(1), block.group(2)), block.group(1));
        }
        return blocks;
    }

    private static String document() throws IOException {
        return Files.readString(TestMain.checkout().resolve("docs/operating.md"));
    }

    @Test
    void eachBlockIsRunByATest() throws IOException {
        String tests = Files.readString(TestMain.checkout().resolve("tests/OperatingTest.java"));
        for (String name : blocks().keySet()) {
            assertTrue(tests.contains("block(\"" + name + "\")"), "no test runs block " + name);
        }
        long fences = document().lines().filter(line -> line.startsWith("```")).count();
        assertEquals(fences, 2L * blocks().size(), "some blocks have no name");
    }

    @Test
    void eachNamedOptionOfTheServerExists() throws Exception {
        String help =
                Program.commandLine(new ServerCommand(home), "MsgServer.java").getUsageMessage();
        Matcher named = Pattern.compile("`(--[a-z-]+)|`(MSG_[A-Z_]+)").matcher(document());
        while (named.find()) {
            String option = named.group().substring(1);
            assertTrue(help.contains(option), option + " is not in " + help);
        }
    }

    // ---------------------------------------------------------------- running it

    private Ended run(String script) throws Exception {
        return run(checkout, script);
    }

    /** Runs a script to its end; stdout and stderr are one text. */
    private Ended run(Path where, String script) throws Exception {
        Path output = Files.createTempFile(folder, "output", ".txt");
        ProcessBuilder builder =
                new ProcessBuilder("sh", "-c", script)
                        .directory(where.toFile())
                        .redirectErrorStream(true)
                        .redirectInput(new File("/dev/null"))
                        .redirectOutput(output.toFile());
        builder.environment().putAll(environment);
        Process process = builder.start();
        processes.add(process);
        assertTrue(process.waitFor(LIMIT.toSeconds(), TimeUnit.SECONDS), script);
        return new Ended(process.exitValue(), Files.readString(output));
    }

    /** Starts a command that keeps running; returns the file of its output. */
    private Path background(String command) throws IOException {
        Path output = Files.createTempFile(folder, "output", ".txt");
        ProcessBuilder builder =
                new ProcessBuilder("sh", "-c", "exec 2>&1; " + command)
                        .redirectInput(new File("/dev/null"))
                        .redirectOutput(output.toFile());
        builder.environment().putAll(environment);
        processes.add(builder.start());
        return output;
    }

    /** Waits until the server has logged its port; JBang may have to build the server first. */
    private static int port(Path log) throws Exception {
        Pattern ready = Pattern.compile("^Listening on port (\\d+)$", Pattern.MULTILINE);
        Waiting.eventually(
                LIMIT,
                "a server that writes to " + log,
                () -> Files.exists(log) && ready.matcher(Files.readString(log)).find());
        Matcher found = ready.matcher(Files.readString(log));
        assertTrue(found.find());
        return Integer.parseInt(found.group(1));
    }

    private ServerProcess serve(String... more) throws IOException {
        return new ServerProcess(ServerProcess.command(store, more));
    }

    /** Stores {@code count} messages for {@code recipient}. */
    private static void store(ServerProcess server, String recipient, int count) throws Exception {
        for (int i = 1; i <= count; i++) {
            String request = "store;%s;al;message %d".formatted(recipient, i);
            assertEquals(Wire.STORED, Wire.ask(server.port(), request));
        }
    }

    private static long mailbox(ServerProcess server, String recipient) throws Exception {
        String mailbox = Wire.ask(server.port(), "fetch;" + recipient);
        return mailbox.lines().filter(line -> line.startsWith(recipient + ";")).count();
    }

    private static void end(ServerProcess server) throws Exception {
        server.signal("TERM");
        assertEquals(143, server.awaitExit(), server.errors());
    }

    // ---------------------------------------------------------------- as a service, and its log

    @Test
    void systemdAcceptsTheUnit() throws Exception {
        Commands.need("systemd-analyze");
        Path unit = Files.writeString(folder.resolve("msg-server.service"), block("unit"));
        examples.put("/etc/systemd/system/msg-server.service", unit.toString());
        assertEquals(new Ended(0, ""), run(block("verify")));
        Files.writeString(unit, block("unit").replace("ExecStart=/", "ExecStart=no/"));
        assertNotEquals(
                0, run(block("verify")).exit(), "the command accepts a unit with a mistake");
    }

    @Test
    void theUnitsCommandServesAndEndsWithItsExitCode() throws Exception {
        examples.put("/var/lib/msg-server", home.toString());
        examples.put("5000", "0");
        Map<String, String> unit = new LinkedHashMap<>();
        block("unit")
                .lines()
                .map(line -> line.split("=", 2))
                .filter(pair -> pair.length == 2)
                .forEach(pair -> unit.put(pair[0], pair[1]));
        assertEquals("msg-server", unit.get("StateDirectory"));
        String command = "cd '" + unit.get("WorkingDirectory") + "' && ";
        command += "exec env " + unit.get("Environment") + " " + unit.get("ExecStart");
        Path log = background(command);
        port(log);
        assertTrue(Files.exists(store), Files.readString(log));
        Process service = processes.getLast();
        service.destroy();
        assertTrue(service.waitFor(60, TimeUnit.SECONDS));
        assertEquals(unit.get("SuccessExitStatus"), "" + service.exitValue());
    }

    /**
     * Starts the server with {@code block}, the document's commands for a log in a file; returns
     * the server's process.
     */
    private ProcessHandle inBackground(Path where, String block) throws Exception {
        String command =
                block.replace("./jbang", checkout + "/jbang")
                        .replace("MsgServer", checkout + "/MsgServer")
                        .replace("5000", "0 --store '" + store + "'");
        long pid = Long.parseLong(run(where, command + "echo $!").out().strip());
        ProcessHandle server = ProcessHandle.of(pid).orElseThrow();
        started.add(server);
        return server;
    }

    @Test
    void aServerWithItsLogInAFileOutlivesItsTerminalAndLogsDates() throws Exception {
        // LauncherTest covers a start without nohup. In an earlier version SIGHUP ended the server
        // when the server's terminal closed.
        Path where = Files.createTempDirectory(folder, "log");
        ProcessHandle server = inBackground(where, block("log"));
        Path log = where.resolve("msg-server.log");
        int port = port(log);
        Process hangUp = new ProcessBuilder("kill", "-HUP", "" + server.pid()).start();
        assertEquals(0, hangUp.waitFor());
        CompletableFuture<ProcessHandle> end = server.onExit();
        assertThrows(TimeoutException.class, () -> end.get(2, TimeUnit.SECONDS));
        assertEquals(Wire.EMPTY, Wire.ask(port, "fetch;nobody"));
        Pattern line = Pattern.compile("^\\d{4}-\\d\\d-\\d\\d .*fetch nobody", Pattern.MULTILINE);
        Waiting.eventually(
                "the log has a matching line", () -> line.matcher(Files.readString(log)).find());
        server.destroy();
        server.onExit().get(60, TimeUnit.SECONDS);
        assertTrue(
                Files.readString(log).endsWith("Goodbye. Every acknowledged message is kept.\n"));
    }

    @Test
    void logrotateTruncatesTheLogAndTheServerContinuesIt() throws Exception {
        Commands.need("logrotate");
        Path where = Files.createTempDirectory(folder, "log");
        ProcessHandle server = inBackground(where, block("log"));
        Path log = where.resolve("msg-server.log");
        int port = port(log);
        assertEquals(Wire.EMPTY, Wire.ask(port, "fetch;nobody"));
        Waiting.eventually(
                "the log has its first line", () -> Files.readString(log).contains("  #1  "));
        examples.put(checkout + "/msg-server.log", log.toString());
        Path conf = Files.writeString(folder.resolve("rotate.conf"), block("logrotate"));
        String rotate = "chmod 644 '%1$s'; logrotate -f -s '%2$s/state' '%1$s'";
        Ended rotated = run(rotate.formatted(conf, folder));
        assertEquals(new Ended(0, ""), rotated);
        assertEquals(Wire.EMPTY, Wire.ask(port, "fetch;nobody"));
        Waiting.eventually(
                "the new log has only the second request",
                () -> Files.readString(log).matches("\\d{4}\\S+ \\S+  #2  .*fetch nobody.*\n"));
        try (Stream<Path> files = Files.list(where)) {
            assertEquals(2, files.count(), "the log and one old log");
        }
        server.destroy();
    }

    @Test
    void theHealthCheckDistinguishesAServingServerFromAnEndedOne() throws Exception {
        Commands.need("nc");
        try (ServerProcess server = serve()) {
            examples.put("5000", "" + server.port());
            String check = block("health");
            assertEquals(new Ended(0, ""), run(check));
            assertEquals(Wire.STORED, Wire.ask(server.port(), "store;health-check;al;hi"));
            assertEquals(
                    new Ended(0, ""), run(check), "the check reports a working server as failed");
            server.signal("STOP");
            assertEquals(
                    new Ended(1, ""), run(check), "the check reports a frozen server as working");
            server.signal("CONT");
            assertEquals(new Ended(0, ""), run(check));
            end(server);
            assertEquals(1, run(check).exit(), "the check reports an ended server as working");
        }
    }

    @Test
    void theListeningAddressIsShown() throws Exception {
        Commands.need("ss");
        try (ServerProcess server = serve()) {
            examples.put("5000", "" + server.port());
            assertTrue(run(block("listening")).out().contains(":" + server.port() + " "));
        }
    }

    // ---------------------------------------------------------------- the store

    @Test
    void aBackupOfARunningServerIsWholeAndCanBeRestored() throws Exception {
        Commands.need("sqlite3");
        Path where = Files.createDirectory(folder.resolve("backups"));
        try (ServerProcess server = serve()) {
            store(server, "bob", 5);
            assertEquals(new Ended(0, "ok\n5\n"), run(where, block("backup")));
            store(server, "bob", 2);
            server.kill(); // the server leaves a write-ahead log behind
        }
        assertEquals(new Ended(0, ""), run(where, block("restore")));
        try (ServerProcess server = serve()) {
            assertEquals(5, mailbox(server, "bob"));
            store(server, "bob", 1);
            assertEquals(6, mailbox(server, "bob"));
        }
    }

    @Test
    void aPlainCopyOfAQuietStoreIsWhole() throws Exception {
        // In an earlier version all messages of a quiet store were still in the write-ahead log, so
        // the copy was a valid database without messages.
        Path where = Files.createDirectory(folder.resolve("backups"));
        try (ServerProcess server = serve()) {
            store(server, "bob", 5);
            long before = Files.size(store);
            Waiting.eventually(
                    "the store copies its log into the file", () -> Files.size(store) != before);
            assertEquals(new Ended(0, ""), run(where, block("copy")));
        }
        store = where.resolve("copy.db");
        try (ServerProcess server = serve()) {
            assertEquals(5, mailbox(server, "bob"));
        }
    }

    @Test
    void aDamagedStoreIsReportedAndRecovered() throws Exception {
        Commands.need("sqlite3");
        Path where = Files.createDirectory(folder.resolve("backups"));
        try (ServerProcess server = serve()) {
            store(server, "bob", 200);
            store(server, "zoe", 200);
            end(server);
        }
        Files.copy(store, where.resolve("backup.db"));
        damageAPageOf("bob");
        try (ServerProcess server = serve()) {
            for (int i = 0; i < 2; i++) {
                assertEquals(Wire.BUSY, Wire.ask(server.port(), "fetch;bob"));
                assertEquals(200, mailbox(server, "zoe"));
            }
            store(server, "bob", 1);
            store(server, "zoe", 1);
            end(server);
            String errors = server.errors();
            assertEquals(1, errors.lines().count(), errors);
            assertTrue(errors.contains("The store is damaged, see docs/operating.md; mailbox bob"));
        }
        assertEquals(new Ended(0, "402\n"), run(where, block("recover")));
        try (ServerProcess server = serve()) {
            assertEquals(201, mailbox(server, "bob"));
            assertEquals(201, mailbox(server, "zoe"));
            store(server, "bob", 1);
        }
    }

    /** Overwrites a page in the middle of {@code recipient}'s mailbox. */
    private void damageAPageOf(String recipient) throws IOException {
        int page = 2048;
        byte leaf = 10; // sqlite.org/fileformat.html, section 1.6
        byte[] bytes = Files.readAllBytes(store);
        List<Integer> pages = new ArrayList<>();
        for (int at = page; at < bytes.length; at += page) {
            String text = new String(bytes, at, page, StandardCharsets.ISO_8859_1);
            if (bytes[at] == leaf && text.contains(recipient)) {
                pages.add(at);
            }
        }
        int damaged = pages.get(pages.size() / 2);
        Arrays.fill(bytes, damaged, damaged + page, (byte) 0);
        Files.write(store, bytes);
    }

    private static final String SECRET = "b4n4n4s-4t-m1dn1ght";

    private void storeForManyAndTheSecretForBob(ServerProcess server) throws Exception {
        Random random = new Random(1);
        for (int i = 0; i < 100; i++) {
            boolean forBob = random.nextInt(4) == 0;
            String text = i + (forBob ? SECRET : "x".repeat(random.nextInt(200)));
            String to = forBob ? "bob" : "user" + random.nextInt(50);
            assertEquals(Wire.STORED, Wire.ask(server.port(), "store;" + to + ";al;" + text));
        }
        assertTrue(isInFiles(SECRET), "the search does not find the text of a stored message");
    }

    @Test
    void aDeletedMailboxLeavesNoTextInTheFile() throws Exception {
        Commands.need("sqlite3");
        try (ServerProcess server = serve()) {
            storeForManyAndTheSecretForBob(server);
            end(server);
        }
        String delete = block("delete");
        assertEquals(0, run(delete.replaceFirst("; VACUUM.*\\)\"", "\"")).exit());
        assertTrue(isInFiles(SECRET), "a DELETE alone already removes the text");
        assertEquals(0, run(delete).exit());
        assertFalse(isInFiles(SECRET));
        try (ServerProcess server = serve()) {
            assertEquals(0, mailbox(server, "bob"));
            assertTrue(mailbox(server, "user7") > 0, "other mailboxes keep their messages");
        }
    }

    @Test
    void aSafeSqliteDeletesAMailboxOfARunningServer() throws Exception {
        try (ServerProcess server = serve()) {
            storeForManyAndTheSecretForBob(server);
            // This JVM's SQLite library replaces a sqlite3 command of a safe version.
            try (Connection connection = DriverManager.getConnection("jdbc:sqlite:" + store);
                    Statement statement = connection.createStatement()) {
                for (String sql : block("delete").split("\"")[1].split(";")) {
                    statement.execute(sql);
                }
            }
            assertFalse(isInFiles(SECRET));
            assertEquals(0, mailbox(server, "bob"));
            assertTrue(mailbox(server, "user7") > 0, "other mailboxes keep their messages");
            store(server, "bob", 1);
            assertEquals(1, mailbox(server, "bob"));
            assertEquals("", server.errors());
        }
    }

    /** Whether any file in the store's folder contains {@code text}. */
    private boolean isInFiles(String text) throws IOException {
        boolean found = false;
        try (Stream<Path> files = Files.list(folder)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                found |= Files.readString(file, StandardCharsets.ISO_8859_1).contains(text);
            }
        }
        return found;
    }

    @Test
    void anUpgradeBuildsTheNewVersion() throws Exception {
        Commands.need("git");
        Path origin = folder.resolve("origin");
        Path clone = folder.resolve("clone");
        String git = "git -c user.name=n -c user.email=e -c init.defaultBranch=main ";
        String copy =
                "mkdir '%1$s' && cp -R jbang* *.java common server store client '%1$s' && cd '%1$s'"
                        + " && %2$s init -q && %2$s add . && %2$s commit -qm one && %2$s clone -q ."
                        + " '%3$s'";
        assertEquals(new Ended(0, ""), run(checkout, copy.formatted(origin, git, clone)));
        environment.put("JBANG_CACHE_DIR_JARS", folder.resolve("jars").toString());
        assertEquals(0, run(clone, "./jbang build MsgServer.java").exit());
        String newer = "echo '// newer' >>server/Limits.java && " + git + " commit -qam two";
        assertEquals(new Ended(0, ""), run(origin, newer));
        Ended upgraded = run(clone, block("upgrade"));
        assertEquals(0, upgraded.exit(), upgraded.out());
        assertTrue(upgraded.out().contains("Building jar for MsgServer.java"), upgraded.out());
    }

    // ---------------------------------------------------------------- from a URL, and as commands

    @Test
    void bothProgramsRunAndInstallFromAUrl() throws Exception {
        // JBang trusts 127.0.0.1 without a question, so the test uses another address of loopback.
        // By default macOS has no other one.
        String host = OS.MAC.isCurrentOs() ? "127.0.0.1" : "127.0.0.2";
        InetSocketAddress free = new InetSocketAddress(host, FreePort.next().getPort());
        examples.put("0.0.0.0", host);
        examples.put("server.example.org", host);
        examples.put("8000", "" + free.getPort());
        environment.put("MSG_BIND", host);
        environment.put("JBANG_CACHE_DIR_JARS", folder.resolve("jars").toString());
        environment.put("PATH", home + "/.jbang/bin:" + environment.get("PATH"));
        String jdk = "'" + Path.of(System.getProperty("java.home"), "bin") + "'/";
        background(jdk + block("publish"));
        Waiting.eventually("the web server listens", () -> isOpen(free));

        Path elsewhere = Files.createDirectory(folder.resolve("elsewhere"));
        String[] lines = block("url").split("\n");
        String server = "cd '" + elsewhere + "' && " + lines[1].replace("5000", "0");
        if (OS.LINUX.isCurrentOs()) {
            assertNotEquals(
                    0,
                    run(elsewhere, lines[1] + " --version").exit(),
                    "JBang runs code from an untrusted URL");
        }
        assertEquals(0, run(elsewhere, lines[0]).exit());
        int port = port(background(server));
        String answers = "printf '1\\nbob\\nhi bob\\n3\\n' | ";
        Ended client = run(elsewhere, answers + lines[2].replace("5000", port + " --user al"));
        assertTrue(client.out().contains("The message to bob is stored."), client.out());

        Ended installed = run(elsewhere, block("install-url"));
        assertEquals(0, installed.exit(), installed.out());
        answers = "printf '2\\n3\\n' | ";
        client = run(elsewhere, answers + "msg-client " + host + " " + port + " --user bob");
        assertTrue(client.out().contains("al: hi bob\n"), client.out());
        assertTrue(run(elsewhere, "msg-server --version").out().endsWith("MsgServer 1.0\n"));
    }

    private static boolean isOpen(InetSocketAddress address) throws IOException {
        try (Socket socket = new Socket()) {
            socket.connect(address);
            return true;
        } catch (ConnectException e) {
            return false;
        }
    }

    @Test
    void bothProgramsInstallAndRunWithoutAnInstalledJBang() throws Exception {
        // In an earlier version the document's "jbang app install" was not found without an
        // installed JBang. A command that "./jbang app install" had made did not find JBang.
        Commands.need("mvn");
        Stream<String> path = Stream.of(System.getenv("PATH").split(File.pathSeparator));
        path = path.filter(bin -> !Files.exists(Path.of(bin, "jbang")));
        environment.put("PATH", path.collect(Collectors.joining(File.pathSeparator)));
        String versions = "cd /; msg-server --version; msg-client --version";
        Ended installed = run("set -e; " + block("install") + versions);
        assertTrue(
                installed.out().endsWith("MsgServer 1.0\nMsgClient 1.0\n"), installed.toString());
        for (String file : List.of(".bashrc", ".zshrc")) {
            assertEquals(block("startfile").strip(), Files.readString(home.resolve(file)).strip());
        }
        // a second install does not change the start files
        run("./jbang app install --force --name msg-server MsgServer.java");
        assertEquals(block("startfile").strip(), Files.readString(home.resolve(".bashrc")).strip());
        Files.delete(home.resolve(".jbang/bin/jbang")); // JUnit warns of links out of the folder
    }

    @Test
    void tabCompletesTheOptionsAndTheStoresFile() throws Exception {
        Commands.need("bash");
        String complete =
                """
                offer() {
                    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
                    _complete_$1
                    echo "$1: ${COMPREPLY[*]}"
                }
                offer msg-server --
                offer msg-client --
                offer msg-server --store READ
                """;
        Path script =
                Files.writeString(folder.resolve("complete.sh"), block("completion") + complete);
        Ended completed = run("bash '" + script + "'");
        String out = completed.out();
        assertTrue(
                out.matches(
                        "(?ms).*^msg-server: .*--bind.*--store.*^msg-client: .*--user.*"
                                + "^msg-server: README.md$.*"),
                out);
    }
}
