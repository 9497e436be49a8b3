///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Menu client of the message server: send a message, read your messages
//JAVA 21+
//DEPS info.picocli:picocli:4.7.7
//SOURCES Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror
//RUNTIME_OPTIONS -Djdk.console=java.base -XX:+UseSerialGC -XX:TieredStopAtLevel=1

import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

import java.io.BufferedInputStream;
import java.io.BufferedReader;
import java.io.EOFException;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ProtocolException;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.net.UnknownHostException;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.function.Consumer;
import java.util.function.Function;

/**
 * The message client: one request over one connection, and around it a menu that asks for what a
 * request needs first and connects last.
 *
 * <p>The request goes out in one write without a line end, then the sending side is shut down: of
 * all ways to end a request the one that the classic C server takes as well.
 */
public final class MsgClient {

    private static final Duration CONNECT_TIMEOUT = Duration.ofSeconds(5);
    private static final Duration READ_TIMEOUT = Duration.ofSeconds(10);

    private final String host;
    private final int port;

    /** Thrown, with one sentence for a person, when a request did not get what it asked for. */
    public static final class RequestException extends Exception {
        private static final long serialVersionUID = 1;

        RequestException(String sentence, Throwable cause) {
            super(sentence, cause);
        }
    }

    /** A client of the server at {@code host}, a name or an address, and {@code port}. */
    public MsgClient(String host, int port) {
        this.host = host;
        this.port = port;
    }

    // ---------------------------------------------------------------- one request

    /**
     * Puts a message into a mailbox; returns when the server says that it is stored.
     *
     * @throws RequestException when it is not, or when nobody can tell
     */
    public void store(String recipient, String sender, String message) throws RequestException {
        ask(new Protocol.Store(recipient, sender, message), Protocol.Stored.class, mail -> {});
    }

    /**
     * Gives each message of a mailbox to {@code mail} as it comes.
     *
     * @return how many there were
     * @throws RequestException when not all of them came
     */
    public long fetch(String recipient, Consumer<Protocol.Store> mail) throws RequestException {
        return ask(new Protocol.Fetch(recipient), Protocol.Mailbox.class, mail).count();
    }

    private <R extends Protocol.Reply> R ask(
            Protocol.Request request, Class<R> hopedFor, Consumer<Protocol.Store> mail)
            throws RequestException {
        try (Socket socket = connect()) {
            socket.setSoTimeout((int) READ_TIMEOUT.toMillis());
            socket.getOutputStream().write(request.bytes());
            socket.shutdownOutput();
            Protocol.Reply reply =
                    Protocol.readReply(new BufferedInputStream(socket.getInputStream()), mail);
            if (reply instanceof Protocol.Refused refused) {
                throw new RequestException(
                        "The server refused: " + Protocol.visible(refused.text()), null);
            }
            if (!hopedFor.isInstance(reply)) {
                throw new ProtocolException("not a reply to this request");
            }
            return hopedFor.cast(reply);
        } catch (SocketTimeoutException e) {
            throw new RequestException(
                    "The server at "
                            + server()
                            + " did not answer in time"
                            + inDoubt(request)
                            + ".",
                    e);
        } catch (EOFException e) {
            throw new RequestException(
                    "The server's reply was cut off" + inDoubt(request) + ".", e);
        } catch (IOException e) {
            throw new RequestException(
                    "The connection to %s failed%s: %s"
                            .formatted(server(), inDoubt(request), e.getMessage()),
                    e);
        }
    }

    private String server() {
        return host + " port " + port;
    }

    private static String inDoubt(Protocol.Request request) {
        return request instanceof Protocol.Store ? "; the message may or may not be stored" : "";
    }

    /** Tries each address of the host: {@code localhost} has two, and a C server listens on one. */
    private Socket connect() throws IOException, RequestException {
        IOException failure = null;
        try {
            for (InetAddress address : InetAddress.getAllByName(host)) {
                Socket socket = new Socket();
                try {
                    socket.connect(
                            new InetSocketAddress(address, port), (int) CONNECT_TIMEOUT.toMillis());
                    return socket;
                } catch (IOException e) {
                    socket.close();
                    failure = e;
                }
            }
        } catch (UnknownHostException e) {
            failure = e;
        }
        String sentence =
                switch (failure) {
                    case UnknownHostException e ->
                            "There is no host called " + Protocol.visible(host) + ".";
                    case ConnectException e ->
                            "No server answers at %s. To start one there: jbang MsgServer.java %d"
                                    .formatted(server(), port);
                    case SocketTimeoutException e ->
                            "The server at " + server() + " did not answer in time.";
                    default ->
                            "The connection to %s failed: %s"
                                    .formatted(server(), failure.getMessage());
                };
        throw new RequestException(sentence, failure);
    }

