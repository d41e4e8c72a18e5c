# shellcheck shell=bash
# An interface with several receive queues, as most NICs have. The director takes packets from all
# queues. A setting that would lose packets is refused or reported.

lab_up nat 2

status_has() { grep -qE "$1" <<<"$(vipline status 2>&1)"; }

# Two queues at both ends of the veth pair. The sending end chooses a queue by the packet's hash.
ip -n "$LAB_NAME-director" link del xwan
ip link add xwan netns "$LAB_NAME-director" numrxqueues 4 numtxqueues 4 type veth \
    peer name director-xwan netns "$LAB_NAME-switch" numrxqueues 4 numtxqueues 4
in_director ethtool -K xwan tx off tso off gso off gro off >/dev/null
in_ns switch ethtool -K director-xwan tx off tso off gso off gro off >/dev/null
in_director ethtool -L xwan rx 2 tx 2
in_ns switch ethtool -L director-xwan rx 2 tx 2
ip -n "$LAB_NAME-switch" link set director-xwan master clients up
ip -n "$LAB_NAME-director" link set xwan up

answered() { http_requests 60 2>/dev/null | grep -c '^rs'; }
check() { in_director timeout 5 "$BIN/vipline" check "$LAB_DIR/vipline.toml" 2>&1; }

director_start
write_rules
expect_true "status counts the queues" "2 queues" "$(vipline status)" status_has '^port wan: .*, 2 queues'
expect "60 requests answered" 60 "$(answered)"
used() { in_director ethtool -S xwan | sed -n "s/ *rx_queue_$1_xdp_packets: //p"; }
expect_true "both queues were used" "packets on each" "$(used 0) and $(used 1)" test "$(used 0)" -gt 0 -a "$(used 1)" -gt 0
check_download
queries=$(in_client timeout 20 "$PYTHON" "$LAB_HOME/udp_query.py" "$VIP" 53 500 "$(next_ports 500)" 2>/dev/null | wc -l)
expect "500 UDP queries answered" 500 "$queries"

in_director ethtool -L xwan rx 4 tx 4
in_ns switch ethtool -L director-xwan rx 4 tx 4
expect_true "two more queues at run time: status says what to do" "ethtool -L xwan rx 2 tx 2" "$(vipline status 2>&1)" \
    wait_until 6 status_has 'ethtool -L xwan rx 2 tx 2'
in_ns switch ethtool -L director-xwan rx 2 tx 2
in_director ethtool -L xwan rx 2 tx 2
well() { vipline status >/dev/null 2>&1; }
expect_true "after the command: status reports nothing" "exit 0" "$(vipline status 2>&1)" wait_until 6 well
director_end TERM
expect "SIGTERM: exit status" 0 "$DIRECTOR_STATUS"

# Queues that do not exist, and more queues than the worker can serve.
director_config
sed -i 's/af_xdp:xwan/af_xdp:xwan,start_queue=2/' "$LAB_DIR/vipline.toml"
expect_true "a queue that does not exist: the check refuses" "numbered from 0" "$(check)" grep -q '^vipline: port wan: xwan has 2 receive queues, numbered from 0' <<<"$(check)"
ip -n "$LAB_NAME-director" link del xwan
ip link add xwan netns "$LAB_NAME-director" numrxqueues 16 numtxqueues 16 type veth \
    peer name director-xwan netns "$LAB_NAME-switch" numrxqueues 16 numtxqueues 16
director_config
# shellcheck disable=SC2016
expect_true "16 queues: the check names the command" "ethtool -L" "$(check)" \
    grep -q '^vipline: port wan: xwan has 16 receive queues.*`ethtool -L xwan rx 8 tx 8`' <<<"$(check)"
status=0
read -ra command < <(director_command)
in_director timeout 10 "${command[@]}" >/dev/null 2>"$LAB_DIR/refused.err" || status=$?
expect "16 queues: the daemon refuses in one line with the command" "1, 1 line" "$status, $(grep -c '^viplined: port wan: .*ethtool -L xwan rx 8 tx 8' "$LAB_DIR/refused.err") line"
in_director ethtool -L xwan rx 8 tx 8
expect_true "16 queues, after the command: the check passes" "2 ports" "$(check)" grep -q '2 ports' <<<"$(check)"
