//JAVA 21+
//SOURCES Addresses.java
//SOURCES Limits.java
//SOURCES Trace.java
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
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * The command {@code jbang MsgServer.java 5000}: reads the options, opens the store, starts the
 * server, announces it, and ends everything in order.
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
        description = "%nKeeps messages for their recipients. Ctrl+C ends the server.%n",
        sortOptions = false,
        footer = {
            "",
            "Exit codes: 0 fine, 1 failed, 2 wrong usage, 3 out of memory; 130 and 143 after"
                    + " signals."
        })
public final class ServerCommand implements Callable<Integer> {
    /** The kind of thread that serves a connection. */
    enum Threads {
        /** A virtual thread, which shares a few platform threads with all others (JEP 444). */
        virtual,
        /** A thread of the operating system, for comparison. */
        platform
    }

    @Parameters(
            index = "0",
            paramLabel = "PORT",
            description = "the port; 0 takes any free one. Environment: MSG_PORT")
    private int port;

    @Option(
            names = "--bind",
            paramLabel = "ADDRESS",
            description = "listen on this address only; all, if not given. MSG_BIND")
    private InetAddress bind;

    @Option(
            names = "--store",
            paramLabel = "FILE|jdbc:URL",
            description =
                    "the place of the messages: a file, or jdbc:postgresql://...;"
                            + " .msg-server/messages.db in your home, if not given. MSG_STORE")
    // A File, so that Tab completes the path. A File drops the second slash of a URL, so the method
    // openStore() takes the text.
    private File file;

    @Option(
            names = "--max-size",
            paramLabel = "SIZE",
            description = "the largest size of the file, such as 500M or 2G. MSG_MAX_SIZE")
    private String maxSize;

    @Option(
            names = "--timeout",
            paramLabel = "SECONDS",
            defaultValue = "10",
            description =
                    "the deadline of a whole request; three times as long for a client to take"
                            + " each 16 KB of the reply; 10, if not given. MSG_TIMEOUT")
    private int timeout;

    @Option(
            names = "--threads",
            paramLabel = "KIND",
            defaultValue = "virtual",
            description = "virtual (the default) or platform, for each connection. MSG_THREADS")
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
    private volatile boolean serving;

    /** A command for this process's user. */
    public ServerCommand() {
        this(Program.home());
    }

    /**
     * A command for one user.
     *
     * @param home the user's home; null if it is not known
     */
    public ServerCommand(Path home) {
        this.home = home;
    }

    /** Serves until the thread is interrupted or the process receives a signal. */
    @Override
    public Integer call() {
        Program.requireRange(spec, "PORT", port, 0, 65_535);
        Program.requireRange(spec, "--timeout", timeout, 1, 3600);
        PrintWriter out = spec.commandLine().getOut();
        PrintWriter err = spec.commandLine().getErr();
        // The log is made early: it keeps the user's time zone, and Postgres later sets UTC.
        RequestLog log = trace ? new Trace(out, err) : new RequestLog(out, err, quiet);
        chooseCarriers();
        CountDownLatch signal = new CountDownLatch(1);
        CompletableFuture<Void> ended = new CompletableFuture<>();
        try {
            Thread hook = Thread.ofPlatform().unstarted(() -> end(signal, ended));
            Runtime.getRuntime().addShutdownHook(hook); // early, for a signal during the start
            MessageStore store = openStore();
            try {
                serve(new InetSocketAddress(bind, port), store, log, signal);
            } finally {
                store.close(Duration.ofMillis(500)); // the longest wait for a silent database
            }
            log.close("Goodbye. Every acknowledged message is kept.");
            return Program.Exit.OK.code;
        } catch (MessageStore.StoreException | IOException | IllegalStateException e) {
            err.println(e.getMessage());
            return Program.Exit.FAILED.code;
        } finally {
            ended.complete(null);
        }
    }

    /** The shutdown hook: asks {@link #call} to end the server, and waits some seconds for it. */
    private void end(CountDownLatch signal, CompletableFuture<Void> ended) {
        signal.countDown();
        ended.completeOnTimeout(null, serving ? 10 : 5, TimeUnit.SECONDS).join();
    }

