//JAVA 21+
//SOURCES Case.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.net.StandardSocketOptions;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * What one case says to a server and hears from it: each exchange is a connection of its own. Keeps
 * in mind what it has sent, for the sentence that tells of a difference.
 */
final class Talk {
    static final String STORED = "Message accepted and stored:\n";
    static final String EMPTY = "Retrieving messages...\nThere is no such name\n";

    /** A reply that is complete is not waited after for longer than this. */
    private static final Duration AFTER_THE_REPLY = Duration.ofMillis(50);

    /** Where the question is whether the server closes. */
    private static final Duration CLOSE = Duration.ofSeconds(1);

    /** A server has this long beyond its own timeout. */
    private static final Duration SLACK = Duration.ofSeconds(3);

    private static final Duration CONNECT = Duration.ofSeconds(10);

    /** Between pieces that are meant to arrive as pieces. */
    private static final Duration PIECES = Duration.ofMillis(150);

    private final InetSocketAddress server;
    private final Duration patience;
    private final boolean classic;
    private final String says;
    private String sentBefore = "";
    private Duration afterTheReply = AFTER_THE_REPLY;

    /**
     * @param timeout how long the server waits for a request
     * @param classic whether replies may be worded and ended as the classic C server's are
     * @param says what the protocol says about all that is said here
     */
    Talk(InetSocketAddress server, Duration timeout, boolean classic, String says) {
        this.server = server;
        this.patience = timeout.plus(SLACK);
        this.classic = classic;
        this.says = says;
    }

    // ---------------------------------------------------------------- asking

    /** From now on, waits after each reply for the server to close. */
    Talk waitingForTheClose() {
        afterTheReply = CLOSE;
        return this;
    }

    /** Asks to store {@code message}, as {@link #half} does. */
    Answer store(String message) throws IOException, InterruptedException {
        return half("store;" + message);
    }

    /** Asks for a mailbox, as {@link #half} does. */
    Answer fetch(String name) throws IOException, InterruptedException {
        return half("fetch;" + name);
    }

    /** Sends this, pieces a short while apart, and shuts down the sending side. */
    Answer half(String... pieces) throws IOException, InterruptedException {
        return exchange(bytes(pieces), PIECES, true);
    }

    /** Sends {@code request} in one piece and shuts down the sending side. */
    Answer half(byte[] request) throws IOException, InterruptedException {
        return exchange(List.of(request), PIECES, true);
    }

    /** Sends this, pieces a short while apart, and keeps the sending side open. */
    Answer open(String... pieces) throws IOException, InterruptedException {
        return open(PIECES, pieces);
    }

    /** Sends pieces with this pause between them and keeps the sending side open. */
    Answer open(Duration pause, String... pieces) throws IOException, InterruptedException {
        return exchange(bytes(pieces), pause, false);
    }

    /** Sends each byte by itself with this pause after it, until all are sent or a reply came. */
    Answer byteByByte(String request, Duration pause) throws IOException, InterruptedException {
        byte[] all = bytes(request);
        List<byte[]> single =
                IntStream.range(0, all.length).mapToObj(i -> new byte[] {all[i]}).toList();
        return exchange(single, pause, false);
    }

    /** Stores each of {@code messages} over a connection of its own, all at once. */
    void storeAtOnce(List<String> messages) throws Exception {
        String atOnce = says + " (" + messages.size() + " at once)";
        List<FutureTask<Void>> tasks = new ArrayList<>();
        for (String message : messages) {
            Talk own = new Talk(server, patience, classic, atOnce);
            tasks.add(
                    inBackground(() -> {
                        own.store(message).gives(STORED);
                        return null;
                    }));
        }
        for (FutureTask<Void> task : tasks) {
            try {
                task.get();
            } catch (ExecutionException e) {
                throw e.getCause() instanceof Exception cause ? cause : e;
            }
        }
        sentBefore =
                messages.size()
                        + " requests at once such as "
                        + Case.shown("store;" + messages.get(0));
    }

    /** Connects, sends {@code start}, and leaves with a reset. */
    void leave(String start) throws IOException {
        try (Socket socket = connect()) {
            socket.getOutputStream().write(bytes(start));
            socket.setOption(StandardSocketOptions.SO_LINGER, 0);
        }
        sentBefore = Case.shown(start) + " and a reset";
    }

    /** Runs {@code body} while {@code count} clients are connected and say nothing. */
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

    private Socket connect() throws IOException {
        Socket socket = new Socket();
        try {
            socket.setTcpNoDelay(true);
            socket.connect(server, (int) CONNECT.toMillis());
            return socket;
        } catch (IOException e) {
            socket.close();
            throw e;
        }
    }