    // ---------------------------------------------------------------- the menu

    /**
     * The menu: asks, requests, shows; on any reader and writer. The order of its questions is the
     * interface for everyone who pipes input into it.
     *
     * <p>With a person it asks again for what cannot be sent. A pipe would answer that question
     * with its next line, meant for something else: there it says what is wrong and goes back to
     * the menu.
     */
    static final class Menu {
        private final MsgClient client;
        private final BufferedReader in;
        private final PrintWriter out;
        private final PrintWriter err;
        private final boolean interactive;
        private boolean failed;

        Menu(
                MsgClient client,
                BufferedReader in,
                PrintWriter out,
                PrintWriter err,
                boolean interactive) {
            this.client = client;
            this.in = in;
            this.out = out;
            this.err = err;
            this.interactive = interactive;
        }

        /** Thrown where the input ends, wherever that is. */
        private static final class InputEndedException extends IOException {
            private static final long serialVersionUID = 1;
        }

        /** Thrown in place of asking a pipe again. */
        private static final class BadAnswerException extends Exception {
            private static final long serialVersionUID = 1;
        }

        /**
         * Runs until the user leaves or the input ends.
         *
         * @param userName the user's name, or null to ask for it
         * @return whether every request succeeded
         */
        boolean run(String userName) throws IOException {
            try {
                String user = userName != null ? userName : askName("Your user name: ");
                while (choose(user)) {
                    out.println();
                }
            } catch (InputEndedException e) {
                out.println();
            } catch (BadAnswerException e) {
                failed = true; // without a name there is nothing to do
            }
            out.println("Goodbye.");
            out.flush();
            return !failed;
        }

        private boolean choose(String user) throws IOException {
            out.println("1. Send message");
            out.println("2. Read messages");
            out.println("3. Exit");
            String choice = ask("Your choice: ").strip();
            try {
                switch (choice) {
                    case "1" -> send(user);
                    case "2" -> read(user);
                    case "3" -> {
                        return false;
                    }
                    default -> {
                        complain("Please choose 1, 2 or 3.");
                        failed |= !interactive; // a script that has lost its place
                    }
                }
            } catch (RequestException e) {
                complain(e.getMessage());
                failed = true;
            } catch (BadAnswerException e) {
                failed = true; // said already
            }
            return true;
        }

        private void send(String user) throws IOException, RequestException, BadAnswerException {
            String recipient = askName("Recipient: ");
            String message =
                    askUntil("Message: ", text -> text, text -> objection(recipient, user, text));
            client.store(recipient, user, message);
            out.println("The message to " + Protocol.visible(recipient) + " is stored.");
        }

        private void read(String user) throws RequestException {
            long[] number = {0};
            long count = client.fetch(user, mail -> show(++number[0], mail));
            out.println(
                    switch ((int) Math.min(count, 2)) {
                        case 0 -> "There are no messages for " + Protocol.visible(user) + ".";
                        case 1 -> "That is the only message.";
                        default -> "These are all " + count + " messages.";
                    });
        }

        private void show(long number, Protocol.Store mail) {
            out.printf(
                    "%4d. %s: %s%n",
                    number, Protocol.visible(mail.sender()), Protocol.visible(mail.message()));
        }

        private String askName(String question) throws IOException, BadAnswerException {
            return askUntil(question, String::strip, Menu::objectionToName);
        }

        /** What is wrong with a name, or null. */
        static String objectionToName(String name) {
            if (name.isEmpty()) {
                return "A name cannot be empty.";
            }
            if (name.contains(";")) {
                return "A name cannot contain ';'.";
            }
            return objection("r", name, "m");
        }

        /**
         * What is wrong with a message, or null. The server would find the same, but less kindly.
         */
        private static String objection(String recipient, String sender, String message) {
            if (message.isEmpty()) {
                return "A message cannot be empty.";
            }
            byte[] request = new Protocol.Store(recipient, sender, message).bytes();
            int excess = request.length - Protocol.MAX_BUFF_LEN;
            if (excess > 0) {
                return "That is %d %s too long.".formatted(excess, excess == 1 ? "byte" : "bytes");
            }
            if ((recipient + sender + message).contains("\uFFFD")) {
                return "That holds characters that did not arrive as UTF-8.";
            }
            try {
                Protocol.parse(request, request.length);
                return null;
            } catch (Protocol.RefusedException e) {
                return "That cannot be sent: " + e.refusal().text();
            }
        }

