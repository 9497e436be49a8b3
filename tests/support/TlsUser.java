//JAVA 21+
//SOURCES ClientRun.java
//SOURCES Engine.java
//SOURCES Transport.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** A base class for tests: a user named george with a home, and a server over TLS. */
abstract class TlsUser {
    static final String OTHER_KEY = "K7QD-M2XA-9P4T-ZR6H-B3WE";
    static final String READ = "2\n3\n";
    static final String IN_TLS = "The key of this server is known, so TLS is used.\n";

    @TempDir Path folder;
    Path home;
    Engine engine;
    String port;
    String key;

    @BeforeEach
    void start() throws Exception {
        engine = new Engine(Transport.TLS, folder, Engine.ROOMY);
        port = String.valueOf(engine.port());
        key = Transport.Keys.SERVER.fingerprint;
        home = Files.createDirectory(folder.resolve("home"));
    }

    @AfterEach
    void stop() {
        engine.close();
    }

    ClientRun piped(String input, String port, String... more) throws IOException {
        return run(false, input, port, more);
    }

    ClientRun run(boolean person, String input, String port, String... more) throws IOException {
        if (String.join(" ", more).contains("--tls") && !Files.exists(keyFile().getParent())) {
            Transport.Keys.copy(Transport.Keys.OTHER, keyFile());
        }
        return run("127.0.0.1", person, input, port, more);
    }

    ClientRun run(String host, boolean person, String input, String port, String... more) {
        List<String> arguments = new ArrayList<>(List.of(host, port, "--user=george"));
        arguments.addAll(List.of(more));
        return ClientRun.command(home, person, input, arguments.toArray(String[]::new));
    }

    /** Gives the user a key, and a file of known servers with {@code lines}. */
    void known(String lines) throws IOException {
        Transport.Keys.copy(Transport.Keys.OTHER, keyFile());
        Files.writeString(knownServers(), lines);
    }

    Path keyFile() {
        return home.resolve(".msg-client").resolve("key.pem");
    }

    Path knownServers() {
        return home.resolve(".msg-client").resolve("known-servers");
    }
}
