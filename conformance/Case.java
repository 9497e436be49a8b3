//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.PrintWriter;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;

/**
 * One thing to find out about a program.
 *
 * @param name what a program that keeps to the protocol does, as a sentence
 * @param body asks it; throws {@link Difference} when the answer is another one
 */
record Case(String name, Body body) {

    /** What a case does. */
    @FunctionalInterface
    interface Body {
        void run() throws Exception;
    }

    /**
     * What a program that keeps to the protocol does, as a sentence; then how that is found out.
     */
    @FunctionalInterface
    interface Claim<B> {
        void holds(B body);
    }

    /** Thrown when what came is not what the protocol says. */
    static final class Difference extends Exception {
        private static final long serialVersionUID = 1;

        /** All three end up in one line, the last one a sentence of the README or near to it. */
        Difference(String sent, String came, String says) {
            super("sent " + sent + "; came " + came + "; the protocol says: " + says, null);
        }
    }

    /** Prints a line for each case, and counts. */
    static final class Report {
        private final PrintWriter out;
        private final String only;
        private int passed;
        private int failed;

        /** Prints to {@code out}, of those cases whose name contains {@code only}. */
        Report(PrintWriter out, String only) {
            this.out = out;
            this.only = only;
        }

        /**
         * Runs {@code cases}, {@code atOnce} of them at a time, and prints them in their order,
         * each as soon as it and those before it have ended.
         */
        void run(List<Case> cases, int atOnce) throws InterruptedException {
            try (ExecutorService threads = Executors.newFixedThreadPool(atOnce)) {
                List<Future<String>> outcomes =
                        cases.stream()
                                .filter(one -> one.name().contains(only))
                                .map(one -> threads.submit(one::outcome))
                                .toList();
                for (Future<String> outcome : outcomes) {
                    try {
                        say(outcome.get());
                    } catch (ExecutionException e) {
                        throw new IllegalStateException(e.getCause()); // an Error of our own
                    }
                }
            }
        }

        /** Prints a line, and counts it if it is the outcome of a case. */
        void say(String line) {
            passed += line.startsWith("ok ") ? 1 : 0;
            failed += line.startsWith("FAIL ") ? 1 : 0;
            out.println(line);
            out.flush();
        }

        /** Prints the last line; the exit code. */
        int end() {
            say(passed + " passed, " + failed + " failed");
            return failed == 0 && passed > 0 ? 0 : 1;
        }
    }

    private String outcome() {
        try {
            body.run();
            return "ok   " + name;
        } catch (Exception e) {
            return "FAIL "
                    + name
                    + ": "
                    + (e instanceof Difference ? e.getMessage() : "could not be asked, " + e);
        }
    }

    // ---------------------------------------------------------------- bytes, for people

    private static final int LONGEST_SHOWN = 160;

    /** {@code bytes} in quotes, cut where they are long, with all that is no plain text escaped. */
    static String shown(byte[] bytes) {
        if (bytes.length == 0) {
            return "nothing";
        }
        String text = escaped(bytes);
        if (text.length() > LONGEST_SHOWN) {
            int half = LONGEST_SHOWN / 2;
            text = text.substring(0, half) + "..." + text.substring(text.length() - half);
            return "\"" + text + "\" (" + bytes.length + " bytes)";
        }
        return "\"" + text + "\"";
    }

    /** {@link #shown(byte[])} of UTF-8. */
    static String shown(String text) {
        return shown(text.getBytes(StandardCharsets.UTF_8));
    }

    private static String escaped(byte[] bytes) {
        String text;
        try {
            text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
        } catch (CharacterCodingException e) {
            text = new String(bytes, StandardCharsets.ISO_8859_1);
            return text.chars()
                    .mapToObj(c -> c < ' ' || c > '~' ? "\\x%02x".formatted(c) : "" + (char) c)
                    .collect(Collectors.joining());
        }
        return text.codePoints()
                .mapToObj(c ->
                        switch (c) {
                            case '\n' -> "\\n";
                            case '\r' -> "\\r";
                            case '\t' -> "\\t";
                            default ->
                                    Character.isISOControl(c)
                                            ? "\\x%02x".formatted(c)
                                            : Character.toString(c);
                        })
                .collect(Collectors.joining());
    }
}
