///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Gives the lesson of docs/lesson.md in real terminals: what it shows is what is shown
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Transcript.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIf;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

class LessonTest {

    @Test
    @EnabledIf(
            value = "Transcript#available",
            disabledReason = "needs nc, pgrep, strace, bash and util-linux's script")
    void theLessonShowsWhatIsShown(@TempDir Path folder) throws Exception {
        Map<String, String> real = new LinkedHashMap<>();
        real.put("5000", Integer.toString(freePort()));
        real.put("/tmp", folder.toString());
        try (Transcript transcript = new Transcript(real)) {
            transcript.run(TestMain.checkout().resolve("docs").resolve("lesson.md"));
        }
    }

    private static int freePort() throws IOException {
        try (ServerSocket free = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return free.getLocalPort();
        }
    }
}
