//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import com.sun.management.UnixOperatingSystemMXBean;

import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.util.Optional;

/**
 * The time and the number of connections that a server grants its clients.
 *
 * @param timeout the time limit for a whole request; each 16 KB of the reply have three times this
 *     limit
 * @param connections the number of connections at once; further clients get the busy reply
 * @param grace the time for conversations to end after {@link MsgServer#close()} was called
 */
public record Limits(Duration timeout, int connections, Duration grace) {
    private static final int MOST = 50_000;

    /** A server with fewer connections warns its operator. */
    private static final int FEW = 10_000;

    /** Descriptors that are not for connections: the JVM's and the store's. */
    private static final int RESERVED_DESCRIPTORS = 100;

    /** Heap for a silent client, with a margin: measurements gave 5 KB, and 24 KB inside TLS. */
    private static final int CLIENT_BYTES = 6 << 10;

    private static final int TLS_CLIENT_BYTES = 28 << 10;

    /** Memory for a fetch: 256 messages of 255 bytes as text, as bytes, and in the kernel. */
    private static final int FETCH_BYTES = 256 << 10;

    /** As many connections as descriptors and a quarter of the heap allow, with a grace of 2 s. */
    public static Limits of(Duration timeout, boolean tls) {
        long connections = Math.min(byDescriptors(), byHeap(tls));
        return new Limits(timeout, Math.clamp(connections, 10, MOST), Duration.ofSeconds(2));
    }

    /** The number of fetches at once that half of the heap allows. */
    static int fetches() {
        return Math.clamp(Runtime.getRuntime().maxMemory() / 2 / FETCH_BYTES, 10, MOST);
    }

    /** A warning for the operator, with the cause, if there is room for few connections. */
    Optional<String> warning(boolean tls) {
        String reason = byHeap(tls) < byDescriptors() ? "the heap (-Xmx)" : "ulimit -n";
        return connections >= FEW
                ? Optional.empty()
                : Optional.of("Room for %d clients, limited by %s".formatted(connections, reason));
    }

    private static long byDescriptors() {
        return ManagementFactory.getOperatingSystemMXBean()
                        instanceof UnixOperatingSystemMXBean unix
                ? unix.getMaxFileDescriptorCount() - RESERVED_DESCRIPTORS
                : MOST;
    }

    private static long byHeap(boolean tls) {
        return Runtime.getRuntime().maxMemory() / 4 / (tls ? TLS_CLIENT_BYTES : CLIENT_BYTES);
    }
}
