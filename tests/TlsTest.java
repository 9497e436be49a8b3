///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of keys, their files and fingerprints, and what TLS refuses
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Engine.java
//SOURCES support/FakeTls.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

import javax.net.ssl.SSLException;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;

/** Keys: their files and fingerprints, and the connections that TLS refuses because of a key. */
class TlsTest {
    @TempDir private Path folder;

    /** A certificate that openssl made; its private key was deleted. */
    private static final String CERTIFICATE =
            """
            -----BEGIN CERTIFICATE-----
            MIIBeTCCAR+gAwIBAgIUMIOz9pTO9JYeSjx9BWcvcY76jlswCgYIKoZIzj0EAwIw
            EjEQMA4GA1UEAwwHYW55Ym9keTAeFw0yNjExMjYwNzU0NDBaFw0yNjExMjcwNzU0
            NDBaMBIxEDAOBgNVBAMMB2FueWJvZHkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
            AASiHDc+4JTWrJVNmQqdPgzrdRkw2uEACo5q1f0sG8XcGXBLo6+wZooVDKJcd6Gq
            ME6UYBBfQ4uGEXBAG3lSVbEgo1MwUTAdBgNVHQ4EFgQU7EJd/OIKOVjc3ujsI9i3
            JXwloN0wHwYDVR0jBBgwFoAU7EJd/OIKOVjc3ujsI9i3JXwloN0wDwYDVR0TAQH/
            BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiAGTc4iksinnQckWvKKj7733fOyzQvZ
            5JY69If+2CqVRAIhAKgCDK06FaXdT1DjzL2vlx7mnIuoCRPiucGa3z7UI2Sc
            -----END CERTIFICATE-----
            """;

    private Path file(String content) throws IOException {
        return file(content.getBytes(StandardCharsets.UTF_8));
    }

    private Path file(byte[] content) throws IOException {
        Path file = folder.resolve("key.pem");
        Files.deleteIfExists(file);
        return Files.write(Files.createFile(file, OwnFiles.only("rw-------")), content);
    }

    private static String refused(Path file) {
        return assertThrows(IOException.class, () -> tls(file)).getMessage();
    }

    /** The output of {@code command} in the test's folder; skips the test if openssl is missing. */
    private String shell(String command) throws Exception {
        Process shell =
                new ProcessBuilder("sh", "-c", command)
                        .directory(folder.toFile())
                        .redirectErrorStream(true)
                        .start();
        shell.getOutputStream().close();
        String output = new String(shell.getInputStream().readAllBytes());
        int exit = shell.waitFor();
        Assumptions.assumeTrue(exit != 127, output);
        assertEquals(0, exit, command + ": " + output);
        return output;
    }

    private static Tls tls(Path file) throws IOException {
        return new Tls(file, anybody -> true);
    }

    @Nested
    class AKey {
        @Test
        void isKnownByTheHashOfItsPublicHalf() throws Exception {
            // The hash is the output of: openssl pkey -pubout -outform DER | openssl dgst -sha256
            var certificate = certificate(CERTIFICATE);
            assertEquals(
                    "36cb620af29139be040daf85e93313ffaae9471d4a1e0640471c9c3e1ea12ad2",
                    Tls.id(certificate));
            assertEquals("6V5P-42QJ-J4WV-W10D-NY2Y", Tls.fingerprint(certificate));
        }

        @Test
        void madeByOpensslIsUsedUnchanged() throws Exception {
            shell(
                    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
                            + " -subj /CN=anybody -keyout key -out certificate");
            String key = Files.readString(folder.resolve("key"));
            String certificate = Files.readString(folder.resolve("certificate"));
            String fingerprint = tls(file(key + certificate)).fingerprint;
            assertEquals(fingerprint, tls(file(certificate + key)).fingerprint);
        }

        @Test
        void ofOursIsValidForOpenssl() throws Exception {
            Path file = folder.resolve("key.pem");
            Tls made = tls(file);
            shell("openssl pkey -in key.pem -noout -check");
            shell("openssl verify -check_ss_sig -CAfile key.pem key.pem");
            String text = shell("openssl x509 -in key.pem -noout -text -certopt no_sigdump");
            assertTrue(text.contains("Version: 3 (0x2)"), text);
            assertTrue(
                    text.contains("Issuer: CN = msg") && text.contains("Subject: CN = msg"), text);
            assertTrue(text.contains("Dec 31 23:59:59 9999 GMT"), text);
            assertTrue(text.contains("NIST CURVE: P-256"), text);
            String id =
                    shell(
                            "openssl x509 -in key.pem -noout -pubkey | openssl pkey -pubin -outform"
                                    + " DER | openssl dgst -sha256 -r");
            assertEquals(id.substring(0, 64), Tls.id(certificate(Files.readString(file))));
            assertEquals(made.fingerprint, Tls.fingerprint(certificate(Files.readString(file))));
        }

