///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Checks any message server or client against the protocol, byte by byte
//JAVA 21+
//DEPS info.picocli:picocli:4.7.7
//SOURCES Case.java
//SOURCES Rule.java
//SOURCES ServerCheck.java
//SOURCES ServerUnderCheck.java
//SOURCES Talk.java
//SOURCES ClientCheck.java
//SOURCES ClientUnderCheck.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror
//RUNTIME_OPTIONS -XX:+UseSerialGC -XX:TieredStopAtLevel=1

import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.Callable;

/**
 * The conformance check, for programs of other authors who followed the README's section "The
 * protocol". It prints a line for each case, and the number of cases that passed.
 *
 * <p>It shares no code with this project's server and client. It spells out every byte of the
 * protocol a second time, so that it does not repeat a mistake of the server or the client.
 */
@Command(
        name = "./jbang check",
        mixinStandardHelpOptions = true,
        version = "check 1.0",
        subcommands = {Check.Server.class, Check.Client.class},
        header = {
            "Examples:",
            "  ${COMMAND-FULL-NAME} server 127.0.0.1 5000",
            "  ${COMMAND-FULL-NAME} server --run './server {port}'",
            "  ${COMMAND-FULL-NAME} client python3 client.py",
            ""
        },
        description = "%nChecks other people's servers and clients against the protocol.%n",
        footer = {"", "Exit codes: 0 all passed, 1 some failed, 2 wrong usage."})
public final class Check {
    /** The options of both commands. */
    @Command(
            mixinStandardHelpOptions = true,
            sortOptions = false,
            descriptionHeading = "%n",
            parameterListHeading = "%n",
            optionListHeading = "%n")
    abstract static class Common implements Callable<Integer> {
        @Spec CommandSpec spec;

        @Option(
                names = "--only",
                paramLabel = "TEXT",
                defaultValue = "",
                description = "runs only the cases with TEXT in their name")
        String only;

        @Override
        public Integer call() throws IOException, InterruptedException {
            Case.Report report = new Case.Report(spec.commandLine().getOut(), only);
            check(report);
            if (report.isEmpty()) {
                throw wrong("--only: no case has \"" + only + "\" in its name");
            }
            return report.end();
        }

        abstract void check(Case.Report report) throws IOException, InterruptedException;

        Duration duration(String option, int seconds) {
            if (seconds < 1 || seconds > 3600) {
                throw wrong(option + " must be 1 to 3600 seconds, not " + seconds);
            }
            return Duration.ofSeconds(seconds);
        }

        ParameterException wrong(String sentence) {
            return new ParameterException(spec.commandLine(), sentence);
        }
    }

    /** {@code check server}: the check plays the client. */
    @Command(
            name = "server",
            description = "Checks a server against the protocol, byte by byte. " + Server.LEAVES)
    static final class Server extends Common {
        private static final String LEAVES =
                "The check leaves more than 400 messages, each time in new mailboxes: give the"
                        + " server a separate store.";

        @Parameters(index = "0", arity = "0..1", paramLabel = "HOST")
        private String host;

        @Parameters(index = "1", arity = "0..1", paramLabel = "PORT")
        private Integer port;

        @Option(
                names = "--run",
                paramLabel = "COMMAND",
                description =
                        "in place of HOST PORT: starts the server with this shell command, in which"
                                + " {port} stands for its port. The check also kills the server"
                                + " (kill -9), starts it again, and looks for every acknowledged"
                                + " message")
        private String command;

        @Option(
                names = "--timeout",
                paramLabel = "SECONDS",
                defaultValue = "10",
                description = "the time that the server waits for a request; default: 10")
        private int timeout;

        @Override
        void check(Case.Report report) throws IOException, InterruptedException {
            Duration patience = patience();
            if (command == null) {
                if (!ServerUnderCheck.accepts(address())) {
                    throw new IOException("Nobody listens on " + host + " port " + port + ".");
                }
                spec.commandLine().getOut().println(LEAVES);
                new ServerCheck(address(), null, patience).run(report);
                report.notRun(ServerCheck.SURVIVES, "it needs --run, which kills the server");
            } else {
                try (ServerUnderCheck server = new ServerUnderCheck(command)) {
                    server.start();
                    ServerCheck check = new ServerCheck(server.address, server, patience);
                    if (check.run(report)) {
                        check.runRestart(report);
                    }
                }
            }
        }

        private Duration patience() {
            if (command != null && !command.contains("{port}")) {
                throw wrong("--run takes a command with {port} in it");
            }
            if ((command == null) == (port == null)) {
                throw wrong("Give either HOST and PORT or --run COMMAND");
            }
            return duration("--timeout", timeout);
        }

        private InetSocketAddress address() {
            if (port < 1 || port > 65_535) {
                throw wrong("PORT must be 1 to 65535, not " + port);
            }
            try {
                return new InetSocketAddress(InetAddress.getByName(host), port);
            } catch (UnknownHostException e) {
                throw wrong("There is no host called " + host);
            }
        }
    }

    /** {@code check client}: the check plays the server and the user. */
    @Command(
            name = "client",
            description =
                    "Runs COMMAND HOST PORT against a played server. The input has the answers of"
                            + " a user: a name; then for each request 1, a recipient and a"
                            + " message, or 2; then 3.")
    static final class Client extends Common {
        @Parameters(arity = "1..*", paramLabel = "COMMAND")
        private List<String> command;

        @Option(
                names = "--patience",
                paramLabel = "SECONDS",
                defaultValue = "30",
                description = "the time that a client may run after its first request; default: 30")
        private int patience;

        @Override
        void check(Case.Report report) throws InterruptedException {
            new ClientCheck(command, duration("--patience", patience)).run(report);
        }
    }

    /** Returns the command, which prints to {@code out} and {@code err}. */
    static CommandLine commandLine(PrintWriter out, PrintWriter err) {
        CommandLine line = new CommandLine(new Check()).setOut(out).setErr(err);
        // Options after the client's command belong to the client.
        line.getSubcommands().get("client").setStopAtPositional(true);
        line.setExecutionExceptionHandler((e, command, result) -> {
            if (e instanceof IOException || e instanceof UncheckedIOException) {
                err.println(e.getMessage()); // there is nothing to check
                return CommandLine.ExitCode.SOFTWARE;
            }
            throw e;
        });
        line.setParameterExceptionHandler((e, arguments) -> {
            err.println(e.getMessage());
            err.println("All options: " + line.getCommandName() + " --help");
            return CommandLine.ExitCode.USAGE;
        });
        return line;
    }

    /** Runs the command and ends the process with its exit code. */
    public static void main(String... args) {
        System.exit(commandLine(utf8(FileDescriptor.out), utf8(FileDescriptor.err)).execute(args));
    }

    private static PrintWriter utf8(FileDescriptor file) {
        return new PrintWriter(new FileOutputStream(file), true, StandardCharsets.UTF_8);
    }
}
