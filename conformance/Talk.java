//JAVA 21+
//SOURCES Case.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.net.StandardSocketOptions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * The client that one case plays. Each exchange has its own connection. A talk remembers its last
 * requests, because the report of a difference quotes them.
 */
final class Talk {
    static final String STORED = "Message accepted and stored:\n";
    static final String EMPTY = "Retrieving messages...\nThere is no such name\n";

    /** The time that a server on a busy machine may take beyond its own timeout. */
    static final Duration SLACK = Duration.ofSeconds(3);

    /** The wait for a close, or, if lenient, for the rest of a reply. */
    private static final Duration CLOSE = Duration.ofSeconds(1);

    private final InetSocketAddress server;
    private final Duration patience;
    private final boolean lenient;
    private final Rule says;
    private String sentBefore = "";
    private Duration afterTheReply = Duration.ofMillis(50);
    private Duration pause = Duration.ofMillis(300); // a busy server still reads each piece alone

    /**
     * @param patience the time for a reply
     * @param lenient whether any line end is accepted
     * @param says the rule that this talk tests
     */
    Talk(InetSocketAddress server, Duration patience, boolean lenient, Rule says) {
        this.server = server;
        this.patience = patience;
        this.lenient = lenient;
        this.says = says;
    }

    /** From now on, waits after each reply for the server to close. */
    Talk waitingForTheClose() {
        afterTheReply = CLOSE;
        return this;
    }

    /** From now on, sends pieces with this pause between them. */
    Talk pausing(Duration between) {
        pause = between;
        return this;
    }

    Answer store(String message) throws Exception {
        return half("store;" + message);
    }

    Answer fetch(String name) throws Exception {
        return half("fetch;" + name);
    }

    /** Sends {@code pieces} with pauses between them, and shuts down the sending side. */
    Answer half(String... pieces) throws Exception {
        return exchange(Stream.of(pieces).map(piece -> piece.getBytes(UTF_8)).toList(), true);
    }

    /** Sends {@code request} in one piece and shuts down the sending side. */
    Answer half(byte[] request) throws Exception {
        return exchange(List.of(request), true);
    }

    /** Sends {@code pieces} with pauses between them, and keeps the sending side open. */
    Answer open(String... pieces) throws Exception {
        return exchange(Stream.of(pieces).map(piece -> piece.getBytes(UTF_8)).toList(), false);
    }

    /** Sends each byte as a piece, as {@link #open} does, until a reply comes. */
    Answer byteByByte(String request) throws Exception {
        byte[] all = request.getBytes(UTF_8);
        return exchange(
                IntStream.range(0, all.length).mapToObj(i -> new byte[] {all[i]}).toList(), false);
    }

    /** Stores all {@code messages} at the same time, each over its own connection. */
    void storeAtOnce(List<String> messages) throws Exception {
        List<FutureTask<Answer>> tasks = new ArrayList<>();
        for (String message : messages) {
            Talk own = new Talk(server, patience.multipliedBy(4), lenient, says); // disks are slow
            own.sentBefore = "others at the same time";
            tasks.add(inBackground(() -> own.store(message).gives(STORED)));
        }
        for (FutureTask<Answer> task : tasks) {
            result(task);
        }
        sentBefore = messages.size() + " such as " + Case.shown("store;" + messages.get(0));
    }

    /** Connects, sends {@code start}, and leaves with a reset. */
    void leave(String start) throws Exception {
        try (Socket socket = connect()) {
            socket.getOutputStream().write(start.getBytes(UTF_8));
            socket.setOption(StandardSocketOptions.SO_LINGER, 0);
        } catch (IOException e) {
            // The server has closed already; the next request shows whether it still serves.
        }
        sentBefore = Case.shown(start) + " and a reset";
    }

    /** Runs {@code body} while {@code count} clients are connected and send nothing. */
    void besideSilent(int count, Case.Body body) throws Exception {
        List<Socket> silent = new ArrayList<>();
        try {
            for (int i = 0; i < count; i++) {
                silent.add(connect());
            }
            sentBefore = "nothing on " + count + " connections";
            body.run();
        } finally {
            for (Socket socket : silent) {
                socket.close();
            }
        }
    }

    private Socket connect() throws Exception {
        Socket socket = new Socket();
        try {
            socket.setTcpNoDelay(true);
            socket.connect(server, 10_000);
            return socket;
        } catch (IOException e) {
            socket.close();
            String sent = sentBefore.isEmpty() ? "nothing" : sentBefore;
            throw new Case.Difference(sent, "no connection, " + e.getMessage(), says);
        }
    }

    private Answer exchange(List<byte[]> pieces, boolean end) throws Exception {
        String sent =
                pieces.stream().limit(8).map(Case::shown).collect(Collectors.joining(", "))
                        + (pieces.size() > 8 ? ", ..." : "")
                        + (end ? " and the end of input" : "");
        String all = sentBefore.isEmpty() ? sent : sentBefore + ", then " + sent;
        try (Socket socket = connect()) {
            sentBefore = sent;
            long start = System.nanoTime();
            FutureTask<Answer> answer = inBackground(() -> receive(socket, all, start));
            try {
                for (byte[] piece : pieces) {
                    if (piece != pieces.get(0)) {
                        Thread.sleep(pause);
                    }
                    if (answer.isDone()) {
                        break;
                    }
                    socket.getOutputStream().write(piece);
                }
                if (end) {
                    socket.shutdownOutput();
                }
            } catch (IOException e) {
                // The server has closed already; its reply until then counts.
            }
            return result(answer);
        }
    }

