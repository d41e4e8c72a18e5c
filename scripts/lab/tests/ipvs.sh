# shellcheck shell=bash
# Debian's own ipvsadm, under `vipline exec`, speaks to a live director as it speaks to Linux IPVS.

lab_up nat 2
director_start
write_rules

socket=$LAB_DIR/run/ipvs.sock
export VIPLINE_LIBRARY=$BIN/libvipline_ipvs.so
# own PROGRAM ARGUMENT…: runs an unchanged program of Linux IPVS
own() { vipline exec -- "$@" 2>&1; }
ipvsadm() { own ipvsadm "$@"; }
# says EXIT COMMAND…: the exit status and the words of a command
says() {
    local status=0 words
    words=$("$@") || status=$?
    echo "$status: $words"
}

expect "the IPVS socket's mode" 600 "$(stat -c %a "$socket")"
expect "ipvsadm -Sn shows the rules as the operator's tool" "$(vipline ipvsadm -Sn)" "$(ipvsadm -Sn)"
expect "ipvsadm -Ln shows the rules as the operator's tool" "$(vipline ipvsadm -Ln)" "$(ipvsadm -Ln)"
expect "20 requests answered" 20 "$(http_requests 20 2>/dev/null | grep -c '^rs')"
expect "ipvsadm -Ln --stats counts like the operator's tool" "$(vipline ipvsadm -Ln --stats)" "$(ipvsadm -Ln --stats)"

# The seconds until a connection expires may differ.
shows_connections() { [[ $(ipvsadm -Lnc | grep -c "$CLIENT:") -ge 20 ]]; }
without_times() { awk '{ $2 = ""; print }' | sort; }
expect_true "ipvsadm -Lnc shows the connections" "20 or more" "$(ipvsadm -Lnc)" shows_connections
expect "ipvsadm -Lnc shows them as the operator's tool" "$(vipline ipvsadm -Lnc | without_times)" "$(ipvsadm -Lnc | without_times)"
proc() { own cat "/proc/net/$1"; }
expect "/proc/net/ip_vs: its title" "IP Virtual Server version 1.2.1 (size=65536)" "$(proc ip_vs | head -1)"
expect "/proc/net/ip_vs: a line for each rule" "$(vipline ipvsadm -Sn | wc -l)" "$(proc ip_vs | tail -n +4 | wc -l)"
expect "/proc/net/ip_vs_stats: six lines" 6 "$(proc ip_vs_stats | wc -l)"
expect "the files exist for test(1)" 0 "$(own sh -c 'test -r /proc/net/ip_vs && test -f /proc/self/net/ip_vs_conn'; echo $?)"

saved=$(ipvsadm -Sn)
expect "-C: no words" "0: " "$(says ipvsadm -C)"
expect "after -C there are no rules" "" "$(vipline ipvsadm -Sn)"
expect "-R restores what -S saved" "$saved" "$(printf '%s\n' "$saved" >"$LAB_DIR/saved"; ipvsadm -R <"$LAB_DIR/saved"; vipline ipvsadm -Sn)"

expect "-A adds a service" "0: " "$(says ipvsadm -A -t 10.9.9.9:80 -s wrr -p 60)"
expect "-A again is refused in ipvsadm's words" "255: Service already exists" "$(says ipvsadm -A -t 10.9.9.9:80)"
expect "-a adds a destination" "0: " "$(says ipvsadm -a -t 10.9.9.9:80 -r 10.2.0.11:8080 -m -w 5)"
expect "-e edits a destination" "0: " "$(says ipvsadm -e -t 10.9.9.9:80 -r 10.2.0.11:8080 -m -w 7)"
expect "the operator's tool shows it" "-a -t 10.9.9.9:80 -r 10.2.0.11:8080 -m -w 7" "$(vipline ipvsadm -Sn | grep -- '-a -t 10.9.9.9:80')"
expect "-E edits a service" "0: " "$(says ipvsadm -E -t 10.9.9.9:80 -s rr)"
expect "-d of a destination that is not there" "255: No such destination" "$(says ipvsadm -d -t 10.9.9.9:80 -r 10.2.0.12)"
expect "-Z of one service" "0: " "$(says ipvsadm -Z -t 10.9.9.9:80)"
expect "-D deletes the service" "0: " "$(says ipvsadm -D -t 10.9.9.9:80)"
expect "-D again is refused" "255: No such service" "$(says ipvsadm -D -t 10.9.9.9:80)"
expect "--set changes the timeouts" "0: " "$(says ipvsadm --set 800 90 200)"
expect "-L --timeout shows them" "0: Timeout (tcp tcpfin udp): 800 90 200" "$(says ipvsadm -L --timeout)"
expect "-Z zeroes the counters" "0: " "$(says ipvsadm -Z)"
expect "after -Z nothing is counted" "$(vipline ipvsadm -Ln --stats)" "$(ipvsadm -Ln --stats)"
expect "the synchronization daemon cannot be started" 255 "$(ipvsadm --start-daemon master --mcast-interface lo >/dev/null; echo $?)"
expect "a child of a child is led too" "$saved" "$(own sh -c 'env ipvsadm -Sn')"

