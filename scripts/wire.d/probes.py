"""Records Linux's answers to attributes that ipvsadm never sends: short, missing, unknown, broken."""

import socket
import struct

NLCTRL = 16
REQUEST, ACK, DUMP = 1, 4, 0x300
(NEW_SERVICE, SET_SERVICE, DEL_SERVICE, GET_SERVICE, NEW_DEST, SET_DEST, DEL_DEST, GET_DEST, NEW_DAEMON, DEL_DAEMON,
 GET_DAEMON, SET_CONFIG, GET_CONFIG, SET_INFO, GET_INFO, ZERO, FLUSH) = range(1, 18)
NESTED = 0x8000


def attr(kind, value=b""):
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def u8(kind, value):
    return attr(kind, struct.pack("=B", value))


def u16(kind, value):
    return attr(kind, struct.pack("=H", value))


def be16(kind, value):
    return attr(kind, struct.pack(">H", value))


def u32(kind, value):
    return attr(kind, struct.pack("=I", value & 0xffffffff))


def text(kind, value):
    return attr(kind, value.encode() + b"\0")


VIP = socket.inet_aton("10.0.0.100")
RIP = socket.inet_aton("10.0.1.11")
AF, PROTOCOL, ADDR, PORT = u16(1, 2), u16(2, 6), attr(3, VIP), be16(4, 80)
ID = AF + PROTOCOL + ADDR + PORT
SCHED, FLAGS, TIMEOUT, NETMASK = text(6, "rr"), attr(7, struct.pack("=II", 0, 0xffffffff)), u32(8, 0), u32(9, 0xffffffff)
FULL = ID + SCHED + FLAGS + TIMEOUT + NETMASK
DEST_ID = attr(1, RIP) + be16(2, 80)
METHOD, WEIGHT, UPPER, LOWER = u32(3, 0), u32(4, 1), u32(5, 0), u32(6, 0)
DEST = DEST_ID + METHOD + WEIGHT + UPPER + LOWER
NO_SERVICE = AF + PROTOCOL + ADDR + be16(4, 81)


def service(inner, flag=0):
    return attr(1 | flag, inner)


def dest(inner, flag=0):
    return attr(2 | flag, inner)


def daemon(inner):
    return attr(3, inner)


STATE, IFACE, SYNC_ID = u32(1, 1), text(2, "d0"), u32(3, 1)


class Door:
    """A generic netlink socket that records its messages."""

    def __init__(self, out):
        self.out = out
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
        self.sock.bind((0, 0))
        self.port = self.sock.getsockname()[0]
        self.seq = 0
        self.sock.settimeout(2)
        self.family = 0
        for answer in self.ask("family", 3, text(2, "IPVS"), family=NLCTRL, version=1):
            kind = struct.unpack_from("=H", answer, 4)[0]
            if kind == NLCTRL:
                self.family = struct.unpack_from("=H", answer, answer.index(b"\x06\x00\x01\x00") + 4)[0]

    def message(self, command, attrs=b"", flags=REQUEST | ACK, family=None, version=1, reserved=0, length=None):
        self.seq += 1
        body = struct.pack("=BBH", command, version, reserved) + attrs
        length = 16 + len(body) if length is None else length
        return struct.pack("=IHHII", length, self.family if family is None else family, flags, self.seq, self.port) + body

    def ask(self, name, *args, **more):
        return self.send(name, self.message(*args, **more))

    def send(self, name, datagram, answers=None):
        """Sends. Reads until `answers` acknowledgements, errors or ends of dumps have come."""
        self.out.write(f"# {name}\n> {datagram.hex()}\n")
        self.sock.send(datagram)
        got, ends = [], 0
        self.sock.settimeout(2 if answers is None else 0.3)
        while ends < (answers or 1):
            try:
                got.append(self.sock.recv(65536))
            except TimeoutError:
                break
            self.out.write(f"< {got[-1].hex()}\n")
            if struct.unpack_from("=H", got[-1], 4)[0] in (2, 3):
                ends += 1
        return got

    def explain(self, on):
        """Sets NETLINK_EXT_ACK (give a reason) and NETLINK_CAP_ACK (do not repeat requests)."""
        for option in (11, 10):
            self.sock.setsockopt(270, option, on)


