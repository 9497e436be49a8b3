///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of ./jbang, the launcher for machines without JBang
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Commands.java
//SOURCES support/Waiting.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;

/**
 * The launcher runs with a home and a PATH of the test, where scripts replace JBang, Maven and
 * Java. The tests are quick and need no network. Every path contains a space.
 */
@DisabledOnOs(OS.WINDOWS)
class LauncherTest {
    /**
     * Replaces JBang: it prints a shell command with its arguments, each in quotes. Like JBang, it
     * loses an empty argument, replaces {@code @name} by the content of the file {@code name}, and
     * replaces {@code @@name} by {@code @name}.
     */
    private static final String JBANG_THAT_RUNS_PRINTF =
            """
            until [ "$1" = dev.jbang.Main ]; do shift; done
            shift
            printf %s "/bin/sh -c 'printf \\"<%s>\\n\\" \\"\\$@\\"' sh"
            for argument; do
                case $argument in
                '') printf ' '; continue ;;
                @@*) argument=${argument#@} ;;
                @*) argument=$(cat "${argument#@}") ;;
                esac
                printf " '%s'" "$(printf '%s' "$argument" | sed "s/'/'\\\\\\\\''/g")"
            done
            exit 255
            """;

    private static final String MAVEN_THAT_WORKS =
            """
            echo run >>"$HOME/maven-runs"
            echo "all of JBang" >"${2%pom.xml}jbang.jar"
            """;

    private static final List<String> GOTTEN = List.of("jbang-0.132.1.jar", "lock");
    private static final String PROGRAM_ENDS_WITH_7 = "echo \"/bin/sh -c 'exit 7'\"; exit 255";

    @TempDir Path folder;
    private Path home;
    private Path bin;
    private Path launcher;
    private final Map<String, String> environment = new HashMap<>();
    private final List<Process> processes = new ArrayList<>();

    private record Outcome(int status, String out, String err) {}

    @BeforeEach
    void emptyHomeAndPath() throws IOException {
        home = Files.createDirectory(folder.resolve("a home"));
        bin = Files.createDirectory(folder.resolve("a bin"));
        launcher = folder.resolve("a checkout/jbang");
        Commands.executable(launcher, Files.readString(TestMain.checkout().resolve("jbang")));
        for (var tool : List.of("cat", "mkdir", "mktemp", "mv", "rm", "sed", "sleep")) {
            command(tool, "exec '" + Commands.onPath(tool).orElseThrow() + "' \"$@\"");
        }
        for (var locking : List.of("flock", "perl")) { // Linux has flock, macOS has perl
            var there = Commands.onPath(locking);
            if (there.isPresent()) {
                command(locking, "exec '" + there.get() + "' \"$@\"");
            }
        }
        environment.put("HOME", home.toString());
        environment.put("PATH", bin.toString());
    }

    @AfterEach
    void killProcesses() {
        processes.forEach(process -> process.descendants().forEach(ProcessHandle::destroyForcibly));
        processes.forEach(Process::destroyForcibly);
    }

    @Test
    void installedJBangIsUsed() throws Exception {
        command("jbang", "printf '<%s>\\n' \"$@\"; cat; exit 3");
        var outcome = launch("typed in\n", "a b", "it's", "*", "$HOME", "", "\"", "two\nlines");
        assertEquals(
                "<a b>\n<it's>\n<*>\n<$HOME>\n<>\n<\">\n<two\nlines>\ntyped in\n", outcome.out());
        assertEquals(3, outcome.status());
    }

    @Test
    void installedJBangIsFoundBeforePathNamesIt() throws Exception {
        script(home.resolve(".jbang/bin/jbang"), "echo installed");
        assertEquals("installed\n", launch("").out());
    }

    @Test
    void linksAndCopiesOfTheLauncherAreNotUsedAsJBang() throws Exception {
        var copies = Files.createDirectory(folder.resolve("copies"));
        Commands.executable(copies.resolve("jbang"), Files.readString(launcher));
        var links = Files.createDirectory(folder.resolve("links"));
        Files.createSymbolicLink(links.resolve("jbang"), launcher);
        command("jbang", "echo real");
        environment.put("PATH", links + ":" + copies + ":" + bin);
        assertEquals("real\n", launch("").out());
    }

