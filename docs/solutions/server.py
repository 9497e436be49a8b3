"""Exercise 2: a message server, from the protocol alone. python3 server.py PORT FILE [TIMEOUT]

This server is correct, but not fast. It has a thread for each connection and one file. It flushes
the file for each message and reads the file for each fetch.
"""

import os
import socket
import sys
import threading
import time

TIMEOUT = float(sys.argv[3]) if len(sys.argv) > 3 else 10.0
SILENCE = 1.0
MAX_BYTES = 255

lock = threading.Lock()
path = sys.argv[2]
kept = open(path, "ab")


class Refused(Exception):
    pass


def read_request(client):
    """Reads one request; returns its bytes without the line end."""
    deadline = time.monotonic() + TIMEOUT
    data = b""
    pieces = 0
    while True:
        left = deadline - time.monotonic()
        perhaps_whole = pieces == 1 and len(data) > 1
        if left <= 0:
            raise Refused("Message declined. Timed out")
        client.settimeout(min(left, SILENCE) if perhaps_whole else left)
        try:
            piece = client.recv(4096)
        except TimeoutError:
            if perhaps_whole:
                return data
            raise Refused("Message declined. Timed out")
        pieces += 1
        data += piece
        if b"\n" in data:
            return data.split(b"\n")[0].removesuffix(b"\r")
        if not piece:
            return data
        if len(data) > MAX_BYTES + 1:  # one more byte may be the CR of a CR LF
            return data


def control(text):
    return any((ord(c) < 32 and c != "\t") or 127 <= ord(c) < 160 for c in text)


def reply_to(data):
    if len(data) > MAX_BYTES:
        raise Refused("Message declined. Too long, 255 bytes at most")
    try:
        line = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("Message declined. Not UTF-8")
    if control(line):
        raise Refused("Message declined. Control characters")
    verb, recipient, sender, message = (line.split(";", 3) + ["", "", ""])[:4]
    recipient, sender = (name.strip(" \t") for name in (recipient, sender))
    if not verb:
        raise Refused("No verb")
    if not recipient:
        raise Refused("No recipient")
    if verb == "fetch":
        return fetch(recipient)
    if verb != "store":
        raise Refused("Message declined. Bad verb")
    if not sender:
        raise Refused("No sender")
    if not message:
        raise Refused("No message")
    keep(f"{recipient};{sender};{message}\n".encode())
    return "Message accepted and stored:\n"


def keep(line):
    """Returns when the line is on the disk. The acknowledgement must come later."""
    with lock:
        kept.write(line)
        kept.flush()
        os.fsync(kept.fileno())


def fetch(recipient):
    with lock, open(path, "rb") as file:
        kept.flush()
        mine = [m for m in file.read().decode().split("\n") if m.split(";")[0] == recipient]
    if not mine:
        return "Retrieving messages...\nThere is no such name\n"
    return "Retrieving messages...\n" + "\n".join(mine) + "\nNO MORE MESSAGES\n"


def converse(client):
    try:
        try:
            reply = reply_to(read_request(client))
        except Refused as refused:
            reply = f"{refused}\n"
        client.sendall(reply.encode())
        client.shutdown(socket.SHUT_WR)
        client.settimeout(2)
        while client.recv(4096):  # a close with unread input could destroy the reply
            pass
    except OSError:
        pass  # the client has left
    finally:
        client.close()


with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128) as listening:
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=converse, args=(connection,), daemon=True).start()
