"""udp_server.py NAME PORT…: answers every datagram with NAME and a copy of it, from the address that was asked.

A wildcard socket would answer a query to the VIP (on lo) from the address of the outgoing interface. So each answer
carries its source address (IP_PKTINFO, ip(7)).
"""

import select
import socket
import struct
import sys

IP_PKTINFO = 8  # Python 3.11's socket module does not name it


def answer(sock, name):
    payload, control, _, peer = sock.recvmsg(65535, socket.CMSG_SPACE(12))
    for level, kind, data in control:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
            asked = data[8:12]
            source = struct.pack("i4s4s", 0, asked, b"\0\0\0\0")
            sock.sendmsg([name + b" " + payload], [(socket.IPPROTO_IP, IP_PKTINFO, source)], 0, peer)


def main():
    name = sys.argv[1].encode()
    poll = select.poll()
    socks = {}
    for port in sys.argv[2:]:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        sock.bind(("0.0.0.0", int(port)))
        socks[sock.fileno()] = sock
        poll.register(sock, select.POLLIN)
    print("ready", flush=True)
    while True:
        for fd, _ in poll.poll():
            try:
                answer(socks[fd], name)
            except OSError as error:
                # An ICMP error for an earlier answer, or no route to this peer: go on with the next query.
                print(error, flush=True)


main()
