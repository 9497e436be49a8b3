//JAVA 21+
//SOURCES OwnFiles.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.PrivateKey;
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
 * One side's key, and TLS with it. Each side makes its key on first use and proves in the handshake
 * that it has it; there is no authority, and nobody enrols.
 *
 * <p>A key is known by the SHA-256 of its public half, the SubjectPublicKeyInfo: names and dates in
 * the certificate around it mean nothing, so a renewed one is no stranger. TLS 1.3 only: earlier
 * versions know no half-close, so a client that ends its sending would lose the reply.
 */
final class Tls {
    private static final String[] PROTOCOLS = {"TLSv1.3"};

    /** Crockford's base 32: without I, L, O and U, which a person could take for something else. */
    private static final String DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

    /** Java's key stores want one. What guards a key is that others may not read its file. */
    private static final String PASSWORD = "changeit";

    private final X509Certificate certificate;
    private final SSLSocketFactory sockets;

    /** Thrown, with one sentence for a person, when there is no key to be had. */
    static final class KeyException extends IOException {
        private static final long serialVersionUID = 1;

        KeyException(String sentence, Throwable cause) {
            super(sentence, cause);
        }
    }

    /**
     * TLS with the key in {@code file}, which is made on first use. The file is PEM, its user's
     * alone; openssl and ncat take it as it is.
     *
     * @param trusted whether to go on with a peer whose key has this fingerprint
     * @throws KeyException when the file cannot be used or made; one that is there is never
     *     replaced
     */
    Tls(Path file, Predicate<String> trusted) throws KeyException {
        if (!Files.exists(file)) {
            make(file, System.getProperty("java.home"));
        }
        try {
            KeyStore key = read(Files.readString(file));
            certificate = (X509Certificate) key.getCertificate("key");
            KeyManagerFactory keys =
                    KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
            keys.init(key, PASSWORD.toCharArray());
            SSLContext context = SSLContext.getInstance(PROTOCOLS[0]);
            context.init(keys.getKeyManagers(), new TrustManager[] {new Pins(trusted)}, null);
            sockets = context.getSocketFactory();
        } catch (IOException | GeneralSecurityException | IllegalArgumentException e) {
            String sentence =
                    "Cannot use the key in %s: %s. No other is made in its place: put a copy of it"
                            + " back.";
            throw new KeyException(sentence.formatted(file, OwnFiles.reason(e)), e);
        }
    }

    /** The fingerprint of this side's key. */
    String fingerprint() {
        return fingerprint(certificate);
    }

    /** Makes this side's sockets. A client's later ones resume the session of its first. */
    SSLSocketFactory sockets() {
        return sockets;
    }

    /** Sets what every connection has: TLS 1.3, and a key on either side. */
    static SSLSocket configure(SSLSocket socket) {
        socket.setEnabledProtocols(PROTOCOLS);
        if (!socket.getUseClientMode()) {
            socket.setNeedClientAuth(true);
        }
        return socket;
    }

    // ---------------------------------------------------------------- knowing a key

