///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Store-and-forward message server: one virtual thread per connection, durable mailboxes
//JAVA 21+
//DEPS info.picocli:picocli:4.7.7
//SOURCES Protocol.java
//SOURCES server/Connection.java
//SOURCES server/Limits.java
//SOURCES server/Observer.java
//SOURCES server/Outage.java
//SOURCES server/ServerCommand.java
//SOURCES server/TlsConnection.java
//SOURCES store/MessageStore.java
//SOURCES store/Owners.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmn16m -XX:CompileThresholdScaling=5
//RUNTIME_OPTIONS -XX:+ExitOnOutOfMemoryError -Djdk.console=java.base
// The serial collector and a small young generation save memory: the server needs 100 MB instead of
// 220 MB after 100,000 messages, for the same CPU time. With a higher compile threshold, the JIT
// compiler takes less of the CPU during the start: a start takes 0.84 of the time. The threshold
// changes nothing for a warm server with 64 clients. A server that runs out of memory exits with 3,
// so that a service manager starts it again.

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.BindException;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/**
 * The message server: accepts connections and holds one conversation on each. A conversation is one
 * request and one reply; then the server closes the connection. Each conversation runs on a
 * separate virtual thread; the classic server used a process from {@code fork()}.
 *
 * <pre>
 *  clients        kernel           acceptor              conversation-1, -2, ...  store-writer
 *  connect  --->  backlog  --->    accept()
 *                                  start a thread  --->  read a Request  (Connection, Protocol)
 *  request  ------------------------------------------>  a store: wait  -------->  commit,
 *                                                                       <-------   many at once
 *                                                        a fetch: pages from store-reader-1, -2
 *  reply    <------------------------------------------  write the reply
 *                                                        close
 *                                  platform thread       virtual thread each       platform thread
 * </pre>
 *
 * <p>A server prints nothing and installs no shutdown hook: {@link ServerCommand} does both. Only
 * {@link #main} ends the process.
 *
 * <p>Without TLS, anyone who knows a name can fetch its mailbox, as with the classic server. So run
 * the server on a network whose members trust each other.
 */
public final class MsgServer implements AutoCloseable {

    private final InetSocketAddress address;
    private final MessageStore store;
    private final Owners owners;
    private final Limits limits;
    private final Observer observer;
    private final Thread.Builder threads;
    private final Tls tls; // null: plain connections, and anybody may use any name
    private final Outage accepting;
    private final Outage conversing;
    private final Outage storing;
    private final Outage reading;
    private final Outage damage; // never ends: only an operator can repair a database
    private final Semaphore clients; // a permit for each connection
    private final Semaphore fetches = new Semaphore(Limits.fetches());
    private final Set<Connection> openConnections = ConcurrentHashMap.newKeySet();
    private ServerSocketChannel listening;

    /**
     * A server that is not started yet.
     *
     * @param address the address to listen on; port 0 takes any free port
     * @param store keeps the messages; the caller closes it after this server
     * @param threads makes the thread of each conversation; normally {@code Thread.ofVirtual()}
     * @param tls the server's key; null for plain connections. With a key, the server speaks TLS
     *     only, and a name belongs to the first client key that uses the name
     * @throws MessageStore.StoreException if the database does not answer, or if TLS is off but
     *     some name already belongs to a key
     */
    public MsgServer(
            InetSocketAddress address,
            MessageStore store,
            Limits limits,
            Observer observer,
            Thread.Builder threads,
            Tls tls)
            throws MessageStore.StoreException {
        this.address = address;
        this.store = store;
        owners = new Owners(store);
        owners.open(tls != null);
        this.limits = limits;
        this.observer = observer;
        this.threads = threads;
        this.tls = tls;
        accepting = new Outage(observer, "Cannot accept connections: ", "Connections are accepted");
        conversing = new Outage(observer, "A conversation failed: ", "Conversations end well");
        storing = new Outage(observer, "The message store fails: ", "Messages can be stored");
        reading = new Outage(observer, "Mailboxes cannot be read: ", "Mailboxes can be read");
        damage = new Outage(observer, "The store is damaged, see docs/operating.md; mailbox ", "");
        clients = new Semaphore(limits.connections());
    }

    // ---------------------------------------------------------------- accepting

