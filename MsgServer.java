///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Store-and-forward message server: one virtual thread per connection, durable mailboxes
//JAVA 21+
//DEPS info.picocli:picocli:4.7.7
//SOURCES Protocol.java
//SOURCES server/Connection.java
//SOURCES server/Limits.java
//SOURCES server/Listener.java
//SOURCES server/Places.java
//SOURCES server/ServerCommand.java
//SOURCES server/TlsConnection.java
//SOURCES server/Trouble.java
//SOURCES store/MessageStore.java
//SOURCES store/Owners.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmn16m -XX:CompileThresholdScaling=5
//RUNTIME_OPTIONS -XX:+ExitOnOutOfMemoryError
// The serial collector and a small young generation save memory: 100 MB instead of 220 MB after
// 100,000 messages, at the same CPU. A later compilation leaves the few cores to the program while
// it starts: 0.84 of the time, and no difference at 64 clients once warm. A server that has run out
// of memory exits with 3, so that a service manager starts it again.

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
import java.util.concurrent.locks.LockSupport;

/**
 * The message server: accepts connections and holds one conversation on each, on a virtual thread
 * of its own, as the classic server held each in a process of its own from {@code fork()}. A
 * conversation is one request and one reply, after which the server closes.
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
 * <p>This class prints nothing, never exits and installs no shutdown hook; {@link ServerCommand}
 * does.
 *
 * <p>Without TLS anyone who knows a name may fetch its mailbox, as in the original: run the server
 * on a network whose members trust each other.
 */
public final class MsgServer implements AutoCloseable {

    private final InetSocketAddress address;
    private final MessageStore store;
    private final Owners owners;
    private final Limits limits;
    private final Places places;
    private final Listener listener;
    private final Thread.Builder threads;
    private final Trouble accepting;
    private final Trouble failing;
    private final Trouble storing;
    private final Trouble reading;
    private final Trouble damage; // reported once, since it does not pass by itself
    private final Set<Connection> openConnections = ConcurrentHashMap.newKeySet();
    private final Tls tls; // null: plain connections, and a name is anybody's
    private ServerSocketChannel listening;

    /**
     * A server that is not started yet.
     *
     * @param address where it listens; port 0 takes any free one
     * @param store stays the caller's, who closes it after this server
     * @param threads makes the thread of each conversation; {@code Thread.ofVirtual()} is meant
     * @param tls lets it speak TLS only, and names belong to the first key that uses them; with
     *     null, connections are plain
     * @throws MessageStore.StoreException when names belong to keys already, and there is no TLS
     */
    public MsgServer(
            InetSocketAddress address,
            MessageStore store,
            Limits limits,
            Listener listener,
            Thread.Builder threads,
            Tls tls)
            throws MessageStore.StoreException {
        this.address = address;
        this.store = store;
        owners = new Owners(store);
        owners.open(tls != null);
        this.limits = limits;
        this.listener = listener;
        this.threads = threads;
        accepting =
                new Trouble(listener, "Cannot accept connections: ", "Connections are accepted");
        failing = new Trouble(listener, "A conversation failed: ", "Conversations end well");
        storing = new Trouble(listener, "The message store fails: ", "Messages can be stored");
        reading = new Trouble(listener, "Mailboxes cannot be read: ", "Mailboxes can be read");
        damage = new Trouble(listener, "The store is damaged, see docs/operating.md; mailbox ", "");
        places = new Places(limits.connections());
        this.tls = tls;
    }

    // ---------------------------------------------------------------- accepting

    /** How long to wait when no connection can be accepted. */
    private static final Duration ACCEPT_PAUSE = Duration.ofMillis(100);

    private static final byte[] BUSY = Protocol.line(Protocol.Refusal.BUSY.text());

