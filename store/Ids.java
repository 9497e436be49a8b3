//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.security.SecureRandom;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

/**
 * Makes ids as UUIDs of version 7 (RFC 9562, section 5.7): milliseconds, then a 12-bit counter,
 * then random bits of this process. The id of a message is made before the first attempt to store
 * it, so a retry does not store it twice. Ids increase strictly, so their order is the order of
 * acceptance. Only one thread may use an instance.
 */
final class Ids {
    private final long process = new SecureRandom().nextLong() >>> 2 | Long.MIN_VALUE;
    private long last;

    /**
     * @param floor milliseconds since 1970; all ids are later, even if the clock was set back or is
     *     not set yet
     */
    Ids(long floor) {
        last = floor << 12;
    }

    UUID next() {
        last = Math.max(last + 1, System.currentTimeMillis() << 12);
        return new UUID(last >>> 12 << 16 | 0x7000 | last & 0xfff, process);
    }

    /** The time of {@code id} in minutes since 1970. */
    static long minutes(UUID id) {
        return TimeUnit.MILLISECONDS.toMinutes(id.getMostSignificantBits() >>> 16);
    }
}
