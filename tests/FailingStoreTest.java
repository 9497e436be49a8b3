///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION What clients and the operator are told when the store fails
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Asking.java
//SOURCES support/Engine.java
//SOURCES support/Statements.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.EnumSource;

import java.io.IOException;
import java.nio.file.Path;
import java.sql.SQLException;
import java.util.List;

/** A store that fails refuses what it cannot keep, says so once, and works again by itself. */
@ParameterizedClass(name = "{0}")
@EnumSource(Transport.class)
class FailingStoreTest {
    @Parameter private Transport transport;
    @TempDir private Path folder;

    private volatile String failing = "nothing";
    private Engine engine;

    @BeforeEach
    void start() throws Exception {
        engine =
                new Engine(
                        transport,
                        folder,
                        Engine.ROOMY,
                        Statements.seenBy(sql -> {
                            if (sql.startsWith(failing)) {
                                throw new SQLException("disk I/O error");
                            }
                        }));
    }

    /** How a page of a mailbox is read; with TLS, whose mailbox it is can still be told. */
    private static final String PAGE = "SELECT id";

    @AfterEach
    void stop() {
        engine.close();
    }

    private String ask(String request) throws IOException {
        return engine.ask(request);
    }

    @Test
    void mailboxesThatCannotBeReadAreTroubleOfTheirOwn() throws Exception {
        assertEquals(Wire.STORED, ask("store;bob;al;one"));
        failing = PAGE;
        for (int i = 0; i < 3; i++) {
            assertEquals("Message declined. Server is busy, try again later\n", ask("fetch;bob"));
            assertEquals(Wire.STORED, ask("store;bob;al;more"));
        }
        failing = "nothing";
        assertTrue(ask("fetch;bob").endsWith("NO MORE MESSAGES\n"));
        assertEquals(
                List.of("Mailboxes cannot be read: disk I/O error", "Mailboxes can be read again."),
                engine.heard.troubles());
    }

    @Test
    void whatIsNotDurableIsNotAcknowledged() throws Exception {
        // The classic server acknowledged first: an unwritable mailbox still got "accepted".
        assertEquals(Wire.STORED, ask("store;bob;al;one"));
        failing = "COMMIT";
        for (int i = 0; i < 3; i++) {
            assertEquals(
                    "Message declined. Could not be stored, try again later\n",
                    ask("store;bob;al;lost"));
        }
        assertEquals(
                "Retrieving messages...\nbob;al;one\nNO MORE MESSAGES\n",
                ask("fetch;bob"),
                "fetches still work");
        failing = "nothing";
        assertEquals(Wire.STORED, ask("store;bob;al;two"), "works again by itself");
        assertEquals(
                "Retrieving messages...\nbob;al;one\nbob;al;two\nNO MORE MESSAGES\n",
                ask("fetch;bob"));
        assertEquals(
                List.of("The message store fails: disk I/O error", "Messages can be stored again."),
                engine.heard.troubles(),
                "said once, however many clients it concerns");
    }

    @Test
    void aFailureThatComesAndGoesIsReportedAsLasting() throws Exception {
        // At its limit a store refused 1,348 messages; the last report was that all was well.
        for (int i = 0; i < 3; i++) {
            failing = "COMMIT";
            assertEquals(Asking.NOT_STORED, ask("store;bob;al;lost"));
            failing = "nothing";
            assertEquals(Wire.STORED, ask("store;bob;al;kept"));
        }
        assertEquals(
                List.of(
                        "The message store fails: disk I/O error",
                        "Messages can be stored again.",
                        "The message store fails: disk I/O error"),
                engine.heard.troubles());
    }

    @Test
    void aMailboxThatCannotBeReadIsNotTakenForAnEmptyOne() throws Exception {
        assertEquals(Wire.STORED, ask("store;bob;al;one"));
        failing = PAGE;
        assertEquals(Wire.BUSY, ask("fetch;bob"));
        assertEquals(Wire.STORED, ask("store;bob;al;two"), "stores still work");
        failing = "nothing";
        assertEquals(
                "Retrieving messages...\nbob;al;one\nbob;al;two\nNO MORE MESSAGES\n",
                ask("fetch;bob"));
    }

    @Test
    void aMailboxThatCannotBeReadToItsEndIsCutOff() throws Exception {
        engine.fill("bob", 40_000, "x".repeat(230)); // more than kernels buffer
        try (Wire wire = engine.slowReader()) {
            wire.send("fetch;bob").endInput();
            wire.receive(1_000);
            failing = PAGE;
            String rest = wire.receive();
            assertFalse(rest.endsWith("NO MORE MESSAGES\n"), "a half mailbox looks whole");
            assertFalse(rest.contains("There is no such name"));
            assertFalse(rest.contains("Message declined"), "no reply inside a reply");
        }
        Listener.Conversation ended = engine.heard.conversation();
        assertTrue(ended.outcome.startsWith("cut off: "), ended.outcome);
    }
}
