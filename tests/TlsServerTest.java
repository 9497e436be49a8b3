///usr/bin/env jbang "$0" "$@" ; exit $?
//DESCRIPTION Tests of a server that speaks TLS, and of the attacks that it prevents
//JAVA 21+
//MAIN TestMain
//SOURCES TestMain.java
//SOURCES support/Engine.java
//SOURCES support/FakeTls.java
//SOURCES support/RecordingProxy.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.ByteArrayOutputStream;
import java.io.FilterInputStream;
import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.ProcessBuilder.Redirect;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import javax.net.ssl.SNIServerName;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;

/**
 * Tests of behaviour that only a TLS server has. The other tests of the server run over TLS, too.
 */
class TlsServerTest {
    private static final String TLS_ONLY = "Message declined. This server speaks TLS only\n";
    private static final int LIMIT_MS = 1_500;

    @TempDir private Path folder;
    private Engine engine;

    @BeforeEach
    void start() throws Exception {
        engine = new Engine(Transport.TLS, folder, Engine.limits(LIMIT_MS, 2_000, 2_000));
    }

    @AfterEach
    void stop() {
        engine.close();
    }

    private Wire plain() throws IOException {
        return new Wire(engine.port());
    }

    @Test
    void aPlainClientGetsARefusalInPlainText() throws Exception {
        for (String request : List.of("fetch;bob\n", "fetch;bob", "x", "\n", "")) {
            try (Wire wire = plain()) {
                assertEquals(TLS_ONLY, wire.send(request).endInput().receive(), request);
            }
        }
        Waiting.eventually(
                "all conversations have ended", () -> engine.heard.conversations().size() == 5);
        engine.heard
                .conversations()
                .forEach(ended ->
                        assertEquals(
                                "Message declined. This server speaks TLS only", ended.outcome));
    }

    @Test
    void aSilentClientGetsATimeoutReply() throws Exception {
        try (Wire wire = plain()) {
            assertEquals(Wire.TIMED_OUT, wire.receive());
        }
    }

    @Test
    void theCommandsOfTheDocumentWork() throws Exception {
        // In an earlier version the document did not explain how to create key.pem.
        String document = Files.readString(TestMain.checkout().resolve("docs/tls.md"));
        Matcher said =
                Pattern.compile("(?s)`(openssl s_client [^`]+)`.*?```sh\n(.*?)```")
                        .matcher(document);
        assertTrue(said.find());
        assumeTrue(byHand("command -v ncat && command -v openssl").lines().count() == 2);
        assertEquals(Wire.EMPTY, byHand(said.group(2)));
        Transport.Keys.copy(Transport.Keys.CLIENT, folder.resolve("key.pem")); // a client's key
        String request = "echo 'store;Kyriakos;george;hi Kyriakos' | ";
        assertEquals(Wire.STORED, byHand(request + said.group(1)));
    }

    /** The output of {@code commands}, with the server's port in place of 5000. */
    private String byHand(String commands) throws Exception {
        String here = commands.replace("5000", "" + engine.port());
        ProcessBuilder shell = new ProcessBuilder("sh", "-c", here).directory(folder.toFile());
        Process process = shell.redirectError(Redirect.DISCARD).start();
        return new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    }

    @Test
    void anEavesdropperFindsNoNameAndNoText() throws Exception {
        try (var proxy = new RecordingProxy(engine.port())) {
            String asked = "store;Kyriakos;George the sender;The plan 7316";
            for (String request : List.of(asked, "fetch;Kyriakos")) {
                try (Wire wire = new Wire(Transport.TLS, Wire.loopback(proxy.port()), 0)) {
                    wire.send(request).endInput().receive();
                }
            }
            var all = new ByteArrayOutputStream();
            for (RecordingProxy.Recording recording : proxy.recordings()) {
                all.writeBytes(recording.fromClient().toByteArray());
                all.writeBytes(recording.fromServer().toByteArray());
            }
            String seen = all.toString(StandardCharsets.ISO_8859_1);
            assertTrue(seen.length() > 1_000, "the proxy recorded too few bytes: " + seen.length());
            for (String word :
                    List.of("Kyriakos", "George", "plan 7316", "store", "fetch", "Retrieving")) {
                assertFalse(seen.contains(word), word);
            }
        }
    }

