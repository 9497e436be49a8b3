///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of both programs as users start them, through JBang
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/ServerProcess.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** Both programs as users start them: with a real JBang, by the commands that students type. */
@EnabledOnOs({OS.LINUX, OS.MAC}) // on Windows no signal reaches a program that JBang started
@Order(7) // long test classes start first
class JBangTest {
    private static final Duration LIMIT = Duration.ofMinutes(3);

    @TempDir Path folder;

    private final Map<String, String> environment = new HashMap<>();
    private Path elsewhere;

    @BeforeEach
    void anotherFolder() throws IOException {
        elsewhere = Files.createDirectory(folder.resolve("another folder"));
    }

    /** Output and exit code of a program that has ended. */
    private record Ended(int exit, String out, String err) {}

    /** Runs {@code command} until it ends; its stdin is {@code input}. */
    private Ended run(List<String> command, String input) throws Exception {
        ProcessBuilder builder = new ProcessBuilder(command).directory(elsewhere.toFile());
        builder.environment().putAll(environment);
        Process process = builder.start();
        try {
            FutureTask<String> err = new FutureTask<>(() -> text(process.getErrorStream()));
            Thread.ofVirtual().start(err);
            try (OutputStream stdin = process.getOutputStream()) {
                stdin.write(input.getBytes(StandardCharsets.UTF_8));
            }
            String out = text(process.getInputStream());
            assertTrue(process.waitFor(LIMIT.toSeconds(), TimeUnit.SECONDS), out);
            return new Ended(process.exitValue(), out, ofTheProgram(err.get()));
        } finally {
            process.destroyForcibly();
        }
    }

    private static String text(InputStream in) throws IOException {
        return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    }

    /** The output without the lines in which JBang reports a build. */
    private static String ofTheProgram(String err) {
        return err.replaceAll("(?m)^\\[jbang] .*\n", "");
    }

    /** Starts a server; {@code env} and {@code sh} set its environment and folder. */
    private ServerProcess server(List<String> command) throws IOException {
        List<String> all = new ArrayList<>();
        // The words before java, if there are any, restore SIGINT.
        ServerProcess.java("MsgServer").stream()
                .takeWhile(word -> !word.endsWith("java"))
                .forEach(all::add);
        all.add("env");
        environment.forEach((name, value) -> all.add(name + "=" + value));
        all.addAll(List.of("sh", "-c", "cd \"$0\" && exec \"$@\"", elsewhere.toString()));
        all.addAll(command);
        return new ServerProcess(all);
    }

    private static List<String> jbang(String script, String... arguments) {
        Path checkout = TestMain.checkout();
        List<String> command = new ArrayList<>();
        command.add(checkout.resolve("jbang").toString());
        command.add(checkout.resolve(script).toString());
        command.addAll(List.of(arguments));
        return command;
    }

    @Test
    void aMessageOutlivesTheServer() throws Exception {
        String store = folder.resolve("messages.db").toString();
        List<String> serve = jbang("MsgServer.java", "0", "--bind", "127.0.0.1", "--store", store);
        String port;
        try (ServerProcess server = server(serve)) {
            port = Integer.toString(server.port());
            Ended client =
                    run(
                            jbang("MsgClient.java", "127.0.0.1", port),
                            "george\n1\nΚυριάκος\nγειά σου 👋; all well?\n3\n");
            assertEquals("", client.err());
            assertTrue(client.out().contains("The message to Κυριάκος is stored.\n"), client.out());
            assertEquals(0, client.exit());
            interrupt(server, 130);
            assertTrue(
                    server.output().contains("  store to Κυριάκος from george  ->  stored  "),
                    server.output());
        }
        assertEquals(List.of("messages.db"), filesIn(folder));

        try (ServerProcess server = server(serve)) {
            port = Integer.toString(server.port());
            Ended client =
                    run(jbang("MsgClient.java", "127.0.0.1", port, "--user", "Κυριάκος"), "2\n3\n");
            assertEquals("", client.err());
            assertTrue(
                    client.out()
                            .contains(
                                    "   1. george: γειά σου 👋; all well?\n"
                                            + "This is the only message.\n"),
                    client.out());
            interrupt(server, 130);
        }
        Ended client = run(jbang("MsgClient.java", "127.0.0.1", port, "--user", "al"), "2\n");
        assertTrue(client.err().startsWith("No server answers at 127.0.0.1 port " + port));
        assertEquals(1, client.exit());
    }

