//JAVA 21+
//SOURCES ../../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.Stream;

/** Hostile inputs, and the protocol's result for each of them. */
final class HostileInput {
    static final long SEED = Long.getLong("fuzz.seed", System.nanoTime());
    static final String TOO_LONG = "Message declined. Too long, 255 bytes at most";

    private HostileInput() {}

    /** An input with a name for reports. */
    record Seed(String name, byte[] bytes) {
        @Override
        public String toString() {
            return name;
        }
    }

    /**
     * The result of {@code line} by the protocol's description: a request, or the text of a
     * refusal. This code is slow and simple on purpose, and shares no code with the parser.
     */
    static Object naive(byte[] line) {
        if (line.length > 255) {
            return TOO_LONG;
        }
        String text = new String(line, StandardCharsets.UTF_8);
        if (!Arrays.equals(text.getBytes(StandardCharsets.UTF_8), line)) {
            // malformed bytes change when they are decoded and encoded
            return "Message declined. Not UTF-8";
        }
        if (hasControl(text)) {
            return "Message declined. Control characters";
        }
        String[] fields = text.split(";", 4);
        String verb = fields[0];
        String recipient = fields.length > 1 ? trimmed(fields[1]) : "";
        String sender = fields.length > 2 ? trimmed(fields[2]) : "";
        String message = fields.length > 3 ? fields[3] : "";
        if (verb.equals("")) {
            return "No verb";
        } else if (recipient.equals("")) {
            return "No recipient";
        } else if (verb.equals("fetch")) {
            return new Protocol.Fetch(recipient);
        } else if (!verb.equals("store")) {
            return "Message declined. Bad verb";
        } else if (sender.equals("")) {
            return "No sender";
        } else if (message.equals("")) {
            return "No message";
        } else {
            return new Protocol.Store(recipient, sender, message);
        }
    }

