# shellcheck shell=bash
# More than 300 000 frames that no good host sends, from the clients' side and from the servers'
# side: malformed, odd, random, of all protocols. Good clients work meanwhile. Afterwards the daemon
# is in the same state as before.

WANTED=150000 # frames, by side

lab_up nat 2
director_start
write_rules
answered() { http_requests "$1" 2>/dev/null | grep -c '^rs'; }
expect "before: 100 requests answered" 100 "$(answered 100)"

report() { vipline stats --json; }
# received PORT: frames that the port received
received() { report | jq --arg port "$1" '.ports[] | select(.name == $port).rx_packets'; }
received_both() { [[ $(received wan) -ge $1 && $(received lan) -ge $2 ]]; }
# These must not grow: memory in kB, open files, threads.
memory() { awk '/^VmRSS/ { print $2 }' "/proc/$(pid_of viplined)/status"; }
files() { find "/proc/$(pid_of viplined)/fd" -mindepth 1 | wc -l; }
threads() { find "/proc/$(pid_of viplined)/task" -mindepth 1 -maxdepth 1 | wc -l; }

spawn client hostile-clients "$PYTHON" "$LAB_HOME/hostile.py" eth0 clients 1
spawn rs2 hostile-servers "$PYTHON" "$LAB_HOME/hostile.py" eth0 servers 1
for side in clients servers; do
    wait_ready 10 "hostile-$side" grep -q ready "$LAB_DIR/log/hostile-$side"
done
# By now, all that is allocated once has been allocated.
wan=$(received wan) lan=$(received lan)
wait_until 10 received_both $((wan + 3000)) $((lan + 3000)) || true
wan=$(received wan) lan=$(received lan) memory=$(memory) files=$(files) threads=$(threads)
before=$(pid_of viplined)

asked=0 got=0
deadline=$((SECONDS + 50))
while [[ $SECONDS -lt $deadline ]]; do
    asked=$((asked + 25)) got=$((got + $(answered 25)))
    ! received_both $((wan + WANTED)) $((lan + WANTED)) || break
done
for side in clients servers; do
    expect_true "the hostile host among the $side worked to the end" "alive" "dead: $(tail -n 1 "$LAB_DIR/log/hostile-$side")" \
        alive "$(pid_of "hostile-$side")"
    stop "hostile-$side"
done
wan=$(($(received wan) - wan)) lan=$(($(received lan) - lan))
expect_true "hostile frames that reached the director: $wan and $lan" "$WANTED from each side" "$wan and $lan" \
    test "$wan" -ge "$WANTED" -a "$lan" -ge "$WANTED"
expect "requests of good clients meanwhile, answered" "$asked" "$got"

expect_true "the daemon lives" "process $before" "none" alive "$before"
expect "afterwards: 100 requests answered" 100 "$(answered 100)"

# balance: frames that came in, minus frames that ended in a counter
balance() {
    report | jq '(.verdicts | map({(.name): .count}) | add) as $is
        | $is.received + $is.from_host + $is.icmp_sent - $is.transmitted - $is.host - $is.resolve - $is.dropped'
}
balanced() { [[ $(balance) == 0 ]]; }
# Counters are read one after the other, and Linux sends frames meanwhile.
wait_until 5 balanced || true
expect "frames that came in, minus those that were sent, given to Linux or dropped" 0 "$(balance)"
expect "each drop has a reason, and there are many" yes "$(report | jq -r '
    (.verdicts[] | select(.name == "dropped").count) as $all
    | if ([.drops[].count] | add) >= $all and $all > 10000 then "yes" else "no: \($all)" end')"
# If the bridge inspected packets, as bridge netfilter does, few of these would arrive.
for reason in truncated malformed; do
    count=$(report | jq --arg reason "$reason" '[.drops[] | select(.name == $reason).count] | add // 0')
    expect_true "$reason: $count frames" "3000 or more" "$count" test "$count" -ge 3000
done
reasons=$(report | jq '[.drops[] | select(.count > 0)] | length')
expect_true "$reasons reasons in all" "eight or more" "$(report | jq -c '.drops | map({(.name): .count}) | add')" test "$reasons" -ge 8

grown=$(($(memory) - memory))
expect_true "memory grew by $grown kB" "under 4096 kB" "$grown kB" test "$grown" -lt 4096
expect "open files" "$files" "$(files)"
expect "threads" "$threads" "$(threads)"
lines=$(wc -l <"$LAB_DIR/log/viplined")
expect_true "lines in the log: $lines" "under 200" "$lines" test "$lines" -lt 200
