//JAVA 21+
//SOURCES Answers.java
//SOURCES RequestException.java
//DEPS org.jline:jline:3.30.16
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import org.jline.utils.AttributedString;

import java.io.EOFException;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.io.PrintWriter;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.function.Function;
import java.util.function.UnaryOperator;

/**
 * The menu: asks the user, makes the request, shows the outcome. Scripts rely on the order of the
 * questions.
 *
 * <p>If an answer cannot be sent, the menu asks a person again. Once the name is known, an empty
 * answer, Ctrl+C or Ctrl+D leads back to the menu. A pipe is not asked again, since its next line
 * answers the next question: the menu reports the fault and reads the next choice, or ends if it
 * has no name.
 */
final class Menu {
    private static final String NOTHING = "Nothing is sent.";

    private final MsgClient client;
    private final Answers answers;
    private final PrintWriter out;
    private final PrintWriter err;
    private String user; // null until the user has given a name
    private boolean failed;
    private long countAtLastLook = Long.MAX_VALUE; // so that nothing is marked new the first time

    /** A menu that prints faults to {@code err} and everything else to {@code out}. */
    Menu(MsgClient client, Answers answers, PrintWriter out, PrintWriter err) {
        this.client = client;
        this.answers = answers;
        this.out = out;
        this.err = err;
    }

    /**
     * Runs until the user leaves or the input ends.
     *
     * @param userName the user's name, or null to ask for it
     * @return whether each request succeeded and, from a pipe, each answer was valid
     * @throws InterruptedIOException if the user pressed Ctrl+C at the menu or at the name
     */
    boolean run(String userName) throws IOException {
        user = userName == null ? null : Protocol.trimmed(userName);
        try {
            if (user == null) {
                user = ask("Your user name", "", Protocol::trimmed, n -> objection("r", n, "m"));
            }
            while (choose()) {
                out.println();
            }
        } catch (EOFException e) {
            out.println();
            if (user == null) {
                complain(NOTHING);
            }
        } catch (RequestException e) {
            complain(e.getMessage()); // no request is possible without a name
        }
        out.println("Goodbye.");
        return !failed;
    }

    private boolean choose() throws IOException {
        List.of("1. Send message", "2. Read messages", "3. Exit").forEach(out::println);
        String choice = answers.ask("Your choice: ").strip();
        try {
            switch (choice) {
                case "1" -> send();
                case "2" -> read();
                case "3" -> {
                    return false;
                }
                default -> complain("Please choose 1, 2 or 3.");
            }
        } catch (RequestException e) {
            failed = true;
            complain(e.getMessage());
        } catch (InterruptedIOException | EOFException e) {
            complain(NOTHING);
        }
        return true;
    }

    /** Reports a fault. A person can correct the fault; a script has failed. */
    private void complain(String sentence) {
        err.println(sentence);
        failed |= !answers.person();
    }

    // ---------------------------------------------------------------- 1. Send message

    private void send() throws IOException, RequestException {
        String hint = " (empty to go back)";
        String recipient =
                ask("Recipient", hint, Protocol::trimmed, name -> objection(name, user, "m"));
        int room = Protocol.MAX_BUFF_LEN - new Protocol.Store(recipient, user, "").bytes().length;
        hint = " (at most " + room + " bytes, empty to go back)";
        String message =
                ask("Message", hint, text -> text, text -> objection(recipient, user, text));
        client.store(recipient, user, message);
        out.println("The message to " + Protocol.visibleName(recipient) + " is stored.");
    }

    /**
     * Makes the checks of the server, with kinder sentences. For a part that is not known yet, the
     * caller passes the shortest valid text.
     *
     * @return the first fault of this message, or null if it can be sent
     */
    static String objection(String recipient, String sender, String message) {
        Protocol.Store store = new Protocol.Store(recipient, sender, message);
        byte[] request = store.bytes();
        int excess = request.length - Protocol.MAX_BUFF_LEN;
        if (excess > 0) {
            return "The text is %d %s too long.".formatted(excess, excess == 1 ? "byte" : "bytes");
        }
        if ((recipient + sender).contains(";")) {
            return "A name cannot contain ';'.";
        }
        if (store.parts().contains("\uFFFD")) {
            return "The text is not valid UTF-8.";
        }
        try {
            Protocol.parse(request, request.length);
            return null;
        } catch (Protocol.RefusedException e) {
            return switch (e.refusal) {
                case NO_RECIPIENT, NO_SENDER -> "A name cannot be empty.";
                case NO_MESSAGE -> "A message cannot be empty.";
                default -> "The text cannot be sent: " + e.refusal.text;
            };
        }
    }

