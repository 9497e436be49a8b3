//JAVA 21+
//SOURCES Servers.java
//SOURCES ../store/MessageStore.java
//SOURCES ../store/Database.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.IntStream;

/**
 * What is measured under one name: one server or several that share a store, how they are asked,
 * and which messages they have acknowledged. Message number n goes into mailbox n modulo mailboxes.
 */
final class Target implements AutoCloseable {
    /** After its number: 40 bytes of text in all, about a line of chat. */
    private static final String TEXT = " a line of chat in forty bytes.";

    private static final String SENDER = "bench";
    private static final int NUMBER_DIGITS = 9;
    private static final int MAILBOX_DIGITS = 6;
    private static final int PRELOADING_CALLERS = 1000;
    private static final int REPLY_LIMIT_MS = 60_000;

    /**
     * The client's port rests for a minute after each connection (TIME_WAIT), and 28,000 ports are
     * used up in a second or two; but the same port can at once connect to another address of the
     * server. Only Linux answers on all of 127.0.0.0/8 unasked.
     */
    private static final int ADDRESSES = System.getProperty("os.name").startsWith("Linux") ? 16 : 1;

    final String name;
    final Wire wire;
    final List<Servers.Server> servers;
    final BitSet acknowledged = new BitSet();
    int issued;
    int lastAcknowledged;
    private final SocketAddress[] addresses;
    private final int mailboxes;
    private final Template store;
    private final Template fetch;
    private final List<SocketChannel> idle = new ArrayList<>();

    /** The names of its mailboxes begin with {@code prefix}. */
    Target(String name, Wire wire, List<Servers.Server> servers, String prefix, int mailboxes) {
        this.name = name;
        this.wire = wire;
        this.servers = servers;
        this.mailboxes = mailboxes;
        var mailbox = prefix + "@".repeat(MAILBOX_DIGITS);
        store = new Template(wire.store(mailbox, SENDER, "#".repeat(NUMBER_DIGITS) + TEXT));
        fetch = new Template(wire.fetch(mailbox));
        addresses =
                IntStream.rangeClosed(1, ADDRESSES)
                        .mapToObj(host -> "127.0.0." + host)
                        .flatMap(host -> servers.stream().map(s -> at(host, s.port())))
                        .toArray(SocketAddress[]::new);
    }

    private static SocketAddress at(String host, int port) {
        return new InetSocketAddress(host, port);
    }

    /** The address for the n-th connection: every server and every address has its turn. */
    SocketAddress address(int n) {
        return addresses[n % addresses.length];
    }

    /** The request that stores message {@code number}; good until the next call. */
    ByteBuffer store(int number) {
        return store.filled(number % mailboxes, number);
    }

    /**
     * The request for the mailbox that message {@code number} went to; good until the next call.
     */
    ByteBuffer fetch(int number) {
        return fetch.filled(number % mailboxes, number);
    }

    /** Whether messages are kept at all; the floor keeps none. */
    boolean keeps() {
        return !name.equals(Servers.FLOOR);
    }

    double cpuMicros() {
        return servers.stream().mapToDouble(server -> server.cpu().toNanos() / 1e3).sum();
    }

    double residentMegabytes() {
        return servers.stream().mapToDouble(Servers.Server::residentMegabytes).sum();
    }

    /** Opens {@code count} connections that never say anything. */
    void holdIdle(int count) throws IOException {
        for (int i = 0; i < count; i++) {
            idle.add(SocketChannel.open(address(i)));
        }
    }

    /** How many of the idle connections the server has closed; each is asked without waiting. */
    private int idleLost() throws IOException {
        int lost = 0;
        for (var channel : idle) {
            channel.configureBlocking(false);
            lost += channel.read(ByteBuffer.allocate(1)) == 0 ? 0 : 1;
        }
        return lost;
    }

    @Override
    public void close() {
        idle.forEach(Servers::closeQuietly);
        servers.forEach(Servers.Server::stop);
    }

    // ---------------------------------------------------------------- counting

    /**
     * What a target holds, compared with what it has acknowledged.
     *
     * @param more stored without an acknowledgement; each belongs to a request that failed
     * @param hungUp idle clients whose connection is gone
     */
    record Count(
            String target,
            int acknowledged,
            int missing,
            int twice,
            int torn,
            int more,
            int hungUp) {
        boolean isWhole() {
            return missing == 0 && twice == 0 && torn == 0 && hungUp == 0;
        }

        @Override
        public String toString() {
            var text = "%s: %,d messages acknowledged, %d missing, %d twice, %d torn, %d more%s";
            var idleText = hungUp == 0 ? "" : "; " + hungUp + " idle clients cut off";
            return text.formatted(target, acknowledged, missing, twice, torn, more, idleText);
        }
    }