    // ---------------------------------------------------------------- ends of requests and replies

    @Test
    void aTruncatedRequestIsRefused() throws Exception {
        // In an earlier version the server stored "pay 1" if an attacker cut "pay 100 euros"
        // between two records.
        for (String end : List.of("", ";", "00 eu")) {
            try (Socket socket = new Socket("127.0.0.1", engine.port());
                    SSLSocket tls = over(socket, Transport.Keys.CLIENT.sockets)) {
                Tls.configure(tls);
                tls.getOutputStream().write(("store;bob;al;pay 1" + end).getBytes());
                // an attacker on the network closes TCP without close_notify
                socket.shutdownOutput();
                assertEquals(
                        "Message declined. Inside TLS a request ends with LF or close_notify\n",
                        new String(tls.getInputStream().readAllBytes(), StandardCharsets.UTF_8));
            }
        }
        assertEquals(Wire.EMPTY, engine.ask("fetch;bob"));
        assertEquals(
                Wire.STORED, engine.ask("store;bob;al;pay 100"), "our client sends close_notify");
    }

    @Test
    void silenceEndsNoRequest() throws Exception {
        // In an earlier version an attacker on the path could hold back "00", so that silence made
        // the server store "pay 1".
        Path other = Files.createDirectory(folder.resolve("other"));
        try (Engine patient = new Engine(Transport.TLS, other, Engine.ROOMY);
                Socket socket = new Socket("127.0.0.1", patient.port());
                SSLSocket tls = over(socket, Transport.Keys.CLIENT.sockets)) {
            Tls.configure(tls).startHandshake();
            tls.getOutputStream().write("store;bob;al;pay 1".getBytes());
            tls.setSoTimeout((int) Connection.SILENCE.toMillis() + 300);
            InputStream in = tls.getInputStream();
            assertThrows(SocketTimeoutException.class, in::read);
            tls.setSoTimeout(60_000);
            tls.getOutputStream().write("00\n".getBytes());
            assertEquals(Wire.STORED, new String(in.readAllBytes(), StandardCharsets.UTF_8));
            assertTrue(patient.ask("fetch;bob").contains("bob;al;pay 100\n"));
        }
    }

    @Test
    void aReplyEndsWithCloseNotify() throws Exception {
        // Without close_notify a client cannot distinguish the server's close from an attacker's.
        AtomicBoolean cut = new AtomicBoolean();
        Socket socket =
                new Socket("127.0.0.1", engine.port()) {
                    @Override
                    public InputStream getInputStream() throws IOException {
                        return new FilterInputStream(super.getInputStream()) {
                            @Override
                            public int read(byte[] bytes, int from, int length) throws IOException {
                                int count = in.read(bytes, from, length);
                                cut.compareAndSet(false, count < 0);
                                return count;
                            }
                        };
                    }
                };
        try (socket;
                SSLSocket tls = Transport.Keys.over(socket, Transport.Keys.CLIENT)) {
            tls.getOutputStream().write("fetch;nobody\n".getBytes());
            byte[] reply = tls.getInputStream().readAllBytes();
            assertEquals(Wire.EMPTY, new String(reply, StandardCharsets.UTF_8));
            assertFalse(cut.get(), "the client needed the end of the TCP connection");
        }
    }

    // ---------------------------------------------------------------- refused clients

    @Test
    void tls12IsRefused() throws Exception {
        // In an earlier version a client with TLS 1.2 that had closed its sending side got an empty
        // reply.
        try (Socket socket = new Socket("127.0.0.1", engine.port())) {
            SSLSocket tls = over(socket, Transport.Keys.CLIENT.sockets);
            tls.setEnabledProtocols(new String[] {"TLSv1.2"});
            assertThrows(SSLException.class, tls::startHandshake);
        }
        assertRefused("TLSv1.2");
    }

