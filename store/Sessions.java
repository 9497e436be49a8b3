//JAVA 21+
//SOURCES ../common/OwnFiles.java
//SOURCES Database.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.sql.SQLException;
import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/**
 * One session for each thread, opened when the thread needs it and dropped after any failure.
 *
 * <p>While the database is unreachable, all threads share one pause between two attempts to
 * connect. One thread tries; the others wait for this attempt and fail if it fails. After a success
 * all threads go on at once.
 */
final class Sessions {
    private final Database database;
    private final ThreadLocal<Database.Session> own = new ThreadLocal<>();
    private SQLException failure;
    private int failures;
    private long notBefore;

    Sessions(Database database) {
        this.database = database;
    }

    /** The session of the current thread. */
    Database.Session own() throws SQLException {
        database.requireInPlace();
        if (own.get() == null) {
            own.set(open());
        }
        return own.get();
    }

    /** Closes the session of the current thread, if it has one. */
    void drop() {
        Database.Session failed = own.get();
        own.remove();
        OwnFiles.closeQuietly(failed);
    }

    private synchronized Database.Session open() throws SQLException {
        if (failures > 0 && System.nanoTime() - notBefore < 0) {
            throw failure;
        }
        try {
            Database.Session session = database.open();
            failures = 0;
            return session;
        } catch (SQLException e) {
            failure = e;
            notBefore = System.nanoTime() + pause(++failures).toNanos();
            throw e;
        }
    }

    /**
     * The pause before another attempt. Half of the pause is random, so that many servers do not
     * try at the same moment.
     *
     * @param failures 0 for no pause, 1 for 50 ms at most, then twice as long for each further
     *     failure, up to 1 s
     */
    static Duration pause(int failures) {
        long most = failures == 0 ? 0 : Math.min(25L << Math.min(failures, 10), 1_000);
        return Duration.ofMillis(most - ThreadLocalRandom.current().nextLong(most / 2 + 1));
    }
}
