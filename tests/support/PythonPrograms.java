//JAVA 21+
//SOURCES ../TestMain.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** The solutions in Python, unchanged or with a planted fault. */
final class PythonPrograms {
    private static final String FIND =
            "import sys; print(sys.executable if sys.version_info >= (3, 10) else '')";

    private PythonPrograms() {}

    /** The path of Python itself, not of a script that starts it; empty if there is no Python. */
    private static final class Python {
        private static final String PATH = find();

        private static String find() {
            try {
                Process process = new ProcessBuilder("python3", "-c", FIND).start();
                process.getOutputStream().close();
                byte[] out = process.getInputStream().readAllBytes();
                return new String(out, StandardCharsets.UTF_8).strip();
            } catch (IOException e) {
                return ""; // there is no Python
            }
        }
    }

    /** Whether there is a Python that can run the solutions. */
    static boolean available() {
        return !Python.PATH.isEmpty();
    }

    /** The command that runs {@code script}, with options that speed up Python's start. */
    static List<String> command(Path script) {
        return new ArrayList<>(List.of(Python.PATH, "-I", "-S", script.toString()));
    }

    /** Copies a solution into {@code folder}. */
    static Path copy(String name, Path folder) throws IOException {
        Path solution = TestMain.checkout().resolve("docs/solutions").resolve(name);
        return Files.writeString(
                Files.createTempFile(folder, "", name), Files.readString(solution));
    }

    /** Replaces the lines {@code right} in {@code script} by {@code wrong}. */
    static void plant(Path script, String right, String wrong) throws IOException {
        String program = Files.readString(script);
        if (program.indexOf(right) < 0 || program.indexOf(right) != program.lastIndexOf(right)) {
            throw new IllegalArgumentException(
                    "does not appear exactly once in " + script + ": " + right);
        }
        Files.writeString(script, program.replace(right, wrong));
    }
}
