///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of README.md: its session, options, promises; links and width of all documents
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Transcript.java
//SOURCES ../docs/Session.java
//SOURCES ../MsgServer.java
//SOURCES ../MsgClient.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertIterableEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.OptionSpec;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Compares README.md with the programs and with a session in real terminals; checks the form of all
 * documents.
 */
class ReadmeTest {
    private static final int MOST_LINES = 260;
    private static final int MOST_COLUMNS = 100;

    private static List<String> readme;

    @BeforeAll
    static void read() throws IOException {
        readme = lines("README.md");
    }

    /** README.md and the documents in docs/. */
    static List<String> documents() throws IOException {
        Path checkout = TestMain.checkout();
        try (Stream<Path> files = Files.list(checkout.resolve("docs"))) {
            Stream<String> docs = files.map(file -> "docs/" + file.getFileName());
            return Stream.concat(Stream.of("README.md"), docs)
                    .filter(name -> name.endsWith(".md"))
                    .sorted()
                    .toList();
        }
    }

    private static List<String> lines(String document) throws IOException {
        return Files.readAllLines(TestMain.checkout().resolve(document));
    }

    // ---------------------------------------------------------------- form

    @Test
    void isShort() {
        assertTrue(readme.size() <= MOST_LINES, readme.size() + " lines");
    }

    /** The lines of a document outside its code blocks. */
    private static List<String> text(String document) throws IOException {
        List<String> text = new ArrayList<>();
        boolean inCode = false;
        for (String line : lines(document)) {
            if (line.startsWith("```")) {
                inCode = !inCode;
            } else if (!inCode) {
                text.add(line);
            }
        }
        assertFalse(inCode, document + " has a code block without an end");
        return text;
    }

    @ParameterizedTest
    @MethodSource("documents")
    void linesFitOnAScreen(String document) throws IOException {
        List<String> tooWide =
                text(document).stream()
                        .filter(line -> line.codePointCount(0, line.length()) > MOST_COLUMNS)
                        .filter(line -> !line.startsWith("|")) // a table
                        .filter(line -> line.strip().contains(" ")) // else it cannot be broken
                        .toList();
        assertEquals(List.of(), tooWide);
    }

    @ParameterizedTest
    @MethodSource("documents")
    void linksLeadSomewhere(String document) throws IOException {
        Path at = TestMain.checkout().resolve(document);
        String text = String.join("\n", text(document)).replaceAll("`[^`]*`", "");
        for (MatchResult link :
                Pattern.compile("]\\(([^)#]*)(?:#([^)]*))?\\)").matcher(text).results().toList()) {
            if (link.group(1).contains("://")) {
                continue;
            }
            Path target = link.group(1).isEmpty() ? at : at.resolveSibling(link.group(1));
            assertTrue(Files.exists(target), link.group());
            if (link.group(2) != null) {
                String name = TestMain.checkout().relativize(target.normalize()).toString();
                assertTrue(anchors(name).contains(link.group(2)), link.group());
            }
        }
    }

    /** The anchors of a document's headings, by GitHub's rules. */
    private static List<String> anchors(String document) throws IOException {
        return text(document).stream()
                .filter(line -> line.startsWith("#"))
                .map(line -> line.replaceFirst("#+ ", "").toLowerCase(Locale.ROOT))
                .map(line -> line.replaceAll("[^\\p{L}\\p{N} _-]", "").replace(' ', '-'))
                .toList();
    }

    // ---------------------------------------------------------------- options and promises

    /**
     * The first two cells of each row of the table that starts with {@code begin}: names, and
     * variables.
     */
    private static Map<String, String> table(String begin) {
        Map<String, String> rows = new LinkedHashMap<>();
        int at = 0;
        while (!readme.get(at).startsWith(begin)) {
            at++;
        }
        for (at += 2; readme.get(at).startsWith("|"); at++) {
            String[] cells = readme.get(at).split(" *\\| *");
            Matcher name = Pattern.compile("`(--[a-z-]+|[A-Z]+)").matcher(cells[1]);
            assertTrue(name.find(), cells[1]);
            rows.put(name.group(1), cells[2].replace("`", ""));
        }
        return rows;
    }

    /** The options and parameters of {@code command}, and the variables in their help. */
    private static Map<String, String> options(Object command, String script) {
        Map<String, String> options = new LinkedHashMap<>();
        for (ArgSpec argument : Program.commandLine(command, script).getCommandSpec().args()) {
            String name =
                    argument instanceof OptionSpec option
                            ? option.longestName()
                            : argument.paramLabel();
            if (!List.of("--help", "--version").contains(name)) {
                options.put(name, argument.description()[0].replaceFirst(".* ", ""));
            }
        }
        return options;
    }

