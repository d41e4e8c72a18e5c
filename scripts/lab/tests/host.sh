# shellcheck shell=bash
# Packets that the director does not balance go to Linux: ping, the machine's own services,
# refusals, its own connections.

lab_up nat 2
director_start
write_rules

# attempt KIND PORT: prints the result, and the time if it was long. A slow attempt is repeated up
# to twice, because the machine may have been busy. A director that makes clients wait does so every
# time.
attempt() {
    local result ms
    for _ in 1 2 3; do
        read -r result ms < <(in_client timeout 5 "$PYTHON" "$LAB_HOME/connect.py" "$1" "$VIP" "$2")
        [[ ${ms%.*} -ge 500 ]] || { echo "$result"; return; }
    done
    echo "$result after $ms ms"
}

replies=$(in_client ping -n -c 3 -i 0.2 -W 1 "$VIP" | sed -n 's/.* \([0-9]*\) received.*/\1/p')
expect "3 pings of the VIP answered by Linux" 3 "$replies"
expect "TCP to the director's own address" director "$(in_client curl -sS -m 3 "http://$DIP_WAN:$DIRECTOR_TCP_PORT/" 2>&1)"
expect "the director's own TCP to a real server" rs1 "$(in_director curl -sS -m 3 "http://$(rip 1)/" 2>&1)"
expect "TCP to a port of the VIP without a service" refused "$(attempt tcp 81)"
expect "UDP to a port of the VIP without a service" refused "$(attempt udp 54)"
expect "a service beside these" answered "$(attempt udp 53)"

# A server that does not exist: Linux asks for its MAC in vain, the client gets an error, and
# waiting packets are counted.
rule -A -t "$VIP:98" -s rr
rule -a -t "$VIP:98" -r 10.2.0.98:98 -m
said=$(in_client timeout 10 bash -c "exec 3<>/dev/tcp/$VIP/98" 2>&1) || true
expect_true "a client of a server that does not exist gets an error" "No route to host" "$said" grep -q 'No route to host' <<<"$said"
rule -A -u "$VIP:99" -s rr
rule -a -u "$VIP:99" -r 10.2.0.99:99 -m
attempt udp 99 >/dev/null
given_up() { vipline stats | grep -E '^ *[2-9][0-9]* no_neighbour' >/dev/null; }
expect_true "packets that waited for a server that does not exist are counted as dropped" "no_neighbour above 1" \
    "$(vipline stats | sed -n '/^Dropped/,/^port/p')" wait_until 8 given_up
