# shellcheck shell=bash
# A macvlan with its own MAC on the host interface has the VIP, as with keepalived's `use_vmac`.
# Frames for that MAC are balanced, or reach Linux on the macvlan.

lab_up nat 2
director_start
in_director ip address del "$VIP/32" dev wan0
in_director ip link add vrrp.51 link wan0 address 00:00:5e:00:01:33 type macvlan mode private
in_director sysctl -qw net.ipv4.conf.wan0.arp_ignore=1 net.ipv4.conf.vrrp/51.arp_ignore=1
in_director ip address add "$VIP/32" dev vrrp.51
in_director ip link set vrrp.51 up
write_rules

resolves() { [[ $(in_client ip neigh show "$VIP") == *00:00:5e:00:01:33* ]]; }
knows() { in_client ping -n -c 1 -W 1 "$VIP" >/dev/null; resolves; }
expect_true "the client knows the VIP by the macvlan's MAC" 00:00:5e:00:01:33 "$(in_client ip neigh)" wait_until 10 knows
expect "20 TCP requests answered" 20 "$(http_requests 20 2>/dev/null | grep -c '^rs')"
expect "a ping answered by the macvlan" 1 "$(in_client ping -n -c 1 -W 1 "$VIP" | sed -n 's/.* \([0-9]*\) received.*/\1/p')"
expect "the VIP is still known by that MAC" 00:00:5e:00:01:33 "$(in_client ip neigh show "$VIP" | grep -o '00:00:5e:00:01:33')"
