///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Store-and-forward message server: one virtual thread per connection, durable mailboxes
//JAVA 21+
//DEPS info.picocli:picocli:4.7.7
//SOURCES Protocol.java
//SOURCES server/Limits.java
//SOURCES server/Listener.java
//SOURCES server/RequestLog.java
//SOURCES server/Program.java
//SOURCES store/MessageStore.java
//SOURCES store/Database.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror
//RUNTIME_OPTIONS -XX:+UseSerialGC -Xmn16m -XX:CompileThresholdScaling=5

import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintWriter;
import java.net.BindException;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.NetworkInterface;
import java.net.SocketAddress;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

/**
 * The message server: accepts connections and holds one conversation on each, on a virtual thread
 * of its own, as the classic server held each in a process of its own from {@code fork()}. A
 * conversation is one request and one reply, after which the server closes.
 *
 * <p>The engine prints nothing, never exits and installs no shutdown hook; {@link ServerCommand}
 * does.
 *
 * <p>Left out on purpose: who may read a mailbox. As in the original, whoever knows a name may
 * fetch it; run the server on a network whose members trust each other.
 */
public final class MsgServer implements AutoCloseable {

    /** How many connections the kernel keeps for us while we do not accept; Java's own is 50. */
    private static final int BACKLOG = 1024;

    /** After this long without a free place, the next client is told that the server is busy. */
    private static final Duration BUSY_AFTER = Duration.ofSeconds(2);

    /** How many clients are told so at once; they need descriptors from the reserve. */
    private static final int BUSY_AT_ONCE = 16;

    /** What one fetch needs at most: a page as messages, in bytes, and a copy of these. */
    private static final int FETCH_BYTES = 256 << 10;

    /** How long clients that the kernel has accepted already are still taken when closing. */
    private static final Duration LAST_ACCEPTS = Duration.ofMillis(200);

    private static final Duration MIN_ACCEPT_PAUSE = Duration.ofMillis(50);
    private static final Duration MAX_ACCEPT_PAUSE = Duration.ofSeconds(1);

    /** At the edge of the limit accepting fails and succeeds in turn: said once in this time. */
    private static final Duration SAY_AGAIN_AFTER = Duration.ofMinutes(1);

    /**
     * How much of the input that nobody asked for is read away before a close, and for how long.
     */
    private static final int DRAIN_BYTES = 1 << 20;

    private static final Duration DRAIN_TIME = Duration.ofSeconds(2);

    private final InetSocketAddress address;
    private final MessageStore store;
    private final Limits limits;
    private final Listener listener;
    private final Semaphore places;
    private final Semaphore busyPlaces = new Semaphore(BUSY_AT_ONCE);

    /** Each has a page in memory, for as long as its client does not take it. */
    private final Semaphore fetches =
            new Semaphore(
                    Math.clamp(Runtime.getRuntime().maxMemory() / 2 / FETCH_BYTES, 10, 50_000));

    private final Set<SocketChannel> open = ConcurrentHashMap.newKeySet();
    private final ScheduledThreadPoolExecutor watchdog =
            new ScheduledThreadPoolExecutor(
                    1, Thread.ofPlatform().daemon().name("reply-watchdog").factory());
    private final Thread acceptor =
            Thread.ofPlatform().name("acceptor").daemon(false).unstarted(this::accept);
    private ServerSocketChannel listening;
    private int port;
    private volatile boolean closing;
    private volatile SocketAddress waker;
    private volatile boolean storingFails;
    private volatile boolean readingFails;

    /** A server that is not started yet; it does not own {@code store}. */
    public MsgServer(
            InetSocketAddress address, MessageStore store, Limits limits, Listener listener) {
        this.address = address;
        this.store = store;
        this.limits = limits;
        this.listener = listener;
        places = new Semaphore(limits.connections());
        watchdog.setRemoveOnCancelPolicy(true);
    }

