# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # shared with peers, which sources this
# The load balancers that peers measures, and their network. A contender is a function. It sets
# itself up in the present lab, defines `counted`, which prints how many packets it has sent on,
# starts the traffic, and calls `told PLACE WHO`.

# The MACs of the director's two sides and of the sink. net_pcap gives its first device PCAP_MAC.
WAN_MAC=02:00:00:00:01:01 LAN_MAC=02:00:00:00:02:01 SINK_MAC=02:00:00:00:02:02 PCAP_MAC=02:70:63:61:70:00
OVS_DIRECTOR=/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk

# --- the network ---------------------------------------------------------------------------------------------------

# cable HOST INTERFACE MAC HOST INTERFACE MAC
cable() {
    ip link add "$2" netns "$LAB_NAME-$1" address "$3" numrxqueues 1 numtxqueues 1 type veth \
        peer name "$5" netns "$LAB_NAME-$4" address "$6" numrxqueues 1 numtxqueues 1
    in_ns "$1" ethtool -K "$2" tx off tso off gso off gro off >/dev/null
    in_ns "$4" ethtool -K "$5" tx off tso off gso off gro off >/dev/null
    ip -n "$LAB_NAME-$1" link set "$2" up
    ip -n "$LAB_NAME-$4" link set "$5" up
}

# received HOST INTERFACE CPU: makes the kernel handle frames that arrive there on CPU.
received() { in_ns "$1" sh -c "echo $(mask "$3") >/sys/class/net/$2/queues/rx-0/rps_cpus"; }

# deaf HOST INTERFACE: makes the kernel drop all frames that arrive there. Packet sockets see them
# before.
deaf() {
    in_ns "$1" nft -f - <<NFT
table netdev peers {
    chain deaf { type filter hook ingress device "$2" priority 0; policy drop; }
}
NFT
}

