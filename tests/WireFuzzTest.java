///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the server with hostile input: thousands of clients
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/HostileInput.java
//SOURCES support/Engine.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.EnumSource;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;

import javax.net.ssl.SSLException;

/**
 * Hostile clients: whatever they send and however they leave, others are served, and each reply is
 * what {@link HostileInput#naive} says.
 *
 * <p>Each run has a seed of its own, which it prints; {@code -Dfuzz.seed=N} repeats it, {@code
 * -Dfuzz.connections=50000} makes it longer.
 */
@ParameterizedClass(name = "{0}")
@EnumSource(Transport.class)
class WireFuzzTest {
    private static final int CONNECTIONS = Integer.getInteger("fuzz.connections", 2_000);

    private static final int AT_ONCE = 32;

    @Parameter private Transport transport;
    @TempDir private Path folder;

    /** What clients do, and what they were told. */
    private static final class Clients {
        private final Engine engine;
        private final boolean tls;
        private final int count;
        private final Duration limit;
        private final AtomicInteger started = new AtomicInteger();
        private final Map<Protocol.Store, Integer> acknowledged =
                Collections.synchronizedMap(new HashMap<>());

        Clients(Engine engine, boolean tls, Duration limit) {
            this.engine = engine;
            this.limit = limit;
            this.tls = tls;
            count = tls ? CONNECTIONS / 4 : CONNECTIONS; // each takes 5 ms more
        }

        /** One after the other until all have been. */
        void run() throws Exception {
            for (int number; (number = started.getAndIncrement()) < count; ) {
                Random random = new Random(HostileInput.SEED + number);
                byte[] input = new HostileInput.Mutator(random).next();
                try {
                    run(input, random);
                } catch (Throwable e) {
                    throw new AssertionError(
                            "connection %d of seed %d, %s"
                                    .formatted(
                                            number,
                                            HostileInput.SEED,
                                            HexFormat.of().formatHex(input)),
                            e);
                }
            }
        }

        private void run(byte[] input, Random random) throws Exception {
            long start = System.nanoTime();
            try (Wire wire = connect(start)) {
                if (wire == null) {
                    return;
                }
                switch (random.nextInt(8)) {
                    case 0, 1 -> { // as our client does
                        wire.send(input).endInput();
                        judge(wire.receive(), HostileInput.firstLine(input), inTime(start));
                    }
                    case 2 -> { // a line in one piece
                        byte[] line = joined(input, HostileInput.utf8("\n"));
                        judge(
                                wire.send(line).receive(),
                                HostileInput.firstLine(line),
                                inTime(start));
                    }
                    case 3 -> { // in pieces, with pauses, perhaps without an end
                        // An early answer is followed by 2 s of draining, then by a reset.
                        boolean whole = inPieces(wire, input, random) && inTime(start);
                        judge(
                                whole ? wire.receive() : receive(wire),
                                HostileInput.firstLine(input),
                                false);
                    }
                    case 4 -> { // gone without a word, wherever it was
                        inPieces(
                                wire,
                                Arrays.copyOf(input, random.nextInt(input.length + 1)),
                                random);
                        wire.reset();
                    }
                    case 5 -> { // gone with its reply unread
                        wire.send(joined(input, HostileInput.utf8("\n")));
                    }
                    case 6 -> { // more than anyone asked for
                        byte[] more = new byte[random.nextInt(100_000)];
                        random.nextBytes(more);
                        byte[] line = joined(input, HostileInput.utf8("\n"));
                        judge(
                                wire.send(line).send(more).receive(),
                                HostileInput.firstLine(line),
                                inTime(start));
                    }
                    default -> { // noise
                        byte[] noise = new byte[random.nextInt(600)];
                        random.nextBytes(noise);
                        wire.send(noise).endInput();
                        judge(wire.receive(), HostileInput.firstLine(noise), inTime(start));
                    }
                }
            }
        }

        /** A connection, or null when its handshake took until the server let go of it. */
        private Wire connect(long start) throws IOException {
            try {
                return engine.wire();
            } catch (SSLException e) { // the server says in plain text that the time is over
                if (inTime(start)) {
                    throw e;
                }
                return null;
            }
        }

        /** Whether this machine's own pauses cannot have cost the client its deadline. */
        private boolean inTime(long start) {
            return System.nanoTime() - start < limit.toNanos() / 2;
        }

        /** Whether the server was left nothing to wait for. */
        private static boolean inPieces(Wire wire, byte[] input, Random random) throws Exception {
            try {
                for (int from = 0; from < input.length; ) {
                    int to = Math.min(input.length, from + 1 + random.nextInt(40));
                    wire.send(Arrays.copyOfRange(input, from, to));
                    from = to;
                    if (random.nextInt(3) == 0) {
                        Thread.sleep(random.nextInt(random.nextInt(10) == 0 ? 150 : 10));
                    }
                }
                switch (random.nextInt(3)) {
                    case 0 -> wire.send("\n");
                    case 1 -> wire.endInput();
                    default -> {
                        return false;
                    }
                }
                return true;
            } catch (IOException e) {
                return false; // answered and closed before all was sent: its right
            }
        }

