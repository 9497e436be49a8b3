//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import com.sun.management.UnixOperatingSystemMXBean;

import java.lang.management.ManagementFactory;
import java.time.Duration;

/**
 * What a server grants its clients; {@link Places} keeps them to it. Should descriptors run out all
 * the same, {@code MsgServer.accept} waits for some.
 *
 * @param timeout for a request as a whole, and for the client to take each stretch of the reply
 * @param connections conversations at once; beyond it clients wait, then are told to come again
 * @param grace how long conversations may go on after {@link MsgServer#close()} was called
 */
public record Limits(Duration timeout, int connections, Duration grace) {
    /** Descriptors that are not for connections: the JVM's, the store's, those of busy replies. */
    private static final int RESERVED_DESCRIPTORS = 100;

    /** As many connections as the process may have descriptors for, and a grace of 2 s. */
    public static Limits withTimeout(Duration timeout) {
        var system = ManagementFactory.getOperatingSystemMXBean();
        long descriptors =
                system instanceof UnixOperatingSystemMXBean unix
                        ? unix.getMaxFileDescriptorCount()
                        : 10_000;
        int connections = Math.clamp(descriptors - RESERVED_DESCRIPTORS, 10, 50_000);
        return new Limits(timeout, connections, Duration.ofSeconds(2));
    }
}
