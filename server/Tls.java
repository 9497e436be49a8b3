//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.GeneralSecurityException;
import java.security.Key;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.SecureRandom;
import java.security.Signature;
import java.security.cert.Certificate;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509TrustManager;

/**
 * The keys by which servers and clients know each other, and TLS with these: no authority, no
 * enrolment. Each side makes its key on first use; each proves in the handshake that it has it.
 *
 * <p>A key is known by the SHA-256 of its public half, the SubjectPublicKeyInfo: names and dates in
 * the certificate around it mean nothing, so a renewed one is no stranger. TLS 1.3 only: with 1.2 a
 * client that ends its input loses the reply.
 */
final class Tls {
    private static final String[] PROTOCOLS = {"TLSv1.3"};

    /** Crockford's base 32: no I, L, O, U, which a person could take for something else. */
    private static final String DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

    private static final int FINGERPRINT_DIGITS = 20;

    /** Such a file needs a password; its folder, which others may not enter, is what guards it. */
    private static final String PASSWORD = "changeit";

    private static final String ALIAS = "key";
    private static final String KEY = "PRIVATE KEY";
    private static final String CERTIFICATE = "CERTIFICATE";
    private static final Pattern PEM =
            Pattern.compile("-----BEGIN ([A-Z ]+)-----([^-]+)-----END \\1-----");

    private Tls() {}

    // ---------------------------------------------------------------- knowing a key

    /** All 256 bits of what identifies the owner of {@code certificate}, in hexadecimal. */
    static String id(Certificate certificate) {
        try {
            byte[] publicKey = certificate.getPublicKey().getEncoded();
            return HexFormat.of()
                    .formatHex(MessageDigest.getInstance("SHA-256").digest(publicKey));
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("every Java has SHA-256", e);
        }
    }

    /** The first 100 bits of {@link #id}, for people, such as {@code K7QD-M2XA-9P4T-ZR6H-B3WE}. */
    static String fingerprint(Certificate certificate) {
        BigInteger bits = new BigInteger(id(certificate).substring(0, 25), 16);
        StringBuilder digits = new StringBuilder();
        for (int shift = 5 * (FINGERPRINT_DIGITS - 1); shift >= 0; shift -= 5) {
            digits.append(DIGITS.charAt(bits.shiftRight(shift).intValue() & 31));
        }
        return grouped(digits.toString());
    }

    /**
     * A fingerprint as a person typed it, in the form of {@link #fingerprint}.
     *
     * @throws IllegalArgumentException with one sentence, when it is none
     */
    static String parseFingerprint(String typed) {
        String digits =
                typed.strip()
                        .toUpperCase(Locale.ROOT)
                        .replace("-", "")
                        .replace('O', '0')
                        .replaceAll("[IL]", "1");
        if (!digits.matches("[" + DIGITS + "]{" + FINGERPRINT_DIGITS + "}")) {
            throw new IllegalArgumentException(
                    "'" + typed + "' is not a key as a server prints it at its start, such as"
                            + " K7QD-M2XA-9P4T-ZR6H-B3WE.");
        }
        return grouped(digits);
    }

    private static String grouped(String digits) {
        return String.join("-", digits.split("(?<=\\G.{4})"));
    }

    // ---------------------------------------------------------------- having a key

    /** A private key, and the certificate that shows its public half. */
    record Identity(PrivateKey key, X509Certificate certificate) {}

    /**
     * The identity in {@code file}, made there on first use. The file is PEM, for its user alone:
     * {@code openssl} and {@code ncat} take it as it is.
     *
     * @throws IOException with one sentence, when the file cannot be used or made; a file that is
     *     there is never replaced
     */
    static Identity identity(Path file) throws IOException {
        if (!Files.exists(file)) {
            try {
                make(file);
            } catch (IOException | GeneralSecurityException e) {
                throw new IOException("Cannot make a key in " + file + ": " + reason(e), e);
            }
        }
        try {
            return read(Files.readString(file));
        } catch (IOException | GeneralSecurityException | IllegalArgumentException e) {
            throw new IOException(
                    "Cannot use the key in %s: %s. No other is made in its place; put a copy of it back."
                            .formatted(file, reason(e)),
                    e);
        }
    }