    private static final byte[] BUSY = Protocol.line(Protocol.Refusal.BUSY.text);

    /** Accepts connections and starts a thread for each; the classic server forked a process. */
    private void accept() {
        for (long number = 1; listening.isOpen(); ) {
            try {
                SocketChannel client = listening.accept();
                if (clients.tryAcquire()) {
                    converse(number++, client);
                } else {
                    Connection.turnAway(client, tls == null ? BUSY : TlsConnection.BUSY);
                    accepting.failed("all " + limits.connections() + " places are taken");
                }
            } catch (IOException | RuntimeException | Error e) {
                // Most likely no descriptor or no memory is free. The end of a conversation frees
                // both, so the acceptor goes on, after a pause that prevents a busy loop.
                if (listening.isOpen()) {
                    accepting.failed(e.getMessage());
                    LockSupport.parkNanos(Duration.ofMillis(100).toNanos());
                }
            }
        }
    }

    /** Starts a conversation. A failure here concerns this client only, so accepting goes on. */
    private void converse(long number, SocketChannel client) {
        try {
            Connection connection =
                    tls == null
                            ? new Connection(client, limits.timeout())
                            : new TlsConnection(client, limits.timeout(), tls);
            threads.name("conversation-" + number).start(new Conversation(number, connection));
        } catch (IOException | RuntimeException | Error e) {
            clients.release();
            OwnFiles.closeQuietly(client);
            if (!(e instanceof IOException)) { // else the client has left already
                accepting.failed(e.getMessage());
            }
        }
    }

    // ---------------------------------------------------------------- one conversation

    /** Reads one request, replies and closes, as the classic server's child process did. */
    private final class Conversation extends Observer.Conversation implements Runnable {
        private final Connection connection;
        private long sent; // messages

        Conversation(long number, Connection connection) {
            super(number, connection.peer);
            this.connection = connection;
        }

        /** The connection closes before a catch block runs, so a failed close is logged, too. */
        @Override
        public void run() {
            try (connection) {
                openConnections.add(connection);
                accepting.succeeded();
                observer.step(Observer.Step.ACCEPTED, this);
                converse();
                conversing.succeeded();
                untilReply = sinceAccept();
                observer.step(Observer.Step.REPLIED, this);
            } catch (IOException e) {
                outcome +=
                        (outcome.isEmpty() ? "" : ", then ") + "cut off: " + connection.reason(e);
            } catch (RuntimeException | Error e) {
                outcome = "failed: " + e;
                conversing.failed(e.toString());
            } finally {
                try {
                    observer.step(Observer.Step.CLOSED, this);
                } finally {
                    openConnections.remove(connection);
                    clients.release();
                }
            }
        }

        private void converse() throws IOException {
            try {
                observer.step(Observer.Step.WAITING_FOR_REQUEST, this);
                request = connection.readRequest();
                observer.step(Observer.Step.REQUEST_READ, this);
                answer();
            } catch (Protocol.RefusedException e) {
                outcome = e.refusal.text;
                connection.write(ByteBuffer.wrap(Protocol.line(outcome)));
            }
        }

        private void answer() throws IOException, Protocol.RefusedException {
            boolean stores = request instanceof Protocol.Store;
            try {
                switch (request) {
                    case Protocol.Store message -> store(message);
                    case Protocol.Fetch(var recipient) -> fetch(recipient);
                }
                (stores ? storing : reading).succeeded();
            } catch (MessageStore.StoreException e) {
                switch (e.failing) {
                    case READING -> reading.failed(e.getMessage());
                    case WRITING -> storing.failed(e.getMessage());
                    case DAMAGED -> damage.failed(request.recipient() + ": " + e.getMessage());
                }
                if (sent > 0) { // the missing last line shows the client the failure
                    throw new IOException("the rest of the mailbox cannot be read", e);
                }
                throw new Protocol.RefusedException(
                        stores ? Protocol.Refusal.NOT_STORED : Protocol.Refusal.BUSY);
            }
        }

        /**
         * With TLS, refuses a client whose key may not act as {@code name}.
         *
         * @param claims whether the client's key becomes the owner if {@code name} has no owner
         */
        private void requireOwner(String name, boolean claims)
                throws MessageStore.StoreException, Protocol.RefusedException {
            if (tls != null && !owners.allow(name, connection.clientKey, claims)) {
                throw new Protocol.RefusedException(Protocol.Refusal.NOT_THE_OWNER);
            }
        }

