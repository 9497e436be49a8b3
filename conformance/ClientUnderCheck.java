//JAVA 21+
//SOURCES Case.java
//SOURCES ServerUnderCheck.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A client that the check runs once, with a user's answers on its input. The check plays the server
 * on loopback. This server reads a request as the protocol requires.
 */
final class ClientUnderCheck {
    private static final Duration SILENCE = Duration.ofSeconds(1);
    private static final Duration NO_END = Duration.ofSeconds(2);

    private ClientUnderCheck() {}

    /**
     * The reply of the played server to one request.
     *
     * @param closes false if the server keeps the connection open after the reply
     * @param pieces the parts of the reply, sent with pauses of 100 ms
     */
    record Reply(boolean closes, List<byte[]> pieces) {
        Reply(boolean closes, String... pieces) {
            this(closes, Stream.of(pieces).map(piece -> piece.getBytes(UTF_8)).toList());
        }

        @Override
        public String toString() {
            return pieces.stream().map(Case::shown).collect(Collectors.joining(", "))
                    + (closes ? "" : " and then nothing");
        }
    }

    /** The end of a request. */
    enum End {
        LF,
        END_OF_INPUT,
        SILENCE,
        NONE
    }

    /** One request as received, without its line end. */
    record Request(String text, End end, int pieces) {
        static Request read(InputStream in, Socket socket) throws IOException {
            var all = new ByteArrayOutputStream();
            byte[] buffer = new byte[8192];
            for (int pieces = 0; ; pieces++) {
                boolean perhapsWhole = pieces == 1 && all.size() > 1;
                socket.setSoTimeout((int) (perhapsWhole ? SILENCE : NO_END).toMillis());
                int count;
                try {
                    count = in.read(buffer);
                } catch (SocketTimeoutException e) {
                    End end = perhapsWhole ? End.SILENCE : End.NONE;
                    return new Request(all.toString(UTF_8), end, pieces);
                }
                if (count < 0) {
                    return new Request(all.toString(UTF_8), End.END_OF_INPUT, pieces);
                }
                all.write(buffer, 0, count);
                if (buffer[count - 1] == '\n') {
                    String line = all.toString(UTF_8).replaceFirst("\r?\n$", "");
                    return new Request(line, End.LF, pieces + 1);
                }
            }
        }

        @Override
        public String toString() {
            String ended = end == End.NONE ? " without an end" : "";
            return Case.shown(text) + (pieces > 1 ? " in " + pieces + " pieces" : "") + ended;
        }
    }

    private static void play(ServerSocket listening, List<Reply> replies, Queue<Request> requests) {
        try (listening) {
            for (int i = 0; ; i++) {
                Socket socket = listening.accept();
                Reply reply = replies.get(Math.min(i, replies.size() - 1));
                Thread.ofVirtual().start(() -> converse(socket, reply, requests));
            }
        } catch (IOException e) {
            // The run is over, and has closed this socket.
        }
    }

