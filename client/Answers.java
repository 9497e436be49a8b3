//JAVA 21+
//SOURCES Prompt.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import org.jline.terminal.Size;

import java.io.BufferedReader;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.InterruptedIOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;

/** The source of answers to the questions of the menu: a pipe, a file, or a person. */
interface Answers {

    /**
     * Asks {@code question} and waits for the answer.
     *
     * @return one line without its line end
     * @throws EOFException at the end of the input
     * @throws IOException with one sentence, if the input is not text
     * @throws InterruptedIOException if the user pressed Ctrl+C instead
     */
    String ask(String question) throws IOException;

    /** Whether a person answers. A person can be asked again, and reads one screenful at a time. */
    default boolean person() {
        return true;
    }

    /** The size of the person's screen. */
    default Size size() {
        return new Size(80, 24);
    }

    /** The input of this process; questions go to {@code out}, or to the process's terminal. */
    static Answers ofThisProcess(PrintWriter out) {
        boolean person = System.console() != null;
        Prompt prompt = person ? Prompt.open(out) : null;
        return prompt != null ? prompt : new Lines(standardInput(), out, person);
    }

    private static BufferedReader standardInput() {
        InputStream in = isInputClosed() ? InputStream.nullInputStream() : System.in;
        return new BufferedReader(new InputStreamReader(in, Program.charset("stdin.encoding")));
    }

    /**
     * Whether the shell started this process without a standard input ({@code <&-}). Then the first
     * file that the JVM opens gets descriptor 0. This file is the class library, and the client
     * would send its bytes as answers.
     */
    private static boolean isInputClosed() {
        try {
            Path classes = Path.of(System.getProperty("java.home"), "lib", "modules");
            return Files.isSameFile(Path.of("/dev/stdin"), classes);
        } catch (IOException e) {
            return false; // a pipe has no path, and Windows has no /dev
        }
    }

    /** Answers read line by line: from a pipe, or at a terminal that {@link Prompt} cannot use. */
    record Lines(BufferedReader in, PrintWriter out, boolean person) implements Answers {

        @Override
        public String ask(String question) throws IOException {
            out.print(question);
            out.flush();
            String answer = in.readLine();
            if (answer == null) {
                throw new EOFException();
            }
            if (answer.indexOf('\0') >= 0) {
                throw new IOException("The input is no UTF-8 text, perhaps UTF-16: convert it.");
            }
            if (!person) {
                out.println(); // a person ends the line of the question with Enter, a pipe does not
            }
            return answer.replaceFirst("^\uFEFF", ""); // the BOM, which Windows puts before a text
        }
    }
}
