# shellcheck shell=bash
# Services by firewall mark. Ports 80 and 443 of the VIP are one persistent service. Many addresses
# are one service with a single mark rule. The real servers answer plain HTTP on both ports.

lab_up nat 3
director_start

mark() { note "mark $*"; vipline mark "$@" || die "vipline mark $*: refused (above)"; }

# ask CLIENT-ADDRESS URL…: prints who answered; requests go one after the other, each over a new
# connection
ask() {
    local from=$1
    shift
    in_client timeout 20 curl -sS --interface "$from" -H 'Connection: close' --connect-timeout 2 "$@" 2>&1
}

mark -A PREROUTING -d "$VIP" -p tcp -m multiport --dports 80,443 -j MARK --set-mark 666
rule -A -f 666 -s rr -p 300
for n in 1 2 3; do
    rule -a -f 666 -r "$(rip "$n")" -m
done

expect "the rule is listed as iptables lists it" \
    "-A PREROUTING -d $VIP/32 -p tcp -m multiport --dports 80,443 -j MARK --set-xmark 0x29a/0xffffffff" \
    "$(vipline mark -S | tail -n 1)"
expect "the service is listed by its mark" "FWM  666 rr persistent 300" \
    "$(vipline ipvsadm -Ln | grep '^FWM' | sed 's/ *$//')"

# Three clients. Each must reach one server on both ports; round robin gives each client another
# server.
together=0 servers=""
for last in 21 22 23; do
    address=${CLIENT%.*}.$last
    ip -n "$LAB_NAME-client" address add "$address/24" dev eth0
    answers=$(ask "$address" "http://$VIP/" "http://$VIP:443/" "http://$VIP/" "http://$VIP:443/" "http://$VIP:443/")
    [[ $(wc -l <<<"$answers") -eq 5 && $(sort -u <<<"$answers" | wc -l) -eq 1 ]] && together=$((together + 1))
    servers+="$(head -n 1 <<<"$answers") "
done
expect "clients whose both ports reached one server" 3 "$together"
expect "the servers of the three clients" "rs3 rs2 rs1 " "$servers"
seen() { awk -v port="$1" '$1 ~ /\.2[123]$/ && $3 == port { n++ } END { print n + 0 }' "$LAB_DIR"/rs*/access.log; }
expect "the servers saw port 80 as 80" 6 "$(seen 80)"
expect "the servers saw port 443 as 443" 9 "$(seen 443)"

expect "one template for each client, named by the mark" "3 IP 0.0.2.154:0" \
    "$(vipline ipvsadm -Lnc | awk '$1 == "IP" { n++; virtual = $5 } END { print n + 0, "IP", virtual }')"
expect "vipline conns shows them as well" 3 "$(vipline conns | grep -c '^IP ')"
expect "a port without the mark goes to Linux: refused" "refused" \
    "$(in_client timeout 5 "$PYTHON" "$LAB_HOME/connect.py" tcp "$VIP" 8080 | cut -d ' ' -f 1)"

# A service by mark comes before a service by address. Without mark rules only the address counts.
rule -A -t "$VIP:80" -s rr
rule -a -t "$VIP:80" -r "$(rip 1):8080" -m
expect "the service by mark comes before the service by address" rs3 "$(ask "${CLIENT%.*}.21" "http://$VIP/")"
vipline mark save >"$LAB_DIR/marks.saved"
mark -F
expect "without mark rules: the service by address" rs1 "$(ask "${CLIENT%.*}.21" "http://$VIP/")"
vipline mark restore <"$LAB_DIR/marks.saved" || fail "restore" "exit 0" "exit $?"
expect "with the rules restored: the service by mark again" rs3 "$(ask "${CLIENT%.*}.21" "http://$VIP/")"
expect "saved and restored are the same" "$(cat "$LAB_DIR/marks.saved")" "$(vipline mark save)"

# A network behind the director: every address in it is served, and dh chooses by the address.
mark -A PREROUTING -d 10.9.0.0/16 -i wan0 -j MARK --set-mark 7
rule -A -f 7 -s dh
for n in 1 2 3; do
    rule -a -f 7 -r "$(rip "$n"):8080" -m
done
ip -n "$LAB_NAME-client" route add 10.9.0.0/16 via "$DIP_WAN"
expect "dh: the servers of 10.9.0.1 to 10.9.0.12, as in Linux" "rs1 rs3 rs2 rs1 rs2 rs3 rs3 rs1 rs2 rs1 rs2 rs2" \
    "$(ask "$CLIENT" "http://10.9.0.[1-12]/" | grep '^rs' | tr '\n' ' ' | sed 's/ $//')"

status=0
vipline mark -A PREROUTING -i eth7 -j ACCEPT 2>"$LAB_DIR/refused" || status=$?
expect "an interface that is no port's: refused" "1 vipline mark: -i: eth7: no port has this host interface: expected one of wan0, lan0" \
    "$status $(cat "$LAB_DIR/refused")"

# Rules and marks from files, at the start.
vipline mark save >"$LAB_DIR/marks.saved"
vipline ipvsadm -Sn >"$LAB_DIR/rules.saved"
director_end TERM
eval "plain_$(declare -f director_config)"
director_config() {
    plain_director_config
    sed -i '1i marks = "marks.saved"\nrules = "rules.saved"' "$LAB_DIR/vipline.toml"
}
director_start
expect "a director started with marks and rules from files has them" \
    "$(cat "$LAB_DIR/marks.saved" "$LAB_DIR/rules.saved")" "$(vipline mark save; vipline ipvsadm -Sn)"
answers=$(ask "${CLIENT%.*}.22" "http://$VIP/" "http://$VIP:443/" | sort -u)
expect "and one server serves both ports of a client" rs3 "$answers"