        private void store(Protocol.Store message)
                throws IOException, MessageStore.StoreException, Protocol.RefusedException {
            requireOwner(message.sender(), true);
            observer.step(Observer.Step.WAITING_FOR_COMMIT, this);
            committedTogether =
                    store.store(message.recipient(), message.sender(), message.message());
            observer.step(Observer.Step.COMMITTED, this);
            outcome = "stored";
            connection.write(ByteBuffer.wrap(Protocol.line(Protocol.STORED)));
        }

        private void fetch(String recipient)
                throws IOException, MessageStore.StoreException, Protocol.RefusedException {
            if (!fetches.tryAcquire()) {
                throw new Protocol.RefusedException(Protocol.Refusal.BUSY);
            }
            try {
                sendMailbox(recipient);
                outcome =
                        sent == 0 ? "no such name" : sent + (sent == 1 ? " message" : " messages");
            } finally {
                fetches.release();
            }
        }

        /** Sends the mailbox page by page, so that memory stays flat for a mailbox of any size. */
        private void sendMailbox(String recipient)
                throws IOException, MessageStore.StoreException, Protocol.RefusedException {
            MessageStore.Mailbox mailbox = store.fetch(recipient);
            Page page = new Page();
            page.writeBytes(Protocol.line(Protocol.RETRIEVING));
            while (mailbox.hasNext()) {
                List<MessageStore.Message> messages = mailbox.nextPage();
                if (sent == 0) {
                    requireOwner(recipient, !messages.isEmpty()); // an empty mailbox is not claimed
                }
                for (MessageStore.Message message : messages) {
                    var stored = new Protocol.Store(recipient, message.sender(), message.text());
                    page.writeBytes(Protocol.line(stored.parts()));
                    sent++;
                }
                if (!mailbox.hasNext()) {
                    page.writeBytes(
                            Protocol.line(
                                    sent == 0 ? Protocol.NO_SUCH_NAME : Protocol.NO_MORE_MESSAGES));
                }
                page.sendTo(connection);
            }
        }
    }

    /** A reusable buffer for one page of a mailbox; it sends its bytes without a copy. */
    private static final class Page extends ByteArrayOutputStream {
        void sendTo(Connection connection) throws IOException {
            connection.write(ByteBuffer.wrap(buf, 0, count));
            reset();
        }
    }

    // ---------------------------------------------------------------- starting and ending

    /** Length of the kernel's backlog of connections not yet accepted; Java's default is 50. */
    private static final int BACKLOG = 1024;

    /** The time for conversations to end after they were cut. */
    private static final Duration AFTER_CUT = Duration.ofMillis(500);

    /**
     * Binds and begins to accept.
     *
     * @throws BindException if the address or port is not available
     */
    public void start() throws IOException {
        Connection.warmUp();
        listening = ServerSocketChannel.open();
        listening.bind(address, BACKLOG);
        Thread.ofPlatform().name("acceptor").start(this::accept);
    }

    /** The port that the server listens on: the real port, if {@code address} has port 0. */
    public int port() {
        return listening.socket().getLocalPort();
    }

    /**
     * Stops accepting, waits for conversations to end, and cuts all that outlast the grace period.
     * Afterwards only a conversation that waits for a silent database may still use the store.
     */
    @Override
    public void close() {
        OwnFiles.closeQuietly(listening);
        if (!haveAllLeft(limits.grace())) {
            openConnections.forEach(connection -> connection.cut("the server ended"));
            haveAllLeft(AFTER_CUT);
        }
    }

    /** Waits until all clients have left, or {@code time} is over. */
    private boolean haveAllLeft(Duration time) {
        int all = limits.connections();
        try {
            boolean left = clients.tryAcquire(all, time.toNanos(), TimeUnit.NANOSECONDS);
            if (left) {
                clients.release(all); // else a second close() would wait in vain
            }
            return left;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return false;
        }
    }

    /** Runs the command and ends the process with its exit code. */
    public static void main(String... args) {
        Thread.ofPlatform().daemon().start(Sqlite::loadAhead); // while the command line is read
        System.exit(Program.commandLine(new ServerCommand(), "MsgServer.java").execute(args));
    }
}
