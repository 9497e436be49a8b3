//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

/** A rule for programs: a quotation from the README, and, for some, its consequence. */
enum Rule {
    STORE("store;recipient;sender;message"),
    FETCH("fetch;recipient"),
    ONE_REQUEST("The client connects and sends one request"),
    LINE("a line of at most 255 bytes before its end"),
    TOO_LONG("more than 255 bytes"),
    UTF8("all text is UTF-8"),
    MALFORMED("malformed UTF-8"),
    CONTROLS("control characters (U+0000 to U+001F, U+007F to U+009F) other than TAB"),
    ORDER("in this order, a verb, a recipient, a known verb, a sender and a message."),
    END("The request ends at LF (a CR before it is dropped), or when the client shuts down"),
    SILENCE("1 s of silence ends a request that came in one piece of more than one byte"),
    LATE("not complete within the timeout", " (see --timeout)"),
    NAMES("The server drops spaces and tabs (U+0020, U+0009) at the ends of a name, and no other"),
    NAME("A name is any text without ;. Names are case-sensitive."),
    NOBODY("There is no such name"),
    KEPT("The message is all text after the third ;, kept as it is"),
    SEMICOLONS("The message is all text after the third ;, kept as it is, further ; included."),
    IGNORED("Text after the recipient of a fetch is ignored."),
    NOTHING_DELETED("Fetching deletes nothing."),
    MAIL("for each message in the order of acceptance, then NO MORE MESSAGES"),
    ORDERED("Messages come in the order of acceptance, each once"),
    LF("The server sends one reply, ends each line with LF"),
    CLOSES("The server sends one reply, ends each line with LF, and closes."),
    UNHURT("no client can hurt it"),
    SILENT("No silent, dripping, resetting, endless or non-reading client holds up others."),
    SURVIVES("An acknowledged message survives a kill -9 of the server."),
    MENU("then shows its menu: 1 sends a message, 2 reads your messages, 3 exits"),
    UNTIL("and closes. The client reads to the close."),
    PATIENCE(UNTIL.quote, "; a client gives up on a server that does not close"),
    CUT_OFF("A reply without its last line was cut off."),
    NO_LAST_LF("it ends a mailbox without a last LF", "; a client has to accept both forms"),
    FAILURE("A failed request prints one sentence and leads back to the menu."),
    STORED(
            FAILURE.quote,
            "; any reply but Message accepted and stored: is a failure with a reason"),
    FETCHED(FAILURE.quote, "; a fetch is refused in a line other than Retrieving messages...");

    final String quote;
    private final String more;

    Rule(String quote, String... more) {
        this.quote = quote;
        this.more = String.join("", more);
    }

    @Override
    public String toString() {
        return "\"" + quote + "\"" + more;
    }
}