    private static <T> FutureTask<T> inBackground(Callable<T> action) {
        FutureTask<T> task = new FutureTask<>(action);
        Thread.ofVirtual().start(task);
        return task;
    }

    private static <T> T result(FutureTask<T> task) throws Exception {
        try {
            return task.get();
        } catch (ExecutionException e) {
            throw e.getCause() instanceof Exception cause ? cause : e;
        }
    }

    private Answer receive(Socket socket, String sent, long start) {
        var all = new ByteArrayOutputStream();
        byte[] buffer = new byte[8192];
        String end = "";
        try {
            InputStream in = socket.getInputStream();
            for (int count = 0; count >= 0; count = in.read(buffer)) {
                all.write(buffer, 0, count);
                Duration wait = lenient && all.size() > 0 ? CLOSE : patience;
                boolean whole = complete(all.toString(UTF_8));
                socket.setSoTimeout((int) (whole ? afterTheReply : wait).toMillis());
            }
        } catch (SocketTimeoutException e) {
            end = ", and the connection stayed open";
        } catch (IOException e) {
            end = ", then a reset of the connection";
        }
        Duration took = Duration.ofNanos(System.nanoTime() - start);
        return new Answer(sent, all.toByteArray(), end, took);
    }

    private static boolean complete(String reply) {
        return reply.startsWith("Retrieving messages...")
                ? reply.endsWith("\nNO MORE MESSAGES\n") || reply.equals(EMPTY)
                : reply.endsWith("\n");
    }

    /** The reply of a server, and the checks of it. */
    final class Answer {
        private final String sent;
        final String text;
        private final String came;
        private final boolean closed;
        private final Duration took;

        private Answer(String sent, byte[] bytes, String end, Duration took) {
            this.sent = sent;
            text = new String(bytes, UTF_8);
            came = Case.shown(bytes) + end;
            closed = end.isEmpty();
            this.took = took;
        }

        /** Requires {@code reply}, byte for byte. */
        Answer gives(String reply) throws Case.Difference {
            if (!(lenient ? leniently(text).equals(leniently(reply)) : text.equals(reply))) {
                // ORDER covers five replies; each of them may be wrong by itself.
                String fault = says == Rule.ORDER ? says + reply : says.name();
                String expected = Case.shown(reply) + ", since " + says;
                throw new Case.Difference(sent, came, expected, fault, reply + came);
            }
            return this;
        }

        private static String leniently(String reply) {
            return reply.replace("\r\n", "\n").stripTrailing();
        }

        /** Requires LF, without CR, at the end of each line. Returns whether there is a line. */
        boolean endsItsLines() throws Case.Difference {
            if (!text.isEmpty() && (!text.endsWith("\n") || text.contains("\r\n"))) {
                throw new Case.Difference(sent, came, says);
            }
            return !text.isEmpty();
        }

        /** Requires a mailbox with {@code messages}, in this order. */
        void givesMail(List<String> messages) throws Case.Difference {
            List<String> lines = text.lines().toList();
            if (lines.size() == messages.size() + 2 && lines.containsAll(messages)) {
                String moved =
                        IntStream.rangeClosed(1, messages.size())
                                .filter(i -> !lines.get(i).equals(messages.get(i - 1)))
                                .mapToObj(i -> Case.shown(lines.get(i)) + " as number " + i)
                                .collect(Collectors.joining(", "));
                if (!moved.isEmpty()) {
                    throw new Case.Difference(messages + ", then " + sent, moved, says);
                }
            }
            String mail = String.join("\n", messages);
            gives("Retrieving messages...\n" + mail + "\nNO MORE MESSAGES\n");
        }

        /** Requires the acknowledgement, and then a mailbox with {@code message} and no other. */
        void keeps(String message) throws Exception {
            gives(STORED);
            fetch(message.substring(0, message.indexOf(';'))).givesMail(List.of(message));
        }

        /**
         * Requires the timeout reply, at most {@link #SLACK} after {@code timeout}. With any other
         * reply the server has accepted an incomplete request.
         */
        void timesOut(Duration timeout) throws Case.Difference {
            boolean other = !text.isEmpty() && !text.startsWith("Message declined. Timed out");
            if (other || took.compareTo(timeout.plus(SLACK)) > 0) {
                String late = came + " after " + took.toMillis() + " ms";
                String expected = (other ? Rule.SILENCE : says).toString();
                throw new Case.Difference(sent, late, expected, (other ? Rule.END : says).name());
            }
            gives("Message declined. Timed out\n");
        }

        /** Requires a mailbox with {@code messages}, each once, in any order. */
        void givesInAnyOrder(List<String> messages) throws Case.Difference {
            List<String> lines = text.lines().toList();
            givesMail(messages.stream().sorted(Comparator.comparing(lines::indexOf)).toList());
        }

        /** Requires that the server has closed after the reply. */
        void closes() throws Case.Difference {
            if (!closed) {
                throw new Case.Difference(sent, came, says);
            }
        }
    }
}
