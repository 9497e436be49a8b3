///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Store-and-forward message server: one virtual thread per connection, durable mailboxes
//JAVA 21+
//DEPS info.picocli:picocli:4.7.7
//SOURCES Protocol.java
//SOURCES server/Addresses.java
//SOURCES server/Connection.java
//SOURCES server/Limits.java
//SOURCES server/Listener.java
//SOURCES server/Log.java
//SOURCES server/Options.java
//SOURCES server/Program.java
//SOURCES server/RequestLog.java
//SOURCES server/Tls.java
//SOURCES server/TlsConnection.java
//SOURCES server/Trace.java
//SOURCES server/Trouble.java
//SOURCES store/MessageStore.java
//SOURCES store/Owners.java
//SOURCES store/Database.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmn16m -XX:CompileThresholdScaling=5

import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintWriter;
import java.net.BindException;
import java.net.InetSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/**
 * The message server: accepts connections and holds one conversation on each, on a virtual thread
 * of its own, as the classic server held each in a process of its own from {@code fork()}. A
 * conversation is one request and one reply, after which the server closes.
 *
 * <pre>
 *  clients        kernel           acceptor              conversation-1, -2, ...        store-writer
 *  connect  --->  backlog  --->    accept()
 *                                  start a thread  --->  read a Request  (Protocol)
 *  request  ------------------------------------------>  store it  ------------------>  commit,
 *                                                        wait         <--------------   many at once
 *  reply    <------------------------------------------  write the reply
 *                                                        close         a fetch: pages from
 *  acceptor: one platform thread                                       store-reader-1, -2
 *  conversations: one virtual thread each
 * </pre>
 *
 * <p>The engine prints nothing, never exits and installs no shutdown hook; {@link ServerCommand}
 * does.
 *
 * <p>Left out on purpose, but for {@link #require}: who may read a mailbox. As in the original,
 * whoever knows a name may fetch it; run the server on a network whose members trust each other.
 */
public final class MsgServer implements AutoCloseable {

    private final MessageStore store;
    private final Limits limits;
    private final Listener listener;
    private final Owners owners;
    private Tls tls; // null: plain connections, and a name is anybody's

    /**
     * A server that is not started yet.
     *
     * @param address where it listens; port 0 takes any free one
     * @param store stays the caller's, who closes it after this server
     * @param threads makes the thread of each conversation; {@code Thread.ofVirtual()} is meant
     */
    public MsgServer(
            InetSocketAddress address,
            MessageStore store,
            Limits limits,
            Listener listener,
            Thread.Builder threads) {
        this.address = address;
        this.store = store;
        owners = new Owners(store);
        this.limits = limits;
        this.listener = listener;
        this.threads = threads.name("conversation-", 1);
        accepting =
                new Trouble(listener, "Cannot accept connections: ", "Connections are accepted");
        storing = new Trouble(listener, "The message store fails: ", "Messages can be stored");
        reading = new Trouble(listener, "Mailboxes cannot be read: ", "Mailboxes can be read");
        places = new Semaphore(limits.connections());
        descriptors = new Semaphore(limits.connections() + WAITING);
        watchdog.setRemoveOnCancelPolicy(true);
    }

    /**
     * To be called before the start: speaks TLS only, and a name belongs to the first key that uses
     * it; null for plain connections.
     *
     * @throws MessageStore.StoreException when names belong to keys already, and there is no TLS
     */
    void require(Tls tls) throws MessageStore.StoreException {
        this.tls = tls;
        boolean owned;
        try {
            if (tls != null) {
                owners.prepare();
            }
            owned = tls == null && owners.any();
        } catch (MessageStore.StoreException e) {
            throw new MessageStore.StoreException(
                    "Cannot keep messages in %s: %s".formatted(store.place(), e.getMessage()), e);
        }
        if (owned) {
            throw new MessageStore.StoreException(
                    "Names in %s belong to keys: start with --tls.".formatted(store.place()), null);
        }
    }

    // ---------------------------------------------------------------- accepting

    /** How long to wait when no connection can be accepted. */
    private static final Duration ACCEPT_PAUSE = Duration.ofMillis(100);

    private final Thread.Builder threads;
    private final Trouble accepting;
    private final Semaphore descriptors;
    private ServerSocketChannel listening;

