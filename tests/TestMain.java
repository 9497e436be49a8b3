///usr/bin/env jbang "$0" "$@" ; exit $?
//JAVA 21+
//DEPS org.junit.jupiter:junit-jupiter:6.1.3
//DEPS org.junit.platform:junit-platform-console:6.1.3
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import org.junit.platform.console.ConsoleLauncher;

import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Runs JUnit's ConsoleLauncher on the jar that contains this class. A test class that names this
 * file in {@code //MAIN} and {@code //SOURCES} can run alone. Only this file pins JUnit's version.
 *
 * <p>The arguments are options of the ConsoleLauncher, with values joined by {@code =}, and names
 * of test classes or methods: {@code WireTest}, {@code TlsServerTest#tls12IsRefused}.
 */
public final class TestMain {
    private TestMain() {}

    /** Runs the tests and ends the process: 0 all passed, 1 some failed, 2 none found. */
    public static void main(String[] args) throws URISyntaxException {
        var options = new ArrayList<>(List.of("execute", "--disable-banner", "--fail-if-no-tests"));
        // JUnit reports a test that hangs, with the stack of every thread, and continues with the
        // other tests.
        options.add("--config=junit.jupiter.execution.timeout.testable.method.default=5 m");
        options.add("--config=junit.jupiter.execution.timeout.thread.mode.default=SEPARATE_THREAD");
        options.add("--config=junit.jupiter.execution.timeout.threaddump.enabled=true");
        // Seven classes run at once, since tests mostly wait for processes and deadlines.
        options.add("--config=junit.jupiter.execution.parallel.enabled=true");
        options.add("--config=junit.jupiter.execution.parallel.mode.classes.default=concurrent");
        options.add(
                "--config=junit.jupiter.execution.parallel.config.executor-service"
                        + "=WORKER_THREAD_POOL");
        // Long test classes have an order and start first, so that none of them runs alone at the
        // end.
        options.add(
                "--config=junit.jupiter.testclass.order.default"
                        + "=org.junit.jupiter.api.ClassOrderer$OrderAnnotation");
        options.add("--config=junit.jupiter.execution.parallel.config.strategy=fixed");
        options.add("--config=junit.jupiter.execution.parallel.config.fixed.parallelism=7");
        options.add("--config=junit.jupiter.execution.parallel.config.fixed.max-pool-size=7");
        var selected = false;
        for (var arg : args) {
            if (arg.matches("\\w+Test(#.+)?")) {
                arg = (arg.contains("#") ? "--select-method=" : "--select-class=") + arg;
            }
            selected |= arg.startsWith("--select");
            options.add(arg);
        }
        if (!selected) {
            // JUnit gets the jar by name, because a scan without a name looks only into folders.
            options.add("--scan-classpath=" + jar());
        }
        ConsoleLauncher.main(options.toArray(String[]::new));
    }

    /**
     * The checkout, for tests that start its scripts: the nearest folder with a catalog, from the
     * working folder upwards. A JBang script cannot find out the path of its source.
     */
    static Path checkout() {
        for (var at = Path.of("").toAbsolutePath(); at != null; at = at.getParent()) {
            if (Files.exists(at.resolve("jbang-catalog.json"))) {
                return at;
            }
        }
        throw new IllegalStateException("Run the tests inside the checkout.");
    }

    /**
     * An environment in which JBang uses the downloads and builds of the user's home, although the
     * test has its own home. Otherwise JBang would download and build everything again.
     */
    static Map<String, String> jbangsPlaces() {
        var env = System.getenv();
        var home = System.getProperty("user.home");
        var jbang = env.getOrDefault("JBANG_DIR", home + "/.jbang");
        return Map.of(
                "JBANG_CACHE_DIR", env.getOrDefault("JBANG_CACHE_DIR", jbang + "/cache"),
                "JBANG_REPO", env.getOrDefault("JBANG_REPO", home + "/.m2/repository"));
    }

    private static Path jar() throws URISyntaxException {
        return Path.of(TestMain.class.getProtectionDomain().getCodeSource().getLocation().toURI());
    }
}
