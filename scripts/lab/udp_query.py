"""udp_query.py ADDRESS PORT COUNT FIRST_SOURCE_PORT: one query after the other, each from a source port of its own.

Prints the name of the server that answered, one on each line. The sockets are connected, so an answer from another address
than the one that was asked does not count. The source ports are given: the kernel's random choice would repeat some within
a thousand, and the director would rightly send these to their old server.
"""

import socket
import sys


def ask(address, source, payload):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        sock.bind(("", source))
        sock.connect(address)
        sock.send(payload)
        name, _, echo = sock.recv(65535).partition(b" ")
        return name.decode() if echo == payload else f"wrong payload {echo!r}"


def main():
    address = (sys.argv[1], int(sys.argv[2]))
    count, first = int(sys.argv[3]), int(sys.argv[4])
    lost = 0
    for i in range(count):
        try:
            print(ask(address, first + i, f"query {i}".encode()))
        except OSError as error:
            print(f"query {i} from port {first + i}: {error}", file=sys.stderr)
            lost += 1
            if lost == 3:
                sys.exit("giving up after three lost queries")


main()
