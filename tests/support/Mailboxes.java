//JAVA 21+
//SOURCES ../../store/MessageStore.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/** Whole mailboxes of a store, and stores of many messages. */
final class Mailboxes {
    private Mailboxes() {}

    /** All messages of a mailbox. */
    static List<MessageStore.Message> mailbox(MessageStore store, String recipient)
            throws MessageStore.StoreException {
        List<MessageStore.Message> all = new ArrayList<>();
        MessageStore.Mailbox mailbox = store.fetch(recipient);
        while (mailbox.hasNext()) {
            all.addAll(mailbox.nextPage());
        }
        return all;
    }

    /** All texts of a mailbox. */
    static List<String> texts(MessageStore store, String recipient)
            throws MessageStore.StoreException {
        return mailbox(store, recipient).stream().map(MessageStore.Message::text).toList();
    }

    /** As {@link #storeNumbers} stores them. */
    static List<String> numbers(int from, int to) {
        return IntStream.range(from, to).mapToObj(Integer::toString).toList();
    }

    /** Stores the numbers from {@code from} to before {@code to}, one after the other. */
    static void storeNumbers(MessageStore store, String recipient, int from, int to)
            throws MessageStore.StoreException {
        for (int i = from; i < to; i++) {
            store.store(recipient, "counter", Integer.toString(i));
        }
    }
}