        private static Certificate certificate(String pem) throws Exception {
            String certificate = pem.substring(pem.indexOf("-----BEGIN CERTIFICATE"));
            return CertificateFactory.getInstance("X.509")
                    .generateCertificate(
                            new ByteArrayInputStream(
                                    certificate.getBytes(StandardCharsets.US_ASCII)));
        }

        @Test
        void mayBeTypedInSmallLetters() {
            assertEquals(
                    "K7QD-M2XA-9P4T-ZR6H-B3WE", Tls.parseFingerprint(" k7qd-m2xa-9p4t-zr6h-b3we"));
        }

        @ParameterizedTest
        @ValueSource(
                strings = {
                    "",
                    "yes",
                    "127.0.0.1",
                    "K7QD-M2XA-9P4T-ZR6H",
                    "K7QD-M2XA-9P4T-ZR6H-B3WEE",
                    "K7QD-M2XA-9P4T-ZR6H-B3WU" // no U in this alphabet
                })
        void thatIsInvalidIsReportedInOneSentence(String typed) {
            var refused =
                    assertThrows(IllegalArgumentException.class, () -> Tls.parseFingerprint(typed));
            assertEquals(
                    "'" + typed + "' is no key; a server's looks like K7QD-M2XA-9P4T-ZR6H-B3WE",
                    refused.getMessage());
        }
    }

    @Nested
    class AKeyFile {
        @Test
        void isMadeOnceForItsUserAlone() throws Exception {
            Path file = folder.resolve("new folder").resolve("key.pem");
            String fingerprint = tls(file).fingerprint;
            assertEquals(fingerprint, tls(file).fingerprint);
            assertEquals(List.of("key.pem"), names(file.getParent()), "another file is left");
            if (posix()) {
                assertEquals("rw-------", permissions(file));
                assertEquals("rwx------", permissions(file.getParent()));
            }
        }

        @Test
        void isTheSameForProgramsThatStartAtOnce() throws Exception {
            // If each program continued with its own key, a user's name could belong to a key that
            // is in no file. No program may delete the unfinished file of another program.
            for (int round = 0; round < 20; round++) {
                Path file = folder.resolve("round " + round).resolve("key.pem");
                List<Future<String>> starts = new ArrayList<>();
                for (int i = 0; i < 8; i++) {
                    starts.add(Waiting.inBackground(() -> tls(file).fingerprint));
                }
                for (Future<String> start : starts) {
                    assertEquals(tls(file).fingerprint, start.get(60, TimeUnit.SECONDS));
                }
                assertEquals(List.of("key.pem"), names(file.getParent()));
            }
        }

        @Test
        void thatIsIncompleteIsNeitherUsedNorReplaced() throws Exception {
            Path good = folder.resolve("good.pem");
            Transport.Keys.copy(Transport.Keys.OTHER, good);
            String whole = Files.readString(good);
            int middle = whole.indexOf("-----BEGIN CERTIFICATE");
            for (String content :
                    List.of(
                            "",
                            "# my key",
                            whole.substring(0, middle),
                            whole.substring(middle),
                            whole.substring(0, whole.length() - 30),
                            whole.replaceFirst("BEGIN", "Begin"),
                            whole.replaceFirst("-\nM", "-\nA"))) {
                Path file = file(content);
                String sentence = refused(file);
                assertTrue(sentence.startsWith("Cannot use the key in " + file + ": "), sentence);
                assertTrue(sentence.endsWith(". No other is made in its place."), sentence);
                assertEquals(content, Files.readString(file));
            }
        }

        @Test
        void withACertificateOfAnotherKeyIsNotUsed() throws Exception {
            Path other = folder.resolve("other.pem");
            Transport.Keys.copy(Transport.Keys.OTHER, other);
            String key = Files.readString(other).replaceFirst("(?s)-----BEGIN CERT.*", "");
            Path file = file(key + CERTIFICATE);
            String sentence = refused(file);
            assertTrue(sentence.contains("its certificate is another key's"), sentence);
        }

        @Test
        void thatCannotBeReadIsNotReplaced() throws Exception {
            Path directory = Files.createDirectory(folder.resolve("key.pem"));
            String sentence = refused(directory);
            assertTrue(sentence.startsWith("Cannot use the key in " + directory + ": "), sentence);
        }