    static boolean hasControl(String text) {
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c != '\t' && (c < 0x20 || c >= 0x7f && c < 0xa0)) {
                return true;
            }
        }
        return false;
    }

    static String trimmed(String name) {
        int begin = 0;
        int end = name.length();
        while (begin < end && " \t".indexOf(name.charAt(begin)) >= 0) {
            begin++;
        }
        while (begin < end && " \t".indexOf(name.charAt(end - 1)) >= 0) {
            end--;
        }
        return name.substring(begin, end);
    }

    /** The request in the bytes of a whole connection. */
    static byte[] firstLine(byte[] stream) {
        int end = 0;
        while (end < stream.length && stream[end] != '\n') {
            end++;
        }
        boolean crLf = end > 0 && end < stream.length && stream[end - 1] == '\r';
        return Arrays.copyOf(stream, crLf ? end - 1 : end);
    }

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Inputs from which fuzzing starts, and failing inputs of the past. Every run replays them. */
    static Stream<Seed> seeds() {
        return Stream.concat(
                Stream.of(
                                "store;Kyriakos;george;hi Kyriakos",
                                "fetch;george",
                                "store;bob;al;a;b;;c;",
                                "store; bob ;\tal\t;  hi ",
                                "fetch;bob;ignored;too",
                                "",
                                ";",
                                ";;;",
                                "fetch",
                                "fetch;",
                                "store;;al;hi",
                                "store;bob",
                                "store;bob;;hi",
                                "store;bob;al",
                                "store;bob;al;",
                                "STORE;bob;al;hi",
                                "nonsense;bob",
                                "store;bob;al;a\0b",
                                "fetch;\u001b[2J",
                                "fetch;\u0085",
                                "fetch;\u3000\u2028name\u2003",
                                "fetch;\u00a0name",
                                "fetch;name \u2028",
                                "fetch;../../etc/passwd",
                                "store;'; drop table message; --;al;hi",
                                "store;Κυριάκος;γιαγιά;γειά σου 👋",
                                "store;\u202egnp;e\u0301;\uffff\ufffd",
                                "store;bob;al;" + "x".repeat(242),
                                "store;bob;al;" + "x".repeat(243),
                                "store;bob;al;" + "γ".repeat(121),
                                "store;bob;al;" + "👋".repeat(61),
                                "fetch;bob\r",
                                "fetch;bob\r\nstore;bob;al;second")
                        .map(text -> new Seed(text, utf8(text))),
                Stream.of(
                                "66657463683bff",
                                "66657463683bc0af",
                                "66657463683be080af",
                                "66657463683beda080",
                                "66657463683bf4908080",
                                "66657463683bf09f918b",
                                "66657463683bf09f91",
                                "73746f72653b613b623bc3",
                                "80")
                        .map(hex -> new Seed(hex, HexFormat.of().parseHex(hex))));
    }

    static List<byte[]> seedBytes() {
        return seeds().map(seed -> seed.bytes()).toList();
    }

    /** Mutates inputs, and keeps those with a new outcome. */
    static final class Mutator {
        private static final int MAX_CORPUS = 500;
        private static final int MAX_LENGTH = 400;
        private static final List<byte[]> TOKENS =
                Stream.of(
                                ";", ";;", " ", "\t", "\r", "\n", "\0", "\u007f", "\u0080",
                                "\u009f", "\u00a0", "\u2028", "\u3000", "é", "👋", "fetch;",
                                "store;", "fetch", "store", "Store", "x")
                        .map(HostileInput::utf8)
                        .toList();

        private final Random random;
        private final List<byte[]> corpus = new ArrayList<>(seedBytes());
        private final Set<List<Object>> reached = new HashSet<>();

        Mutator(Random random) {
            this.random = random;
        }

        byte[] next() {
            byte[] input = corpus.get(random.nextInt(corpus.size()));
            for (int i = random.nextInt(5); i > 0; i--) {
                input = mutated(input);
            }
            return input;
        }

        /**
         * Adds {@code input} to the corpus if it is the first with this outcome, number of fields
         * and length.
         */
        void learn(byte[] input, Object result) {
            int fields = 0;
            for (byte b : input) {
                fields += b == ';' ? 1 : 0;
            }
            Object outcome = result instanceof String ? result : result.getClass();
            if (corpus.size() < MAX_CORPUS
                    && input.length < MAX_LENGTH
                    && reached.add(List.of(outcome, Math.min(fields, 6), input.length / 16))) {
                corpus.add(input);
            }
        }

        private byte[] mutated(byte[] in) {
            int at = random.nextInt(in.length + 1);
            int to = Math.min(in.length, at + 1 + random.nextInt(8));
            return switch (random.nextInt(10)) {
                case 0 -> replaced(in, at, to, new byte[0]);
                case 1, 2 -> replaced(in, at, at, TOKENS.get(random.nextInt(TOKENS.size())));
                case 3 -> replaced(in, at, to, TOKENS.get(random.nextInt(TOKENS.size())));
                case 4 -> replaced(in, at, at, Arrays.copyOfRange(in, at, to));
                case 5 -> replaced(in, at, at, new byte[] {(byte) random.nextInt(256)});
                case 6 -> replaced(in, at, to, new byte[] {(byte) random.nextInt(256)});
                case 7 -> Arrays.copyOf(in, at);
                case 8 -> {
                    byte[] other = corpus.get(random.nextInt(corpus.size()));
                    yield replaced(
                            in,
                            at,
                            in.length,
                            Arrays.copyOfRange(
                                    other, random.nextInt(other.length + 1), other.length));
                }
                default -> { // pads to about the maximum length
                    byte[] padding = new byte[Math.max(0, 250 + random.nextInt(12) - in.length)];
                    Arrays.fill(padding, (byte) (random.nextInt(4) == 0 ? ';' : 'x'));
                    yield replaced(in, at, at, padding);
                }
            };
        }

        private static byte[] replaced(byte[] in, int from, int to, byte[] with) {
            byte[] out = new byte[in.length - (to - from) + with.length];
            System.arraycopy(in, 0, out, 0, from);
            System.arraycopy(with, 0, out, from, with.length);
            System.arraycopy(in, to, out, from + with.length, in.length - to);
            return out;
        }
    }
}
