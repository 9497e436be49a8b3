"""A small menu client, written from the protocol alone: python3 small_client.py HOST PORT"""

import socket
import sys
import time

sys.stdin.reconfigure(encoding="utf-8")
sys.stdout.reconfigure(encoding="utf-8")
address = (sys.argv[1], int(sys.argv[2]))


def request(line):
    """The lines of the reply, and whether it ended as the protocol says that it does."""
    with socket.create_connection(address, timeout=5) as server:
        server.sendall(line.encode("utf-8"))
        server.shutdown(socket.SHUT_WR)
        reply = b""
        while piece := server.recv(4096):
            reply += piece
    return reply.decode("utf-8").removesuffix("\n").split("\n")


def send(user):
    recipient = input("To: ")
    message = input("Text: ")
    line = f"store;{recipient};{user};{message}"
    if len(line.encode("utf-8")) > 255:
        print("That is too long.")
        return
    reply = request(line)
    if reply == ["Message accepted and stored:"]:
        print("Sent.")
    else:
        print("Not sent:", reply[0] or "the connection was closed")


def read(user):
    first, *messages = request(f"fetch;{user}")
    if first != "Retrieving messages...":
        print("Refused:", first or "the connection was closed")
        return
    ends = ("NO MORE MESSAGES", "There is no such name")
    last = messages.pop() if messages and messages[-1] in ends else ""
    if last == "There is no such name":
        print("No mail.")
        return
    for message in messages:
        _, sender, text = message.split(";", 2)
        print(f"{sender} writes: {text}")
    print("That is all." if last == "NO MORE MESSAGES" else "The rest is missing.")


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
            print("It failed:", e)


try:
    menu()
except EOFError:
    pass
