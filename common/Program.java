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
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;

/**
 * What both programs are as commands: values that may come from the environment, one sentence for
 * what is wrong, an exit code that tells lost output, hints that the user can type.
 *
 * <p>Each option and parameter has a variable of its name: {@code --max-size} has {@code
 * MSG_MAX_SIZE}, {@code PORT} has {@code MSG_PORT}. An empty one is as good as none.
 */
record Program(String script, Map<String, String> environment, File folder) {

    /** How both programs end; after SIGTERM the JVM itself ends with 143. */
    enum Exit {
        /** All that was asked for is done. */
        OK(0),
        /** Something could not be done, which a sentence on stderr says. */
        FAILED(1),
        /** The command line, or a variable in its place, cannot be meant. */
        USAGE(2),
        /** Ctrl+C: 128 and the number of SIGINT. */
        INTERRUPTED(130);

        final int code;

        Exit(int code) {
            this.code = code;
        }
    }

    /**
     * The command line of {@code command}, the command of {@code script}. From here on numbers have
     * the same digits and points in every locale, since programs read them, too.
     */
    static CommandLine commandLine(Object command, String script) {
        Locale.setDefault(Locale.ROOT);
        return new Program(script, System.getenv(), new File(".")).commandLine(command);
    }

    /** Where a user's own files are; null where neither HOME nor the system knows. */
    static Path home() {
        String home = System.getenv().getOrDefault("HOME", "");
        String place = home.isEmpty() ? System.getProperty("user.home") : home;
        return place.equals("?") ? null : Path.of(place);
    }

    /** How the user who started this program can start {@code script}. */
    static String started(String script) {
        return new Program(script, System.getenv(), new File(".")).started();
    }

    /** To throw for a value that will not do; {@code name} is an option's or a parameter's. */
    static ParameterException wrong(CommandSpec spec, String name, Object value, String sentence) {
        ArgSpec argument =
                spec.args().stream().filter(a -> name(a).equals(name)).findFirst().orElseThrow();
        return new ParameterException(spec.commandLine(), sentence, argument, value.toString());
    }

    /** The text of a value: as it was typed, or else as its variable has it. */
    static String text(ArgSpec given) {
        String inVariable = given.defaultValueString().replace("$$", "$");
        return given.originalStringValues().stream().findFirst().orElse(inVariable);
    }

    /** Throws when {@code value}, of an option's or a parameter's {@code name}, is out of range. */
    static void requireRange(
            CommandSpec spec, String name, int value, int least, int most, String unit) {
        if (value < least || value > most) {
            String sentence = "%s must be %d to %d%s, not %d";
            throw wrong(spec, name, value, sentence.formatted(name, least, most, unit, value));
        }
    }

    /** Prints through picocli's writers, so that a test can replace them. */
    CommandLine commandLine(Object command) {
        CommandLine line = new CommandLine(command);
        line.setOut(writer(FileDescriptor.out)).setErr(writer(FileDescriptor.err));
        // A value is what it says: no file is read for "@name", no "${name}" replaced.
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
                return written(line, Exit.OK.code); // whatever is wrong in the environment
            }
            String value = e.getValue();
            boolean isTyped =
                    Stream.of(typed).anyMatch(w -> w.equals(value) || w.endsWith("=" + value));
            String source = value == null || isTyped ? "" : ", from " + variable(e.getArgSpec());
            String sentence = e.getMessage();
            if (e.getCause() != null) {
                // Without picocli's words around it, and in a person's words for a type.
                String reason = e.getCause().getMessage().replaceFirst("an int$", "a whole number");
                reason = reason.replaceFirst("a boolean$", "true or false");
                sentence = name(e.getArgSpec()) + ": " + reason;
            }
            line.getErr().println(Protocol.visible(sentence + source));
            line.getErr().println("What it takes: " + started() + " --help");
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
     * The script if it is in the working folder, else the installed command, else the script beside
     * our launcher. JBang's launchers, and ours, leave what they were called as in
     * JBANG_LAUNCH_CMD.
     */
    String started() {
        File launcher = new File(environment.getOrDefault("JBANG_LAUNCH_CMD", "jbang"));
        String[] folders = environment.getOrDefault("PATH", "").split(File.pathSeparator);
        List<File> path = Stream.of(folders).map(File::new).toList();
        String jbang =
                path.contains(launcher.getParentFile()) ? launcher.getName() : launcher.getPath();
        if (new File(folder, script).exists()) {
            return jbang + " " + script;
        }
        String command = script.replaceFirst("Msg(.+)\\.java", "msg-$1").toLowerCase(Locale.ROOT);
        if (path.stream().anyMatch(bin -> new File(bin, command).canExecute())) {
            return command;
        }
        File beside = folder.toPath().resolve(launcher.toPath()).resolveSibling(script).toFile();
        return jbang + " " + (beside.exists() ? new File(launcher.getParent(), script) : script);
    }

    private static PrintWriter writer(FileDescriptor file) {
        return new PrintWriter(new FileOutputStream(file), true, charset("stdout.encoding"));
    }

    /** UTF-8, also where the locale is POSIX; a Windows console says what it speaks. */
    static Charset charset(String windowsProperty) {
        boolean windows = System.getProperty("os.name").startsWith("Windows");
        return Charset.forName(windows ? System.getProperty(windowsProperty, "UTF-8") : "UTF-8");
    }
}