# Other netlink sockets, and other families, stay the kernel's.
cat >"$LAB_DIR/families.py" <<'PY'
"""Asks one socket of generic netlink for a family of the kernel, for IPVS, and for both again."""
import socket, struct

def family(sock, name, sequence):
    name = name.encode() + b"\0"
    attribute = struct.pack("=HH", 4 + len(name), 2) + name
    attribute += b"\0" * (-len(attribute) % 4)
    body = struct.pack("=BBH", 3, 1, 0) + attribute
    sock.send(struct.pack("=IHHII", 16 + len(body), 16, 1, sequence, 0) + body)
    answer, _, _, sender = sock.recvmsg(65536)
    kind, flags, echoed, port = struct.unpack_from("=HHII", answer, 4)
    assert echoed == sequence and sender == (0, 0), (echoed, sender)
    assert port == sock.getsockname()[0], port
    if kind == 2:
        return "errno %d" % -struct.unpack_from("=i", answer, 16)[0]
    return struct.unpack_from("=H", answer, answer.index(b"\x06\x00\x01\x00") + 4)[0]

sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
sock.settimeout(10)
sock.bind((0, 0))
answers = [family(sock, name, n) for n, name in enumerate(["nlctrl", "IPVS", "nlctrl", "nosuch", "IPVS"])]
print(*["ours" if answer == 1052 else answer for answer in answers])
PY
expect "one socket speaks to the kernel and to Vipline" "16 ours 16 errno 2 ours" "$(own "$PYTHON" "$LAB_DIR/families.py")"
expect "without vipline exec the kernel answers" 16 "$(in_director "$PYTHON" "$LAB_DIR/families.py" 2>/dev/null | awk '{ print $1 }')"
expect "ip shows the kernel's links" "$(in_director ip -br link | wc -l)" "$(own ip -br link | wc -l)"

answered() { [[ $(ipvsadm -Sn) == "$saved" ]]; }
rm "$socket"
expect_true "a deleted socket is made again" "within 8 s" "not" wait_until 8 answered
expect "the control socket is still there" 0 "$(vipline status >/dev/null; echo $?)"

cat >"$LAB_DIR/options.py" <<'PY'
"""Asks for the version, flushes and sets the timeouts by the socket options of Linux IPVS."""
import socket, struct
sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
print(sock.getsockopt(0, 1152, 64).rstrip(b"\0").decode())
sock.setsockopt(0, 1162, struct.pack("=III", 600, 60, 150))
print(*struct.unpack("=III", sock.getsockopt(0, 1158, 12)))
print(struct.unpack("=III", sock.getsockopt(0, 1153, 12))[2] > 0)
try:
    sock.setsockopt(0, 1154, b"short")
except OSError as error:
    print("errno", error.errno)
PY
expect "the socket options of a raw socket are answered" "IP Virtual Server version 1.2.1 (size=65536) 600 60 150 True errno 22" \
    "$(own "$PYTHON" "$LAB_DIR/options.py" | xargs)"

# Nobody hangs, and nobody speaks to the kernel's IPVS instead.
director_end TERM
expect_true "without a daemon ipvsadm fails" "exit 2" "$(says ipvsadm -Ln | head -1)" test "$(ipvsadm -Ln >/dev/null; echo $?)" -eq 2
expect "without a daemon one line says why" 1 "$(ipvsadm -Ln | grep -c "libvipline_ipvs: no daemon answers at $socket")"
expect "vipline exec without the library: exit status, and one line" "1 1" "$(
    export VIPLINE_LIBRARY=/nowhere.so
    status=0
    own true >"$LAB_DIR/err" || status=$?
    echo "$status $(grep -c 'libvipline_ipvs.so is not at /nowhere.so' "$LAB_DIR/err")"
)"
expect "vipline exec gives the program's exit status" 7 "$(own sh -c 'exit 7'; echo $?)"
expect "vipline exec of a program that is not there" 127 "$(own /nowhere >/dev/null; echo $?)"
