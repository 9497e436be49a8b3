//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicInteger;

/** Addresses for servers that cannot listen on port 0, or that start again on their port. */
final class FreePort {
    private static final int FIRST = 20_000;
    private static final int COUNT = 12_000;
    private static final AtomicInteger NEXT =
            new AtomicInteger(ThreadLocalRandom.current().nextInt(COUNT));

    private FreePort() {}

    /**
     * Returns a loopback address on which nobody listens. No two calls return the same address. Its
     * port is below 32768. From there on systems give ports to outgoing connections, and one of
     * them could take the port before the server does.
     *
     * <p>This method connects to find a free port. A process that starts while a socket listens
     * inherits the socket for a moment, so a port on which this method had listened would stay in
     * use.
     */
    static InetSocketAddress next() throws IOException {
        InetAddress here = InetAddress.getByAddress(new byte[] {127, 0, 0, 1});
        for (int tries = 0; tries < 100; tries++) {
            var address = new InetSocketAddress(here, FIRST + NEXT.getAndIncrement() % COUNT);
            try (Socket socket = new Socket()) {
                socket.connect(address);
            } catch (ConnectException free) {
                return address;
            }
        }
        throw new IOException("no free port from " + FIRST);
    }
}
