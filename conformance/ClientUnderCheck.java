//JAVA 21+
//SOURCES Case.java
//SOURCES ServerUnderCheck.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/**
 * A client that the check runs once with a user's answers on its input, against a server that the
 * check plays on loopback. The played server takes a request as the protocol tells a server to.
 */
final class ClientUnderCheck {
    private static final int LONGEST_REQUEST = 100_000;
    private static final Duration SILENCE = Duration.ofSeconds(1);

    /** Pieces without an end: what comes within this time belongs to the request. */
    private static final Duration NO_END = Duration.ofSeconds(2);

    private ClientUnderCheck() {}

    // ---------------------------------------------------------------- the played server

    /**
     * What the played server replies to one request.
     *
     * @param pieces sent with a pause between them
     * @param closes false for a server that then keeps the connection open and says no more
     */
    record Reply(List<byte[]> pieces, boolean closes) {
        private static final Duration PAUSE = Duration.ofMillis(100);

        static Reply of(String text) {
            return of(text.getBytes(StandardCharsets.UTF_8));
        }

        static Reply of(byte[]... pieces) {
            return new Reply(List.of(pieces), true);
        }

        /** {@code text}, then nothing, for as long as the client likes to wait. */
        static Reply thenSilence(String text) {
            return new Reply(List.of(text.getBytes(StandardCharsets.UTF_8)), false);
        }

        private void send(OutputStream out) throws IOException, InterruptedException {
            for (byte[] piece : pieces) {
                out.write(piece);
                if (pieces.size() > 1) {
                    Thread.sleep(PAUSE);
                }
            }
        }

        @Override
        public String toString() {
            return pieces.stream().map(Case::shown).collect(Collectors.joining(", "))
                    + (closes ? "" : " and then nothing");
        }
    }

    /** How a request ended. */
    enum End {
        LF("LF"),
        END_OF_INPUT("the end of input"),
        SILENCE("silence"),
        NONE("no end");

        private final String words;

        End(String words) {
            this.words = words;
        }
    }

