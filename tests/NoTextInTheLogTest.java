///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests that the log never contains the text of a message, even when the database fails
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Asking.java
//SOURCES support/Databases.java
//SOURCES support/ServerProcess.java
//SOURCES support/Waiting.java
//SOURCES support/Wire.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.nio.file.Path;
import java.security.SecureRandom;
import java.sql.Connection;
import java.sql.DriverManager;
import java.util.List;

/**
 * The server stores some texts, refuses some, and fails to store others. Every text contains a
 * mark, and the server's output must not contain this mark.
 */
class NoTextInTheLogTest {
    @TempDir private Path folder;
    private String mark;

    @BeforeEach
    void makeMark() {
        mark = "mark" + Long.toHexString(new SecureRandom().nextLong() | Long.MIN_VALUE);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "ALTER TABLE message ADD CHECK (length(text) < 20)",
                "ALTER TABLE message ALTER text TYPE varchar(20)",
                "ALTER TABLE message ALTER text TYPE integer USING 1",
                "CREATE UNIQUE INDEX ON message (substr(text, 1, 4))",
                "ALTER TABLE message ADD CHECK (text::int > 0) NOT VALID",
                "ALTER TABLE message RENAME text TO body",
                // This error has an SQLSTATE outside the standard. Only its detail has the text.
                "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION"
                    + " 'no' USING DETAIL = NEW.text, ERRCODE = 'MSG01'; END $$; CREATE TRIGGER no"
                    + " BEFORE INSERT ON message FOR EACH ROW EXECUTE FUNCTION no()",
                "REVOKE INSERT ON message FROM " + Databases.USER,
                "DROP TABLE message"
            })
    void failureOfPostgresqlIsReportedWithoutTheText(String change) throws Exception {
        // The detail of PostgreSQL's error contains the whole row: "Failing row contains (...)".
        Databases.Server database = Databases.sharedServer();
        String url = database.freshDatabase();
        List<String> command = ServerProcess.java("MsgServer", "0", "--bind", "127.0.0.1");
        command.addAll(List.of("--store", url + "&logServerErrorDetail=true"));
        try (var server = new ServerProcess(command)) {
            Wire.answer(server.port(), "store;bob;al;mark");
            database.run(url, change);
            refuseAndEnd(server);
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "CREATE TRIGGER no BEFORE INSERT ON message BEGIN SELECT RAISE(FAIL, 'no'); END",
                "CREATE UNIQUE INDEX once ON message (substr(text, 1, 4))",
                "ALTER TABLE message ADD number INT NOT NULL DEFAULT 1 CHECK (length(text) < 9)",
                "ALTER TABLE message RENAME text TO body",
                "DROP TABLE message"
            })
    void failureOfSqliteIsReportedWithoutTheText(String change) throws Exception {
        Path store = folder.resolve("messages.db");
        try (var server = new ServerProcess(ServerProcess.command(store))) {
            Wire.answer(server.port(), "store;bob;al;mark");
            try (Connection other = DriverManager.getConnection("jdbc:sqlite:" + store)) {
                Asking.execute(other, change);
            }
            refuseAndEnd(server);
        }
    }

    @Test
    void storedAndRefusedTextsAreNotLogged() throws Exception {
        try (var server = new ServerProcess(ServerProcess.command(folder.resolve("m.db")))) {
            for (String request :
                    List.of(
                            "store;bob;al;" + mark,
                            "store;bob;al;" + mark + "x".repeat(300),
                            "store;bob;al;" + mark + "\u0001",
                            "STORE;bob;al;" + mark,
                            "store;bob;;" + mark,
                            "fetch;bob;" + mark,
                            "fetch;bob")) {
                Wire.answer(server.port(), request);
            }
            end(server);
        }
    }

    private void refuseAndEnd(ServerProcess server) throws Exception {
        int port = server.port();
        for (int i = 0; i < 3; i++) {
            String reply = Wire.answer(port, "store;bob;al;" + mark + " of 20 and more").text();
            assertEquals(Asking.NOT_STORED, reply);
        }
        Wire.answer(port, "fetch;bob");
        Waiting.eventually(
                "the failure is reported",
                () -> server.errors().contains("The message store fails"));
        end(server);
    }

    private void end(ServerProcess server) throws Exception {
        server.signal("TERM");
        server.awaitExit();
        assertFalse(server.errors().contains(mark), server.errors());
        assertFalse(server.output().contains(mark), server.output());
    }
}
