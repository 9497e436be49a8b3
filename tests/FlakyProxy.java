//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Arrays;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * A proxy on loopback between a store and its PostgreSQL that fails as networks do: it cuts
 * connections when the statement has been carried out and before its answer is delivered, which
 * leaves the client not knowing, or it holds everything back without a word, as a lost route does.
 */
final class FlakyProxy implements AutoCloseable {

    /**
     * ReadyForQuery with no transaction open: every answer to a statement ends with these bytes.
     */
    private static final byte[] READY = {'Z', 0, 0, 0, 5, 'I'};

    private final ServerSocket listener;
    private final int target;
    private final Random random;
    private final Set<Socket> open = ConcurrentHashMap.newKeySet();
    private final AtomicInteger cuts = new AtomicInteger();
    private final AtomicInteger answers = new AtomicInteger();
    private final ReentrantLock lock = new ReentrantLock();
    private final Condition released = lock.newCondition();
    private volatile double cutFraction;
    private boolean held;

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

    /** From now on this part of the answers, 0 to 1, is lost together with its connection. */
    void cut(double fraction) {
        cutFraction = fraction;
    }

    /** How many answers were lost so far. */
    int cuts() {
        return cuts.get();
    }

    /** How many answers to statements came so far, those lost included. */
    int answers() {
        return answers.get();
    }

    /** Cuts every connection there is now; new ones are served. */
    void cutAll() {
        open.forEach(FlakyProxy::close);
    }

    /**
     * Holds every byte back, both ways: connections stay open, new ones open too, and are silent.
     */
    void hold() {
        lock.lock();
        held = true;
        lock.unlock();
    }

    /** Ends {@link #hold()}; what was held back is delivered. */
    void release() {
        lock.lock();
        held = false;
        released.signalAll();
        lock.unlock();
    }

    @Override
    public void close() throws IOException {
        listener.close();
        release();
        cutAll();
    }

    private void accept() {
        while (!listener.isClosed()) {
            try {
                Socket client = listener.accept();
                open.add(client);
                Thread.ofVirtual().name("proxy-connection").start(() -> serve(client));
            } catch (IOException e) {
                // The listener was closed, or one client has gone again: the loop's head tells.
            }
        }
    }

    private void serve(Socket client) {
        try (client;
                Socket database = new Socket(InetAddress.getLoopbackAddress(), target)) {
            open.add(database);
            client.setTcpNoDelay(true);
            database.setTcpNoDelay(true);
            Thread requests =
                    Thread.ofVirtual()
                            .name("proxy-requests")
                            .start(() -> copy(client, database, false));
            copy(database, client, true);
            close(client);
            requests.join();
            open.remove(database);
        } catch (IOException e) {
            // The database is down or the client has gone: closing the client's side says so.
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } finally {
            open.remove(client);
        }
    }

    /** Copies until either end closes; closes both then, as a proxy's end does. */
    private void copy(Socket from, Socket to, boolean answering) {
        try {
            InputStream in = from.getInputStream();
            OutputStream out = to.getOutputStream();
            byte[] buffer = new byte[8192];
            byte[] tail = new byte[READY.length];
            boolean greeted = false;
            for (int read = in.read(buffer); read >= 0; read = in.read(buffer)) {
                awaitRelease();
                if (answering && endsWithReady(tail, buffer, read)) {
                    // The first one ends the login, which stores nothing.
                    if (greeted && lose()) {
                        break;
                    }
                    greeted = true;
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
        answers.incrementAndGet();
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

    /** Remembers the last bytes of the stream, since an answer may come in several pieces. */
    private static boolean endsWithReady(byte[] tail, byte[] buffer, int read) {
        int fresh = Math.min(read, tail.length);
        System.arraycopy(tail, fresh, tail, 0, tail.length - fresh);
        System.arraycopy(buffer, read - fresh, tail, tail.length - fresh, fresh);
        return Arrays.equals(tail, READY);
    }

    private void awaitRelease() {
        lock.lock();
        try {
            while (held) {
                released.awaitUninterruptibly();
            }
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
