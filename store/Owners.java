//JAVA 21+
//SOURCES MessageStore.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.util.Optional;

/**
 * Which key owns a name, durably; asked of the database each time, since others may share it. The
 * table is there only once a server has asked for it:
 *
 * <pre>owner (name, key, since, PRIMARY KEY (name))</pre>
 */
final class Owners {

    /** Names that one key may own: more than anybody needs, too few to fill a store with. */
    static final int MOST = 100;

    private final MessageStore store;

    Owners(MessageStore store) {
        this.store = store;
    }

    /**
     * Makes the table if this server needs it and it is missing.
     *
     * @param tls whether this server speaks TLS
     * @throws MessageStore.StoreException if TLS is off but some name already has an owner; or the
     *     database does not answer
     */
    void open(boolean tls) throws MessageStore.StoreException {
        String reason = "names in it belong to keys; start with --tls, or see docs/tls.md";
        try {
            if (!store.change(session -> session.openOwners(tls)) || tls) {
                return;
            }
        } catch (MessageStore.StoreException e) {
            reason = e.getMessage();
        }
        String sentence = "Cannot keep messages in " + store.place() + ": " + reason;
        throw new MessageStore.StoreException(MessageStore.Failing.READING, sentence, null);
    }

    /**
     * Whether {@code key} owns {@code name}. If no key did, it does from now on, unless it owns
     * {@link #MOST} names already.
     */
    boolean owns(String name, String key) throws MessageStore.StoreException {
        String owner = store.look(session -> session.owner(name));
        return key.equals(owner == null ? claim(name, key) : owner);
    }

    /**
     * The mailbox of {@code name}, if {@code key} {@link #owns} it. But while nobody does and it is
     * empty it stays nobody's, so that a fetch of it changes nothing.
     *
     * @return nothing when it is not for this key
     */
    Optional<MessageStore.Mailbox> fetch(String name, String key)
            throws MessageStore.StoreException {
        String owner = store.look(session -> session.owner(name));
        if (owner == null && store.fetch(name).nextPage().isEmpty()) {
            return Optional.of(store.fetch("")); // should mail for this name come just now
        }
        boolean owns = key.equals(owner == null ? claim(name, key) : owner);
        return owns ? Optional.of(store.fetch(name)) : Optional.empty();
    }

    private String claim(String name, String key) throws MessageStore.StoreException {
        return store.change(session -> session.claim(name, key, MOST));
    }
}
