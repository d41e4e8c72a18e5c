"""Runs inside the user-mode Linux. Records requests to Linux IPVS and its answers.

The requests come from ipvsadm, from keepalived, and from probes.py and options.py.
"""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import options
import probes

HOME = pathlib.Path(__file__).resolve().parent
WHERE = pathlib.Path(sys.argv[1])
SENDING = WHERE / "exchange"
VIP, OWN = "10.0.0.100", "10.0.0.1"
# Linux IPVS updates its statistics every two seconds.
LOOK = 4.5


def sh(line):
    subprocess.run(line, shell=True, check=True)


def network():
    sh("ip link set lo up")
    sh(f"ip link add d0 type dummy && ip addr add {OWN}/24 dev d0 && ip link set d0 up")
    sh(f"ip addr add {VIP}/32 dev lo && ip route add default dev d0 && ip -6 route add default dev d0")


def traffic(port, count):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((OWN, port))
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for n in range(count):
        client.sendto(b"x" * n, (VIP, port))
    time.sleep(LOOK)


def run(line, **environment):
    """Runs a program under the sniffer. Returns the finished program and the recorded lines."""
    SENDING.unlink(missing_ok=True)
    env = dict(os.environ, LD_PRELOAD=str(WHERE / "sniff.so"), WIRE_LOG=str(SENDING), **environment)
    done = subprocess.run(line.split(), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done, SENDING.read_text() if SENDING.exists() else ""


class Preamble:
    """Removes the requests with which every run of ipvsadm begins, except the first time."""

    def __init__(self):
        self.known = set()

    def shorten(self, said):
        exchanges = []
        for line in said.splitlines():
            if line.startswith("<"):
                exchanges[-1].append(line)
            else:
                exchanges.append([line])
        return "".join(f"{line}\n" for exchange in exchanges if self.is_new(exchange) for line in exchange)

    def is_new(self, exchange):
        messages = [bytes.fromhex(line[2:]) for line in exchange if line[0] in "<>"]
        if not messages or (messages[0][4] != 16 and messages[0][16] != 15):
            return True
        # Without sequence and port numbers. The acknowledgement repeats them.
        told = tuple(message[:8] + message[16:28] for message in messages)
        known = told in self.known
        self.known.add(told)
        return not known


def ipvsadm(name, **environment):
    """Runs every line of commands.txt. Writes each with its output, exit code and bytes."""
    sh("ipvsadm -C")
    preamble = Preamble()
    with open(WHERE / f"{name}.txt", "w") as out:
        for line in (HOME / "commands.txt").read_text().splitlines():
            word, *rest = line.split() or ["#"]
            if word == "#":
                continue
            if word == "traffic":
                traffic(int(rest[0]), int(rest[1]))
                continue
            done, said = run(line, **environment)
            out.write(f"# {line}\n")
            out.writelines(f"# | {text}\n" for text in done.stdout.splitlines())
            out.write(f"# exit {done.returncode}\n{preamble.shorten(said)}")
    sh("ipvsadm -C; ipvsadm --set 900 120 300")


def keepalived():
    SENDING.unlink(missing_ok=True)
    env = dict(os.environ, LD_PRELOAD=str(WHERE / "sniff.so"), WIRE_LOG=str(SENDING))
    daemon = subprocess.Popen(["keepalived", "-n", "-l", "-C", "-p", "/run/k.pid", "-c", "/run/kc.pid", "-f", str(HOME / "keepalived.conf")], env=env)
    time.sleep(6)
    daemon.send_signal(signal.SIGTERM)
    daemon.wait(30)
    (WHERE / "keepalived.txt").write_text("# keepalived -C -f scripts/wire.d/keepalived.conf\n" + SENDING.read_text())


network()
ipvsadm("netlink")
ipvsadm("sockopt", WIRE_SOCKOPT="1")
probes.record(WHERE / "probes.txt")
options.record(WHERE / "options.txt")
keepalived()
(WHERE / "done").touch()
