//JAVA 21+
//SOURCES Servers.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketAddress;
import java.nio.ByteBuffer;
import java.util.BitSet;
import java.util.List;
import java.util.Scanner;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.locks.LockSupport;
import java.util.regex.Pattern;

/**
 * One measured target: a server, or several servers that share a store, with the form of its
 * requests and the set of acknowledged messages. Message number n goes into mailbox n modulo
 * mailboxes.
 */
final class Target implements AutoCloseable {
    private static final String SENDER = "bench";

    /** The text after a number of nine digits: 40 bytes together, about a line of chat. */
    private static final String TEXT = " a line of chat in forty bytes.";

    /** Added to the number of each message, so that the number has nine digits. */
    private static final int FIRST = 100_000_000;

    private static final Pattern STORED =
            Pattern.compile("^Message accepted and stored:\n$|" + Peer.STORED);

    private static final Pattern MESSAGE = Pattern.compile(SENDER + ";(\\d{9})" + TEXT);

    /**
     * The number of addresses of the server. A client's port stays in TIME_WAIT for a minute after
     * each connection, and the load uses up 28,000 ports in a second or two. But the same port can
     * connect to another address of the server at once. Only Linux answers on all addresses in
     * 127.0.0.0/8 by default.
     */
    private static final int ADDRESSES = System.getProperty("os.name").startsWith("Linux") ? 16 : 1;

    final String name;
    final Peer peer; // null for our server and the yardsticks
    final boolean staysOpen; // whether the connection outlasts the acknowledgement
    private final BitSet acknowledged = new BitSet();
    private int issued;

    /** The prefix of this target's mailboxes in this run: targets may share a database. */
    private final String prefix = Long.toHexString(ThreadLocalRandom.current().nextLong()) + "-";

    /** The servers; a new start on the same store replaces them. */
    List<Servers.Server> servers;

    /** The number of mailboxes; it may change before the first message only. */
    int mailboxes = 1000;

    Target(String name, List<Servers.Server> servers) {
        this.name = name;
        peer = Peer.of(name);
        staysOpen = name.equals("nats");
        this.servers = servers;
    }

    /** Returns the address for the n-th connection. Servers and addresses take turns. */
    SocketAddress address(int n) {
        int port = servers.get(n / ADDRESSES % servers.size()).port();
        return new InetSocketAddress("127.0.0." + (1 + n % ADDRESSES), port);
    }

    double cpuMicros() {
        return servers.stream().mapToDouble(server -> server.cpu().toNanos() / 1e3).sum();
    }

    /** Returns VmRSS, or VmHWM (the highest VmRSS so far), in megabytes. */
    double memory(String key) {
        return servers.stream().mapToDouble(server -> server.number("status", key) / 1024).sum();
    }

    @Override
    public void close() {
        servers.forEach(Servers.Server::stop);
    }

    /** Returns the number of the next message. */
    int next() {
        return issued++;
    }

    /** Returns the request that stores message {@code number}. */
    ByteBuffer store(int number) {
        var mailbox = prefix + number % mailboxes;
        var message = SENDER + ";" + (FIRST + number) + TEXT;
        var line = "store;" + mailbox + ";" + message;
        return bytes(peer != null ? peer.store().apply(mailbox, message) : line);
    }

    /** Ends the input, so that the server closes after its reply. NATS would not reply. */
    void endInput(Socket socket) throws IOException {
        if (!staysOpen) {
            socket.shutdownOutput();
        }
    }

    /** Returns whether {@code reply} acknowledges message {@code number}, and records it. */
    boolean accept(int number, String reply) {
        acknowledged.set(number, STORED.matcher(reply).find());
        return acknowledged.get(number);
    }

    /** Asks for a mailbox. The caller reads the reply from the socket. */
    Socket fetch(int mailbox) throws IOException {
        return ask("fetch;" + prefix + mailbox);
    }

    private Socket ask(String request) throws IOException {
        var socket = new Socket();
        socket.connect(address(issued));
        socket.setSoTimeout(30_000);
        socket.getOutputStream().write(bytes(request).array());
        endInput(socket);
        return socket;
    }

    private static ByteBuffer bytes(String text) {
        return ByteBuffer.wrap(text.getBytes(ISO_8859_1));
    }

    /** A comparison of the stored messages with the acknowledged messages. */
    record Count(String text, boolean isWhole) {}

    /** Fetches every mailbox and looks for every message; asks a peer only for its count. */
    Count count() throws IOException {
        int stored = acknowledged.cardinality();
        if (peer != null) {
            LockSupport.parkNanos(stored == 0 ? 0 : 3_000_000_000L); // mosquitto counts each second
            try (var reply = new Scanner(ask(peer.count()).getInputStream(), ISO_8859_1)) {
                int there = Integer.parseInt(reply.findWithinHorizon(Peer.COUNTED, 0));
                var text = "%s: %,d messages acknowledged, %,d stored";
                return new Count(text.formatted(name, stored, there), there >= stored);
            }
        }
        var seen = new BitSet();
        int twice = 0;
        for (int mailbox = 0; mailbox < mailboxes; mailbox++) {
            try (var reply = fetch(mailbox)) {
                var bytes = reply.getInputStream().readAllBytes();
                var text = new String(bytes, ISO_8859_1);
                for (var found = MESSAGE.matcher(text); found.find(); ) {
                    int number = Integer.parseInt(found.group(1)) - FIRST;
                    twice += seen.get(number) ? 1 : 0;
                    seen.set(number);
                }
            }
        }
        seen.and(acknowledged);
        int missing = stored - seen.cardinality();
        var format = "%s: %,d messages acknowledged, %d missing, %d twice";
        return new Count(format.formatted(name, stored, missing, twice), missing + twice == 0);
    }
}