    @Test
    void scriptOnPathThatCallsTheLauncherIsNoEndlessCircle() throws Exception {
        command("jbang", "echo round >>\"$HOME/rounds\"; \"" + launcher + "\" \"$@\"");
        command("mvn", MAVEN_THAT_WORKS);
        java(PROGRAM_ENDS_WITH_7);
        assertEquals(7, launch("").status());
        assertEquals("round\n", Files.readString(home.resolve("rounds")));
    }

    @Test
    void missingJBangAndMavenAreReportedInOneSentence() throws Exception {
        var outcome = launch("");
        assertEquals(1, outcome.status());
        assertEquals("", outcome.out());
        assertTrue(
                outcome.err().matches("jbang: neither JBang nor .+ https://www.jbang.dev/.+\n"),
                outcome.err());
    }

    @Test
    void mavenGetsJBangOnce() throws Exception {
        command("mvn", MAVEN_THAT_WORKS);
        java(JBANG_THAT_RUNS_PRINTF);
        var first = launch("", "first");
        assertEquals("<first>\n", first.out());
        assertTrue(first.err().startsWith("Getting JBang 0.132.1 with Maven"), first.err());
        assertEquals(new Outcome(0, "<second>\n", ""), launch("", "second"));
        assertEquals("run\n", Files.readString(home.resolve("maven-runs")));
        assertEquals(GOTTEN, launcherFiles());
    }

    @Test
    void mavenGetsJBangForAnEditorToo() throws Exception {
        // A launch for an editor takes no lock. In an earlier version only the code of the lock
        // created the folder for JBang, so a launch for an editor failed.
        command("mvn", MAVEN_THAT_WORKS);
        java(PROGRAM_ENDS_WITH_7);
        assertEquals(7, launch("", "edit").status());
    }

    @Test
    void jbangsCacheFolderIsWhereItsVariablesSay() throws Exception {
        command("mvn", MAVEN_THAT_WORKS);
        java(PROGRAM_ENDS_WITH_7);
        environment.put("JBANG_DIR", folder.resolve("dir").toString());
        assertEquals(7, launch("").status());
        assertTrue(Files.exists(folder.resolve("dir/cache/launcher/jbang-0.132.1.jar")));
        environment.put("JBANG_CACHE_DIR", folder.resolve("cache").toString());
        assertEquals(7, launch("").status());
        assertTrue(Files.exists(folder.resolve("cache/launcher/jbang-0.132.1.jar")));
        assertFalse(Files.exists(home.resolve(".jbang")));
    }

    @Test
    void missingHomeIsReportedAndNoFileIsWritten() throws Exception {
        command("mvn", MAVEN_THAT_WORKS);
        java(PROGRAM_ENDS_WITH_7);
        environment.remove("HOME");
        assertEquals(
                new Outcome(1, "", "jbang: HOME is not set, so there is no place to keep JBang\n"),
                launch(""));
    }

    @Test
    void failureOfMavenIsShownAndLeavesNoFile() throws Exception {
        command("mvn", "echo 'half' >\"${2%pom.xml}jbang.jar\"; echo 'no network'; exit 1");
        java(PROGRAM_ENDS_WITH_7);
        var outcome = launch("");
        assertEquals(1, outcome.status());
        assertEquals("", outcome.out());
        assertTrue(outcome.err().contains("no network\njbang: Maven could not get"), outcome.err());
        assertEquals(List.of("lock"), launcherFiles());
    }

    @Test
    void oneJBangAtATimeWorksAndTheOtherWaits() throws Exception {
        // In an earlier version two launches of JBang on the same script broke each other's build,
        // at the first build and after each edit.
        command("mvn", MAVEN_THAT_WORKS);
        var waiting = flockTellsThatItWaits();
        for (var name : List.of("first", "edited")) {
            environment.put("BUILDS", home.resolve(name).toString());
            java(
                    "echo begin >>\"$BUILDS\"\n"
                            + "until [ -f \"$BUILDS.go\" ]; do sleep 0.01; done\n"
                            + "echo end >>\"$BUILDS\"\n"
                            + PROGRAM_ENDS_WITH_7);
            var first = start();
            Waiting.eventually(
                    "the first launch has begun", () -> Files.exists(home.resolve(name)));
            Files.deleteIfExists(waiting);
            var second = start();
            Waiting.eventually("the second launch waits", () -> Files.exists(waiting));
            Files.createFile(home.resolve(name + ".go"));
            assertEquals(7, end(first).status());
            assertEquals(
                    new Outcome(7, "", ""),
                    end(second),
                    "a launch without a terminal prints no message");
            assertEquals("begin\nend\nbegin\nend\n", Files.readString(home.resolve(name)));
        }
        assertEquals("run\n", Files.readString(home.resolve("maven-runs")));
        assertEquals(GOTTEN, launcherFiles());
    }