    /** The parent of the classic server; its fork() is here the start of a thread. */
    private void accept() {
        for (long number = 1; listening.isOpen(); number++) {
            SocketChannel client = null;
            descriptors.acquireUninterruptibly();
            try {
                client = listening.accept();
                threads.start(new Conversation(number, client));
            } catch (IOException | RuntimeException | Error e) {
                Connection.closeQuietly(client);
                descriptors.release();
                if (listening.isOpen()) {
                    cannotAccept(e);
                }
            }
        }
    }

    /**
     * Most likely descriptors or memory are used up, and others will give some back. Whatever it
     * is, the acceptor goes on, or the process would be up and deaf; but it does not spin.
     */
    private void cannotAccept(Throwable e) {
        try {
            accepting.noticed(e.getMessage());
        } catch (RuntimeException | Error unsaid) {
            // Tolerated: it will be said when there is memory for a sentence.
        }
        LockSupport.parkNanos(ACCEPT_PAUSE.toNanos());
    }

    // ---------------------------------------------------------------- one conversation

    /** A client that waited this long for its place is told that the server is busy. */
    private static final Duration BUSY_AFTER = Duration.ofSeconds(2);

    /** How many clients wait so at once; they need descriptors beyond the limit. */
    private static final int WAITING = 16;

    /** What one fetch needs at most: a page as messages, in bytes, and a copy of these. */
    private static final int FETCH_BYTES = 256 << 10;

    private final Semaphore places;
    private volatile boolean full;

    /** Each has a page in memory, for as long as its client does not take it. */
    private final Semaphore fetches =
            new Semaphore(
                    Math.clamp(Runtime.getRuntime().maxMemory() / 2 / FETCH_BYTES, 10, 50_000));

    private final Trouble storing;
    private final Trouble reading;

    /** The child of the classic server: reads one request, replies, closes. */
    private final class Conversation implements Runnable {
        private final long accepted = System.nanoTime();
        private final long number;
        private final Connection connection;
        private Protocol.Request request;
        private int committedTogether;
        private long sent; // messages
        private String outcome = "";
        private Duration untilReply;

        Conversation(long number, SocketChannel client) throws IOException {
            this.number = number;
            connection =
                    tls == null
                            ? new Connection(client, limits.timeout(), watchdog)
                            : new TlsConnection(client, limits.timeout(), watchdog, tls);
        }

        @Override
        public void run() {
            try (connection) {
                open.add(connection);
                accepting.over();
                tell(Listener.Step.ACCEPTED);
                converse();
                untilReply = sinceAccept();
                tell(Listener.Step.REPLIED);
            } catch (IOException e) {
                outcome += (outcome.isEmpty() ? "" : ", then ") + "cut off: " + e.getMessage();
            } catch (RuntimeException | Error e) {
                outcome = "failed: " + e;
                listener.trouble("A conversation failed: " + e);
            } finally {
                open.remove(connection);
                descriptors.release();
            }
            tell(Listener.Step.CLOSED);
        }

        private void converse() throws IOException {
            try {
                takePlace();
                try {
                    tell(Listener.Step.WAITING_FOR_REQUEST);
                    request = connection.readRequest();
                    tell(Listener.Step.REQUEST_READ);
                    switch (request) {
                        case Protocol.Store message -> store(message);
                        case Protocol.Fetch(var recipient) -> fetch(recipient);
                    }
                } finally {
                    places.release();
                }
            } catch (Protocol.RefusedException e) {
                outcome = e.refusal().text();
                connection.write(Protocol.line(outcome));
            }
        }

        /** Once one client has waited in vain, those behind it are told at once, until one fits. */
        private void takePlace() throws Protocol.RefusedException {
            try {
                full = !places.tryAcquire(full ? 0 : BUSY_AFTER.toMillis(), TimeUnit.MILLISECONDS);
            } catch (InterruptedException e) {
                throw new AssertionError("nobody interrupts a conversation", e);
            }
            if (full) {
                throw new Protocol.RefusedException(Protocol.Refusal.BUSY);
            }
        }

        private void requireOwner(String name)
                throws MessageStore.StoreException, Protocol.RefusedException {
            if (tls != null && !owners.owns(name, connection.clientKey())) {
                throw new Protocol.RefusedException(Protocol.Refusal.NOT_THE_OWNER);
            }
        }

