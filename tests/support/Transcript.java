//JAVA 21+
//SOURCES ../TestMain.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Types the commands of a document into real terminals, and compares their output with the
 * document. A code block belongs to the terminal named in the line before it, for instance {@code
 * **Terminal 2**}. In a block,
 *
 * <ul>
 *   <li>a line with {@code $} is typed when the shell is ready,
 *   <li>a request below {@code $ nc} is typed into nc, and {@code ^C} is Ctrl+C,
 *   <li>{@code ...} stands for any lines,
 *   <li>any other line must be the next output, except for times, ports of clients and other
 *       figures.
 * </ul>
 *
 * <p>No other output may come in between. The command {@code script} makes the terminals.
 */
final class Transcript implements AutoCloseable {
    private static final long PATIENCE_S = 120;
    private static final Pattern TERMINAL = Pattern.compile("\\*\\*Terminal (\\d)\\*\\*");
    private static final String PROMPT = "$ ";

    private final Map<String, String> real;
    private final Map<Integer, Terminal> terminals = new TreeMap<>();

    /**
     * @param real replacements for texts of the document, such as a free port for 5000
     */
    Transcript(Map<String, String> real) {
        this.real = real;
    }

    /** Whether this machine has util-linux's {@code script}, and the lesson's other commands. */
    static boolean available() throws InterruptedException {
        try {
            String all =
                    "for c in nc pgrep strace cc bash; do command -v $c || exit 1; done;"
                            + " script --version | grep util-linux";
            Process process = new ProcessBuilder("sh", "-c", all).start();
            process.getInputStream().readAllBytes();
            return process.waitFor() == 0;
        } catch (IOException e) {
            return false; // this machine has no shell
        }
    }

    /** Runs all blocks of {@code document}; at least one block must belong to a terminal. */
    void run(Path document) throws Exception {
        Terminal terminal = null;
        boolean inBlock = false;
        int typed = 0;
        int number = 0;
        for (String line : Files.readAllLines(document)) {
            number++;
            Matcher named = TERMINAL.matcher(line);
            if (line.startsWith("```")) {
                inBlock = !inBlock;
                terminal = inBlock ? terminal : null;
            } else if (!inBlock && named.find()) {
                int which = Integer.parseInt(named.group(1));
                terminal = terminals.computeIfAbsent(which, Terminal::new);
            } else if (!inBlock && !line.isBlank()) {
                terminal = null;
            } else if (inBlock && terminal != null) {
                try {
                    terminal.play(line);
                } catch (AssertionError e) {
                    throw new AssertionError(
                            "%s:%d: %s".formatted(document.getFileName(), number, e.getMessage()));
                }
                typed += line.startsWith(PROMPT) ? 1 : 0;
            }
        }
        if (typed == 0) {
            throw new AssertionError("no commands in " + document);
        }
        for (Terminal one : terminals.values()) {
            one.awaitPrompt();
        }
    }

    @Override
    public void close() {
        for (Terminal terminal : terminals.values()) {
            terminal.end();
        }
    }

    private String asInTheDocument(String shown) {
        String text = shown;
        for (Map.Entry<String, String> entry : real.entrySet()) {
            text = text.replace(entry.getValue(), entry.getKey());
        }
        return text;
    }

    private String asReal(String line) {
        String text = line;
        for (Map.Entry<String, String> entry : real.entrySet()) {
            text = text.replace(entry.getKey(), entry.getValue());
        }
        return text;
    }

    /** The line with placeholders for values that differ in each run. */
    static String masked(String line) {
        return line.replaceAll("\\d{4}-\\d\\d-\\d\\dT[0-9:.]+Z", "DATE")
                .replaceAll("\\d\\d:\\d\\d:\\d\\d\\.\\d{3}", "TIME")
                .replaceAll("[0-9.,]+ ms", "MS")
                .replaceAll("file takes [0-9.]+[KMG]", "file takes SIZE")
                .replaceAll("127\\.0\\.0\\.1:(?!5000\\b)\\d+", "CLIENT")
                .replaceAll("#\\d+(?=,conversation| \"conversation)", "#ID")
                .replaceAll("worker-\\d+", "worker-N")
                .replaceAll("\\.java:\\d+", ".java:LINE")
                .replaceAll("^(\\[pid )?\\d+(?= |:$)", "PID")
                .replaceAll("(read|write|fsync)\\(\\d+", "$1(FD")
                // strace splits a call in two lines if the line of another thread comes in between
                .replaceAll("\\(FD <unfinished ...>$", "(FD) = 0")
                .replaceAll("^\\d{1,2}$", "A FEW")
                .replaceAll(
                        "^([a-z, ]* +(?:10|30|100)) +[0-9,]+ +[0-9,]+ +[0-9.,]+ +[0-9,]+$",
                        "$1 FIGURES")
                .replaceAll(" +", " ")
                .strip();
    }

