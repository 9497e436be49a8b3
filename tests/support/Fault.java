//JAVA 21+
//COMPILE_OPTIONS --release 21 -Xlint:all,-processing -Werror

import java.util.List;

/** One wrong line in an otherwise correct program, and every case that fails because of it. */
enum Fault {
    // Faults of a server:
    READS_ONE_PIECE_ONLY(
            "if len(data) > MAX_BYTES + 1:",
            "if data:",
            "a request may come in pieces",
            "a character may come in pieces",
            "a pause of half a second does not cut a request",
            "the end of the sending side ends a request in pieces",
            "255 bytes and an end in a later piece are accepted",
            "one byte is no request",
            "pieces without an end are no request",
            "dripped bytes do not extend the timeout"),
    COUNTS_THE_END(
            "if len(data) > MAX_BYTES + 1:",
            "if len(data) > MAX_BYTES:",
            "255 bytes and an end in a later piece are accepted"),
    WAITS_FOR_AN_END(
            "perhaps_whole = pieces == 1 and len(data) > 1",
            "perhaps_whole = False",
            "silence after one piece ends a request"),
    LETS_A_DRIPPING_CLIENT_GO_ON(
            "left = deadline - time.monotonic()",
            "left = TIMEOUT",
            "dripped bytes do not extend the timeout"),
    HAS_NO_DEADLINE(
            "deadline = time.monotonic() + TIMEOUT",
            "deadline = time.monotonic() + 3600",
            "a client that sends nothing gets the timeout reply",
            "one byte is no request",
            "pieces without an end are no request",
            "dripped bytes do not extend the timeout"),
    SERVES_ONE_AT_A_TIME(
            "threading.Thread(target=converse, args=(connection,), daemon=True).start()",
            "converse(connection)",
            "clients that send nothing hold up nobody"),
    ENDS_AT_A_RESET(
            "        pass  # the client has left",
            "        print('cannot go on', file=sys.stderr, flush=True)\n        os._exit(3)",
            "clients that leave early harm nobody"),
    NEVER_CLOSES(
            "        client.shutdown(socket.SHUT_WR)",
            "        time.sleep(60)",
            "the server closes after a store",
            "the server closes after a fetch",
            "the server closes after a refusal",
            "the server closes although the client keeps its sending side open"),
    LEAVES_OUT_THE_LAST_LF(
            "client.sendall(reply.encode())",
            "client.sendall(reply.rstrip().encode())",
            "every line of a reply ends with LF"),
    ENDS_LINES_AS_WINDOWS_DOES(
            "client.sendall(reply.encode())",
            "client.sendall(reply.replace('\\n', '\\r\\n').encode())",
            "every line of a reply ends with LF"),
    HAS_ITS_OWN_WORDING(
            "return \"Message accepted and stored:\\n\"",
            "return \"Message stored\\n\"",
            "a stored message can be fetched"),
    SORTS_A_MAILBOX(
            "\"\\n\".join(mine)",
            "\"\\n\".join(sorted(mine))",
            "messages come in the order of acceptance"),
    TRIMS_WHAT_PYTHON_TRIMS(
            "name.strip(\" \\t\")",
            "name.strip()",
            "no other character at the ends of names is dropped"),
    SPLITS_THE_MESSAGE(
            "line.split(\";\", 3)",
            "line.split(\";\")",
            "a message keeps its `;`",
            "a message may begin with `;`"),
    TRIMS_THE_MESSAGE(
            "    if not message:",
            "    message = message.strip()\n    if not message:",
            "a message keeps its spaces and tabs"),
    COUNTS_CHARACTERS(
            "    if len(data) > MAX_BYTES:",
            "    if len(data.decode(errors='replace')) > MAX_BYTES:",
            "the limit counts bytes, not characters"),
    TAKES_ANY_BYTES(
            "data.decode(\"utf-8\")",
            "data.decode(\"utf-8\", \"replace\")",
            "\"\\xff\" is refused",
            "\"\\xce\" is refused",
            "\"\\xc0\\x80\" is refused",
            "\"\\xed\\xa0\\x80\" is refused",
            "\"\\xf0\\x9f\\x98\" is refused",
            "the encoding is checked before the parts"),
    LOOKS_AT_THE_VERB_FIRST(
            "    if not recipient:",
            "    if verb not in (\"fetch\", \"store\"):\n"
                    + "        raise Refused(\"Message declined. Bad verb\")\n"
                    + "    if not recipient:",
            "\"bogus\" is answered \"No recipient\"",
            "\"STORE;\" is answered \"No recipient\""),
    ANSWERS_BEFORE_IT_HAS_STORED(
            "        kept.flush()\n        os.fsync(kept.fileno())",
            "        threading.Timer(5, kept.flush).start()",
            "an acknowledged message survives kill -9"),