    @Test
    void installedCommandsWorkFromAnotherFolder() throws Exception {
        Path jbangDir = folder.resolve("jbang's own");
        Path commands = jbangDir.resolve("bin");
        Path home = Files.createDirectory(folder.resolve("home"));
        environment.put("JBANG_DIR", jbangDir.toString());
        environment.putAll(TestMain.jbangsPlaces());
        environment.put(
                "PATH", // with this PATH, JBang does not edit the start files of shells
                String.join(
                        File.pathSeparator,
                        commands.toString(),
                        System.getenv("PATH"),
                        TestMain.checkout().toString()));
        for (String[] command :
                new String[][] {
                    {"msg-server", "MsgServer.java"}, {"msg-client", "MsgClient.java"}
                }) {
            Path script = TestMain.checkout().resolve(command[1]);
            Ended install =
                    run(
                            List.of(
                                    TestMain.checkout().resolve("jbang").toString(),
                                    "app",
                                    "install",
                                    "--name",
                                    command[0],
                                    script.toString()),
                            "");
            assertEquals(0, install.exit(), install.err());
        }
        environment.put("HOME", home.toString());
        String msgServer = commands.resolve("msg-server").toString();
        try (ServerProcess server = server(List.of(msgServer, "0", "--bind", "127.0.0.1"))) {
            String port = Integer.toString(server.port());
            String msgClient = commands.resolve("msg-client").toString();
            Ended client =
                    run(
                            List.of(msgClient, "127.0.0.1", port, "--user", "george"),
                            "1\ngeorge\nnote to myself\n2\n3\n");
            assertEquals("", client.err());
            assertTrue(client.out().contains("   1. george: note to myself\n"), client.out());
            assertEquals(0, client.exit());
            assertTrue(
                    server.output()
                            .contains(
                                    "Messages are kept in "
                                            + home.toRealPath()
                                                    .resolve(".msg-server")
                                                    .resolve("messages.db")
                                            + "\n"),
                    server.output());
            interrupt(server, 130);
            assertTrue(
                    run(List.of(msgServer), "").err().endsWith("All options: msg-server --help\n"));
        }
        assertEquals(List.of(), filesIn(elsewhere), "no file is left in the working folder");
        assertEquals(List.of("messages.db"), filesIn(home.resolve(".msg-server")));
    }

    @Test
    void namesInAnyScriptWorkInTheCLocale() throws Exception {
        // In an earlier version JBang reported "Script or alias could not be found" in a folder
        // with a Greek name. A text from an environment variable arrived with other characters.
        Path checkout = Files.createDirectory(folder.resolve("Βιβλία"));
        Process copy =
                new ProcessBuilder(
                                "sh",
                                "-c",
                                "cp -R jbang* *.java common server store client \"$0\"",
                                "" + checkout)
                        .directory(TestMain.checkout().toFile())
                        .inheritIO()
                        .start();
        assertEquals(0, copy.waitFor());
        Path home = Files.createDirectory(folder.resolve("σπίτι"));
        environment.putAll(TestMain.jbangsPlaces());
        environment.put("HOME", home.toString());
        environment.put("LC_ALL", "C");
        environment.put("MSG_USER", "Κυριάκος");
        String launcher = checkout.resolve("jbang").toString();
        String script = checkout.resolve("MsgServer.java").toString();
        try (ServerProcess server = server(List.of(launcher, script, "0", "--bind", "127.0.0.1"))) {
            String port = Integer.toString(server.port());
            script = checkout.resolve("MsgClient.java").toString();
            Ended client = run(List.of(launcher, script, "127.0.0.1", port), "1\nal\nγειά\n3\n");
            assertEquals("", client.err());
            assertEquals(0, client.exit(), client.out());
            interrupt(server, 130);
            assertTrue(server.output().contains("  store to al from Κυριάκος"), server.output());
            assertTrue(server.output().contains(home + "/.msg-server/"), server.output());
        }
    }

    /** Sends SIGINT, as Ctrl+C does. */
    private static void interrupt(ServerProcess server, int exitCode) throws Exception {
        server.signal("INT");
        assertEquals(exitCode, server.awaitExit());
        assertTrue(
                server.output().endsWith("Goodbye. Every acknowledged message is kept.\n"),
                server.output());
        assertEquals("", ofTheProgram(server.errors()));
    }

    private static List<String> filesIn(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(Files::isRegularFile)
                    .map(file -> file.getFileName().toString())
                    .sorted()
                    .toList();
        }
    }
}
