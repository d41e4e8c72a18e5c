# shellcheck shell=bash
# Linux sees none of the balanced packets, so it would forget the gateway of the clients. The director
# keeps it resolved, although no destination is behind it.

lab_up nat 2
director_start
write_rules

gateway() { in_director ip neigh show "$ROUTER_WAN" dev wan0; }
known() { [[ $(gateway) == *lladdr* ]]; }
expect "a neighbour that nobody uses is not asked for" "" "$(gateway)"
in_director ip route add 203.0.113.0/24 via "$ROUTER_WAN"
expect_true "the gateway of a route is resolved without any packet" "$ROUTER_WAN with a MAC" "$(gateway)" wait_until 10 known
in_director ip neigh flush dev wan0
expect_true "the gateway is resolved again after Linux forgot it" "$ROUTER_WAN with a MAC" "$(gateway)" wait_until 10 known