def record(path):
    with open(path, "w") as out:
        door = Door(out)
        for probes in (framing, control, services, dests, others, explained):
            probes(door)


def framing(door):
    ask = door.ask
    ask("no such command", 99)
    ask("no such command, a reserved field", 99, reserved=1)
    ask("command 0", 0)
    ask("a command that only replies have", SET_INFO)
    ask("no such family", 1, family=0x3ff)
    ask("version 0", GET_INFO, version=0)
    ask("version 9, a reserved field", GET_INFO, version=9, reserved=7)
    ask("no acknowledgement wanted", GET_INFO, flags=REQUEST)
    door.send("no request flag", door.message(GET_INFO, flags=ACK), 1)
    door.send("a control message", door.message(GET_INFO, family=3), 1)
    door.send("a control message that wants no acknowledgement", door.message(GET_INFO, family=3, flags=REQUEST), 1)
    header = door.message(GET_INFO)
    door.send("no generic header", struct.pack("=I", 16) + header[4:16], 1)
    door.send("half a generic header", struct.pack("=I", 18) + header[4:18], 1)
    door.send("a length that is too long", struct.pack("=I", 24) + header[4:], 1)
    door.send("a length that is too short", struct.pack("=I", 15) + header[4:], 1)
    door.send("less than a header", header[:15], 1)
    door.send("bytes behind the message", door.message(GET_INFO) + bytes(7), 2)
    door.send("two in one", door.message(GET_CONFIG) + door.message(FLUSH), 2)
    door.send("three in one, the second broken", door.message(FLUSH) + door.message(99) + door.message(FLUSH), 3)
    ask("a dump of a command without dumps", GET_INFO, flags=REQUEST | ACK | DUMP)
    ask("half a dump flag", GET_INFO, flags=REQUEST | ACK | 0x100)
    ask("no dump of a command with only dumps", GET_DEST, service(ID))
    ask("no dump of daemons", GET_DAEMON)


def control(door):
    def ask(name, *args, **more):
        return door.ask(name, *args, family=NLCTRL, **more)
    ask("family by id", 3, u16(1, door.family))
    ask("family by an unknown id", 3, u16(1, 0x3ff))
    ask("family by an unknown name", 3, text(2, "NOSUCH"))
    ask("family by its name in lower case", 3, text(2, "ipvs"))
    ask("family by nothing", 3)
    ask("family by an empty name", 3, text(2, ""))
    ask("family by a name without end", 3, attr(2, b"IPVS"))
    ask("family by a long name", 3, text(2, "IPVSIPVSIPVSIPVS"))
    ask("family by a short id", 3, u8(1, 1))
    ask("family by both, the name counts", 3, u16(1, 0x3ff) + text(2, "IPVS"))
    ask("family by both, the name is unknown", 3, u16(1, door.family) + text(2, "NOSUCH"))
    ask("an unknown attribute", 3, text(2, "IPVS") + u32(77, 1))
    ask("no such command of nlctrl", 77)
    ask("a reply of nlctrl", 1)


