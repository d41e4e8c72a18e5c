"""connect.py tcp|udp ADDRESS PORT [IDLE]: one attempt after IDLE seconds.

Prints `connected`, `answered`, `refused` or `timeout`, and the milliseconds. The wait is done here so that the start of
this process is not part of the measured time.
"""

import socket
import sys
import time


def main():
    kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    sock.settimeout(2)
    time.sleep(float(sys.argv[4]) if len(sys.argv) > 4 else 0)
    start = time.perf_counter()
    try:
        sock.connect((address, port))
        result = "connected"
        if kind == "udp":
            sock.send(b"hello")
            sock.recv(1500)
            result = "answered"
    except ConnectionRefusedError:
        result = "refused"
    except socket.timeout:
        result = "timeout"
    print(result, f"{(time.perf_counter() - start) * 1000:.3f}")


main()