    /** Does what the classic server's parent process did, and starts a thread where that forked. */
    private void accept() {
        for (long number = 1; listening.isOpen(); ) {
            try {
                SocketChannel client = listening.accept();
                if (places.enter()) {
                    converse(number++, client);
                } else {
                    Connection.turnAway(client, tls == null ? BUSY : TlsConnection.BUSY);
                    accepting.failed("all " + limits.connections() + " places are taken");
                }
            } catch (IOException | RuntimeException | Error e) {
                if (listening.isOpen()) {
                    cannotAccept(e);
                }
            }
        }
    }

    /** Whatever fails here concerns this client only. */
    private void converse(long number, SocketChannel client) {
        try {
            Connection connection =
                    tls == null
                            ? new Connection(client, limits.timeout())
                            : new TlsConnection(client, limits.timeout(), tls);
            threads.name("conversation-" + number).start(new Conversation(number, connection));
        } catch (IOException | RuntimeException | Error e) {
            places.leave();
            OwnFiles.closeQuietly(client);
            if (!(e instanceof IOException)) { // else the client has left already
                accepting.failed(e.getMessage());
            }
        }
    }

    /**
     * Most likely file descriptors or memory are used up, and other conversations will give some
     * back. Whatever it is, the acceptor goes on, or the process would be up and accept nobody; but
     * it waits a little, so that it does not spin.
     */
    private void cannotAccept(Throwable e) {
        try {
            accepting.failed(e.getMessage());
        } catch (RuntimeException | Error unsaid) {
            // Tolerated: the next failure says it, when there is memory for a sentence.
        }
        LockSupport.parkNanos(ACCEPT_PAUSE.toNanos());
    }

    // ---------------------------------------------------------------- one conversation

    /** Does what the classic server's child process did: reads one request, replies, closes. */
    private final class Conversation extends Listener.Conversation implements Runnable {
        private final Connection connection;
        private long sent; // messages

        Conversation(long number, Connection connection) {
            super(number, connection.peer());
            this.connection = connection;
        }

        @Override
        public void run() {
            try (connection) {
                openConnections.add(connection);
                accepting.succeeded();
                tell(Listener.Step.ACCEPTED);
                converse();
                failing.succeeded();
                replied();
                tell(Listener.Step.REPLIED);
            } catch (IOException e) {
                outcome +=
                        (outcome.isEmpty() ? "" : ", then ") + "cut off: " + connection.reason(e);
            } catch (RuntimeException | Error e) {
                outcome = "failed: " + e;
                failing.failed(e.toString());
            } finally {
                try {
                    tell(Listener.Step.CLOSED);
                } finally {
                    openConnections.remove(connection);
                    places.leave();
                }
            }
        }

        private void converse() throws IOException {
            try {
                tell(Listener.Step.WAITING_FOR_REQUEST);
                request = connection.readRequest();
                tell(Listener.Step.REQUEST_READ);
                switch (request) {
                    case Protocol.Store message -> store(message);
                    case Protocol.Fetch(var recipient) -> fetch(recipient);
                }
            } catch (Protocol.RefusedException e) {
                outcome = e.refusal().text();
                connection.write(ByteBuffer.wrap(Protocol.line(outcome)));
            }
        }

        /**
         * With TLS, refuses a client whose key is not the owner of {@code name}.
         *
         * @param claims whether its key becomes the owner if there is none yet
         */
        private void requireOwner(String name, boolean claims)
                throws MessageStore.StoreException, Protocol.RefusedException {
            if (tls != null && !owners.allow(name, connection.clientKey(), claims)) {
                throw new Protocol.RefusedException(Protocol.Refusal.NOT_THE_OWNER);
            }
        }

        private void store(Protocol.Store message) throws IOException, Protocol.RefusedException {
            try {
                requireOwner(message.sender(), true);
                tell(Listener.Step.WAITING_FOR_COMMIT);
                committedTogether =
                        store.store(message.recipient(), message.sender(), message.message());
                storing.succeeded();
                tell(Listener.Step.COMMITTED);
            } catch (MessageStore.StoreException e) {
                report(e);
                throw new Protocol.RefusedException(Protocol.Refusal.NOT_STORED);
            }
            outcome = "stored";
            connection.write(ByteBuffer.wrap(Protocol.line(Protocol.STORED)));
        }