    private MessageStore openStore() throws MessageStore.StoreException {
        long most = maxBytes();
        try {
            return file == null
                    ? MessageStore.inHome(home(), most)
                    : new MessageStore(Program.text(spec.findOption("--store")), most);
        } catch (IllegalArgumentException e) {
            throw Program.wrong(spec, "--store", e.getMessage());
        }
    }

    private void serve(
            InetSocketAddress address, MessageStore store, RequestLog log, CountDownLatch signal)
            throws IOException, MessageStore.StoreException {
        Limits limits = Limits.of(Duration.ofSeconds(timeout), tls);
        Tls key = tls ? key(store) : null;
        var kind = threads == Threads.virtual ? Thread.ofVirtual() : Thread.ofPlatform();
        try (var server = new MsgServer(address, store, limits, log, kind, key)) {
            serving = true;
            server.start();
            if (announce(new InetSocketAddress(bind, server.port()), store, key, limits)) {
                log.open();
                signal.await();
            }
        } catch (InterruptedException e) {
            // Expected: an interrupt ends the server, as a signal does.
        } catch (IOException e) {
            throw new IOException(Addresses.cannotListen(address, e), e);
        }
    }

    /** The server's key: beside the store's file, or in the home if the store has no file. */
    private Tls key(MessageStore store) throws IOException {
        Path file =
                store.file()
                        .map(it -> Path.of(it + ".key.pem"))
                        .orElseGet(() -> home().resolve(".msg-server/key.pem"));
        return new Tls(file, anyClient -> true);
    }

    private Path home() {
        if (home == null) {
            String sentence = "Your home is not known: set HOME, or --store FILE";
            throw new ParameterException(spec.commandLine(), sentence);
        }
        return home;
    }

    /**
     * Prints the first lines. A program that starts a server waits for "Listening on port".
     *
     * @return false if a line could not be written; {@link Program} reports this
     */
    private boolean announce(
            InetSocketAddress address, MessageStore store, Tls key, Limits limits) {
        PrintWriter out = spec.commandLine().getOut();
        String only = key == null ? "" : ", with TLS only";
        out.println("Listening on port " + address.getPort() + only);
        out.println("Messages are kept in " + store.place());
        store.file().ifPresent(file -> out.println(size(file.toFile().length())));
        Addresses.invitations(address, key).forEach(out::println);
        limits.warning(tls).ifPresent(out::println);
        store.warnings().forEach(out::println);
        return !out.checkError();
    }

    /** The limit of the store in bytes; Long.MAX_VALUE without a limit. */
    private long maxBytes() {
        if (maxSize == null) {
            return Long.MAX_VALUE;
        }
        if (!maxSize.matches("[1-9][0-9]{0,5}[MG]")) {
            String sentence = "--max-size must be a number of MB or GB, such as 500M or 2G, not ";
            throw Program.wrong(spec, "--max-size", sentence + maxSize);
        }
        long number = Long.parseLong(maxSize, 0, maxSize.length() - 1, 10);
        return number << (maxSize.endsWith("M") ? 20 : 30);
    }

    /** A line about the size of the store and its limit. */
    private String size(long bytes) {
        String limit = maxSize == null ? "without a limit (--max-size)" : "of at most " + maxSize;
        double tenths = Math.ceil(bytes * 10.0 / (1 << 20));
        return "The file takes %.1fM, %s".formatted(tenths / 10, limit);
    }

    /**
     * Half the processors carry the virtual threads; the rest accept and commit. With more
     * carriers, threads wake each other more often than they find work. A trace gets at least two
     * carriers, so that it can show a conversation that changes its carrier.
     */
    private void chooseCarriers() {
        int half = Math.max(trace ? 2 : 1, Runtime.getRuntime().availableProcessors() / 2);
        System.getProperties()
                .putIfAbsent("jdk.virtualThreadScheduler.parallelism", String.valueOf(half));
    }
}