    // Correct clients with unusual output, which fail no case:
    PRINTS_THE_REPLY_AS_IT_CAME(
            "    first, *messages = request(f\"fetch;{user}\").split(\"\\n\")",
            "    sys.stdout.write(request(f\"fetch;{user}\"))\n    return"),
    PRINTS_A_CLOCK(
            "print(\"Sent.\")",
            "print(\"Sent in\", __import__(\"time\").perf_counter(),"
                    + " __import__(\"time\").ctime())"),
    DRAWS_ITS_MENU_ANEW(
            "        choice = input(",
            "        print(\"\\033[2J\\033[H\", end=\"\")\n        choice = input("),

    // Faults of a client:
    WAITS_FOR_EVER(
            "timeout=5",
            "timeout=None",
            "a client gives up on a server that never replies",
            "a client gives up on a reply that stops in the middle",
            "a client gives up on a reply without a close"),
    TAKES_A_PIECE_FOR_A_REPLY(
            "        while piece := server.recv(4096):  # read to the close: a piece is"
                    + " not a reply\n"
                    + "            reply += piece\n",
            "        reply = server.recv(4096)\n",
            "a mailbox of 2,000 messages is shown whole",
            "a reply in pieces is one reply",
            "a character in pieces is one character",
            "a message that reads like a last line does not end a mailbox"),
    STOPS_AT_NO_MORE(
            "            reply += piece\n",
            "            reply += piece\n            if b\"NO MORE\" in reply:\n"
                    + "                break\n",
            "a message that reads like a last line does not end a mailbox"),
    READS_EACH_PIECE_AS_TEXT(
            "            reply += piece\n",
            "            reply += piece.decode(errors='replace').encode()\n",
            "a character in pieces is one character"),
    CUTS_THE_MESSAGE_AT_A_SEMICOLON(
            "message = input(\"Text: \")",
            "message = input(\"Text: \").split(\";\")[0]",
            "a message goes out with its `;` and its spaces"),
    TRIMS_WHAT_IS_TYPED(
            "message = input(\"Text: \")",
            "message = input(\"Text: \").strip()",
            "a message goes out with the spaces at its ends"),
    CUTS_A_LONG_MESSAGE(
            "        print(\"The message is too long.\")\n        return\n",
            "        line = line[:255]\n",
            "a message that is too long is not cut"),
    SENDS_WHAT_WINDOWS_SENDS(
            "server.sendall(line.encode(\"utf-8\"))",
            "server.sendall(line.encode(\"cp1253\", \"replace\"))",
            "text goes out as UTF-8"),
    HIDES_THE_SENDER("{sender} writes: ", "", "mail is shown with its sender"),
    HIDES_THE_REASON(
            "print(\"Not sent:\", reply or",
            "print(\"Not sent:\", \"for some reason\" or",
            "the refusal \"Could not be stored, try again later\" is shown",
            "the refusal \"Server is busy, try again later\" is shown",
            "the refusal \"Control characters\" is shown"),
    HIDES_THE_REASON_FROM_A_READER(
            "print(\"Refused:\", first or",
            "print(\"Refused:\", \"for some reason\" or",
            "the refusal \"No recipient\" is shown"),
    LEAVES_AFTER_A_REFUSAL(
            "        print(\"Not sent:\", reply or \"the connection was closed\")\n",
            "        sys.exit(\"Not sent: \" + reply)\n",
            "after a refusal the menu goes on"),
    TAKES_A_CUT_REPLY_FOR_A_WHOLE_ONE(
            "\"The mailbox is complete.\" if whole else",
            "\"The mailbox is complete.\" if True else",
            "a mailbox that was cut off differs from a whole mailbox"),
    TAKES_ANY_LAST_LINE_FOR_THE_LAST(
            "whole = messages[-1:] == [\"NO MORE MESSAGES\"]",
            "whole = True",
            "a mailbox that was cut off differs from a whole mailbox"),
    TELLS_IT_BY_A_CLOCK_ONLY(
            "print(\"The mailbox is complete.\" if whole else \"The end of the mailbox is"
                    + " missing.\")",
            "print(__import__(\"time\").ctime(), __import__(\"time\").time())",
            "a mailbox that was cut off differs from a whole mailbox"),
    CRASHES_WITHOUT_A_SERVER(
            "except OSError as e:",
            "except TimeoutError as e:",
            "a client reports that there is no server"),
    BELIEVES_THAT_ALL_IS_STORED(
            "if reply == \"Message accepted and stored:\":",
            "if True:",
            "a message counts as stored only after the acknowledgement",
            "the refusal \"Could not be stored, try again later\" is shown",
            "the refusal \"Server is busy, try again later\" is shown",
            "the refusal \"Control characters\" is shown");

