//JAVA 21+
//SOURCES ../common/Program.java
//DEPS org.jline:jline:3.30.16
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror
//RUNTIME_OPTIONS --enable-native-access=ALL-UNNAMED

import org.jline.reader.EndOfFileException;
import org.jline.reader.LineReader;
import org.jline.reader.LineReaderBuilder;
import org.jline.reader.UserInterruptException;
import org.jline.reader.Widget;
import org.jline.terminal.Attributes;
import org.jline.terminal.Size;
import org.jline.terminal.Terminal;
import org.jline.terminal.TerminalBuilder;
import org.jline.utils.OSUtils;
import org.jline.utils.Signals;

import java.io.EOFException;
import java.io.IOError;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.logging.Level;
import java.util.logging.Logger;

/**
 * A person at a terminal. JLine's line editor gives arrow keys, a history for each question, and a
 * paste in one piece. The JDK's console does not report the terminal's size.
 */
final class Prompt implements Answers {
    private static final Logger JLINE_LOG = Logger.getLogger("org.jline"); // writes to the terminal

    private final Terminal terminal;
    private final PrintWriter out;
    private final Map<String, LineReader> readers = new HashMap<>(); // one for each question
    private Size size;

    private Prompt(Terminal terminal, PrintWriter out) {
        this.terminal = terminal;
        this.out = out;
        measure();
        // For Ctrl+C outside a question. JLine would leave SIGINT to the system, which ends the
        // process without the shutdown hooks that restore the terminal. For a dumb terminal, JLine
        // handles no signals, so the second line registers SIGINT.
        terminal.handle(Terminal.Signal.INT, signal -> exit());
        Signals.register("INT", () -> terminal.raise(Terminal.Signal.INT));
    }

    /**
     * The terminal of this process, or null if JLine cannot edit lines there. Except on Windows,
     * JLine calls stty instead of its own native library. The library would set the speed of a
     * serial line to 0, and unpack itself into the temporary folder.
     */
    static Prompt open(PrintWriter out) {
        JLINE_LOG.setLevel(Level.OFF);
        try {
            Terminal terminal =
                    TerminalBuilder.builder()
                            .provider(OSUtils.IS_WINDOWS ? "jni" : "exec")
                            .dumb(false)
                            .encoding(StandardCharsets.UTF_8)
                            .build();
            return new Prompt(terminal, out);
        } catch (IOException | IllegalStateException e) {
            return null; // the client then reads lines without an editor
        }
    }

    /**
     * Ends the process after Ctrl+C, and never releases its lock. Otherwise {@link #enterRawMode},
     * on another thread, could change the terminal after the shutdown hooks have restored it.
     */
    private synchronized void exit() {
        System.exit(Program.Exit.INTERRUPTED.code);
    }

    private synchronized Attributes enterRawMode() {
        return terminal.enterRawMode();
    }

    private LineReader reader() {
        LineReader reader =
                LineReaderBuilder.builder()
                        .terminal(terminal)
                        .option(LineReader.Option.DISABLE_EVENT_EXPANSION, true) // "!" is text
                        .build();
        Map<String, Widget> widgets = reader.getWidgets();
        Widget beep = widgets.get(LineReader.BEEP);
        widgets.put(LineReader.EDIT_AND_EXECUTE_COMMAND, beep); // would write the text into a file
        widgets.put(LineReader.VI_CMD_MODE, beep); // its keys would throw an exception
        widgets.put(LineReader.EXPAND_OR_COMPLETE, widgets.get(LineReader.SELF_INSERT)); // TAB
        return reader;
    }

    /**
     * Asks until the answer is one line. Several lines are a paste, whose further lines would
     * answer the next questions: the second line of a letter would be a choice of the menu, the
     * third line a recipient.
     */
    @Override
    public String ask(String question) throws IOException {
        try {
            if (System.in.available() > 0 && !pending().isBlank()) {
                out.println("Text typed before this question is thrown away.");
            }
            String kind = question.replaceFirst("[(:].*", "");
            LineReader reader = readers.computeIfAbsent(kind, first -> reader());
            while (true) {
                String answer = reader.readLine(question).replaceFirst("\n+$", "");
                String paste = (answer + '\n' + pending()).stripTrailing();
                measure();
                long lines = paste.lines().count();
                if (lines < 2) {
                    return answer;
                }
                out.println("The answer has " + lines + " lines instead of one: none is taken.");
            }
        } catch (UserInterruptException e) {
            throw new InterruptedIOException();
        } catch (EndOfFileException e) {
            throw new EOFException();
        } catch (IllegalStateException | IOError e) {
            // The process is ending, so the terminal is closed. System.exit() waits for the end.
            System.exit(Program.Exit.INTERRUPTED.code);
            throw e;
        }
    }

    /**
     * Reads pending input until the terminal has been quiet for 0.1 s. After the first character
     * the limit is 1 s, since a paste may arrive in pieces.
     */
    private String pending() throws IOException {
        Attributes before = enterRawMode(); // a read then needs no line end
        try {
            StringBuilder typed = new StringBuilder();
            for (int tenths = 0; tenths < (typed.isEmpty() ? 1 : 10); ) {
                int c = terminal.reader().read(99); // ms; raw mode ends a read after 100
                if (c >= 0) {
                    typed.append(c == '\r' ? '\n' : (char) c);
                }
                tenths = c >= 0 ? 0 : tenths + 1;
            }
            return typed.toString();
        } finally {
            terminal.setAttributes(before);
        }
    }

    /**
     * Reads the terminal's size. A terminal without a size, such as a serial line, gets 80 by 24,
     * since JLine's editor needs a size. A dumb terminal has no editor. It stays without a size, so
     * that only the terminal echoes the user's keys, and not JLine as well.
     */
    private void measure() {
        size = terminal.getSize();
        if (size.getColumns() == 0 || size.getRows() == 0) {
            size = new Size(80, 24);
            if (!terminal.getType().startsWith(Terminal.TYPE_DUMB)) {
                terminal.setSize(size);
            }
        }
    }

    @Override
    public Size size() {
        return size;
    }
}
