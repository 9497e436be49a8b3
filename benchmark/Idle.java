//JAVA 21+
//SOURCES Load.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.util.ArrayList;
import java.util.List;

/** Clients of one target that stay connected and send nothing. */
record Idle(Target target, List<SocketChannel> channels) implements AutoCloseable {
    private static final int PORTION = 250;
    private static final int LIMIT_S = 10;

    Idle(Target target) {
        this(target, new ArrayList<>());
    }

    /**
     * Connects clients up to {@code count}, and returns when the server has accepted them all. A
     * server accepts connections in their order, so the reply to a later client proves that it has
     * accepted all earlier clients. The clients connect in portions, because the server's backlog
     * is short.
     *
     * @throws IOException if the server does not accept them all
     */
    void hold(int count) throws IOException {
        while (channels.size() < count) {
            var channel = SocketChannel.open();
            channels.add(channel);
            channel.socket().connect(target.address(channels.size()), 1000 * LIMIT_S);
            if ((channels.size() % PORTION == 0 || channels.size() == count)
                    && Load.turn(target, 1, LIMIT_S, 1).failures() > 0) {
                throw new IOException(
                        "No reply beside %,d idle clients.".formatted(channels.size()));
            }
        }
    }

    /** Counts the clients that the server has cut off, without waiting for any client. */
    Target.Count count() throws IOException {
        int lost = 0;
        for (var channel : channels) {
            channel.configureBlocking(false);
            lost += channel.read(ByteBuffer.allocate(1)) == 0 ? 0 : 1;
        }
        var text = "%s: %,d idle clients, %d cut off".formatted(target.name, channels.size(), lost);
        return new Target.Count(text, lost == 0);
    }

    @Override
    public void close() throws IOException {
        for (var channel : channels) {
            channel.close();
        }
    }
}
