//JAVA 21+
//SOURCES ../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.net.InetSocketAddress;
import java.time.Duration;

/** Is told what happens; on the thread it happens on, so it must not block. */
public interface Listener {

    /** A conversation has come to {@code step}; {@link Step#CLOSED} is its last. */
    void step(Step step, Conversation conversation);

    /** Something the operator should know, or that it is over; one sentence. */
    void trouble(String sentence);

    /** What a conversation comes to, in this order; not each of them comes to all. */
    enum Step {
        ACCEPTED,
        WAITING_FOR_REQUEST,
        REQUEST_READ,
        WAITING_FOR_COMMIT,
        COMMITTED,
        REPLIED,
        CLOSED
    }

    /**
     * One conversation as it was at a step, fit for a log but for names in it: see {@link
     * Protocol#visible}. The message's text is in its request, and no log's business.
     *
     * @param number counts the conversations of this server from 1
     * @param request what was asked, or null as long as nobody knows, and when it was no request
     * @param committedTogether how many messages its commit held, 0 before
     * @param outcome what came of it, empty as long as that is open
     * @param sinceAccept the time since it was accepted
     * @param untilReply the time from accept to the last byte of the reply, or to now
     * @param thread serves it
     */
    record Conversation(
            long number,
            InetSocketAddress peer,
            Protocol.Request request,
            int committedTogether,
            String outcome,
            Duration sinceAccept,
            Duration untilReply,
            Thread thread) {}
}
