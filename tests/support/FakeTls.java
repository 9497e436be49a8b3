//JAVA 21+
//SOURCES FakeServer.java
//SOURCES Transport.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;

import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509TrustManager;

/** A TLS server with a fixed reply, and sockets of peers with an unusual key or none. */
final class FakeTls {
    private FakeTls() {}

    /** A server over sockets from {@code sockets}; it records each request and sends the reply. */
    static FakeServer answering(SSLSocketFactory sockets, String reply) throws IOException {
        FakeServer[] self = new FakeServer[1];
        self[0] =
                new FakeServer(socket -> {
                    var tls = (SSLSocket) sockets.createSocket(socket, null, true);
                    Tls.configure(tls).startHandshake();
                    byte[] request = tls.getInputStream().readAllBytes();
                    self[0].requests.add(new String(request, StandardCharsets.UTF_8));
                    tls.getOutputStream().write(reply.getBytes(StandardCharsets.UTF_8));
                    tls.close();
                });
        return self[0];
    }

    /** Sockets with the certificate in {@code pem}, but not its key; they trust every peer. */
    static SSLSocketFactory withCertificateOf(Path pem) throws Exception {
        KeyPairGenerator keys = KeyPairGenerator.getInstance("EC");
        keys.initialize(256);
        return sockets(store(keys.generateKeyPair().getPrivate(), Files.readString(pem)));
    }

    private static KeyStore store(PrivateKey key, String pem) throws Exception {
        byte[] certificate =
                pem.substring(pem.indexOf("-----BEGIN CERTIFICATE"))
                        .getBytes(StandardCharsets.US_ASCII);
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        Certificate[] chain = {
            CertificateFactory.getInstance("X.509")
                    .generateCertificate(new ByteArrayInputStream(certificate))
        };
        store.setKeyEntry("key", key, new char[0], chain);
        return store;
    }

    /** Sockets with the RSA key and the certificate in {@code pem}; they trust every peer. */
    static SSLSocketFactory withRsaKeyIn(Path pem) throws Exception {
        String text = Files.readString(pem);
        String key = text.replaceFirst("(?s).*BEGIN PRIVATE KEY-----(.*)-----END PRIV.*", "$1");
        var encoded = new PKCS8EncodedKeySpec(Base64.getMimeDecoder().decode(key));
        return sockets(store(KeyFactory.getInstance("RSA").generatePrivate(encoded), text));
    }

    /** Sockets without a key; they trust every peer. */
    static SSLSocketFactory withoutKey() throws Exception {
        return sockets(null);
    }

    private static SSLSocketFactory sockets(KeyStore store) throws Exception {
        KeyManagerFactory keys = KeyManagerFactory.getInstance("SunX509");
        keys.init(store, new char[0]);
        SSLContext context = SSLContext.getInstance("TLSv1.3");
        context.init(keys.getKeyManagers(), new TrustManager[] {new Anybody()}, null);
        return context.getSocketFactory();
    }

    private record Anybody() implements X509TrustManager {
        @Override
        public void checkClientTrusted(X509Certificate[] chain, String keyType) {}

        @Override
        public void checkServerTrusted(X509Certificate[] chain, String keyType) {}

        @Override
        public X509Certificate[] getAcceptedIssuers() {
            return new X509Certificate[0];
        }
    }
}
