//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.io.EOFException;
import java.io.IOException;
import java.io.InterruptedIOException;
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
 * <p>A person is asked again for what cannot be sent, and goes back with an empty answer, Ctrl+C or
 * Ctrl+D. A pipe would answer the repeated question with its next line, meant for something else:
 * there the menu says what is wrong and goes on with the next choice.
 */
final class Menu {
    private static final String NOTHING = "Nothing is sent.";

    private final MsgClient client;
    private final Answers answers;
    private final PrintWriter out;
    private final PrintWriter err;
    private String user; // null until it is known
    private boolean failed;
    private long countAtLastLook = Long.MAX_VALUE; // so that nothing is marked new the first time

    /** Requests go to {@code client}, complaints to {@code err}, all else to {@code out}. */
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
     * @return whether all went well: each request and, from a pipe, each answer
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
            complain(e.getMessage()); // without a name there is nothing to do
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

    /** A person can do better at the next question, a script has lost its place. */
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

    /** What is wrong with a message, or null. The server would find the same, but less kindly. */
    static String objection(String recipient, String sender, String message) {
        Protocol.Store store = new Protocol.Store(recipient, sender, message);
        byte[] request = store.bytes();
        int excess = request.length - Protocol.MAX_BUFF_LEN;
        if (excess > 0) {
            return "That is %d %s too long.".formatted(excess, excess == 1 ? "byte" : "bytes");
        }
        if ((recipient + sender).contains(";")) {
            return "A name cannot contain ';'.";
        }
        if (store.parts().contains("\uFFFD")) {
            return "That holds characters that did not arrive as UTF-8.";
        }
        try {
            Protocol.parse(request, request.length);
            return null;
        } catch (Protocol.RefusedException e) {
            return switch (e.refusal()) {
                case NO_RECIPIENT, NO_SENDER -> "A name cannot be empty.";
                case NO_MESSAGE -> "A message cannot be empty.";
                default -> "That cannot be sent: " + e.refusal().text();
            };
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
        countAtLastLook = mailbox.count;
        out.println(mailbox.summary());
    }

    /**
     * A mailbox while it comes. A pipe gets each message at once. A person gets the newest
     * screenful, which is all that is kept in memory, with a mark at what came since the last look.
     */
    private final class Mailbox {
        /** The older ones' above; two of summary, a blank one, the menu's three, the question. */
        private static final int OTHER_ROWS = 8;

        private final int rows = Math.max(1, answers.height() - OTHER_ROWS);
        private final Deque<String> newest = new ArrayDeque<>();
        private long count;
        private long fresh;

        void add(Protocol.Store mail) {
            count++;
            boolean isNew = answers.person() && count > countAtLastLook;
            fresh += isNew ? 1 : 0;
            String number = (isNew ? "*%3d" : "%4d").formatted(count);
            String sender = Protocol.visibleName(mail.sender());
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
            if (answers.person() && newest.size() < count) {
                out.println("... and " + (count - newest.size()) + " older");
            }
            newest.forEach(out::println);
        }

        String summary() {
            String marked = fresh == 0 ? "" : "; new since your last look: " + fresh + ", marked *";
            if (count == 0) {
                return "There are no messages for " + Protocol.visibleName(user) + ".";
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

    /**
     * Asks for {@code what}; a person sees the {@code hint}, too.
     *
     * @throws InterruptedIOException when a person goes back to the menu
     * @throws EOFException at the end of the input
     * @throws RequestException when a pipe's answer cannot be sent
     */
    private String ask(
            String what, String hint, UnaryOperator<String> tidy, Function<String, String> fault)
            throws IOException, RequestException {
        while (true) {
            String answer = tidy.apply(answers.ask(what + (answers.person() ? hint : "") + ": "));
            if (answer.isEmpty() && user != null && answers.person()) {
                throw new InterruptedIOException();
            }
            String wrong = fault.apply(answer);
            if (wrong == null) {
                return answer;
            }
            if (!answers.person()) {
                throw new RequestException(wrong, null);
            }
            err.println(wrong);
        }
    }
}