    /** All 256 bits by which the key in {@code certificate} is known, in hexadecimal. */
    static String id(Certificate certificate) {
        try {
            byte[] publicKey = certificate.getPublicKey().getEncoded();
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(publicKey));
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("every Java has SHA-256", e);
        }
    }

    /** The first 100 bits of {@link #id}, for people, such as {@code K7QD-M2XA-9P4T-ZR6H-B3WE}. */
    static String fingerprint(Certificate certificate) {
        BigInteger bits = new BigInteger(id(certificate).substring(0, 25), 16);
        StringBuilder digits = new StringBuilder();
        for (int shift = 95; shift >= 0; shift -= 5) {
            digits.append(DIGITS.charAt(bits.shiftRight(shift).intValue() & 31));
            digits.append(shift > 0 && shift % 20 == 0 ? "-" : "");
        }
        return digits.toString();
    }

    /**
     * {@code typed} as {@link #fingerprint} writes it.
     *
     * @throws IllegalArgumentException with one sentence, when it is no fingerprint
     */
    static String parseFingerprint(String typed) {
        String fingerprint = typed.strip().toUpperCase(Locale.ROOT);
        if (!fingerprint.matches("([" + DIGITS + "]{4}-){4}[" + DIGITS + "]{4}")) {
            throw new IllegalArgumentException(
                    "'" + typed + "' is no key; a server's looks like K7QD-M2XA-9P4T-ZR6H-B3WE");
        }
        return fingerprint;
    }

    /** Who signed a certificate is of no interest: the handshake proves whose key it shows. */
    private record Pins(Predicate<String> trusted) implements X509TrustManager {
        @Override
        public void checkServerTrusted(X509Certificate[] chain, String keyType)
                throws CertificateException {
            if (!trusted.test(fingerprint(chain[0]))) {
                throw new CertificateException("not the right key");
            }
        }

        @Override
        public void checkClientTrusted(X509Certificate[] chain, String keyType)
                throws CertificateException {
            checkServerTrusted(chain, keyType);
        }

        @Override
        public X509Certificate[] getAcceptedIssuers() {
            return new X509Certificate[0];
        }
    }

    // ---------------------------------------------------------------- keeping a key

    private static KeyStore read(String pem) throws GeneralSecurityException, IOException {
        PrivateKey key =
                KeyFactory.getInstance("EC")
                        .generatePrivate(new PKCS8EncodedKeySpec(content(pem, "PRIVATE KEY")));
        Certificate certificate =
                CertificateFactory.getInstance("X.509")
                        .generateCertificate(new ByteArrayInputStream(content(pem, "CERTIFICATE")));
        Signature proof = Signature.getInstance("SHA256withECDSA");
        proof.initSign(key);
        byte[] signed = proof.sign();
        proof.initVerify(certificate);
        if (!proof.verify(signed)) {
            throw new IOException("its certificate is another key's");
        }
        // It stays in memory. PKCS12 would stretch the password: 0.1 s for nothing.
        KeyStore store = KeyStore.getInstance("JKS");
        store.load(null, null);
        store.setKeyEntry("key", key, PASSWORD.toCharArray(), new Certificate[] {certificate});
        return store;
    }

    /** The file appears whole or not at all, and never in place of one that was made meanwhile. */
    static void make(Path file, String javaHome) throws KeyException {
        try {
            Path parent = file.toAbsolutePath().getParent();
            if (!Files.exists(parent)) {
                Files.createDirectories(parent, OwnFiles.only("rwx------"));
            }
            Path folder = Files.createTempDirectory(parent, ".key", OwnFiles.only("rwx------"));
            Path generated = folder.resolve("generated");
            Path whole = folder.resolve("whole");
            try {
                generate(generated, Path.of(javaHome, "bin", "keytool"));
                KeyStore store = KeyStore.getInstance(generated.toFile(), PASSWORD.toCharArray());
                byte[] key = store.getKey("key", PASSWORD.toCharArray()).getEncoded();
                byte[] certificate = store.getCertificate("key").getEncoded();
                Files.createFile(whole, OwnFiles.only("rw-------"));
                String pem = pem("PRIVATE KEY", key) + pem("CERTIFICATE", certificate);
                Files.writeString(whole, pem, StandardOpenOption.SYNC);
                Files.createLink(file, whole);
            } finally {
                Files.deleteIfExists(generated);
                Files.deleteIfExists(whole);
                Files.delete(folder);
            }
        } catch (FileAlreadyExistsException e) {
            // Another start was faster: its key is the one.
        } catch (IOException | GeneralSecurityException e) {
            throw new KeyException("Cannot make a key in " + file + ": " + OwnFiles.reason(e), e);
        }
    }

    /** The JDK's own tool does it: Java has no public interface to make a certificate. */
    private static void generate(Path keyStore, Path keytool) throws IOException {
        String options =
                "-J-XX:TieredStopAtLevel=1 -genkeypair -alias key -keyalg EC -groupname secp256r1"
                        + " -dname CN=msg -validity 36500 -storetype PKCS12 -storepass changeit"
                        + " -keystore";
        ProcessBuilder tool = new ProcessBuilder().redirectErrorStream(true);
        tool.command().add(keytool.toString());
        tool.command().addAll(List.of(options.split(" ")));
        tool.command().add(keyStore.toString());
        Process process;
        try {
            process = tool.start();
        } catch (IOException e) {
            String sentence = "this Java has no %s; use a JDK, or copy a key there";
            throw new IOException(sentence.formatted(keytool), e);
        }
        String output = new String(process.getInputStream().readAllBytes());
        if (process.onExit().join().exitValue() != 0) {
            throw new IOException("keytool says: " + output.strip());
        }
    }

    private static byte[] content(String pem, String type) throws IOException {
        String block = "-----BEGIN %1$s-----([^-]+)-----END %1$s-----".formatted(type);
        Matcher found = Pattern.compile(block).matcher(pem);
        if (!found.find()) {
            throw new IOException("it does not hold a whole key and certificate");
        }
        return Base64.getMimeDecoder().decode(found.group(1));
    }

    private static String pem(String type, byte[] content) {
        String base64 = Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(content);
        return "-----BEGIN %s-----\n%s\n-----END %1$s-----\n".formatted(type, base64);
    }
}
