# shellcheck shell=bash
# wrt: the answers of the real servers are 1, 5 and 20 ms late, and held connections are shared in
# proportion to their speed. On a shared machine an answer takes longer than the delay, and not
# always the same time. So the shares are compared with the times that the director measured, and
# these times with the delays.

HELD=200
LATE=(0 1 5 20) # ms, by real server
MOST=(0 4 10 30)

lab_up nat 3
spawn switch delay "$PYTHON" "$LAB_HOME/delay.py" servers "rs1-eth0=${LATE[1]}" "rs2-eth0=${LATE[2]}" "rs3-eth0=${LATE[3]}"
wait_ready 5 delay grep -q ready "$LAB_DIR/log/delay"
director_start
# No connection should have to wait for a neighbour.
for n in 1 2 3; do
    in_director ping -n -q -c 1 -W 5 "$(rip "$n")" >/dev/null || die "rs$n does not answer"
done

# hold TRY: holds connections to a new service. Sets $all (judged connections), $right (those that
# went to the right server) and $said (the last line); for each real server $loads, $micros, $wanted
# and $seen (connections at the server); and $waited (ms that processes waited for a CPU).
hold() {
    local port=$((79 + $1)) log=$LAB_DIR/log/hold$1 before first n
    first=$(next_ports $((HELD + 50)))
    rule -A -t "$VIP:$port" -s wrt
    for n in 1 2 3; do
        rule -a -t "$VIP:$port" -r "$(rip "$n"):8080" -m
    done
    before=$(waited viplined delay)
    spawn client "hold$1" "$PYTHON" "$LAB_HOME/hold.py" "$VIP" "$port" "$first" "$HELD" \
        "$BIN/vipline" --runtime-dir "$LAB_DIR/run" stats --json
    wait_until 25 held "$1" || true
    waited=$(($(waited viplined delay) - before))
    loads=() micros=() wanted=() seen=()
    said=$(tail -n 1 "$log")
    read -r right all < <(sed -n 's/^end //p' "$log") || right=0 all=0
    for n in 1 2 3; do
        read -r "loads[$n]" "micros[$n]" "wanted[$n]" < <(sed -n "s/^$(rip "$n") //p" "$log") || true
        seen[n]=$(in_rs "$n" ss -Htn state established "sport = :8080 and dport >= :$first" | wc -l)
    done
    stop "hold$1"
    rule -D -t "$VIP:$port"
}
held() { grep -qs '^end' "$LAB_DIR/log/hold$1" || dead "$(pid_of "hold$1")"; }

# compare OPERATOR LIMITS…: whether the comparison holds for every response time and its limit in ms
compare() {
    local n operator=$1
    for n in 1 2 3; do
        shift
        test "${micros[n]:-0}" "$operator" "${1}000" || return 1
    done
}
slow_enough() { compare -ge "${LATE[@]:1}"; }
not_too_slow() { compare -lt "${MOST[@]:1}" && [[ ${micros[1]} -lt ${micros[2]} && ${micros[2]} -lt ${micros[3]} ]]; }

# Whether every server has its share, within a tenth and one connection, because connections are
# whole numbers.
in_proportion() {
    paste <(printf '%s\n' "${loads[@]}") <(printf '%s\n' "${wanted[@]}") | awk '
        NF != 3 || $1 + 1 < ($2 + 1) * 0.9 - 1 || $1 + 1 > ($3 + 1) * 1.1 + 1 { wrong = 1 }
        END { exit wrong }'
}

# Which server was right depends on no clock, so one try decides. The rest depends on the machine's
# other work, so it may be tried again.
begun=$SECONDS
for try in 1 2 3; do
    hold "$try"
    [[ $right == "$all" && $((SECONDS - begun)) -lt 40 ]] || break
    [[ $all -eq $HELD ]] && slow_enough && not_too_slow && in_proportion && break
    [[ $try -eq 3 ]] || echo "  --    try $try: ${loads[*]} connections at ${micros[*]} us, CPUs $waited ms late, $said; once more"
done

[[ $all -gt 0 ]] || die "no connections were judged: $said"
expect "$all connections, each held by the server with the least time by connections" "$all" "$right"
expect "the servers hold as many as the director says" "${loads[*]}" "${seen[*]}"
expect_true "shares follow the reciprocals of the response times: ${loads[*]}" \
    "$(printf '%s, ' "${wanted[@]// / to }")within a tenth" "${loads[*]}" in_proportion
expect_true "the response times are not below the delays: ${micros[*]} us" "${LATE[*]:1} ms" "${micros[*]} us" slow_enough
if ! not_too_slow && [[ $waited -gt $((5 * HELD)) ]]; then
    not_judged "how far the response times are above the delays" "viplined and the delay waited $waited ms for CPUs that others held"
else
    expect_true "the response times are not far above the delays" "under ${MOST[*]:1} ms, in order" "${micros[*]} us" not_too_slow
fi
