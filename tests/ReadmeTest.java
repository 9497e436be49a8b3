///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of README.md: its session in real terminals, the tests that it names
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Transcript.java
//SOURCES ../docs/Session.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertIterableEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** README.md's transcripts and its picture, against the same session played in real terminals. */
@EnabledIf(value = "Session#available", disabledReason = "needs tmux")
class ReadmeTest {
    private static List<Session.Screen> screens;
    private static List<String> readme;

    @BeforeAll
    static void play() throws Exception {
        screens = Session.played(TestMain.checkout());
        readme = Files.readAllLines(TestMain.checkout().resolve("README.md"));
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
    void theServersTranscriptIsWhatItShows() {
        assertIterableEquals(
                masked(screens.get(0).lines().stream()),
                block("$ ./jbang MsgServer.java 5000 --bind 127.0.0.1"));
    }

    @Test
    void theClientsTranscriptIsWhatItShowsFirst() {
        List<String> block = block("$ ./jbang MsgClient.java 127.0.0.1 5000");
        assertIterableEquals(masked(screens.get(2).lines().stream().limit(block.size())), block);
    }

    @Test
    void thePictureIsOfThisSession() throws Exception {
        Path picture = TestMain.checkout().resolve("docs").resolve("session.svg");
        assertIterableEquals(
                masked(Session.draw(screens).lines()),
                masked(Files.readAllLines(picture).stream()),
                "to draw it again: ./jbang docs/Session.java");
    }

    @Test
    void thePictureComesBeforeTheFirstSection() {
        List<String> opening = readme.subList(0, readme.indexOf("## Two commands"));
        assertTrue(opening.stream().anyMatch(line -> line.endsWith("](docs/session.svg)")));
    }

    @Test
    void theTestsThatAreNamedAreThoseThatThereAre() throws Exception {
        Path tests = TestMain.checkout().resolve("tests");
        Set<String> there = new TreeSet<>();
        try (Stream<Path> files = Files.list(tests)) {
            files.map(file -> file.getFileName().toString())
                    .filter(name -> name.endsWith("Test.java"))
                    .forEach(name -> there.add(name.replace(".java", "")));
        }
        assertEquals(there, named(Files.readString(tests.resolve("TestRunner.java"))));
        there.add("ScaleOutPageTest"); // which takes minutes
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
