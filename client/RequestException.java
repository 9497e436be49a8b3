//JAVA 21+
//SOURCES ../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

/** Says in one sentence for a person why a request did not get what it asked for, safe to show. */
public final class RequestException extends Exception {
    private static final long serialVersionUID = 1;

    RequestException(String sentence, Throwable cause) {
        super(Protocol.visible(sentence), cause);
    }
}