        /** Its reply, unless it was closed upon input that came after it. */
        private static String receive(Wire wire) {
            try {
                return wire.receive();
            } catch (IOException e) {
                return null;
            }
        }

        /** The reply is whole, and where the server had no choice, the right one. */
        private void judge(String reply, byte[] line, boolean exactly) {
            Object expected = HostileInput.naive(line);
            if (reply == null) {
                return;
            }
            if (reply.equals(Wire.STORED) && expected instanceof Protocol.Store store && exactly) {
                acknowledged.merge(store, 1, Integer::sum);
            }
            if (!exactly) {
                // Who has not ended the handshake at the deadline cannot be told so.
                boolean untold = reply.isEmpty() && tls;
                assertTrue(
                        reply.equals(Wire.STORED) || isMailbox(reply) || isRefusal(reply) || untold,
                        () -> "no whole reply: " + Protocol.visible(reply));
                return;
            }
            switch (expected) {
                case Protocol.Store store -> assertEquals(Wire.STORED, reply);
                case Protocol.Fetch fetch ->
                        assertTrue(isMailbox(reply), () -> Protocol.visible(reply));
                default -> assertEquals(expected + "\n", reply);
            }
        }

        private static boolean isMailbox(String reply) {
            return reply.equals(Wire.EMPTY)
                    || reply.startsWith("Retrieving messages...\n")
                            && reply.endsWith("\nNO MORE MESSAGES\n");
        }

        private static boolean isRefusal(String reply) {
            return Stream.of(Protocol.Refusal.values())
                    .anyMatch(refusal -> reply.equals(refusal.text + "\n"));
        }
    }

    private static byte[] joined(byte[] first, byte[] second) {
        ByteArrayOutputStream both = new ByteArrayOutputStream();
        both.writeBytes(first);
        both.writeBytes(second);
        return both.toByteArray();
    }

    @Test
    @Timeout(value = 20, unit = TimeUnit.MINUTES)
    void whateverClientsDoOthersAreServed() throws Exception {
        boolean tls = transport == Transport.TLS;
        // The first handshakes, all at once, take more than a second.
        Duration limit = Duration.ofSeconds(tls ? 4 : 1);
        try (Engine engine =
                new Engine(transport, folder, Engine.limits(limit.toMillis(), 1_000, 5_000))) {
            Clients clients = new Clients(engine, tls, limit);
            System.out.printf(
                    "Server: %,d connections, -Dfuzz.seed=%d%n", clients.count, HostileInput.SEED);
            List<Future<Void>> running = new ArrayList<>();
            for (int i = 0; i < AT_ONCE; i++) {
                running.add(
                        Waiting.inBackground(() -> {
                            clients.run();
                            return null;
                        }));
            }
            AtomicBoolean over = new AtomicBoolean();
            FutureTask<List<Long>> probe = new FutureTask<>(() -> probe(engine, over));
            Thread.ofPlatform().start(probe); // not to wait for the clients' carriers
            for (Future<Void> client : running) {
                client.get(15, TimeUnit.MINUTES);
            }
            over.set(true);
            List<Long> millis = probe.get(1, TimeUnit.MINUTES);
            // All but a few: the machine that runs the tests makes pauses of its own. With TLS each
            // of the others, too, takes 5 ms of it, and this process does both ends.
            millis.sort(null);
            assertTrue(
                    millis.get((int) (millis.size() * 0.95))
                            < (transport == Transport.PLAIN ? 100 : 1_000),
                    "a request among them takes, in ms: " + millis);

            int all = clients.count + millis.size();
            Waiting.eventually(
                    "every conversation has an end",
                    () -> engine.heard.conversations().size() >= all);
            for (Observer.Conversation ended : engine.heard.conversations()) {
                assertNotNull(ended.outcome, ended::toString);
            }
            assertEquals(List.of(), engine.heard.troubles());
            assertFalse(clients.acknowledged.isEmpty());
            for (var message : clients.acknowledged.entrySet()) {
                assertTrue(
                        count(engine, message.getKey()) >= message.getValue(),
                        () -> "acknowledged and not there: " + message);
            }
        }
    }

    /** Asks again and again; how many milliseconds each answer took. */
    private static List<Long> probe(Engine engine, AtomicBoolean over) throws Exception {
        List<Long> millis = new ArrayList<>();
        while (!over.get()) {
            long start = System.nanoTime();
            assertEquals(
                    Wire.EMPTY,
                    engine.ask("fetch;the probe's own mailbox, which nobody writes to"));
            millis.add(Waiting.millisSince(start));
            Thread.sleep(5);
        }
        return millis;
    }

    /** How often {@code message} is in its mailbox. */
    private static long count(Engine engine, Protocol.Store message) throws IOException {
        String line = message.recipient() + ";" + message.sender() + ";" + message.message();
        return Stream.of(engine.ask("fetch;" + message.recipient()).split("\n"))
                .filter(line::equals)
                .count();
    }
}