    /** Fetches every mailbox over the wire and looks for every message. */
    Count count() throws IOException {
        var seen = new BitSet();
        int twice = 0;
        int torn = 0;
        for (int mailbox = 0; mailbox < mailboxes; mailbox++) {
            for (var line : mailbox(mailbox).split("\r?\n")) {
                int number = number(line);
                if (number >= 0) {
                    twice += seen.get(number) ? 1 : 0;
                    seen.set(number);
                } else if (line.contains(SENDER)) {
                    torn++;
                }
            }
        }
        var missing = (BitSet) acknowledged.clone();
        missing.andNot(seen);
        seen.andNot(acknowledged);
        return new Count(
                name,
                acknowledged.cardinality(),
                missing.cardinality(),
                twice,
                torn,
                seen.cardinality(),
                idleLost());
    }

    private String mailbox(int mailbox) throws IOException {
        try (var socket = ask(mailbox)) {
            return new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        }
    }

    /** Asks for a mailbox; the reply is to be read from what is returned. */
    Socket ask(int mailbox) throws IOException {
        var request = new byte[fetch.filled(mailbox, 0).remaining()];
        fetch.filled(mailbox, 0).get(request);
        var socket = new Socket();
        try {
            socket.connect(address(mailbox));
            socket.setSoTimeout(REPLY_LIMIT_MS);
            socket.getOutputStream().write(request);
            socket.shutdownOutput();
            return socket;
        } catch (IOException e) {
            socket.close();
            throw e;
        }
    }

    /** The number of the whole message in a line of a mailbox, or -1. */
    private static int number(String line) {
        var mark = SENDER + ";";
        int start = line.lastIndexOf(mark) + mark.length();
        boolean whole =
                start >= mark.length()
                        && line.length() == start + NUMBER_DIGITS + TEXT.length()
                        && line.endsWith(TEXT)
                        && line.chars()
                                .skip(start)
                                .limit(NUMBER_DIGITS)
                                .allMatch(Character::isDigit);
        return whole ? Integer.parseInt(line, start, start + NUMBER_DIGITS, 10) : -1;
    }

    // ---------------------------------------------------------------- preloading

    /** Counts messages 0 to {@code count} - 1 as acknowledged: they were there before. */
    void preloaded(int count) {
        acknowledged.set(0, count);
        issued = count;
        lastAcknowledged = Math.max(0, count - 1);
    }

    /**
     * Stores messages 0 to {@code count} - 1 as requests would, but straight into the file, which
     * no server has open: many callers at once, so that they share transactions.
     */
    static void preload(Path file, String prefix, int mailboxes, int count) throws IOException {
        var next = new AtomicInteger();
        var failure = new AtomicReference<Exception>();
        try (var store = new MessageStore(file.toString());
                var callers = Executors.newVirtualThreadPerTaskExecutor()) {
            for (int caller = 0; caller < PRELOADING_CALLERS; caller++) {
                callers.execute(() -> {
                    try {
                        for (int n; (n = next.getAndIncrement()) < count; ) {
                            var mailbox = prefix + digits(MAILBOX_DIGITS, n % mailboxes);
                            var text = digits(NUMBER_DIGITS, n) + TEXT;
                            store.store(mailbox, SENDER, text);
                        }
                    } catch (MessageStore.StoreException e) {
                        failure.set(e);
                    }
                });
            }
        } catch (MessageStore.StoreException e) {
            failure.set(e);
        }
        if (failure.get() != null) {
            throw new IOException("cannot preload " + file, failure.get());
        }
    }

    private static String digits(int count, int value) {
        var digits = Integer.toString(value);
        return "0".repeat(count - digits.length()) + digits;
    }

    // ---------------------------------------------------------------- what goes over the wire

    /** A request in which only the digits of its mailbox and its number change. */
    private static final class Template {
        private final ByteBuffer bytes;
        private final int mailboxAt;
        private final int numberAt;

