//JAVA 21+
//SOURCES Menu.java
//SOURCES Trust.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import java.util.function.Function;

/** The command {@code jbang MsgClient.java 127.0.0.1 5000}: checks options and runs the menu. */
@Command(
        mixinStandardHelpOptions = true,
        version = "MsgClient 1.0",
        header = {
            "Examples:",
            "  jbang MsgClient.java 127.0.0.1 5000                 on the server's own machine",
            "  jbang MsgClient.java localhost 5000 --user george   without being asked for a name",
            "  printf '1\\nKyriakos\\nhi\\n' | jbang MsgClient.java localhost 5000 --user george",
            ""
        },
        description = "%nSends messages and reads yours.%n",
        sortOptions = false,
        footer = {
            "",
            "Exit codes: 0 fine, 1 a request failed, the input could not be sent, or output"
                    + " was lost, 2 wrong usage; 130 and 143 after signals."
        })
public final class ClientCommand implements Callable<Integer> {
    @Parameters(
            index = "0",
            paramLabel = "HOST",
            description = "the server's name or address, IPv4 or IPv6. Environment: MSG_HOST")
    private String host;

    @Parameters(index = "1", paramLabel = "PORT", description = "the server's port. MSG_PORT")
    private int port;

    @Option(
            names = "--user",
            paramLabel = "NAME",
            description = "your user name; asked for, if not given. MSG_USER")
    private String user;

    @Option(
            names = "--tls",
            paramLabel = "KEY",
            arity = "0..1",
            fallbackValue = Trust.ANY,
            converter = ServerKey.class,
            description =
                    "use TLS, only with the server that printed this KEY; without KEY, the client"
                            + " shows the server's key and asks you once. MSG_TLS")
    private String tls;

    @Spec private CommandSpec spec;

    private final Path home;
    private final Function<PrintWriter, Answers> answering;

    /** A command for the user and the input of this process. */
    public ClientCommand() {
        this(Program.home(), Answers::ofThisProcess);
    }

    /**
     * A command for a test.
     *
     * @param home the user's home; null if it is not known
     * @param answering makes the source of answers; its argument is the writer for questions
     */
    ClientCommand(Path home, Function<PrintWriter, Answers> answering) {
        this.home = home;
        this.answering = answering;
    }

    /**
     * Checks KEY while picocli parses. In {@code --tls HOST PORT}, picocli takes HOST as the KEY.
     * Without this early check, picocli would report a missing PORT. MSG_TLS may also be true or
     * false, as for the server.
     */
    private static final class ServerKey implements CommandLine.ITypeConverter<String> {
        @Override
        public String convert(String typed) {
            if (typed.equalsIgnoreCase("false")) {
                return null;
            }
            return typed.equalsIgnoreCase(Trust.ANY) ? Trust.ANY : Tls.parseFingerprint(typed);
        }
    }

    @Override
    public Integer call() {
        check();
        PrintWriter out = spec.commandLine().getOut();
        PrintWriter err = spec.commandLine().getErr();
        Answers answers = answering.apply(out);
        try {
            Trust trust = home == null ? null : new Trust(home, host, port, tls, answers, out);
            Menu menu = new Menu(new MsgClient(host, port, trust), answers, out, err);
            return (menu.run(user) ? Program.Exit.OK : Program.Exit.FAILED).code;
        } catch (InterruptedIOException e) {
            return Program.Exit.INTERRUPTED.code; // Ctrl+C at the menu
        } catch (IOException e) {
            err.println(Protocol.visible(e.getMessage()));
            return Program.Exit.FAILED.code;
        }
    }

    private void check() {
        if (home == null && tls != null) {
            throw new ParameterException(spec.commandLine(), "Your home is not known: set HOME");
        }
        Program.requireRange(spec, "PORT", port, 1, 65_535);
        if (host.matches("[^:]*:\\d+")) {
            throw Program.wrong(spec, "HOST", "HOST and PORT are two words, not " + host);
        }
        String objection = user == null ? null : Menu.objection("r", Protocol.trimmed(user), "m");
        if (objection != null) {
            throw Program.wrong(spec, "--user", "--user: " + objection);
        }
    }
}
