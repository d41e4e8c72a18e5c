# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # shared with the other files of the lab
# Traffic through the director, and the checks on it. The demo and the end-to-end tests use it.

REQUESTS=600
UDP_QUERIES=1000

# --- the rules -----------------------------------------------------------------------------------------------------

flag_of() {
    case $METHOD in
    nat) echo -m ;;
    dr) echo -g ;;
    tun) echo -i ;;
    fullnat) echo --fullnat ;;
    esac
}

# NAT and FULLNAT can map the port as well; DR and TUN leave the packet as it is.
rs_http_port() { if [[ $METHOD =~ nat ]]; then echo 8080; else echo 80; fi; }
rs_dns_port() { if [[ $METHOD =~ nat ]]; then echo 5353; else echo 53; fi; }

# Weights N … 1 for TCP, equal weights for UDP.
write_rules() {
    local n
    if [[ $METHOD == fullnat ]]; then
        note "ip addr add $LIP/32 dev lan0"
        in_director ip addr add "$LIP/32" dev lan0
    fi
    rule -A -t "$VIP:80" -s wrr
    [[ $METHOD != fullnat ]] || rule --add-laddr -z "$LIP" -t "$VIP:80"
    for ((n = 1; n <= SERVERS; n++)); do
        rule -a -t "$VIP:80" -r "$(rip "$n"):$(rs_http_port)" "$(flag_of)" -w $((SERVERS + 1 - n))
    done
    rule -A -u "$VIP:53" -s rr
    [[ $METHOD != fullnat ]] || rule --add-laddr -z "$LIP" -u "$VIP:53"
    for ((n = 1; n <= SERVERS; n++)); do
        rule -a -u "$VIP:53" -r "$(rip "$n"):$(rs_dns_port)" "$(flag_of)"
    done
}

# The order in which wrr serves N destinations that were added with weights N, N-1 … 1, as in Linux.
# The newest is first in the list. With one destination, the step was its whole weight. So the first
# round is that of weight 1.
wrr_turns() {
    local level n
    for ((n = SERVERS; n >= 1; n--)); do echo "rs$n"; done
    for ((level = SERVERS; level > 1; level--)); do
        for ((n = SERVERS + 1 - level; n >= 1; n--)); do echo "rs$n"; done
    done
}

rr_turns() { seq "$SERVERS" -1 1 | sed s/^/rs/; }

# turns COUNT TURNS…: prints COUNT lines, repeating the turns
turns() { yes "$(printf '%s\n' "${@:2}")" | head -n "$1"; }

# --- the traffic ---------------------------------------------------------------------------------------------------

# http_requests COUNT: makes requests one after the other, each over a new connection, and prints
# who answered. The source ports are given. The kernel might choose a port twice, because it shares
# its counter with every other lab on the machine. The director would rightly treat that as the
# known connection and send it to the same server.
http_requests() {
    local first
    first=$(next_ports "$1")
    seq "$first" $((first + $1 - 1)) | while read -r port; do
        [[ $port -eq $first ]] || echo next
        printf '%s\n' "url = http://$VIP/" "local-port = $port" "header = \"Connection: close\"" \
            silent show-error "connect-timeout = 2" "max-time = 4"
    done >"$LAB_DIR/requests"
    in_client timeout 30 curl --fail-early -K "$LAB_DIR/requests"
}

# next_ports COUNT: prints the first of COUNT source ports that were not used before in this lab;
# they are below the kernel's own
next_ports() {
    local first=10000
    [[ ! -e $LAB_DIR/next_port ]] || first=$(<"$LAB_DIR/next_port")
    echo $((first + $1)) >"$LAB_DIR/next_port"
    echo "$first"
}

