//JAVA 21+
//SOURCES Wire.java
//SOURCES ../../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;

/**
 * Clients that store and fetch, each on a virtual thread, until the server ends or the test stops
 * them; and a {@link Ledger} of their messages.
 */
final class Load implements AutoCloseable {
    private static final int FETCH_EVERY = 8;

    private final Transport transport;
    private final int port;
    private final Ledger ledger;
    private final Duration pause;
    private final AtomicInteger wholeReplies = new AtomicInteger();
    private final Queue<Wire.Answer> answers = new ConcurrentLinkedQueue<>();
    private final List<Thread> clients = new ArrayList<>();
    private volatile boolean stop;

    /** Starts {@code count} clients, whose names begin with {@code name}. */
    Load(int port, Ledger ledger, String name, int count) {
        this(port, ledger, name, count, Duration.ZERO);
    }

    /** Like the constructor above; each client pauses for {@code pause} after a reply. */
    Load(int port, Ledger ledger, String name, int count, Duration pause) {
        this(Transport.PLAIN, port, ledger, name, count, pause);
    }

    /** Like the constructor above, over {@code transport}. */
    Load(Transport transport, int port, Ledger ledger, String name, int count, Duration pause) {
        this.transport = transport;
        this.port = port;
        this.ledger = ledger;
        this.pause = pause;
        for (int i = 0; i < count; i++) {
            String sender = name + "-" + i;
            clients.add(Thread.ofVirtual().name(sender).start(() -> run(sender)));
        }
    }

    private void run(String sender) {
        for (int i = 1; !stop; i++) {
            Wire.Answer answer;
            if (i % FETCH_EVERY == 0) {
                answer = Wire.answer(transport, port, "fetch;" + ledger.mailbox(i));
            } else {
                Protocol.Store message = ledger.next(sender);
                answer =
                        Wire.answer(
                                transport,
                                port,
                                new String(message.bytes(), StandardCharsets.UTF_8));
                if (answer.stored()) {
                    ledger.acknowledge(message);
                }
            }
            if (!answer.whole()) {
                answers.add(answer);
                return;
            }
            wholeReplies.incrementAndGet();
            LockSupport.parkNanos(pause.toNanos());
        }
    }

    /** Waits until {@code condition} holds; fails if all clients have ended before. */
    void await(BooleanSupplier condition) throws InterruptedException {
        while (!condition.getAsBoolean()) {
            if (clients.stream().noneMatch(Thread::isAlive)) {
                throw new AssertionError("all clients have ended: " + answers);
            }
            Thread.sleep(1);
        }
    }

    /** Waits until the server's end has ended all clients. */
    void join() throws InterruptedException {
        for (Thread client : clients) {
            client.join();
        }
    }

    /** The number of whole replies. */
    int wholeReplies() {
        return wholeReplies.get();
    }

    /**
     * The replies that were not whole. Such a reply ends its client, so each client has at most
     * one.
     */
    List<Wire.Answer> brokenAnswers() {
        return List.copyOf(answers);
    }

    /** Lets each client finish its pending request, and waits for that. */
    void finish() throws InterruptedException {
        stop = true;
        join();
    }

    /** Like {@link #finish}. */
    @Override
    public void close() {
        try {
            finish();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt(); // the clients end without help
        }
    }

    /**
     * A record of sent and acknowledged messages. A message's text follows from its sender and its
     * number. So the record stays small, and a comparison detects a torn message.
     */
    static final class Ledger {
        private static final String LETTERS = "abcdefghijklmnopqrstuvwxyz é;λ\u4e2d";
        private static final int LONGEST_FILLER = 90;

        private final String prefix;
        private final int mailboxes;
        private final Map<String, Account> accounts = new ConcurrentHashMap<>();

        /** A ledger for {@code mailboxes} mailboxes, whose names begin with {@code prefix}. */
        Ledger(String prefix, int mailboxes) {
            this.prefix = prefix;
            this.mailboxes = mailboxes;
        }

        private static final class Account {
            private int sent;
            private final BitSet acknowledged = new BitSet();
        }

        /** A new message of {@code sender}, recorded as sent. */
        Protocol.Store next(String sender) {
            Account account = account(sender);
            synchronized (account) {
                return message(sender, account.sent++);
            }
        }

        /** Records as sent a {@code message} that another ledger with equal settings made. */
        void sent(Protocol.Store message) {
            Account account = account(message.sender());
            synchronized (account) {
                account.sent = Math.max(account.sent, number(message) + 1);
            }
        }

        /** Records that the server acknowledged {@code message}. */
        void acknowledge(Protocol.Store message) {
            Account account = account(message.sender());
            synchronized (account) {
                account.acknowledged.set(number(message));
            }
        }

        /** The number of acknowledged messages. */
        int acknowledged() {
            int count = 0;
            for (Account account : accounts.values()) {
                synchronized (account) {
                    count += account.acknowledged.cardinality();
                }
            }
            return count;
        }

        /** The name of a mailbox. */
        String mailbox(int number) {
            return prefix + Math.floorMod(number, mailboxes);
        }