        private String askUntil(
                String question, Function<String, String> tidy, Function<String, String> objection)
                throws IOException, BadAnswerException {
            while (true) {
                String answer = tidy.apply(ask(question));
                String wrong = objection.apply(answer);
                if (wrong == null) {
                    return answer;
                }
                complain(wrong);
                if (!interactive) {
                    throw new BadAnswerException();
                }
            }
        }

        private String ask(String question) throws IOException {
            out.print(question);
            out.flush();
            String answer = in.readLine();
            if (answer == null) {
                throw new InputEndedException();
            }
            if (!interactive) {
                out.println(); // a person's Enter ends the line of the question, a pipe's does not
            }
            return answer;
        }

        private void complain(String sentence) {
            out.flush();
            err.println(sentence);
            err.flush();
        }
    }

    // ---------------------------------------------------------------- the command

    /** What {@code jbang MsgClient.java 127.0.0.1 5000} does. */
    @Command(
            name = "MsgClient",
            mixinStandardHelpOptions = true,
            version = "MsgClient 1.0",
            header = {
                "Examples:",
                "  jbang MsgClient.java 127.0.0.1 5000                  a menu on this machine's"
                        + " server",
                "  jbang MsgClient.java localhost 5000 --user george    without being asked for a"
                        + " name",
                "  printf '1\\nKyriakos\\nhi Kyriakos\\n' | jbang MsgClient.java localhost 5000"
                        + " --user george",
                ""
            },
            description = "%nSends messages and reads yours.%n",
            sortOptions = false,
            footer = {
                "",
                "Exit codes: 0 fine, 1 a request failed or the input could not be sent,"
                        + " 2 wrong usage; 130 and 143 after signals."
            })
    public static final class ClientCommand implements Callable<Integer> {
        @Parameters(
                index = "0",
                paramLabel = "HOST",
                defaultValue = "${env:MSG_HOST}",
                description = "the server's name or address, IPv4 or IPv6. Environment: MSG_HOST")
        private String host;

        @Parameters(
                index = "1",
                paramLabel = "PORT",
                defaultValue = "${env:MSG_PORT}",
                description = "the server's port. MSG_PORT")
        private int port;

        @Option(
                names = "--user",
                paramLabel = "NAME",
                defaultValue = "${env:MSG_USER}",
                description = "your user name; asked for, if not given. MSG_USER")
        private String user;

        @Spec private CommandSpec spec;

        private final BufferedReader in;
        private final boolean interactive;

        /**
         * Asks on {@code in}; {@code interactive} when a person answers there, see {@link Menu}.
         */
        ClientCommand(BufferedReader in, boolean interactive) {
            this.in = in;
            this.interactive = interactive;
        }

        @Override
        public Integer call() throws IOException {
            if (port < 1 || port > 65_535) {
                throw new ParameterException(
                        spec.commandLine(), "PORT must be 1 to 65535, not " + port);
            }
            String objection = user == null ? null : Menu.objectionToName(user.strip());
            if (objection != null) {
                throw new ParameterException(
                        spec.commandLine(),
                        "--user: " + objection + " Without --user you are asked for the name.");
            }
            Menu menu =
                    new Menu(
                            new MsgClient(host, port),
                            in,
                            spec.commandLine().getOut(),
                            spec.commandLine().getErr(),
                            interactive);
            return menu.run(user == null ? null : user.strip()) ? 0 : 1;
        }
    }

    /** Runs the command and ends the process with its exit code. */
    public static void main(String... args) {
        BufferedReader in =
                new BufferedReader(new InputStreamReader(System.in, charset("stdin.encoding")));
        System.exit(commandLine(new ClientCommand(in, System.console() != null)).execute(args));
    }

    /** The command with the error texts and exit codes of {@link ClientCommand}. */
    static CommandLine commandLine(ClientCommand command) {
        CommandLine line = new CommandLine(command);
        line.setOut(writer(FileDescriptor.out)).setErr(writer(FileDescriptor.err));
        line.setParameterExceptionHandler((e, arguments) -> {
            line.getErr().println(Protocol.visible(e.getMessage()));
            line.getErr().println("What it takes: jbang MsgClient.java --help");
            return CommandLine.ExitCode.USAGE;
        });
        return line;
    }

    private static PrintWriter writer(FileDescriptor file) {
        return new PrintWriter(new FileOutputStream(file), true, charset("stdout.encoding"));
    }

    /** UTF-8, also where the locale is POSIX; a Windows console says what it speaks. */
    private static Charset charset(String property) {
        String console = System.getProperty(property);
        return console != null && System.getProperty("os.name").startsWith("Windows")
                ? Charset.forName(console)
                : StandardCharsets.UTF_8;
    }
}
