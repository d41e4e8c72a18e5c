# shellcheck shell=bash
# The director accepts some rules although they are probably mistakes. It reports them at the
# command, in the status and, at a start, in the log.

lab_up fullnat 1
director_start

# notes PATTERN: how many lines of the status match.
notes() { vipline status | grep -c "$1"; }

expect "an empty director has no notes" "" "$(vipline status --json | sed -n '/"notes"/,/\]/p' | grep -o 'FULLNAT\|interface\|mark' | head -n 1)"

rule -A -t "$VIP:80" -s rr
warned=$(vipline ipvsadm -a -t "$VIP:80" -r "$(rip 1):8080" -b 2>&1)
expect "FULLNAT without a local address: exit status" 0 $?
expect "FULLNAT without a local address: one warning" "Warning: -t $VIP:80 has no local address" "$(grep -o "Warning: .* local address" <<<"$warned")"
expect "FULLNAT without a local address: a note in the status" 1 "$(notes "TCP $VIP:80: destinations by FULLNAT, but no local address")"
rule -P -t "$VIP:80" -z "$DIP_LAN"
expect "FULLNAT with a local address: no note" 0 "$(notes "no local address")"

rule -A -t 198.51.100.7:80 -s rr
expect "a VIP on no interface: a note" 1 "$(notes "198.51.100.7: virtual, but on no interface")"
owned() { [[ $(notes "on no interface") -eq 0 ]]; }
in_director ip addr add 198.51.100.7/32 dev wan0
expect_true "a VIP on an interface: no note" "no such line" "$(vipline status)" \
    wait_until 5 owned

rule -A -f 9 -s rr
expect "a mark that no rule gives: a note" 1 "$(notes "FWM 9: no rule gives a packet this mark")"
vipline mark -A PREROUTING -p tcp -m multiport --dport 9,99 -j MARK --set-m 9
expect "a mark that a rule gives: no note" 0 "$(notes "no rule gives")"

expect "no marks by iptables: no note" 0 "$(notes "Linux marks packets")"
in_director iptables -t mangle -A PREROUTING -p tcp --dport 9 -j MARK --set-mark 9
expect "marks by iptables: a note" 1 "$(notes "Linux marks packets (chain PREROUTING of table mangle)")"
expect "marks by iptables: a note in JSON" 1 "$(vipline status --json | grep -c "Linux marks packets")"

status=0
vipline conns --state FOO >/dev/null 2>"$LAB_DIR/state.err" || status=$?
expect "conns --state FOO: exit status" 2 "$status"
expect_true "conns --state FOO: the error lists the states" "ESTABLISHED among them" "$(cat "$LAB_DIR/state.err")" grep -q ESTABLISHED "$LAB_DIR/state.err"

accounted() {
    vipline stats | awk '{ n[$2] = $1 } END { exit !(n["created"] > 0 && n["created"] == n["connections"] + n["expired"] + n["displaced"] + n["cut_short"]) }'
}
in_client curl -sS -m 3 "http://$VIP/" >/dev/null 2>&1
expect_true "every connection exists or has ended" "created = connections + expired + displaced + cut_short" \
    "$(vipline stats | grep -E 'created|connections|expired|displaced|cut_short')" wait_until 5 accounted