        /** Digits of the mailbox are marked with {@code @}, those of the number with {@code #}. */
        Template(String text) {
            var ascii = text.getBytes(StandardCharsets.US_ASCII);
            bytes = ByteBuffer.allocateDirect(ascii.length).put(ascii);
            mailboxAt = text.indexOf('@');
            numberAt = text.indexOf('#');
        }

        ByteBuffer filled(int mailbox, int number) {
            digits(mailboxAt, MAILBOX_DIGITS, mailbox);
            if (numberAt >= 0) {
                digits(numberAt, NUMBER_DIGITS, number);
            }
            return bytes.rewind();
        }

        private void digits(int at, int count, int value) {
            int rest = value;
            for (int i = at + count - 1; i >= at; i--) {
                bytes.put(i, (byte) ('0' + rest % 10));
                rest /= 10;
            }
        }
    }

    /** Length, first and last bytes of a reply: enough to tell whether it is whole. */
    static final class Reply {
        private static final int KEPT = 64;
        private final byte[] head = new byte[KEPT];
        private final byte[] tail = new byte[KEPT];
        private long length;

        void clear() {
            length = 0;
        }

        void add(ByteBuffer piece) {
            int size = piece.remaining();
            if (length < KEPT) {
                int room = KEPT - (int) length;
                piece.get(piece.position(), head, (int) length, Math.min(size, room));
            }
            int fresh = Math.min(size, KEPT);
            System.arraycopy(tail, fresh, tail, 0, KEPT - fresh);
            piece.get(piece.limit() - fresh, tail, KEPT - fresh, fresh);
            length += size;
        }

        boolean is(byte[] text) {
            return length == text.length && startsWith(text);
        }

        boolean startsWith(byte[] text) {
            return length >= text.length
                    && Arrays.equals(head, 0, text.length, text, 0, text.length);
        }

        boolean endsWith(byte[] text) {
            return length >= text.length
                    && Arrays.equals(tail, KEPT - text.length, KEPT, text, 0, text.length);
        }

        @Override
        public String toString() {
            var text = new String(head, 0, (int) Math.min(length, KEPT), StandardCharsets.UTF_8);
            return length + " bytes: " + text.replaceAll("\\p{Cntrl}", " ");
        }
    }

    /** How a target is asked, and what its replies must be. */
    enum Wire {
        /** The project's own protocol. */
        MESSAGES {
            @Override
            String store(String mailbox, String sender, String text) {
                return "store;" + mailbox + ";" + sender + ";" + text;
            }

            @Override
            String fetch(String mailbox) {
                return "fetch;" + mailbox;
            }

            @Override
            boolean isStored(Reply reply) {
                return reply.is(STORED);
            }

            @Override
            boolean isFetched(Reply reply) {
                return reply.startsWith(FETCHED) && reply.endsWith(END);
            }
        },

        /** Redis's, with a list for a mailbox; Redis closes once the client has half-closed. */
        REDIS {
            @Override
            String store(String mailbox, String sender, String text) {
                return command("RPUSH", mailbox, sender + ";" + text);
            }

            @Override
            String fetch(String mailbox) {
                return command("LRANGE", mailbox, "0", "-1");
            }

            @Override
            boolean isStored(Reply reply) {
                return reply.startsWith(INTEGER) && reply.endsWith(LINE_END);
            }

            @Override
            boolean isFetched(Reply reply) {
                return reply.startsWith(ARRAY)
                        && !reply.is(EMPTY_ARRAY)
                        && reply.endsWith(LINE_END);
            }
        };

        static final byte[] STORED = ascii("Message accepted and stored:\n");
        static final byte[] FETCHED = ascii("Retrieving messages...\n");
        static final byte[] END = ascii("\nNO MORE MESSAGES\n");
        private static final byte[] INTEGER = ascii(":");
        private static final byte[] ARRAY = ascii("*");
        private static final byte[] EMPTY_ARRAY = ascii("*0\r\n");
        private static final byte[] LINE_END = ascii("\r\n");

        abstract String store(String mailbox, String sender, String text);

        abstract String fetch(String mailbox);

        abstract boolean isStored(Reply reply);

        abstract boolean isFetched(Reply reply);

        private static byte[] ascii(String text) {
            return text.getBytes(StandardCharsets.US_ASCII);
        }

        private static String command(String... words) {
            var command = new StringBuilder("*" + words.length + "\r\n");
            for (var word : words) {
                command.append("$%d\r\n%s\r\n".formatted(word.length(), word));
            }
            return command.toString();
        }
    }
}
