//JAVA 21+
//DEPS org.hdrhistogram:HdrHistogram:2.2.2
//SOURCES Report.java
//SOURCES Servers.java
//SOURCES ../common/Tls.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import org.HdrHistogram.ConcurrentHistogram;
import org.HdrHistogram.Histogram;

import java.io.IOException;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.DoubleStream;

import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;

/** Measures the cost of {@code --tls}: the server's CPU time, a client's time, memory. */
final class TlsCosts {
    private static final byte[] REQUEST = "fetch;nobody".getBytes(StandardCharsets.US_ASCII);
    private static final int CLIENTS = 16;

    private final Bench bench;
    private final int requests;
    private final int silent;
    private final Tls key;
    private final Map<String, DoubleStream.Builder> figures = new LinkedHashMap<>();
    private int strangers;

    TlsCosts(Bench bench) throws IOException {
        this.bench = bench;
        requests = bench.quick ? 32 : 640;
        silent = bench.quick ? 50 : 1000;
        key = new Tls(bench.starter.folder().resolve("client.pem"), anyServer -> true);
    }

    /** The kinds of connection. */
    private enum How {
        PLAIN,
        FULL_HANDSHAKE,
        RESUMED
    }

    /** Measures and prints a table; takes about a minute and a half. */
    void measure() throws IOException {
        var plain = start("plain");
        var secure = start("tls", "--tls");
        for (int round = -2; round < bench.rounds; round++) { // the first two warm up
            bench.progress(round < 0 ? "warming up" : "round " + (round + 1));
            for (var how : List.of(How.FULL_HANDSHAKE, How.RESUMED)) {
                double cpu = secure.cpu().toNanos();
                many(secure, how, CLIENTS, requests);
                double each = (secure.cpu().toNanos() - cpu) / requests;
                note(round, "requests/s of one core, " + how, 1e9 / each);
            }
            double alone = many(plain, How.PLAIN, 1, requests / 4).getValueAtPercentile(50);
            double more = many(secure, How.RESUMED, 1, requests / 4).getValueAtPercentile(50);
            note(round, "ms of a request beyond plain, RESUMED", (more - alone) / 1e6);
            note(round, "p99 beside silent ClientHellos / without", besideSilent(secure));
        }
        bench.progress("idle connections");
        for (int round = 0; round < bench.rounds; round++) {
            note(round, "KB of an idle connection", idle(start("idle-" + round, "--tls")));
        }
        bench.progress("");
        figures.forEach((what, values) ->
                System.out.printf(
                        "%-42s %s%n", what, Report.Spread.of(values.build()).text("%.2f")));
    }

    private Servers.Server start(String name, String... options) throws IOException {
        var store = bench.starter.folder().resolve(name + ".db").toString();
        return bench.starter.ours(name, Path.of(""), store, options);
    }

    private void note(int round, String what, double figure) {
        if (round >= 0) {
            figures.computeIfAbsent(what, unused -> DoubleStream.builder()).add(figure);
        }
    }

    /** Sends {@code count} requests. Returns their times in nanoseconds. */
    private Histogram many(Servers.Server server, How how, int clients, int count)
            throws IOException {
        var nanos = new ConcurrentHistogram(3);
        try (var all = Executors.newThreadPerTaskExecutor(Thread.ofPlatform().factory())) {
            var turns = new ArrayList<Future<?>>();
            for (int client = 0; client < clients; client++) {
                turns.add(
                        all.submit(() -> {
                            for (int i = 0; i < count / clients; i++) {
                                nanos.recordValue(request(server, how));
                            }
                            return null;
                        }));
            }
            for (var turn : turns) {
                turn.get();
            }
        } catch (Exception e) {
            throw new IOException("A request failed: " + e.getMessage(), e);
        }
        return nanos;
    }

    private long request(Servers.Server server, How how) throws IOException {
        long start = System.nanoTime();
        try (var socket = connect(server, how)) {
            socket.getOutputStream().write(REQUEST);
            socket.shutdownOutput();
            var reply = new String(socket.getInputStream().readAllBytes());
            if (!reply.endsWith("There is no such name\n")) {
                throw new IOException("the reply: " + reply);
            }
        }
        return System.nanoTime() - start;
    }

    /** The JDK looks up a session by the server's name: a new name has no session. */
    private Socket connect(Servers.Server server, How how) throws IOException {
        var socket = new Socket(InetAddress.getLoopbackAddress(), server.port());
        if (how == How.PLAIN) {
            return socket;
        }
        var name = how == How.RESUMED ? "known" : "stranger-" + strangers();
        var secure = (SSLSocket) key.sockets.createSocket(socket, name, server.port(), true);
        Tls.configure(secure).startHandshake();
        return secure;
    }

    private synchronized int strangers() {
        return strangers++;
    }

    /**
     * Returns the p99 beside many clients that have sent only a ClientHello, divided by the p99
     * without such clients.
     */
    private double besideSilent(Servers.Server server) throws IOException {
        double without = many(server, How.RESUMED, CLIENTS, requests).getValueAtPercentile(99);
        var held = new ArrayList<Socket>();
        try {
            var hello = clientHello();
            for (int i = 0; i < silent; i++) {
                held.add(connect(server, How.PLAIN));
                held.getLast().getOutputStream().write(hello);
            }
            request(server, How.RESUMED); // its reply shows that the silent clients are accepted
            return many(server, How.RESUMED, CLIENTS, requests).getValueAtPercentile(99) / without;
        } finally {
            for (var socket : held) {
                socket.close();
            }
        }
    }

    private static byte[] clientHello() throws IOException {
        try {
            var engine = SSLContext.getDefault().createSSLEngine();
            engine.setUseClientMode(true);
            engine.setEnabledProtocols(new String[] {"TLSv1.3"});
            var hello = ByteBuffer.allocate(engine.getSession().getPacketBufferSize());
            engine.wrap(ByteBuffer.allocate(0), hello);
            return Arrays.copyOf(hello.array(), hello.position());
        } catch (GeneralSecurityException e) {
            throw new IOException(e);
        }
    }

    /** Returns the kilobytes that an idle connection costs the server. */
    private double idle(Servers.Server server) throws IOException {
        many(server, How.RESUMED, CLIENTS, requests);
        double before = server.number("status", "VmRSS");
        var held = new ArrayList<Socket>();
        try {
            while (held.size() < 2 * silent) {
                held.add(connect(server, How.RESUMED));
            }
            request(server, How.RESUMED);
            return (server.number("status", "VmRSS") - before) / held.size();
        } finally {
            for (var socket : held) {
                socket.close();
            }
            server.stop();
        }
    }
}
