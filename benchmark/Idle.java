//JAVA 21+
//SOURCES Load.java
//SOURCES Target.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.util.ArrayList;
import java.util.List;

/** Clients of one target that are connected and never say anything. */
record Idle(Target target, List<SocketChannel> channels) implements AutoCloseable {
    private static final int TOUCHES = 100;
    private static final double LONGEST_S = 30;

    Idle(Target target) {
        this(target, new ArrayList<>());
    }

    /** Connects until there are {@code count}, and returns when the server has taken them all. */
    void hold(int count) throws IOException {
        while (channels.size() < count) {
            channels.add(SocketChannel.open(target.address(channels.size())));
        }
        // Connections are accepted in the order they came.
        Load.turn(target, 1, LONGEST_S, TOUCHES);
    }

    /** Whether the server has kept all of them; each is asked without waiting. */
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
