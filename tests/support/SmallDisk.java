//JAVA 21+
//SOURCES ../TestMain.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import org.junit.jupiter.api.Assumptions;

import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * A disk of a few MB in a mount namespace, which is visible only to its shell and to processes that
 * start inside.
 */
final class SmallDisk implements AutoCloseable {
    private static final String END = "end-of-output";

    final Path folder;
    private final Process shell;
    private final BufferedWriter input;
    private final BufferedReader answers;

    /** Mounts the disk at {@code folder} with these options of tmpfs. */
    SmallDisk(Path folder, String options) throws IOException {
        this.folder = folder;
        var command = List.of("unshare", "--user", "--map-root-user", "--mount", "sh");
        Process started = null;
        try {
            started = new ProcessBuilder(command).redirectErrorStream(true).start();
        } catch (IOException e) {
            Assumptions.abort("needs unshare, of util-linux");
        }
        shell = started;
        input = shell.outputWriter();
        answers = shell.inputReader();
        String mounted =
                run(
                        "mount -t tmpfs -o "
                                + options
                                + " none '"
                                + folder
                                + "' && cd '"
                                + folder
                                + "'");
        if (!mounted.isEmpty()) {
            shell.destroyForcibly();
            Assumptions.abort("needs permission to mount in a new namespace: " + mounted);
        }
    }

    /** Runs a shell command inside the namespace, and returns its output. */
    String run(String line) throws IOException {
        input.write(line + "; echo; echo " + END + "\n");
        input.flush();
        var text = new StringBuilder();
        for (String read; (read = answers.readLine()) != null && !read.equals(END); ) {
            text.append(read);
        }
        return text.toString();
    }

    /** The command that runs {@code command} inside the namespace. */
    List<String> inside(List<String> command) {
        var inside = new ArrayList<>(List.of("nsenter", "--preserve-credentials", "--user"));
        inside.addAll(List.of("--mount", "--target", Long.toString(shell.pid()), "--"));
        inside.addAll(command);
        return inside;
    }

    @Override
    public void close() {
        shell.destroyForcibly();
    }
}
