///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of the file of known servers, and how a server is found in it
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/ClientRun.java
//SOURCES support/FakeServer.java
//SOURCES support/TlsUser.java
//SOURCES support/Waiting.java
//SOURCES support/Wire.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.InetAddress;
import java.net.NetworkInterface;
import java.net.UnknownHostException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/**
 * The client's file of known servers, and how the client finds a server in it by name or address.
 * The client never uses plain text with a known server.
 */
class KnownServersTest extends TlsUser {
    // ---------------------------------------------------------------- one server, many spellings

    /** Every name and address of one server, in several spellings. */
    private static Set<String> thisMachine() throws IOException {
        Set<String> hosts =
                new LinkedHashSet<>(
                        List.of(
                                "localhost",
                                "LocalHost",
                                "::1",
                                "[::1]",
                                "0:0:0:0:0:0:0:1",
                                "0::1",
                                "127.1",
                                "127.0.1",
                                "127.0.0.1",
                                "2130706433",
                                "127.0.0.2",
                                "::ffff:127.0.0.1",
                                "[::ffff:127.0.0.1]",
                                "::ffff:7f00:1",
                                "::FFFF:7F00:0001",
                                "0",
                                "0.0.0.0",
                                "::"));
        String own = InetAddress.getLocalHost().getHostName();
        for (String name : List.of("localhost.", "ip6-localhost", "::1%lo", own)) {
            try {
                InetAddress.getAllByName(name);
                hosts.add(name);
            } catch (UnknownHostException e) {
                // Some machines do not have this name.
            }
        }
        for (NetworkInterface each : Collections.list(NetworkInterface.getNetworkInterfaces())) {
            each.inetAddresses().forEach(address -> hosts.add(address.getHostAddress()));
        }
        return hosts;
    }

    /**
     * In an earlier version the client sent its request in plain text when the user typed another
     * name of a known server.
     */
    @Test
    void aServerIsKnownByItsAddressUnderEveryName() throws Exception {
        for (String host : thisMachine()) {
            for (String accepted : List.of("127.0.0.1", "localhost")) {
                known("%s %s %s\n".formatted(accepted, port, key));
                assertEquals(IN_TLS, said(host), accepted + " as " + host);
                known("%s %s %s\n".formatted(host, port, key));
                assertEquals(IN_TLS, said(accepted), host + " as " + accepted);
            }
        }
        known("127.0.0.1 %s %s\n".formatted(port, key));
        for (String host : List.of("127.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]")) {
            assertEquals("", run(host, false, READ, port).err());
        }
    }

    /** The client's first sentences without {@code --tls}. */
    private String said(String host) throws IOException {
        var out = new StringWriter();
        new Trust(home, host, engine.port(), null, null, new PrintWriter(out));
        return out.toString().replace(System.lineSeparator(), "\n");
    }

    @Test
    void aServerIsKnownByTheAddressAtWhichItWasAccepted() throws Exception {
        // A name may change its address, and does not resolve where there is no name service.
        run("localhost", false, READ, port, "--tls", key);
        String lines = Files.readString(knownServers());
        assertEquals("localhost P K\n127.0.0.1 P K\n", lines.replace(port, "P").replace(key, "K"));
        Files.writeString(knownServers(), lines.replace("localhost", "name.invalid"));
        assertEquals(IN_TLS, said("127.1"));
    }

    @Test
    void aNameIsKnownWithoutItsAddress() throws Exception {
        known("name.invalid %s %s\n".formatted(port, key));
        for (String name : List.of("name.invalid", "NAME.Invalid", "name.invalid.")) {
            assertEquals(IN_TLS, said(name), name);
        }
    }

    /**
     * An attacker who controls name resolution could point a known name at another accepted server.
     */
    @Test
    void aKnownNameIsNotLookedUpByItsAddress() throws Exception {
        known(
                "localhost P OTHER\n127.0.0.1 P KEY\n"
                        .replace("P", port)
                        .replace("OTHER", OTHER_KEY)
                        .replace("KEY", key));
        String sentence = run("localhost", false, READ, port).sentence();
        assertTrue(sentence.contains(key + " instead of " + OTHER_KEY), sentence);
    }

    @Test
    void anotherPortIsAnotherServer() throws Exception {
        try (FakeServer server = FakeServer.answering(Wire.EMPTY)) {
            known("127.0.0.1 " + port + " " + key + "\n");
            ClientRun run = piped(READ, String.valueOf(server.port()));
            assertEquals("", run.err());
            assertEquals(List.of("fetch;george"), List.copyOf(server.requests));
        }
    }

    /** A user who has a key could believe that the conversation uses TLS. */
    @Test
    void aUserWithAKeyIsWarnedOfPlainText() throws Exception {
        known("");
        try (FakeServer server = FakeServer.answering(Wire.EMPTY)) {
            ClientRun run = piped(READ, String.valueOf(server.port()));
            String warning = "No key of this server is known, so plain text is sent (see --tls).\n";
            assertTrue(run.out().startsWith(warning), run.out());
            assertEquals(0, run.exit());
        }
    }

