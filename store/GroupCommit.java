//JAVA 21+
//SOURCES Database.java
//SOURCES Ids.java
//SOURCES Sessions.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.sql.SQLException;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.locks.LockSupport;

/**
 * Commits many messages in one transaction. The disk needs one flush for each transaction, so a
 * busy store commits faster in batches. While one commit waits for the disk, further messages
 * arrive, and they are the next batch. Waiting longer for more messages would gain nothing.
 */
record GroupCommit(Database database, Sessions sessions, Ids ids) {

    /** The largest number of messages in one commit. */
    static final int MAX_BATCH = 1024;

    /** The time for retries of a batch whose outcome is unknown. */
    private static final Duration RETRY_FOR = Duration.ofSeconds(5);

    /** Stores the messages of {@code batch}, and completes each job with the size of its commit. */
    void commit(List<PlatformThreads.Job> batch) {
        commit(batch, batch.stream().map(job -> job.message.apply(ids.next())).toList());
    }

    /**
     * Stores all messages of {@code batch}. If the connection fails during an insert, the outcome
     * is unknown. Then the writer sends the same ids again, and the database keeps rows that it has
     * already. If an insert fails otherwise, the writer tries each message alone, and refuses only
     * a bad one.
     */
    private void commit(List<PlatformThreads.Job> batch, List<Database.Entry> entries) {
        long giveUp = System.nanoTime() + RETRY_FOR.toNanos();
        boolean underWay = false;
        for (int retries = 0; !batch.stream().allMatch(PlatformThreads.Job::isDone); retries++) {
            try {
                Database.Session session = sessions.own();
                underWay = true;
                session.insert(entries);
                batch.forEach(job -> job.complete(batch.size()));
            } catch (SQLException | RuntimeException | Error e) {
                sessions.drop(); // the writer goes on with a new connection
                boolean passing =
                        underWay && e instanceof SQLException failure && database.mayRetry(failure);
                if (passing && System.nanoTime() - giveUp < 0) {
                    LockSupport.parkNanos(Sessions.pause(retries).toNanos());
                } else if (underWay && !passing && batch.size() > 1) {
                    for (int i = 0; i < batch.size(); i++) {
                        commit(batch.subList(i, i + 1), entries.subList(i, i + 1));
                    }
                } else {
                    batch.forEach(job -> job.completeExceptionally(e));
                }
            }
        }
    }
}