    private static void converse(Socket socket, Reply reply, Queue<Request> requests) {
        try (socket) {
            InputStream in = socket.getInputStream();
            Request request = Request.read(in, socket);
            if (request.text().isEmpty() && request.end() == End.END_OF_INPUT) {
                return; // a probe of the port, without a request
            }
            requests.add(request);
            for (byte[] piece : reply.pieces()) {
                Thread.sleep(reply.pieces().size() > 1 ? 100 : 0);
                socket.getOutputStream().write(piece);
            }
            if (reply.closes()) {
                socket.shutdownOutput();
                socket.setSoTimeout((int) SILENCE.toMillis());
                while (in.read() >= 0) {} // a close with unread input could destroy the reply
            } else {
                Thread.sleep(Duration.ofHours(1));
            }
        } catch (IOException e) {
            // The client has closed early; its output decides the case.
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** The output and the exit code of a client; -1 if the check had to kill it. */
    record Outcome(String out, String err, int exit) {
        private static final Pattern STACK_TRACE =
                Pattern.compile(
                        "Traceback \\(most|goroutine \\d+ \\[|panicked at|(Uncaught|Unhandled) "
                                + "|(?m)^\\s+(at|from) .*(\\)|:\\d+.*)$");

        /** Escape sequences, and figures that differ in each run: clocks, addresses, durations. */
        private static final String CHANGING =
                "\u001b\\[[0-9;?]*[@-~]|\\d+([:.,/-]\\d+)+|\\d+ ?([mnuµ]?s\\b|sec)|\\d{6,}";

        /**
         * Returns whether the client printed a stack trace, or a signal ended it (code over 128).
         */
        boolean crashed() {
            return exit > 128 || STACK_TRACE.matcher(out + "\n" + err).find();
        }

        /**
         * Returns whether a user sees the same; ignores stderr, where a launcher may also write.
         */
        boolean isAs(Outcome other) {
            return exit == other.exit && alike(out, other.out);
        }

        /**
         * Returns whether the texts, or their sets of lines, are equal but for {@link #CHANGING}
         * and white space.
         */
        static boolean alike(String one, String other) {
            return flat(one).equals(flat(other)) || lines(one).equals(lines(other));
        }

        private static String flat(String text) {
            return text.replaceAll(CHANGING, "").replaceAll("\\s+", "");
        }

        private static Set<String> lines(String text) {
            return text.lines().map(Outcome::flat).collect(Collectors.toSet());
        }

        @Override
        public String toString() {
            return Case.shown(out)
                    + (err.isEmpty() ? "" : " and on stderr " + Case.shown(err))
                    + (exit < 0 ? ", and did not end (see --patience)" : ", exit code " + exit);
        }
    }

    /** One run: the input, the replies, the requests and the output. */
    record Run(List<String> typed, List<Reply> replies, List<Request> requests, Outcome outcome) {

        /** Requires that the client ended by itself. */
        Run ends(Rule says) throws Case.Difference {
            if (outcome.exit() < 0) {
                throw different(outcome.toString(), says);
            }
            return this;
        }

        /** Requires that the client ended by itself, without a crash. */
        void survives(Rule says) throws Case.Difference {
            if (ends(says).outcome.crashed()) {
                throw different("a crash: " + outcome, Rule.FAILURE);
            }
        }

        /** Requires that the client ended, and sent exactly the requests {@code texts}. */
        void asks(Rule says, String... texts) throws Case.Difference {
            if (!ends(says).requests.stream().map(Request::text).toList().equals(List.of(texts))) {
                List<String> expected = Stream.of(texts).map(Case::shown).toList();
                throw different(came(), expected + ", since " + says, says);
            }
        }

        /** Requires one request with an end, and returns it. */
        Request one() throws Case.Difference {
            if (requests.size() != 1 || requests.getFirst().end() == End.NONE) {
                throw different(came(), Rule.END);
            }
            return requests.getFirst();
        }

        private String came() {
            return requests.isEmpty() ? "no request (it printed " + outcome + ")" : "" + requests;
        }

        /** Requires that the client showed each of {@code texts}. */
        Run shows(Rule says, String... texts) throws Case.Difference {
            ends(says);
            for (String text : texts) {
                if (!(outcome.out() + outcome.err()).contains(text)) {
                    throw different(outcome + ", without " + Case.shown(text), says);
                }
            }
            return this;
        }

        /** Requires that a user sees a difference from {@code other}, and no crash. */
        void differsFrom(Run other, Rule says) throws Case.Difference {
            survives(says);
            if (outcome.isAs(other.outcome) && Outcome.alike(outcome.err(), other.outcome.err())) {
                throw different("the same as after " + other.replies + ": " + outcome, says);
            }
        }

        /** Requires that a user sees the same as in {@code other}. */
        void isAs(Run other, Rule says) throws Case.Difference {
            if (!ends(says).outcome.isAs(other.outcome)) {
                String instead = ", but after " + other.replies + " " + other.outcome;
                throw different(outcome + instead, says);
            }
        }

        private Case.Difference different(String came, Rule says) {
            return different(came, says.toString(), says);
        }

        private Case.Difference different(String came, String expected, Rule says) {
            String answers = typed.stream().map(Case::shown).collect(Collectors.joining(" "));
            String sent = "the answers " + answers + " and the reply " + replies;
            return new Case.Difference(sent, came, expected, says.name());
        }
    }

    /**
     * Runs {@code command HOST PORT} to its end.
     *
     * @param patience the time that the client may run after its first request; it may take three
     *     times as long to send this request
     * @param answers the lines of its input
     * @param replies the replies to its requests in turn, the last one repeated; if empty, no
     *     server listens
     * @throws UncheckedIOException if the command cannot be started
     */
    static Run run(
            List<String> command, Duration patience, List<String> answers, List<Reply> replies)
            throws IOException, InterruptedException {
        Queue<Request> requests = new ConcurrentLinkedQueue<>();
        InetAddress here = InetAddress.getByAddress(new byte[] {127, 0, 0, 1});
        try (ServerSocket listening = new ServerSocket(0, 50, here)) {
            int port = listening.getLocalPort();
            if (replies.isEmpty()) {
                port = FreePort.next().getPort();
            } else {
                Thread.ofPlatform().daemon().start(() -> play(listening, replies, requests));
            }
            List<String> all = new ArrayList<>(command);
            all.addAll(List.of(here.getHostAddress(), Integer.toString(port)));
            Process process = start(all);
            try {
                Future<String> out = inBackground(process.getInputStream(), port);
                Future<String> err = inBackground(process.getErrorStream(), port);
                type(process, answers);
                long latest = System.nanoTime() + patience.toNanos() * 3;
                while (requests.isEmpty() && process.isAlive() && latest > System.nanoTime()) {
                    Thread.sleep(10);
                }
                boolean ended = process.waitFor(patience.toMillis(), TimeUnit.MILLISECONDS);
                ServerUnderCheck.kill(process);
                var outcome =
                        new Outcome(
                                out.get(10, TimeUnit.SECONDS),
                                err.get(10, TimeUnit.SECONDS),
                                ended ? process.exitValue() : -1);
                return new Run(answers, replies, List.copyOf(requests), outcome);
            } catch (ExecutionException | TimeoutException e) {
                throw new IOException("the client's output could not be read", e);
            } finally {
                ServerUnderCheck.kill(process);
            }
        }
    }

    private static Process start(List<String> command) {
        try {
            return new ProcessBuilder(command).start();
        } catch (IOException e) {
            throw new UncheckedIOException(e.getMessage(), e);
        }
    }

    private static void type(Process process, List<String> answers) {
        try (OutputStream stdin = process.getOutputStream()) {
            for (String answer : answers) {
                stdin.write((answer + "\n").getBytes(UTF_8));
            }
        } catch (IOException e) {
            // The client ended before it read all answers; its requests until then count.
        }
    }

    /** Reads to the end. PORT replaces the port, which differs in each run. */
    private static Future<String> inBackground(InputStream in, int port) {
        FutureTask<String> text =
                new FutureTask<>(
                        () -> new String(in.readAllBytes(), UTF_8).replace("" + port, "PORT"));
        Thread.ofPlatform().daemon().start(text);
        return text;
    }
}
