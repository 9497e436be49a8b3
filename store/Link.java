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
            outage.throwIfTooSoon();
            try {
                session = database.open();
                outage.over();
            } catch (SQLException e) {
                outage.noticed(e);
                throw e;
            }
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

        private synchronized void throwIfTooSoon() throws SQLException {
            if (failure != null && System.nanoTime() - notBefore < 0) {
                throw failure;
            }
        }

        private synchronized void noticed(SQLException e) {
            failure = e;
            notBefore = System.nanoTime() + pause(failures++).toNanos();
        }

        private synchronized void over() {
            failure = null;
            failures = 0;
        }
    }

    /**
     * How long to wait before another try: after the first failure not at all, then 50 ms, twice as
     * long each time, up to 1 s; each a random time between half of that and all of it, so that
     * many servers do not come back in step.
     */
    static Duration pause(int failuresBefore) {
        long most = failuresBefore == 0 ? 0 : Math.min(25L << Math.min(failuresBefore, 10), 1_000);
        return Duration.ofMillis(most - ThreadLocalRandom.current().nextLong(most / 2 + 1));
    }
}
