//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;

/**
 * How bytes get to a server under test: the one place where tests make connections to it. Tests of
 * what holds over every transport run once for each of these.
 */
enum Transport {
    PLAIN {
        @Override
        Socket connect(InetSocketAddress address, int receiveBuffer) throws IOException {
            return tcp(address, receiveBuffer);
        }
    };

    private static final int PATIENCE_MS = 30_000;

    /**
     * Connects to {@code address}; whatever is waited for on the socket has a bound.
     *
     * @param receiveBuffer how much the kernel takes for us unread, or 0 for its own choice
     */
    abstract Socket connect(InetSocketAddress address, int receiveBuffer) throws IOException;

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
}
