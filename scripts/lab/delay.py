"""delay.py SEGMENT CABLE=MILLISECONDS…: delays the frames that come out of cables, in the namespace `switch`.

It takes each cable off the bridge SEGMENT and puts a TAP in its place. Frames from the cable go on after the given time,
in order and never earlier; frames to the cable go on at once. It replaces the kernel's netem, which not every kernel
has.
"""

import collections
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
ETH_P_ALL = 3
PACKET_OUTGOING = 4
SO_RCVBUFFORCE = 33  # Python 3.11's socket module does not name it
# Timers fire up to this many seconds late. So sleeping ends this long before a frame is due.
SPIN = 0.0002


def ip(*words):
    subprocess.run(["ip", "link", "set", *words], check=True)


class Cable:
    def __init__(self, segment, name, delay):
        self.delay = delay
        self.late = collections.deque()  # when it is due, and the frame
        self.wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.wire.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        self.wire.setblocking(False)
        self.tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        tap = "late-" + name.split("-")[0]
        fcntl.ioctl(self.tap, TUNSETIFF, struct.pack("16sH22x", tap.encode(), IFF_TAP | IFF_NO_PI))
        ip(name, "nomaster")
        self.wire.bind((name, ETH_P_ALL))
        ip(tap, "master", segment, "up")

    def take(self):
        """Stores frames that came from the cable."""
        while True:
            try:
                frame, (_, _, kind, *_) = self.wire.recvfrom(65535)
            except BlockingIOError:
                return
            if kind != PACKET_OUTGOING:
                self.late.append((time.monotonic() + self.delay, frame))

    def give(self):
        """Sends the frames that are due."""
        while self.late and self.late[0][0] <= time.monotonic():
            write(lambda frame: os.write(self.tap, frame), self.late.popleft()[1])

    def back(self):
        """Passes frames on to the cable."""
        while True:
            try:
                frame = os.read(self.tap, 65535)
            except BlockingIOError:
                return
            write(self.wire.send, frame)


def write(end, frame):
    try:
        end(frame)
    except OSError as error:
        print(f"dropped a frame: {error}", flush=True)


def main():
    cables = []
    for word in sys.argv[2:]:
        name, _, milliseconds = word.partition("=")
        cables.append(Cable(sys.argv[1], name, float(milliseconds) / 1000))
    ends = {end: hand for cable in cables for end, hand in ((cable.wire, cable.take), (cable.tap, cable.back))}
    print("ready", flush=True)
    while True:
        due = min((cable.late[0][0] for cable in cables if cable.late), default=None)
        nap = None if due is None else max(0, due - SPIN - time.monotonic())
        for end in select.select(list(ends), [], [], nap)[0]:
            ends[end]()
        for cable in cables:
            cable.give()


main()
