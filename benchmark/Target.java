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
 * What is measured under one name: one server or several that share a store, how they are asked,
 * and which messages they have acknowledged. Message number n goes into mailbox n modulo mailboxes.
 */
final class Target implements AutoCloseable {
    private static final String SENDER = "bench";

    /** After a number of nine digits: 40 bytes in all, about a line of chat. */
    private static final String TEXT = " a line of chat in forty bytes.";

    /** The first message, so that all have nine digits. */
    private static final int FIRST = 100_000_000;

    private static final Pattern STORED =
            Pattern.compile("^Message accepted and stored:\n$|" + Peer.STORED);

    private static final Pattern MESSAGE = Pattern.compile(SENDER + ";(\\d{9})" + TEXT);

    /**
     * The client's port rests for a minute after each connection (TIME_WAIT), and 28,000 ports are
     * used up in a second or two; but the same port can at once connect to another address of the
     * server. Only Linux answers on all of 127.0.0.0/8 unasked.
     */
    private static final int ADDRESSES = System.getProperty("os.name").startsWith("Linux") ? 16 : 1;

    final String name;
    final Peer peer; // null for ours and the yardsticks
    final boolean staysOpen; // after the acknowledgement
    private final BitSet acknowledged = new BitSet();
    private int issued;

    /** Of mailboxes that no other target has, nor another run: they may share a database. */
    private final String prefix = Long.toHexString(ThreadLocalRandom.current().nextLong()) + "-";

    /** May be replaced by others that have the same store. */
    List<Servers.Server> servers;

    /** May be changed before the first message. */
    int mailboxes = 1000;

    Target(String name, List<Servers.Server> servers) {
        this.name = name;
        peer = Peer.of(name);
        staysOpen = name.equals("nats");
        this.servers = servers;
    }

    /** The address for the n-th connection: every server and every address has its turn. */
    SocketAddress address(int n) {
        int port = servers.get(n / ADDRESSES % servers.size()).port();
        return new InetSocketAddress("127.0.0." + (1 + n % ADDRESSES), port);
    }

    double cpuMicros() {
        return servers.stream().mapToDouble(server -> server.cpu().toNanos() / 1e3).sum();
    }

    /** VmRSS or VmHWM, the highest so far, in megabytes. */
    double memory(String key) {
        return servers.stream().mapToDouble(server -> server.number("status", key) / 1024).sum();
    }

    @Override
    public void close() {
        servers.forEach(Servers.Server::stop);
    }

    /** The number of a message that has not been sent before. */
    int next() {
        return issued++;
    }

    /** The request that stores message {@code number}. */
    ByteBuffer store(int number) {
        var mailbox = prefix + number % mailboxes;
        var message = SENDER + ";" + (FIRST + number) + TEXT;
        var line = "store;" + mailbox + ";" + message;
        return bytes(peer != null ? peer.store().apply(mailbox, message) : line);
    }

    /** So that the server ends after its reply; but NATS would not reply any more. */
    void endInput(Socket socket) throws IOException {
        if (!staysOpen) {
            socket.shutdownOutput();
        }
    }

    /** Whether {@code reply} acknowledges message {@code number}, which has to be there then. */
    boolean accept(int number, String reply) {
        acknowledged.set(number, STORED.matcher(reply).find());
        return acknowledged.get(number);
    }

    /** Asks for a mailbox; the reply is to be read from what is returned. */
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

    /** How what a target holds compares with what it has acknowledged. */
    record Count(String text, boolean isWhole) {}

    /** Fetches every mailbox over the wire and looks for every message, whole; or asks a peer. */
    Count count() throws IOException {
        int stored = acknowledged.cardinality();
        if (peer != null) {
            LockSupport.parkNanos(stored == 0 ? 0 : 3_000_000_000L); // mosquitto tells each second
            try (var reply = new Scanner(ask(peer.count()).getInputStream(), ISO_8859_1)) {
                int there = Integer.parseInt(reply.findWithinHorizon(Peer.COUNTED, 0));
                var text = "%s: %,d messages acknowledged, %,d there";
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
