//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.EOFException;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.function.Function;
import java.util.function.UnaryOperator;

/**
 * The menu: asks, requests, shows. The order of its questions is the interface for everyone who
 * pipes input into it.
 *
 * <p>A person is asked again for what cannot be sent, and goes back with an empty answer. A pipe
 * would answer the repeated question with its next line, meant for something else: there the menu
 * says what is wrong and goes on with the next choice.
 */
final class Menu {
    private final MsgClient client;
    private final Answers answers;
    private final PrintWriter out;
    private final PrintWriter err;
    private String user; // null until it is known
    private boolean failed;
    private long seen = Long.MAX_VALUE; // messages at the last look; at the first none is new

    /** Requests go to {@code client}, complaints to {@code err}, all else to {@code out}. */
    Menu(MsgClient client, Answers answers, PrintWriter out, PrintWriter err) {
        this.client = client;
        this.answers = answers;
        this.out = out;
        this.err = err;
    }

    /** Goes back to the menu: the answer is no answer, and why has been said. */
    private static final class NoAnswerException extends Exception {
        private static final long serialVersionUID = 1;
    }

    /**
     * Runs until the user leaves or the input ends.
     *
     * @param userName the user's name, or null to ask for it
     * @return whether all went well: each request and, from a pipe, each answer
     */
    boolean run(String userName) throws IOException {
        try {
            user =
                    userName != null
                            ? Protocol.trimmed(userName)
                            : ask("Your user name: ", Protocol::trimmed, Menu::objectionToName);
            while (choose()) {
                out.println();
            }
        } catch (EOFException e) {
            out.println();
        } catch (NoAnswerException e) {
            failed = true; // without a name there is nothing to do
        }
        out.println("Goodbye.");
        return !failed;
    }

    private boolean choose() throws IOException {
        out.println("1. Send message");
        out.println("2. Read messages");
        out.println("3. Exit");
        String choice = answers.ask("Your choice: ").strip();
        try {
            switch (choice) {
                case "1" -> send();
                case "2" -> read();
                case "3" -> {
                    return false;
                }
                default -> {
                    err.println("Please choose 1, 2 or 3.");
                    failed |= !answers.person(); // a script that has lost its place
                }
            }
        } catch (RequestException e) {
            err.println(e.getMessage());
            failed = true;
        } catch (NoAnswerException e) {
            failed |= !answers.person();
        }
        return true;
    }

    // ---------------------------------------------------------------- 1. Send message

    private void send() throws IOException, RequestException, NoAnswerException {
        String recipient =
                ask("Recipient: ", Protocol::trimmed, name -> objection(name, user, "m"));
        int room = Protocol.MAX_BUFF_LEN - new Protocol.Store(recipient, user, "").bytes().length;
        String question =
                answers.person() ? "Message (at most %d bytes): ".formatted(room) : "Message: ";
        String message = ask(question, text -> text, text -> objection(recipient, user, text));
        client.store(recipient, user, message);
        out.println("The message to " + Protocol.visible(recipient) + " is stored.");
    }

    /** What is wrong with a user's name, or null; tried in the shortest request. */
    static String objectionToName(String name) {
        return objection("r", name, "m");
    }

    /** What is wrong with a message, or null. The server would find the same, but less kindly. */
    private static String objection(String recipient, String sender, String message) {
        for (String name : List.of(recipient, sender)) {
            if (name.isEmpty()) {
                return "A name cannot be empty.";
            }
            if (name.contains(";")) {
                return "A name cannot contain ';'.";
            }
        }
        if (message.isEmpty()) {
            return "A message cannot be empty.";
        }
        byte[] request = new Protocol.Store(recipient, sender, message).bytes();
        int excess = request.length - Protocol.MAX_BUFF_LEN;
        if (excess > 0) {
            return "That is %d %s too long.".formatted(excess, excess == 1 ? "byte" : "bytes");
        }
        if ((recipient + sender + message).contains("\uFFFD")) {
            return "That holds characters that did not arrive as UTF-8.";
        }
        try {
            Protocol.parse(request, request.length);
            return null;
        } catch (Protocol.RefusedException e) {
            return "That cannot be sent: " + e.refusal().text();
        }
    }

    // ---------------------------------------------------------------- 2. Read messages

    private void read() throws RequestException {
        Mailbox mailbox = new Mailbox();
        try {
            client.fetch(user, mailbox::add);
        } finally {
            mailbox.show(); // also what came of a mailbox that was cut off
        }
        seen = mailbox.count;
        out.println(mailbox.summary());
    }

    /**
     * A mailbox while it comes. A pipe gets each message at once. A person gets the newest
     * screenful, which is all that is kept in memory, with a mark at what came since the last look.
     */
    private final class Mailbox {
        /** Two of summary, a blank one, the menu's three, the question. */
        private static final int ROWS_BELOW = 7;

        private final int rows = Math.max(1, answers.height() - ROWS_BELOW);
        private final Deque<String> newest = new ArrayDeque<>();
        private long count;
        private long fresh;

        void add(Protocol.Store mail) {
            count++;
            boolean isNew = answers.person() && count > seen;
            fresh += isNew ? 1 : 0;
            String number = (isNew ? "*%3d" : "%4d").formatted(count);
            String sender = Protocol.visible(mail.sender());
            String line = number + ". " + sender + ": " + Protocol.visible(mail.message());
            if (!answers.person()) {
                out.println(line);
                return;
            }
            newest.add(line);
            if (newest.size() > rows) {
                newest.remove();
            }
        }

        void show() {
            int taken = newest.stream().mapToInt(answers::rowsOf).sum();
            while (taken > rows && newest.size() > 1) {
                taken -= answers.rowsOf(newest.remove());
            }
            newest.forEach(out::println);
        }

        String summary() {
            String marked = fresh == 0 ? "" : "; new since your last look: " + fresh + ", marked *";
            if (count == 0) {
                return "There are no messages for " + Protocol.visible(user) + ".";
            }
            if (answers.person() && newest.size() < count) {
                return "These are the newest %d of %d messages%s.%nAll of them: echo 2 | %s"
                        .formatted(newest.size(), count, marked, client.command(user));
            }
            return count == 1
                    ? "That is the only message" + marked + "."
                    : "These are all " + count + " messages" + marked + ".";
        }
    }

    // ---------------------------------------------------------------- asking

    private String ask(
            String question, UnaryOperator<String> tidy, Function<String, String> objection)
            throws IOException, NoAnswerException {
        while (true) {
            String answer = tidy.apply(answers.ask(question));
            boolean back = answer.isEmpty() && user != null && answers.person();
            String wrong = back ? "Nothing is sent." : objection.apply(answer);
            if (wrong == null) {
                return answer;
            }
            err.println(wrong);
            if (back || !answers.person()) {
                throw new NoAnswerException();
            }
        }
    }
}