    /**
     * In an earlier version a menu that had started in plain text continued in plain text, although
     * the user had accepted the server's key meanwhile.
     */
    @Test
    void aServerAcceptedMeanwhileGetsNoPlainText() throws Exception {
        var out = new StringWriter();
        Trust trust = new Trust(home, "127.0.0.1", engine.port(), null, null, new PrintWriter(out));
        assertEquals("", out.toString());
        known("127.0.0.1 " + port + " " + key + "\n");
        var client = new MsgClient("127.0.0.1", engine.port(), trust);
        client.store("bob", "george", "secret");
        assertEquals(IN_TLS, out.toString().replace(System.lineSeparator(), "\n"));
        assertEquals("bob", engine.heard.conversation().request.recipient());
    }

    // ---------------------------------------------------------------- the file of known servers

    @Test
    void blankLinesCommentsAndAllLineEndsAreAccepted() throws Exception {
        for (String content :
                List.of(
                        "HOST PORT KEY",
                        "HOST PORT KEY\r\n",
                        "[HOST] PORT KEY\n",
                        "HOST. PORT KEY\n",
                        "\n\nHOST PORT KEY\n \n",
                        "# the server of the class\nHOST PORT KEY\n# another",
                        "other.invalid 1 KEY\nHOST PORT KEY\nother.invalid 2 KEY\n")) {
            known(content.replace("HOST", "127.0.0.1").replace("PORT", port).replace("KEY", key));
            assertEquals(IN_TLS, said("127.0.0.1"), content);
        }
    }

    /**
     * The client must not guess whether a server is known: a wrong guess sends a request in plain
     * text.
     */
    @Test
    void aMalformedLineEndsTheClient() throws Exception {
        for (String line :
                List.of(
                        "HOST PORT",
                        "HOST PORT K7QD-M2XA",
                        "KEY",
                        "HOST  PORT KEY",
                        "HOST PORT  KEY",
                        " HOST PORT KEY",
                        "HOST PORT KEY ",
                        "HOST\tPORT\tKEY",
                        "HOST\u00a0PORT KEY",
                        "\u00a0HOST PORT KEY",
                        "\ufeffHOST PORT KEY",
                        "HOST\u200b PORT KEY",
                        "HOST PORT KEY\ufeff",
                        "HOST 0PORT KEY",
                        "HOST +PORT KEY",
                        "HOST:PORT KEY",
                        "'HOST' PORT KEY",
                        "HOST, PORT KEY",
                        "tcp://HOST PORT KEY",
                        "HOST PORT KEY # mine",
                        "HOST PORT KEYHOST PORT KEY",
                        "\u0000",
                        "HOST PORT KEY\u0000",
                        "\u00a0")) {
            String content = "# mine\n\n%s\n".formatted(line);
            content =
                    content.replace("HOST", "127.0.0.1").replace("PORT", port).replace("KEY", key);
            known(content);
            var refused = assertThrows(IOException.class, () -> said("127.0.0.1"), line);
            assertEquals(
                    ("Cannot tell which servers are known: %s: line 3 is not HOST PORT KEY;"
                                    + " mend or delete it.")
                            .formatted(knownServers()),
                    refused.getMessage());
            assertEquals(content, Files.readString(knownServers()));
        }
        for (String[] options : new String[][] {{}, {"--tls"}, {"--tls", key}}) {
            ClientRun run = piped(READ, port, options);
            assertTrue(run.sentence().startsWith("Cannot tell which"), run.sentence());
            assertEquals(1, run.exit());
            assertEquals("", run.out());
        }
    }

    @Test
    void aFileInAnotherEncodingEndsTheClient() throws Exception {
        for (String charset : List.of("UTF-16", "UTF-16LE", "UTF-32")) {
            known("");
            String line = "127.0.0.1 %s %s\n".formatted(port, key);
            Files.write(knownServers(), line.getBytes(charset));
            String sentence = piped(READ, port).sentence();
            assertTrue(sentence.contains(knownServers() + ": line 1 is not "), sentence);
        }
    }

    private static void pipe(Path file) throws Exception {
        assertEquals(0, new ProcessBuilder("mkfifo", file.toString()).start().waitFor());
    }

