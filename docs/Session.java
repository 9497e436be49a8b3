///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Draws docs/session.svg, a server and two clients in real terminals; needs tmux
//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Draws the picture at the top of README.md. tmux runs three hidden terminals. The program types a
 * person's input into them, and draws their last screens.
 *
 * <p>Usage, in the checkout: {@code ./jbang docs/Session.java [FILE]}; the default is
 * docs/session.svg. The session uses a free port and a temporary store. The picture shows port 5000
 * and a user's default store in their place.
 */
public final class Session {
    private static final long PATIENCE_S = 120;

    /** More rows than any screen needs, so that nothing scrolls away. */
    private static final int ROWS = 40;

    /** A line of the screen with a question or a prompt, and the typed text. */
    private static final Pattern ANSWERED =
            Pattern.compile("((?:Your user name|Your choice|Recipient.*?|Message.*?): |\\$ )(.*)");

    private final Path folder = Files.createTempDirectory("session");
    private final Path store = folder.resolve("messages.db");
    private final String tmuxServer = "session-" + ProcessHandle.current().pid();
    private final Path checkout;
    private final int port;

    private Session(Path checkout) throws IOException {
        this.checkout = checkout;
        try (ServerSocket free = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            port = free.getLocalPort();
        }
    }

    /** Plays the session, and draws it into a file. */
    public static void main(String... args) throws Exception {
        Path file = Path.of(args.length > 0 ? args[0] : "docs/session.svg");
        Files.writeString(file, draw(played(Path.of("").toAbsolutePath())));
    }

    /** Plays the session. Returns the last screens of the server, George and Kyriakos. */
    static List<Screen> played(Path checkout) throws IOException, InterruptedException {
        String jbang = checkout.resolve("jbang").toString();
        for (String script : List.of("MsgServer.java", "MsgClient.java")) {
            // Before the session, so that no terminal shows the build.
            run(List.of(jbang, "build", checkout.resolve(script).toString()));
        }
        Session session = new Session(checkout);
        try {
            return session.play();
        } finally {
            session.end();
        }
    }

    /** Returns whether tmux is installed. */
    static boolean available() throws InterruptedException {
        try {
            run(List.of("tmux", "-V"));
            return true;
        } catch (IOException e) {
            return false;
        }
    }

    /** A screen, {@code columns} characters wide, without the prompt at its end. */
    record Screen(String title, int columns, List<String> lines) {}

    // ---------------------------------------------------------------- the input

    private List<Screen> play() throws IOException, InterruptedException {
        Terminal server = new Terminal("The server", 124);
        server.type("./jbang MsgServer.java " + port + " --bind 127.0.0.1");
        server.expect("On this machine only: ");

        Terminal george = new Terminal("George", 59);
        george.type("./jbang MsgClient.java 127.0.0.1 " + port);
        george.answer("Your user name: ", "george");
        george.answer("Your choice: ", "1");
        george.answer("Recipient", "Kyriakos");
        george.answer("Message", "Καλημέρα 😀");
        george.expect("is stored.");

        Terminal kyriakos = new Terminal("Kyriakos", 59);
        kyriakos.type("./jbang MsgClient.java 127.0.0.1 " + port);
        kyriakos.answer("Your user name: ", "Kyriakos");
        kyriakos.answer("Your choice: ", "2");
        kyriakos.expect("george: ");
        kyriakos.answer("Your choice: ", "1");
        kyriakos.answer("Recipient", "george");
        kyriakos.answer("Message", "Γεια 👋; OK");
        kyriakos.expect("is stored.");

        george.answer("Your choice: ", "2");
        george.expect("Kyriakos: ");
        george.answer("Your choice: ", "3");
        george.ends();
        kyriakos.answer("Your choice: ", "3");
        kyriakos.ends();
        server.press("C-c");
        server.ends();
        return List.of(server.screen(), george.screen(), kyriakos.screen());
    }

    /** A shell in a hidden terminal. */
    private final class Terminal {
        private final String title;
        private final int columns;

        Terminal(String title, int columns) throws IOException, InterruptedException {
            this.title = title;
            this.columns = columns;
            tmux(
                    "new-session -d -x %d -y %d -s".formatted(columns, ROWS),
                    title,
                    "-c",
                    checkout.toString(),
                    "exec env PS1='$ ' MSG_STORE='" + store + "' bash --norc --noprofile");
            expect("$ ");
        }

        void type(String text) throws IOException, InterruptedException {
            tmux("send-keys -l -t", title, text);
            press("Enter");
        }

        void press(String key) throws IOException, InterruptedException {
            tmux("send-keys -t", title, key);
        }

        /** Waits for the question as the last line of the screen, and answers it. */
        void answer(String question, String text) throws IOException, InterruptedException {
            waitFor(
                    question,
                    screen -> !screen.isEmpty() && screen.getLast().startsWith(question.strip()));
            type(text);
        }

        void expect(String text) throws IOException, InterruptedException {
            waitFor(text, screen -> screen.stream().anyMatch(l -> (l + " ").contains(text)));
        }

