//JAVA 21+
//SOURCES Database.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.sql.SQLException;
import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/** The connection of one thread: made when needed, thrown away after any failure. */
final class Link {
    private final Database database;
    private final Outage outage;
    private Database.Session session;

    Link(Database database, Outage outage) {
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
        if (session != null) {
            session.close();
            session = null;
        }
    }

    /**
     * A database that could not be reached, and is given a moment; one for all threads, so that
     * when one of them has reached it the others try again at once.
     */
    static final class Outage {
        private SQLException failure;
        private int failures;
        private long notBefore;

        /** One thread tries; others wait for it, and if it fails they fail with it. */
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