    @Test
    void theLauncherReportsItsWaitAtATerminal() throws Exception {
        // In an earlier version the report also went to files and pipes, and so into output that a
        // test compared.
        var terminal = Commands.onPath("script");
        assumeTrue(
                terminal.isPresent(), "the command `script`, which makes a terminal, is missing");
        var waiting = flockTellsThatItWaits();
        haveJBang(
                ": >\"$HOME/begun\"; until [ -f \"$HOME/go\" ]; do sleep 0.01; done; "
                        + PROGRAM_ENDS_WITH_7);
        var first = start();
        Waiting.eventually("the first launch has begun", () -> Files.exists(home.resolve("begun")));
        var checkout = launcher;
        launcher = folder.resolve("at a terminal");
        script(launcher, "exec " + terminal.get() + " -qec \"'" + checkout + "'\" /dev/null");
        environment.put("SHELL", "/bin/sh");
        var second = start();
        Waiting.eventually("the second launch waits", () -> Files.exists(waiting));
        Files.createFile(home.resolve("go"));
        assertEquals(7, end(first).status());
        assertEquals(
                new Outcome(7, "[jbang] Waiting for another start of JBang ...\r\n", ""),
                end(second));
    }

    /**
     * Replaces {@code flock}: an attempt with -w fails at once. Returns the file that appears when
     * a launch waits for another one.
     */
    private Path flockTellsThatItWaits() throws IOException {
        Commands.need("flock");
        command(
                "flock",
                "case $1 in -w) exit 1 ;; 9) : >\"$HOME/waits\" ;; esac; exec '"
                        + Commands.onPath("flock").orElseThrow()
                        + "' \"$@\"");
        return home.resolve("waits");
    }

    @Test
    void aRunningProgramOrEditorDoesNotBlockOtherStarts() throws Exception {
        haveJBang("case \"$*\" in *\" edit\") ;; *) echo /bin/cat; exit 255 ;; esac; exec cat");
        var running = List.of(start("edit"), start());
        assertEquals(new Outcome(0, "typed in\n", ""), launch("typed in\n"));
        for (var each : running) {
            assertTrue(each.isAlive());
            each.getOutputStream().close();
            assertEquals(0, end(each).status());
        }
    }

    @Test
    void aKilledStartDoesNotBlockTheNextOne() throws Exception {
        haveJBang("echo $$ >\"$HOME/java\"; exec sleep 60");
        var killed = start();
        var jbang = await("JBang", () -> pidIn(home.resolve("java")));
        killed.destroyForcibly();
        jbang.destroyForcibly();
        haveJBang(PROGRAM_ENDS_WITH_7);
        assertEquals(new Outcome(7, "", ""), launch(""));
    }

    @Test
    void terminatingAStartTerminatesJBang() throws Exception {
        // In an earlier version JBang continued its build after the launcher's end, and later
        // launches waited for this build.
        haveJBang("echo $$ >\"$HOME/java\"; exec sleep 60");
        var starting = start();
        var jbang = await("JBang", () -> pidIn(home.resolve("java")));
        starting.destroy();
        assertEquals(143, end(starting).status());
        Waiting.eventually("JBang ends", () -> !jbang.isAlive());
    }

