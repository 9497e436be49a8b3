//JAVA 21+
//SOURCES MessageStore.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

/**
 * The owner of each name, durably. Each question goes to the database, since other servers may
 * share it. The table appears with the first server that speaks TLS:
 *
 * <pre>owner (name, key, since, PRIMARY KEY (name))</pre>
 */
final class Owners {

    /** Names that one key may own: more than a person needs, too few to fill a store with. */
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
        String sentence =
                "Names in %s belong to keys: start with --tls, or with another --store. The way"
                        + " back is \"Leaving TLS again\" in docs/tls.md.";
        try {
            if (!store.change(session -> session.openOwners(tls)) || tls) {
                return;
            }
        } catch (MessageStore.StoreException e) {
            sentence = "Cannot keep messages in %s: " + e.getMessage();
        }
        throw new MessageStore.StoreException(
                MessageStore.Failing.READING, sentence.formatted(store.place()), null);
    }

    /**
     * Whether {@code key} may act as {@code name}, which it may if it is the owner.
     *
     * @param claims if true, the key becomes the owner of a name without an owner, or is refused if
     *     it owns {@link #MOST} names already; if false, any key may act as such a name
     */
    boolean allow(String name, String key, boolean claims) throws MessageStore.StoreException {
        String owner = store.look(session -> session.owner(name));
        if (owner == null && claims) {
            owner = store.change(session -> session.claim(name, key, MOST));
        }
        return key.equals(owner) || owner == null && !claims;
    }
}