    @Test
    void aClientWithoutAKeyIsRefused() throws Exception {
        assertNoReply(FakeTls.withoutKey());
        assertRefused("Empty client certificate chain");
    }

    @Test
    void aClientWithAStolenCertificateIsRefused() throws Exception {
        // A certificate is not secret: every server that its owner has used has received it.
        Path pem = folder.resolve("somebody.pem");
        Transport.Keys.copy(Transport.Keys.OTHER, pem);
        assertNoReply(FakeTls.withCertificateOf(pem));
        assertRefused("CertificateVerify");
    }

    private SSLSocket over(Socket socket, SSLSocketFactory sockets) throws IOException {
        return (SSLSocket) sockets.createSocket(socket, "127.0.0.1", engine.port(), true);
    }

    /** In TLS 1.3 a client learns only at its first read that the server refused it. */
    private void assertNoReply(SSLSocketFactory sockets) throws IOException {
        try (Socket socket = new Socket("127.0.0.1", engine.port())) {
            SSLSocket tls = Tls.configure(over(socket, sockets));
            assertThrows(
                    IOException.class,
                    () -> {
                        tls.startHandshake();
                        tls.getOutputStream().write("fetch;bob\n".getBytes());
                        assertEquals(-1, tls.getInputStream().read());
                        throw new IOException("the connection ended");
                    });
        }
    }

    private void assertRefused(String reason) throws Exception {
        Observer.Conversation ended = engine.heard.conversation();
        String outcome = ended.outcome;
        assertTrue(outcome.startsWith("cut off: the TLS handshake failed: "), outcome);
        assertTrue(outcome.contains(reason), outcome);
        assertNull(ended.request);
        assertEquals(List.of(), engine.heard.troubles());
    }

    // ---------------------------------------------------------------- handshakes without an end

    /** A ClientHello as our client sends it. */
    private static byte[] hello() throws Exception {
        try (var server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
                Socket client = new Socket(server.getInetAddress(), server.getLocalPort());
                Socket accepted = server.accept()) {
            var tls =
                    (SSLSocket) Transport.Keys.CLIENT.sockets.createSocket(client, "new", 1, true);
            Waiting.inBackground(() -> {
                Tls.configure(tls).startHandshake();
                return null;
            });
            byte[] header = accepted.getInputStream().readNBytes(5);
            int length = (header[3] & 0xff) << 8 | header[4] & 0xff;
            var record = new ByteArrayOutputStream();
            record.writeBytes(header);
            record.writeBytes(accepted.getInputStream().readNBytes(length));
            return record.toByteArray();
        }
    }

    /** Sends {@code start}; returns how long the server then kept the connection open. */
    private long millisUntilClosed(byte[] start) throws Exception {
        long began = System.nanoTime();
        try (Wire wire = plain()) {
            wire.send(start).answer();
        }
        return Waiting.millisSince(began);
    }

    @Test
    void anUnfinishedHandshakeIsCutOffAtTheDeadline() throws Exception {
        byte[] hello = hello();
        byte[] half = Arrays.copyOf(hello, hello.length / 2);
        // the largest record, with the beginning of a handshake message that is still larger
        byte[] large = new byte[5 + 16_384];
        System.arraycopy(new byte[] {0x16, 3, 1, 0x40, 0, 1, 0, 0x60, 0}, 0, large, 0, 9);
        for (byte[] start : List.of(hello, half, large, new byte[] {0x16})) {
            long millis = millisUntilClosed(start);
            assertTrue(
                    millis >= LIMIT_MS - 50 && millis < LIMIT_MS + 5_000,
                    start.length + " bytes, closed after " + millis);
        }
    }

    @Test
    void aResetDuringTheHandshakeIsLoggedAsAReset() throws Exception {
        // In an earlier version the log had the name of a method of the JDK instead of the reason.
        try (Socket socket = new Socket("127.0.0.1", engine.port())) {
            socket.getOutputStream().write(hello());
            socket.getInputStream().read();
            socket.setSoLinger(true, 0); // so that the close is a reset
        }
        assertRefused("Connection reset");
    }

