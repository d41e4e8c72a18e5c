# shellcheck shell=bash
# shellcheck disable=SC2034 # addresses for the scripts that source this
# The network of the lab. Every line is a veth pair; the two segments are bridges in the namespace `switch`.
#
#     clients 10.1.0.0/24                                      servers 10.2.0.0/24
#     ───────┬───────────┬──────────────────────────┬──────────────┬─────────┬─────────┬───
#            │           │                          │              │         │         │
#        client       xwan │ DPDK  viplined  DPDK │ xlan          rs1       rs2  …    rsN
#       10.1.0.10     wan0 │ Linux director Linux │ lan0       10.2.0.11 10.2.0.12
#            │        10.1.0.1 (DIP)       10.2.0.1 (DIP)          │
#            │        10.1.0.100 (VIP)     10.2.0.200 (LIP)        │
#            │                                                     │
#            └──── 10.1.0.254  router, plain Linux  10.2.0.254 ────┘
#
# xwan and xlan belong to viplined through AF_XDP. Linux in the director sees their packets only
# through wan0 and lan0, the host interfaces that viplined makes. Linux does not forward there, so
# every packet that arrives was sent by viplined.
#
# What each method needs on the real servers:
#   nat      default route over 10.2.0.1: every reply passes the director
#   dr       VIP on lo, silent in ARP; route to the clients over `router`, not through the director
#   tun      like dr, and a process that takes the outer IP header off (this also works if the kernel has no ipip)
#   fullnat  no route to the clients at all: the servers only know the director's local address

CLIENT=10.1.0.10
VIP=10.1.0.100
DIP_WAN=10.1.0.1
DIP_LAN=10.2.0.1
LIP=10.2.0.200
RIP_PREFIX=10.2.0.1 # rs1 is 10.2.0.11
DIRECTOR_TCP_PORT=2222
ROUTER_WAN=10.1.0.254
ROUTER_LAN=10.2.0.254

rip() { echo "$RIP_PREFIX$1"; }

# lab_up METHOD SERVERS: network and servers, everything but the director itself
lab_up() {
    local -
    set -e
    METHOD=$1 SERVERS=$2
    [[ $METHOD =~ ^(nat|dr|tun|fullnat)$ ]] || die "method $METHOD: expected nat, dr, tun or fullnat"
    [[ $SERVERS =~ ^[1-9]$ ]] || die "$SERVERS servers: expected 1 to 9"
    local n
    host switch
    bridge_frames_unseen
    ip -n "$LAB_NAME-switch" link add clients type bridge
    ip -n "$LAB_NAME-switch" link add servers type bridge
    ip -n "$LAB_NAME-switch" link set clients up
    ip -n "$LAB_NAME-switch" link set servers up

    host client
    plug client eth0 clients "$CLIENT/24"
    host router net.ipv4.ip_forward=1
    plug router clients clients "$ROUTER_WAN/24"
    plug router servers servers "$ROUTER_LAN/24"
    host director
    plug director xwan clients
    plug director xlan servers
    web_server director director "$DIRECTOR_TCP_PORT"

    content
    for ((n = 1; n <= SERVERS; n++)); do
        real_server "$n"
    done
    for ((n = 1; n <= SERVERS; n++)); do
        wait_ready 5 "rs$n-nginx" in_rs "$n" curl -sf -m 1 -o /dev/null http://127.0.0.1/
    done
    printf 'METHOD=%s SERVERS=%s\n' "$METHOD" "$SERVERS" >"$LAB_DIR/env"
}

# host NAME [SYSCTL…]: a namespace with nothing that sends packets by itself
host() {
    local ns=$LAB_NAME-$1
    shift
    ip netns add "$ns" || die "cannot make the namespace $ns"
    ip -n "$ns" link set lo up
    ip netns exec "$ns" sysctl -qw \
        net.ipv4.ip_forward=0 net.ipv4.conf.{all,default}.rp_filter=0 net.ipv4.conf.{all,default}.send_redirects=0 \
        net.ipv4.conf.{all,default}.accept_redirects=0 "$@"
    # Without IPv6 in the kernel there is nothing to switch off.
    [[ ! -e /proc/sys/net/ipv6 ]] || ip netns exec "$ns" sysctl -qw \
        net.ipv6.conf.{all,default}.accept_ra=0 net.ipv6.conf.{all,default}.autoconf=0 \
        net.ipv6.conf.{all,default}.router_solicitations=0 net.ipv6.conf.{all,default}.addr_gen_mode=1
}

