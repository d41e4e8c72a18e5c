# shellcheck shell=bash
# wrt: real servers whose answers are 1, 5 and 20 ms late, and held connections in proportion to their speed.
# What an answer takes on a shared machine is more than that and not always the same, so shares are compared with what
# the director says it measured; and that, with the delays.

HELD=200
LATE=(0 1 5 20) # ms, by real server
MOST=(0 4 10 30)

lab_up nat 3
spawn switch delay "$PYTHON" "$LAB_HOME/delay.py" servers "rs1-eth0=${LATE[1]}" "rs2-eth0=${LATE[2]}" "rs3-eth0=${LATE[3]}"
wait_ready 5 delay grep -q ready "$LAB_DIR/log/delay"
director_start
# No connection is to wait for a neighbour as well.
for n in 1 2 3; do
    in_director ping -n -q -c 1 -W 5 "$(rip "$n")" >/dev/null || die "rs$n does not answer"
done

# hold TRY: connections held to a service of its own. Sets how many were judged ($all) and went $right, or what was $said
# instead; by real server $loads, $micros, $wanted and what was $seen there; and how many ms processes $waited for a CPU.
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

# compare OPERATOR LIMITS…: whether it holds of every response time and its limit in ms
compare() {
    local n operator=$1
    for n in 1 2 3; do
        shift
        test "${micros[n]:-0}" "$operator" "${1}000" || return 1
    done
}
slow_enough() { compare -ge "${LATE[@]:1}"; }
not_too_slow() { compare -lt "${MOST[@]:1}" && [[ ${micros[1]} -lt ${micros[2]} && ${micros[2]} -lt ${micros[3]} ]]; }

# Whether every server has what it should have, within a tenth and a connection, for these are whole.
in_proportion() {
    paste <(printf '%s\n' "${loads[@]}") <(printf '%s\n' "${wanted[@]}") | awk '
        NF != 3 || $1 + 1 < ($2 + 1) * 0.9 - 1 || $1 + 1 > ($3 + 1) * 1.1 + 1 { wrong = 1 }
        END { exit wrong }'
}

# Whose turn it was depends on no clock and is judged at once. The rest does, through what else the machine does.
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
expect_true "shares go by the reciprocals of the response times: ${loads[*]}" \
    "$(printf '%s, ' "${wanted[@]// / to }")within a tenth" "${loads[*]}" in_proportion
expect_true "these are no less than the delays: ${micros[*]} us" "${LATE[*]:1} ms" "${micros[*]} us" slow_enough
if ! not_too_slow && [[ $waited -gt $((5 * HELD)) ]]; then
    not_judged "how much more they are" "viplined and the delay waited $waited ms for CPUs that others held"
else
    expect_true "and not much more" "under ${MOST[*]:1} ms, in order" "${micros[*]} us" not_too_slow
fi
