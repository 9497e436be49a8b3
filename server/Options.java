//JAVA 21+
//DEPS info.picocli:picocli:4.7.7
//SOURCES Log.java
//SOURCES Program.java
//SOURCES Trace.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

import java.io.PrintWriter;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;

/**
 * What can be asked of the server's command; {@link Program} adds a variable for each. Methods
 * throw a {@link picocli.CommandLine.ParameterException} for a value that will not do.
 */
@Command(
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
final class Options {
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
    int port;

    @Option(
            names = "--bind",
            paramLabel = "ADDRESS",
            description = "listen on this address only; all, if not given. MSG_BIND")
    String bind;

    @Option(
            names = "--store",
            paramLabel = "FILE|jdbc:URL",
            description =
                    "where messages are kept: a file, or jdbc:postgresql://...;"
                            + " .msg-server/messages.db in your home, if not given. MSG_STORE")
    String store;

    @Option(
            names = "--max-size",
            paramLabel = "SIZE",
            description =
                    "the file grows no larger, then messages are refused: 500M, 2G; no limit, if"
                            + " not given. MSG_MAX_SIZE")
    String maxSize;

    @Option(
            names = "--timeout",
            paramLabel = "SECONDS",
            defaultValue = "10",
            description =
                    "for a request as a whole, and for the client to take each stretch of the"
                            + " reply; 10, if not given. MSG_TIMEOUT")
    int timeout;

    @Option(
            names = "--threads",
            paramLabel = "KIND",
            defaultValue = "virtual",
            description =
                    "what serves each connection: a virtual thread or, to compare, a platform"
                            + " thread; virtual, if not given. MSG_THREADS")
    Threads threads;

    @Option(
            names = "--tls",
            fallbackValue = "true",
            description =
                    "TLS only, and a name belongs to the first key that uses it; the server's key"
                            + " is made beside the store. MSG_TLS")
    boolean tls;

    @Option(
            names = "--quiet",
            fallbackValue = "true",
            description = "no line for each request. MSG_QUIET")
    boolean quiet;

    @Option(
            names = "--trace",
            fallbackValue = "true",
            description = "a line for each step of each conversation. MSG_TRACE")
    boolean trace;

    @Spec(Spec.Target.MIXEE)
    CommandSpec spec;

    /** Where to listen. */
    InetSocketAddress address() {
        try {
            return bind == null
                    ? new InetSocketAddress(port)
                    : new InetSocketAddress(InetAddress.getByName(bind), port);
        } catch (UnknownHostException e) {
            throw Program.wrong(spec, "--bind", bind, "--bind: there is no address " + bind);
        }
    }

    /** Looks at the numbers. */
    void check() {
        requireRange("PORT", port, 0, 65_535, "");
        requireRange("--timeout", timeout, 1, 3600, " seconds");
    }

    /** How large the store may get, in bytes; more than any will get, if there is no limit. */
    long maxBytes() {
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
    String size(long bytes) {
        String limit = maxSize == null ? "without a limit (--max-size)" : "of at most " + maxSize;
        double tenths = Math.ceil(bytes * 10.0 / (1 << 20));
        return "That is a file of %.1fM, %s".formatted(tenths / 10, limit);
    }

    private void requireRange(String name, int value, int least, int most, String unit) {
        if (value < least || value > most) {
            String sentence = "%s must be %d to %d%s, not %d";
            throw Program.wrong(
                    spec, name, value, sentence.formatted(name, least, most, unit, value));
        }
    }

    /** The log that was asked for, on the command's writers. */
    Log log() {
        PrintWriter out = spec.commandLine().getOut();
        PrintWriter err = spec.commandLine().getErr();
        return trace ? new Trace(out, err) : new Log(out, err, quiet);
    }

    /**
     * Half the processors carry the virtual threads, the rest is for accepting and committing. With
     * more, threads wake each other more often than they find work. A trace is to show
     * conversations that change their carrier, which takes two.
     */
    void chooseCarriers() {
        int half = Math.max(trace ? 2 : 1, Runtime.getRuntime().availableProcessors() / 2);
        System.getProperties()
                .putIfAbsent("jdk.virtualThreadScheduler.parallelism", String.valueOf(half));
    }
}
