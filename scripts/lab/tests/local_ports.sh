# shellcheck shell=bash
# Linux has the local address of FULLNAT too. Its own connections from that address get their
# answers, because FULLNAT leaves Linux its ports, however many connections FULLNAT has. The ports
# follow the setting of Linux.

lab_up fullnat 1
# 1000 ports for Linux, at the lowest numbers, where FULLNAT would soon use the same.
range() { in_director sysctl -qw net.ipv4.ip_local_port_range="$1"; }
range "1024 2023"
director_start
write_rules

left() { vipline status | sed -n "s/.*address $LIP is Linux's too: ports \(.*\) are left.* server has \([0-9]*\);.*/\1, \2/p"; }
expect "ports left to Linux, and ports for FULLNAT" "1024 to 2023, 63512" "$(left)"

# Both sides make one connection for each request, at the same time: clients through the VIP, and
# the director from its local address.
clients() { in_client timeout 60 bash -c "for n in {1..300}; do curl -s -m 3 http://$VIP/ || echo none; done"; }
checks() {
    in_director timeout 60 bash -c "for n in {1..300}; do curl -s -m 3 --interface $LIP http://$(rip 1):8080/ || echo none; done"
}
clients >"$LAB_DIR/clients" &
waiting=$!
expect "300 health checks from the local address" "300 rs1" "$(checks | sort | uniq -c | xargs)"
wait "$waiting"
expect "300 requests of clients meanwhile" "300 rs1" "$(sort "$LAB_DIR/clients" | uniq -c | xargs)"

# Now Linux has all ports but 100.
range "1124 65535"
followed() { [[ $(left) == "1124 to 65535, 100" ]]; }
expect_true "a changed ip_local_port_range is followed" "1124 to 65535, 100" "$(left)" wait_until 8 followed
expect "250 health checks beside 250 requests over 100 ports" "250 rs1" "$(
    in_client timeout 60 bash -c "for n in {1..250}; do curl -s -m 3 http://$VIP/ >/dev/null; done" &
    in_director timeout 60 bash -c "for n in {1..250}; do curl -s -m 3 --interface $LIP http://$(rip 1):8080/ || echo none; done" |
        sort | uniq -c | xargs
    wait
)"
