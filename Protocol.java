//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror
//COMPILE_OPTIONS -XDshould-stop.ifError=FLOW

import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.net.ProtocolException;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * The wire protocol of client and server: one request line, one reply, both UTF-8.
 *
 * <pre>
 * store;recipient;sender;message     puts a message into the recipient's mailbox
 * fetch;recipient                    asks for every message of the recipient's mailbox
 * </pre>
 *
 * <p>A request of more than {@value #MAX_BUFF_LEN} bytes is refused, never truncated. This class
 * frames and parses requests, formats and reads replies, and makes foreign text safe to show. It
 * opens no socket, sets no deadline and stores no message.
 */
public final class Protocol {

    /** The largest request in bytes, without its line end; named as in the classic C server. */
    public static final int MAX_BUFF_LEN = 255;

    /** Reply to a store request, sent when the message is durable. */
    public static final String STORED = "Message accepted and stored:";

    /** First line of the reply to a fetch. */
    public static final String RETRIEVING = "Retrieving messages...";

    /** Last line of a mailbox with messages. */
    public static final String NO_MORE_MESSAGES = "NO MORE MESSAGES";

    /** Last line of a mailbox without messages. */
    public static final String NO_SUCH_NAME = "There is no such name";

    private static final String DECLINED = "Message declined. ";
    private static final String SEPARATOR = ";";
    private static final Pattern ENDS = Pattern.compile("^[ \t]+|[ \t]+\\z");
    private static final int MAX_REPLY_LINE = 64 * 1024;

    private Protocol() {}

    // ---------------------------------------------------------------- requests

    /**
     * A request that is complete and well-formed. After a new kind of request is added, javac
     * reports every switch that lacks a case for it. Without {@code -XDshould-stop.ifError=FLOW},
     * javac would report only the first such switch.
     */
    public sealed interface Request permits Store, Fetch {
        /** The name of the mailbox, {@link #trimmed} and never empty. */
        String recipient();

        /** The request as the client sends it: UTF-8 without a line end. */
        default byte[] bytes() {
            return switch (this) {
                case Store store -> utf8("store;" + store.parts());
                case Fetch(var recipient) -> utf8("fetch;" + recipient);
            };
        }
    }

    /** Puts {@code message}, kept verbatim, into the mailbox of {@code recipient}. */
    public record Store(String recipient, String sender, String message) implements Request {
        /** {@code recipient;sender;message}, as in a request and in a line of a mailbox. */
        String parts() {
            return recipient + SEPARATOR + sender + SEPARATOR + message;
        }
    }

    /** Asks for every message of the mailbox of {@code recipient}. */
    public record Fetch(String recipient) implements Request {}

    /** The reasons to refuse a request, each with its reply line. */
    public enum Refusal {
        NO_VERB("No verb"),
        NO_RECIPIENT("No recipient"),
        NO_SENDER("No sender"),
        NO_MESSAGE("No message"),
        BAD_VERB(DECLINED + "Bad verb"),
        TOO_LONG(DECLINED + "Too long, " + MAX_BUFF_LEN + " bytes at most"),
        NOT_UTF8(DECLINED + "Not UTF-8"),
        CONTROL_CHARACTERS(DECLINED + "Control characters"),
        TIMED_OUT(DECLINED + "Timed out"),
        NOT_STORED(DECLINED + "Could not be stored, try again later"),
        CUT_OFF(DECLINED + "Inside TLS a request ends with LF or close_notify"),
        BUSY(DECLINED + "Server is busy, try again later"),
        TLS_ONLY(DECLINED + "This server speaks TLS only"),
        NOT_THE_OWNER(DECLINED + "That name belongs to another key");

        /** The reply, without its line end. */
        public final String text;

        Refusal(String text) {
            this.text = text;
        }
    }

    /** Thrown to refuse a request. */
    public static final class RefusedException extends Exception {
        private static final long serialVersionUID = 1;

        /** The reason for the refusal, with its reply line. */
        public final Refusal refusal;

        /** Omits the stack trace, so that refusals stay cheap even under attack. */
        public RefusedException(Refusal refusal) {
            super(refusal.text, null, false, false);
            this.refusal = refusal;
        }
    }

    /**
     * Finds the line end of a request, which is LF or CR LF.
     *
     * @param length the number of bytes that have arrived
     * @return the length of the request without its line end, or -1 if no line end has arrived yet
     * @throws RefusedException if the request is too long already
     */
    public static int end(byte[] bytes, int length) throws RefusedException {
        for (int i = 0; i < length; i++) {
            if (bytes[i] == '\n') {
                return i > 0 && bytes[i - 1] == '\r' ? i - 1 : i;
            }
        }
        boolean onlyLineFeedMissing = length == MAX_BUFF_LEN + 1 && bytes[MAX_BUFF_LEN] == '\r';
        require(length <= MAX_BUFF_LEN || onlyLineFeedMissing, Refusal.TOO_LONG);
        return -1;
    }

    /**
     * Parses the first {@code length} bytes of {@code bytes} as one request without its line end.
     *
     * @throws RefusedException with the first fault of the request. The order of the checks is:
     *     length, encoding, control characters, no verb, no recipient, unknown verb, no sender, no
     *     message
     */
    public static Request parse(byte[] bytes, int length) throws RefusedException {
        require(length <= MAX_BUFF_LEN, Refusal.TOO_LONG);
        String[] parts = decode(bytes, length).split(SEPARATOR, 4);
        String recipient = trimmed(part(parts, 1));
        require(!parts[0].isEmpty(), Refusal.NO_VERB);
        require(!recipient.isEmpty(), Refusal.NO_RECIPIENT);
        return switch (parts[0]) {
            case "fetch" -> new Fetch(recipient);
            case "store" -> {
                String sender = trimmed(part(parts, 2));
                String message = part(parts, 3);
                require(!sender.isEmpty(), Refusal.NO_SENDER);
                require(!message.isEmpty(), Refusal.NO_MESSAGE);
                yield new Store(recipient, sender, message);
            }
            default -> throw new RefusedException(Refusal.BAD_VERB);
        };
    }

    private static void require(boolean met, Refusal otherwise) throws RefusedException {
        if (!met) {
            throw new RefusedException(otherwise);
        }
    }

    private static String part(String[] parts, int index) {
        return index < parts.length ? parts[index] : "";
    }

    /**
     * {@code name} without the spaces and tabs at its ends. A library function would depend on the
     * language: {@code strip()} drops U+00A0 in Python but not in Java. So one name could lead to
     * different mailboxes.
     */
    public static String trimmed(String name) {
        return ENDS.matcher(name).replaceAll("");
    }

    private static String decode(byte[] bytes, int length) throws RefusedException {
        String line = new String(bytes, 0, length, StandardCharsets.UTF_8);
        // Malformed bytes decode to U+FFFD, so encoding the text again gives different bytes.
        byte[] read = utf8(line);
        require(Arrays.equals(bytes, 0, length, read, 0, read.length), Refusal.NOT_UTF8);
        for (int i = 0; i < line.length(); i++) {
            char c = line.charAt(i);
            require(!Character.isISOControl(c) || c == '\t', Refusal.CONTROL_CHARACTERS);
        }
        return line;
    }

    // ---------------------------------------------------------------- replies, worded

    /** {@code text} as a line of a reply: UTF-8, ended by LF. */
    public static byte[] line(String text) {
        return utf8(text + '\n');
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    // ---------------------------------------------------------------- replies, read

    /** The reply of a server, received in full. */
    public sealed interface Reply permits Stored, Mailbox, Refused {}

    /** The message is durable. */
    public record Stored() implements Reply {}

    /** A mailbox, received in full: {@code count} messages, or 0 if there is no such name. */
    public record Mailbox(long count) implements Reply {}

    /** A refusal, in the server's own words. */
    public record Refused(String text) implements Reply {}

    /**
     * Reads a reply to its end. The last line may lack its LF, since the classic C server omits it
     * there.
     *
     * @param messages takes each message of a mailbox as it arrives; a line that is not {@code
     *     recipient;sender;message} becomes a message without names
     * @throws EOFException if the reply was cut off
     * @throws ProtocolException if the other side does not speak this protocol
     */
    public static Reply readReply(InputStream in, Consumer<Store> messages) throws IOException {
        Stream<String> refusals = Stream.of(Refusal.values()).map(it -> it.text);
        String[] whole = Stream.concat(Stream.of(STORED), refusals).toArray(String[]::new);
        String first = readLine(in, whole);
        if (first.equals(STORED)) {
            return new Stored();
        }
        if (first.equals(RETRIEVING)) {
            return readMailbox(in, messages);
        }
        if (first.startsWith("No ") || first.startsWith(DECLINED)) {
            return new Refused(first);
        }
        throw new ProtocolException("not a reply of a message server: " + visible(first));
    }

    private static Mailbox readMailbox(InputStream in, Consumer<Store> messages)
            throws IOException {
        for (long count = 0; ; ) {
            String line = readLine(in, NO_MORE_MESSAGES, NO_SUCH_NAME);
            if (line.equals(NO_MORE_MESSAGES) || (count == 0 && line.equals(NO_SUCH_NAME))) {
                return new Mailbox(count);
            }
            // The classic C server keeps a message's line end: a blank line follows the message.
            if (!line.isEmpty()) {
                messages.accept(parseMessage(line));
                count++;
            }
        }
    }

    private static Store parseMessage(String line) {
        String[] parts = line.split(SEPARATOR, 3);
        return parts.length == 3
                ? new Store(parts[0], parts[1], parts[2])
                : new Store("", "", line);
    }

    /** One line of a reply. A line that equals one of {@code last} may lack its LF. */
    private static String readLine(InputStream in, String... last) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        int b;
        while ((b = in.read()) >= 0 && b != '\n') {
            if (bytes.size() == MAX_REPLY_LINE) {
                throw new ProtocolException("not a reply of a message server: endless line");
            }
            bytes.write(b);
        }
        String line = bytes.toString(StandardCharsets.UTF_8);
        if (b < 0 && !List.of(last).contains(line)) {
            throw new EOFException("the reply was cut off");
        }
        return line;
    }

    // ---------------------------------------------------------------- showing foreign text

    /** The number of bytes that are shown of a long text; three dots replace the rest. */
    private static final int MAX_SHOWN = 990;

    /** A separate class, so that programs start without compiling these patterns. */
    private static final class Patterns {
        private static final String LIKE_NOTHING =
                "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
                        + "\\x{e0100}-\\x{e01ef}";

        /**
         * Characters that no terminal shows: control, format, private-use and unassigned
         * characters; every space except U+0020; characters without a shape (mostly Unicode's
         * Default_Ignorable_Code_Point). The joiner and the selector of an emoji (U+200D, U+FE0F)
         * do not match. The first line of the pattern skips common letters. Without this line, the
         * check of a large mailbox takes three times as long.
         */
        static final Pattern UNSEEN =
                Pattern.compile(
                        "(?=[^ -~\u00c0-\u024f\u0391-\u03a1\u03a3-\u03ce\u0400-\u0481])(?:"
                                + ("[\\p{C}\\p{Z}" + LIKE_NOTHING + "&&[^ \u200d\ufe0f]]")
                                + "|(?<![\\p{IsEmoji}&&[^\\x00-\\xff]]\ufe0f?)[\u200d\ufe0f])");

        static final Pattern PLAIN_NAME =
                Pattern.compile("[\\p{L}\\p{Nd}._@-][\\p{L}\\p{M}\\p{Nd}._@-]*");
    }

    /** As {@link #visible(String, int)}, with a limit that keeps lines below 1,000 bytes. */
    public static String visible(String text) {
        return visible(text, MAX_SHOWN);
    }

    /**
     * {@code text} made safe for a terminal or a log: a character that no terminal shows becomes an
     * escape such as {@code \u200b}. Text that is safe already stays as it is.
     *
     * @param most the largest number of UTF-8 bytes to show; three dots replace the rest
     */
    public static String visible(String text, int most) {
        String shown = Patterns.UNSEEN.matcher(text).replaceAll(unseen -> escaped(unseen.group()));
        CharBuffer rest = CharBuffer.wrap(shown);
        StandardCharsets.UTF_8.newEncoder().encode(rest, ByteBuffer.allocate(most), true);
        return rest.hasRemaining() ? shown.substring(0, rest.position()) + "..." : shown;
    }

    private static String escaped(String unseen) {
        int c = unseen.codePointAt(0);
        String escape = c == '\t' ? "\\t" : (c < 0x10000 ? "\\u%04x" : "\\U%08x").formatted(c);
        return Matcher.quoteReplacement(escape);
    }

    /**
     * {@code name} made {@link #visible}. It gets quotes unless it has only letters, digits, {@code
     * . - _ @} and, after the first character, combining marks. So a name cannot look like two
     * names, or like other words of a log line. Letters that look alike stay as they are.
     */
    public static String visibleName(String name) {
        return Patterns.PLAIN_NAME.matcher(name).matches() && visible(name).equals(name)
                ? name
                : '"' + visible(name.replace("\\", "\\\\").replace("\"", "\\\"")) + '"';
    }
}
