# shellcheck shell=bash
# The IPVS socket of a live director answers the netlink messages of Linux IPVS.

lab_up nat 2
director_start
write_rules

cat >"$LAB_DIR/speak.py" <<'EOF'
"""speak.py SOCKET COMMAND FLAGS: sends a command of the family IPVS, and prints the kinds of messages in the answer."""
import socket, struct, sys

def talk(sock, kind, command, flags, attributes=b""):
    body = struct.pack("=BBH", command, 1, 0) + attributes
    sock.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
    while True:
        datagram = sock.recv(65536)
        while datagram:
            length, kind = struct.unpack_from("=IH", datagram)
            yield kind, datagram[:length]
            if kind in (2, 3):
                return
            datagram = datagram[length:]

sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
sock.settimeout(10)
sock.connect(sys.argv[1])
name = struct.pack("=HH", 9, 2) + b"IPVS\0\0\0\0"
_, family = next(talk(sock, 16, 3, 1, name))
number = struct.unpack_from("=H", family, family.index(b"\x06\x00\x01\x00") + 4)[0]
for kind, message in talk(sock, number, int(sys.argv[2]), 1 | int(sys.argv[3], 0)):
    print("errno %d" % -struct.unpack_from("=i", message, 16)[0] if kind == 2 else "end" if kind == 3 else "service")
EOF
socket=$LAB_DIR/run/ipvs.sock
speak() { timeout 20 python3 "$LAB_DIR/speak.py" "$socket" "$@" 2>&1; }
list() { speak 4 0x300 | sort | uniq -c | xargs; }
answered() { [[ $(list) == "1 end"* ]]; }

expect "the IPVS socket's mode" 600 "$(stat -c %a "$socket")"
expect "a dump lists the services" "1 end $(vipline ipvsadm -Sn | grep -c '^-A') service" "$(list)"
expect "an unknown command is refused" "errno 95" "$(speak 99 4)"
rm "$socket"
expect_true "a deleted socket is made again" "within 8 s" "not" wait_until 8 answered
expect "the control socket is still there" 0 "$(vipline status >/dev/null; echo $?)"
expect "a flush is acknowledged" "errno 0" "$(speak 17 4)"
expect "after the flush ipvsadm lists no rules" "" "$(vipline ipvsadm -Sn)"
expect "after the flush a dump lists no services" "1 end" "$(list)"