    /**
     * Reasons why the client cannot read or trust the file. The server may be a known one in each
     * case, so the client must end.
     */
    private enum Unreadable {
        A_LINK_THAT_LEADS_NOWHERE {
            @Override
            void make(Path folder) throws IOException {
                Files.createDirectory(folder);
                Files.createSymbolicLink(folder.resolve("known-servers"), Path.of("nowhere"));
            }
        },
        A_FOLDER_THAT_IS_SUCH_A_LINK {
            @Override
            void make(Path folder) throws IOException {
                Files.createSymbolicLink(folder, Path.of("nowhere"));
            }
        },
        A_HOME_THAT_IS_SUCH_A_LINK {
            @Override
            void make(Path folder) throws IOException {
                Files.delete(folder.getParent());
                Files.createSymbolicLink(folder.getParent(), Path.of("nowhere"));
            }
        },
        A_FOLDER_THAT_IS_A_FILE {
            @Override
            void make(Path folder) throws IOException {
                Files.createFile(folder);
            }
        },
        A_LINK_TO_ITSELF { // even root cannot read it, unlike a folder without the x permission
            @Override
            void make(Path folder) throws IOException {
                Files.createSymbolicLink(folder, folder);
            }
        },
        A_FOLDER {
            @Override
            void make(Path folder) throws IOException {
                Files.createDirectories(folder.resolve("known-servers"));
            }
        },
        A_PIPE {
            @Override
            void make(Path folder) throws Exception {
                Files.createDirectory(folder);
                pipe(folder.resolve("known-servers"));
            }
        },
        A_DEVICE {
            @Override
            void make(Path folder) throws Exception {
                Files.createDirectory(folder);
                Files.createSymbolicLink(folder.resolve("known-servers"), Path.of("/dev/zero"));
            }
        },
        A_LARGE_FILE {
            @Override
            void make(Path folder) throws Exception {
                Files.createDirectory(folder);
                Files.writeString(folder.resolve("known-servers"), "# none\n".repeat(9_363));
            }
        },
        A_FILE_OF_ANOTHER_USER { // The owner of the file could add a server.
            @Override
            void make(Path folder) throws IOException {
                Files.createDirectory(folder);
                Path file = Files.writeString(folder.resolve("known-servers"), "# none\n");
                try {
                    Files.setAttribute(file, "unix:uid", 12_345);
                } catch (IOException | UnsupportedOperationException e) {
                    Assumptions.abort(
                            "only root can change the owner of a file: " + e.getMessage());
                }
            }
        },
        A_FILE_THAT_OTHERS_MAY_CHANGE {
            @Override
            void make(Path folder) throws IOException {
                Files.createDirectory(folder);
                Path file = Files.writeString(folder.resolve("known-servers"), "# none\n");
                try {
                    Files.setPosixFilePermissions(
                            file, PosixFilePermissions.fromString("rw-rw-rw-"));
                } catch (UnsupportedOperationException e) {
                    Assumptions.abort("this file system has no POSIX permissions");
                }
            }
        };

        abstract void make(Path folder) throws Exception;
    }

    @ParameterizedTest
    @EnumSource(Unreadable.class)
    void aFileThatCannotBeReadEndsTheClient(Unreadable reason) throws Exception {
        reason.make(home.resolve(".msg-client"));
        try (FakeServer server = FakeServer.answering(Wire.EMPTY)) {
            String port = String.valueOf(server.port());
            ClientRun run = Waiting.inBackground(() -> piped(READ, port)).get(10, TimeUnit.SECONDS);
            assertTrue(
                    run.sentence()
                            .startsWith("Cannot tell which servers are known: " + knownServers()),
                    run.sentence());
            assertEquals(1, run.exit());
            assertEquals(List.of(), List.copyOf(server.requests));
        } finally {
            if (reason == Unreadable.A_DEVICE) {
                // JUnit warns about a link that leads out of the temporary folder.
                Files.delete(knownServers());
            }
        }
    }

    @Test
    void aMissingHomeHasNoKnownServers() throws Exception {
        Files.delete(home);
        try (FakeServer server = FakeServer.answering(Wire.EMPTY)) {
            ClientRun run = piped(READ, String.valueOf(server.port()));
            assertEquals("", run.err());
        }
    }

    /**
     * In an earlier version a new entry was appended to an incomplete line, so the client forgot
     * both servers.
     */
    @Test
    void anAddedServerBeginsANewLine() throws Exception {
        known("# by hand\nname.invalid 5000 " + OTHER_KEY);
        assertEquals("", piped(READ, port, "--tls", key).err());
        assertEquals(
                "# by hand\nname.invalid 5000 %s\n127.0.0.1 %s %s\n"
                        .formatted(OTHER_KEY, port, key),
                Files.readString(knownServers()));
        assertTrue(run("name.invalid", false, READ, "5000").out().startsWith(IN_TLS));
        assertTrue(piped(READ, port).out().startsWith(IN_TLS));
    }

    @Test
    void createdFilesAreReadableByTheirUserOnly() throws Exception {
        piped(READ, port, "--tls", key);
        if (OwnFiles.POSIX) {
            assertEquals(
                    "rw-------",
                    PosixFilePermissions.toString(Files.getPosixFilePermissions(knownServers())));
        }
    }

    @Test
    void aKeyFileThatCannotBeReadEndsTheClient() throws Exception {
        Files.createDirectory(home.resolve(".msg-client"));
        Files.createFile(keyFile(), OwnFiles.only("rw-------"));
        Files.writeString(keyFile(), "-----BEGIN PRIVATE KEY-----\nMIGHAgEA");
        ClientRun run = piped(READ, port, "--tls", key);
        assertTrue(run.sentence().startsWith("Cannot use the key in " + keyFile()), run.sentence());
        assertEquals(1, run.exit());
    }
}
