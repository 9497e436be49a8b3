//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.stream.Stream;

/** Commands of this machine, and scripts that replace commands. */
final class Commands {
    private Commands() {}

    /** The first command of this name on the PATH. */
    static Optional<Path> onPath(String name) {
        return Stream.of(System.getenv("PATH").split(File.pathSeparator))
                .map(folder -> Path.of(folder, name))
                .filter(Files::isExecutable)
                .findFirst();
    }

    /** Skips the test if the command is missing. */
    static void need(String name) {
        assumeTrue(onPath(name).isPresent(), "missing command: " + name);
    }

    /**
     * Writes an executable file through a separate process. Linux refuses to execute a file that is
     * open for writing ("Text file busy"). If this JVM wrote the file, another test could start a
     * process meanwhile, and this process would have the file open until its program begins.
     */
    static void executable(Path file, String content) throws IOException {
        Files.createDirectories(file.getParent());
        var writer =
                new ProcessBuilder(
                                "/bin/sh",
                                "-c",
                                "cat >\"$1\" && chmod +x \"$1\"",
                                "sh",
                                file.toString())
                        .redirectError(ProcessBuilder.Redirect.INHERIT)
                        .start();
        try (var stdin = writer.getOutputStream()) {
            stdin.write(content.getBytes(StandardCharsets.UTF_8));
        }
        assertEquals(0, writer.onExit().join().exitValue(), file::toString);
    }
}
