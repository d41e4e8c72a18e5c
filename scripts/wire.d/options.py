"""Records Linux's answers to socket options that ipvsadm never sends: wrong lengths and contents."""

import ctypes
import ctypes.util
import socket
import struct

LIBC = ctypes.CDLL(None, use_errno=True)
(ADD, EDIT, DEL, FLUSH, _, ADDDEST, DELDEST, EDITDEST, TIMEOUT, STARTDAEMON, STOPDAEMON, _, _, ZERO) = range(1154, 1168)
(GET_VERSION, GET_INFO, GET_SERVICES, GET_SERVICE, GET_DESTS, _, GET_TIMEOUT, GET_DAEMON) = range(1152, 1160)
VIP, RIP = socket.inet_aton("10.0.0.100"), socket.inet_aton("10.0.1.11")


def service(protocol=6, addr=VIP, port=80, mark=0, sched=b"rr", flags=0, timeout=0, netmask=0xffffffff):
    return struct.pack("=HH4s2sHI16sIII", protocol, 0, addr, struct.pack(">H", port), 0, mark, sched, flags, timeout, netmask)


def dest(addr=RIP, port=80, flags=0, weight=1, upper=0, lower=0):
    return struct.pack("=4s2sHIiII", addr, struct.pack(">H", port), 0, flags, weight, upper, lower)


def services(count):
    return struct.pack("=II", count, 0) + bytes(104 * count)


def dests(count, protocol=6, addr=VIP, port=80, mark=0):
    return struct.pack("=HH4s2sHIII", protocol, 0, addr, struct.pack(">H", port), 0, mark, count, 0) + bytes(96 * count)


class Door:
    """A raw socket that records its options."""

    def __init__(self, out):
        self.out = out
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, 255)

    def set(self, name, option, value=b""):
        done = LIBC.setsockopt(self.sock.fileno(), 0, option, value, len(value))
        self.out.write(f"# {name}\nset {option} {value.hex() or '-'} {ctypes.get_errno() if done else 0}\n")

    def get(self, name, option, value):
        buffer, length = ctypes.create_string_buffer(value, len(value)), ctypes.c_uint(len(value))
        done = LIBC.getsockopt(self.sock.fileno(), 0, option, buffer, ctypes.byref(length))
        after = buffer.raw[:length.value].hex() or "-"
        self.out.write(f"# {name}\nget {option} {value.hex() or '-'} {ctypes.get_errno() if done else 0} {after}\n")