        private void fetch(String recipient) throws IOException, Protocol.RefusedException {
            places.takeFetch();
            try {
                sendMailbox(recipient);
                outcome =
                        sent == 0 ? "no such name" : sent + (sent == 1 ? " message" : " messages");
            } catch (MessageStore.StoreException e) {
                report(e);
                if (sent == 0) {
                    throw new Protocol.RefusedException(Protocol.Refusal.BUSY);
                }
                // Part of the reply is sent; that its last line is missing tells the client.
                throw new IOException("the rest of the mailbox cannot be read", e);
            } finally {
                places.giveBackFetch();
            }
        }

        private void report(MessageStore.StoreException e) {
            switch (e.failing()) {
                case READING -> reading.failed(e.getMessage());
                case WRITING -> storing.failed(e.getMessage());
                case DAMAGED -> damage.failed(request.recipient() + ": " + e.getMessage());
            }
        }

        /** Sends it page by page, so that memory stays flat however many messages it holds. */
        private void sendMailbox(String recipient)
                throws IOException, MessageStore.StoreException, Protocol.RefusedException {
            MessageStore.Mailbox mailbox = store.fetch(recipient);
            Page page = new Page();
            page.writeBytes(Protocol.line(Protocol.RETRIEVING));
            while (mailbox.hasNext()) {
                List<MessageStore.Message> messages = mailbox.nextPage();
                if (sent == 0) {
                    requireOwner(recipient, !messages.isEmpty()); // empty, it stays nobody's
                }
                for (MessageStore.Message message : messages) {
                    var stored = new Protocol.Store(recipient, message.sender(), message.text());
                    page.writeBytes(Protocol.line(stored.parts()));
                    sent++;
                }
                reading.succeeded();
                if (!mailbox.hasNext()) {
                    page.writeBytes(
                            Protocol.line(
                                    sent == 0 ? Protocol.NO_SUCH_NAME : Protocol.NO_MORE_MESSAGES));
                }
                page.sendTo(connection);
            }
        }

        private void tell(Listener.Step step) {
            listener.step(step, this);
        }
    }

    /** A part of a reply. Its bytes are sent from where they are, and it is filled again. */
    private static final class Page extends ByteArrayOutputStream {
        void sendTo(Connection connection) throws IOException {
            connection.write(ByteBuffer.wrap(buf, 0, count));
            reset();
        }
    }

    // ---------------------------------------------------------------- starting and ending

    /** How many connections the kernel keeps for us while we do not accept; Java's own is 50. */
    private static final int BACKLOG = 1024;

    /** How long conversations that were cut have for their last step. */
    private static final Duration AFTER_CUT = Duration.ofMillis(500);

    /**
     * Binds and begins to accept.
     *
     * @throws BindException when the address or port cannot be had
     */
    public void start() throws IOException {
        Connection.warmUp();
        listening = ServerSocketChannel.open();
        try {
            listening.bind(address, BACKLOG);
        } catch (IOException e) {
            listening.close();
            throw e;
        }
        Thread.ofPlatform().name("acceptor").start(this::accept);
    }

    /** The port it listens on, also when 0 was asked for. */
    public int port() {
        return listening.socket().getLocalPort();
    }

    /**
     * Stops accepting, lets conversations end within the grace, then cuts them. When it returns, no
     * conversation uses the store any more, unless the database itself does not answer.
     */
    @Override
    public void close() {
        OwnFiles.closeQuietly(listening);
        if (!places.allLeftWithin(limits.grace())) {
            openConnections.forEach(connection -> connection.cut("the server ended"));
            places.allLeftWithin(AFTER_CUT);
        }
    }

    /** Runs the command and ends the process with its exit code. */
    public static void main(String... args) {
        System.setProperty("jdk.console", "java.base"); // no console where there is no terminal
        Thread.ofPlatform().daemon().start(Sqlite::loadAhead); // while the command line is read
        System.exit(Program.commandLine(new ServerCommand(), "MsgServer.java").execute(args));
    }
}