    /**
     * Binds and begins to accept.
     *
     * @throws BindException when the address or port cannot be had
     */
    public void start() throws IOException {
        listening = ServerSocketChannel.open();
        try {
            listening.bind(address, BACKLOG);
            port = ((InetSocketAddress) listening.getLocalAddress()).getPort();
        } catch (IOException e) {
            listening.close();
            throw e;
        }
        // The JDK sets up what wakes waiting virtual threads when the first one waits. Should all
        // descriptors be in use then, it fails for the rest of the process: so one waits now.
        Thread.ofVirtual().name("first-to-wait").start(MsgServer::waitOnce);
        acceptor.start();
    }

    private static void waitOnce() {
        try (DatagramSocket nobody = new DatagramSocket(0, InetAddress.getLoopbackAddress())) {
            nobody.setSoTimeout(1);
            nobody.receive(new DatagramPacket(new byte[1], 1));
        } catch (IOException e) {
            // As meant: it timed out.
        }
    }

    /** The port it listens on, also when 0 was asked for. */
    public int port() {
        return port;
    }

    /**
     * Stops accepting, lets conversations end within the grace, then cuts them. When it returns, no
     * conversation uses the store any more, unless the database itself does not answer.
     */
    @Override
    public void close() {
        closing = true;
        stopAccepting();
        if (!allPlacesFreeWithin(limits.grace())) {
            open.forEach(MsgServer::closeQuietly);
            allPlacesFreeWithin(BUSY_AFTER);
        }
        watchdog.shutdownNow();
    }

