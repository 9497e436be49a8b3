//JAVA 21+
//DEPS info.picocli:picocli:4.7.7
//SOURCES ../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import picocli.CommandLine;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Model.UsageMessageSpec;
import picocli.CommandLine.ParameterException;

import java.io.File;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintWriter;
import java.nio.charset.Charset;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;

/**
 * The command line of both programs: values may come from the environment, a wrong value gets one
 * sentence, lost output is a failure, and hints are commands that the user can type.
 *
 * <p>Each option and parameter has an environment variable: {@code MSG_MAX_SIZE} for {@code
 * --max-size}, {@code MSG_PORT} for {@code PORT}. An empty variable counts as unset.
 *
 * @param script the program's file, such as {@code MsgServer.java}
 * @param environment the environment variables
 * @param folder the working folder
 */
record Program(String script, Map<String, String> environment, Path folder) {

    /** The exit codes of both programs; after SIGTERM the JVM itself exits with 143. */
    enum Exit {
        /** Everything was done. */
        OK(0),
        /** Something failed; a sentence on stderr names the reason. */
        FAILED(1),
        /** The command line, or an environment variable, is wrong. */
        USAGE(2),
        /** The user pressed Ctrl+C: 128 + the number of SIGINT. */
        INTERRUPTED(130);

        final int code;

        Exit(int code) {
            this.code = code;
        }
    }

    /**
     * The command line of {@code command}, which {@code script} runs. This method also sets the
     * default locale. Numbers then look the same on every machine, so that programs can read them.
     */
    static CommandLine commandLine(Object command, String script) {
        Locale.setDefault(Locale.ROOT);
        return new Program(script, System.getenv(), Path.of("")).commandLine(command);
    }

    /** The user's home; null if neither HOME nor the system names one. */
    static Path home() {
        String home = System.getenv().getOrDefault("HOME", "");
        String place = home.isEmpty() ? System.getProperty("user.home") : home;
        return place.equals("?") ? null : Path.of(place);
    }

    /** The shell command that starts {@code script} for this user. */
    static String started(String script) {
        return new Program(script, System.getenv(), Path.of("")).started();
    }

    /**
     * An exception for a wrong value.
     *
     * @param name of the option or parameter, such as {@code --store} or {@code PORT}
     */
    static ParameterException wrong(CommandSpec spec, String name, String sentence) {
        ArgSpec argument =
                spec.args().stream().filter(a -> name(a).equals(name)).findFirst().orElseThrow();
        return new ParameterException(spec.commandLine(), sentence, argument, text(argument));
    }

    /** The value of {@code argument} as the user typed it, or else the value of its variable. */
    static String text(ArgSpec argument) {
        String inVariable = argument.defaultValueString().replace("$$", "$");
        return argument.originalStringValues().stream().findFirst().orElse(inVariable);
    }

    /** Throws if {@code value}, of the option or parameter {@code name}, is out of range. */
    static void requireRange(CommandSpec spec, String name, int value, int least, int most) {
        if (value < least || value > most) {
            String sentence = "%s must be %d to %d, not %d";
            throw wrong(spec, name, sentence.formatted(name, least, most, value));
        }
    }

    /** The command line; it prints through picocli's writers, so that a test can replace them. */
    CommandLine commandLine(Object command) {
        CommandLine line = new CommandLine(command);
        line.setOut(writer(FileDescriptor.out)).setErr(writer(FileDescriptor.err));
        // Values are literal: "@name" reads no file, and "${name}" is not replaced.
        line.setExpandAtFiles(false);
        line.setDefaultValueProvider(argument -> {
            String value = environment.getOrDefault(variable(argument), "");
            return value.isEmpty() ? null : value.replace("$", "$$");
        });
        line.setExecutionStrategy(parsed -> {
            for (ArgSpec argument : parsed.commandSpec().args()) {
                if (argument.originalStringValues().contains("")) {
                    String sentence = name(argument) + " cannot be empty";
                    throw new ParameterException(line, sentence, argument, "");
                }
            }
            return written(line, new CommandLine.RunLast().execute(parsed));
        });
        line.setParameterExceptionHandler((e, typed) -> {
            if (CommandLine.printHelpIfRequested(e.getCommandLine().getParseResult())) {
                return written(line, Exit.OK.code); // even if a variable is wrong
            }
            String value = e.getValue();
            boolean isTyped =
                    Stream.of(typed).anyMatch(w -> w.equals(value) || w.endsWith("=" + value));
            String source = value == null || isTyped ? "" : ", from " + variable(e.getArgSpec());
            String sentence = e.getMessage();
            if (e.getCause() != null) {
                // A conversion failed. Plain words replace the names of Java types.
                String reason = e.getCause().getMessage().replaceFirst("an int$", "a whole number");
                reason = reason.replaceFirst("a boolean$", "true or false");
                sentence = name(e.getArgSpec()) + ": " + reason;
            }
            line.getErr().println(Protocol.visible(sentence + source));
            line.getErr().println("All options: " + started() + " --help");
            return Exit.USAGE.code;
        });
        UsageMessageSpec usage = line.getCommandSpec().name(started()).usageMessage();
        String examples = String.join("%n", usage.header());
        usage.header(examples.replace("jbang " + script, started()));
        return line;
    }

    private static int written(CommandLine line, int exit) {
        if (line.getOut().checkError() || line.getErr().checkError()) {
            line.getErr().println("Not all output could be written.");
            return Exit.FAILED.code;
        }
        return exit;
    }

    private static String name(ArgSpec argument) {
        return argument instanceof OptionSpec option ? option.longestName() : argument.paramLabel();
    }

    private static String variable(ArgSpec argument) {
        String name = name(argument).replaceFirst("^--", "").replace('-', '_');
        return "MSG_" + name.toUpperCase(Locale.ROOT);
    }

    /**
     * The command that starts the script: from the working folder if the script is there, or else
     * as an installed command, or else from the launcher's folder. JBang's launchers, and ours, put
     * the name by which they were called into JBANG_LAUNCH_CMD.
     */
    String started() {
        File launcher = new File(environment.getOrDefault("JBANG_LAUNCH_CMD", "jbang"));
        String[] folders = environment.getOrDefault("PATH", "").split(File.pathSeparator);
        List<File> path = Stream.of(folders).map(File::new).toList();
        String jbang =
                path.contains(launcher.getParentFile()) ? launcher.getName() : launcher.getPath();
        String command = script.replaceFirst("Msg(.+)\\.java", "msg-$1").toLowerCase(Locale.ROOT);
        boolean here = Files.exists(folder.resolve(script));
        if (!here && path.stream().anyMatch(bin -> new File(bin, command).canExecute())) {
            return command;
        }
        File beside = new File(launcher.getParent(), script);
        boolean isBeside = !here && Files.exists(folder.resolve(beside.toPath()));
        return jbang + " " + (isBeside ? beside : script);
    }

    private static PrintWriter writer(FileDescriptor file) {
        return new PrintWriter(new FileOutputStream(file), true, charset("stdout.encoding"));
    }

    /** UTF-8, even in a POSIX locale; on Windows, the character set of the console. */
    static Charset charset(String windowsProperty) {
        boolean windows = System.getProperty("os.name").startsWith("Windows");
        return Charset.forName(windows ? System.getProperty(windowsProperty, "UTF-8") : "UTF-8");
    }
}
