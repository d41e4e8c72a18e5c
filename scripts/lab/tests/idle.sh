# shellcheck shell=bash
# poll = "adaptive": an idle director leaves the core to others and still answers its first packet at once.

lab_up nat 2
director_start
write_rules
http_requests 10 >/dev/null

# CPU time of all threads, in ticks
ticks() { sed 's/.*) //' "/proc/$(pid_of viplined)/stat" | awk '{ print $12 + $13 }'; }
# The middle of three
median() { printf '%s\n' "$@" | sort -n | sed -n 2p; }
below() { awk -v figure="${1:-9999}" -v limit="$2" 'BEGIN { exit !(figure < limit) }'; }

# Other load on the machine makes every wake-up dearer, so the best of three counts.
sleep 1
percent=100
for _ in 1 2 3; do
    before=$(ticks)
    sleep 5
    now=$(awk -v ticks=$(($(ticks) - before)) -v hz="$(getconf CLK_TCK)" 'BEGIN { printf "%.1f", ticks * 100 / hz / 5 }')
    below "$percent" "$now" || percent=$now
    below "$percent" 5 && break
done
expect_true "idle for 5 s: $percent % of a core" "under 5 %" "$percent %" below "$percent" 5

ping_ms() { in_client ping -n -c 1 -W 1 "$VIP" | sed -n 's/.*time=\([0-9.]*\).*/\1/p'; }
# How long its threads were ready to run and did not, in ms: tells a slow director from a machine that is taken.
waited() { awk '{ sum += $2 } END { printf "%d", sum / 1e6 }' "/proc/$(pid_of viplined)"/task/*/schedstat; }

measure() {
    local before
    before=$(waited)
    pings=() connects=()
    for _ in 1 2 3; do
        sleep 3
        pings+=("$(ping_ms)")
        read -r _ ms < <(in_client timeout 8 "$PYTHON" "$LAB_HOME/connect.py" tcp "$VIP" 80 3)
        connects+=("$ms")
    done
    waited=$(($(waited) - before))
}

# The goal is a millisecond a packet; a connect is two of them. What is judged is far above, for clocks of shared machines
# are no judges: a director that slept through its first packet is found all the same.
measure
for kind in pings connects; do
    declare -n figures=$kind
    what="first packet after 3 s of idling, $kind: ${figures[*]} ms"
    if [[ $waited -gt 1000 ]]; then
        echo "  --    $what: not judged, viplined waited $waited ms for a CPU that others held"
        continue
    fi
    expect_true "$what" "a median under 50 ms" "${figures[*]} ms" below "$(median "${figures[@]}")" 50
done