def services(door):
    ask = door.ask
    ask("flush", FLUSH)
    ask("flush with broken attributes", FLUSH, service(b"xxx"))
    ask("no service", NEW_SERVICE)
    ask("an empty service", NEW_SERVICE, service(b""))
    ask("a service of three bytes", NEW_SERVICE, attr(1, b"abc"))
    ask("incomplete", NEW_SERVICE, service(ID))
    for name, missing in (("scheduler", SCHED), ("flags", FLAGS), ("timeout", TIMEOUT), ("netmask", NETMASK), ("family", AF),
                          ("protocol", PROTOCOL), ("address", ADDR), ("port", PORT)):
        ask(f"without {name}", NEW_SERVICE, service(FULL.replace(missing, b"", 1)))
    ask("family 0", NEW_SERVICE, service(u16(1, 0) + FULL[len(AF):]))
    ask("family 7", NEW_SERVICE, service(u16(1, 7) + FULL[len(AF):]))
    ask("family 7, incomplete", NEW_SERVICE, service(u16(1, 7) + ID[len(AF):]))
    ask("family of one byte", NEW_SERVICE, service(u8(1, 2) + FULL[len(AF):]))
    ask("an address of 17 bytes", NEW_SERVICE, service(FULL + attr(3, bytes(17))))
    ask("a mark of two bytes", NEW_SERVICE, service(FULL + u16(5, 1)))
    ask("a scheduler without end", NEW_SERVICE, service(FULL + attr(6, b"rr")))
    ask("a scheduler of no byte", NEW_SERVICE, service(FULL + attr(6)))
    ask("an empty scheduler", NEW_SERVICE, service(FULL + text(6, "")))
    ask("a scheduler of 15", NEW_SERVICE, service(FULL + text(6, "a" * 15)))
    ask("a scheduler of 16", NEW_SERVICE, service(FULL + text(6, "a" * 16)))
    ask("a scheduler with a NUL inside", NEW_SERVICE, service(FULL + attr(6, b"rr\0more")))
    ask("get it", GET_SERVICE, service(ID))
    ask("a scheduler with a NUL inside, too long", SET_SERVICE, service(FULL + attr(6, b"rr\0" + b"more" * 5)))
    ask("an engine of 16", SET_SERVICE, service(FULL + text(11, "a" * 16)))
    ask("an engine of 17", SET_SERVICE, service(FULL + text(11, "a" * 17)))
    ask("an empty engine", SET_SERVICE, service(FULL + text(11, "")))
    ask("flags of four bytes", SET_SERVICE, service(FULL + u32(7, 0)))
    ask("flags of nine bytes", SET_SERVICE, service(FULL + attr(7, bytes(9))))
    ask("statistics of three bytes", SET_SERVICE, service(FULL + attr(10, b"abc")))
    ask("add it again", NEW_SERVICE, service(FULL))
    ask("add it again, incomplete", NEW_SERVICE, service(ID))
    ask("persistent by mask", SET_SERVICE, service(FULL + attr(7, struct.pack("=II", 0xffffffff, 1)) + u32(8, 33)))
    ask("get it persistent", GET_SERVICE, service(ID))
    ask("one more flag by mask", SET_SERVICE, service(FULL + attr(7, struct.pack("=II", 0x18, 8)) + u32(8, 33)))
    ask("get it with the flag", GET_SERVICE, service(ID))
    ask("an empty mask", SET_SERVICE, service(FULL + attr(7, struct.pack("=II", 0xff, 0))))
    ask("get it unchanged", GET_SERVICE, service(ID))
    ask("flags without a mask", SET_SERVICE, service(FULL + attr(7, struct.pack("=I", 4))))
    ask("get it, no mask", GET_SERVICE, service(ID))
    ask("all flags off", SET_SERVICE, service(FULL))
    ask("a nested flag", GET_SERVICE, service(ID, NESTED))
    ask("16 bytes of address", GET_SERVICE, service(ID + attr(3, VIP + bytes(12))))
    ask("two bytes of address", GET_SERVICE, service(ID + attr(3, VIP[:2])))
    ask("a port of four bytes", GET_SERVICE, service(ID + u32(4, 0x5000)))
    ask("the last port counts", GET_SERVICE, service(NO_SERVICE + PORT))
    ask("a mark of 0", GET_SERVICE, service(AF + u32(5, 0)))
    ask("a mark counts before an address", GET_SERVICE, service(ID + u32(5, 7)))
    ask("unknown attributes", GET_SERVICE, u32(200, 1) + service(u32(100, 1) + ID + u32(0x2001, 1)))
    ask("bytes behind the attributes", GET_SERVICE, service(ID + b"\1\0\0"))
    ask("bytes behind all", GET_SERVICE, service(ID) + b"\1")
    ask("an attribute that is too long ends them", GET_SERVICE, service(ID + struct.pack("=HH", 99, 4)))
    ask("an attribute of length 0 ends them", GET_SERVICE, service(AF + bytes(4) + ID))
    ask("get without a service", GET_SERVICE)
    ask("get one that does not exist", GET_SERVICE, service(NO_SERVICE))
    ask("protocol 1", GET_SERVICE, service(u16(2, 1) + ADDR + AF + PORT))
    ask("delete one that does not exist", DEL_SERVICE, service(NO_SERVICE))
    ask("delete by an incomplete name", DEL_SERVICE, service(AF + ADDR))
    ask("zero one that does not exist", ZERO, service(NO_SERVICE))
    ask("zero one", ZERO, service(ID))
    ask("zero with an empty service", ZERO, service(b""))
    ask("zero all", ZERO)
    ask("an IPv6 prefix that is too long", NEW_SERVICE, service(FULL + u16(1, 10) + attr(3, bytes(15) + b"\1") + u32(9, 129)))
    ask("an IPv6 prefix of 0", NEW_SERVICE, service(FULL + u16(1, 10) + attr(3, bytes(15) + b"\1") + u32(9, 0)))
    ask("dump, broken attributes are ignored", GET_SERVICE, service(b"abc"), flags=REQUEST | DUMP)
    ask("dump with a request for an acknowledgement", GET_SERVICE, flags=REQUEST | ACK | DUMP)