veth_up() {
    host gen
    host director
    host sink
    # A unique name: the kernel's thread for the interface is found by it.
    WAN=x${LAB_NAME#vl-}
    cable gen gen0 02:00:00:00:01:02 director "$WAN" "$WAN_MAC"
    cable director xlan "$LAN_MAC" sink sink0 "$SINK_MAC"
    received director "$WAN" "$far"
    received sink sink0 "$near"
    deaf gen gen0
    deaf sink sink0
}

# Frames that the director gave to the sink's cable. Frames that the cable dropped count too: that
# is not the director's loss.
count_veth() { in_director cat /sys/class/net/xlan/statistics/tx_{packets,dropped} | awk '{ n += $1 } END { print n }'; }

# traffic MAC: writes a capture file with a packet of each flow, addressed to MAC
traffic() { "$REPO/scripts/bench.d/flows" "$LAB_DIR/flows.pcap" "$1" "$CLIENT" "$VIP:80" "$FLOWS"; }

generate() { send; }
send() {
    traffic "$WAN_MAC"
    # Without an open standard input, testpmd would end.
    spawn gen testpmd sh -c "sleep 300 | exec dpdk-testpmd --lcores 0@$near,1@$near --no-pci --no-telemetry \
        --no-huge -m 256 --file-prefix $LAB_NAME-gen --vdev=net_pcap0,rx_pcap=$LAB_DIR/flows.pcap,infinite_rx=1 \
        --vdev=net_af_packet1,iface=gen0,qdisc_bypass=1 -- --forward-mode=io --no-flush-rx --nb-cores=1 \
        --total-num-mbufs=16384"
}

# --- who is measured -----------------------------------------------------------------------------------------------

# servers_do COMMAND…: for each server
servers_do() {
    local nth
    for ((nth = 1; nth <= SERVERS; nth++)); do "$@" "$nth"; done
}
neighbour() { in_director ip neigh replace "$(rip "$2")" lladdr "$SINK_MAC" dev "$1" nud permanent; }

# Rules for ipvsadm. Vipline accepts them as Linux does.
ipvs_rules() {
    member() { echo "-a -u $VIP:80 -r $(rip "$1"):8080 -m"; }
    echo "-A -u $VIP:80 -s rr"
    servers_do member
}

# The director's Linux forwards.
kernel_up() {
    counted() { count_veth; }
    veth_up
    in_director sysctl -qw net.ipv4.ip_forward=1
    in_director ip address add "$DIP_WAN/24" dev "$WAN"
    in_director ip address add "$VIP/32" dev "$WAN"
    in_director ip address add "$DIP_LAN/24" dev xlan
    servers_do neighbour xlan
}

ipvs() {
    kernel_up
    ipvs_rules | in_director ipvsadm -R || return
    send
    told "$@"
}
has_ipvs() {
    [[ -e /proc/net/ip_vs ]] || modprobe -qn ip_vs 2>/dev/null
}

nftables() {
    kernel_up
    member() { printf '%s %s : %s . 8080' "$([[ $1 -eq 1 ]] || echo ,)" "$(($1 - 1))" "$(rip "$1")"; }
    in_director nft -f - <<NFT || return
table ip peers {
    chain balance {
        type nat hook prerouting priority dstnat; policy accept;
        ip daddr $VIP udp dport 80 dnat ip to numgen inc mod $SERVERS map {$(servers_do member)}
    }
}
NFT
    send
    told "$@"
}

# vipline_at DEVICE DEVICE PLACE WHO
vipline_at() {
    local devices=("$1" "$2")
    shift 2
    cat >"$LAB_DIR/vipline.toml" <<TOML
poll = "busy"
state_dir = "state"
cpus = [$far]
memory_mb = 384
max_connections = 65536
rules = "rules.ipvs"

[[port]]
name = "wan"
device = "${devices[0]}"
host_interface = "wan0"
addresses = ["$DIP_WAN/24", "$VIP/32"]

[[port]]
name = "lan"
device = "${devices[1]}"
host_interface = "lan0"
addresses = ["$DIP_LAN/24"]
TOML
    ipvs_rules >"$LAB_DIR/rules.ipvs"
    read -ra command < <(director_command)
    spawn director viplined "${command[@]}"
    wait_ready 20 viplined vipline status
    servers_do neighbour lan0
    [[ ${devices[0]} == pcap:* ]] || generate || return
    told "$@"
}
vipline_memory() {
    counted() { vipline stats --json | jq '[.. | objects | select(has("transmitted")).transmitted] | add'; }
    host director
    traffic "$PCAP_MAC"
    vipline_at "pcap:rx_pcap=$LAB_DIR/flows.pcap,infinite_rx=1" "null:no-rx=1" "$@"
}
vipline_xdp() {
    counted() { count_veth; }
    veth_up
    # The sender's CPU would hand frames over to the director, unless a kernel thread does it. The
    # thread exists as soon as the device is in use.
    has_thread() { pgrep "^napi/$WAN" >/dev/null; }
    generate() {
        in_director sh -c "echo 1 >/sys/class/net/$WAN/threaded" && wait_until 5 has_thread || return
        pgrep "^napi/$WAN" | xargs -n 1 taskset -cp "$far" >/dev/null
        send
    }
    vipline_at "af_xdp:$WAN" af_xdp:xlan "$@"
}
vipline_packet() {
    counted() { count_veth; }
    veth_up
    deaf director "$WAN"
    vipline_at "af_packet:$WAN,qdisc_bypass=1" af_packet:xlan,qdisc_bypass=1 "$@"
}

# Source and sink alone, with a program that only swaps addresses and ports.
testpmd_memory() {
    host director
    traffic "$PCAP_MAC"
    spawn director swap sh -c "sleep 300 | exec dpdk-testpmd --lcores 0@$near,1@$far --no-pci --no-telemetry --in-memory \
        --vdev=net_pcap0,rx_pcap=$LAB_DIR/flows.pcap,infinite_rx=1 --vdev=net_null1,no-rx=1 -- \
        --forward-mode=5tswap --no-flush-rx --nb-cores=1 --total-num-mbufs=16384 --stats-period $seconds"
    sleep $((3 + seconds * (windows + 1)))
    # The first period is cut short.
    awk '/statistics for port/ { port = $6 } /Tx-pps/ && port == 1 && ++nth > 1 { print $2 / 1e6 }' "$LAB_DIR/log/swap" |
        sort -n | lines "$@"
}

has_ovs() { [[ -x $OVS_DIRECTOR ]]; }

ovs() { in_director env OVS_RUNDIR="$LAB_DIR" OVS_DBDIR="$LAB_DIR" OVS_LOGDIR="$LAB_DIR" OVS_SYSCONFDIR="$LAB_DIR" "$@"; }
vsctl() { ovs ovs-vsctl --timeout=20 --db="unix:$LAB_DIR/db.sock" "$@"; }
# ovs_at DEVICE DEVICE PLACE WHO
ovs_at() {
    local devices=("$1" "$2") nth server
    shift 2
    ovs ovsdb-tool create "$LAB_DIR/conf.db" /usr/share/openvswitch/vswitch.ovsschema
    spawn director ovsdb env OVS_RUNDIR="$LAB_DIR" ovsdb-server "$LAB_DIR/conf.db" --remote="punix:$LAB_DIR/db.sock"
    wait_ready 10 ovsdb test -S "$LAB_DIR/db.sock"
    vsctl --no-wait init -- set Open_vSwitch . other_config:dpdk-init=true other_config:dpdk-socket-mem=512 \
        other_config:dpdk-lcore-mask="0x$(mask "$near")" other_config:pmd-cpu-mask="0x$(mask "$far")" \
        other_config:dpdk-extra="--no-pci --no-telemetry --in-memory --file-prefix=$LAB_NAME"
    spawn director ovs env OVS_RUNDIR="$LAB_DIR" OVS_DBDIR="$LAB_DIR" OVS_LOGDIR="$LAB_DIR" \
        "$OVS_DIRECTOR" "unix:$LAB_DIR/db.sock" --unixctl="$LAB_DIR/ovs.ctl"
    vsctl add-br br0 -- set bridge br0 datapath_type=netdev protocols=OpenFlow10,OpenFlow13,OpenFlow15 fail-mode=secure || return
    # The rules come first, so that the first packet finds them.
    local next="mod_dl_src:$LAN_MAC,mod_dl_dst:$SINK_MAC,dec_ttl,output:2" group="group_id=1,type=select,selection_method=hash,fields(ip_src,udp_src)"
    for ((nth = 1; nth <= SERVERS; nth++)); do
        server=$(rip "$nth"):8080
        group+=",bucket=bucket_id:$nth,weight:1,actions=ct(commit,zone=1,nat(dst=$server),exec(set_field:1->ct_mark),table=2)"
    done
    ovs ovs-ofctl -O OpenFlow15 add-group "$LAB_DIR/br0.mgmt" "$group" || return
    # A datagram of a known connection, answered or not, is sent on after one look-up.
    ovs ovs-ofctl -O OpenFlow15 add-flows "$LAB_DIR/br0.mgmt" - <<FLOWS || return
table=0,priority=10,udp,nw_dst=$VIP,tp_dst=80,actions=ct(zone=1,nat,table=1)
table=1,priority=10,udp,ct_mark=1,actions=$next
table=1,priority=5,udp,actions=group:1
table=2,udp,actions=$next
FLOWS
    for nth in 1 2; do
        vsctl add-port br0 "p$nth" -- set Interface "p$nth" type=dpdk ofport_request="$nth" \
            options:dpdk-devargs="\"${devices[nth - 1]}\"" || return
    done
    [[ ${devices[0]} == net_pcap* ]] || generate
    told "$@"
}
ovs_memory() {
    counted() { ovs ovs-ofctl dump-ports "$LAB_DIR/br0.mgmt" 2 | sed -n 's/.*tx pkts=\([0-9]*\).*/\1/p'; }
    host director
    traffic "$PCAP_MAC"
    ovs_at "net_pcap0,rx_pcap=$LAB_DIR/flows.pcap,infinite_rx=1" net_null1,no-rx=1 "$@"
}
ovs_veth() {
    counted() { count_veth; }
    veth_up
    deaf director "$WAN"
    ovs_at "net_af_packet0,iface=$WAN,qdisc_bypass=1" net_af_packet1,iface=xlan,qdisc_bypass=1 "$@"
}