    /** One request, as it came, without its line end. */
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
                    return of(all, perhapsWhole ? End.SILENCE : End.NONE, pieces);
                }
                if (count < 0) {
                    return of(all, End.END_OF_INPUT, pieces);
                }
                all.write(buffer, 0, count);
                if (buffer[count - 1] == '\n') {
                    return of(all, End.LF, pieces + 1);
                }
                if (all.size() > LONGEST_REQUEST) {
                    return of(all, End.NONE, pieces + 1);
                }
            }
        }

        @Override
        public String toString() {
            String count = pieces == 1 ? "one piece" : pieces + " pieces";
            return Case.shown(text) + " in " + count + " with " + end.words;
        }

        private static Request of(ByteArrayOutputStream bytes, End end, int pieces) {
            String text = bytes.toString(StandardCharsets.UTF_8);
            return new Request(end == End.LF ? text.replaceFirst("\r?\n$", "") : text, end, pieces);
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
            // The client has ended, and with it this server.
        }
    }

    private static void converse(Socket socket, Reply reply, Queue<Request> requests) {
        try (socket) {
            InputStream in = socket.getInputStream();
            Request request = Request.read(in, socket);
            if (request.text().isEmpty() && request.end() == End.END_OF_INPUT) {
                return; // it only looked whether somebody listens
            }
            requests.add(request);
            reply.send(socket.getOutputStream());
            if (reply.closes()) {
                socket.shutdownOutput();
                socket.setSoTimeout((int) SILENCE.toMillis());
                while (in.read() >= 0) {} // a close with input unread could destroy the reply
            } else {
                Thread.sleep(Duration.ofHours(1));
            }
        } catch (IOException e) {
            // The client has left; whether it may is seen by what it shows.
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    // ---------------------------------------------------------------- one run

    /** What happened: the requests, all that the client printed, and its exit code. */
    record Run(String typed, List<Reply> replies, List<Request> requests, Outcome outcome) {

        /** Printed to stdout and stderr, and how it ended; exit code -1: it had to be killed. */
        record Outcome(String printed, int exit) {
            @Override
            public String toString() {
                String ended = exit < 0 ? ", and never ended" : ", exit code " + exit;
                return Case.shown(printed) + ended;
            }
        }

        /** It ended by itself. */
        Run ends(String says) throws Case.Difference {
            if (outcome.exit() < 0) {
                throw different(outcome.toString(), says);
            }
            return this;
        }

        /** Exactly these requests came; none, if there are no {@code texts}. */
        Run asks(String says, String... texts) throws Case.Difference {
            List<String> came = requests.stream().map(Request::text).toList();
            if (!came.equals(List.of(texts))) {
                String printed = came.isEmpty() ? " (it printed " + outcome + ")" : "";
                throw different(
                        listed(came) + printed,
                        listed(List.of(texts)) + ", since \"" + says + "\"");
            }
            return this;
        }

        private static String listed(List<String> requests) {
            return requests.isEmpty()
                    ? "no request"
                    : requests.stream().map(Case::shown).collect(Collectors.joining(", then "));
        }

        /** There are requests, and none of them is as {@code wrong} says. */
        void hasNone(String says, Predicate<Request> wrong) throws Case.Difference {
            if (requests.isEmpty()) {
                throw different("no request (it printed " + outcome + ")", says);
            }
            for (Request request : requests) {
                if (wrong.test(request)) {
                    throw different(request.toString(), says);
                }
            }
        }

        /** Each of these texts is shown. */
        Run shows(String says, String... texts) throws Case.Difference {
            ends(says);
            for (String text : texts) {
                if (!outcome.printed().contains(text)) {
                    throw different(outcome + ", without " + Case.shown(text), says);
                }
            }
            return this;
        }

        /** A user can tell this run from that one: other text, or another exit code. */
        void differsFrom(Run other, String says) throws Case.Difference {
            ends(says);
            if (outcome.equals(other.outcome)) {
                throw different("the same as after " + other.replies + ": " + outcome, says);
            }
        }

        /** A user sees the same as in that run. */
        void isAs(Run other, String says) throws Case.Difference {
            ends(says);
            if (!outcome.equals(other.outcome)) {
                throw different(
                        outcome + ", but after " + other.replies + " " + other.outcome, says);
            }
        }

        private Case.Difference different(String came, String says) {
            return new Case.Difference(
                    "the answers " + typed + " and the reply " + replies, came, says);
        }
    }

    /**
     * Runs {@code command HOST PORT} to its end.
     *
     * @param patience after this time it is killed
     * @param answers lines on its input, which then ends
     * @param replies to its requests in turn, the last one to all further ones; none: nobody
     *     listens
     */
    static Run run(List<String> command, Duration patience, List<String> answers, Reply... replies)
            throws IOException, InterruptedException {
        Queue<Request> requests = new ConcurrentLinkedQueue<>();
        InetAddress here = InetAddress.getByAddress(new byte[] {127, 0, 0, 1});
        try (ServerSocket listening = new ServerSocket(0, 50, here)) {
            int port =
                    replies.length == 0
                            ? ServerUnderCheck.freeAddress().getPort()
                            : listening.getLocalPort();
            if (replies.length > 0) {
                Thread.ofPlatform()
                        .daemon()
                        .start(() -> play(listening, List.of(replies), requests));
            }
            List<String> all = new ArrayList<>(command);
            all.addAll(List.of(here.getHostAddress(), Integer.toString(port)));
            Process process = new ProcessBuilder(all).redirectErrorStream(true).start();
            try {
                FutureTask<String> printed = new FutureTask<>(() -> text(process.getInputStream()));
                Thread.ofPlatform().daemon().start(printed);
                type(process, answers);
                boolean ended = process.waitFor(patience.toMillis(), TimeUnit.MILLISECONDS);
                ServerUnderCheck.kill(process);
                String text = printed.get(10, TimeUnit.SECONDS).replace(port + "", "PORT");
                return new Run(
                        answers.stream().map(Case::shown).collect(Collectors.joining(" ")),
                        Arrays.asList(replies),
                        List.copyOf(requests),
                        new Run.Outcome(text, ended ? process.exitValue() : -1));
            } catch (java.util.concurrent.ExecutionException
                    | java.util.concurrent.TimeoutException e) {
                throw new IOException("what the client printed could not be read", e);
            } finally {
                ServerUnderCheck.kill(process);
            }
        }
    }

    private static void type(Process process, List<String> answers) {
        try (OutputStream stdin = process.getOutputStream()) {
            for (String answer : answers) {
                stdin.write((answer + "\n").getBytes(StandardCharsets.UTF_8));
            }
        } catch (IOException e) {
            // It has ended before it read them all: what it did until then counts.
        }
    }

    private static String text(InputStream in) throws IOException {
        return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    }
}
