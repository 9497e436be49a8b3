//JAVA 21+
//SOURCES Waiting.java
//SOURCES Wire.java
//SOURCES ../../MsgServer.java
//SOURCES ../../store/MessageStore.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.sql.Connection;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.UnaryOperator;

/** A server in this JVM for one test, with its store in the test's folder. */
final class Engine implements AutoCloseable {

    /** Limits that no test reaches. */
    static final Limits ROOMY = limits(10_000, 5_000, 2_000);

    final Heard heard;
    final MessageStore store;
    final MsgServer server;
    private final Transport transport;

    /** Starts a server; {@code messages.db} of {@code folder} keeps its messages. */
    Engine(Transport transport, Path folder, Limits limits) throws Exception {
        this(transport, folder, limits, new Heard());
    }

    /** Like the constructor above; {@code heard} observes the server. */
    Engine(Transport transport, Path folder, Limits limits, Heard heard) throws Exception {
        this(transport, folder, limits, heard, UnaryOperator.identity());
    }

    /** Like the constructor above; {@code wrap} may make statements of the database fail. */
    Engine(Transport transport, Path folder, Limits limits, UnaryOperator<Connection> wrap)
            throws Exception {
        this(transport, folder, limits, new Heard(), wrap);
    }

    private Engine(
            Transport transport,
            Path folder,
            Limits limits,
            Heard heard,
            UnaryOperator<Connection> wrap)
            throws Exception {
        this.transport = transport;
        this.heard = heard;
        store = new MessageStore(folder.resolve("messages.db").toString(), Long.MAX_VALUE, wrap);
        try {
            server =
                    new MsgServer(
                            new InetSocketAddress(0),
                            store,
                            limits,
                            heard,
                            Thread.ofVirtual(),
                            transport.serverKey());
            server.start();
        } catch (Exception e) {
            store.close();
            throw e;
        }
    }

    static Limits limits(long timeoutMs, int connections, long graceMs) {
        return new Limits(Duration.ofMillis(timeoutMs), connections, Duration.ofMillis(graceMs));
    }

    int port() {
        return server.port();
    }

    /** A new client. */
    Wire wire() throws IOException {
        return new Wire(transport, Wire.loopback(port()), 0);
    }

    /** A new client with a tiny receive buffer, so the kernel buffers few unread bytes. */
    Wire slowReader() throws IOException {
        return new Wire(transport, Wire.loopback(port()), 4096);
    }

    /**
     * Sends {@code request} like our client: in one piece, followed by the end of the sending side.
     * Returns the reply.
     */
    String ask(String request) throws IOException {
        try (Wire wire = wire()) {
            return wire.send(request).endInput().receive();
        }
    }

    /** Stores {@code count} messages of {@code text} for {@code recipient}. */
    void fill(String recipient, int count, String text) throws Exception {
        List<Future<?>> storing = new ArrayList<>();
        int threads = 256; // messages of many threads share a commit
        for (int i = 0; i < threads; i++) {
            int share = count / threads + (i < count % threads ? 1 : 0);
            storing.add(
                    Waiting.inBackground(() -> {
                        for (int n = 0; n < share; n++) {
                            store.store(recipient, "al", text);
                        }
                        return null;
                    }));
        }
        for (Future<?> one : storing) {
            one.get(60, TimeUnit.SECONDS);
        }
    }

    @Override
    public void close() {
        server.close();
        store.close();
    }

    /** Records the events that a server reports to its observer. */
    static class Heard implements Observer {
        private final ConcurrentLinkedQueue<Conversation> conversations =
                new ConcurrentLinkedQueue<>();
        private final Map<Conversation, Thread> threads = new ConcurrentHashMap<>();
        private final AtomicInteger served = new AtomicInteger();
        private final ConcurrentLinkedQueue<String> troubles = new ConcurrentLinkedQueue<>();

        @Override
        public void step(Step step, Conversation conversation) {
            switch (step) {
                case WAITING_FOR_REQUEST -> served.incrementAndGet();
                case CLOSED -> {
                    threads.put(conversation, Thread.currentThread());
                    conversations.add(conversation);
                }
                default -> {} // the tests do not use the other steps
            }
        }

        @Override
        public void report(String sentence) {
            troubles.add(sentence);
        }

        /** How many conversations have started to wait for their request. */
        int served() {
            return served.get();
        }

        /** The conversations that have ended, in the order of their ends. */
        List<Conversation> conversations() {
            return List.copyOf(conversations);
        }

        /** The thread of {@code conversation}, which has ended. */
        Thread thread(Conversation conversation) {
            return threads.get(conversation);
        }

        /** The only conversation so far; waits for its end. */
        Conversation conversation() throws Exception {
            Waiting.eventually("a conversation ends", () -> !conversations.isEmpty());
            return conversations.element();
        }

        /** The ended conversation with a request about {@code mailbox}, or null. */
        Conversation of(String mailbox) {
            return conversations.stream()
                    .filter(it -> it.request != null && it.request.recipient().equals(mailbox))
                    .findFirst()
                    .orElse(null);
        }

        List<String> troubles() {
            return List.copyOf(troubles);
        }
    }
}
