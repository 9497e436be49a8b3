//JAVA 21+
//SOURCES Rule.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A question to a program.
 *
 * @param name a sentence that is true of a program that keeps to the protocol
 * @param body asks; throws {@link Difference} when the sentence is not true
 */
record Case(String name, Body body) {

    /** Asks the question. */
    interface Body {
        void run() throws Exception;
    }

    /** The sentence of a case, which waits for its body. */
    interface Claim<B> {
        void holds(B body);
    }

    /** Thrown when the answer differs from the protocol. */
    static final class Difference extends Exception {
        private static final long serialVersionUID = 1;

        private final String[] faults;

        /** All three end up in one line. */
        Difference(String sent, String came, Rule says) {
            this(sent, came, says.toString(), says.name());
        }

        /**
         * With what was {@code expected} instead, and one or two names of the fault: only the first
         * case that fails by a fault is told in full.
         */
        Difference(String sent, String came, String expected, String... faults) {
            super("sent " + sent + "; came " + came + "; the protocol says: " + expected, null);
            this.faults = faults;
        }

        /** The same, and {@code more} is known about it. */
        Difference(Difference same, String more) {
            super(same.getMessage() + more, null);
            faults = same.faults;
        }
    }

    /** Thrown where a program is right, but its author may want to know something. */
    static final class Note extends Exception {
        private static final long serialVersionUID = 1;

        Note(String sentence) {
            super(sentence, null);
        }
    }

    /** How a case ended: null, or why it failed, or a note. */
    private Exception outcome() {
        try {
            body.run();
            return null;
        } catch (Exception e) {
            return e;
        }
    }

    /**
     * Prints a line for each case, and counts. If one fault fails many cases, only the first has
     * its line, and a list at the end names the others.
     */
    static final class Report {
        static final String NOTHING_ELSE = "Nothing else is asked before that is right.";

        private final PrintWriter out;
        private final String only;
        private final Map<String, List<String>> failed = new LinkedHashMap<>();
        private final Map<String, String> firsts = new HashMap<>();
        private int passed;
        private boolean said;

        /** Prints to {@code out}, of those cases whose name contains {@code only}. */
        Report(PrintWriter out, String only) {
            this.out = out;
            this.only = only;
        }

        /** Runs {@code one}; whether it passed, or was not to be asked. */
        boolean passes(Case one) throws InterruptedException {
            run(List.of(one), 1);
            return passed(one.name());
        }

        /** Whether the case called {@code name} did not fail. */
        boolean passed(String name) {
            return failed.values().stream().noneMatch(names -> names.contains(name));
        }

        /**
         * Runs {@code cases}, {@code atOnce} of them at a time, and prints them in their order,
         * each as soon as it and those before it have ended.
         *
         * @throws UncheckedIOException when the program cannot be asked at all
         */
        void run(List<Case> cases, int atOnce) throws InterruptedException {
            List<Case> chosen = cases.stream().filter(one -> one.name().contains(only)).toList();
            try (ExecutorService threads = Executors.newFixedThreadPool(atOnce)) {
                List<Future<Exception>> outcomes =
                        chosen.stream().map(one -> threads.submit(one::outcome)).toList();
                for (int i = 0; i < chosen.size(); i++) {
                    try {
                        add(chosen.get(i).name(), outcomes.get(i).get());
                    } catch (ExecutionException e) {
                        throw new IllegalStateException(e.getCause()); // an Error of our own
                    }
                }
            }
        }

        private void add(String name, Exception outcome) {
            if (outcome == null || outcome instanceof Note) {
                passed++;
                say("ok   " + name + (outcome == null ? "" : "; note: " + outcome.getMessage()));
                return;
            }
            if (outcome instanceof UncheckedIOException nothingToAsk) {
                throw nothingToAsk;
            }
            String[] faults =
                    outcome instanceof Difference d ? d.faults : new String[] {outcome.toString()};
            String known = firsts.getOrDefault(faults[faults.length - 1], name);
            String first = firsts.getOrDefault(faults[0], known);
            failed.computeIfAbsent(first, f -> new ArrayList<>()).add(name);
            if (first.equals(name)) {
                Stream.of(faults).forEach(fault -> firsts.putIfAbsent(fault, name));
                String asked = outcome instanceof Difference ? "" : "could not be asked, ";
                say("FAIL " + name + ": " + asked + outcome.getMessage());
            }
        }

        /** Says why the case called {@code name} is not asked, if it was to be. */
        void notAsked(String name, String why) {
            if (name.contains(only)) {
                say("Not asked: " + name + "; " + why);
            }
        }

        /** Prints a line. */
        void say(String line) {
            out.println(line);
            out.flush();
            said = true;
        }

        /** Prints what failed besides, and the last line; the exit code. */
        int end() {
            for (List<String> names : failed.values()) {
                if (names.size() > 1) {
                    say("These failed alike; the first has its FAIL line above:");
                    names.forEach(name -> say("     " + name));
                }
            }
            int count = failed.values().stream().mapToInt(List::size).sum();
            say(passed + " passed, " + count + " failed");
            return count == 0 && passed > 0 ? 0 : 1;
        }

        /** Whether no case was to be asked. */
        boolean isEmpty() {
            return !said;
        }
    }

    /** {@code bytes} in quotes, cut where they are long, with all that is no plain text escaped. */
    static String shown(byte[] bytes) {
        String text = escaped(bytes);
        if (text.length() > 160) {
            String end = text.substring(text.length() - 80);
            long lines = new String(bytes, UTF_8).lines().count();
            return "\"%.80s...%s\" (%d bytes, lines: %d)".formatted(text, end, bytes.length, lines);
        }
        return text.isEmpty() ? "nothing" : "\"" + text + "\"";
    }

    /** {@link #shown(byte[])} of UTF-8. */
    static String shown(String text) {
        return shown(text.getBytes(UTF_8));
    }

    /** The last lines of {@code bytes}, each on a line of its own, cut and escaped. */
    static String lastLines(byte[] bytes) {
        List<String> lines = new String(bytes, UTF_8).lines().toList();
        return lines.subList(Math.max(0, lines.size() - 8), lines.size()).stream()
                .map(line -> "\n    %.200s".formatted(escaped(line.getBytes(UTF_8))))
                .collect(Collectors.joining());
    }

    /** What cannot be seen becomes an escape: of a character, or of a byte if not all is UTF-8. */
    private static String escaped(byte[] bytes) {
        String text = new String(bytes, UTF_8);
        boolean utf8 = Arrays.equals(text.getBytes(UTF_8), bytes);
        return (utf8 ? text : new String(bytes, ISO_8859_1))
                .codePoints()
                .mapToObj(c -> {
                    boolean unseen = Character.isISOControl(c) || Character.isSpaceChar(c);
                    if (c == ' ' || !unseen && (utf8 || c < 128)) {
                        return Character.toString(c);
                    }
                    int known = "\n\r\t".indexOf(c);
                    String escape = (utf8 ? "\\u%04x" : "\\x%02x").formatted(c);
                    return known < 0 ? escape : "\\" + "nrt".charAt(known);
                })
                .collect(Collectors.joining());
    }
}
