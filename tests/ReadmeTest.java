///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests that play the session at the top of README.md in real terminals
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Transcript.java
//SOURCES ../docs/Session.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertIterableEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
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
}
