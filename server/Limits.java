//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import com.sun.management.UnixOperatingSystemMXBean;

import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.util.Optional;

/**
 * What a server grants its clients; {@link Places} keeps them to it. Should descriptors run out all
 * the same, {@code MsgServer.accept} waits for some.
 *
 * @param timeout for a request as a whole, and for the client to take the next bytes of the reply
 * @param connections conversations at once; beyond it clients are told to come again
 * @param grace how long conversations may go on after {@link MsgServer#close()} was called
 */
public record Limits(Duration timeout, int connections, Duration grace) {
    private static final int MOST = 50_000;

    /** Fewer than this are so few that the operator is told. */
    private static final int FEW = 10_000;

    /** Descriptors that are not for connections: the JVM's and the store's. */
    private static final int RESERVED_DESCRIPTORS = 100;

    /** Heap that a silent client takes, with a margin: measured were 5 KB, inside TLS 24 KB. */
    private static final int CLIENT_BYTES = 6 << 10;

    private static final int TLS_CLIENT_BYTES = 28 << 10;

    /** As many connections as descriptors and a quarter of the heap allow, and a grace of 2 s. */
    public static Limits of(Duration timeout, boolean tls) {
        long connections = Math.min(byDescriptors(), byHeap(tls));
        return new Limits(timeout, Math.clamp(connections, 10, MOST), Duration.ofSeconds(2));
    }

    /** A sentence for the operator, if these are few connections: what allows no more. */
    Optional<String> warning(boolean tls) {
        String reason = byHeap(tls) < byDescriptors() ? "the heap (-Xmx)" : "ulimit -n";
        return connections >= FEW
                ? Optional.empty()
                : Optional.of("Room for %d clients at once, by %s".formatted(connections, reason));
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
