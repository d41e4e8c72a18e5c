# shellcheck shell=bash
# A port has the MTU of its interface: at start, after a change, for the host interface, for
# packets, and in the errors to clients. An MTU that the director cannot carry is refused or
# reported.

lab_up nat 2

status_has() { grep -qE "$1" <<<"$(vipline status 2>&1)"; }

mtu_of() { in_director ip -j link show "$1" | "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)[0]["mtu"])'; }
has_mtu() { [[ $(mtu_of "$1") == "$2" ]]; }
# set_mtu MTU HOST-INTERFACE…: on both ends of a cable
set_mtu() {
    local mtu=$1 pair host interface
    shift
    for pair in "$@"; do
        host=${pair%-*} interface=${pair##*-}
        ip -n "$LAB_NAME-switch" link set "$pair" mtu "$mtu"
        ip -n "$LAB_NAME-$host" link set "$interface" mtu "$mtu"
    done
}
answered() { http_requests 20 2>/dev/null | grep -c '^rs'; }
check() { in_director timeout 5 "$BIN/vipline" check "$LAB_DIR/vipline.toml" 2>&1; }

# Sends a datagram that does not fit. As in Linux, the client gets an error with the size.
datagram() {
    in_client timeout 10 "$PYTHON" -c '
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
s.connect((sys.argv[1], 53))
s.settimeout(1)
for _ in range(3):
    try:
        s.send(b"x" * int(sys.argv[2]))
        s.recv(65536)
    except OSError as e:
        if e.errno == 90:
            print("EMSGSIZE", s.getsockopt(socket.IPPROTO_IP, 14))
            sys.exit()
print("silence")' "$VIP" "$1"
}

set_mtu 1400 director-xlan
director_start
write_rules
expect "the host interface has the device's MTU" 1400 "$(mtu_of lan0)"
expect "the other host interface keeps its own MTU" 1500 "$(mtu_of wan0)"
expect_true "status shows the MTU of the device" "MTU 1400" "$(vipline status)" status_has '^port lan: .*MTU 1400'
expect "a datagram of 1500 bytes with DF: the client gets an error" "EMSGSIZE 1400" "$(datagram 1472)"
expect "20 requests answered" 20 "$(answered)"
in_client ip route flush cache
head -c 200000 /dev/urandom >"$LAB_DIR/up"
upload() { in_client curl -sS -m 10 -o /dev/null -w '%{http_code}' --data-binary "@$LAB_DIR/up" "http://$VIP/" 2>&1; }
expect "an upload of 200 kB comes through" 200 "$(upload)"

set_mtu 1300 director-xlan
expect_true "MTU lowered at run time: the host interface follows" 1300 "$(mtu_of lan0)" wait_until 5 has_mtu lan0 1300
in_client ip route flush cache
expect "MTU lowered at run time: the client gets an error" "EMSGSIZE 1300" "$(datagram 1472)"
set_mtu 1500 director-xlan
expect_true "MTU raised again: the host interface follows" 1500 "$(mtu_of lan0)" wait_until 5 has_mtu lan0 1500
in_client ip route flush cache
expect "20 requests answered" 20 "$(answered)"
in_director ip link set lan0 mtu 9000
expect_true "a host interface with a larger MTU than its device gets the device's MTU" 1500 "$(mtu_of lan0)" wait_until 5 has_mtu lan0 1500

set_mtu 3000 director-xlan
expect_true "MTU above the buffers: status says what to do" "ip link set xlan mtu" "$(vipline status 2>&1)" \
    wait_until 5 status_has 'xlan has MTU 3000.*ip link set xlan mtu'
status=0
vipline status >/dev/null 2>&1 || status=$?
expect "MTU above the buffers: vipline status exits with" 3 "$status"
director_end TERM
expect "SIGTERM: exit status" 0 "$DIRECTOR_STATUS"

# A larger MTU from the start: the buffers are made for it. A bridge has the smallest MTU of its
# ports.
for n in 1 2; do set_mtu 3000 "rs$n-eth0"; done
set_mtu 3000 client-eth0 director-xwan
set_mtu 3000 router-clients router-servers
expect_true "MTU 3000: the check passes" "2 ports" "$(check)" grep -q '2 ports' <<<"$(check)"
director_start
write_rules
expect "MTU 3000: the host interface has it" 3000 "$(mtu_of wan0)"
in_client ip route flush cache
echoed() { in_client ping -n -c 2 -i 0.2 -W 1 -M "do" -s "$1" "$VIP" | sed -n 's/.* \([0-9]*\) received.*/\1/p'; }
expect "a ping of 3000 bytes comes back" 2 "$(echoed 2972)"
expect "20 requests answered" 20 "$(answered)"
check_download
missed() { vipline stats | sed -n 's/^port lan: .*(\([0-9]*\) missed.*/\1/p'; }
expect "MTU 3000: no frame of the real servers was missed" 0 "$(missed)"
director_end TERM

# An MTU too large for any buffer of the driver: `vipline check` and the daemon refuse it in one
# line.
in_director ip link set xwan mtu 9000
said=$(check)
# shellcheck disable=SC2016
expect_true "MTU 9000: the check refuses in one line that says what to do" "ip link set xwan mtu" "$said" \
    grep -qE '^vipline: port wan: xwan has MTU 9000.*`ip link set xwan mtu [0-9]+`$' <<<"$said"
status=0
read -ra command < <(director_command)
in_director timeout 10 "${command[@]}" >/dev/null 2>"$LAB_DIR/refused.err" || status=$?
expect "MTU 9000: the daemon refuses: exit status" 1 "$status"
expect "MTU 9000: the daemon refuses in one line" 1 "$(grep -c '^viplined: port wan: xwan has MTU 9000' "$LAB_DIR/refused.err")"
