"""decap.py INTERFACE: takes the outer header off IP-in-IP packets (RFC 2003) and gives the inner ones to Linux.

It replaces the kernel's ipip module, which not every kernel has. Only requests pass here; replies leave directly.
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys

TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
SO_RCVBUFFORCE = 33  # Python 3.11's socket module does not name it


def open_tun(name):
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    return tun


def main():
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IPIP)
    # Room for a burst of 200 clients that connect at once while this process waits for the CPU.
    raw.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
    tun = open_tun(sys.argv[1])
    buffer = bytearray(65535)
    view = memoryview(buffer)
    while True:
        length = raw.recv_into(buffer)
        outer = (buffer[0] & 0x0F) * 4
        inner = view[outer:length]
        if len(inner) >= 20 and inner[0] >> 4 == 4:
            try:
                os.write(tun, inner)
            except OSError as error:
                print(f"dropped an inner packet: {error}", flush=True)


main()