check_http_shares() {
    local got=$LAB_DIR/http.got wanted=$LAB_DIR/http.wanted
    http_requests "$REQUESTS" >"$got" 2>"$LAB_DIR/http.errors" || true
    mapfile -t order < <(wrr_turns)
    turns "$REQUESTS" "${order[@]}" >"$wanted"
    expect "$REQUESTS HTTP requests answered" "$REQUESTS" "$(wc -l <"$got")$(first_error "$LAB_DIR/http.errors")"
    show_shares "$got"
    expect "HTTP: the shares follow the weights" "$(shares "$wanted")" "$(shares "$got")"
    expect "HTTP: each request went to the server whose turn it was" "every turn as in Linux" "$(first_difference "$wanted" "$got")"
}

check_udp_shares() {
    local got=$LAB_DIR/udp.got wanted=$LAB_DIR/udp.wanted
    in_client timeout 20 "$PYTHON" "$LAB_HOME/udp_query.py" "$VIP" 53 "$UDP_QUERIES" "$(next_ports "$UDP_QUERIES")" >"$got" 2>"$LAB_DIR/udp.errors" || true
    mapfile -t order < <(rr_turns)
    turns "$UDP_QUERIES" "${order[@]}" >"$wanted"
    expect "$UDP_QUERIES UDP queries answered" "$UDP_QUERIES" "$(wc -l <"$got")$(first_error "$LAB_DIR/udp.errors")"
    expect "UDP: the shares are equal" "$(shares "$wanted")" "$(shares "$got")"
    expect "UDP: each query went to the server whose turn it was" "every turn as in Linux" "$(first_difference "$wanted" "$got")"
}

check_download() {
    local got=$LAB_DIR/large.got
    in_client timeout 30 curl -sS --connect-timeout 2 -o "$got" "http://$VIP/large" 2>"$LAB_DIR/large.errors" || true
    expect "50 MB download, SHA-256 compared" "$(digest "$LAB_DIR/www/large")" "$(digest "$got")$(first_error "$LAB_DIR/large.errors")"
    rm -f "$got"
}

check_parallel_downloads() {
    local dir=$LAB_DIR/parallel sums
    mkdir -p "$dir"
    in_client timeout 30 curl -sS --no-keepalive -H 'Connection: close' --parallel --parallel-immediate --parallel-max 200 \
        --connect-timeout 5 -o "$dir/#1" "http://$VIP/small?[1-200]" 2>"$LAB_DIR/parallel.errors" || true
    sums=$(cd "$dir" && sha256sum -- * 2>/dev/null | grep -c "^$(digest "$LAB_DIR/www/small")")
    expect "200 parallel downloads of 100 kB, SHA-256 compared" 200 "$sums$(first_error "$LAB_DIR/parallel.errors")"
    rm -rf "$dir"
}

digest() { sha256sum "$1" 2>/dev/null | cut -d ' ' -f 1; }

# The first error of curl or Python, without curl's progress meter
first_error() { tr '\r' '\n' <"$1" | grep -m 1 -oE '(curl|query [0-9]+ from|[A-Za-z]*Error).*' | sed 's/.*/ (&)/'; }

# "rs1 300, rs2 200, rs3 100"
shares() { sort "$1" | uniq -c | awk '{ printf "%s%s %s", comma, $2, $1; comma = ", " }'; }

show_shares() {
    [[ ${QUIET:-no} == yes ]] ||
        sort "$1" | uniq -c | awk '{ bar = sprintf("%*s", $1 / 10, ""); gsub(" ", "#", bar); printf "          %s %4d %s\n", $2, $1, bar }'
}

first_difference() {
    paste "$1" "$2" | awk -F '\t' '
        $1 != $2 { printf "number %d by %s instead of %s", NR, $2 == "" ? "nobody" : $2, $1; found = 1; exit }
        END { if (!found) printf "every turn as in Linux" }'
}

# --- the view of the servers and the director -------------------------------------------------------------------------

check_sources() {
    local wanted=$CLIENT whose="the client's own address" got
    [[ $METHOD != fullnat ]] || { wanted=$LIP; whose="the director's local address"; }
    got=$(cut -d ' ' -f 1 "$LAB_DIR"/rs*/access.log | grep -v '^127\.' | sort -u | tr '\n' ' ')
    expect "the real servers saw $whose" "$wanted" "${got% }"
    got=$(awk '$1 !~ /^127\./ { print $3 }' "$LAB_DIR"/rs*/access.log | sort -u | tr '\n' ' ')
    expect "the real servers saw port $(rs_http_port)" "$(rs_http_port)" "${got% }"
}

