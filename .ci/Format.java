///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Formats every Java file of the project; --check only lists the unformatted files
//JAVA 21+
//DEPS com.google.googlejavaformat:google-java-format:2.0.0
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror
//RUNTIME_OPTIONS --add-exports=jdk.compiler/com.sun.tools.javac.api=ALL-UNNAMED
//RUNTIME_OPTIONS --add-exports=jdk.compiler/com.sun.tools.javac.code=ALL-UNNAMED
//RUNTIME_OPTIONS --add-exports=jdk.compiler/com.sun.tools.javac.file=ALL-UNNAMED
//RUNTIME_OPTIONS --add-exports=jdk.compiler/com.sun.tools.javac.parser=ALL-UNNAMED
//RUNTIME_OPTIONS --add-exports=jdk.compiler/com.sun.tools.javac.tree=ALL-UNNAMED
//RUNTIME_OPTIONS --add-exports=jdk.compiler/com.sun.tools.javac.util=ALL-UNNAMED

import com.google.googlejavaformat.java.Formatter;
import com.google.googlejavaformat.java.FormatterException;
import com.google.googlejavaformat.java.JavaFormatterOptions;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * Runs google-java-format, AOSP style, on files that begin with JBang's directives. The directives
 * stay unchanged: the formatter would write {@code // JAVA 21+} and wrap long lines, which JBang
 * could not read. The text after the directives is formatted as a separate file.
 *
 * <p>Exit codes: 0 all files are formatted, 1 a file cannot be formatted or, with {@code --check},
 * needs formatting, 2 wrong usage.
 */
public final class Format {
    private static final Formatter FORMATTER =
            new Formatter(
                    JavaFormatterOptions.builder().style(JavaFormatterOptions.Style.AOSP).build());

    private Format() {}

    /** Formats the named files, or else all files of the checkout around the working folder. */
    public static void main(String[] args) throws IOException {
        var arguments = new ArrayList<>(List.of(args));
        var check = arguments.remove("--check");
        if (arguments.stream().anyMatch(argument -> argument.startsWith("-"))) {
            System.err.println("Usage: format [--check] [FILE...]");
            System.exit(2);
        }
        var files = arguments.stream().map(Path::of).toList();
        var good = true;
        for (var file : files.isEmpty() ? javaFiles(checkout()) : files) {
            good &= format(file, check);
        }
        System.exit(good ? 0 : 1);
    }

    /** Returns the nearest folder with a catalog, from the working folder upwards. */
    private static Path checkout() {
        for (var at = Path.of("").toAbsolutePath(); at != null; at = at.getParent()) {
            if (Files.exists(at.resolve("jbang-catalog.json"))) {
                return at;
            }
        }
        throw new IllegalStateException("Run this inside the checkout.");
    }

    /** Searches to depth 3: the programs, the folders beside them, the folders of the tests. */
    private static List<Path> javaFiles(Path checkout) throws IOException {
        try (Stream<Path> files =
                Files.find(checkout, 3, (file, kind) -> file.toString().endsWith(".java"))) {
            return files.map(Path.of("").toAbsolutePath()::relativize).sorted().toList();
        }
    }

    /** Returns whether the file is, or now is, well formatted. */
    private static boolean format(Path file, boolean check) throws IOException {
        var text = Files.readString(file);
        String formatted;
        try {
            formatted = formatted(text);
        } catch (FormatterException e) {
            System.err.println(file + ": " + e.getMessage());
            return false;
        }
        if (formatted.equals(text)) {
            return true;
        }
        if (check) {
            System.out.println("Needs formatting: " + file);
            return false;
        }
        Files.writeString(file, formatted);
        System.out.println("Formatted: " + file);
        return true;
    }

    /** Leaves the leading run of {@code //} lines alone, ends every line with LF. */
    private static String formatted(String text) throws FormatterException {
        var lines = text.lines().toList();
        var header = lines.stream().takeWhile(line -> line.startsWith("//")).toList();
        var body = String.join("\n", lines.subList(header.size(), lines.size())).strip();
        var formattedBody = FORMATTER.formatSourceAndFixImports(body + "\n");
        return header.isEmpty()
                ? formattedBody
                : String.join("\n", header) + "\n\n" + formattedBody;
    }
}
