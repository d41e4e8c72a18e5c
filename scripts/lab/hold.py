"""hold.py ADDRESS PORT SOURCE COUNT STATS…: holds COUNT connections to a `wrt` service and checks which servers got them.

Opens connections one after the other, from the source port SOURCE on, for at most ENOUGH seconds. Keeps them open until
this process is ended. STATS is a command that prints the director's statistics as JSON.

At first it opens a few connections and waits for a tick of the estimator, until each real server has been measured. From
then on it asks the director before every connection. The connection must go to the real server with the least product of
response time and active connections, counting the new one. It may also go to a server that has had no connection for
SILENCE seconds: one connection in 32 may probe such a server.

Prints a line for each real server: address, active connections, mean response time in microseconds, and the least and the
most connections that it should have. With one connection added to each, the shares must be in the ratio of the reciprocal
response times. These times change with every answer, and a server keeps the connections it got in a good moment. So the
bounds are computed from the least and the greatest times. The last line is `end RIGHT ALL`: of ALL judged connections,
RIGHT went to the right server.
"""

import json
import signal
import socket
import subprocess
import sys
import time

FEW = 12
SILENCE = 5
ENOUGH = 12


class Service:
    def __init__(self, address, port, source, command):
        self.end, self.source, self.command = (address, port), source, command
        self.held = []

    def ask(self):
        """The service's traffic, and its destinations in the order of the list."""
        said = subprocess.run(self.command, check=True, stdout=subprocess.PIPE, timeout=10).stdout
        for service in json.loads(said)["services"]:
            key = service["spec"]["key"]["address"]
            if (key["addr"], key["port"]) == self.end:
                return service["traffic"], service["destinations"]
        sys.exit(f"no service at {self.end}")

    def open(self):
        connection = socket.socket()
        connection.settimeout(5)
        connection.bind(("", self.source + len(self.held)))
        connection.connect(self.end)
        self.held.append(connection)


def loads(dests):
    return [dest["load"]["active"] for dest in dests]


def times(dests):
    return [dest["response_us"] for dest in dests]


def choice(dests):
    """The server that the definition chooses; among equals, the first."""
    products = [time * (load + 1) for time, load in zip(times(dests), loads(dests))]
    return products.index(min(products))


def main():
    address, port, source, count = sys.argv[1], *map(int, sys.argv[2:5])
    service = Service(address, port, source, sys.argv[5:])
    begun = time.monotonic()
    for _ in range(FEW):
        service.open()
    traffic, dests = service.ask()
    deadline = time.monotonic() + 10
    while None in times(dests) or traffic["rates"]["cps"] == 0:
        if time.monotonic() > deadline:
            sys.exit(f"not all were measured: {times(dests)}")
        time.sleep(0.1)
        if None in times(dests):
            # The director takes no sample if it was late itself.
            service.open()
        traffic, dests = service.ask()
    seen, right = [[] for _ in dests], 0
    asked, probes = [begun] * len(dests), 0
    deadline = time.monotonic() + ENOUGH
    while len(seen[0]) < count and time.monotonic() < deadline:
        before, best = loads(dests), choice(dests)
        for column, time_now in zip(seen, times(dests)):
            column.append(time_now)
        service.open()
        dests = service.ask()[1]
        got = [n for n, (new, old) in enumerate(zip(loads(dests), before)) if new != old]
        due = [n for n in got if time.monotonic() - asked[n] >= SILENCE - 0.1]
        probes += got != [best] and got == due
        right += got == [best] or (got == due and probes <= 1 + len(seen[0]) // 32)
        for n in got:
            asked[n] = time.monotonic()
    total = sum(loads(dests)) + len(dests)
    for n, (dest, load) in enumerate(zip(dests, loads(dests))):
        mine, others = seen[n], seen[:n] + seen[n + 1 :]
        least = total / (1 + sum(max(mine) / min(other) for other in others)) - 1
        most = total / (1 + sum(min(mine) / max(other) for other in others)) - 1
        print(dest["spec"]["key"]["addr"], load, round(sum(mine) / len(mine)), f"{least:.1f} {most:.1f}")
    print("end", right, len(seen[0]), flush=True)
    signal.pause()


main()
