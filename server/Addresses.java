//JAVA 21+
//SOURCES ../common/Program.java
//SOURCES ../common/Tls.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.NetworkInterface;
import java.net.SocketException;
import java.util.ArrayList;
import java.util.List;

/** Hints for a person about the address that a server listens on, or cannot listen on. */
final class Addresses {
    private Addresses() {}

    /**
     * The client commands that reach a server on {@code address}. A warning follows if other
     * machines can reach the server without TLS.
     *
     * @param tls the server's key; null for plain connections
     */
    static List<String> invitations(InetSocketAddress address, Tls tls) {
        InetAddress bound = address.getAddress();
        int port = address.getPort();
        String key = tls == null ? "" : " --tls " + tls.fingerprint;
        String client = Program.started("MsgClient.java");
        List<String> lines = new ArrayList<>();
        for (String other : forOthers(bound)) {
            lines.add("On another machine: %s %s %d%s".formatted(client, other, port, key));
        }
        if (lines.isEmpty()) {
            String here = bound.isAnyLocalAddress() ? "127.0.0.1" : bound.getHostAddress();
            lines.add("On this machine only: %s %s %d%s".formatted(client, here, port, key));
        } else if (tls == null) {
            lines.add(
                    "Anyone on the network can read and write every mailbox; with --bind 127.0.0.1"
                            + " only this machine can");
        }
        return lines;
    }

    private static List<String> forOthers(InetAddress bound) {
        try {
            return NetworkInterface.networkInterfaces()
                    .flatMap(NetworkInterface::inetAddresses)
                    .filter(a -> !a.isLoopbackAddress() && !a.isLinkLocalAddress())
                    .filter(a -> bound.isAnyLocalAddress() || a.equals(bound))
                    .map(a -> a.getHostAddress().replaceFirst("%.*", ""))
                    .sorted()
                    .toList();
        } catch (SocketException e) {
            return List.of(); // tolerated: only a hint is missing
        }
    }

    /** One sentence about a failure to listen on {@code address}, and a remedy. */
    static String cannotListen(InetSocketAddress address, IOException reason)
            throws SocketException {
        InetAddress bound = address.getAddress();
        int port = address.getPort();
        if (!bound.isAnyLocalAddress() && NetworkInterface.getByInetAddress(bound) == null) {
            return "This machine has no address " + bound.getHostAddress() + " to listen on.";
        }
        String hint = port == 5000 ? " (on macOS, AirPlay Receiver holds it)" : "";
        String other = Program.started("MsgServer.java") + (port == 5000 ? " 5001" : " 5000");
        return "Cannot listen on port %d: %s%s. Another port: %s"
                .formatted(port, reason.getMessage(), hint, other);
    }
}