# stats_of ADDRESS: Conns InPkts OutPkts InBytes OutBytes of the HTTP service or of one of its destinations
stats_of() {
    vipline ipvsadm -Ln --stats --exact -t "$VIP:80" | awk -v who="$1" '
        $1 == "TCP" && $2 == who || $1 == "->" && $2 == who { print $3, $4, $5, $6, $7; exit }'
}

service_counts() { [[ $(stats_of "$VIP:80" | cut -d ' ' -f 1) == "$1" ]]; }

check_counters() {
    local n out wanted got conns
    # Linux updates its counters every two seconds; the director may do the same.
    wait_until 4 service_counts "$REQUESTS" 2>/dev/null || true
    wanted=$(sort "$LAB_DIR/http.wanted" | uniq -c | awk '{ printf "%s ", $1 }')
    got=""
    for ((n = 1; n <= SERVERS; n++)); do
        read -r conns _ < <(stats_of "$(rip "$n"):$(rs_http_port)") || conns="?"
        got+="$conns "
    done
    expect "the director counts the same connections" "${wanted% }" "${got% }"
    read -r _ _ out _ < <(stats_of "$VIP:80") || out="?"
    case $METHOD in
    dr | tun) expect "no reply passed the director (OutPkts)" 0 "$out" ;;
    *) expect_true "every reply passed the director (OutPkts)" "at least $((REQUESTS * 3))" "$out" test "${out//[^0-9]/}" -ge $((REQUESTS * 3)) ;;
    esac
}

# --- all of it -----------------------------------------------------------------------------------------------------

# Makes each kind of traffic once. The rules must be written before.
demonstrate() {
    check_http_shares
    check_udp_shares
    check_counters
    [[ ${QUIET:-no} == yes ]] || vipline ipvsadm -Ln --stats
    check_sources
    check_download
    check_parallel_downloads
}

# --- peers that leave checksums to their device ---------------------------------------------------------------------

# offloading METHOD: clients and servers with transmit offload, as virtual machines and containers
# have by default.
offloading() {
    local OFFLOAD=on
    lab_up "$1" 2
    director_start
    write_rules
    expect "20 TCP requests answered" 20 "$(http_requests 20 2>/dev/null | grep -c '^rs')"
    expect "an upload of 100 kB" 200 "$(in_client curl -sS -m 5 -o /dev/null -w '%{http_code}' \
        --data-binary "@$LAB_DIR/www/small" "http://$VIP/" 2>&1)"
    expect "a download of 100 kB" "$(sha256sum <"$LAB_DIR/www/small")" \
        "$(in_client curl -sS -m 5 "http://$VIP/small" | sha256sum)"
    expect "5 UDP queries answered" 5 \
        "$(in_client "$PYTHON" "$LAB_HOME/udp_query.py" "$VIP" 53 5 30000 2>/dev/null | grep -c '^rs')"
    expect "the machine's own services" director \
        "$(in_client curl -sS -m 3 "http://$DIP_WAN:$DIRECTOR_TCP_PORT/" 2>&1)"
    expect_true "stats count the unfinished checksums" "unfinished above 0" "$(vipline stats | grep unfinished)" \
        test "$(vipline stats | awk '$2 == "unfinished" { print $1 }')" -gt 0
    expect_true "status reports the unfinished checksums" "a note about port wan" "$(vipline status)" \
        grep -q "^note: port wan: .*transmit offload" <(vipline status)
    expect_true "the log reports the unfinished checksums" "a line about port wan" "$(tail -n 5 "$LAB_DIR/log/viplined")" \
        grep -q "port wan: senders leave checksums" "$LAB_DIR/log/viplined"
}
