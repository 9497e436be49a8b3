//JAVA 21+
//SOURCES ../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.net.InetSocketAddress;
import java.time.Duration;

/** Observes a server. A call must not block, since a thread of the server waits for it. */
public interface Observer {

    /** A conversation has reached {@code step}; {@link Step#CLOSED} is the last step. */
    void step(Step step, Conversation conversation);

    /** One sentence for the operator: a lasting failure has started, or has ended. */
    void report(String sentence);

    /** The steps of a conversation, in this order; some conversations skip some steps. */
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
     * The state of one conversation. It changes while the conversation lasts, so other threads may
     * read it only after the last step. Names and the outcome hold text of a client: a log shows
     * them only through {@link Protocol#visible}, and never shows the text of a message.
     */
    abstract class Conversation {
        /** Counts the conversations of this server from 1. */
        final long number;

        final InetSocketAddress peer;

        /** Null until a well-formed request has been read. */
        Protocol.Request request;

        /** The number of messages in the commit of this request's message; 0 before the commit. */
        int committedTogether;

        /** The outcome in words, for the log; empty until it is known. */
        String outcome = "";

        /** The time from accept to the last byte of the reply; null until then. */
        Duration untilReply;

        private final long accepted = System.nanoTime();

        Conversation(long number, InetSocketAddress peer) {
            this.number = number;
            this.peer = peer;
        }

        Duration sinceAccept() {
            return Duration.ofNanos(System.nanoTime() - accepted);
        }
    }
}