def dests(door):
    ask = door.ask
    both = service(ID)
    ask("no destination", NEW_DEST, both)
    ask("no service", NEW_DEST, dest(DEST))
    ask("an unknown service and no destination", NEW_DEST, service(NO_SERVICE))
    ask("incomplete", NEW_DEST, both + dest(DEST_ID))
    for name, missing in (("method", METHOD), ("weight", WEIGHT), ("upper", UPPER), ("lower", LOWER), ("address", attr(1, RIP)),
                          ("port", be16(2, 80))):
        ask(f"without {name}", NEW_DEST, both + dest(DEST.replace(missing, b"", 1)))
    ask("family 7", NEW_DEST, both + dest(DEST + u16(11, 7)))
    ask("another family, not a tunnel", NEW_DEST, both + dest(DEST + u16(11, 10)))
    ask("a negative weight", NEW_DEST, both + dest(DEST + u32(4, -1)))
    ask("lower above upper", NEW_DEST, both + dest(DEST + u32(6, 1)))
    ask("a negative weight and gue without a port", NEW_DEST, both + dest(DEST + u32(4, -1) + u32(3, 2) + u8(13, 1)))
    ask("gue without a port", NEW_DEST, both + dest(DEST + u32(3, 2) + u8(13, 1)))
    ask("an address of 17 bytes", NEW_DEST, both + dest(DEST + attr(1, bytes(17))))
    ask("a weight of two bytes", NEW_DEST, both + dest(DEST + u16(4, 1)))
    ask("multicast", NEW_DEST, both + dest(DEST + attr(1, b"\xe0\0\0\1")))
    ask("add", NEW_DEST, both + dest(DEST))
    ask("add again", NEW_DEST, both + dest(DEST))
    ask("add again with a negative weight", NEW_DEST, both + dest(DEST + u32(4, -1)))
    ask("nested flags", SET_DEST, service(ID, NESTED) + dest(DEST + u32(4, 9), NESTED))
    ask("family 0 is the service's", SET_DEST, both + dest(DEST + u16(11, 0) + u32(4, 8)))
    ask("the method's high bits do not count", SET_DEST, both + dest(DEST + u32(3, 0x103)))
    ask("set one that does not exist", SET_DEST, both + dest(DEST + be16(2, 81)))
    ask("set one that does not exist, incomplete", SET_DEST, both + dest(DEST_ID + be16(2, 81)))
    ask("set with a negative weight", SET_DEST, both + dest(DEST + u32(4, -1)))
    ask("set one that does not exist, with a negative weight", SET_DEST, both + dest(DEST + be16(2, 81) + u32(4, -1)))
    ask("dump", GET_DEST, both, flags=REQUEST | DUMP)
    ask("dump of nothing", GET_DEST, flags=REQUEST | DUMP)
    ask("dump of a service that does not exist", GET_DEST, service(NO_SERVICE), flags=REQUEST | DUMP)
    ask("dump with a broken service", GET_DEST, attr(1, b"abc"), flags=REQUEST | DUMP)
    ask("dump of family 7", GET_DEST, service(ID + u16(1, 7)), flags=REQUEST | DUMP)
    ask("delete one that does not exist", DEL_DEST, both + dest(DEST_ID + be16(2, 81)))
    ask("delete of another family", DEL_DEST, both + dest(DEST_ID + u16(11, 10)))
    ask("delete without an address", DEL_DEST, both + dest(b""))
    ask("delete", DEL_DEST, both + dest(DEST_ID))
    ask("delete the service", DEL_SERVICE, service(ID))


