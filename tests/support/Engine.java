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

/** A server of the test's own, in this JVM, with its store in a folder of the test's. */
final class Engine implements AutoCloseable {

    /** More than a test needs. */
    static final Limits ROOMY = limits(10_000, 5_000, 2_000);

    final Heard heard;
    final MessageStore store;
    final MsgServer server;
    private final Transport transport;

    /** Starts it; {@code messages.db} of {@code folder} keeps its messages. */
    Engine(Transport transport, Path folder, Limits limits) throws Exception {
        this(transport, folder, limits, new Heard());
    }

    /** As above; {@code heard} is told what happens. */
    Engine(Transport transport, Path folder, Limits limits, Heard heard) throws Exception {
        this(transport, folder, limits, heard, UnaryOperator.identity());
    }

    /** As above; {@code wrap} may let statements of the database fail. */
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

    /** A new client, for whom the kernel takes next to nothing unread. */
    Wire slowReader() throws IOException {
        return new Wire(transport, Wire.loopback(port()), 4096);
    }

    /** The reply to {@code request}, sent as our client does: in one piece, then half-closed. */
    String ask(String request) throws IOException {
        try (Wire wire = wire()) {
            return wire.send(request).endInput().receive();
        }
    }

    /** Stores {@code count} messages of {@code text} for {@code recipient}. */
    void fill(String recipient, int count, String text) throws Exception {
        List<Future<?>> storing = new ArrayList<>();
        int threads = 256; // so that many share a commit
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

    /** What a server has told its observer. */
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
                default -> {} // of no interest here
            }
        }

        @Override
        public void report(String sentence) {
            troubles.add(sentence);
        }

        /** How many conversations have begun to wait for their request. */
        int served() {
            return served.get();
        }

        /** The conversations that have ended, in that order. */
        List<Conversation> conversations() {
            return List.copyOf(conversations);
        }

        /** Served {@code conversation}, which has ended. */
        Thread thread(Conversation conversation) {
            return threads.get(conversation);
        }

        /** The only conversation so far, once it has ended. */
        Conversation conversation() throws Exception {
            Waiting.eventually("a conversation ends", () -> !conversations.isEmpty());
            return conversations.element();
        }

        /** The conversation that asked something of {@code mailbox}, or null if none has ended. */
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
