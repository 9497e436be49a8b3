//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.net.BindException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
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
     */
    static InetSocketAddress next() throws IOException {
        InetAddress here = InetAddress.getByAddress(new byte[] {127, 0, 0, 1});
        for (int tries = 1; ; tries++) {
            int port = FIRST + NEXT.getAndIncrement() % COUNT;
            try (ServerSocket free = new ServerSocket(port, 1, here)) {
                return new InetSocketAddress(here, free.getLocalPort());
            } catch (BindException taken) {
                if (tries == 100) {
                    throw taken;
                }
            }
        }
    }
}
