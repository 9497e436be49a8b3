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
 * A loopback proxy, between a store and its PostgreSQL, that fails like a network. It can cut a
 * connection after the statement has run and before its answer arrives, so that the client does not
 * know the outcome. It can also hold back all bytes without closing a connection, like a lost
 * route.
 */
final class FlakyProxy implements AutoCloseable {

    /** The end of the answer to a batch: CommandComplete of an INSERT, then ReadyForQuery. */
    private static final Pattern INSERTED =
            Pattern.compile("INSERT \\d+ \\d+\\x00Z\\x00\\x00\\x00\\x05I$");

    /** More bytes than such an end has. */
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
     * @param seed for choosing the lost answers
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

    /**
     * From now on the proxy loses this fraction (0 to 1) of the answers to INSERTs, and cuts their
     * connections.
     */
    void cut(double fraction) {
        cutFraction = fraction;
    }

    /** The number of lost answers so far. */
    int cuts() {
        return cuts.get();
    }

    /**
     * From now on no byte gets through. Old connections stay open, and the proxy accepts new ones.
     */
    void hold() {
        held = true;
        silent.addAll(clients);
    }

    /**
     * Ends {@link #hold()} for new connections. Connections from before stay silent until they are
     * closed.
     */
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
                // The listener was closed, or the client has left already; the loop's condition
                // decides.
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
            // The database is down or the client has left; in both cases the client's side is
            // closed.
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } finally {
            clients.remove(client);
            silent.remove(client);
        }
    }

    /** Copies bytes until one side closes, and then closes both. */
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
                // An answer may arrive in several pieces, so the search for its end spans them.
                tail += new String(buffer, 0, read, StandardCharsets.ISO_8859_1);
                tail = tail.substring(Math.max(0, tail.length() - TAIL));
                if (answers && INSERTED.matcher(tail).find() && lose()) {
                    break;
                }
                out.write(buffer, 0, read);
            }
        } catch (IOException e) {
            // One side was cut; the finally block closes the other one.
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
            // The socket is closed either way.
        }
    }
}
