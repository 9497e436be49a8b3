///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests that run the lesson of docs/lesson.md in real terminals, and solve its exercises
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES ../conformance/FreePort.java
//SOURCES support/Transcript.java
//SOURCES VerbsTest.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.EnabledIf;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

import java.io.File;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.spi.ToolProvider;
import java.util.stream.Stream;

/** The documents for teaching: docs/lesson.md, docs/handout.md, docs/exercises.md. */
@Order(6) // long test classes start first
class LessonTest {
    @TempDir Path folder;

    @Test
    @EnabledIf(
            value = "Transcript#available",
            disabledReason = "needs nc, pgrep, strace, cc, bash and util-linux's script")
    void theLessonsOutputMatchesTheTerminals() throws Exception {
        Map<String, String> real = new LinkedHashMap<>();
        real.put("5000", Integer.toString(FreePort.next().getPort()));
        real.put("/tmp", folder.toString());
        // A teacher needs time to type; a test does not.
        real.put("--timeout 30", "--timeout 5");
        try (Transcript transcript = new Transcript(real)) {
            transcript.run(TestMain.checkout().resolve("docs").resolve("lesson.md"));
        }
    }

    @Test
    void theHandOutAsksForWhatTheLessonTypes() throws IOException {
        List<String> lesson = lines("lesson.md");
        List<String> commands =
                Pattern.compile("`(\\$ .+?)`")
                        .matcher(read("handout.md"))
                        .results()
                        .map(command -> command.group(1))
                        .toList();
        assertTrue(commands.size() > 5, commands.toString());
        for (String command : commands) {
            assertTrue(lesson.contains(command), command);
        }
        assertTrue(lines("handout.md").size() < 70, "the hand-out is longer than a page");
    }

    @Test
    void theExercisesNameOnlyExistingFilesAndCases() throws IOException {
        Path checkout = TestMain.checkout();
        String catalog = Files.readString(checkout.resolve("jbang-catalog.json"));
        String exercises = read("exercises.md");
        List<MatchResult> commands =
                Pattern.compile("\\./jbang (\\S+) ?(\\w+Test)?")
                        .matcher(exercises)
                        .results()
                        .toList();
        assertFalse(commands.isEmpty());
        for (MatchResult command : commands) {
            assertTrue(catalog.contains("\"" + command.group(1) + "\": {"), command.group());
            if (command.group(2) != null) {
                Path test = checkout.resolve("tests").resolve(command.group(2) + ".java");
                assertTrue(Files.exists(test), command.group());
            }
        }
        String check = "";
        for (String source : List.of("ClientCheck.java", "ServerCheck.java")) {
            check += Files.readString(checkout.resolve("conformance").resolve(source));
        }
        Pattern quoted = Pattern.compile("\"((?:a|clients|is) [^\"]+)\"");
        for (MatchResult name : quoted.matcher(exercises.replace("\n", " ")).results().toList()) {
            assertTrue(
                    check.contains(name.group(1)), "the check has no such case: " + name.group());
        }
    }

    private static final List<String> PRODUCT =
            List.of("", "server", "store", "client", "common", "tests/support");

    /**
     * Copies the product, and the files that {@code VerbsTest} reads, into a folder where a test
     * may change them.
     */
    private void copyProduct() throws IOException {
        for (String room : PRODUCT) {
            Path copies = Files.createDirectories(folder.resolve(room));
            try (Stream<Path> files = Files.list(TestMain.checkout().resolve(room))) {
                for (Path file : files.filter(Files::isRegularFile).toList()) {
                    Files.copy(file, copies.resolve(file.getFileName()));
                }
            }
        }
    }

    /**
     * Compiles the copy from {@link #copyProduct} with the product's options; returns the output of
     * javac.
     */
    private String javac() throws IOException {
        List<String> command = new ArrayList<>(List.of("-proc:none", "-d", folder + "/classes"));
        command.addAll(List.of("-cp", System.getProperty("java.class.path")));
        for (String line : Files.readAllLines(folder.resolve("Protocol.java"))) {
            if (line.startsWith("//COMPILE_OPTIONS ")) {
                command.addAll(List.of(line.split(" ")).subList(1, line.split(" ").length));
            }
        }
        for (String room : PRODUCT.subList(0, PRODUCT.size() - 1)) {
            try (Stream<Path> files = Files.list(folder.resolve(room))) {
                files.map(Path::toString).filter(f -> f.endsWith(".java")).forEach(command::add);
            }
        }
        command.add(folder.resolve("tests/support/HostileInput.java").toString());
        StringWriter said = new StringWriter();
        ToolProvider javac = ToolProvider.findFirst("javac").orElseThrow();
        javac.run(new PrintWriter(said), new PrintWriter(said), command.toArray(String[]::new));
        return said.toString();
    }

    @Test
    void theCompilerNamesEachSwitchThatHasToKnowANewVerb() throws Exception {
        copyProduct();
        Path file = folder.resolve("Protocol.java");
        String protocol = Files.readString(file);
        String withCount =
                protocol.replaceFirst("(interface Request permits [\\w, ]+)", "$1, Count")
                        .replaceFirst(
                                "( +)(public record Fetch)",
                                "$1public record Count(String recipient) implements Request {}\n"
                                        + "$1$2");
        Files.writeString(file, withCount);
        String said = javac();
        for (String source : List.of("Protocol.java", "MsgServer.java", "RequestLog.java")) {
            assertTrue(
                    Pattern.compile(source + ":\\d+: error: the switch .* does not cover all")
                            .matcher(said)
                            .find(),
                    said);
        }
    }

    @Test
    @DisabledOnOs(OS.WINDOWS)
    void theSolutionOfTheThirdExercisePassesItsCheck() throws Exception {
        copyProduct();
        Path patch = TestMain.checkout().resolve("docs/solutions/count.patch");
        assertEquals("", ran("patch", "-s", "-p1", "-i", patch.toString()));
        assertEquals("", javac());
        String classes = folder.resolve("classes") + File.pathSeparator;
        String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
        String said =
                ran(
                        java,
                        "-XX:TieredStopAtLevel=1",
                        "-cp",
                        classes + System.getProperty("java.class.path"),
                        "TestMain",
                        "VerbsTest");
        assertTrue(said.contains(" 0 tests failed "), said);
        assertTrue(said.contains("Count[recipient=any recipient]"), said);
    }

    private String ran(String... command) throws IOException {
        Process process =
                new ProcessBuilder(command)
                        .directory(folder.toFile())
                        .redirectErrorStream(true)
                        .start();
        process.getOutputStream().close();
        return new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    }

    private static String read(String document) throws IOException {
        return Files.readString(TestMain.checkout().resolve("docs").resolve(document));
    }

    private static List<String> lines(String document) throws IOException {
        return read(document).lines().toList();
    }
}