        @Test
        void cannotBeMadeWhereItsFolderIsAFile() throws Exception {
            Path file = Files.createFile(folder.resolve("file")).resolve("key.pem");
            String sentence = refused(file);
            assertTrue(sentence.startsWith("Cannot make a key in " + file + ": "), sentence);
        }

        /**
         * A program writes a new key into a temporary file, and links the finished file to the
         * key's name. So a file with this name is always whole.
         */
        @Test
        void leftUnfinishedByAKilledStartIsDeleted() throws Exception {
            Path file = folder.resolve("a.db.key.pem");
            Files.writeString(folder.resolve(".a.db.key.pem.begun-123"), "half a private key");
            Files.writeString(folder.resolve(".b.db.key.pem.begun-123"), "of another store");
            Files.writeString(folder.resolve("a.db.key.pem.old"), "a copy");
            List<String> left =
                    List.of(".b.db.key.pem.begun-123", "a.db.key.pem", "a.db.key.pem.old");
            tls(file);
            assertEquals(left, names(folder));
            Files.writeString(
                    folder.resolve(".a.db.key.pem.begun-456"), "begun beside a whole one");
            tls(file);
            assertEquals(left, names(folder));
        }

        @Test
        void mayHaveWindowsLineEnds() throws Exception {
            Path good = folder.resolve("good.pem");
            Transport.Keys.copy(Transport.Keys.OTHER, good);
            String text = Files.readString(good).replace("\n", "\r\n");
            for (String charset : List.of("UTF-16", "UTF-16LE", "UTF-16BE", "UTF-8")) {
                for (String mark : List.of("", "\ufeff")) {
                    Path file = file((mark + text).getBytes(charset));
                    assertEquals(Transport.Keys.OTHER.fingerprint, tls(file).fingerprint);
                }
            }
        }

        @ParameterizedTest
        @CsvSource({
            "'', openssl pkey -in good.pem -outform DER -out 'my key.pem'",
            "'', openssl ec -in good.pem -outform DER -out 'my key.pem'",
            "EC PRIVATE KEY, openssl ec -in good.pem -out 'my key.pem'",
            "'CERTIFICATE, EC PRIVATE KEY', openssl ec -in good.pem -out 'my key.pem'"
                    + " && openssl x509 -in good.pem >>'my key.pem'",
            "ENCRYPTED PRIVATE KEY, openssl pkey -in good.pem -aes128 -passout pass:secret"
                    + " -out 'my key.pem'",
            "EC PRIVATE KEY, openssl ec -in good.pem -aes128 -passout pass:secret"
                    + " -out 'my key.pem'",
            "PRIVATE KEY, openssl pkey -in good.pem -out 'my key.pem'"
        })
        void inAnotherFormatIsConvertedByTheSuggestedCommand(String blocks, String made)
                throws Exception {
            Transport.Keys.copy(Transport.Keys.OTHER, folder.resolve("good.pem"));
            shell(made);
            Path file = folder.resolve("my key.pem");
            Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-------"));
            String sentence = refused(file);
            assertTrue(
                    sentence.startsWith(
                            "Cannot use the key in %s: its PEM blocks are [%s], and "
                                    .formatted(file, blocks)),
                    sentence);
            Matcher command = Pattern.compile("NEW: (.+)\\. No").matcher(sentence);
            assertTrue(command.find(), sentence);
            // A user types the password; the test puts it into the command.
            shell(command.group(1).replace("openssl pkey", "openssl pkey -passin pass:secret"));
            file = folder.resolve("NEW");
            assertEquals(Transport.Keys.OTHER.fingerprint, tls(file).fingerprint);
        }

        @ParameterizedTest
        @ValueSource(strings = {"rw-r-----", "rw----r--", "rw--w----", "rwxrwxrwx"})
        void thatOthersMayReadOrChangeIsNotUsed(String permissions) throws Exception {
            Assumptions.assumeTrue(posix());
            Path file = folder.resolve("my key.pem");
            Transport.Keys.copy(Transport.Keys.OTHER, file);
            Files.setPosixFilePermissions(file, PosixFilePermissions.fromString(permissions));
            int mode = (int) Files.getAttribute(file, "unix:mode") & 0777;
            String sentence = refused(file);
            assertEquals(knownToOthers(file, Files.getOwner(file).getName(), mode), sentence);
            Matcher command = Pattern.compile("yours alone: (.+)\\. No").matcher(sentence);
            assertTrue(command.find(), sentence);
            shell(command.group(1));
            tls(file);
        }

