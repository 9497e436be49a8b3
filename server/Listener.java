//JAVA 21+
//SOURCES ../Protocol.java
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
     * @param request what was asked, or null when it was no request
     * @param outcome what came of it
     * @param duration from accept to the last byte of the reply
     * @param thread served it
     */
    record Ended(
            long number,
            InetSocketAddress peer,
            Protocol.Request request,
            String outcome,
            Duration duration,
            Thread thread) {}
}