    private static Identity read(String pem) throws GeneralSecurityException {
        byte[] key = null;
        byte[] certificate = null;
        for (Matcher block = PEM.matcher(pem); block.find(); ) {
            byte[] content = Base64.getMimeDecoder().decode(block.group(2));
            switch (block.group(1)) {
                case KEY -> key = content;
                case CERTIFICATE -> certificate = content;
                default -> {} // of no use here
            }
        }
        if (key == null || certificate == null) {
            throw new GeneralSecurityException("it does not hold a whole key and certificate");
        }
        Identity identity =
                new Identity(
                        KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(key)),
                        (X509Certificate)
                                CertificateFactory.getInstance("X.509")
                                        .generateCertificate(
                                                new ByteArrayInputStream(certificate)));
        Signature trial = Signature.getInstance("SHA256withECDSA");
        trial.initSign(identity.key());
        byte[] signature = trial.sign();
        trial.initVerify(identity.certificate());
        if (!trial.verify(signature)) {
            throw new GeneralSecurityException("its certificate is another key's");
        }
        return identity;
    }

    /** The file appears whole or not at all, and never in place of one that was made meanwhile. */
    private static void make(Path file) throws IOException, GeneralSecurityException {
        Path parent = file.toAbsolutePath().getParent();
        if (!Files.exists(parent)) {
            Files.createDirectories(parent, forOwner("rwx------"));
        }
        Path folder = Files.createTempDirectory(parent, ".key", forOwner("rwx------"));
        Path made = folder.resolve("made");
        Path whole = folder.resolve("whole");
        try {
            generate(made);
            KeyStore store = KeyStore.getInstance(made.toFile(), PASSWORD.toCharArray());
            Key key = store.getKey(ALIAS, PASSWORD.toCharArray());
            String pem =
                    pem(KEY, key.getEncoded())
                            + pem(CERTIFICATE, store.getCertificate(ALIAS).getEncoded());
            Files.createFile(whole, forOwner("rw-------"));
            Files.writeString(whole, pem, StandardOpenOption.SYNC);
            link(file, whole);
        } finally {
            Files.deleteIfExists(made);
            Files.deleteIfExists(whole);
            Files.delete(folder);
        }
    }

    private static void link(Path file, Path whole) throws IOException {
        try {
            Files.createLink(file, whole);
        } catch (FileAlreadyExistsException e) {
            return; // another start was faster: its key is the one
        } catch (UnsupportedOperationException | FileSystemException e) {
            Files.move(whole, file); // a file system without links
        }
    }

    /** The JDK's own tool; making a certificate has no public interface in Java. */
    private static void generate(Path made) throws IOException {
        Path tool = Path.of(System.getProperty("java.home"), "bin", "keytool");
        String options =
                "-genkeypair -keyalg EC -groupname secp256r1 -sigalg SHA256withECDSA"
                        + " -dname CN=msg -validity 36500 -storetype PKCS12"
                        + " -J-XX:TieredStopAtLevel=1 -J-XX:+UseSerialGC"
                        + (" -alias " + ALIAS + " -storepass " + PASSWORD);
        List<String> command = new java.util.ArrayList<>(List.of(tool.toString()));
        command.addAll(List.of(options.split(" ")));
        command.addAll(List.of("-keystore", made.toString()));
        Process process;
        try {
            process = new ProcessBuilder(command).redirectErrorStream(true).start();
        } catch (IOException e) {
            throw new IOException(
                    "this Java has no keytool (%s); use a JDK, or copy a key here".formatted(tool),
                    e);
        }
        String output =
                new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        if (process.onExit().join().exitValue() != 0) {
            throw new IOException("keytool: " + output.strip().replaceAll("\\R", " "));
        }
    }

    private static String pem(String type, byte[] content) {
        return "-----BEGIN %s-----\n%s\n-----END %1$s-----\n"
                .formatted(
                        type, Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(content));
    }

    private static FileAttribute<?>[] forOwner(String permissions) {
        return Path.of("").getFileSystem().supportedFileAttributeViews().contains("posix")
                ? new FileAttribute<?>[] {
                    PosixFilePermissions.asFileAttribute(
                            PosixFilePermissions.fromString(permissions))
                }
                : new FileAttribute<?>[0];
    }

    private static String reason(Exception e) {
        return e instanceof FileSystemException at && at.getReason() == null
                ? e.getClass().getSimpleName()
                : e.getMessage();
    }

    // ---------------------------------------------------------------- TLS with keys

    /** Thrown in a client's handshake, before anything of the request has left. */
    static final class UntrustedException extends CertificateException {
        private static final long serialVersionUID = 1;

        private final String fingerprint;

        UntrustedException(String fingerprint) {
            super("its key is " + fingerprint);
            this.fingerprint = fingerprint;
        }

        /** The key that the server has shown. */
        String fingerprint() {
            return fingerprint;
        }
    }

    /**
     * Makes sockets of {@code identity}'s owner that go on only with a peer whose fingerprint is
     * {@code trusted}. Later connections of one factory resume the session of earlier ones.
     */
    static SSLSocketFactory sockets(Identity identity, Predicate<String> trusted) {
        try {
            KeyStore store = KeyStore.getInstance("PKCS12");
            store.load(null, null);
            Certificate[] chain = {identity.certificate()};
            store.setKeyEntry(ALIAS, identity.key(), PASSWORD.toCharArray(), chain);
            KeyManagerFactory keys =
                    KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
            keys.init(store, PASSWORD.toCharArray());
            SSLContext context = SSLContext.getInstance(PROTOCOLS[0]);
            context.init(
                    keys.getKeyManagers(),
                    new TrustManager[] {new Pins(trusted)},
                    new SecureRandom());
            return context.getSocketFactory();
        } catch (GeneralSecurityException | IOException e) {
            throw new IllegalStateException("this Java cannot do TLS 1.3 with P-256", e);
        }
    }

    /** Sets what the ends have in common: TLS 1.3, and a key on either side. */
    static SSLSocket configure(SSLSocket socket) {
        socket.setEnabledProtocols(PROTOCOLS);
        if (!socket.getUseClientMode()) {
            socket.setNeedClientAuth(true);
        }
        return socket;
    }

    /** Who signed a certificate is of no interest: only whose key it is. */
    private record Pins(Predicate<String> trusted) implements X509TrustManager {
        @Override
        public void checkClientTrusted(X509Certificate[] chain, String keyType)
                throws CertificateException {
            check(chain[0]);
        }

        @Override
        public void checkServerTrusted(X509Certificate[] chain, String keyType)
                throws CertificateException {
            check(chain[0]);
        }

        private void check(X509Certificate certificate) throws UntrustedException {
            String fingerprint = fingerprint(certificate);
            if (!trusted.test(fingerprint)) {
                throw new UntrustedException(fingerprint);
            }
        }

        @Override
        public X509Certificate[] getAcceptedIssuers() {
            return new X509Certificate[0];
        }
    }
}