    @Test
    void process1OfAContainerEndsOnSigterm() throws Exception {
        // The kernel drops a signal to process 1 unless the process handles the signal. In an
        // earlier version the shell did not handle any signal while JBang built.
        var container = List.of("unshare", "--pid", "--fork", "--kill-child");
        var unshare = Commands.onPath("unshare").map(Path::toString).orElse("false");
        assumeTrue(
                new ProcessBuilder(unshare, "--pid", "--fork", "true").start().waitFor() == 0,
                "this user may not create a container");
        command("unshare", "exec '" + unshare + "' \"$@\"");
        haveJBang("echo $$ >\"$HOME/java\"; exec sleep 60");
        var checkout = launcher;
        launcher = folder.resolve("in a container");
        script(launcher, "exec " + String.join(" ", container) + " '" + checkout + "'");
        var starting = start();
        Waiting.eventually("JBang runs", () -> Files.exists(home.resolve("java")));
        starting.children().forEach(ProcessHandle::destroy);
        assertEquals(143, end(starting).status());
    }

    @Test
    void aWaitingStartEndsOnSigterm() throws Exception {
        haveJBang("echo $$ >\"$HOME/java\"; exec sleep 60");
        start();
        await("the process of the first launch", () -> pidIn(home.resolve("java")));
        var second = start();
        await(
                "the second launch's wait for the lock",
                () -> second.children().findAny().orElse(null));
        second.destroy();
        assertEquals(143, end(second).status());
    }

    @Test
    void firstStartsThatBeginTogetherAllRun() throws Exception {
        command("mvn", MAVEN_THAT_WORKS);
        java(PROGRAM_ENDS_WITH_7);
        var starts = List.of(start(), start(), start(), start());
        for (var each : starts) {
            assertEquals(7, end(each).status());
        }
        assertEquals("run\n", Files.readString(home.resolve("maven-runs")));
        assertEquals(GOTTEN, launcherFiles());
    }

    @Test
    void terminatingTheFirstStartTerminatesMavenAndLeavesNoFile() throws Exception {
        var maven = halfWay();
        var starting = start();
        var mavenProcess = await("the process of Maven", maven);
        starting.destroy();
        assertEquals(143, end(starting).status());
        assertEquals(List.of("lock"), launcherFiles());
        Waiting.eventually("Maven ends", () -> !mavenProcess.isAlive());
    }

    @Test
    void theNextStartRepairsAKilledFirstStart() throws Exception {
        var maven = halfWay();
        var starting = start();
        var mavenProcess = await("the process of Maven", maven);
        starting.destroyForcibly();
        mavenProcess.destroyForcibly();
        end(starting);
        command("mvn", MAVEN_THAT_WORKS);
        assertEquals(7, launch("").status());
        var jar = home.resolve(".jbang/cache/launcher/jbang-0.132.1.jar");
        assertEquals("all of JBang\n", Files.readString(jar));
        assertEquals(GOTTEN, launcherFiles());
    }

    @Test
    void theProgramRunsInTheLaunchersProcess() throws Exception {
        haveJBang("echo \"/bin/sh -c 'echo \\$\\$; cat; exit 7'\"; exit 255");
        var process = start();
        process.getOutputStream().write("typed in\n".getBytes(UTF_8));
        process.getOutputStream().close();
        // A signal to the launcher reaches the program, because both are the same process.
        assertEquals(new Outcome(7, process.pid() + "\ntyped in\n", ""), end(process));
    }

    @Test
    void argumentsReachTheProgramUnchanged() throws Exception {
        // In an earlier version the launcher lost the empty value of --store "", and replaced
        // --user @al by the content of the file "al".
        haveJBang(JBANG_THAT_RUNS_PRINTF);
        Files.writeString(folder.resolve("al"), "from the file");
        assertEquals(
                "<a b>\n<it's>\n<*>\n<$HOME>\n<>\n<\">\n<two\nlines>\n<@al>\n<@@al>\n<>\n",
                launch("", "a b", "it's", "*", "$HOME", "", "\"", "two\nlines", "@al", "@@al", "")
                        .out());
    }

    @Test
    void closedStandardInputIsTheEndOfInput() throws Exception {
        // In an earlier version the JVM opened its own files in place of stdin. The client read the
        // bytes of these files as answers and sent two messages.
        var installed = bin.resolve("jbang");
        script(installed, "exec cat");
        assertEquals(new Outcome(0, "", ""), launchWithoutInput());
        Files.delete(installed);
        haveJBang("echo /bin/cat; exit 255");
        assertEquals(new Outcome(0, "", ""), launchWithoutInput());
    }

