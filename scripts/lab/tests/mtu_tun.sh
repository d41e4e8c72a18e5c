# shellcheck shell=bash
# A tunnel over a device with a small MTU: clients learn the size that fits inside, and uploads
# work.

lab_up tun 1
ip -n "$LAB_NAME-switch" link set director-xlan mtu 1400
ip -n "$LAB_NAME-director" link set xlan mtu 1400
director_start
write_rules

head -c 200000 /dev/urandom >"$LAB_DIR/up"
upload() { in_client curl -sS -m 10 -o /dev/null -w '%{http_code}' --data-binary "@$LAB_DIR/up" "http://$VIP/" 2>&1; }
expect "an upload of 200 kB comes through" 200 "$(upload)"
learned() { in_client ip route get "$VIP" | sed -n 's/.* mtu \([0-9]*\).*/\1/p'; }
expect "the client has learned the MTU minus the outer header" 1380 "$(learned)"
sent() { vipline stats | awk '$2 == "icmp_sent" { print $1 }'; }
expect_true "the director sent an ICMP error" "at least 1 icmp_sent" "$(sent)" test "$(sent)" -ge 1
