//JAVA 21+
//DEPS info.picocli:picocli:4.7.7
//SOURCES Addresses.java
//SOURCES Limits.java
//SOURCES Log.java
//SOURCES Trace.java
//SOURCES ../common/Program.java
//SOURCES ../common/Tls.java
//SOURCES ../store/MessageStore.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

import java.io.File;
import java.io.IOException;
import java.io.PrintWriter;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;

/**
 * What {@code jbang MsgServer.java 5000} does: reads the options, opens the store, starts the
 * server, announces it, and ends it in order. {@link Program} adds a variable for each option.
 */
@Command(
        name = "MsgServer",
        version = "MsgServer 1.0",
        mixinStandardHelpOptions = true,
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
public final class ServerCommand implements Callable<Integer> {
    /** What a connection can be given. */
    enum Threads {
        /** As many as there are connections, carried by a few platform threads (JEP 444). */
        virtual,
        /** A thread of the operating system each, to compare with. */
        platform;

        Thread.Builder builder() {
            return this == virtual ? Thread.ofVirtual() : Thread.ofPlatform();
        }
    }

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
    private File file; // a type for which Tab offers files; its path lacks a URL's second slash

    @Option(
            names = "--max-size",
            paramLabel = "SIZE",
            description =
                    "the file grows no larger, then messages are refused: 500M, 2G; no limit, if"
                            + " not given. MSG_MAX_SIZE")
    private String maxSize;

    @Option(
            names = "--timeout",
            paramLabel = "SECONDS",
            defaultValue = "10",
            description =
                    "for a request as a whole; three times as long for the client to take each"
                            + " 16 KB of the reply; 10, if not given. MSG_TIMEOUT")
    private int timeout;

    @Option(
            names = "--threads",
            paramLabel = "KIND",
            defaultValue = "virtual",
            description =
                    "what serves each connection: a virtual thread or, to compare, a platform"
                            + " thread; virtual, if not given. MSG_THREADS")
    private Threads threads;

    @Option(
            names = "--tls",
            fallbackValue = "true",
            description =
                    "TLS only, and a name belongs to the first key that uses it; the server's key"
                            + " is made beside the store. MSG_TLS")
    private boolean tls;

    @Option(
            names = "--quiet",
            fallbackValue = "true",
            description = "no line for each request. MSG_QUIET")
    private boolean quiet;

    @Option(
            names = "--trace",
            fallbackValue = "true",
            description = "a line for each step of each conversation. MSG_TRACE")
    private boolean trace;

    @Spec private CommandSpec spec;

    private final Path home;

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
        String place = file == null ? null : Program.text(spec.findOption("--store"));
        check(place);
        InetSocketAddress address = address();
        chooseCarriers();
        PrintWriter err = spec.commandLine().getErr();
        long most = maxBytes();
        Log log = log(); // takes the user's time zone, which Postgres changes to UTC
        try (MessageStore store =
                file == null ? MessageStore.inHome(home, most) : new MessageStore(place, most)) {
            serve(address, store, log);
            return Program.Exit.OK.code;
        } catch (MessageStore.PlaceException e) {
            throw Program.wrong(spec, "--store", String.valueOf(place), e.getMessage());
        } catch (MessageStore.StoreException | Tls.KeyException e) {
            err.println(e.getMessage());
        } catch (IOException e) {
            err.println(Addresses.cannotListen(address, e));
        }
        return Program.Exit.FAILED.code;
    }

    private void serve(InetSocketAddress address, MessageStore store, Log log)
            throws IOException, MessageStore.StoreException {
        Limits limits = Limits.of(Duration.ofSeconds(timeout), tls);
        Tls key = tls ? key(store) : null;
        MsgServer server = new MsgServer(address, store, limits, log, threads.builder(), key);
        Thread ending = Thread.ofPlatform().unstarted(() -> end(server, store, log));
        try {
            Runtime.getRuntime().addShutdownHook(ending);
        } catch (IllegalStateException e) {
            return; // told to end while it was still starting
        }
        try {
            server.start();
            var listening = new InetSocketAddress(address.getAddress(), server.port());
            if (announce(listening, store, key, limits)) {
                log.open();
                new CountDownLatch(1).await(); // for ever: the hook or an interrupt ends it
            }
            end(server, store, log);
        } catch (InterruptedException e) {
            end(server, store, log);
        } finally {
            Runtime.getRuntime().removeShutdownHook(ending);
        }
    }

    /** How long a database that does not answer holds up the end, after the conversations. */
    private static final Duration STORE_GRACE = Duration.ofMillis(500);

    private static void end(MsgServer server, MessageStore store, Log log) {
        server.close();
        store.close(STORE_GRACE);
        log.close("Goodbye. Every acknowledged message is kept.");
    }

    /** The server's key: beside the store or, where that is a database, in the home. */
    private Tls key(MessageStore store) throws Tls.KeyException {
        Path inHome = home.resolve(".msg-server/key.pem");
        Path file = store.file().map(it -> Path.of(it + ".key.pem")).orElse(inHome);
        return new Tls(file, anyClient -> true);
    }

    /**
     * The first words of the first line are fixed: programs wait for them.
     *
     * @return false when nobody gets that line, and so nobody would learn the port
     */
    private boolean announce(
            InetSocketAddress address, MessageStore store, Tls key, Limits limits) {
        PrintWriter out = spec.commandLine().getOut();
        out.printf(
                "Listening on port %d%s%n",
                address.getPort(), key == null ? "" : ", with TLS only");
        if (out.checkError()) {
            return false; // which Program reports
        }
        out.println("Messages are kept in " + store.place());
        store.file().ifPresent(file -> out.println(size(file.toFile().length())));
        if (threads == Threads.platform) {
            out.println("Each connection gets a platform thread");
        }
        Addresses.invitations(address, key).forEach(out::println);
        limits.warning(tls).ifPresent(out::println);
        store.warnings().forEach(out::println);
        out.flush();
        return true;
    }

    // ---------------------------------------------------------------- options

    /** Where to listen. */
    private InetSocketAddress address() {
        try {
            InetAddress one = bind == null ? null : InetAddress.getByName(bind);
            return new InetSocketAddress(one, port);
        } catch (UnknownHostException e) {
            throw Program.wrong(spec, "--bind", bind, "--bind: there is no address " + bind);
        }
    }

    /** Checks the numbers, and that there is a home where one is needed. */
    private void check(String place) {
        if (home == null && (place == null || tls && place.startsWith("jdbc:"))) {
            String sentence = "Your home is not known: set HOME, or --store FILE";
            throw new ParameterException(spec.commandLine(), sentence);
        }
        Program.requireRange(spec, "PORT", port, 0, 65_535, "");
        Program.requireRange(spec, "--timeout", timeout, 1, 3600, " seconds");
    }

    /** How large the store may get, in bytes; more than any will get, if there is no limit. */
    private long maxBytes() {
        if (maxSize == null) {
            return Long.MAX_VALUE;
        }
        if (!maxSize.matches("[1-9][0-9]{0,5}[MG]")) {
            String sentence = "--max-size must be so many MB or GB, such as 500M or 2G, not ";
            throw Program.wrong(spec, "--max-size", maxSize, sentence + maxSize);
        }
        long number = Long.parseLong(maxSize, 0, maxSize.length() - 1, 10);
        return number << (maxSize.endsWith("M") ? 20 : 30);
    }

    /** Says how much of what it may take the store takes. */
    private String size(long bytes) {
        String limit = maxSize == null ? "without a limit (--max-size)" : "of at most " + maxSize;
        double tenths = Math.ceil(bytes * 10.0 / (1 << 20));
        return "That is a file of %.1fM, %s".formatted(tenths / 10, limit);
    }

    /** The log that was asked for, on the command's writers. */
    private Log log() {
        PrintWriter out = spec.commandLine().getOut();
        PrintWriter err = spec.commandLine().getErr();
        return trace ? new Trace(out, err) : new Log(out, err, quiet);
    }

    /**
     * Half the processors carry the virtual threads, the rest is for accepting and committing. With
     * more, threads wake each other more often than they find work. A trace is to show
     * conversations that change their carrier, which takes two.
     */
    private void chooseCarriers() {
        int half = Math.max(trace ? 2 : 1, Runtime.getRuntime().availableProcessors() / 2);
        System.getProperties()
                .putIfAbsent("jdk.virtualThreadScheduler.parallelism", String.valueOf(half));
    }
}
