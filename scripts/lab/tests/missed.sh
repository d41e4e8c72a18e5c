# shellcheck shell=bash
# Packets that the kernel loses before the director gets them, and packets whose count a driver
# forgets. `vipline stats` shows both; the log reports the former.

lab_up nat 2

# of PORT WORD: prints the number before WORD in the port's line
of() { vipline stats | sed -n "s/^port $1:.*[ (]\([0-9]*\) $2.*/\1/p"; }
at_least() { [[ $(of "$1" "$2") -ge $3 ]]; }
log_says() { grep -qE "$1" "$LAB_DIR/log/viplined"; }
# flood COUNT: datagrams from the client
flood() {
    in_client "$PYTHON" -c '
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(int(sys.argv[2])):
    s.sendto(b"x", (sys.argv[1], 9))' "$VIP" "$1"
}
# While the director is stopped, nobody takes packets from the queues.
flood_while_stopped() {
    kill -STOP "$(pid_of viplined)"
    flood 8000
    kill -CONT "$(pid_of viplined)"
}

for kind in af_xdp af_packet; do
    director_config
    sed -i "s/af_xdp:/$kind:/" "$LAB_DIR/vipline.toml"
    read -ra command < <(director_command)
    spawn director viplined "${command[@]}"
    wait_ready 20 viplined vipline status
    in_client ping -n -c 1 -W 1 "$VIP" >/dev/null
    expect "$kind: nothing is missed at first" 0 "$(of wan missed)"
    flood_while_stopped
    expect_true "$kind: packets that came while the director was stopped are missed" "at least 4000" "$(of wan missed)" wait_until 10 at_least wan missed 4000
    expect_true "$kind: and no more than were sent" "at most 8010" "$(of wan missed)" test "$(of wan missed)" -le 8010
    expect "$kind: the other port missed nothing" 0 "$(of lan missed)"
    expect_true "$kind: the log tells" "a line on missed packets" "$(tail -n 2 "$LAB_DIR/log/viplined")" \
        wait_until 5 log_says 'port wan: [0-9]+ packets missed'
    director_end TERM
    : >"$LAB_DIR/log/viplined"
done

# Frames longer than the MTU, from a peer with a larger MTU.
director_start
ip -n "$LAB_NAME-switch" link set director-xwan mtu 3000
ip -n "$LAB_NAME-switch" link set client-eth0 mtu 3000
ip -n "$LAB_NAME-client" link set eth0 mtu 3000
in_client ping -n -c 20 -i 0.01 -W 1 -M "do" -s 2500 "$VIP" >/dev/null 2>&1 || true
expect_true "frames longer than the MTU are missed" "at least 20" "$(of wan missed)" wait_until 5 at_least wan missed 20

# Without its XDP program, the director gets no packets.
in_director ip link set xwan xdp off
pid=$(pid_of viplined)
wait_until 10 dead "$pid"
DIRECTOR_STATUS=0
wait "$pid" 2>/dev/null || DIRECTOR_STATUS=$?
expect "without its XDP program the daemon ends with" 1 "$DIRECTOR_STATUS"
expect_true "without its XDP program: the last line says why" "XDP program was taken off xwan" "$(tail -n 1 "$LAB_DIR/log/viplined")" log_says '^viplined: port wan: the XDP program was taken off xwan'

# memif's driver forgets its counts when the peer goes. The peer here is DPDK's own generator.
cat >"$LAB_DIR/vipline.toml" <<TOML
memory_mb = 256
max_connections = 65536
state_dir = "state"
[[port]]
name = "wan"
device = "memif:id=0,role=server,socket=$LAB_DIR/memif,socket-abstract=no"
host_interface = "wan0"
addresses = ["$DIP_WAN/24"]
TOML
read -ra command < <(director_command)
spawn director viplined "${command[@]}"
wait_ready 20 viplined pgrep -F "$LAB_DIR/pids/viplined"
status_has() { grep -qE "$1" <<<"$(vipline status 2>&1)"; }
expect_true "memif without its peer: degraded" "no carrier" "$(vipline status 2>&1)" wait_until 10 status_has '^port wan: .*, no carrier,'
spawn director generator dpdk-testpmd --lcores=0@0,1@0 --no-pci --no-huge -m 256 --file-prefix="$LAB_NAME-gen" \
    --vdev="net_memif0,id=0,role=client,socket=$LAB_DIR/memif,socket-abstract=no" \
    -- --total-num-mbufs=8192 --forward-mode=txonly --tx-first --stats-period 1 --no-lsc-interrupt
expect_true "memif with its peer: up" "up" "$(vipline status 2>&1)" wait_until 15 status_has '^port wan: .*, up'
expect_true "memif with its peer: packets are counted" "at least 1000" "$(of wan "packets in")" wait_until 10 at_least wan "packets in" 1000
bytes() { vipline stats --json | "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)["ports"][0]["rx_bytes"])'; }
stop generator
expect_true "memif after its peer ended: no carrier" "no carrier" "$(vipline status 2>&1)" wait_until 10 status_has '^port wan: .*, no carrier,'
expect_true "memif after its peer ended: packets stay counted" "at least 1000" "$(of wan "packets in")" at_least wan "packets in" 1000
expect_true "memif after its peer ended: bytes stay counted" "at least 60000" "$(bytes)" test "$(bytes)" -ge 60000