        private void store(Protocol.Store message) throws IOException, Protocol.RefusedException {
            tell(Listener.Step.WAITING_FOR_COMMIT);
            try {
                requireOwner(message.sender());
                committedTogether =
                        store.store(message.recipient(), message.sender(), message.message());
                storing.over();
                tell(Listener.Step.COMMITTED);
            } catch (MessageStore.StoreException e) {
                storing.noticed(e.getMessage());
                throw new Protocol.RefusedException(Protocol.Refusal.NOT_STORED);
            }
            outcome = "stored";
            connection.write(Protocol.line(Protocol.STORED));
        }

        private void fetch(String recipient) throws IOException, Protocol.RefusedException {
            if (!fetches.tryAcquire()) {
                throw new Protocol.RefusedException(Protocol.Refusal.BUSY);
            }
            try {
                requireOwner(recipient);
                sendMailbox(recipient);
                outcome =
                        sent == 0 ? "no such name" : sent + (sent == 1 ? " message" : " messages");
            } catch (MessageStore.StoreException e) {
                reading.noticed(e.getMessage());
                if (sent == 0) {
                    throw new Protocol.RefusedException(Protocol.Refusal.BUSY);
                }
                throw new IOException("the rest of the mailbox cannot be read", e);
            } finally {
                fetches.release();
            }
        }

        /** Sends it page by page, so that memory stays flat however many messages it holds. */
        private void sendMailbox(String recipient) throws IOException, MessageStore.StoreException {
            MessageStore.Mailbox mailbox = store.fetch(recipient);
            ByteArrayOutputStream reply = new ByteArrayOutputStream();
            reply.writeBytes(Protocol.line(Protocol.RETRIEVING));
            while (mailbox.hasNext()) {
                List<MessageStore.Message> page = mailbox.nextPage();
                reading.over();
                for (MessageStore.Message message : page) {
                    Protocol.appendMessage(
                            reply, new Protocol.Store(recipient, message.sender(), message.text()));
                }
                sent += page.size();
                if (!mailbox.hasNext()) {
                    reply.writeBytes(
                            Protocol.line(
                                    sent == 0 ? Protocol.NO_SUCH_NAME : Protocol.NO_MORE_MESSAGES));
                }
                connection.write(reply.toByteArray());
                reply.reset();
            }
        }

        private Duration sinceAccept() {
            return Duration.ofNanos(System.nanoTime() - accepted);
        }

        private void tell(Listener.Step step) {
            Duration now = sinceAccept();
            listener.step(
                    step,
                    new Listener.Conversation(
                            number,
                            connection.peer(),
                            request,
                            committedTogether,
                            outcome,
                            now,
                            untilReply == null ? now : untilReply,
                            Thread.currentThread()));
        }
    }

    // ---------------------------------------------------------------- starting and ending

    /** How many connections the kernel keeps for us while we do not accept; Java's own is 50. */
    private static final int BACKLOG = 1024;

    /** How long conversations that were cut have for their last step. */
    private static final Duration AFTER_CUT = Duration.ofMillis(500);

