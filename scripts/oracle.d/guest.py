"""Runs scenarios against Linux IPVS, inside the user-mode Linux. Language and results: scripts/oracle.d/README.md."""

import ctypes
import json
import os
import socket
import struct
import subprocess
import sys
import time

DIRECTOR = {"wan": bytes.fromhex("020000000001"), "lan": bytes.fromhex("020000000002")}
SYN, ACK, FIN, RST = 2, 16, 1, 4
FLAGS = {"syn": SYN, "ack": ACK, "fin": FIN | ACK, "rst": RST, "data": ACK}
VIPS = [f"10.0.0.{n}" for n in range(100, 104)]
# Seconds that pass with a command and with a packet, on both sides.
COMMAND = 0.1
PACKET = 0.02


def sh(line):
    subprocess.run(line, shell=True, check=True)


def near(subnet, addr):
    """The MAC of the sender for `addr`: the neighbour itself, or the gateway."""
    n = int(addr.rsplit(".", 1)[1]) if addr.startswith(subnet) else 254
    return bytes([2, 0, 0, 0, 1 if subnet == "10.0.0." else 2, n])


def port_socket(namespace, interface):
    """A packet socket in another network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    assert libc.setns(there, 0) == 0
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sock.bind((interface, 0))
    sock.setblocking(False)
    assert libc.setns(here, 0) == 0
    os.close(here)
    os.close(there)
    return sock


def network():
    """Clients - wan - director - lan - real servers. All but the director are packet sockets."""
    lines = ["sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1",
             "ip link set lo up"]
    for side, far, mac, addr in (("wan", "clients", "01", "10.0.0.1/24"), ("lan", "servers", "02", "10.0.1.1/24")):
        lines += [f"ip netns add {far}",
                  f"ip link add {side} address 02:00:00:00:00:{mac} type veth peer name far netns {far}",
                  f"ip netns exec {far} sysctl -qw net.ipv6.conf.all.disable_ipv6=1",
                  f"ip -n {far} link set far up",
                  f"ip netns exec {far} ethtool -K far tx off >/dev/null",
                  f"ethtool -K {side} tx off >/dev/null",
                  f"ip addr add {addr} dev {side}", f"ip link set {side} up"]
    lines += [f"ip addr add {vip}/32 dev lo" for vip in VIPS]
    lines += ["ip route add default via 10.0.0.254", "ip route add local 10.9.0.0/16 dev lo",
              "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 "
              "net.ipv4.conf.wan.rp_filter=0 net.ipv4.conf.lan.rp_filter=0 "
              "net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.wan.send_redirects=0 net.ipv4.conf.lan.send_redirects=0"]
    for line in lines:
        sh(line)
    neighbours = [f"neigh replace 10.0.{net}.{n} lladdr 02:00:00:00:0{net + 1}:{n:02x} nud permanent dev {side}"
                  for net, side in ((0, "wan"), (1, "lan")) for n in [*range(2, 100), 254]]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(neighbours), text=True, check=True)
    return {"wan": port_socket("clients", "far"), "lan": port_socket("servers", "far")}


class Ipvsadm:
    """One `ipvsadm -R` that gets one line at a time: a process for each line would take minutes."""

    def __init__(self):
        self.process = None

    def __call__(self, words):
        """What the command printed."""
        if self.process is None:
            self.process = subprocess.Popen(["stdbuf", "-oL", "ipvsadm", "-R"], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
        # A second command marks the end of the first one's answer.
        try:
            self.process.stdin.write((words + "\n-L --timeout\n").encode())
        except BrokenPipeError:
            pass
        ends = 2 if "--timeout" in words else 1
        said = b""
        while said.count(b"Timeout (tcp tcpfin udp): ") < ends or not said.endswith(b"\n"):
            more = self.process.stdout.read(65536)
            if not more:
                # A line that is no command ends ipvsadm.
                self.process.wait()
                self.process = None
                return said.decode()
            said += more
        return said[:said.rindex(b"Timeout (tcp")].decode()


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def frame(dst_mac, src_mac, src, dst, verb, options):
    """A frame. Vipline's side of the comparison builds the same."""
    (saddr, sport), (daddr, dport) = src, dst
    saddr, daddr = socket.inet_aton(saddr), socket.inet_aton(daddr)
    udp = verb == "udp"
    payload = b"x" * int(options.get("len", 4 if verb in ("udp", "data") else 0))
    if udp:
        segment = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    else:
        flags = FLAGS[verb] | (ACK if "ack" in options else 0)
        segment = struct.pack("!HHIIBBHHH", sport, dport, 1000, 77 if flags & ACK else 0, 5 << 4, flags, 4096, 0, 0) + payload
    proto = 17 if udp else 6
    total = checksum(saddr + daddr + struct.pack("!BBH", 0, proto, len(segment)) + segment)
    if udp and total == 0:
        total = 0xffff
    at = 6 if udp else 16
    segment = segment[:at] + struct.pack("!H", total) + segment[at + 2:]
    header = struct.pack("!BBHHHBBH4s4s", 0x45, int(options.get("tos", 0)), 20 + len(segment), int(options.get("id", 1)),
                         0x4000 if "df" in options else 0, int(options.get("ttl", 64)), proto, 0, saddr, daddr)
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    return dst_mac + src_mac + b"\x08\x00" + header + segment


def endpoint(text):
    addr, port = text.rsplit(":", 1)
    return addr, int(port)


