//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.util.concurrent.ThreadLocalRandom;
import java.util.function.BinaryOperator;

/**
 * Another message store, which a user might take in place of our server. Client libraries keep
 * their connections, but here each message has its own connection. So the benchmark speaks each
 * protocol itself, a whole session in one write.
 *
 * @param safe how safe an acknowledged message is
 * @param command a shell command; DIR stands for a folder, and PORT for a free port
 * @param store gives the session that stores a text in a mailbox
 * @param count the session that asks for the number of messages
 */
record Peer(String safe, String command, BinaryOperator<String> store, String count) {
    // Patterns for the output of a ready server, and for its replies to store and to count.
    static final String READY = "accept connections|bind \\d|Server is ready|version \\S+ running";
    static final String STORED = "^:\\d+\r\n$|INSERTED|\"seq\":|@\2\0\1|INSERT 0 1";
    static final String COUNTED =
            "(?s)(?<=^:|jobs-ready: |\"messages\":|/count)\\d+|\\d+(?=C....SELECT 1)";

    /** Returns the peer, or null if none has this name. */
    static Peer of(String name) {
        return switch (name) {
            case "redis" -> // in protected mode, which serves only this machine
                    new Peer(
                            "flushed",
                            "exec redis-server --dir DIR --port PORT --bind 0.0.0.0 --save ''"
                                    + " --protected-mode yes --tcp-backlog 1024 --maxclients 15000"
                                    + " --appendonly yes --appendfsync always"
                                    + " --auto-aof-rewrite-percentage 0", // none during a turn
                            (box, text) -> "RPUSH " + box + " \"" + text + "\"\r\n",
                            "EVAL \"local n = 0 for _, key in ipairs(redis.call('keys', '*')) do"
                                    + " n = n + redis.call('llen', key) end return n\" 0\r\n");
            case "beanstalkd" -> // put needs the length of a text, 46 bytes
                    new Peer(
                            "flushed",
                            "exec beanstalkd -V -b DIR -f 0 -p PORT",
                            (box, text) -> "use " + box + "\r\nput 0 0 9 46\r\n" + text + "\r\n",
                            "stats\r\n");
            case "nats" -> // the first count creates the stream
                    new Peer(
                            "written",
                            "exec nats-server -js -sd DIR -p PORT",
                            (box, text) -> nats("m." + box, text),
                            nats(
                                    "$JS.API.STREAM.CREATE.m",
                                    "{\"name\":\"m\",\"subjects\":[\"m.>\"]}"));
            case "mosquitto" -> // keeps the last message of each topic
                    new Peer(
                            "in memory",
                            "printf '%s\n' 'listener PORT 0.0.0.0' 'allow_anonymous true'"
                                    + " 'connection_messages false' 'sys_interval 1' >DIR/conf;"
                                    + " exec mosquitto -c DIR/conf",
                            (box, text) ->
                                    mqtt(
                                            '3',
                                            "",
                                            box + text.replaceAll("\\D+", "/"),
                                            "\0\1" + text),
                            mqtt('\u0082', "\0\1", "$SYS/broker/retained messages/count", "\0"));
            case "postgresql" -> // refuses to run as root; unshare makes root nobody
                    new Peer(
                            "flushed",
                            "PATH=$PATH:$(ls -d /usr/lib/postgresql/*/bin | tail -n 1); [ $(id -u)"
                                + " != 0 ] || as='unshare -U'; $as initdb -D DIR -U bench -A trust"
                                + " && echo 'CREATE TABLE m (box text, text text, id serial,"
                                + " PRIMARY KEY (box, id))' | $as postgres --single -D DIR postgres"
                                + " && exec $as postgres -D DIR -p PORT -h 0.0.0.0 -k '' -N 200",
                            (box, text) ->
                                    sql("INSERT INTO m VALUES ('" + box + "', '" + text + "')"),
                            sql("SELECT count(*) FROM m"));
            default -> null;
        };
    }

    /** A session that sends {@code body} and receives the reply in a new inbox. */
    private static String nats(String subject, String body) {
        var inbox = "in." + ThreadLocalRandom.current().nextLong(Long.MAX_VALUE);
        return "CONNECT {\"verbose\":false}\r\nSUB %s 1\r\nPUB %s %1$s %d\r\n%s\r\n"
                .formatted(inbox, subject, body.length(), body);
    }

    /** A session of MQTT 3.1.1 with one packet, which contains a topic. */
    private static String mqtt(char type, String before, String topic, String after) {
        var body = before + "\0" + (char) topic.length() + topic + after;
        return "\20\14\0\4MQTT\4\2\0\74\0\0" + type + (char) body.length() + body;
    }

    /** A session of the user bench in version 3 of PostgreSQL's protocol, with one query. */
    private static String sql(String query) {
        var start = "\0\0\0\46\0\3\0\0user\0bench\0database\0postgres\0\0";
        return start + "Q\0\0\0" + (char) (query.length() + 5) + query + "\0";
    }
}
