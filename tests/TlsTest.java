///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Keys, their files and fingerprints, and what TLS refuses
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Engine.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.lang.ProcessBuilder.Redirect;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** What one side's key is, and what becomes of a connection that is not as it should be. */
class TlsTest {
    @TempDir private Path folder;

    /** A certificate that openssl made; its key is thrown away. */
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
        return Files.writeString(folder.resolve("key.pem"), content);
    }

    private static Tls tls(Path file) throws IOException {
        return new Tls(file, anybody -> true);
    }

    @Nested
    class AKey {
        @Test
        void isKnownByTheHashOfItsPublicHalf() throws Exception {
            // What openssl pkey -pubout -outform DER | openssl dgst -sha256 says of it.
            var certificate =
                    CertificateFactory.getInstance("X.509")
                            .generateCertificate(
                                    new ByteArrayInputStream(
                                            CERTIFICATE.getBytes(StandardCharsets.US_ASCII)));
            assertEquals(
                    "36cb620af29139be040daf85e93313ffaae9471d4a1e0640471c9c3e1ea12ad2",
                    Tls.id(certificate));
            assertEquals("6V5P-42QJ-J4WV-W10D-NY2Y", Tls.fingerprint(certificate));
        }

        @Test
        void ofAnotherMakeIsTakenAsItIs() throws Exception {
            Path key = folder.resolve("made by openssl.pem");
            String options =
                    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
                            + " -subj /CN=anybody -out - -keyout";
            List<String> openssl = new ArrayList<>(List.of(options.split(" ")));
            openssl.add(key.toString());
            Process process;
            try {
                process = new ProcessBuilder(openssl).redirectError(Redirect.DISCARD).start();
            } catch (IOException e) {
                Assumptions.abort("openssl is missing: " + e.getMessage());
                return;
            }
            String certificate = new String(process.getInputStream().readAllBytes());
            assertEquals(0, process.waitFor());
            String made = Files.readString(key);
            String fingerprint = tls(file(made + certificate)).fingerprint();
            assertEquals(fingerprint, tls(file(certificate + made)).fingerprint());
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
        void thatIsNoneIsToldInOneSentence(String typed) {
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
            String fingerprint = tls(file).fingerprint();
            assertEquals(fingerprint, tls(file).fingerprint());
            assertEquals(List.of("key.pem"), names(file.getParent()), "nothing else is left");
            if (posix()) {
                assertEquals("rw-------", permissions(file));
                assertEquals("rwx------", permissions(file.getParent()));
            }
        }

        @Test
        void isOneAlsoWhenTwoProgramsStartForTheFirstTime() throws Exception {
            // Each would go on with a key of its own, and a name would belong to the one that is
            // not kept.
            Path file = folder.resolve("key.pem");
            List<Future<String>> starts = new ArrayList<>();
            for (int i = 0; i < 2; i++) {
                starts.add(Waiting.inBackground(() -> tls(file).fingerprint()));
            }
            for (Future<String> start : starts) {
                assertEquals(tls(file).fingerprint(), start.get(60, TimeUnit.SECONDS));
            }
            assertEquals(List.of("key.pem"), names(folder));
        }

        @Test
        void thatIsNotWholeIsNeitherUsedNorReplaced() throws Exception {
            Path good = folder.resolve("good.pem");
            Transport.Keys.copy(Transport.Keys.OTHER, good);
            String whole = Files.readString(good);
            int middle = whole.indexOf("-----BEGIN CERTIFICATE");
            for (String content :
                    List.of(
                            "",
                            whole.substring(0, middle),
                            whole.substring(middle),
                            whole.substring(0, whole.length() - 30),
                            whole.replaceFirst("BEGIN", "Begin"),
                            whole.replaceFirst("-\nM", "-\nA"))) {
                Path file = file(content);
                var refused = assertThrows(Tls.KeyException.class, () -> tls(file));
                String sentence = refused.getMessage();
                assertTrue(sentence.startsWith("Cannot use the key in " + file + ": "), sentence);
                assertTrue(
                        sentence.endsWith("No other is made in its place: put a copy of it back."));
                assertEquals(content, Files.readString(file));
            }
        }

        @Test
        void whoseCertificateIsAnotherKeysIsNotUsed() throws Exception {
            Path other = folder.resolve("other.pem");
            Transport.Keys.copy(Transport.Keys.OTHER, other);
            String key = Files.readString(other).replaceFirst("(?s)-----BEGIN CERT.*", "");
            Path file = file(key + CERTIFICATE);
            String sentence = assertThrows(Tls.KeyException.class, () -> tls(file)).getMessage();
            assertTrue(sentence.contains("its certificate is another key's"), sentence);
        }

        @Test
        void thatCannotBeReadIsNotReplaced() throws Exception {
            Path directory = Files.createDirectory(folder.resolve("key.pem"));
            String sentence =
                    assertThrows(Tls.KeyException.class, () -> tls(directory)).getMessage();
            assertTrue(sentence.startsWith("Cannot use the key in " + directory + ": "), sentence);
        }

        @Test
        void cannotBeMadeWhereItsFolderIsAFile() throws Exception {
            Path file = Files.createFile(folder.resolve("file")).resolve("key.pem");
            String sentence = assertThrows(Tls.KeyException.class, () -> tls(file)).getMessage();
            assertTrue(sentence.startsWith("Cannot make a key in " + file + ": "), sentence);
        }

        @Test
        void cannotBeMadeByAJavaWithoutKeytool() throws Exception {
            Path java = Files.createDirectory(folder.resolve("a JRE"));
            Path file = folder.resolve("key.pem");
            var refused =
                    assertThrows(Tls.KeyException.class, () -> Tls.make(file, java.toString()));
            assertEquals(
                    "Cannot make a key in %s: this Java has no %s; use a JDK, or copy a key there"
                            .formatted(file, java.resolve("bin").resolve("keytool")),
                    refused.getMessage());
            assertEquals(List.of("a JRE"), names(folder));
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
}
