# shellcheck shell=bash
# A client has an address of the servers' network. rp_filter of the host interface decides whether
# that is allowed; the setting may change while the director runs. A client may never have one of
# the director's own addresses.

lab_up nat 1
director_start
write_rules
in_client ip address add 10.2.0.77/32 dev lo
in_client ip address add "$DIP_LAN/32" dev lo

count_of() { vipline stats | awk -v name="$1" '$2 == name { n = $1 } END { print n + 0 }'; }
created() { count_of created; }
knock() { in_client timeout 1 curl -s -m 0.5 -o /dev/null --interface "$1" "http://$VIP/" || true; }

knock 10.2.0.77
expect "rp_filter 0: a connection from anywhere" 1 "$(created)"
in_director sysctl -qw net.ipv4.conf.wan0.rp_filter=1
refused() { knock 10.2.0.77; [[ $(count_of rp_filter) -gt 0 ]]; }
expect_true "rp_filter 1: refused, and counted" "rp_filter above 0" "$(vipline stats | sed -n '/^Dropped/,/^port/p')" \
    wait_until 10 refused
before=$(created)
knock 10.2.0.77
expect "rp_filter 1: no new connection" "$before" "$(created)"
expect "rp_filter 1: a client with an address of the clients' network is served" rs1 "$(in_client curl -sS -m 3 "http://$VIP/" 2>&1)"
before=$(created)
knock "$DIP_LAN"
expect "the director's own address: no connection" "$before" "$(created)"
expect_true "the director's own address: counted as martian" "martian above 0" "$(vipline stats | sed -n '/^Dropped/,/^port/p')" test "$(count_of martian)" -gt 0