    /** A shell in a new terminal. */
    private final class Terminal {
        private final int number;
        private final Process process;
        private final StringBuffer screen = new StringBuffer();
        private int seen;
        private boolean inNc;
        private boolean skipping;
        private boolean interrupted;

        Terminal(int number) {
            this.number = number;
            try {
                String shell =
                        "stty cols 200; exec env PS1='$ ' bash --norc --noprofile --noediting";
                // If a script started the tests in the background, they ignore Ctrl+C, and so would
                // their children.
                ProcessBuilder builder =
                        new ProcessBuilder("env", "--default-signal=INT", "script", "-qfc", shell);
                builder.command().add("/dev/null");
                builder.environment().put("TERM", "dumb");
                builder.environment().put("SHELL", "/bin/sh");
                String jdk = Path.of(System.getProperty("java.home"), "bin").toString();
                builder.environment().merge("PATH", jdk, (path, bin) -> bin + ":" + path);
                builder.directory(TestMain.checkout().toFile()).redirectErrorStream(true);
                process = builder.start();
            } catch (IOException e) {
                throw new AssertionError("no terminal", e);
            }
            Thread.ofPlatform().daemon().start(this::read);
        }

        private void read() {
            byte[] buffer = new byte[8192];
            try (InputStream in = process.getInputStream()) {
                for (int count; (count = in.read(buffer)) >= 0; ) {
                    String text = new String(buffer, 0, count, StandardCharsets.UTF_8);
                    screen.append(text);
                }
            } catch (IOException e) {
                // The terminal is closed.
            }
        }

        void play(String line) throws Exception {
            if (line.startsWith(PROMPT)) {
                awaitPrompt();
                type(asReal(line.substring(PROMPT.length())));
                inNc = line.startsWith("$ nc ");
                expect(line);
            } else if (line.startsWith("^C")) {
                press("\u0003");
                if (line.equals("^C")) {
                    interrupted = true; // only some programs end the line after ^C
                } else {
                    expect(line);
                }
            } else if (line.equals("...")) {
                skipping = true;
            } else {
                if (inNc && line.matches("(store|fetch|[A-Z]+);.*")) {
                    type(asReal(line));
                }
                expect(line);
            }
        }

        private void type(String text) throws IOException {
            press(text + "\n");
        }

        private void press(String keys) throws IOException {
            process.getOutputStream().write(keys.getBytes(StandardCharsets.UTF_8));
            process.getOutputStream().flush();
        }

        /** Waits until the shell is ready; fails on unexpected output. */
        void awaitPrompt() throws InterruptedException {
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_S);
            while (true) {
                String rest = withoutBuilding(screen.substring(seen).replace("\r", ""));
                rest = interrupted ? rest.replaceFirst("^\\^C\n?", "") : rest;
                if (rest.equals(PROMPT) || skipping && rest.endsWith("\n" + PROMPT)) {
                    seen = screen.length() - PROMPT.length();
                    skipping = false;
                    interrupted = false;
                    return;
                }
                if (System.nanoTime() - deadline > 0) {
                    throw new AssertionError("terminal " + number + " also shows: " + rest);
                }
                Thread.sleep(10);
            }
        }

        private void expect(String line) throws InterruptedException {
            List<String> passed = new ArrayList<>();
            while (true) {
                String shown = nextLine(line);
                if (masked(asInTheDocument(shown)).equals(masked(line))) {
                    skipping = false;
                    return;
                }
                passed.add(shown);
                if (!skipping) {
                    throw new AssertionError(
                            "terminal %d shows%n%s%ninstead of%n%s".formatted(number, shown, line));
                }
            }
        }

        private String nextLine(String expected) throws InterruptedException {
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_S);
            while (true) {
                int end = screen.indexOf("\n", seen);
                if (end >= 0) {
                    String line = overwritten(screen.substring(seen, end));
                    seen = end + 1;
                    if (withoutBuilding(line + "\n").isEmpty()) {
                        continue;
                    }
                    return line;
                }
                if (System.nanoTime() - deadline > 0) {
                    throw new AssertionError(
                            "terminal %d does not show%n%s%nbut%n%s"
                                    .formatted(number, expected, screen.substring(seen)));
                }
                Thread.sleep(10);
            }
        }

        /** The visible rest of a line after carriage returns. */
        private static String overwritten(String line) {
            String text = line.replaceFirst("\r+$", "").replace("\u001b[K", "");
            return text.substring(text.lastIndexOf('\r') + 1);
        }

        /** Removes JBang's lines about builds, since a build depends on earlier runs. */
        private static String withoutBuilding(String text) {
            return text.replaceAll("(?m)^\\[jbang] .*\n", "");
        }

        void end() {
            process.descendants().forEach(ProcessHandle::destroyForcibly);
            process.destroyForcibly().onExit().join();
        }
    }
}
