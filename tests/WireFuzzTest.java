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
 * Hostile clients send any bytes and leave at any moment. Other clients are served meanwhile, and
 * each reply is the one that {@link HostileInput#naive} expects.
 *
 * <p>Each run prints its seed. {@code -Dfuzz.seed=N} repeats a run; {@code
 * -Dfuzz.connections=50000} makes a run longer.
 */
@ParameterizedClass(name = "{0}")
@EnumSource(Transport.class)
class WireFuzzTest {
    private static final int CONNECTIONS = Integer.getInteger("fuzz.connections", 2_000);

    private static final int AT_ONCE = 32;

    @Parameter private Transport transport;
    @TempDir private Path folder;

    /** The clients' actions and the replies they got. */
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
            count = tls ? CONNECTIONS / 4 : CONNECTIONS; // a TLS handshake takes 5 ms
        }

        /** Runs one client after the other until {@link #count} clients have run. */
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
                    case 0, 1 -> { // like our client
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
                        // The server may reply before the last piece. It then reads further pieces
                        // for 2 s at most, and resets the connection if more pieces come.
                        boolean whole = inPieces(wire, input, random) && inTime(start);
                        judge(
                                whole ? wire.receive() : receive(wire),
                                HostileInput.firstLine(input),
                                false);
                    }
                    case 4 -> { // leaves with a reset after any byte
                        inPieces(
                                wire,
                                Arrays.copyOf(input, random.nextInt(input.length + 1)),
                                random);
                        wire.reset();
                    }
                    case 5 -> { // leaves without reading its reply
                        wire.send(joined(input, HostileInput.utf8("\n")));
                    }
                    case 6 -> { // sends more bytes than its request
                        byte[] more = new byte[random.nextInt(100_000)];
                        random.nextBytes(more);
                        byte[] line = joined(input, HostileInput.utf8("\n"));
                        judge(
                                wire.send(line).send(more).receive(),
                                HostileInput.firstLine(line),
                                inTime(start));
                    }
                    default -> { // random bytes
                        byte[] noise = new byte[random.nextInt(600)];
                        random.nextBytes(noise);
                        wire.send(noise).endInput();
                        judge(wire.receive(), HostileInput.firstLine(noise), inTime(start));
                    }
                }
            }
        }

        /** A connection, or null if the handshake lasted until the server's deadline. */
        private Wire connect(long start) throws IOException {
            try {
                return engine.wire();
            } catch (SSLException e) { // a timeout reply in plain text, or no reply
                if (inTime(start)) {
                    throw e;
                }
                return null;
            }
        }

        /**
         * Whether less than half of the time limit has passed. Otherwise a delay of this machine
         * may have caused a timeout.
         */
        private boolean inTime(long start) {
            return System.nanoTime() - start < limit.toNanos() / 2;
        }

        /** Sends {@code input} in pieces; returns whether the request is complete. */
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
                return false; // the server may answer and close before all pieces are sent
            }
        }

        /** The reply, or null if the server reset the connection because of later input. */
        private static String receive(Wire wire) {
            try {
                return wire.receive();
            } catch (IOException e) {
                return null;
            }
        }

        /** Asserts that the reply is whole, and that it is the expected one if {@code exactly}. */
        private void judge(String reply, byte[] line, boolean exactly) {
            Object expected = HostileInput.naive(line);
            if (reply == null) {
                return;
            }
            if (reply.equals(Wire.STORED) && expected instanceof Protocol.Store store && exactly) {
                acknowledged.merge(store, 1, Integer::sum);
            }
            if (!exactly) {
                // The server cannot send a refusal if the deadline comes before the end of the
                // handshake.
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
    void othersAreServedDespiteHostileClients() throws Exception {
        boolean tls = transport == Transport.TLS;
        // The first handshakes all start at once and take more than a second.
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
            // the probe gets a platform thread, since the clients may occupy all carriers
            Thread.ofPlatform().start(probe);
            for (Future<Void> client : running) {
                client.get(15, TimeUnit.MINUTES);
            }
            over.set(true);
            List<Long> millis = probe.get(1, TimeUnit.MINUTES);
            // A client that blocked others would block them for the timeout. A few requests may be
            // slow, since other processes may delay this machine.
            millis.sort(null);
            assertTrue(
                    millis.get((int) (millis.size() * 0.95)) < limit.toMillis() / 2,
                    "too many requests are slow, in ms: " + millis);

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
                        () -> "an acknowledged message is missing: " + message);
            }
        }
    }

    /** Repeats a fetch until {@code over}; returns how many milliseconds each reply took. */
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

    /** How many copies of {@code message} its mailbox has. */
    private static long count(Engine engine, Protocol.Store message) throws IOException {
        String line = message.recipient() + ";" + message.sender() + ";" + message.message();
        return Stream.of(engine.ask("fetch;" + message.recipient()).split("\n"))
                .filter(line::equals)
                .count();
    }
}
