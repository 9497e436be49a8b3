//JAVA 21+
//SOURCES Load.java
//SOURCES Wire.java
//SOURCES ../../Protocol.java
//SOURCES ../../store/MessageStore.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.List;

/** Requests to a server whose store fails, and the possible replies. */
final class Asking {
    static final String STORED = "Message accepted and stored:\n";
    static final String NOT_STORED = "Message declined. Could not be stored, try again later\n";
    static final String BUSY = "Message declined. Server is busy, try again later\n";

    private static final Duration RECOVERY = Duration.ofSeconds(5);

    private Asking() {}

    /** Asserts that the reply is one of the two possible replies to a store. */
    static void assertStoredOrNot(String reply) {
        assertTrue(List.of(STORED, NOT_STORED).contains(reply), reply);
    }

    /** Stores the next message of {@code sender} and returns the reply. */
    static String store(Load.Ledger ledger, int port, String sender) {
        Protocol.Store message = ledger.next(sender);
        Wire.Answer answer = Wire.answer(port, new String(message.bytes(), StandardCharsets.UTF_8));
        if (answer.stored()) {
            ledger.acknowledge(message);
        }
        return answer.end() == null ? answer.text() : answer.toString();
    }

    /**
     * Fetches all mailboxes; returns false if the server refuses. Asserts that every mailbox in a
     * reply is correct.
     */
    static boolean fetch(Load.Ledger ledger, int port) throws IOException {
        try {
            ledger.assertAllThere(port);
            return true;
        } catch (IOException e) {
            assertEquals("no mailbox: Refused[text=" + BUSY.strip() + "]", e.getMessage());
            return false;
        }
    }

    /** Stores until the server acknowledges a message, which must be soon. */
    static void awaitStored(Load.Ledger ledger, int port, String sender) throws Exception {
        long giveUp = System.nanoTime() + RECOVERY.toNanos();
        for (String reply; !(reply = store(ledger, port, sender)).equals(STORED); ) {
            assertEquals(NOT_STORED, reply);
            assertTrue(System.nanoTime() < giveUp, "the store does not recover without help");
            Thread.sleep(10);
        }
    }

    /** Fetches until every mailbox is correct. */
    static void awaitFetched(Load.Ledger ledger, int port) throws Exception {
        long giveUp = System.nanoTime() + RECOVERY.toNanos();
        while (!fetch(ledger, port)) {
            assertTrue(System.nanoTime() < giveUp, "the store does not recover without help");
            Thread.sleep(10);
        }
    }

    /** Asserts that the start refuses {@code store} with one sentence. */
    static void assertOneSentence(MessageStore.StoreException e, Path store) {
        assertTrue(
                e.getMessage().startsWith("Cannot keep messages in " + store + ": "), e::toString);
        assertEquals(1, e.getMessage().lines().count(), e::toString);
    }

    /** Runs a statement, like another program that uses the database. */
    static void execute(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }
}
