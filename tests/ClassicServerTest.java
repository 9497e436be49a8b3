///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests that our server does not have the faults of the classic C server
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Engine.java
//SOURCES support/Transport.java
//SOURCES support/Waiting.java
//SOURCES support/Wire.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * The known faults of the classic server, which our server must not have, and requests of the
 * classic client, which ends a request by silence. Inside TLS silence ends no request, so all of
 * these tests use plain connections.
 */
class ClassicServerTest {
    @TempDir private Path folder;

    private Engine engine;

    @BeforeEach
    void start() throws Exception {
        engine = new Engine(Transport.PLAIN, folder, Engine.ROOMY);
    }

    @AfterEach
    void stop() {
        engine.close();
    }

    /**
     * The classic client sends its request in one piece, without newline and without end of input,
     * and then waits.
     */
    private String classicClient(String request) throws Exception {
        return classicClients(List.of(request)).getFirst();
    }

    /**
     * Sends all requests at once and returns their replies. A reply to a request without LF comes
     * after 1 s.
     */
    private List<String> classicClients(List<String> requests) throws Exception {
        List<Future<String>> asking = new ArrayList<>();
        for (String request : requests) {
            asking.add(
                    Waiting.inBackground(() -> {
                        try (Wire wire = engine.wire()) {
                            return wire.send(request).receive();
                        }
                    }));
        }
        List<String> replies = new ArrayList<>();
        for (Future<String> reply : asking) {
            replies.add(reply.get(60, TimeUnit.SECONDS));
        }
        return replies;
    }

    @Test
    void theClassicClientIsAnswered() throws Exception {
        assertEquals(Wire.STORED, classicClient("store;Kyriakos;george;hi Kyriakos"));
        assertEquals(
                List.of(
                        "Retrieving messages...\nKyriakos;george;hi Kyriakos\nNO MORE MESSAGES\n",
                        Wire.EMPTY,
                        "No message\n"),
                classicClients(
                        List.of("fetch;Kyriakos", "fetch;george", "store;Kyriakos;george;")));
    }

    @Test
    void theClassicClientIsAnsweredSoon() throws Exception {
        // A server that waits for a newline or for the end of input never answers the classic
        // client.
        long start = System.nanoTime();
        assertEquals(Wire.EMPTY, classicClient("fetch;nobody"));
        long millis = Waiting.millisSince(start);
        assertTrue(millis >= 980 && millis < 5_000, "after 1 s of silence, was " + millis + " ms");
    }

    @Test
    void aMessageIsNotCutAtASemicolonAt128BytesOrAtANewline() throws Exception {
        String long200 = "x".repeat(200);
        assertEquals(
                List.of(
                        Wire.STORED,
                        Wire.STORED,
                        "Message declined. Control characters\n",
                        Wire.STORED),
                classicClients(
                        List.of(
                                "store;bob;al;half;other half",
                                "store;zoe;al;" + long200,
                                "store;bob;al;a\0b",
                                "store;eve;al;line\neve;mallory;forged")));
        assertEquals(
                List.of(
                        "Retrieving messages...\nbob;al;half;other half\nNO MORE MESSAGES\n",
                        "Retrieving messages...\nzoe;al;" + long200 + "\nNO MORE MESSAGES\n",
                        "Retrieving messages...\neve;al;line\nNO MORE MESSAGES\n"),
                List.of(engine.ask("fetch;bob"), engine.ask("fetch;zoe"), engine.ask("fetch;eve")));
    }

    @Test
    void adjacentSeparatorsAreNotMerged() throws Exception {
        assertEquals("No recipient\n", classicClient("store;;al;hi"));
        assertEquals(Wire.EMPTY, engine.ask("fetch;al"));
    }

    @Test
    void aNameThatIsAPathIsOnlyData() throws Exception {
        Path store = folder.resolve("messages.db");
        List<String> names = List.of("../x", "/tmp/x", "CON", "a/../../b", "..");
        assertEquals(
                Collections.nCopies(names.size(), Wire.STORED),
                classicClients(names.stream().map(name -> "store;" + name + ";a;b").toList()));
        for (String name : names) {
            assertEquals(
                    "Retrieving messages...\n" + name + ";a;b\nNO MORE MESSAGES\n",
                    engine.ask("fetch;" + name));
        }
        try (Stream<Path> files = Files.list(folder)) {
            files.forEach(file ->
                    assertTrue(
                            file.toString().startsWith(store.toString()),
                            "only the store's files exist: " + file));
        }
        assertFalse(Files.exists(folder.resolveSibling("x")));
    }

    @Test
    void manyClientsAtOnceConnectWithoutARepeatedSyn() throws Exception {
        // With a backlog of 5, clients wait whole seconds until the kernel repeats their SYNs. Such
        // a backlog delays each try of eventually(); a pause of the machine delays only one try.
        int clients = 200;
        Waiting.eventually(
                "nine tenths of the requests take less than the 1 s after which a SYN is repeated",
                () -> {
                    List<Future<Long>> all = new ArrayList<>();
                    for (int i = 0; i < clients; i++) {
                        all.add(
                                Waiting.inBackground(() -> {
                                    long start = System.nanoTime();
                                    assertEquals(Wire.EMPTY, engine.ask("fetch;nobody"));
                                    return Waiting.millisSince(start);
                                }));
                    }
                    int quick = 0;
                    for (Future<Long> one : all) {
                        quick += one.get(60, TimeUnit.SECONDS) < 1_000 ? 1 : 0;
                    }
                    return quick > clients * 9 / 10;
                });
    }
}