        /** Waits until the shell has its terminal back. */
        void ends() throws IOException, InterruptedException {
            waitFor("$", screen -> screen.size() > 1 && screen.getLast().equals("$"));
        }

        private void waitFor(String what, Predicate<List<String>> shown)
                throws IOException, InterruptedException {
            long deadline = System.nanoTime() + PATIENCE_S * 1_000_000_000;
            while (!shown.test(lines())) {
                if (System.nanoTime() - deadline > 0) {
                    throw new IOException(title + ": no \"" + what + "\" on " + lines());
                }
                Thread.sleep(50);
            }
        }

        Screen screen() throws IOException, InterruptedException {
            List<String> lines = lines();
            return new Screen(title, columns, lines.subList(0, lines.size() - 1));
        }

        private List<String> lines() throws IOException, InterruptedException {
            String text = tmux("capture-pane -p -t", title);
            return text.stripTrailing()
                    .lines()
                    .filter(line -> !line.startsWith("[jbang] ")) // JBang waited for another start
                    .map(this::asAUserSeesIt)
                    .toList();
        }

        private String asAUserSeesIt(String line) {
            return line.replace(store.toString(), "/home/george/.msg-server/messages.db")
                    .replaceAll("\\b" + port + "\\b", "5000");
        }
    }

    private String tmux(String options, String... arguments)
            throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of("tmux", "-u", "-f", "/dev/null"));
        command.addAll(List.of("-L", tmuxServer));
        command.addAll(Arrays.asList(options.split(" ")));
        command.addAll(List.of(arguments));
        return run(command);
    }

    private static String run(List<String> command) throws IOException, InterruptedException {
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().put("LC_ALL", "C.UTF-8");
        Process process = builder.start();
        process.getOutputStream().close();
        byte[] output = process.getInputStream().readAllBytes();
        String text = new String(output, StandardCharsets.UTF_8);
        if (process.waitFor() != 0) {
            throw new IOException(String.join(" ", command) + ": " + text);
        }
        return text;
    }

    private void end() throws IOException, InterruptedException {
        tmux("kill-server");
        try (Stream<Path> files = Files.walk(folder)) {
            for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
                Files.deleteIfExists(file);
            }
        }
    }

    // ---------------------------------------------------------------- the drawing

    private static final double CHARACTER = 7.83; // its width at 13 px in a usual ui-monospace
    private static final int LINE = 18;
    private static final int PADDING = 14;
    private static final int BAR = 28;
    private static final int GAP = 16;

    /** Draws the first screen, and the other two screens side by side below it. */
    static String draw(List<Screen> screens) {
        Screen above = screens.get(0);
        Screen left = screens.get(1);
        Screen right = screens.get(2);
        int width = width(above);
        int below = height(above) + GAP;
        int height = below + Math.max(height(left), height(right));
        return """
        <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %1$d %2$d" width="%1$d" height="%2$d">
        <title>A server, and two of its clients, in three terminals</title>
        <style>
        text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", \
        monospace; white-space: pre; fill: #c9d1d9 }
        .typed { fill: #7ee787 } .title { fill: #8b949e; text-anchor: middle }
        .frame { fill: #0d1117; stroke: #484f58 } .bar { stroke: #484f58 }
        </style>
        """
                        .formatted(width, height)
                + frame(above, 0, 0)
                + frame(left, 0, below)
                + frame(right, width - width(right), below)
                + "</svg>\n";
    }

    private static int width(Screen screen) {
        return (int) (screen.columns * CHARACTER) + 2 * PADDING;
    }

    private static int height(Screen screen) {
        return BAR + screen.lines.size() * LINE + PADDING;
    }

    private static String frame(Screen screen, int x, int y) {
        StringBuilder svg = new StringBuilder();
        svg.append("<g transform=\"translate(%d %d)\">%n".formatted(x, y));
        svg.append(
                ("<rect class=\"frame\" x=\".5\" y=\".5\" width=\"%d\" height=\"%d\" rx=\"8\"/>%n"
                                + "<path class=\"bar\" d=\"M0 %d.5h%d\"/>%n"
                                + "<text class=\"title\" x=\"%d\" y=\"19\">%s</text>%n")
                        .formatted(
                                width(screen) - 1,
                                height(screen) - 1,
                                BAR,
                                width(screen),
                                width(screen) / 2,
                                screen.title));
        int line = BAR + LINE;
        for (String text : screen.lines()) {
            if (!text.isEmpty()) {
                svg.append(
                        "<text xml:space=\"preserve\" x=\"%d\" y=\"%d\">%s</text>%n"
                                .formatted(PADDING, line, svg(text)));
            }
            line += LINE;
        }
        return svg.append("</g>\n").toString();
    }

    /** Returns a line of a screen, with the typed text in another colour. */
    private static String svg(String line) {
        String text = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;");
        Matcher answered = ANSWERED.matcher(text);
        return answered.matches()
                ? "%s<tspan class=\"typed\">%s</tspan>"
                        .formatted(answered.group(1), answered.group(2))
                : text;
    }
}