    private Answer exchange(List<byte[]> pieces, Duration pause, boolean end)
            throws IOException, InterruptedException {
        String sent =
                pieces.stream().limit(8).map(Case::shown).collect(Collectors.joining(", "))
                        + (pieces.size() > 8 ? ", ..." : "")
                        + (end ? " and the end of input" : "");
        String all = sentBefore.isEmpty() ? sent : sentBefore + ", then " + sent;
        sentBefore = sent;
        try (Socket socket = connect()) {
            long start = System.nanoTime();
            FutureTask<Received> received = inBackground(() -> receive(socket));
            try {
                for (byte[] piece : pieces) {
                    if (piece != pieces.get(0)) {
                        Thread.sleep(pause);
                    }
                    if (received.isDone()) {
                        break;
                    }
                    socket.getOutputStream().write(piece);
                }
                if (end) {
                    socket.shutdownOutput();
                }
            } catch (IOException e) {
                // The server has closed already: what it said before counts.
            }
            Received came = received.get();
            return new Answer(all, came, Duration.ofNanos(System.nanoTime() - start));
        } catch (ExecutionException e) {
            throw new IllegalStateException(e.getCause()); // receive() throws nothing else
        }
    }

    // ---------------------------------------------------------------- hearing

    /** All that came, and how it ended: closed, a reset, or nothing more for as long as we wait. */
    private record Received(byte[] bytes, String end) {
        boolean closed() {
            return end.isEmpty();
        }
    }

    private Received receive(Socket socket) {
        var all = new ByteArrayOutputStream();
        byte[] buffer = new byte[8192];
        try {
            InputStream in = socket.getInputStream();
            while (true) {
                Duration wait =
                        complete(all.toString(StandardCharsets.UTF_8)) ? afterTheReply : patience;
                socket.setSoTimeout((int) wait.toMillis());
                int count = in.read(buffer);
                if (count < 0) {
                    return new Received(all.toByteArray(), "");
                }
                all.write(buffer, 0, count);
            }
        } catch (SocketTimeoutException e) {
            return new Received(all.toByteArray(), ", and the connection stayed open");
        } catch (IOException e) {
            return new Received(all.toByteArray(), ", then a reset of the connection");
        }
    }

    private static boolean complete(String reply) {
        return reply.startsWith("Retrieving messages...")
                ? reply.endsWith("\nNO MORE MESSAGES\n") || reply.equals(EMPTY)
                : reply.endsWith("\n");
    }

    /** What a server answered, and what it may be asked about it. */
    final class Answer {
        private final String sent;
        private final Received came;
        private final Duration took;

        private Answer(String sent, Received came, Duration took) {
            this.sent = sent;
            this.came = came;
            this.took = took;
        }

        String text() {
            return new String(came.bytes(), StandardCharsets.UTF_8);
        }

        /** It is {@code reply}, byte for byte. */
        void gives(String reply) throws Case.Difference {
            boolean same =
                    classic
                            ? asClassic(text()).equals(asClassic(reply))
                            : Arrays.equals(came.bytes(), bytes(reply));
            if (!same) {
                throw different(Case.shown(reply) + ", since \"" + says + "\"");
            }
        }

        /** It is a mailbox with these messages. */
        void givesMail(List<String> messages) throws Case.Difference {
            String mail = String.join("\n", messages);
            gives("Retrieving messages...\n" + mail + "\nNO MORE MESSAGES\n");
        }

        /** It says that {@code message} is stored, and its mailbox then has it and no other. */
        void keeps(String message) throws Exception {
            gives(STORED);
            fetch(message.substring(0, message.indexOf(';'))).givesMail(List.of(message));
        }

        /** It is {@code reply}, and came no later than {@code latest} after the connect. */
        void givesWithin(Duration latest, String reply) throws Case.Difference {
            gives(reply);
            if (took.compareTo(latest) > 0) {
                throw new Case.Difference(sent, came() + " after " + took.toMillis() + " ms", says);
            }
        }

        /** It is a mailbox with these messages, each once, in whatever order. */
        void givesInAnyOrder(List<String> messages) throws Case.Difference {
            List<String> lines = text().lines().toList();
            List<String> sorted = lines.stream().skip(1).sorted().toList();
            List<String> expected = new ArrayList<>(messages);
            expected.add("NO MORE MESSAGES");
            if (!lines.getFirst().equals("Retrieving messages...")
                    || !lines.getLast().equals("NO MORE MESSAGES")
                    || !sorted.equals(expected.stream().sorted().toList())) {
                throw different(
                        "%d messages and NO MORE MESSAGES (came: %d lines), since \"%s\""
                                .formatted(messages.size(), lines.size(), says));
            }
        }

        /** The server has closed after it. */
        void closes() throws Case.Difference {
            if (!came.closed()) {
                throw different(says);
            }
        }

        private String came() {
            return Case.shown(came.bytes()) + came.end();
        }

        private Case.Difference different(String expected) {
            return new Case.Difference(sent, came(), expected);
        }
    }

    /** The classic server's mailboxes end without LF, and it spells one word its own way. */
    private static String asClassic(String reply) {
        return reply.stripTrailing().replace("No reciever", "No recipient");
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static List<byte[]> bytes(String... pieces) {
        return Arrays.stream(pieces).map(Talk::bytes).toList();
    }

    private static <T> FutureTask<T> inBackground(Callable<T> action) {
        FutureTask<T> task = new FutureTask<>(action);
        Thread.ofVirtual().start(task);
        return task;
    }
}