    @Test
    void garbageAfterTheFirstByteIsCutOffAtOnce() throws Exception {
        for (int seed = 0; seed < 20; seed++) {
            byte[] garbage = new byte[600];
            new Random(seed).nextBytes(garbage);
            garbage[0] = 0x16;
            if (seed % 2 == 0) {
                garbage[1] = 3; // like the second byte of a TLS record
            }
            garbage[3] = 0; // a short record
            millisUntilClosed(garbage);
        }
        Waiting.eventually(
                "all conversations have ended", () -> engine.heard.conversations().size() == 20);
        for (Observer.Conversation ended : engine.heard.conversations()) {
            assertTrue(
                    ended.outcome.startsWith("cut off: the TLS handshake failed: "),
                    () -> ended.outcome);
        }
        assertEquals(List.of(), engine.heard.troubles());
    }

    @Test
    void aHandshakeThatDripsIsCutOffAtTheDeadline() throws Exception {
        byte[] hello = hello();
        long began = System.nanoTime();
        try (Wire wire = plain()) {
            assertThrows(
                    IOException.class,
                    () -> {
                        for (byte b : hello) {
                            wire.send(new byte[] {b});
                            Thread.sleep(50);
                        }
                    });
        }
        long millis = Waiting.millisSince(began);
        assertTrue(millis >= LIMIT_MS - 50 && millis < LIMIT_MS + 5_000, "after " + millis);
    }

    @Test
    void aRecordThatDripsIsCutOffAtTheDeadline() throws Exception {
        // In an earlier version the server limited each read of the socket. A client that sent a
        // byte now and then was never cut off.
        try (var socket = new DrippingSocket(engine.port());
                SSLSocket tls = Transport.Keys.over(socket, Transport.Keys.CLIENT)) {
            long began = System.nanoTime();
            socket.dripping = true;
            assertThrows(
                    IOException.class,
                    () -> tls.getOutputStream().write(("fetch;" + "x".repeat(200)).getBytes()));
            long millis = Waiting.millisSince(began);
            assertTrue(millis >= LIMIT_MS / 2 && millis < LIMIT_MS + 5_000, "after " + millis);
        }
        assertEquals("Message declined. Timed out", engine.heard.conversation().outcome);
    }

    /** Sends its bytes one by one after {@link #dripping} is set. */
    private static final class DrippingSocket extends Socket {
        private volatile boolean dripping;

        DrippingSocket(int port) throws IOException {
            super("127.0.0.1", port);
        }

