"""hostile.py INTERFACE SIDE SEED: sends frames that no good host sends, until it is ended. SIDE is clients or servers.

The frames are of all protocols, malformed, odd and random: wrong lengths, wrong and right checksums, fragments, options,
tags, tunnels, ICMP errors about nothing, invalid addresses. Most come from hosts that do not exist, so connections of real
hosts are not disturbed. Some come from the address of a real server, of the director or of nobody.
The director's MAC is learnt by ARP.
"""

import random
import signal
import socket
import struct
import sys
import time

VIP, CLIENT, RIP = "10.1.0.100", "10.1.0.10", "10.2.0.11"
DIP = {"clients": "10.1.0.1", "servers": "10.2.0.1"}
# After this many frames comes a pause of a millisecond: the director must be able to read all frames.
FRAMES_A_PAUSE = 16
LONGEST = 1514


def octets(address):
    return socket.inet_aton(address)


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Hostile:
    def __init__(self, interface, side, seed):
        self.wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.wire.bind((interface, 0))
        self.own = self.wire.getsockname()[4]
        self.side = side
        self.random = random.Random(f"{side} {seed}")
        self.director = self.ask(interface, DIP[side])
        # TCP, UDP and mutated frames are listed more often: most frames should reach services and connections.
        self.kinds = [self.tcp, self.tcp, self.udp, self.mutated, self.mutated, self.ip, self.icmp, self.fragment,
                      self.options, self.protocol, self.tunnel, self.tagged, self.arp, self.ipv6, self.noise]

    @staticmethod
    def ask(interface, address):
        """The MAC that Linux finds when it sends a datagram there."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            for _ in range(50):
                probe.sendto(b"", (address, 9))
                for line in open("/proc/net/arp").read().splitlines()[1:]:
                    words = line.split()
                    if words[0] == address and words[5] == interface and int(words[2], 16) & 2:
                        return bytes.fromhex(words[3].replace(":", ""))
                time.sleep(0.1)
        sys.exit(f"hostile.py: no MAC for {address}")

    # --- pieces ---

    def chance(self, one_of):
        return self.random.randrange(one_of) == 0

    def bytes(self, most):
        return self.random.randbytes(self.random.randrange(most + 1))

    def ether(self, kind, payload):
        """A frame, mostly for the director. It has few source MACs, so that the bridge learns no more."""
        target = self.director
        if self.chance(20):
            target = self.random.choice([b"\xff" * 6, b"\x01\x00\x5e\x00\x00\x01", b"\x02\x00\x00\x00\x00\x99"])
        return (target + self.own + struct.pack("!H", kind) + payload)[:LONGEST]

    def addresses(self):
        """Source and destination."""
        if self.side == "clients":
            source, target = f"10.1.0.{self.random.randrange(130, 194)}", VIP
        else:
            source, target = f"10.2.0.{self.random.randrange(130, 194)}", f"10.1.0.{self.random.randrange(130, 194)}"
            if self.chance(3):
                source = RIP
        if self.chance(12):
            source = self.random.choice(["0.0.0.0", "255.255.255.255", "127.0.0.1", "224.0.0.1", VIP, DIP[self.side],
                                         "10.1.0.255", RIP])
        if self.chance(12):
            target = self.random.choice(["0.0.0.0", "255.255.255.255", "127.0.0.1", "224.0.0.1", "10.1.0.255",
                                         DIP[self.side], f"10.2.0.{self.random.randrange(130, 194)}"])
        return octets(source), octets(target)

    def header(self, protocol, payload, ends=None, options=b"", fragment=0):
        source, target = ends or self.addresses()
        options += b"\0" * (-len(options) % 4)
        length = 20 + len(options) + len(payload)
        first, checked = 0x45 + len(options) // 4, True
        if self.chance(15):
            length = self.random.choice([0, 1, 19, 20, length - 1, length + 1, length + 40, 0xFFFF]) & 0xFFFF
        if self.chance(25):
            first = self.random.randrange(256)
        if self.chance(15):
            checked = False
        ttl = self.random.choice([64, 64, 64, 64, 255, 2, 1, 0])
        head = struct.pack("!BBHHHBBH", first, self.random.choice([0, 0, 255]), length, self.random.randrange(65536), fragment,
                           ttl, protocol, 0) + source + target + options
        total = checksum(head) if checked else self.random.randrange(65536)
        return head[:10] + struct.pack("!H", total) + head[12:]

    def with_ports(self, protocol, segment, at, fragment=0, options=b""):
        """A packet with this segment. The checksum at `at` is right, wrong or zero."""
        ends = self.addresses()
        if self.chance(6):
            value = self.random.choice([0, 0xFFFF, self.random.randrange(65536)])
        else:
            pseudo = ends[0] + ends[1] + struct.pack("!BBH", 0, protocol, len(segment))
            value = checksum(pseudo + segment)
        segment = segment[:at] + struct.pack("!H", value) + segment[at + 2:]
        if self.chance(15):
            segment = segment[:self.random.randrange(len(segment))]
        return self.header(protocol, segment, ends, options, fragment) + segment

    def ports(self):
        service = self.random.choice([80, 80, 80, 53, 443, 0, self.random.randrange(65536)])
        other = self.random.randrange(65536)
        return (other, service) if self.side == "clients" else (self.random.choice([8080, 80, 5353, service]), other)

    def tcp_packet(self, **more):
        options = self.bytes(40) if self.chance(4) else b""
        options += b"\0" * (-len(options) % 4)
        offset = (5 + len(options) // 4) << 4
        if self.chance(10):
            offset = self.random.randrange(256)
        flags = self.random.choice([2, 16, 18, 24, 4, 17, 1, 0, 255, 41, self.random.randrange(256)])
        # Only few frames open a connection: this is no test of a full table.
        if flags == 2 and not self.chance(3):
            flags = 16
        segment = struct.pack("!HHIIBBHHH", *self.ports(), self.random.randrange(1 << 32), self.random.randrange(1 << 32),
                              offset, flags, self.random.randrange(65536), 0, 0) + options + self.bytes(200)
        return self.with_ports(6, segment, 16, **more)

    def udp_packet(self, **more):
        payload = self.bytes(300)
        length = 8 + len(payload)
        if self.chance(8):
            length = self.random.choice([0, 7, 8, length + 1, 0xFFFF])
        return self.with_ports(17, struct.pack("!HHHH", *self.ports(), length, 0) + payload, 6, **more)

    # --- kinds of frames ---

    def tcp(self):
        return self.ether(0x0800, self.tcp_packet())

    def udp(self):
        return self.ether(0x0800, self.udp_packet())

    def mutated(self):
        frame = bytearray(self.random.choice([self.tcp, self.udp, self.icmp, self.fragment, self.tunnel])())
        for _ in range(self.random.randrange(1, 9)):
            frame[self.random.randrange(12, len(frame))] = self.random.randrange(256)
        return bytes(frame[:self.random.randrange(14, len(frame) + 1)] if self.chance(3) else frame)

    def ip(self):
        return self.ether(0x0800, self.random.randbytes(self.random.randrange(0, 61)) + self.bytes(60))

    def icmp(self):
        quoted = self.random.choice([self.tcp_packet, self.udp_packet])()[:self.random.randrange(0, 120)]
        kind = self.random.choice([3, 3, 3, 11, 12, 4, 5, 8, 0, 13, 17, self.random.randrange(256)])
        body = struct.pack("!BBHI", kind, self.random.randrange(18), 0, self.random.randrange(1 << 32)) + quoted
        total = checksum(body) if not self.chance(8) else 0
        body = body[:2] + struct.pack("!H", total) + body[4:]
        return self.ether(0x0800, self.header(1, body) + body)

    def fragment(self):
        where = self.random.choice([0x2000, 0x2001, 0x0001, 0x1FFF, 0x3FFF, 0x8000, self.random.randrange(65536)])
        packet = self.random.choice([self.tcp_packet, self.udp_packet])
        return self.ether(0x0800, packet(fragment=where))

    def options(self):
        listed = self.random.choice([b"\x83\x07\x04" + octets(VIP), b"\x89\x0b\x04" + octets(VIP) * 2, b"\x07\x27\x04" + b"\0" * 36,
                                     b"\x44\x0c\x05\x01" + b"\0" * 8, b"\x94\x04\0\0", b"\x83\x00", b"\x83\xff\x04", self.bytes(40)])
        packet = self.random.choice([self.tcp_packet, self.udp_packet])
        return self.ether(0x0800, packet(options=listed))

    def protocol(self):
        payload = self.bytes(100)
        return self.ether(0x0800, self.header(self.random.randrange(256), payload) + payload)

    def tunnel(self):
        inner = self.random.choice([self.tcp_packet, self.udp_packet])()
        protocol, before = self.random.choice([(4, b""), (47, b"\0\0\x08\0"), (41, b""), (50, b"\0" * 8), (132, b""), (94, b"")])
        return self.ether(0x0800, self.header(protocol, before + inner) + before + inner)

    def tagged(self):
        tags = struct.pack("!H", self.random.randrange(65536))
        for _ in range(self.random.randrange(3)):
            tags += struct.pack("!HH", self.random.choice([0x8100, 0x88A8, 0x9100]), self.random.randrange(65536))
        return self.ether(self.random.choice([0x8100, 0x88A8]), tags + b"\x08\0" + self.tcp_packet())

    def arp(self):
        # It claims only addresses that nobody has.
        sender = octets(f"10.{1 if self.side == 'clients' else 2}.0.{self.random.randrange(200, 250)}")
        body = struct.pack("!HHBBH", self.random.choice([1, 1, 6]), self.random.choice([0x0800, 0x0800, 0x86DD]),
                           self.random.choice([6, 6, 0, 255]), self.random.choice([4, 4, 0, 255]), self.random.choice([1, 2, 3, 0]))
        body += self.own + sender + b"\0" * 6 + self.random.choice([octets(VIP), octets(DIP[self.side]), sender])
        return self.ether(0x0806, body[:self.random.randrange(2, len(body) + 1)] if self.chance(3) else body)

    def ipv6(self):
        payload = self.bytes(120)
        head = struct.pack("!IHBB", 0x60000000, self.random.choice([len(payload), 0, 0xFFFF]),
                           self.random.choice([6, 17, 58, 0, 43, 44, 60, 59, self.random.randrange(256)]), self.random.choice([64, 255, 0]))
        return self.ether(0x86DD, head + self.random.randbytes(32) + payload)

    def noise(self):
        kind = self.random.choice([0x0800, 0x0806, 0x86DD, 0x8847, 0x8863, 0x88CC, 0, 46, 1500, self.random.randrange(65536)])
        return self.ether(kind, self.bytes(LONGEST - 14))

    def run(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        sent = 0
        print("ready", flush=True)
        while True:
            for _ in range(FRAMES_A_PAUSE):
                try:
                    self.wire.send(self.random.choice(self.kinds)())
                    sent += 1
                except OSError:
                    # The queue is full.
                    time.sleep(0.01)
            time.sleep(0.001)


Hostile(sys.argv[1], sys.argv[2], sys.argv[3]).run()