    private Outcome launchWithoutInput() throws Exception {
        var checkout = launcher;
        launcher = folder.resolve("without input");
        script(launcher, "exec \"" + checkout + "\" <&-");
        var outcome = launch("");
        launcher = checkout;
        return outcome;
    }

    @Test
    void programThatWritesToAFileOutlivesItsTerminal() throws Exception {
        // In an earlier version the SIGHUP of a closed terminal ended a server whose log went to a
        // file.
        java("echo \"/bin/sh -c 'kill -HUP \\$\\$; echo still here'\"; exit 255");
        command("mvn", MAVEN_THAT_WORKS);
        assertEquals("still here\n", launch("").out(), "the first launch");
        assertEquals(new Outcome(0, "still here\n", ""), launch(""));
    }

    @Test
    void programThatWritesElsewhereEndsWithItsTerminal() throws Exception {
        haveJBang("echo \"/bin/sh -c 'kill -HUP \\$\\$; echo still here'\"; exit 255");
        var checkout = launcher;
        launcher = folder.resolve("hangs up");
        script(launcher, "kill -HUP $$");
        assumeTrue(
                launch("").status() != 0,
                "this process ignores SIGHUP, so its children ignore it, too");
        launcher = folder.resolve("into a pipe");
        script(launcher, "{ '" + checkout + "'; echo $?; } | cat");
        assertEquals("129\n", launch("").out());
    }

    @Test
    void theCLocaleIsReplacedAsJavaWouldLoseCharactersInIt() throws Exception {
        // In an earlier version JBang did not find a checkout or a home with a Greek name, and a
        // PGPASSWORD arrived with other characters.
        haveJBang("printf '<%s> ' \"$LC_ALL\"; exit 0");
        assertEquals("<C.UTF-8> \n", launch("").out());
        environment.put("LANG", "el_GR.UTF-8");
        assertEquals("<> \n", launch("").out());
        environment.put("LC_ALL", "C");
        assertEquals("<C.UTF-8> \n", launch("").out());
        command("jbang", "echo \"$LC_ALL\"");
        assertEquals("C.UTF-8\n", launch("").out());
    }

    @Test
    void theProgramLearnsHowItWasStarted() throws Exception {
        haveJBang("echo \"/bin/sh -c 'echo \\$JBANG_LAUNCH_CMD'\"; exit 255");
        assertEquals(launcher + "\n", launch("").out());
    }

    @Test
    void jbangsOutputAndExitCodeArePassedOn() throws Exception {
        haveJBang("echo 'jbang --help'; echo 'and more'; exit 2");
        assertEquals(new Outcome(2, "jbang --help\nand more\n", ""), launch(""));
    }

    @Test
    void worksThroughALinkFromAnotherFolder() throws Exception {
        haveJBang("echo '/bin/sh -c pwd'; exit 255");
        var link = Files.createSymbolicLink(folder.resolve("a link"), launcher);
        launcher = link;
        assertEquals(folder.toRealPath() + "\n", launch("").out());
    }

    @Test
    void javaHomeIsUsedIfItIsRecentEnough() throws Exception {
        var mine = jdk(".sdkman/candidates/java/mine", "21.0.2");
        jdk(".sdkman/candidates/java/newer", "99");
        environment.put("JAVA_HOME", mine.toString());
        assertEquals(mine, chosenJdk());
    }

    @Test
    void javaOnPathIsPreferredToANewerOne() throws Exception {
        var mine = jdk(".sdkman/candidates/java/mine", "22-ea");
        jdk(".sdkman/candidates/java/newer", "99");
        Files.createSymbolicLink(bin.resolve("java"), mine.resolve("bin/java"));
        assertEquals(mine, chosenJdk());
    }

    @Test
    void newestJdkIsUsedIfJavaHomeAndPathAreTooOld() throws Exception {
        var old = jdk(".sdkman/candidates/java/old", "1.8.0_402");
        Files.createSymbolicLink(bin.resolve("java"), old.resolve("bin/java"));
        environment.put("JAVA_HOME", jdk(".sdkman/candidates/java/older", "17.0.1").toString());
        jdk(".jdks/b", "98.0.1");
        var newest = jdk(".jdks/c", "99.0.1+9");
        jdk(".jdks/d", "98.0.2");
        var withoutCompiler = jdk(".jdks/jre", "100");
        Files.delete(withoutCompiler.resolve("bin/javac"));
        assertEquals(newest, chosenJdk());
    }