    final String right;
    final String wrong;
    final List<String> breaks;

    Fault(String right, String wrong, String... breaks) {
        this.right = right;
        this.wrong = wrong;
        this.breaks = List.of(breaks);
    }

    /**
     * Programs with faults, for which the check must report each fault. Faults in one program do
     * not influence each other.
     */
    static List<List<Fault>> servers() {
        return List.of(
                List.of(),
                List.of(SERVES_ONE_AT_A_TIME, LOOKS_AT_THE_VERB_FIRST, COUNTS_THE_END),
                List.of(READS_ONE_PIECE_ONLY, SORTS_A_MAILBOX),
                List.of(WAITS_FOR_AN_END, TAKES_ANY_BYTES, TRIMS_THE_MESSAGE),
                List.of(
                        LETS_A_DRIPPING_CLIENT_GO_ON,
                        TRIMS_WHAT_PYTHON_TRIMS,
                        ENDS_LINES_AS_WINDOWS_DOES),
                List.of(HAS_NO_DEADLINE, COUNTS_CHARACTERS),
                List.of(NEVER_CLOSES, SPLITS_THE_MESSAGE),
                List.of(LEAVES_OUT_THE_LAST_LF, ANSWERS_BEFORE_IT_HAS_STORED),
                List.of(ENDS_AT_A_RESET),
                List.of(HAS_ITS_OWN_WORDING));
    }

    /** Like {@link #servers()}, for clients. */
    static List<List<Fault>> clients() {
        return List.of(
                List.of(),
                List.of(PRINTS_THE_REPLY_AS_IT_CAME, PRINTS_A_CLOCK, DRAWS_ITS_MENU_ANEW),
                List.of(WAITS_FOR_EVER, TRIMS_WHAT_IS_TYPED, HIDES_THE_SENDER),
                List.of(
                        TAKES_A_PIECE_FOR_A_REPLY,
                        CUTS_THE_MESSAGE_AT_A_SEMICOLON,
                        HIDES_THE_REASON_FROM_A_READER,
                        LEAVES_AFTER_A_REFUSAL),
                List.of(TAKES_ANY_LAST_LINE_FOR_THE_LAST),
                List.of(STOPS_AT_NO_MORE, CUTS_A_LONG_MESSAGE, TAKES_A_CUT_REPLY_FOR_A_WHOLE_ONE),
                List.of(READS_EACH_PIECE_AS_TEXT, HIDES_THE_REASON, CRASHES_WITHOUT_A_SERVER),
                List.of(
                        SENDS_WHAT_WINDOWS_SENDS,
                        TELLS_IT_BY_A_CLOCK_ONLY,
                        BELIEVES_THAT_ALL_IS_STORED));
    }
}
