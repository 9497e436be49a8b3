//JAVA 21+
//SOURCES Waiting.java
//SOURCES ../../store/MessageStore.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
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

    /**
     * Stores messages that share a commit, since all wait while {@code first} is held up in its
     * own.
     *
     * @param messages each as recipient, semicolon, text
     * @param held ends when the first commit is held up
     * @param goOn lets it go on
     * @return whether each of {@code messages} was stored
     */
    static List<Boolean> storedTogether(
            MessageStore store, CountDownLatch held, CountDownLatch goOn, String... messages)
            throws Exception {
        Future<Boolean> first = Waiting.inBackground(() -> isStored(store, "a;first"));
        assertTrue(held.await(20, TimeUnit.SECONDS), "no commit is held up");
        List<Thread> threads = new ArrayList<>();
        List<CompletableFuture<Boolean>> stored = new ArrayList<>();
        for (String message : messages) {
            CompletableFuture<Boolean> one = new CompletableFuture<>();
            stored.add(one);
            threads.add(Thread.ofVirtual().start(() -> one.complete(isStored(store, message))));
        }
        Waiting.eventually(
                "all wait for the store",
                () -> threads.stream().allMatch(it -> it.getState() == Thread.State.WAITING));
        goOn.countDown();
        assertTrue(first.get(20, TimeUnit.SECONDS), "the first one");
        List<Boolean> outcomes = new ArrayList<>();
        for (CompletableFuture<Boolean> one : stored) {
            outcomes.add(one.get(20, TimeUnit.SECONDS));
        }
        return outcomes;
    }

    /** Stores recipient, semicolon, text. */
    static boolean isStored(MessageStore store, String message) {
        String[] parts = message.split(";", 2);
        try {
            store.store(parts[0], "al", parts[1]);
            return true;
        } catch (MessageStore.StoreException e) {
            return false;
        }
    }
}