    /** Runs a fake JBang that prints the JAVA_HOME it received. */
    private Path chosenJdk() throws Exception {
        command("jbang", "echo \"$JAVA_HOME\"");
        return Path.of(launch("").out().strip());
    }

    /** Creates the files of a JDK that the launcher checks. */
    private Path jdk(String name, String version) throws IOException {
        var jdk = home.resolve(name);
        script(jdk.resolve("bin/java"), "exit 1");
        script(jdk.resolve("bin/javac"), "exit 1");
        Files.writeString(
                jdk.resolve("release"),
                "IMPLEMENTOR=\"Nobody\"\nJAVA_VERSION=\"" + version + "\"\nOS_NAME=\"Linux\"\n");
        return jdk;
    }

    /** Sets JAVA_HOME to a fake JDK whose java runs this script. */
    private void java(String text) throws IOException {
        var jdk = jdk("jdk", "21");
        script(jdk.resolve("bin/java"), text);
        environment.put("JAVA_HOME", jdk.toString());
    }

    /** Puts JBang into the cache; the fake java runs this script. */
    private void haveJBang(String text) throws IOException {
        java(text);
        var jar = home.resolve(".jbang/cache/launcher/jbang-0.132.1.jar");
        Files.createDirectories(jar.getParent());
        Files.writeString(jar, "all of JBang\n");
    }

    /**
     * Makes a Maven that hangs after half of the jar. The result returns its process, or null
     * before that.
     */
    private Callable<ProcessHandle> halfWay() throws IOException {
        java(PROGRAM_ENDS_WITH_7);
        command(
                "mvn",
                "echo half >\"${2%pom.xml}jbang.jar\"\n"
                        + "echo $$ >\"$HOME/maven\"\n"
                        + "exec sleep 60");
        return () -> pidIn(home.resolve("maven"));
    }

    /** The process whose pid is in {@code file}, or null before the pid is written. */
    private static ProcessHandle pidIn(Path file) throws IOException {
        var pid = Files.exists(file) ? Files.readString(file) : "";
        return pid.endsWith("\n")
                ? ProcessHandle.of(Long.parseLong(pid.strip())).orElseThrow()
                : null;
    }

    private List<String> launcherFiles() throws IOException {
        try (var files = Files.list(home.resolve(".jbang/cache/launcher"))) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        }
    }

    private void command(String name, String text) throws IOException {
        script(bin.resolve(name), text);
    }

    private static void script(Path file, String text) throws IOException {
        Commands.executable(file, "#!/bin/sh\n" + text + "\n");
    }

    private Outcome launch(String input, String... arguments) throws Exception {
        var process = start(arguments);
        try (var stdin = process.getOutputStream()) {
            stdin.write(input.getBytes(UTF_8));
        }
        return end(process);
    }

    private Process start(String... arguments) throws IOException {
        var words = new ArrayList<>(List.of(launcher.toString()));
        words.addAll(List.of(arguments));
        var number = processes.size();
        var builder =
                new ProcessBuilder(words)
                        .directory(folder.toFile())
                        .redirectOutput(folder.resolve("out" + number).toFile())
                        .redirectError(folder.resolve("err" + number).toFile());
        builder.environment().clear();
        builder.environment().putAll(environment);
        processes.add(builder.start());
        return processes.getLast();
    }

    private Outcome end(Process process) throws Exception {
        assertTrue(process.waitFor(60, TimeUnit.SECONDS), "the launcher still runs after 60 s");
        var number = processes.indexOf(process);
        return new Outcome(
                process.exitValue(),
                Files.readString(folder.resolve("out" + number)),
                Files.readString(folder.resolve("err" + number)));
    }

    /** Repeats {@code question} until it returns a value, for at most 60 s. */
    private static <T> T await(String what, Callable<T> question) throws Exception {
        var deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
        while (System.nanoTime() < deadline) {
            var answer = question.call();
            if (answer != null) {
                return answer;
            }
            Thread.sleep(5);
        }
        throw new AssertionError("Waited 60 s for " + what);
    }
}