    private final InetSocketAddress address;
    private final Set<Connection> open = ConcurrentHashMap.newKeySet();
    private final ScheduledThreadPoolExecutor watchdog =
            new ScheduledThreadPoolExecutor(
                    1, Thread.ofPlatform().daemon().name("reply-watchdog").factory());

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
        Connection.closeQuietly(listening);
        if (!allEndedWithin(limits.grace())) {
            open.forEach(connection -> connection.cut("the server ended"));
            allEndedWithin(AFTER_CUT);
        }
        watchdog.shutdownNow();
    }

    private boolean allEndedWithin(Duration time) {
        int all = limits.connections() + WAITING;
        try {
            boolean ended = descriptors.tryAcquire(all, time.toNanos(), TimeUnit.NANOSECONDS);
            if (ended) {
                descriptors.release(all);
            }
            return ended;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return false;
        }
    }

    // ---------------------------------------------------------------- the command

    /**
     * What {@code jbang MsgServer.java 5000} does. Exit code 0, 1 could not do it, 2 wrong usage.
     */
    @Command(
            name = "MsgServer",
            mixinStandardHelpOptions = true,
            version = "MsgServer 1.0",
            header = {
                "Examples:",
                "  jbang MsgServer.java 5000                      serve on port 5000",
                "  jbang MsgServer.java 5000 --bind 127.0.0.1     for this machine only",
                "  jbang MsgServer.java 0 --store class.db        any free port, own store",
                ""
            },
            description = "%nKeeps messages until their recipient fetches them. Ctrl+C ends it.%n",
            sortOptions = false,
            footer = {
                "",
                "Exit codes: 0 fine, 1 could not do it, 2 wrong usage; 130 and 143 after signals."
            })
    public static final class ServerCommand implements Callable<Integer> {
        @Mixin private Options options;
        @Spec private CommandSpec spec;

        private final Path home;
        private InetSocketAddress address;

        /** Keeps messages in the user's home, if no other place is given. */
        public ServerCommand() {
            this(Program.home());
        }

        /** As if {@code home} were the user's home. */
        public ServerCommand(Path home) {
            this.home = home;
        }

        /** Serves until the thread is interrupted or the process is told to end. */
        @Override
        public Integer call() {
            options.check();
            address = options.address();
            options.chooseCarriers();
            try {
                return serve(openStore());
            } catch (MessageStore.PlaceException e) {
                throw Program.wrong(spec, "--store", String.valueOf(options.store), e.getMessage());
            } catch (MessageStore.StoreException | Tls.KeyException e) {
                spec.commandLine().getErr().println(e.getMessage());
                return 1;
            }
        }

        private MessageStore openStore() throws MessageStore.StoreException {
            return options.store == null
                    ? MessageStore.inHome(home, options.maxBytes())
                    : new MessageStore(options.store, options.maxBytes());
        }

        private int serve(MessageStore store) throws MessageStore.StoreException, Tls.KeyException {
            Log log = options.log(spec.commandLine());
            MsgServer server =
                    new MsgServer(
                            address,
                            store,
                            Limits.withTimeout(Duration.ofSeconds(options.timeout)),
                            log,
                            options.threads.builder());
            Thread ending = Thread.ofPlatform().unstarted(() -> end(server, store, log));
            try {
                Tls tls = options.tls ? key(store.place()) : null;
                server.require(tls);
                Runtime.getRuntime().addShutdownHook(ending);
                server.start();
                announce(server.port(), store, tls);
                log.open();
                new CountDownLatch(1).await();
            } catch (MessageStore.StoreException | Tls.KeyException e) {
                store.close();
                throw e;
            } catch (IOException e) {
                Runtime.getRuntime().removeShutdownHook(ending);
                store.close();
                spec.commandLine().getErr().println(Addresses.cannotListen(address, e));
                return 1;
            } catch (InterruptedException e) {
                Runtime.getRuntime().removeShutdownHook(ending);
                ending.run();
            } catch (IllegalStateException e) {
                ending.run(); // told to end while still starting
            }
            return 0;
        }

        /** How long a database that does not answer holds up the end, after the conversations. */
        private static final Duration STORE_GRACE = Duration.ofMillis(500);

        private static void end(MsgServer server, MessageStore store, Log log) {
            server.close();
            store.close(STORE_GRACE);
            log.close("Goodbye. Every acknowledged message is kept.");
        }

        /** The server's own: beside the store, or in the home where that is elsewhere. */
        private Tls key(String place) throws Tls.KeyException {
            Path file =
                    place.startsWith("jdbc:")
                            ? home.resolve(".msg-server").resolve("key.pem")
                            : Path.of(place + ".key.pem");
            return new Tls(file, anyClient -> true);
        }

        /** The first words of the first line are fixed: programs wait for them. */
        private void announce(int port, MessageStore store, Tls tls) {
            PrintWriter out = spec.commandLine().getOut();
            out.println("Listening on port " + port + (tls == null ? "" : ", with TLS only"));
            out.println("Messages are kept in " + store.place());
            store.size().ifPresent(bytes -> out.println(options.size(bytes)));
            if (options.threads == Options.Threads.platform) {
                out.println("Each connection gets a platform thread");
            }
            String fingerprint = tls == null ? null : tls.fingerprint();
            Addresses.invitations(address.getAddress(), port, fingerprint).forEach(out::println);
            store.warnings().forEach(out::println);
            out.flush();
        }
    }

    /** Runs the command and ends the process with its exit code. */
    public static void main(String... args) {
        System.setProperty("jdk.console", "java.base"); // System.console() tells a terminal, again
        System.exit(commandLine(new ServerCommand()).execute(args));
    }

    /** The command with the error texts and exit codes of {@link ServerCommand}. */
    static CommandLine commandLine(ServerCommand command) {
        return Program.commandLine(command, "MsgServer.java");
    }
}
