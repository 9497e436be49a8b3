///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Gives the lesson of docs/lesson.md in real terminals: what it shows is what is shown
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Transcript.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;

/** The documents for a class: docs/lesson.md, docs/exercises.md. */
@Order(2) // it takes long
class LessonTest {

    @Test
    @EnabledIf(
            value = "Transcript#available",
            disabledReason = "needs nc, pgrep, strace, cc, bash and util-linux's script")
    void theLessonShowsWhatIsShown(@TempDir Path folder) throws Exception {
        Map<String, String> real = new LinkedHashMap<>();
        real.put("5000", Integer.toString(freePort()));
        real.put("/tmp", folder.toString());
        // A teacher needs the time to type, a test does not.
        real.put("--timeout 30", "--timeout 5");
        try (Transcript transcript = new Transcript(real)) {
            transcript.run(TestMain.checkout().resolve("docs").resolve("lesson.md"));
        }
    }

    @Test
    void theExercisesNameOnlyWhatThereIs() throws IOException {
        Path checkout = TestMain.checkout();
        String catalog = Files.readString(checkout.resolve("jbang-catalog.json"));
        String exercises = Files.readString(checkout.resolve("docs").resolve("exercises.md"));
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
    }

    private static int freePort() throws IOException {
        try (ServerSocket free = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return free.getLocalPort();
        }
    }
}
