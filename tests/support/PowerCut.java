///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Cuts the power at many moments of a recorded run, and looks for lost messages
//JAVA 21+
//SOURCES ServerProcess.java
//SOURCES Load.java
//SOURCES ../../Protocol.java
//SOURCES ../../store/MessageStore.java
//SOURCES ../../MsgServer.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.BufferedReader;
import java.io.IOException;
import java.io.PrintWriter;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * The power-cut replay. A server under load runs under strace, which records its writes, syncs and
 * replies in their order. For many moments of the run, the replay builds two states of the files
 * that a power cut at this moment could leave. The first state has each file as of its last fsync.
 * The second state also has a random half of the later writes, some of them torn at sectors. The
 * replay opens each state like a server. Each state must have every message that was acknowledged
 * before this moment, once.
 *
 * <p>The counter-test is the same run with synchronous=NORMAL, in which acknowledged messages must
 * be missing. It proves that the replay can find losses.
 *
 * <pre>jbang tests/support/PowerCut.java 800   prints findings; exit code 1 after a failure
 * </pre>
 *
 * <p>The replay assumes that a disk keeps all data after its fsync has returned, that it writes
 * sectors of {@value #SECTOR} bytes whole, and that the fsync of a new file keeps its name, too.
 */
final class PowerCut {
    private static final int SECTOR = 512;
    private static final int CLIENTS = 16;
    private static final int MAILBOXES = 40;
    private static final int LONGEST_PIECE = 1 << 17;
    private static final String CALLS =
            "trace=read,recvfrom,write,sendto,pwrite64,fsync,fdatasync,ftruncate,unlink";

    private PowerCut() {}

    /** The settings of the recorded server. */
    enum Setting {
        /** The product's settings. */
        AS_IT_IS(""),
        /**
         * SQLite copies the WAL into the database every 20 pages. By default only a long run has
         * such copies (checkpoints).
         */
        OFTEN_CHECKPOINTED("PRAGMA wal_autocheckpoint = 20"),
        /** SQLite does not sync commits: the counter-test. */
        NORMAL("PRAGMA synchronous = NORMAL");

        private final String pragma;

        Setting(String pragma) {
            this.pragma = pragma;
        }
    }

    /**
     * The findings of a replay.
     *
     * @param states the number of examined power cuts
     * @param losing states in which an acknowledged message is missing
     * @param damaged states with another fault: a refused file, a torn or repeated message, a
     *     failed integrity check
     * @param example the first fault, or empty
     * @param acknowledged messages in the whole run
     * @param syncs of the files in the whole run
     * @param checkpoints the syncs of the database file under load, a part of {@code syncs}
     */
    record Verdict(
            int states,
            int losing,
            int damaged,
            String example,
            int acknowledged,
            int syncs,
            int checkpoints) {}

    /** Whether strace is installed and may trace processes. */
    static boolean possible() throws InterruptedException {
        try {
            return new ProcessBuilder("strace", "-o", "/dev/null", "true").start().waitFor() == 0;
        } catch (IOException e) {
            return false;
        }
    }

    /**
     * Records a run of {@code messages} stores in {@code folder} and cuts it at {@code states}
     * moments.
     */
    static Verdict replay(Path folder, Setting setting, int messages, int states) throws Exception {
        Path store = Files.createDirectory(folder.resolve("run")).resolve("messages.db");
        Path trace = folder.resolve("trace");
        var ledger = new Load.Ledger("mailbox-", MAILBOXES);
        var command = new ArrayList<>(List.of("strace", "-f", "--seccomp-bpf", "-y", "-xx", "-s"));
        command.addAll(List.of(Integer.toString(LONGEST_PIECE), "-e", CALLS, "-o"));
        command.add(trace.toString());
        command.addAll(
                setting == Setting.AS_IT_IS
                        ? ServerProcess.command(store, "--quiet")
                        : ServerProcess.java(
                                "PowerCut", "serve", store.toString(), setting.pragma));
        try (var server = new ServerProcess(command)) {
            try (var load = new Load(server.port(), ledger, "client", CLIENTS)) {
                load.await(() -> ledger.acknowledged() >= messages);
            }
            server.signal("TERM");
            server.awaitExit();
        }
        var disk = new Disk(store, new Load.Ledger("mailbox-", MAILBOXES));
        disk.read(trace, event -> {});
        int events = disk.events;
        if (disk.ledger.acknowledged() != ledger.acknowledged()) {
            throw new AssertionError(
                    "the trace shows %d acknowledgements, the clients had %d"
                            .formatted(disk.ledger.acknowledged(), ledger.acknowledged()));
        }
        var cuts = new Cuts(folder.resolve("cut"), events, states);
        var again = new Disk(store, new Load.Ledger("mailbox-", MAILBOXES));
        again.read(trace, cuts::at);
        return new Verdict(
                cuts.states,
                cuts.losing,
                cuts.damaged,
                cuts.example,
                ledger.acknowledged(),
                again.syncs,
                again.checkpoints);
    }

    // ---------------------------------------------------------------- the content of the disk

    /** The files as the trace writes them: the synced content, and the pending changes. */
    private static final class Disk {
        private static final String UNFINISHED = "<unfinished ...>";
        private static final Pattern LINE =
                Pattern.compile("(\\d+) +(?:<\\.\\.\\. )?(\\w+)(\\(| resumed>)");
        private static final Pattern RESULT = Pattern.compile("= (-?\\d+)");

        private final String prefix;
        private final String folder;
        private final Load.Ledger ledger;
        private final Map<String, DiskFile> files = new TreeMap<>();
        private final Map<String, StringBuilder> requests = new HashMap<>();
        private final Map<String, Unfinished> unfinished = new HashMap<>();
        private int events;
        private int syncs;
        private int checkpoints;
        private boolean acknowledgedAny;

        /** A call that has begun; {@code before} is the number of changes before it. */
        private record Unfinished(String text, int before) {}

        Disk(Path store, Load.Ledger ledger) {
            prefix = store.toAbsolutePath().toString();
            folder = store.toAbsolutePath().getParent().toString();
            this.ledger = ledger;
        }

        /** Gets the disk after each event, from the first acknowledgement on. */
        interface Observer {
            void after(Disk disk) throws Exception;
        }

        void read(Path trace, Observer observer) throws Exception {
            try (BufferedReader lines = Files.newBufferedReader(trace)) {
                for (String line; (line = lines.readLine()) != null; ) {
                    Matcher call = LINE.matcher(line);
                    if (call.lookingAt()
                            && accept(call, line.substring(call.end()))
                            && acknowledgedAny) {
                        events++;
                        observer.after(this);
                    }
                }
            }
        }

        /**
         * Processes one line; returns true if the line is about our files or an acknowledgement.
         */
        private boolean accept(Matcher call, String rest) throws Exception {
            String thread = call.group(1) + call.group(2);
            boolean begins = call.group(3).equals("(");
            boolean acknowledged = begins && isReply(call.group(2), rest);
            if (begins && rest.endsWith(UNFINISHED)) {
                unfinished.put(
                        thread, new Unfinished(rest.replace(UNFINISHED, "").strip(), written()));
                return acknowledged;
            }
            Unfinished begun = begins ? new Unfinished("", written()) : unfinished.remove(thread);
            if (begun == null) {
                return acknowledged;
            }
            Matcher result = RESULT.matcher(rest);
            if (!result.find(rest.lastIndexOf('"') + 1) || result.group(1).startsWith("-")) {
                return acknowledged;
            }
            String text = begun.text() + rest;
            return finished(call.group(2), text, Integer.parseInt(result.group(1)), begun.before())
                    || acknowledged;
        }

        private int written() {
            return files.values().stream().mapToInt(file -> file.issued).sum();
        }

        private boolean isReply(String name, String arguments) throws Exception {
            String target = target(arguments);
            if (!name.matches("write|sendto") || !target.startsWith("socket:")) {
                return false;
            }
            StringBuilder request = requests.remove(target);
            if (request == null || !string(arguments).equals("Message accepted and stored:\n")) {
                return false;
            }
            ledger.acknowledge(message(request));
            acknowledgedAny = true;
            return true;
        }

        private static Protocol.Store message(StringBuilder request) throws Exception {
            byte[] bytes = request.toString().getBytes(StandardCharsets.ISO_8859_1);
            return (Protocol.Store) Protocol.parse(bytes, bytes.length);
        }

        private boolean finished(String name, String text, int result, int before)
                throws Exception {
            String target = name.equals("unlink") ? string(text) : target(text);
            if (target.startsWith("socket:")) {
                if (name.matches("read|recvfrom") && result > 0) {
                    StringBuilder request =
                            requests.computeIfAbsent(target, socket -> new StringBuilder());
                    request.append(string(text));
                    if (request.toString().startsWith("store;")) {
                        ledger.sent(message(request));
                    }
                }
                return false;
            }
            if (name.equals("fsync") && target.equals(folder)) {
                files.values().forEach(DiskFile::syncName);
                return true;
            }
            if (!List.of(prefix, prefix + "-wal", prefix + "-journal").contains(target)) {
                return false;
            }
            DiskFile file = files.computeIfAbsent(target, path -> new DiskFile());
            switch (name) {
                case "pwrite64" ->
                        file.write(Arrays.copyOf(bytes(string(text)), result), number(text));
                case "ftruncate" -> file.truncate(number(text));
                case "unlink" -> file.unlink();
                case "fsync", "fdatasync" -> {
                    syncs++;
                    checkpoints += acknowledgedAny && target.equals(prefix) ? 1 : 0;
                    file.sync(before - (written() - file.issued));
                }
                case "read" -> {
                    return false;
                }
                default -> throw new IOException("not expected on a database file: " + name);
            }
            return true;
        }

        /** The target of a descriptor, which strace writes in angle brackets. */
        private static String target(String arguments) {
            int begin = arguments.indexOf('<');
            int end = arguments.indexOf('>');
            return begin < 0 || end < begin ? "" : unescape(arguments.substring(begin + 1, end));
        }

        /** The first argument in quotes. */
        private static String string(String arguments) {
            int begin = arguments.indexOf('"') + 1;
            int end = arguments.indexOf('"', begin);
            return end < 0 ? "" : unescape(arguments.substring(begin, end));
        }

        /** The last argument of a successful call. */
        private static int number(String text) {
            int end = text.lastIndexOf(')');
            return Integer.parseInt(text.substring(text.lastIndexOf(' ', end) + 1, end));
        }

        /** Decodes each {@code \xHH} into a byte; the result is a string of such bytes. */
        private static String unescape(String text) {
            var bytes = new StringBuilder(text.length() / 4);
            for (int i = 0; i < text.length(); i++) {
                if (text.startsWith("\\x", i)) {
                    bytes.append((char) HexFormat.fromHexDigits(text, i + 2, i + 4));
                    i += 3;
                } else {
                    bytes.append(text.charAt(i));
                }
            }
            return bytes.toString();
        }

        private static byte[] bytes(String text) {
            return text.getBytes(StandardCharsets.ISO_8859_1);
        }

        /** Writes the files after a power cut; without {@code random}, only synced data. */
        void cut(Path folder, Random random) throws IOException {
            for (Map.Entry<String, DiskFile> file : files.entrySet()) {
                Image image = file.getValue().cut(random);
                if (image.exists) {
                    Path path = folder.resolve(Path.of(file.getKey()).getFileName());
                    Files.write(path, Arrays.copyOf(image.bytes, image.length));
                }
            }
        }
    }

    /** The content of a file that may not exist. */
    private static final class Image {
        private boolean exists;
        private byte[] bytes = {};
        private int length;

        Image copy() {
            var copy = new Image();
            copy.exists = exists;
            copy.bytes = Arrays.copyOf(bytes, length);
            copy.length = length;
            return copy;
        }

        void write(byte[] data, int from, int count, int offset) {
            exists = true;
            grow(offset + count);
            System.arraycopy(data, from, bytes, offset, count);
        }

        void truncate(int size) {
            exists = true;
            grow(size);
            Arrays.fill(bytes, size, bytes.length, (byte) 0);
            length = size;
        }

        private void grow(int size) {
            if (size > bytes.length) {
                bytes = Arrays.copyOf(bytes, Math.max(size, 2 * bytes.length));
            }
            length = Math.max(length, size);
        }
    }

    /** A file's content as of its last fsync, and the later changes, which a power cut may lose. */
    private static final class DiskFile {
        private static final int UNLINK = -1;
        private static final int TRUNCATE = -2;

        /** {@code kind} is the offset of a write of {@code data}, or one of the constants above. */
        private record Change(int kind, byte[] data, int size) {}

        private final Image synced = new Image();
        private final List<Change> pending = new ArrayList<>();
        private int issued;

        void write(byte[] data, int offset) {
            change(new Change(offset, data, 0));
        }

        void truncate(int size) {
            change(new Change(TRUNCATE, null, size));
        }

        void unlink() {
            change(new Change(UNLINK, null, 0));
        }

        private void change(Change change) {
            pending.add(change);
            issued++;
        }

        /**
         * Makes the first {@code before} changes certain, which were issued before the fsync began.
         */
        void sync(int before) {
            int certain = Math.max(0, pending.size() - (issued - before));
            pending.subList(0, certain).forEach(change -> apply(synced, change, null));
            pending.subList(0, certain).clear();
        }

        /** A deletion becomes certain when the folder is synced. */
        void syncName() {
            for (int i = pending.size() - 1; i >= 0; i--) {
                if (pending.get(i).kind() == UNLINK) {
                    sync(issued - (pending.size() - 1 - i));
                    return;
                }
            }
        }

        Image cut(Random random) {
            Image image = synced.copy();
            if (random != null) {
                for (Change change : pending) {
                    if (random.nextBoolean()) {
                        apply(image, change, random);
                    } else if (change.kind() == UNLINK) {
                        break; // later changes belong to another file of the same name
                    }
                }
            }
            return image;
        }

        private static void apply(Image image, Change change, Random random) {
            switch (change.kind()) {
                case UNLINK -> {
                    image.truncate(0);
                    image.exists = false;
                }
                case TRUNCATE -> image.truncate(change.size());
                default -> {
                    boolean torn = random != null && random.nextInt(4) == 0;
                    int step = torn ? SECTOR : Math.max(1, change.data().length);
                    for (int at = 0; at < change.data().length; at += step) {
                        if (!torn || random.nextBoolean()) {
                            int count = Math.min(step, change.data().length - at);
                            image.write(change.data(), at, count, change.kind() + at);
                        }
                    }
                }
            }
        }
    }

    // ---------------------------------------------------------------- the cuts

    /** Cuts the power at moments spread over the run, and checks the remaining files. */
    private static final class Cuts {
        private final Path folder;
        private final int events;
        private final int wanted;
        private final Random random = new Random(1);
        private int states;
        private int losing;
        private int damaged;
        private String example = "";

        Cuts(Path folder, int events, int wanted) {
            this.folder = folder;
            this.events = events;
            this.wanted = wanted;
        }

        void at(Disk disk) throws Exception {
            // Each chosen moment gives two states.
            while (states < wanted
                    && disk.events >= (long) events * (states / 2 * 2 + 2) / wanted) {
                judge(disk, states % 2 == 0 ? null : random);
            }
        }

        private void judge(Disk disk, Random half) throws Exception {
            Path here = Files.createDirectories(folder.resolve(Integer.toString(states++)));
            disk.cut(here, half);
            Path file = here.resolve("messages.db");
            List<String> problems;
            try {
                new MessageStore(file.toString()).close();
                problems = disk.ledger.problems(Load.Ledger.contentOf(file));
            } catch (MessageStore.StoreException | SQLException e) {
                problems = List.of("refused: " + e.getMessage());
            }
            boolean lost = problems.stream().anyMatch(problem -> problem.startsWith("lost: "));
            losing += lost ? 1 : 0;
            damaged += problems.stream().allMatch(problem -> problem.startsWith("lost: ")) ? 0 : 1;
            if (!problems.isEmpty() && example.isEmpty()) {
                example =
                        "state %d, event %d: %s"
                                .formatted(states, disk.events, problems.getFirst());
            }
            delete(here);
        }
    }

    private static void delete(Path folder) throws IOException {
        try (Stream<Path> all = Files.walk(folder)) {
            for (Path path : all.toList().reversed()) {
                Files.delete(path);
            }
        }
    }

    // ---------------------------------------------------------------- the programs

    /** Runs a server that adds one pragma to each connection, after the product's own settings. */
    private static void serve(String place, String pragma) throws Exception {
        var store =
                new MessageStore(
                        place, Long.MAX_VALUE, connection -> withPragma(connection, pragma));
        var log = new RequestLog(new PrintWriter(System.out), new PrintWriter(System.err), true);
        var server =
                new MsgServer(
                        new InetSocketAddress(InetAddress.getLoopbackAddress(), 0),
                        store,
                        Limits.of(Duration.ofSeconds(10), false),
                        log,
                        Thread.ofVirtual(),
                        null);
        server.start();
        Runtime.getRuntime()
                .addShutdownHook(
                        new Thread(() -> {
                            server.close();
                            store.close();
                        }));
        System.out.println("Listening on port " + server.port());
        log.open();
    }

    private static Connection withPragma(Connection connection, String pragma) {
        return (Connection)
                Proxy.newProxyInstance(
                        PowerCut.class.getClassLoader(),
                        new Class<?>[] {Connection.class},
                        (proxy, method, arguments) -> {
                            if (method.getName().equals("prepareStatement")
                                    && arguments[0].toString().startsWith("SELECT id, sender")) {
                                try (Statement statement = connection.createStatement()) {
                                    statement.execute(pragma);
                                }
                            }
                            try {
                                return method.invoke(connection, arguments);
                            } catch (InvocationTargetException e) {
                                throw e.getCause();
                            }
                        });
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length == 3 && arguments[0].equals("serve")) {
            serve(arguments[1], arguments[2]);
            return;
        }
        if (arguments.length > 1 || !String.join("", arguments).matches("\\d{0,6}")) {
            System.err.println("All options: jbang tests/support/PowerCut.java [STATES]");
            System.exit(2);
        }
        if (!possible()) {
            System.err.println("The replay needs strace, installed and allowed to trace.");
            System.exit(1);
        }
        int states = arguments.length == 0 ? 200 : Integer.parseInt(arguments[0]);
        boolean fine = true;
        for (Setting setting : Setting.values()) {
            Path folder = Files.createTempDirectory("power-cut-");
            try {
                Verdict verdict = replay(folder, setting, 10 * states, states);
                System.out.printf("%-18s %s%n", setting, verdict);
                fine &=
                        verdict.damaged() == 0
                                && verdict.losing() > 0 == (setting == Setting.NORMAL);
            } finally {
                delete(folder);
            }
        }
        System.exit(fine ? 0 : 1);
    }
}