        private Account account(String sender) {
            return accounts.computeIfAbsent(sender, name -> new Account());
        }

        private Protocol.Store message(String sender, int number) {
            int seed = (sender.hashCode() * 31 + number) * 0x9E3779B9;
            var text = new StringBuilder().append(number).append(':');
            for (int left = (seed >>> 8) % LONGEST_FILLER; left > 0; left--) {
                seed = seed * 1103515245 + 12345;
                text.append(LETTERS.charAt((seed >>> 16) % LETTERS.length()));
            }
            return new Protocol.Store(
                    mailbox(sender.hashCode() + number), sender, text.append('.').toString());
        }

        private static int number(Protocol.Store message) {
            return Integer.parseInt(message.message().substring(0, message.message().indexOf(':')));
        }

        /**
         * Compares {@code found}, which keeps the order of each mailbox, with the record.
         *
         * @return the problems: a missing acknowledged message, a message that appears twice, a
         *     message that no client sent, a torn message, two messages of one sender in the wrong
         *     order
         */
        List<String> problems(List<Protocol.Store> found) {
            var problems = new ArrayList<String>();
            var seen = new HashMap<String, BitSet>();
            var latest = new HashMap<String, Integer>();
            for (Protocol.Store message : found) {
                if (!wasSent(message)) {
                    problems.add("never sent, or torn: " + message);
                    continue;
                }
                int number = number(message);
                BitSet numbers = seen.computeIfAbsent(message.sender(), name -> new BitSet());
                if (numbers.get(number)) {
                    problems.add("twice: " + message);
                }
                numbers.set(number);
                Integer before = latest.put(message.recipient() + ';' + message.sender(), number);
                if (before != null && before > number) {
                    problems.add("after number " + before + ": " + message);
                }
            }
            accounts.forEach((sender, account) -> {
                var missing = new BitSet();
                synchronized (account) {
                    missing.or(account.acknowledged);
                }
                missing.andNot(seen.getOrDefault(sender, new BitSet()));
                missing.stream()
                        .mapToObj(number -> "lost: " + message(sender, number))
                        .forEach(problems::add);
            });
            return problems;
        }

        /** Like {@link #problems}, for the messages of one mailbox. */
        List<String> problemsOfMailbox(String mailbox, List<Protocol.Store> found) {
            return problems(found).stream()
                    .filter(problem ->
                            !problem.startsWith("lost: ")
                                    || problem.contains("recipient=" + mailbox + ","))
                    .toList();
        }

        private boolean wasSent(Protocol.Store message) {
            Account account = accounts.get(message.sender());
            if (account == null || !message.message().matches("\\d{1,9}:(?s:.*)")) {
                return false;
            }
            int number = number(message);
            synchronized (account) {
                return number < account.sent && message.equals(message(message.sender(), number));
            }
        }

        /** Fetches every mailbox over the wire. */
        List<Protocol.Store> fetchAll(int port) throws IOException {
            var found = new ArrayList<Protocol.Store>();
            for (int i = 0; i < mailboxes; i++) {
                Wire.Answer answer = Wire.answer(port, "fetch;" + mailbox(i));
                if (answer.end() != null) {
                    throw answer.end();
                }
                Protocol.Reply reply =
                        Protocol.readReply(
                                new ByteArrayInputStream(
                                        answer.text().getBytes(StandardCharsets.UTF_8)),
                                found::add);
                if (!(reply instanceof Protocol.Mailbox)) {
                    throw new IOException("no mailbox: " + reply);
                }
            }
            return found;
        }

        /**
         * All messages in the database {@code file}, each mailbox in its order. The file must be
         * undamaged.
         */
        static List<Protocol.Store> contentOf(Path file) throws SQLException {
            var found = new ArrayList<Protocol.Store>();
            try (Connection connection = DriverManager.getConnection("jdbc:sqlite:" + file);
                    Statement statement = connection.createStatement()) {
                try (ResultSet check = statement.executeQuery("PRAGMA integrity_check")) {
                    check.next();
                    if (!check.getString(1).equals("ok")) {
                        throw new SQLException("integrity check: " + check.getString(1));
                    }
                }
                try (ResultSet rows =
                        statement.executeQuery(
                                "SELECT recipient, sender, text FROM message"
                                        + " ORDER BY recipient, id")) {
                    while (rows.next()) {
                        found.add(
                                new Protocol.Store(
                                        rows.getString(1), rows.getString(2), rows.getString(3)));
                    }
                }
            }
            return found;
        }

        /**
         * Fails with the first few {@link #problems} of the mailboxes of the server on {@code
         * port}.
         */
        void assertAllThere(int port) throws IOException {
            assertAllThere(fetchAll(port));
        }

        /** Fails with the first few {@link #problems} of {@code found}. */
        void assertAllThere(List<Protocol.Store> found) {
            List<String> problems = problems(found);
            if (!problems.isEmpty()) {
                throw new AssertionError(
                        problems.size()
                                + " of "
                                + acknowledged()
                                + " acknowledged, "
                                + found.size()
                                + " found: "
                                + problems.subList(0, Math.min(5, problems.size())));
            }
        }
    }
}
