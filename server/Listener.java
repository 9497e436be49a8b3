//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.net.InetSocketAddress;
import java.time.Duration;

/** Is told what happens; called on the thread it happens on, so it must not block. */
public interface Listener {
    /** A conversation has ended. */
    void ended(Ended conversation);

    /** Something the operator should know, or that it is over; one sentence. */
    void trouble(String sentence);

    /**
     * One conversation, from accept to close, as a log may show it: without the message's text.
     *
     * @param number counts the connections of this server from 1
     * @param verb {@code store} or {@code fetch}; null, as the names, when there was no such
     *     request
     * @param outcome what came of it
     * @param thread the virtual thread that served it
     */
    record Ended(
            long number,
            InetSocketAddress peer,
            String verb,
            String recipient,
            String sender,
            String outcome,
            Duration duration,
            Thread thread) {}
}