        private static String knownToOthers(Path file, String owner, int mode) {
            String sentence =
                    "Cannot use the key in %1$s: others could read or change it: user %2$s owns it,"
                            + " with the mode %3$o. If it is yours, make it yours alone:"
                            + " chown $(id -u) '%1$s' && chmod 600 '%1$s'."
                            + " No other is made in its place.";
            return sentence.formatted(file, owner, mode);
        }

        /**
         * In an earlier version a planted key became the server's key, although the attacker knew
         * this key.
         */
        @Test
        void ofAnotherUserIsNotUsed() throws Exception {
            Assumptions.assumeTrue(posix());
            Path file = folder.resolve("key.pem");
            Transport.Keys.copy(Transport.Keys.OTHER, file);
            try {
                Files.setAttribute(file, "unix:uid", 12_345);
            } catch (IOException e) {
                Assumptions.abort("only root gives files away: " + e.getMessage());
            }
            assertEquals(knownToOthers(file, "12345", 0600), refused(file));
        }

        @ParameterizedTest
        @ValueSource(
                strings = {
                    "mkfifo -m 600 key.pem",
                    "ln -s /dev/zero key.pem",
                    "mkdir -m 700 key.pem"
                })
        void thatIsNoRegularFileIsRefusedAtOnce(String made) throws Exception {
            shell(made);
            Path file = folder.resolve("key.pem");
            String sentence = Waiting.inBackground(() -> refused(file)).get(10, TimeUnit.SECONDS);
            Files.delete(file);
            assertEquals(
                    ("Cannot use the key in %s: it is not a regular file of at most 64 KB."
                                    + " No other is made in its place.")
                            .formatted(file),
                    sentence);
        }

        @Test
        void thatIsLargeIsNotRead() throws Exception {
            Path file = file(new byte[(64 << 10) + 1]);
            String sentence = refused(file);
            assertTrue(sentence.contains("it is not a regular file of at most 64 KB"), sentence);
        }

        private static List<String> names(Path folder) throws IOException {
            try (Stream<Path> files = Files.list(folder)) {
                return files.map(file -> file.getFileName().toString()).sorted().toList();
            }
        }

        private static boolean posix() {
            return Path.of("").getFileSystem().supportedFileAttributeViews().contains("posix");
        }

        private static String permissions(Path file) throws IOException {
            return PosixFilePermissions.toString(Files.getPosixFilePermissions(file));
        }
    }

    @Nested
    class APeersKey {
        /** Whether a server with our TLS accepts a client with this key. */
        private boolean accepted(SSLSocketFactory client) throws Exception {
            Tls server = Transport.Keys.SERVER;
            try (ServerSocket listener = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
                var calling =
                        Waiting.inBackground(() -> {
                            try (Socket plain =
                                            new Socket(
                                                    listener.getInetAddress(),
                                                    listener.getLocalPort());
                                    var socket =
                                            (SSLSocket) client.createSocket(plain, "", 0, true)) {
                                socket.startHandshake();
                                return socket.getInputStream().read();
                            }
                        });
                try (Socket plain = listener.accept();
                        var socket = (SSLSocket) server.sockets.createSocket(plain, null, true)) {
                    Tls.configure(socket).startHandshake();
                    socket.getOutputStream().write(1);
                    assertEquals(1, calling.get(10, TimeUnit.SECONDS));
                    return true;
                } catch (SSLException e) {
                    assertTrue(
                            e.getMessage()
                                    .contains(
                                            "RSA keys have 2,048 bits or more, and an exponent"
                                                    + " below 2^32"),
                            e.getMessage());
                    return false;
                }
            }
        }

        private SSLSocketFactory rsa(int bits, String exponent) throws Exception {
            shell(
                    "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:%d -pkeyopt"
                                    .formatted(bits)
                            + " rsa_keygen_pubexp:%s -out key".formatted(exponent)
                            + " && openssl req -x509 -new -key key -subj /CN=rsa >>key");
            return FakeTls.withRsaKeyIn(folder.resolve("key"));
        }

        /**
         * The JDK accepts RSA keys of 1,024 bits, whose signatures an attacker may forge one day.
         */
        @Test
        void ofRsaHasAtLeast2048Bits() throws Exception {
            assertTrue(accepted(rsa(2_048, "65537")));
            assertFalse(accepted(rsa(2_040, "65537")));
        }

        /**
         * In an earlier version a handshake with an exponent of 3,070 bits cost eight times as much
         * as a handshake with one of our keys.
         */
        @Test
        void ofRsaHasAnExponentBelow2To32() throws Exception {
            assertTrue(accepted(rsa(2_048, "4294967295")));
            assertFalse(accepted(rsa(2_048, "4294967297")));
            assertFalse(accepted(rsa(2_048, "1" + "0".repeat(76) + "1")));
        }
    }
}