    /**
     * Closing the listening socket resets connections that the kernel has accepted for us already.
     * So the acceptor takes those first; a connection of our own wakes it.
     */
    private void stopAccepting() {
        if (acceptor.isAlive()) {
            InetAddress bound = address.getAddress();
            InetAddress here = bound.isAnyLocalAddress() ? InetAddress.getLoopbackAddress() : bound;
            try (SocketChannel wake = SocketChannel.open()) {
                waker = wake.bind(new InetSocketAddress(here, 0)).getLocalAddress();
                wake.configureBlocking(false); // with a full backlog it is awake, or out of places
                wake.connect(new InetSocketAddress(here, port));
                acceptor.join(LAST_ACCEPTS);
            } catch (IOException e) {
                // Tolerated: then those few are reset.
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
        closeQuietly(listening);
    }

    private boolean allPlacesFreeWithin(Duration time) {
        try {
            boolean free =
                    places.tryAcquire(limits.connections(), time.toNanos(), TimeUnit.NANOSECONDS);
            if (free) {
                places.release(limits.connections());
            }
            return free;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return false;
        }
    }

    // ---------------------------------------------------------------- accepting

    /** The parent of the classic server; its fork() is here the start of a virtual thread. */
    private void accept() {
        Thread.Builder threads = Thread.ofVirtual().name("conversation-", 1);
        Duration pause = MIN_ACCEPT_PAUSE;
        boolean troubled = false;
        long silentUntil = System.nanoTime();
        boolean busy = false;
        for (long number = 1; listening.isOpen(); ) {
            Semaphore place = null; // these two are ours until a conversation takes them over
            SocketChannel channel = null;
            try {
                busy = !places.tryAcquire(busy ? 0 : BUSY_AFTER.toMillis(), TimeUnit.MILLISECONDS);
                place = busy ? busyPlaces : places;
                if (busy) {
                    place.acquire();
                }
                if (closing) {
                    listening.configureBlocking(false);
                }
                channel = listening.accept();
                if (channel == null) {
                    closeQuietly(listening); // here and now, before the next one comes
                    return;
                }
                if (channel.getRemoteAddress().equals(waker)) {
                    continue;
                }
                if (busy && places.tryAcquire()) { // a place came free while nobody came
                    place.release();
                    place = places;
                }
                threads.start(new Conversation(number++, channel, place));
                place = null;
                channel = null;
                pause = MIN_ACCEPT_PAUSE;
                if (troubled) {
                    troubled = false;
                    listener.trouble("Connections are accepted again.");
                }
            } catch (IOException | OutOfMemoryError e) {
                // Out of descriptors or memory: others will give some back. Wait rather than spin.
                if (!closing) {
                    if (!troubled && System.nanoTime() - silentUntil >= 0) {
                        troubled = true;
                        silentUntil = System.nanoTime() + SAY_AGAIN_AFTER.toNanos();
                        listener.trouble("Cannot accept connections for now: " + e.getMessage());
                    }
                    pause = longer(pause);
                    sleep(pause);
                }
            } catch (InterruptedException e) {
                return; // nobody in this class interrupts the acceptor; whoever does wants its end
            } finally {
                closeQuietly(channel);
                if (place != null) {
                    place.release();
                }
            }
        }
    }

    private static Duration longer(Duration pause) {
        Duration doubled = pause.multipliedBy(2);
        return doubled.compareTo(MAX_ACCEPT_PAUSE) < 0 ? doubled : MAX_ACCEPT_PAUSE;
    }

    private static void sleep(Duration pause) {
        try {
            Thread.sleep(pause);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static void closeQuietly(AutoCloseable closeable) {
        try {
            if (closeable != null) {
                closeable.close();
            }
        } catch (Exception e) {
            // Tolerated: there is nothing more to be had from it.
        }
    }

    // ---------------------------------------------------------------- one conversation

    /** The child of the classic server: reads one request, replies, closes. */
    private final class Conversation implements Runnable, Protocol.TimedInput {
        private final long accepted = System.nanoTime();
        private final long number;
        private final SocketChannel channel;
        private final InetSocketAddress peer;
        private final Semaphore place;
        private boolean inputEnded;
        private Protocol.Request request;
        private String outcome;

        Conversation(long number, SocketChannel channel, Semaphore place) throws IOException {
            this.number = number;
            this.channel = channel;
            this.place = place;
            peer = (InetSocketAddress) channel.getRemoteAddress();
        }

        @Override
        public void run() {
            open.add(channel);
            try (channel) {
                channel.configureBlocking(false);
                converse();
                if (!inputEnded) {
                    drain();
                }
            } catch (IOException e) {
                String reason =
                        e instanceof ClosedChannelException ? "it took too long" : e.getMessage();
                outcome = (outcome == null ? "" : outcome + ", then ") + "cut off: " + reason;
            } catch (RuntimeException | Error e) {
                outcome = "failed: " + e;
                listener.trouble("A conversation failed: " + e);
            } finally {
                open.remove(channel);
                place.release();
            }
            listener.ended(ended());
        }

        private void converse() throws IOException {
            try {
                if (place == busyPlaces) {
                    throw new Protocol.RefusedException(Protocol.Refusal.BUSY);
                }
                request = Protocol.read(this, limits.timeout());
                switch (request) {
                    case Protocol.Store message -> store(message);
                    case Protocol.Fetch fetch -> {
                        if (!fetches.tryAcquire()) {
                            throw new Protocol.RefusedException(Protocol.Refusal.BUSY);
                        }
                        try {
                            fetch(fetch.recipient());
                        } finally {
                            fetches.release();
                        }
                    }
                }
            } catch (Protocol.RefusedException e) {
                outcome = e.refusal().text();
                send(Protocol.line(e.refusal().text()));
            }
        }

        private void store(Protocol.Store message) throws IOException, Protocol.RefusedException {
            try {
                store.store(message.recipient(), message.sender(), message.message());
            } catch (MessageStore.StoreException e) {
                if (!storingFails) {
                    storingFails = true;
                    listener.trouble("The message store fails: " + e.getMessage());
                }
                throw new Protocol.RefusedException(Protocol.Refusal.NOT_STORED);
            }
            if (storingFails) {
                storingFails = false;
                listener.trouble("Messages can be stored again.");
            }
            outcome = "stored";
            send(Protocol.line(Protocol.STORED));
        }

        private void fetch(String recipient) throws IOException, Protocol.RefusedException {
            MessageStore.Mailbox mailbox = store.fetch(recipient);
            ByteArrayOutputStream reply = new ByteArrayOutputStream();
            reply.writeBytes(Protocol.line(Protocol.RETRIEVING));
            long count = 0;
            List<MessageStore.Message> page;
            do {
                try {
                    page = mailbox.nextPage();
                } catch (MessageStore.StoreException e) {
                    if (!readingFails) {
                        readingFails = true;
                        listener.trouble("Mailboxes cannot be read: " + e.getMessage());
                    }
                    if (count == 0) {
                        throw new Protocol.RefusedException(Protocol.Refusal.BUSY);
                    }
                    throw new IOException("the rest of the mailbox cannot be read", e);
                }
                if (readingFails) {
                    readingFails = false;
                    listener.trouble("Mailboxes can be read again.");
                }
                for (MessageStore.Message message : page) {
                    Protocol.appendMessage(
                            reply, new Protocol.Store(recipient, message.sender(), message.text()));
                }
                count += page.size();
                if (page.size() < MessageStore.PAGE_SIZE) {
                    reply.writeBytes(
                            Protocol.line(
                                    count == 0
                                            ? Protocol.NO_SUCH_NAME
                                            : Protocol.NO_MORE_MESSAGES));
                }
                sendStretch(reply.toByteArray());
                reply.reset();
            } while (page.size() == MessageStore.PAGE_SIZE);
            outcome = count == 0 ? "no such name" : count + (count == 1 ? " message" : " messages");
        }

        /** For the first few bytes of a connection, which always fit into the kernel's buffer. */
        private void send(byte[] reply) throws IOException {
            channel.write(ByteBuffer.wrap(reply));
        }

        /**
         * A blocked write knows no timeout: another thread closes the connection at the deadline.
         */
        private void sendStretch(byte[] stretch) throws IOException {
            Future<?> cut =
                    watchdog.schedule(
                            () -> closeQuietly(channel),
                            limits.timeout().toNanos(),
                            TimeUnit.NANOSECONDS);
            channel.configureBlocking(true);
            try {
                for (ByteBuffer rest = ByteBuffer.wrap(stretch); rest.hasRemaining(); ) {
                    channel.write(rest);
                }
            } finally {
                cut.cancel(false);
            }
            channel.configureBlocking(false);
        }

        /**
         * Mostly the bytes are there already: one system call gets them without a timer. Only when
         * they are not, the channel's socket view waits, which needs more of both.
         */
        @Override
        public int read(byte[] buffer, int offset, int length, Duration limit) throws IOException {
            int count = channel.read(ByteBuffer.wrap(buffer, offset, length));
            if (count == 0) {
                channel.configureBlocking(true);
                try {
                    channel.socket().setSoTimeout((int) Math.max(1, limit.toMillis()));
                    count = channel.socket().getInputStream().read(buffer, offset, length);
                } finally {
                    if (channel.isOpen()) {
                        channel.configureBlocking(false);
                    }
                }
            }
            inputEnded = count < 0;
            return count;
        }

        /**
         * To close while input is unread, or still under way, would reset the connection and could
         * destroy the reply before the client has read it (RFC 1122, section 4.2.2.13).
         */
        private void drain() throws IOException {
            channel.shutdownOutput();
            long deadline = System.nanoTime() + DRAIN_TIME.toNanos();
            byte[] buffer = new byte[8192];
            for (int left = DRAIN_BYTES; left > 0; ) {
                Duration limit = Duration.ofNanos(deadline - System.nanoTime());
                if (!limit.isPositive()) {
                    return;
                }
                try {
                    int count = read(buffer, 0, Math.min(left, buffer.length), limit);
                    if (count < 0) {
                        return;
                    }
                    left -= count;
                } catch (SocketTimeoutException e) {
                    return; // it had its chance
                }
            }
        }

        private Listener.Ended ended() {
            String verb = null;
            String recipient = null;
            String sender = null;
            switch (request) {
                case Protocol.Store message -> {
                    verb = "store";
                    recipient = message.recipient();
                    sender = message.sender();
                }
                case Protocol.Fetch fetch -> {
                    verb = "fetch";
                    recipient = fetch.recipient();
                }
                case null -> {}
            }
            return new Listener.Ended(
                    number,
                    peer,
                    verb,
                    recipient,
                    sender,
                    outcome,
                    Duration.ofNanos(System.nanoTime() - accepted),
                    Thread.currentThread());
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
                "  jbang MsgServer.java 0 --store class.db        a free port, a store of its own",
                ""
            },
            description = "%nKeeps messages until their recipient fetches them. Ctrl+C ends it.%n",
            sortOptions = false,
            footer = {
                "",
                "Exit codes: 0 fine, 1 could not do it, 2 wrong usage; 130 and 143 after signals."
            })
    public static final class ServerCommand implements Callable<Integer> {
        private static final int LONGEST_TIMEOUT_S = 3600;

        @Parameters(
                index = "0",
                paramLabel = "PORT",
                description = "0 takes any free one. Environment: MSG_PORT")
        private int port;

        @Option(
                names = "--bind",
                paramLabel = "ADDRESS",
                description = "listen on this address only; all, if not given. MSG_BIND")
        private String bind;

        @Option(
                names = "--store",
                paramLabel = "FILE|jdbc:URL",
                description =
                        "where messages are kept: a file, or jdbc:postgresql://...;"
                                + " .msg-server/messages.db in your home, if not given. MSG_STORE")
        private String place;

        @Option(
                names = "--timeout",
                paramLabel = "SECONDS",
                defaultValue = "10",
                description =
                        "for a request as a whole, and for the client to take each stretch of the"
                                + " reply; 10, if not given. MSG_TIMEOUT")
        private int timeout;

        @Option(names = "--quiet", description = "no line for each request")
        private boolean quiet;

        @Spec private CommandSpec spec;

        private final Path home;
        private InetSocketAddress address;

        /** Keeps messages in the user's home, if no other place is given. */
        public ServerCommand() {
            this(
                    Path.of(
                            Objects.requireNonNullElse(
                                    System.getenv("HOME"), System.getProperty("user.home"))));
        }

        /** As if {@code home} were the user's home. */
        public ServerCommand(Path home) {
            this.home = home;
        }

        /** Serves until the thread is interrupted or the process is told to end. */
        @Override
        public Integer call() {
            check();
            PrintWriter out = spec.commandLine().getOut();
            PrintWriter err = spec.commandLine().getErr();
            MessageStore store;
            try {
                String standard = home.resolve(".msg-server").resolve("messages.db").toString();
                store = new MessageStore(place == null ? standard : place);
            } catch (MessageStore.StoreException e) {
                err.println(e.getMessage());
                return 1;
            }
            RequestLog log = new RequestLog(out, err, quiet);
            Limits standard = Limits.defaults();
            Limits limits =
                    new Limits(
                            Duration.ofSeconds(timeout), standard.connections(), standard.grace());
            MsgServer server = new MsgServer(address, store, limits, log);
            Thread ending =
                    Thread.ofPlatform()
                            .name("ending")
                            .unstarted(() -> {
                                server.close();
                                store.close();
                                log.close("Goodbye. Every acknowledged message is kept.");
                            });
            try {
                Runtime.getRuntime().addShutdownHook(ending);
                server.start();
                announce(out, server.port(), store.place());
                log.open();
                new CountDownLatch(1).await();
            } catch (IOException e) {
                Runtime.getRuntime().removeShutdownHook(ending);
                store.close();
                err.println(cannotListen(e));
                return 1;
            } catch (InterruptedException e) {
                Runtime.getRuntime().removeShutdownHook(ending);
                ending.run();
            } catch (IllegalStateException e) {
                ending.run(); // told to end while still starting
            }
            return 0;
        }

        private String cannotListen(IOException e) {
            try {
                InetAddress bound = address.getAddress();
                if (!bound.isAnyLocalAddress()
                        && NetworkInterface.getByInetAddress(bound) == null) {
                    return "This machine has no address " + bind + " to listen on.";
                }
            } catch (SocketException unknown) {
                // Then the first reason will have to do.
            }
            return ("Cannot listen on port %d: %s. If another program has it (on macOS, AirPlay"
                            + " Receiver holds 5000), take another one: jbang MsgServer.java %d")
                    .formatted(port, e.getMessage(), port == 5000 ? 5001 : 5000);
        }

        private void check() {
            if (port < 0 || port > 65_535) {
                throw Program.wrong(spec, "PORT", port, "PORT must be 0 to 65535, not " + port);
            }
            if (timeout < 1 || timeout > LONGEST_TIMEOUT_S) {
                throw Program.wrong(
                        spec,
                        "--timeout",
                        timeout,
                        "--timeout must be 1 to " + LONGEST_TIMEOUT_S + " seconds, not " + timeout);
            }
            try {
                address =
                        bind == null
                                ? new InetSocketAddress(port)
                                : new InetSocketAddress(InetAddress.getByName(bind), port);
            } catch (UnknownHostException e) {
                throw Program.wrong(spec, "--bind", bind, "--bind: there is no address " + bind);
            }
        }

        /** The first words of the first line are fixed: programs wait for them. */
        private void announce(PrintWriter out, int port, String place) {
            out.println("Listening on port " + port);
            out.println("Messages are kept in " + place);
            List<String> addresses = addressesForOthers(address.getAddress());
            for (String other : addresses) {
                out.printf("On another machine: jbang MsgClient.java %s %d%n", other, port);
            }
            if (addresses.isEmpty()) {
                InetAddress bound = address.getAddress();
                out.printf(
                        "On this machine only: jbang MsgClient.java %s %d%n",
                        bound.isAnyLocalAddress() ? "127.0.0.1" : bound.getHostAddress(), port);
            }
            out.flush();
        }

        private static List<String> addressesForOthers(InetAddress bound) {
            try {
                return NetworkInterface.networkInterfaces()
                        .flatMap(NetworkInterface::inetAddresses)
                        .filter(a -> !a.isLoopbackAddress() && !a.isLinkLocalAddress())
                        .filter(a -> bound.isAnyLocalAddress() || a.equals(bound))
                        .map(a -> a.getHostAddress().replaceFirst("%.*", ""))
                        .sorted()
                        .toList();
            } catch (SocketException e) {
                return List.of(); // only a hint is missing
            }
        }
    }

    /** Runs the command and ends the process with its exit code. */
    public static void main(String... args) {
        // Half the cores carry the conversations, the rest is for accepting and committing. With
        // more, threads wake each other more often than they find work.
        int carriers = Math.max(1, Runtime.getRuntime().availableProcessors() / 2);
        System.setProperty("jdk.virtualThreadScheduler.parallelism", String.valueOf(carriers));
        Thread.ofPlatform().daemon().name("load-ahead").start(MsgServer::loadAhead);
        System.exit(commandLine(new ServerCommand()).execute(args));
    }

    /** Loads, beside the command line's own classes, what takes longest to load. */
    private static void loadAhead() {
        MessageStore.loadAhead();
        Limits.defaults();
    }

    /** The command with the error texts and exit codes of {@link ServerCommand}. */
    static CommandLine commandLine(ServerCommand command) {
        return Program.commandLine(command, "MsgServer.java");
    }
}
