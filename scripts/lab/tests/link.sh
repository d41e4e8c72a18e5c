# shellcheck shell=bash
# Changes of the devices under the ports: a cable is pulled; an interface is set down, deleted, or
# made again; a host interface is deleted. The log and `vipline status` report each, and Linux sees
# it.

lab_up nat 2

status_has() { grep -qE "$1" <<<"$(vipline status 2>&1)"; }
director_start
write_rules

# A device that was made again has another Ethernet address, so the client forgets the old one.
answered() { in_client ip neigh flush all; http_requests 20 2>/dev/null | grep -c '^rs'; }
log_says() { grep -qE "$1" "$LAB_DIR/log/viplined"; }
carrier() { in_director ip -br link show "$1" | grep -q LOWER_UP; }
no_carrier() { ! carrier "$1"; }
status_code() {
    local code=0
    vipline status >"$LAB_DIR/status.out" 2>&1 || code=$?
    echo "$code"
}
port_says() { status_has "^port $1: .*, $2,"; }
json_of() {
    vipline status --json 2>/dev/null | "$PYTHON" -c '
import json, sys
status = json.load(sys.stdin)
port = [port for port in status["ports"] if port["name"] == sys.argv[1]][0]
print(status["degraded"], port["up"], port["link"])' "$1"
}

expect "20 requests answered" 20 "$(answered)"
expect "links up: exit status" 0 "$(status_code)"
expect "links up: JSON" "False True up" "$(json_of wan)"
# The host interface must have its carrier before the cable is pulled.
expect_true "the host interface has a carrier" "LOWER_UP" "none" carrier wan0

# Setting the peer of xwan down is like pulling the cable.
ip -n "$LAB_NAME-switch" link set director-xwan down
expect_true "cable pulled: the host interface loses its carrier" "no LOWER_UP" "LOWER_UP" wait_until 5 no_carrier wan0
expect_true "cable pulled: a line in the log" "a line with xwan and carrier" "$(tail -n 3 "$LAB_DIR/log/viplined")" wait_until 5 log_says 'port wan: xwan has no carrier'
expect_true "cable pulled: status says so" "no carrier" "$(vipline status 2>&1)" wait_until 5 port_says wan "no carrier"
expect "cable pulled: vipline status exits with" 3 "$(status_code)"
expect_true "cable pulled: status is degraded" "degraded" "$(head -n 1 "$LAB_DIR/status.out")" grep -q '^vipline .*: degraded' "$LAB_DIR/status.out"
expect "cable pulled: JSON" "True False no carrier" "$(json_of wan)"
expect "cable pulled: the other port is up" "True True up" "$(json_of lan)"
expect_true "cable pulled: the other host interface keeps its carrier" "LOWER_UP" "none" carrier lan0
ip -n "$LAB_NAME-switch" link set director-xwan up
expect_true "cable back: the host interface has its carrier again" "LOWER_UP" "none" wait_until 5 carrier wan0
expect_true "cable back: a line in the log" "up again" "$(tail -n 3 "$LAB_DIR/log/viplined")" wait_until 5 log_says 'port wan: the link is up again'
expect "20 requests answered" 20 "$(answered)"
expect "cable back: vipline status exits with" 0 "$(status_code)"

in_director ip link set xlan down
expect_true "interface set down: status tells" "down" "$(vipline status 2>&1)" wait_until 5 port_says lan down
expect_true "the host interface loses its carrier" "no LOWER_UP" "LOWER_UP" wait_until 5 no_carrier lan0
expect_true "the log says what to do" "ip link set xlan up" "$(tail -n 3 "$LAB_DIR/log/viplined")" log_says 'port lan: xlan was set down.*ip link set xlan up'
in_director ip link set xlan up
expect_true "set up again: the carrier is back" "LOWER_UP" "none" wait_until 5 carrier lan0
expect "20 requests answered" 20 "$(answered)"

# Waits until the daemon ends by itself; leaves its exit status in DIRECTOR_STATUS.
ended() {
    local pid
    pid=$(pid_of viplined)
    wait_until 10 dead "$pid" || return
    DIRECTOR_STATUS=0
    wait "$pid" 2>/dev/null || DIRECTOR_STATUS=$?
}
last_line() { grep '^viplined: ' "$LAB_DIR/log/viplined" | tail -n 1; }

in_director ip link del xwan
ended
expect "device deleted: the daemon ends with" 1 "${DIRECTOR_STATUS:-still running}"
expect_true "device deleted: the last line says why" "port wan: interface xwan is gone" "$(last_line)" grep -q 'port wan: interface xwan is gone.*start viplined again' <<<"$(last_line)"
plug director xwan clients
director_start
write_rules
expect "device back, started again: 20 requests answered" 20 "$(answered)"

DIRECTOR_STATUS=""
in_director sh -c "ip link del xwan; ip link add xwan type veth peer name xfar"
ended
expect "device made again under its name: the daemon ends with" 1 "${DIRECTOR_STATUS:-still running}"
expect_true "device made again under its name: the last line says so" "deleted" "$(last_line)" grep -qE 'xwan (was deleted and made again|is gone)' <<<"$(last_line)"
in_director ip link del xwan
plug director xwan clients
director_start
write_rules

DIRECTOR_STATUS=""
in_director ip link del wan0
ended
expect "host interface deleted: the daemon ends with" 1 "${DIRECTOR_STATUS:-still running}"
expect_true "host interface deleted: the last line says so" "host interface wan0 is gone" "$(last_line)" grep -q 'port wan: host interface wan0 is gone' <<<"$(last_line)"
director_start
write_rules
expect "started again: 20 requests answered" 20 "$(answered)"

in_director ip link set xwan address 02:00:00:00:77:01
expect_true "another Ethernet address on the device: status says what to do" "ip link set xwan address" "$(vipline status 2>&1)" \
    wait_until 5 status_has 'ip link set xwan address'
