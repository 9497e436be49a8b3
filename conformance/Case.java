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
 * One case of the check: a claim about a program, and its test.
 *
 * @param name the claim, which holds for each program that conforms to the protocol
 * @param body tests the claim; throws {@link Difference} if the claim does not hold
 */
record Case(String name, Body body) {

    interface Body {
        void run() throws Exception;
    }

    /** The name of a case, which still needs its test. */
    interface Claim<B> {
        void holds(B body);
    }

    /** Thrown when the answer differs from the protocol. */
    static final class Difference extends Exception {
        private static final long serialVersionUID = 1;

        private final String[] faults;

        /** Reports a broken rule, {@code says}; the rule also names the fault. */
        Difference(String sent, String came, Rule says) {
            this(sent, came, says.toString(), says.name());
        }

        /**
         * Reports a difference from {@code expected}. The report describes a case in full if no
         * case so described has one of its {@code faults}.
         */
        Difference(String sent, String came, String expected, String... faults) {
            super("sent " + sent + "; got " + came + "; the protocol says: " + expected, null);
            this.faults = faults;
        }

        /** A copy of {@code same}, with {@code more} at the end of its sentence. */
        Difference(Difference same, String more) {
            super(same.getMessage() + more, null);
            faults = same.faults;
        }
    }

    /** Thrown when the program is right, with advice for its author. */
    static final class Note extends Exception {
        private static final long serialVersionUID = 1;

        Note(String sentence) {
            super(sentence, null);
        }
    }

    /** Runs the case. Returns null, the reason of a failure, or a note. */
    private Exception outcome() {
        try {
            body.run();
            return null;
        } catch (Exception e) {
            return e;
        }
    }

    /**
     * Prints a line for each case, and counts the cases. If many cases fail because of one fault,
     * only the first of them has a line, and a list at the end names them all.
     */
    static final class Report {
        static final String NOTHING_ELSE = "The check stops here: correct this fault first.";

        private final PrintWriter out;
        private final String only;
        private final Map<String, List<String>> failed = new LinkedHashMap<>();
        private final Map<String, String> firsts = new HashMap<>();
        private int passed;
        private boolean printed;

        /** Prints to {@code out}, and runs only the cases with {@code only} in their name. */
        Report(PrintWriter out, String only) {
            this.out = out;
            this.only = only;
        }

        /** Runs {@code one}, if {@code --only} chooses it. Returns false if it failed. */
        boolean passes(Case one) throws InterruptedException {
            run(List.of(one), 1);
            return passed(one.name());
        }

        /** Returns false if the case {@code name} failed. */
        boolean passed(String name) {
            return failed.values().stream().noneMatch(names -> names.contains(name));
        }

        /**
         * Runs {@code cases}, {@code atOnce} at a time. Prints each line as soon as its case and
         * all cases before it have ended.
         *
         * @throws UncheckedIOException if the program cannot be started
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
                        throw new IllegalStateException(e.getCause()); // an Error of the check
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
            if (outcome instanceof UncheckedIOException cannotStart) {
                throw cannotStart;
            }
            String[] faults =
                    outcome instanceof Difference d ? d.faults : new String[] {outcome.toString()};
            String known = firsts.getOrDefault(faults[faults.length - 1], name);
            String first = firsts.getOrDefault(faults[0], known);
            failed.computeIfAbsent(first, f -> new ArrayList<>()).add(name);
            if (first.equals(name)) {
                Stream.of(faults).forEach(fault -> firsts.putIfAbsent(fault, name));
                String asked = outcome instanceof Difference ? "" : "could not be run, ";
                say("FAIL " + name + ": " + asked + outcome.getMessage());
            }
        }

        /** Reports why the case {@code name} does not run, if it is chosen. */
        void notRun(String name, String why) {
            if (name.contains(only)) {
                say("Not run: " + name + "; " + why);
            }
        }

        void say(String line) {
            out.println(line);
            out.flush();
            printed = true;
        }

        /** Prints the lists of failed cases and the last line. Returns the exit code. */
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

        /** Returns whether nothing was printed, because no case was chosen. */
        boolean isEmpty() {
            return !printed;
        }
    }

    /** Returns {@code bytes} in quotes, cut if long, with invisible characters escaped. */
    static String shown(byte[] bytes) {
        String text = escaped(bytes);
        if (text.length() > 160) {
            String end = text.substring(text.length() - 80);
            long lines = new String(bytes, UTF_8).lines().count();
            return "\"%.80s...%s\" (%d bytes, lines: %d)".formatted(text, end, bytes.length, lines);
        }
        return text.isEmpty() ? "nothing" : "\"" + text + "\"";
    }

    /** Returns {@link #shown(byte[])} of the text in UTF-8. */
    static String shown(String text) {
        return shown(text.getBytes(UTF_8));
    }

    /** Returns the last eight lines of {@code bytes}, indented, cut and escaped. */
    static String lastLines(byte[] bytes) {
        List<String> lines = new String(bytes, UTF_8).lines().toList();
        return lines.subList(Math.max(0, lines.size() - 8), lines.size()).stream()
                .map(line -> "\n    %.200s".formatted(escaped(line.getBytes(UTF_8))))
                .collect(Collectors.joining());
    }

    /** Escapes invisible characters and, if the text is not UTF-8, all bytes but ASCII. */
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
