//JAVA 21+
//SOURCES Log.java
//SOURCES ../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.PrintWriter;
import java.net.InetSocketAddress;

/** The log as it is without options: a line for each request, when its connection is closed. */
final class RequestLog extends Log {

    RequestLog(PrintWriter out, PrintWriter err, boolean dated) {
        super(out, err, dated);
    }

    @Override
    public void step(Step step, Conversation it) {
        if (step == Step.CLOSED) {
            String time = now();
            write(() -> time + line(it));
        }
    }

    private static String line(Conversation it) {
        return "  #%d  %s  %s  ->  %s  %.1f ms  %s[#%d,%s]"
                .formatted(
                        it.number(),
                        shown(it.peer()),
                        shown(it.request()),
                        it.outcome(),
                        it.untilReply().toNanos() / 1e6,
                        it.thread().isVirtual() ? "VirtualThread" : "Thread",
                        it.thread().threadId(),
                        it.thread().getName());
    }

    /** What was asked, fit to be shown: never the message's text. */
    static String shown(Protocol.Request request) {
        return switch (request) {
            case null -> "-";
            case Protocol.Store(var recipient, var sender, var text) ->
                    "store to %s from %s"
                            .formatted(Protocol.visible(recipient), Protocol.visible(sender));
            case Protocol.Fetch(var recipient) -> "fetch " + Protocol.visible(recipient);
        };
    }

    static String shown(InetSocketAddress peer) {
        String address = peer.getAddress().getHostAddress();
        return (address.contains(":") ? "[" + address + "]" : address) + ":" + peer.getPort();
    }
}
