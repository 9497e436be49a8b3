//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** A proxy between clients and a server that records all bytes. */
final class RecordingProxy implements AutoCloseable {
    private final ServerSocket listening =
            new ServerSocket(0, 50, InetAddress.getByAddress(new byte[] {127, 0, 0, 1}));
    private final List<Recording> recordings = new CopyOnWriteArrayList<>();

    /** The bytes of one connection in each direction. */
    record Recording(ByteArrayOutputStream fromClient, ByteArrayOutputStream fromServer) {}

    /** A proxy of the server at {@code port} of this machine. */
    RecordingProxy(int port) throws IOException {
        Thread.ofVirtual()
                .start(() -> {
                    while (!listening.isClosed()) {
                        try {
                            Socket client = listening.accept();
                            Socket server = new Socket(listening.getInetAddress(), port);
                            var recording =
                                    new Recording(
                                            new ByteArrayOutputStream(),
                                            new ByteArrayOutputStream());
                            recordings.add(recording);
                            pass(client, server, recording.fromClient());
                            pass(server, client, recording.fromServer());
                        } catch (IOException e) {
                            // The proxy is closed at the end of the test.
                        }
                    }
                });
    }

    private static void pass(Socket from, Socket to, ByteArrayOutputStream copy) {
        Thread.ofVirtual()
                .start(() -> {
                    byte[] buffer = new byte[8192];
                    try {
                        InputStream in = from.getInputStream();
                        for (int count; (count = in.read(buffer)) >= 0; ) {
                            copy.write(buffer, 0, count);
                            to.getOutputStream().write(buffer, 0, count);
                        }
                        to.shutdownOutput();
                    } catch (IOException e) {
                        // Tolerated: one side has reset or closed its connection.
                    }
                });
    }

    int port() {
        return listening.getLocalPort();
    }

    /** The connections so far, in the order of their accepts. */
    List<Recording> recordings() {
        return recordings;
    }

    @Override
    public void close() throws IOException {
        listening.close();
    }
}
