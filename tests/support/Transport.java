//JAVA 21+
//SOURCES ../../MsgServer.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

import javax.net.ssl.SSLSocket;

/**
 * The transports between tests and a server. A test that must hold over every transport runs once
 * for each constant.
 */
enum Transport {
    PLAIN {
        @Override
        Socket connect(InetSocketAddress address, int receiveBuffer) throws IOException {
            return tcp(address, receiveBuffer);
        }
    },

    /** A client with the same key in every connection, which trusts every server. */
    TLS {
        @Override
        Socket connect(InetSocketAddress address, int receiveBuffer) throws IOException {
            return Keys.over(tcp(address, receiveBuffer), Keys.CLIENT);
        }
    };

    private static final int PATIENCE_MS = 30_000;

    /**
     * Connects to {@code address}; each wait on the socket has a timeout.
     *
     * @param receiveBuffer the size of the kernel's buffer for unread bytes, or 0 for the default
     */
    abstract Socket connect(InetSocketAddress address, int receiveBuffer) throws IOException;

    /** The server's key for this transport; null for plain connections. */
    Tls serverKey() {
        return this == TLS ? Keys.SERVER : null;
    }

    /**
     * The options of a server on {@code store} for this transport; creates the server's key file.
     */
    String[] options(Path store) throws IOException {
        if (this == PLAIN) {
            return new String[0];
        }
        Keys.copy(Keys.SERVER, Path.of(store + ".key.pem"));
        return new String[] {"--tls"};
    }

    private static Socket tcp(InetSocketAddress address, int receiveBuffer) throws IOException {
        var socket = new Socket();
        try {
            if (receiveBuffer > 0) {
                socket.setReceiveBufferSize(receiveBuffer);
            }
            socket.setTcpNoDelay(true);
            socket.setSoTimeout(PATIENCE_MS);
            socket.connect(address, PATIENCE_MS);
            return socket;
        } catch (IOException e) {
            socket.close();
            throw e;
        }
    }

    /** Keys that all tests share. */
    static final class Keys {
        private static final Map<Tls, String> FILES = new HashMap<>();
        static final Tls SERVER = make("server");
        static final Tls CLIENT = make("client");
        static final Tls OTHER = make("other");

        private Keys() {}

        private static Tls make(String name) {
            try {
                Path folder = Files.createTempDirectory("keys");
                Path file = folder.resolve(name + ".pem");
                try {
                    Tls key = new Tls(file, anybody -> true);
                    FILES.put(key, Files.readString(file));
                    return key;
                } finally {
                    Files.deleteIfExists(file);
                    Files.delete(folder);
                }
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        /** Writes {@code key} to {@code file}, like a program that makes a key. */
        static void copy(Tls key, Path file) throws IOException {
            Files.createDirectories(file.getParent());
            Files.deleteIfExists(file);
            Files.createFile(file, OwnFiles.only("rw-------"));
            Files.writeString(file, FILES.get(key));
        }

        /**
         * A TLS connection over {@code socket} with the key of {@code client}, after its handshake.
         */
        static SSLSocket over(Socket socket, Tls client) throws IOException {
            try {
                var address = socket.getInetAddress().getHostAddress();
                var tls =
                        (SSLSocket)
                                client.sockets.createSocket(
                                        socket, address, socket.getPort(), true);
                Tls.configure(tls).startHandshake();
                return tls;
            } catch (IOException e) {
                socket.close();
                throw e;
            }
        }
    }
}
