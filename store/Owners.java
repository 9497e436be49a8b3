//JAVA 21+
//SOURCES MessageStore.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

/**
 * The owner of each name. Each lookup goes to the database, since other servers may share it. The
 * first server that speaks TLS makes the table:
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
     * Makes the table if this server speaks TLS and the table is missing.
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
     * Whether {@code key} may act as {@code name}. The owner may.
     *
     * @param claims decides about a name without an owner. If true, the key becomes the owner, or
     *     is refused if it owns {@link #MOST} names already; if false, any key may act as the name
     */
    boolean allow(String name, String key, boolean claims) throws MessageStore.StoreException {
        String owner = store.look(session -> session.owner(name));
        if (owner == null && claims) {
            owner = store.change(session -> session.claim(name, key, MOST));
        }
        return key.equals(owner) || owner == null && !claims;
    }
}
