//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

/** Says in one sentence for a person why a request did not get what it asked for. */
public final class RequestException extends Exception {
    private static final long serialVersionUID = 1;

    RequestException(String sentence, Throwable cause) {
        super(sentence, cause);
    }
}
