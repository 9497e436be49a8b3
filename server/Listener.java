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
     * One conversation to look at, as far as it has come; on another thread only after its last
     * step. Names and the outcome hold what a client wrote: whoever shows them makes them {@link
     * Protocol#visible}. The message's text is in the request, and no log's business.
     */
    abstract class Conversation {
        /** Counts the conversations of this server from 1. */
        final long number;

        final InetSocketAddress peer;

        /** What was asked, or null as long as nobody knows, and when it was no request. */
        Protocol.Request request;

        /** How many messages its commit held, 0 before. */
        int committedTogether;

        /** What came of it, empty as long as that is open. */
        String outcome = "";

        private final long accepted = System.nanoTime();
        private Duration untilReply;

        Conversation(long number, InetSocketAddress peer) {
            this.number = number;
            this.peer = peer;
        }

        Duration sinceAccept() {
            return Duration.ofNanos(System.nanoTime() - accepted);
        }

        /** The time from accept to the last byte of the reply, or to now. */
        Duration untilReply() {
            return untilReply == null ? sinceAccept() : untilReply;
        }

        /** The last byte of the reply is written. */
        void replied() {
            untilReply = sinceAccept();
        }
    }
}
