//JAVA 21+
//SOURCES ../Protocol.java
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

/** Thrown if a request fails; the message is one sentence, safe to show on a terminal. */
public final class RequestException extends Exception {
    private static final long serialVersionUID = 1;

    RequestException(String sentence, Throwable cause) {
        super(Protocol.visible(sentence), cause);
    }
}