class Runner:
    """One scenario."""

    def __init__(self, ports, ipvsadm):
        self.ports, self.ipvsadm = ports, ipvsadm
        self.start = time.monotonic() + 0.1
        self.clock = 0.0
        self.whole_frames = False
        # The server of each connection: flow -> (its address and port, its MAC).
        self.went = {}

    def until_due(self):
        left = self.start + self.clock - time.monotonic()
        if left > 0:
            time.sleep(left)

    def do(self, line):
        """Does one line. Returns the result, or None if there is nothing to compare."""
        verb, *words = line.split()
        self.until_due()
        if verb == "ipvsadm":
            self.clock += COMMAND
            said = self.ipvsadm(" ".join(words))
            return said.rstrip("\n") or None
        if verb == "list":
            return "\n".join(line.rstrip() for line in self.ipvsadm("-L -n").splitlines()[3:])
        if verb == "stats":
            # Linux updates the counters that it shows every two seconds.
            self.clock += 4.5
            self.until_due()
            return "\n".join(line.rstrip() for line in self.ipvsadm("-L -n --stats --exact").splitlines()[3:])
        if verb == "conns":
            return "\n".join(sorted(self.connections()))
        if verb == "wait":
            self.clock += float(words[0])
            return None
        if verb == "frames":
            self.whole_frames = True
            return None
        if verb == "mark":
            self.clock += COMMAND
            done = subprocess.run(["iptables-legacy", "-t", "mangle", *words], capture_output=True, text=True)
            return (done.stdout + done.stderr).rstrip("\n") or None
        return self.packet(verb, words)

    def connections(self):
        for row in self.ipvsadm("-L -n -c").splitlines()[2:]:
            protocol, expires, *rest = row.split()
            minutes, seconds = expires.split(":")
            yield " ".join([protocol, str(int(minutes) * 60 + int(seconds)), *rest])

    def packet(self, verb, words):
        from_server = verb == "reply"
        if from_server:
            verb, *words = words
        options = dict((word.split("=") + [""])[:2] for word in words[2:])
        client, virtual = endpoint(words[0]), endpoint(words[1])
        flow = (verb == "udp", client, virtual)
        if from_server:
            if flow not in self.went:
                return "nobody"
            source, mac = self.went[flow]
            if verb == "syn":
                options["ack"] = ""
            side, data = "lan", frame(DIRECTOR["lan"], mac, source, client, verb, options)
        else:
            mac = near("10.0.0.", client[0])
            side, data = "wan", frame(DIRECTOR["wan"], mac, client, virtual, verb, options)
        self.ports[side].send(data)
        self.clock += PACKET
        out = self.out()
        for port, got in out:
            if port == "lan" and not from_server:
                self.went[flow] = (answers_from(got, virtual), got[:6])
        return self.tell(out)

    def out(self):
        os.sched_yield()
        found = []
        for side, sock in self.ports.items():
            while True:
                try:
                    data, where = sock.recvfrom(65536)
                except BlockingIOError:
                    break
                if where[2] != socket.PACKET_OUTGOING and data[12:14] == b"\x08\x00":
                    found.append((side, data))
        return found

    def tell(self, out):
        words = [self.word(port, data) for port, data in out]
        return " ".join(word for word in words if word) or "-"

    def word(self, port, data):
        if is_hosts(port, data):
            return "host" if self.whole_frames else ""
        if self.whole_frames:
            return f"{port}:{shortened(masked(data))}"
        if port == "lan":
            return str(data[5])
        return "" if data[23] == 1 else "client"


def is_hosts(port, data):
    """Whether this is a reset by Linux itself, for a packet that IPVS did not take."""
    return port == "wan" and data[23] == 6 and data[47] & RST and data[18:20] == b"\0\0" \
        and (data[26:28] == b"\x0a\x09" or socket.inet_ntoa(data[26:30]) in VIPS)


def shortened(data):
    """The frame in hexadecimal, with the payload (only `x`) as its length."""
    head = data.rstrip(b"x")
    return f"{head.hex()}+{len(data) - len(head)}"


def masked(data):
    """The frame without the part that the director may choose: the IP id of packets that it makes itself."""
    if data[23] in (1, 4):
        return data[:18] + b"\0\0" + data[20:24] + b"\0\0" + data[26:]
    return data


def answers_from(data, virtual):
    """The address and port from which the real server answers this frame."""
    if data[23] == 4:
        return virtual
    start = 14 + (data[14] & 15) * 4
    return socket.inet_ntoa(data[30:34]), struct.unpack("!H", data[start + 2:start + 4])[0]


def clean(ipvsadm):
    """Forgets everything: services, connections, deleted destinations."""
    expire = "/proc/sys/net/ipv4/vs/expire_nodest_conn"
    with open(expire, "w") as file:
        file.write("1")
    ipvsadm("-C")
    ipvsadm("--set 900 120 300")
    time.sleep(300)
    with open("/proc/net/ip_vs_conn") as file:
        left = len(file.readlines()) - 1
    if left:
        # Templates that connections still use.
        time.sleep(5000)
    with open(expire, "w") as file:
        file.write("0")


def main():
    where = sys.argv[1]
    ports = network()
    ipvsadm = Ipvsadm()
    with open(f"{where}/clock", "w"):
        pass
    time.sleep(1)
    with open(f"{where}/scenarios.json") as source, open(f"{where}/results.json", "w") as sink:
        for line in source:
            scenario = json.loads(line)
            runner = Runner(ports, ipvsadm)
            results = []
            for number, text in enumerate(scenario["text"].splitlines(), 1):
                text = text.split("#")[0].strip()
                if text:
                    result = runner.do(text)
                    if result is not None:
                        results.append([number, result])
            runner.out()
            sink.write(json.dumps({"scenario": scenario["scenario"], "results": results}) + "\n")
            sink.flush()
            if "\nmark " in "\n" + scenario["text"]:
                sh("iptables-legacy -t mangle -F")
            clean(ipvsadm)


main()