def others(door):
    ask = door.ask
    ask("a timeout of two bytes", SET_CONFIG, u16(4, 1))
    ask("a timeout that is too long", SET_CONFIG, u32(4, 21_474_837))
    ask("a negative timeout", SET_CONFIG, u32(6, -1))
    ask("no timeout", SET_CONFIG)
    ask("one timeout", SET_CONFIG, u32(5, 99))
    ask("a timeout of 0", SET_CONFIG, u32(4, 0) + u32(6, 77))
    ask("the present timeouts", GET_CONFIG)
    ask("the default timeouts", SET_CONFIG, u32(4, 900) + u32(5, 120) + u32(6, 300))
    ask("no daemon", NEW_DAEMON)
    ask("an empty daemon", NEW_DAEMON, daemon(b""))
    ask("a daemon without an interface", NEW_DAEMON, daemon(STATE + SYNC_ID))
    ask("a daemon without a state", NEW_DAEMON, daemon(IFACE + SYNC_ID))
    ask("a daemon without an id", NEW_DAEMON, daemon(STATE + IFACE))
    ask("a daemon with a long interface", NEW_DAEMON, daemon(STATE + text(2, "i" * 16) + SYNC_ID))
    ask("a daemon with a group that is not multicast", NEW_DAEMON, daemon(STATE + IFACE + SYNC_ID + attr(5, VIP)))
    ask("a daemon with a short IPv6 group", NEW_DAEMON, daemon(STATE + IFACE + SYNC_ID + attr(6, VIP)))
    ask("a daemon with an IPv6 group that is not multicast", NEW_DAEMON, daemon(STATE + IFACE + SYNC_ID + attr(6, bytes(16))))
    ask("stop no daemon", DEL_DAEMON)
    ask("stop a daemon without a state", DEL_DAEMON, daemon(b""))
    ask("stop a daemon that is not running", DEL_DAEMON, daemon(STATE))
    ask("stop a backup that is not running", DEL_DAEMON, daemon(u32(1, 2)))
    ask("stop a daemon of state 0", DEL_DAEMON, daemon(u32(1, 0)))
    ask("stop a daemon of state 3", DEL_DAEMON, daemon(u32(1, 3)))
    ask("no daemons", GET_DAEMON, flags=REQUEST | DUMP)


def explained(door):
    door.explain(1)
    ask = door.ask
    ask("explained: success", FLUSH)
    ask("explained: no service", DEL_SERVICE)
    ask("explained: a short attribute", SET_CONFIG, u16(4, 1))
    ask("explained: a short attribute in a nest", DEL_SERVICE, service(u8(1, 2)))
    ask("explained: no such command", 99)
    ask("explained: a reserved field", 99, reserved=1)
    door.explain(0)
