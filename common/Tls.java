//JAVA 21+
//SOURCES OwnFiles.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.Signature;
import java.security.cert.Certificate;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.interfaces.RSAPublicKey;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import java.util.stream.Stream;

import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509TrustManager;

/**
 * The key of one side, server or client, and TLS with this key. Each side makes its key on first
 * use and proves in the handshake that it has the private half. There is no certificate authority.
 *
 * <p>A key is identified by the SHA-256 of its public half, the SubjectPublicKeyInfo. Names and
 * dates in its certificate have no meaning, so a renewed certificate changes nothing. Only TLS 1.3
 * is on: earlier versions have no half-close, so a client that shuts down its sending side would
 * lose the reply.
 */
final class Tls {
    private static final String[] PROTOCOLS = {"TLSv1.3"};

    /** Crockford's base 32. It lacks U, and I, L and O, which a person could misread as digits. */
    private static final String DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

    /** A regular expression for a {@link #fingerprint}. */
    static final String FINGERPRINT = "(?:[" + DIGITS + "]{4}-){4}[" + DIGITS + "]{4}";

    /** A block of a PEM file (RFC 7468); the groups are its label and its base 64. */
    private static final Pattern BLOCK =
            Pattern.compile("(?s)-----BEGIN ([A-Z0-9 ]+)-----(.+?)-----END \\1-----");

    private static final String KEY = "PRIVATE KEY";
    private static final String CERTIFICATE = "CERTIFICATE";

    /**
     * The permissions of the key file protect the key; Java's key stores need a password anyway.
     */
    private static final String PASSWORD = "changeit";

    private static final String SIGNATURE = "SHA256withECDSA";

    /** The fingerprint of this side's key. */
    final String fingerprint;

    /** The factory of all sockets, shared so that a client can resume its first session. */
    final SSLSocketFactory sockets;

    /**
     * TLS with the key in {@code file}, which is made on first use and never replaced. The file is
     * private to its user. Its format is PEM, so openssl and ncat can read it.
     *
     * @param trusted takes the fingerprint of a peer's key and decides whether the key is accepted
     * @throws IOException with one sentence, if the file cannot be used or made
     */
    Tls(Path file, Predicate<String> trusted) throws IOException {
        make(file);
        try {
            KeyStore key = read(file);
            fingerprint = fingerprint(key.getCertificate("key"));
            var keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
            keys.init(key, PASSWORD.toCharArray());
            SSLContext context = SSLContext.getInstance(PROTOCOLS[0]);
            context.init(keys.getKeyManagers(), new TrustManager[] {new Pins(trusted)}, null);
            sockets = context.getSocketFactory();
        } catch (IOException | GeneralSecurityException | IllegalArgumentException e) {
            String sentence = "Cannot use the key in %s: %s. No other is made in its place.";
            throw new IOException(sentence.formatted(file, OwnFiles.reason(e)), e);
        }
    }

    /** Configures {@code socket} for TLS 1.3 with a key on each side. */
    static SSLSocket configure(SSLSocket socket) {
        socket.setEnabledProtocols(PROTOCOLS);
        socket.setNeedClientAuth(true); // has an effect only on a server
        return socket;
    }

    // ---------------------------------------------------------------- identifying a key

