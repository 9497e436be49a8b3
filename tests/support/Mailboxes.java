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

/** Reads whole mailboxes of a store, and stores many messages. */
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

    /** The texts that {@link #storeNumbers} stores. */
    static List<String> numbers(int from, int to) {
        return IntStream.range(from, to).mapToObj(Integer::toString).toList();
    }

    /**
     * Stores the numbers from {@code from} (inclusive) to {@code to} (exclusive), one after the
     * other.
     */
    static void storeNumbers(MessageStore store, String recipient, int from, int to)
            throws MessageStore.StoreException {
        for (int i = from; i < to; i++) {
            store.store(recipient, "counter", Integer.toString(i));
        }
    }

    /**
     * Stores messages that share a commit, because all of them wait while the first message's
     * commit is blocked.
     *
     * @param messages each as recipient, semicolon, text
     * @param held reaches zero when the first commit is blocked
     * @param goOn releases the first commit
     * @return whether each of {@code messages} was stored
     */
    static List<Boolean> storedTogether(
            MessageStore store, CountDownLatch held, CountDownLatch goOn, String... messages)
            throws Exception {
        Future<Boolean> first = Waiting.inBackground(() -> isStored(store, "a;first"));
        assertTrue(held.await(60, TimeUnit.SECONDS), "no commit is blocked");
        List<Thread> threads = new ArrayList<>();
        List<CompletableFuture<Boolean>> stored = new ArrayList<>();
        for (String message : messages) {
            CompletableFuture<Boolean> one = new CompletableFuture<>();
            stored.add(one);
            threads.add(Thread.ofVirtual().start(() -> one.complete(isStored(store, message))));
        }
        Waiting.eventually(
                "all messages wait for the store",
                () -> threads.stream().allMatch(it -> it.getState() == Thread.State.WAITING));
        goOn.countDown();
        assertTrue(first.get(60, TimeUnit.SECONDS), "the first message is stored");
        List<Boolean> outcomes = new ArrayList<>();
        for (CompletableFuture<Boolean> one : stored) {
            outcomes.add(one.get(60, TimeUnit.SECONDS));
        }
        return outcomes;
    }

    /** Stores {@code message}: recipient, semicolon, text. */
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