    @Test
    void eachOptionOfTheServerIsInItsTable() {
        assertEquals(
                options(new ServerCommand(Path.of("")), "MsgServer.java"),
                table("| `MsgServer PORT` "));
    }

    @Test
    void eachOptionOfTheClientIsInItsTable() {
        assertEquals(
                options(new ClientCommand(), "MsgClient.java"), table("| `MsgClient HOST PORT` "));
    }

    @Test
    void eachPromiseNamesExistingTests() {
        Path tests = TestMain.checkout().resolve("tests");
        int from = readme.indexOf("## What it promises");
        List<String> section = readme.subList(from, readme.size());
        List<String> promises =
                section.stream()
                        .skip(1)
                        .takeWhile(line -> !line.startsWith("## "))
                        .filter(line -> line.matches("\\| [A-Z].*"))
                        .toList();
        assertTrue(promises.size() > 10, promises.toString());
        for (String promise : promises) {
            String[] cells = promise.split("\\|");
            List<String> classes =
                    Pattern.compile("\\w+(?=[`.]|$)")
                            .matcher(cells[3])
                            .results()
                            .map(MatchResult::group)
                            .filter(name -> name.endsWith("Test") || name.equals("Soak"))
                            .toList();
            assertFalse(classes.isEmpty(), promise);
            for (String name : classes) {
                assertTrue(
                        Stream.of("", "cluster/")
                                .map(folder -> tests.resolve(folder + name + ".java"))
                                .anyMatch(Files::exists),
                        name);
            }
        }
    }

    // ---------------------------------------------------------------- the session

    /** Compares README.md's transcripts and picture with the same session in real terminals. */
    @Nested
    @EnabledIf(value = "Session#available", disabledReason = "needs tmux")
    class SessionTest {
        private static List<Session.Screen> screens;

        @BeforeAll
        static void play() throws Exception {
            screens = Session.played(TestMain.checkout());
        }

        /** The lines of the code block that begins with {@code first}. */
        private static List<String> block(String first) {
            List<String> from = readme.subList(readme.indexOf(first), readme.size());
            return masked(from.subList(0, from.indexOf("```")).stream());
        }

        private static List<String> masked(Stream<String> lines) {
            return lines.map(Transcript::masked).toList();
        }

        @Test
        void theServersTranscriptMatchesItsOutput() {
            assertIterableEquals(
                    masked(screens.get(0).lines().stream()),
                    block("$ ./jbang MsgServer.java 5000 --bind 127.0.0.1"));
        }

        @Test
        void theClientsTranscriptMatchesTheBeginningOfItsOutput() {
            List<String> block = block("$ ./jbang MsgClient.java 127.0.0.1 5000");
            assertIterableEquals(
                    masked(screens.get(2).lines().stream().limit(block.size())), block);
        }

        @Test
        void thePictureShowsThisSession() throws Exception {
            assertIterableEquals(
                    masked(Session.draw(screens).lines()),
                    masked(lines("docs/session.svg").stream()),
                    "draw the picture again with ./jbang docs/Session.java");
        }
    }

    @Test
    void thePictureComesBeforeTheFirstSection() {
        List<String> opening = readme.subList(0, readme.indexOf("## Two commands"));
        assertTrue(opening.stream().anyMatch(line -> line.endsWith("](docs/session.svg)")));
    }

    @Test
    void theTableOfTestsNamesEveryTestClass() throws Exception {
        Path tests = TestMain.checkout().resolve("tests");
        Set<String> there = new TreeSet<>();
        try (Stream<Path> files = Files.list(tests)) {
            files.map(file -> file.getFileName().toString())
                    .filter(name -> name.endsWith("Test.java"))
                    .forEach(name -> there.add(name.replace(".java", "")));
        }
        assertEquals(there, named(Files.readString(tests.resolve("TestRunner.java"))));
        // ./jbang test does not run ScaleOutPageTest, since that test takes minutes
        there.add("ScaleOutPageTest");
        for (Path document : List.of(tests.resolve("../README.md"), tests.resolve("../docs"))) {
            try (Stream<Path> files = Files.walk(document, 1)) {
                for (Path file : files.filter(it -> it.toString().endsWith(".md")).toList()) {
                    Set<String> named = named(Files.readString(file));
                    assertTrue(there.containsAll(named), file + " names " + named);
                }
            }
        }
    }

    private static Set<String> named(String text) {
        return Pattern.compile("\\b[A-Z]\\w+Test\\b")
                .matcher(text)
                .results()
                .map(MatchResult::group)
                .collect(Collectors.toCollection(TreeSet::new));
    }
}