    /** The SHA-256 of the public key in {@code certificate}, 64 hexadecimal digits. */
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
     * {@code typed} in the form of a {@link #fingerprint}: in upper case, without blanks around it.
     *
     * @throws IllegalArgumentException with one sentence, if it is not a fingerprint
     */
    static String parseFingerprint(String typed) {
        String fingerprint = typed.strip().toUpperCase(Locale.ROOT);
        if (!fingerprint.matches(FINGERPRINT)) {
            throw new IllegalArgumentException(
                    "'" + typed + "' is no key; a server's looks like K7QD-M2XA-9P4T-ZR6H-B3WE");
        }
        return fingerprint;
    }

    /** Trusts keys, not signatures of certificates: the handshake proves the peer's key. */
    private record Pins(Predicate<String> trusted) implements X509TrustManager {
        @Override
        public void checkServerTrusted(X509Certificate[] chain, String keyType)
                throws CertificateException {
            // A short modulus can be factored, and a long exponent makes each handshake expensive.
            boolean bad =
                    chain[0].getPublicKey() instanceof RSAPublicKey rsa
                            && (rsa.getModulus().bitLength() < 2_048
                                    || rsa.getPublicExponent().bitLength() > 32);
            if (bad || !trusted.test(fingerprint(chain[0]))) {
                String rule = "RSA keys have 2,048 bits or more, and an exponent below 2^32";
                throw new CertificateException(bad ? rule : "not the right key");
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

    private static KeyStore read(Path file) throws GeneralSecurityException, IOException {
        // A program on Windows may have saved the file as UTF-16: ASCII with zeros in between.
        String pem =
                new String(OwnFiles.read(file, 077), StandardCharsets.ISO_8859_1).replace("\0", "");
        Map<String, String> blocks = new TreeMap<>();
        BLOCK.matcher(pem).results().forEach(it -> blocks.putIfAbsent(it.group(1), it.group(2)));
        if (!blocks.keySet().containsAll(List.of(KEY, CERTIFICATE))) {
            String sentence =
                    "its PEM blocks are %s, and should be [CERTIFICATE, PRIVATE KEY]. To make such"
                            + " a file NEW: openssl pkey -in '%s' -out NEW && openssl req -x509"
                            + " -new -subj /CN=msg -key NEW >>NEW";
            throw new IOException(sentence.formatted(blocks.keySet(), file));
        }
        Base64.Decoder base64 = Base64.getMimeDecoder();
        var encoded = new PKCS8EncodedKeySpec(base64.decode(blocks.get(KEY)));
        PrivateKey key = KeyFactory.getInstance("EC").generatePrivate(encoded);
        InputStream der = new ByteArrayInputStream(base64.decode(blocks.get(CERTIFICATE)));
        Certificate certificate = CertificateFactory.getInstance("X.509").generateCertificate(der);
        Signature proof = Signature.getInstance(SIGNATURE);
        proof.initSign(key);
        byte[] signed = proof.sign();
        proof.initVerify(certificate);
        if (!proof.verify(signed)) {
            throw new IOException("its certificate is another key's");
        }
        // JKS is enough in memory. PKCS12 would derive a key from the password, which takes 0.1 s.
        KeyStore store = KeyStore.getInstance("JKS");
        store.load(null, null);
        store.setKeyEntry("key", key, PASSWORD.toCharArray(), new Certificate[] {certificate});
        return store;
    }

    /**
     * Makes a missing key. The file appears whole or not at all, and never replaces a file that
     * another start made meanwhile. Temporary files of a start that was killed are deleted.
     */
    private static void make(Path file) throws IOException {
        Path folder = file.toAbsolutePath().getParent();
        String begun = "." + file.getFileName() + ".begun-";
        try {
            if (!Files.exists(file)) {
                if (!Files.exists(folder)) {
                    Files.createDirectories(folder, OwnFiles.only("rwx------"));
                }
                Path whole = Files.createTempFile(folder, begun, "", OwnFiles.only("rw-------"));
                Files.writeString(whole, newKey(), StandardOpenOption.SYNC);
                Files.createLink(file, whole);
            }
        } catch (FileAlreadyExistsException | NoSuchFileException e) {
            // Another start was faster: its key counts, and it may have deleted our temporary file.
        } catch (IOException | GeneralSecurityException e) {
            throw new IOException("Cannot make a key in " + file + ": " + OwnFiles.reason(e), e);
        } finally {
            File[] left = folder.toFile().listFiles((in, name) -> name.startsWith(begun));
            Stream.ofNullable(left).flatMap(Stream::of).forEach(File::delete);
        }
    }

    /**
     * A new key and its certificate (RFC 5280, 4.1) as PEM. Java has no public API that makes a
     * certificate.
     */
    private static String newKey() throws GeneralSecurityException {
        KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
        generator.initialize(new ECGenParameterSpec("secp256r1")); // P-256
        KeyPair keys = generator.generateKeyPair();
        HexFormat hex = HexFormat.of();
        String algorithm = "300a06082a8648ce3d040302"; // ecdsa-with-SHA256
        String name = "300e310c300a06035504030c036d7367"; // CN=msg
        String dates = // 2000-01-01 to 99991231235959Z, which means no end (RFC 5280, 4.1.2.5)
                "3020170d3030303130313030303030305a180f39393939313233313233353935395a";
        String head = "a003020102" + "020101" + algorithm + name + dates + name; // version 3, no. 1
        String body = der("30", head, hex.formatHex(keys.getPublic().getEncoded()));
        Signature signature = Signature.getInstance(SIGNATURE);
        signature.initSign(keys.getPrivate());
        signature.update(hex.parseHex(body));
        String signed = der("03", "00", hex.formatHex(signature.sign()));
        byte[] certificate = hex.parseHex(der("30", body, algorithm, signed));
        return pem(KEY, keys.getPrivate().getEncoded()) + pem(CERTIFICATE, certificate);
    }

    /** A value in DER (ITU-T X.690, 8.1.3): tag, length and content, all in hexadecimal. */
    private static String der(String tag, String... parts) {
        String content = String.join("", parts);
        int length = content.length() / 2;
        String form = length < 128 ? "%02x" : length < 256 ? "81%02x" : "82%04x";
        return tag + form.formatted(length) + content;
    }

    private static String pem(String type, byte[] content) {
        String base64 = Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(content);
        return "-----BEGIN %s-----\n%s\n-----END %1$s-----\n".formatted(type, base64);
    }
}
