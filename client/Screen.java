//JAVA 21+
//DEPS org.jline:jline:3.30.6
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror
//RUNTIME_OPTIONS --enable-native-access=ALL-UNNAMED

import org.jline.reader.EndOfFileException;
import org.jline.reader.LineReader;
import org.jline.reader.LineReaderBuilder;
import org.jline.reader.UserInterruptException;
import org.jline.terminal.Attributes;
import org.jline.terminal.Size;
import org.jline.terminal.Terminal;
import org.jline.terminal.TerminalBuilder;
import org.jline.utils.AttributedString;

import java.io.EOFException;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.logging.Level;
import java.util.logging.Logger;

/**
 * A person at a terminal, with JLine's line editor: arrow keys, history, and a paste that comes in
 * one piece. The JDK's own console can have the same editor, but does not tell how large the
 * terminal is.
 */
final class Screen implements Answers {
    // JLine logs to the screen, for instance that it may not execute what lies in the folder for
    // temporary files; it then goes on with another way.
    private static final Logger JLINE_LOG = Logger.getLogger("org.jline");

    private final Terminal terminal;
    private final LineReader reader;
    private final PrintWriter out;

    private Screen(Terminal terminal, PrintWriter out) {
        this.terminal = terminal;
        this.out = out;
        reader =
                LineReaderBuilder.builder()
                        .terminal(terminal)
                        .option(LineReader.Option.DISABLE_EVENT_EXPANSION, true) // "!" is a text
                        .variable(LineReader.HISTORY_IGNORE, "1:2:3") // choices of the menu
                        .build();
    }

    /** The terminal of this process, or null where lines cannot be edited. */
    static Screen open(PrintWriter out) {
        JLINE_LOG.setLevel(Level.OFF);
        try {
            // The one that needs a native library, or else the one that calls stty.
            Terminal terminal =
                    TerminalBuilder.builder()
                            .providers("jni,exec")
                            .dumb(false)
                            .encoding(StandardCharsets.UTF_8)
                            .build();
            if (terminal.getWidth() == 0 || terminal.getHeight() == 0) {
                terminal.setSize(new Size(80, 24)); // a terminal that was never told its size
            }
            return new Screen(terminal, out);
        } catch (IOException | IllegalStateException e) {
            return null; // a line without an editor is a line all the same
        }
    }

    /**
     * Asks until the answer is one line. Several lines are a paste that would answer several
     * questions: the second line of a letter must not become a choice of the menu, and the third a
     * recipient.
     */
    @Override
    public String ask(String question) throws IOException {
        if (System.in.available() > 0 && !typedSince().isBlank()) {
            out.println("What was typed before this question is thrown away.");
        }
        try {
            while (true) {
                String answer = reader.readLine(question).replaceFirst("\n+$", "");
                String paste = (answer + '\n' + typedSince()).stripTrailing();
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
                int c = terminal.reader().read(1); // in raw mode it waits for a tenth of a second
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

    @Override
    public boolean person() {
        return true;
    }

    @Override
    public int height() {
        return terminal.getHeight();
    }

    @Override
    public int rowsOf(String line) {
        int columns = new AttributedString(line).columnLength();
        return Math.max(1, Math.ceilDiv(columns, terminal.getWidth()));
    }
}
