//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.ReentrantLock;
import java.util.regex.Pattern;

/**
 * A proxy on loopback between a store and its PostgreSQL that fails as networks do: it cuts
 * connections when the statement has been carried out and before its answer is delivered, which
 * leaves the client not knowing, or it holds everything back without a word, as a lost route does.
 */
final class FlakyProxy implements AutoCloseable {

    /** CommandComplete of an INSERT, then ReadyForQuery: how the answer to a batch ends. */
    private static final Pattern INSERTED =
            Pattern.compile("INSERT \\d+ \\d+\\x00Z\\x00\\x00\\x00\\x05I$");

    /** No such ending is longer. */
    private static final int TAIL = 60;

    private final ServerSocket listener;
    private final int target;
    private final Random random;
    private final Set<Socket> clients = ConcurrentHashMap.newKeySet();
    private final Set<Socket> silent = ConcurrentHashMap.newKeySet();
    private final AtomicInteger cuts = new AtomicInteger();
    private final ReentrantLock lock = new ReentrantLock();
    private volatile double cutFraction;
    private volatile boolean held;

    /**
     * @param target the database's port on loopback
     * @param seed of the choice which answers are lost
     */
    FlakyProxy(int target, long seed) throws IOException {
        this.target = target;
        random = new Random(seed);
        listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        Thread.ofVirtual().name("proxy-accept").start(this::accept);
    }

    /** The port to connect to on 127.0.0.1. */
    int port() {
        return listener.getLocalPort();
    }

    /** From now on this part of the answers to INSERTs, 0 to 1, is lost, and its connection cut. */
    void cut(double fraction) {
        cutFraction = fraction;
    }

    /** How many answers were lost so far. */
    int cuts() {
        return cuts.get();
    }

    /**
     * From now on nothing gets through, and nothing says so: connections stay open, new ones open
     * too, and no byte arrives.
     */
    void hold() {
        held = true;
        silent.addAll(clients);
    }

    /** Ends {@link #hold()} for new connections; those it met stay silent until they are closed. */
    void release() {
        held = false;
    }

    @Override
    public void close() throws IOException {
        listener.close();
        clients.forEach(FlakyProxy::close);
    }

    private void accept() {
        while (!listener.isClosed()) {
            try {
                Socket client = listener.accept();
                clients.add(client);
                if (held) {
                    silent.add(client);
                }
                Thread.ofVirtual().name("proxy-connection").start(() -> serve(client));
            } catch (IOException e) {
                // The listener was closed, or one client has gone again: the loop's head tells.
            }
        }
    }

    private void serve(Socket client) {
        try (client;
                Socket database = new Socket(InetAddress.getLoopbackAddress(), target)) {
            client.setTcpNoDelay(true);
            database.setTcpNoDelay(true);
            Thread requests =
                    Thread.ofVirtual()
                            .name("proxy-requests")
                            .start(() -> copy(client, database, client, false));
            copy(database, client, client, true);
            requests.join();
        } catch (IOException e) {
            // The database is down or the client has gone: closing the client's side says so.
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } finally {
            clients.remove(client);
            silent.remove(client);
        }
    }

    /** Copies until either end closes, and closes both then. */
    private void copy(Socket from, Socket to, Socket client, boolean answers) {
        try {
            InputStream in = from.getInputStream();
            OutputStream out = to.getOutputStream();
            byte[] buffer = new byte[8192];
            String tail = "";
            for (int read = in.read(buffer); read >= 0; read = in.read(buffer)) {
                if (silent.contains(client)) {
                    continue;
                }
                // An answer may come in several pieces, so its end is looked for across them.
                tail += new String(buffer, 0, read, StandardCharsets.ISO_8859_1);
                tail = tail.substring(Math.max(0, tail.length() - TAIL));
                if (answers && INSERTED.matcher(tail).find() && lose()) {
                    break;
                }
                out.write(buffer, 0, read);
            }
        } catch (IOException e) {
            // One of the ends was cut: so is the other, below.
        } finally {
            close(from);
            close(to);
        }
    }

    private boolean lose() {
        lock.lock();
        try {
            boolean lost = random.nextDouble() < cutFraction;
            if (lost) {
                cuts.incrementAndGet();
            }
            return lost;
        } finally {
            lock.unlock();
        }
    }

    private static void close(Socket socket) {
        try {
            socket.close();
        } catch (IOException e) {
            // It is gone either way.
        }
    }
}