# If the kernel has bridge netfilter, it is on in every new namespace. It drops malformed IP packets
# on the bridge, so these would never reach the director. This switches it off, only in the switch.
bridge_frames_unseen() {
    # shellcheck disable=SC2016 # for the inner shell
    in_ns switch sh -c 'for knob in /proc/sys/net/bridge/bridge-nf-call-*; do
        [ ! -e "$knob" ] || echo 0 >"$knob" || exit 1
    done' || die "cannot switch bridge netfilter off in the switch"
}

# plug HOST INTERFACE SEGMENT [ADDRESS]: a cable from HOST into SEGMENT
plug() {
    local host=$1 interface=$2 segment=$3 far=$1-$2
    # One queue: there is one worker, and one queue is the least work.
    ip link add "$interface" netns "$LAB_NAME-$host" numrxqueues 1 numtxqueues 1 type veth \
        peer name "$far" netns "$LAB_NAME-switch" numrxqueues 1 numtxqueues 1
    # Make veth behave like a wire. By default it hands over unfinished checksums and, without
    # AF_XDP at its end, oversized segments. With OFFLOAD=on that stays, as for virtual machines and
    # containers.
    if [[ ${OFFLOAD:-off} == off ]]; then
        in_ns "$host" ethtool -K "$interface" tx off tso off gso off gro off >/dev/null
        in_ns switch ethtool -K "$far" tx off tso off gso off gro off >/dev/null
    fi
    ip -n "$LAB_NAME-switch" link set "$far" master "$segment" up
    [[ -z ${4:-} ]] || ip -n "$LAB_NAME-$host" address add "$4" dev "$interface"
    ip -n "$LAB_NAME-$host" link set "$interface" up
}

real_server() {
    local n=$1 ns=$LAB_NAME-rs$1
    host "rs$n"
    plug "rs$n" eth0 servers "$(rip "$n")/24"
    case $METHOD in
    nat) ip -n "$ns" route add default via "$DIP_LAN" ;;
    dr | tun)
        in_rs "$n" sysctl -qw net.ipv4.conf.{all,eth0}.arp_ignore=1 net.ipv4.conf.{all,eth0}.arp_announce=2
        ip -n "$ns" address add "$VIP/32" dev lo
        ip -n "$ns" route add "${CLIENT%.*}.0/24" via "$ROUTER_LAN"
        ;;
    fullnat) ;;
    esac
    web_server "rs$n" "rs$n" 80 443 8080
    spawn "rs$n" "rs$n-udp" "$PYTHON" "$LAB_HOME/udp_server.py" "rs$n" 53 5353
    if [[ $METHOD == tun ]]; then
        spawn "rs$n" "rs$n-decap" "$PYTHON" "$LAB_HOME/decap.py" tunl0
        wait_ready 5 "rs$n-decap" ip -n "$ns" link show up dev tunl0
    fi
    wait_ready 5 "rs$n-udp" grep -q ready "$LAB_DIR/log/rs$n-udp"
}

# All real servers have the same files, so that any server can answer any request.
content() {
    head -c 50000000 /dev/urandom >"$LAB_DIR/www/large"
    head -c 100000 /dev/urandom >"$LAB_DIR/www/small"
}

# web_server HOST NAME PORT…: answers / with NAME, serves the files, and logs the clients
web_server() {
    local host=$1 name=$2 dir=$LAB_DIR/$2
    shift 2
    mkdir -p "$dir"
    cat >"$dir/nginx.conf" <<NGINX
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events { worker_connections 4096; }
http {
    log_format who '\$remote_addr \$server_addr \$server_port \$status \$request_uri';
    access_log access.log who;
    sendfile on;
    default_type text/plain;
    add_header X-Server $name always;
    server {
$(printf '        listen %s backlog=4096;\n' "$@")
        root $LAB_DIR/www;
        location = / { return 200 "$name\n"; }
    }
}
NGINX
    spawn "$host" "$name-nginx" nginx -p "$dir/" -e error.log -c nginx.conf
}
