//JAVA 21+
//SOURCES ../common/Program.java
//DEPS org.jline:jline:3.30.16
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror
//RUNTIME_OPTIONS --enable-native-access=ALL-UNNAMED

import org.jline.nativ.CLibrary;
import org.jline.reader.EndOfFileException;
import org.jline.reader.LineReader;
import org.jline.reader.LineReaderBuilder;
import org.jline.reader.UserInterruptException;
import org.jline.reader.Widget;
import org.jline.terminal.Attributes;
import org.jline.terminal.Size;
import org.jline.terminal.Terminal;
import org.jline.terminal.TerminalBuilder;
import org.jline.terminal.impl.AbstractPosixTerminal;
import org.jline.terminal.impl.jni.JniNativePty;
import org.jline.utils.AttributedString;
import org.jline.utils.ShutdownHooks;
import org.jline.utils.Signals;

import java.io.EOFException;
import java.io.File;
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
 * A person at a terminal, with JLine's line editor: arrow keys, a history of each question, and a
 * paste that comes in one piece. The JDK's own console can have the same editor, but does not tell
 * how large the terminal is.
 */
final class Screen implements Answers {
    // JLine logs to the screen, for instance that it may not execute what lies in the folder for
    // temporary files; it then goes on with another way.
    private static final Logger JLINE_LOG = Logger.getLogger("org.jline");

    private final Terminal terminal;
    private final PrintWriter out;
    private final Map<String, LineReader> readers = new HashMap<>(); // of each question
    private Size size;

    private Screen(Terminal terminal, PrintWriter out) {
        this.terminal = terminal;
        this.out = out;
        measure();
        // Outside a question. JLine would leave the signal to the system, which ends a process
        // without its shutdown hooks: they restore the terminal and delete JLine's files.
        terminal.handle(Terminal.Signal.INT, signal -> System.exit(Program.Exit.INTERRUPTED.code));
        Signals.register("INT", () -> terminal.raise(Terminal.Signal.INT));
    }

    /** The terminal of this process, or null where lines cannot be edited. */
    static Screen open(PrintWriter out) {
        JLINE_LOG.setLevel(Level.OFF);
        try {
            // Its native library sets the line speed to 0, which hangs up a serial line: there,
            // and where the library cannot be loaded, JLine calls stty.
            boolean serial = new File("/dev/stdin").getCanonicalPath().startsWith("/dev/tty");
            Terminal terminal =
                    TerminalBuilder.builder()
                            .providers(serial ? "exec" : "jni,exec")
                            .nativeSignals(false) // see the constructor
                            .dumb(false)
                            .encoding(StandardCharsets.UTF_8)
                            .build();
            if (terminal instanceof AbstractPosixTerminal posix
                    && posix.getPty() instanceof JniNativePty) {
                CLibrary.Termios before = new CLibrary.Termios();
                CLibrary.tcgetattr(0, before);
                // After JLine's own hook, which was added first.
                ShutdownHooks.add(() -> CLibrary.tcsetattr(0, CLibrary.TCSANOW, before));
            }
            return new Screen(terminal, out);
        } catch (IOException | IllegalStateException e) {
            return null; // a line without an editor is a line all the same
        }
    }

    private LineReader reader() {
        LineReader reader =
                LineReaderBuilder.builder()
                        .terminal(terminal)
                        .option(LineReader.Option.DISABLE_EVENT_EXPANSION, true) // "!" is a text
                        .build();
        Map<String, Widget> does = reader.getWidgets();
        // The one would put the text into a file, for an editor; vi's keys end in an exception.
        does.put(LineReader.EDIT_AND_EXECUTE_COMMAND, does.get(LineReader.BEEP));
        does.put(LineReader.VI_CMD_MODE, does.get(LineReader.BEEP));
        does.put(LineReader.EXPAND_OR_COMPLETE, does.get(LineReader.SELF_INSERT)); // of TAB
        return reader;
    }

    /**
     * Asks until the answer is one line. Several lines are a paste that would answer several
     * questions: the second line of a letter must not become a choice of the menu, and the third a
     * recipient.
     */
    @Override
    public String ask(String question) throws IOException {
        try {
            if (System.in.available() > 0 && !typedSince().isBlank()) {
                out.println("What was typed before this question is thrown away.");
            }
            String kind = question.replaceFirst("[(:].*", "");
            LineReader reader = readers.computeIfAbsent(kind, first -> reader());
            while (true) {
                String answer = reader.readLine(question).replaceFirst("\n+$", "");
                String paste = (answer + '\n' + typedSince()).stripTrailing();
                measure();
                long lines = paste.lines().count();
                if (lines < 2) {
                    return answer;
                }
                out.println("These are " + lines + " lines, and an answer is one: none is taken.");
            }
        } catch (UserInterruptException e) {
            throw new InterruptedIOException();
        } catch (EndOfFileException e) {
            throw new EOFException();
        } catch (IllegalStateException | IOError e) {
            // Waits, if the process is ending already, which closed the terminal.
            System.exit(Program.Exit.INTERRUPTED.code);
            throw e;
        }
    }

    /**
     * Takes what nobody has read yet, until the terminal is quiet for a tenth of a second; once
     * something has come, for a second, since a paste may come in pieces.
     */
    private String typedSince() throws IOException {
        Attributes before = terminal.enterRawMode(); // so that a read ends without a line end
        try {
            StringBuilder typed = new StringBuilder();
            for (int tenths = 0; tenths < (typed.isEmpty() ? 1 : 10); ) {
                int c = terminal.reader().read(99); // less than the tenth that raw mode waits for
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
     * Some terminals were never told their size. A dumb one has none for JLine, which then leaves
     * the echo to the terminal; what JLine edits itself needs one.
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
    public int height() {
        return size.getRows();
    }

    @Override
    public int rowsOf(String line) {
        int columns = new AttributedString(line).columnLength();
        return Math.max(1, Math.ceilDiv(columns, size.getColumns()));
    }
}