        @Override
        public OutputStream getOutputStream() throws IOException {
            return new FilterOutputStream(super.getOutputStream()) {
                @Override
                public void write(byte[] bytes, int from, int length) throws IOException {
                    for (int i = from; dripping && i < from + length; i++) {
                        out.write(bytes[i]);
                        LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(40));
                    }
                    if (!dripping) {
                        out.write(bytes, from, length);
                    }
                }
            };
        }
    }

    /** Runs longer by hand with {@code -Dhandshakes=10000}. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void noHandshakeCanForgeOrBreakTheLog(boolean trace) throws Exception {
        // An exception of the JDK quotes the server name that a client sent. In an earlier version
        // one such name cleared the operator's screen, and others forged lines of the log.
        Random random = new Random(7680);
        StringWriter out = new StringWriter();
        PrintWriter printer = new PrintWriter(out, true);
        RequestLog log =
                trace ? new Trace(printer, printer) : new RequestLog(printer, printer, false);
        int count = Integer.getInteger("handshakes", 60);
        Path place = Files.createDirectory(folder.resolve("logged")).resolve("messages.db");
        try (MessageStore store = new MessageStore(place.toString());
                MsgServer server =
                        new MsgServer(
                                new InetSocketAddress("127.0.0.1", 0),
                                store,
                                Engine.ROOMY,
                                log,
                                Thread.ofVirtual(),
                                Transport.Keys.SERVER)) {
            server.start();
            log.open();
            for (int i = 0; i < count; i++) {
                try (Socket socket = new Socket("127.0.0.1", server.port())) {
                    socket.setTcpNoDelay(true);
                    // For a known host the JDK resumes the session with the old server name. So
                    // each hostile name needs a new host.
                    String host = i % 2 == 0 ? "new" + i : "known";
                    SSLSocketFactory sockets = Transport.Keys.CLIENT.sockets;
                    var tls = (SSLSocket) sockets.createSocket(socket, host, 1, true);
                    SSLParameters hello = Tls.configure(tls).getSSLParameters();
                    byte[] name = i % 2 == 0 ? hostile(random) : host.getBytes();
                    hello.setServerNames(List.of(new SNIServerName(0, name) {}));
                    String protocol = new String(hostile(random), StandardCharsets.ISO_8859_1);
                    hello.setApplicationProtocols(
                            new String[] {protocol.substring(0, Math.min(protocol.length(), 200))});
                    tls.setSSLParameters(hello);
                    String request = new String(hostile(random), StandardCharsets.UTF_8);
                    tls.getOutputStream().write(("fetch;" + request + "\n").getBytes());
                    tls.getInputStream().readAllBytes();
                } catch (IOException e) {
                    // Expected: the server refuses most of these clients.
                }
            }
        }
        log.close("Goodbye.");
        Pattern line =
                trace
                        ? Pattern.compile(" *#\\d+ +\\d+\\.\\d ms  conversation-\\d+ .*")
                        : Pattern.compile(
                                "[-0-9]+ [-+0-9:.]+  #\\d+  127\\.0\\.0\\.1:\\d+  .* ms  virtual");
        List<String> lines = out.toString().lines().filter(l -> !l.equals("Goodbye.")).toList();
        assertTrue(lines.size() >= count, "some connections are not logged: " + lines.size());
        for (String one : lines) {
            assertTrue(line.matcher(one).matches(), one);
            assertTrue(one.getBytes(StandardCharsets.UTF_8).length <= (trace ? 100 : 1_000), one);
            assertFalse(Pattern.compile("[\\p{C}\\p{Z}&&[^ ]]").matcher(one).find(), one);
        }
        String seen =
                trace ? "request read: fetch " : "the TLS handshake failed: Illegal server name";
        assertTrue(out.toString().contains(seen), out::toString);
    }

    private static byte[] hostile(Random random) {
        List<String> parts =
                List.of(
                        "\u001b[2J",
                        "\n2026-01-01 12:00:00.000  #1  127.0.0.1:1  fetch bob  ->  1 message\n",
                        "\u001b]0;title\u0007",
                        "\u202e",
                        "\u200b",
                        "example.org",
                        "x".repeat(random.nextInt(3_000)),
                        "\ud83d\ude00",
                        "\r");
        StringBuilder text = new StringBuilder();
        for (int i = random.nextInt(6); i >= 0; i--) {
            text.append(parts.get(random.nextInt(parts.size())));
        }
        byte[] bytes = text.toString().getBytes(StandardCharsets.UTF_8);
        bytes[random.nextInt(bytes.length)] = (byte) random.nextInt(256);
        return bytes;
    }

    @Test
    void othersAreServedDuringSilentHandshakes() throws Exception {
        byte[] hello = hello();
        List<Wire> silent = new ArrayList<>();
        Path other = Files.createDirectory(folder.resolve("other"));
        try (Engine patient = new Engine(Transport.TLS, other, Engine.ROOMY)) {
            for (int i = 0; i < 200; i++) {
                silent.add(new Wire(patient.port()).send(hello));
            }
            assertEquals(Wire.EMPTY, patient.ask("fetch;nobody"));
            Waiting.eventually(
                    "the conversation ends", () -> !patient.heard.conversations().isEmpty());
            assertEquals(
                    1,
                    patient.heard.conversations().size(),
                    "a silent client's conversation has ended");
        } finally {
            for (Wire wire : silent) {
                wire.close();
            }
        }
    }
}
