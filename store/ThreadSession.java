//JAVA 21+
//SOURCES ../common/OwnFiles.java
//SOURCES Database.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.sql.SQLException;
import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/** The session of one thread: opened when needed, thrown away after any failure. */
final class ThreadSession {
    private final Database database;
    private final Outage outage;
    private Database.Session session;

    ThreadSession(Database database, Outage outage) {
        this.database = database;
        this.outage = outage;
    }

    Database.Session session() throws SQLException {
        database.requireInPlace();
        if (session == null) {
            session = outage.open(database);
        }
        return session;
    }

    void drop() {
        Database.Session failed = session;
        session = null;
        OwnFiles.closeQuietly(failed);
    }

    /**
     * The pause after a database could not be reached. All threads share one, so that once a thread
     * has reached it the others try again at once.
     */
    static final class Outage {
        private SQLException failure;
        private int failures;
        private long notBefore;

        /** One thread tries; others wait for it, and fail with it. */
        private synchronized Database.Session open(Database database) throws SQLException {
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
    }

    /**
     * How long to wait after so many retries: not at all before the first, then 50 ms, twice as
     * long each time, up to 1 s; each a random time between half of that and all of it, so that
     * many servers do not come back in step.
     */
    static Duration pause(int retries) {
        long most = retries == 0 ? 0 : Math.min(25L << Math.min(retries, 10), 1_000);
        return Duration.ofMillis(most - ThreadLocalRandom.current().nextLong(most / 2 + 1));
    }
}