def record(path):
    with open(path, "w") as out:
        door = Door(out)
        put, get = door.set, door.get
        put("flush", FLUSH)
        put("flush with a byte", FLUSH, b"\0")
        for name, option, length in (("add", ADD, 44), ("edit", EDIT, 44), ("delete", DEL, 44), ("zero", ZERO, 44),
                                     ("add a destination", ADDDEST, 68), ("edit a destination", EDITDEST, 68),
                                     ("delete a destination", DELDEST, 68), ("timeouts", TIMEOUT, 12),
                                     ("start a daemon", STARTDAEMON, 24), ("stop a daemon", STOPDAEMON, 24)):
            put(f"{name}: a byte too few", option, bytes(length - 1))
            put(f"{name}: a byte too many", option, bytes(length + 1))
        put("no such option", 1158)
        put("no such option, with bytes", 1158, bytes(44))
        put("no such option, within the range", 1165)
        put("no such option, within the range", 1166)
        put("protocol 1", ADD, service(protocol=1))
        put("protocol 1 with a mark", ADD, service(protocol=1, mark=5))
        put("protocol 1, delete", DEL, service(protocol=1))
        put("a scheduler without end", ADD, service(sched=b"r" * 16))
        put("a scheduler of 15", ADD, service(sched=b"r" * 15))
        put("no scheduler", ADD, service(sched=b""))
        put("a scheduler without end, deleting", DEL, service(sched=b"r" * 16))
        put("add", ADD, service(flags=0x1b, timeout=33))
        put("add again", ADD, service())
        put("a mark", ADD, service(mark=7, addr=bytes(4), port=0))
        put("another mark", ADD, service(mark=8, addr=bytes(4), port=0))
        put("the mark of TCP as UDP", DEL, service(protocol=17, mark=7))
        put("a destination", ADDDEST, service() + dest())
        put("another one, DR", ADDDEST, service() + dest(port=81, flags=3, upper=9, lower=4))
        put("another one, TUN", ADDDEST, service() + dest(port=82, flags=2))
        put("a negative weight", ADDDEST, service() + dest(port=83, weight=-1))
        put("high bits of the method", ADDDEST, service() + dest(port=84, flags=0x103))
        put("a destination again", ADDDEST, service() + dest())
        put("a destination of an unknown service", ADDDEST, service(port=81) + dest())
        put("a timeout that is too long", TIMEOUT, struct.pack("=III", 21_474_837, 0, 0))
        put("a negative timeout", TIMEOUT, struct.pack("=iii", 0, 0, -1))
        put("timeouts", TIMEOUT, struct.pack("=III", 0, 99, 0))
        put("zero all by address 0", ZERO, service(protocol=1, addr=bytes(4), port=0))
        put("zero with a mark", ZERO, service(addr=bytes(4), port=0, mark=7))
        put("zero with an unknown mark", ZERO, service(addr=bytes(4), port=0, mark=9))
        put("start a daemon without an interface", STARTDAEMON, struct.pack("=I16sI", 1, b"", 1))
        put("stop a daemon", STOPDAEMON, struct.pack("=I16sI", 1, b"", 1))
        put("stop a backup", STOPDAEMON, struct.pack("=I16sI", 2, b"", 1))
        put("stop a daemon of state 0", STOPDAEMON, struct.pack("=I16sI", 0, b"", 1))
        for name, option, length in (("version", GET_VERSION, 64), ("info", GET_INFO, 12), ("timeouts", GET_TIMEOUT, 12),
                                     ("daemons", GET_DAEMON, 48)):
            get(f"{name}", option, bytes(length))
            get(f"{name}: a byte too few", option, b"\7" * (length - 1))
            get(f"{name}: bytes too many", option, b"\7" * (length + 9))
            get(f"{name}: no byte", option, b"")
        get("no such option", 1157, bytes(64))
        get("no services", GET_SERVICES, services(0))
        get("services, one of three", GET_SERVICES, services(1))
        get("services, all", GET_SERVICES, services(3))
        get("services, room for more", GET_SERVICES, services(5))
        get("services, a byte too few", GET_SERVICES, services(3)[:-1])
        get("services, a byte too many", GET_SERVICES, services(3) + b"\0")
        get("services, less than a number", GET_SERVICES, bytes(7))
        get("a service", GET_SERVICE, service() + bytes(60))
        get("a service and more room", GET_SERVICE, service() + bytes(70))
        get("a service and less room", GET_SERVICE, service() + bytes(59))
        get("a service that does not exist", GET_SERVICE, service(port=81) + bytes(60))
        get("a service of protocol 1", GET_SERVICE, service(protocol=1) + bytes(60))
        get("a mark", GET_SERVICE, service(mark=7, protocol=1) + bytes(60))
        get("destinations, all", GET_DESTS, dests(4))
        get("destinations, one of four", GET_DESTS, dests(1))
        get("destinations, room for more", GET_DESTS, dests(6))
        get("destinations, a byte too few", GET_DESTS, dests(2)[:-1])
        get("destinations of an unknown service", GET_DESTS, dests(1, port=81))
        get("destinations of a mark", GET_DESTS, dests(1, mark=7))
        get("destinations of an unknown mark", GET_DESTS, dests(1, mark=9))
        put("the default timeouts", TIMEOUT, struct.pack("=III", 900, 120, 300))
        put("flush", FLUSH)
