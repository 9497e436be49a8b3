"""Exercise 1: a menu client, from the protocol alone. python3 client.py HOST PORT"""

import socket
import sys

sys.stdin.reconfigure(encoding="utf-8")
sys.stdout.reconfigure(encoding="utf-8")
address = (sys.argv[1], int(sys.argv[2]))


def request(line):
    """Sends one request over a new connection; returns the reply without its last LF."""
    with socket.create_connection(address, timeout=5) as server:
        server.sendall(line.encode("utf-8"))
        server.shutdown(socket.SHUT_WR)  # the end of the request
        reply = b""
        while piece := server.recv(4096):  # read to the close: a piece is not a reply
            reply += piece
    return reply.decode("utf-8").removesuffix("\n")  # at the end: a character may be in two pieces


def send(user):
    recipient = input("To: ")
    message = input("Text: ")
    line = f"store;{recipient};{user};{message}"
    if len(line.encode("utf-8")) > 255:
        print("The message is too long.")
        return
    reply = request(line)
    if reply == "Message accepted and stored:":
        print("Sent.")
    else:
        print("Not sent:", reply or "the connection was closed")


def read(user):
    first, *messages = request(f"fetch;{user}").split("\n")
    if first != "Retrieving messages...":
        print("Refused:", first or "the connection was closed")
        return
    if messages == ["There is no such name"]:
        print("No mail.")
        return
    whole = messages[-1:] == ["NO MORE MESSAGES"]
    for message in messages[:-1] if whole else messages:
        _, sender, text = (message.split(";", 2) + ["", ""])[:3]
        print(f"{sender} writes: {text}")
    print("The mailbox is complete." if whole else "The end of the mailbox is missing.")


def menu():
    user = input("Name: ")
    while True:
        choice = input("1 send, 2 read, 3 leave: ")
        if choice == "3":
            return
        try:
            if choice == "1":
                send(user)
            elif choice == "2":
                read(user)
        except OSError as e:
            print("The request failed:", e)


try:
    menu()
except EOFError:
    pass  # the input has ended