    // ---------------------------------------------------------------- 2. Read messages

    private void read() throws RequestException {
        Mailbox mailbox = new Mailbox();
        try {
            client.fetch(user, mailbox::add);
        } finally {
            mailbox.show(); // even if the reply was cut off
        }
        out.println(mailbox.summary());
        if (answers.person()) {
            countAtLastLook = mailbox.count;
        }
    }

    /**
     * A mailbox while it arrives. A pipe gets each message at once. At the end, a person gets the
     * newest screenful, with new messages marked. Memory holds no more than this screenful.
     */
    private final class Mailbox {
        /**
         * Rows around the messages: "older", the summary (2), a blank, the menu (3), its question.
         */
        private static final int OTHER_ROWS = 8;

        private final int rows = Math.max(1, answers.size().getRows() - OTHER_ROWS);
        private final Deque<List<String>> newest = new ArrayDeque<>(); // for a person
        private int taken; // the rows of the newest messages
        private long older; // the number of messages that are not shown
        private long count;

        void add(Protocol.Store mail) {
            count++;
            String number = (count > countAtLastLook ? "*%3d" : "%4d").formatted(count);
            String sender = Protocol.visibleName(mail.sender());
            String line = number + ". " + sender + ": " + Protocol.visible(mail.message());
            if (!answers.person()) {
                out.println(line);
                return;
            }
            newest.add(rowsOf(line));
            taken += newest.getLast().size();
            while (taken > rows && newest.size() > 1) {
                taken -= newest.remove().size();
                older++;
            }
        }

        /** Indents each row but the first, so that one message cannot look like two. */
        private List<String> rowsOf(String line) {
            String indent = " ".repeat(8);
            int columns = Math.max(1, answers.size().getColumns() - indent.length());
            List<String> rows = new ArrayList<>();
            for (AttributedString row : new AttributedString(line).columnSplitLength(columns)) {
                rows.add((rows.isEmpty() ? "" : indent) + row);
            }
            return rows;
        }

        void show() {
            if (older > 0) {
                out.println("... and " + older + " older");
            }
            newest.forEach(message -> message.forEach(out::println));
        }

        String summary() {
            if (count == 0) {
                return "There are no messages for " + Protocol.visibleName(user) + ".";
            }
            long fresh = count - countAtLastLook;
            String marked = fresh <= 0 ? "" : "; new since your last look: " + fresh + ", marked *";
            if (older > 0) {
                return "These are the newest %d of %d messages%s.%nAll of them: echo 2 | %s"
                        .formatted(newest.size(), count, marked, client.command(user));
            }
            return count == 1
                    ? "This is the only message" + marked + "."
                    : "These are all " + count + " messages" + marked + ".";
        }
    }

    // ---------------------------------------------------------------- asking

    /**
     * Asks for {@code what} until the answer can be sent.
     *
     * @param hint is shown to a person after {@code what}
     * @param tidy is applied to the answer before {@code fault}
     * @param fault returns the fault of an answer, or null
     * @throws InterruptedIOException if a person goes back to the menu
     * @throws EOFException at the end of the input
     * @throws RequestException if the answer of a pipe has a fault
     */
    private String ask(
            String what, String hint, UnaryOperator<String> tidy, Function<String, String> fault)
            throws IOException, RequestException {
        while (true) {
            String answer = tidy.apply(answers.ask(what + (answers.person() ? hint : "") + ": "));
            if (answer.isEmpty() && user != null && answers.person()) {
                throw new InterruptedIOException();
            }
            String sentence = fault.apply(answer);
            if (sentence == null) {
                return answer;
            }
            if (!answers.person()) {
                throw new RequestException(sentence, null);
            }
            err.println(sentence);
        }
    }
}
