# shellcheck shell=bash
# AF_PACKET gives the director one copy of each frame and Linux another. Linux has the VIP and would
# reset balanced connections. So the director makes Linux drop its copies. Nothing of that remains
# when the director ends.

lab_up nat 2
modprobe -q nf_tables 2>/dev/null || true

start() {
    local command
    director_config
    sed -i "s/af_xdp:/af_packet:/; s/^memory_mb = .*/memory_mb = $1/" "$LAB_DIR/vipline.toml"
    read -ra command < <(director_command)
    spawn director viplined "${command[@]}"
    wait_ready 20 viplined vipline status
}
answered() { in_client ip neigh flush all; http_requests 100 2>/dev/null | grep -c '^rs'; }
rules() { in_director nft list ruleset; }
# Whether Linux receives frames of the interface: it then answers ARP for an address that only it
# has.
linux_hears() {
    ip -n "$LAB_NAME-director" address add 10.1.0.77/32 dev lo 2>/dev/null
    in_client ip neigh flush all
    in_client ping -n -c 1 -W 1 10.1.0.77 >/dev/null 2>&1
    in_client ip neigh show 10.1.0.77 | grep -q lladdr
}

start 256
write_rules
expect "100 requests answered" 100 "$(answered)"
# shellcheck disable=SC2016
resets() { in_director awk '/^Tcp: [0-9]/ { print $15 }' /proc/net/snmp; }
expect "Linux reset no connection" 0 "$(resets)"
check_download
queries=$(in_client timeout 20 "$PYTHON" "$LAB_HOME/udp_query.py" "$VIP" 53 200 "$(next_ports 200)" 2>/dev/null | wc -l)
expect "200 UDP queries answered" 200 "$queries"
expect "3 pings of the VIP, answered by Linux on the host interface" 3 "$(in_client ping -n -c 3 -i 0.2 -W 1 "$VIP" | sed -n 's/.* \([0-9]*\) received.*/\1/p')"
expect_true "TCP to the director's own address" director "none" \
    test "$(in_client curl -sS -m 3 "http://$DIP_WAN:$DIRECTOR_TCP_PORT/" 2>&1)" = director

director_end TERM
expect "SIGTERM: exit status" 0 "$DIRECTOR_STATUS"
expect "no nftables rules are left" "" "$(rules)"
expect_true "Linux receives frames of the interface again" "an answer" "none" linux_hears

start 256
expect_true "started again: Linux receives no frames" "a chain on xwan" "$(rules)" grep -q 'device "xwan"' <<<"$(rules)"
director_end KILL
quiet() { [[ -z $(rules) ]]; }
expect_true "killed: no nftables rules are left either" "no rules" "$(rules)" wait_until 5 quiet
expect_true "killed: Linux receives frames of the interface" "an answer" "none" linux_hears

# Older kernels do not remove a table with its owner. A table left by a killed daemon must not keep
# the next daemon from starting.
in_director nft 'add table netdev vipline-xwan; add chain netdev vipline-xwan ingress { type filter hook ingress device "xwan" priority -500; policy drop; }'
start 256
write_rules
expect "with a table from an earlier daemon: 100 requests answered" 100 "$(answered)"
director_end TERM
expect "the table from an earlier daemon is gone too" "" "$(rules)"

# Jumbo frames fit the ring.
for pair in director-xwan client-eth0; do
    ip -n "$LAB_NAME-switch" link set "$pair" mtu 9000
    ip -n "$LAB_NAME-${pair%-*}" link set "${pair##*-}" mtu 9000
done
ip -n "$LAB_NAME-switch" link set router-clients mtu 9000
start 512
write_rules
expect "MTU 9000: a ping of 9000 bytes comes back" 2 "$(in_client ping -n -c 2 -i 0.2 -W 1 -M "do" -s 8972 "$VIP" | sed -n 's/.* \([0-9]*\) received.*/\1/p')"
expect "100 requests answered" 100 "$(answered)"
