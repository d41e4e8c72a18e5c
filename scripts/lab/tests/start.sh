# shellcheck shell=bash
# Errors are found before any device is touched. One line says what is wrong and what to do.

lab_up nat 2
director_config
cp "$LAB_DIR/vipline.toml" "$LAB_DIR/good.toml"

# refused WHAT EXIT WORDS [COMMAND…]: runs viplined, behind COMMAND if it is given. viplined must
# exit with EXIT. Its error line must contain WORDS; all other lines must be from the log.
refused() {
    local what=$1 code=$2 words=$3 status=0 command
    shift 3
    read -ra command < <(director_command)
    in_director timeout 30 "$@" "${command[@]}" >"$LAB_DIR/out" 2>"$LAB_DIR/err" || status=$?
    expect "$what: exit status" "$code" "$status"
    expect "$what: says so in one line" "1 0" \
        "$(grep -c "^viplined: .*$words" "$LAB_DIR/err") $(grep -vcE '^viplined: |^20[0-9-]+T[0-9:.]+Z ' "$LAB_DIR/err")"
    expect "$what: nothing on stdout" "" "$(<"$LAB_DIR/out")"
}
# device DEVICE [LINE…]: writes a configuration with one port
device() {
    printf '%s\n' 'memory_mb = 256' 'max_connections = 65536' "${@:2}" '[[port]]' 'name = "wan"' "device = \"$1\"" \
        'host_interface = "wan0"' >"$LAB_DIR/vipline.toml"
}

# --- before any device -------------------------------------------------------------------------------------------
in_director ip link set xwan down
down() { expect "$1: the device is not even brought up" 1 "$(in_director ip link show dev xwan | grep -c 'state DOWN')"; }

echo '-A -t 10.1.0.100:80 -s rr
-a -t 10.1.0.100:81 -r 10.2.0.11 -m' >"$LAB_DIR/wrong.ipvs"
device af_xdp:xwan "rules = \"$LAB_DIR/wrong.ipvs\""
refused "rules without a service" 2 "wrong.ipvs: line 2: "
down "rules without a service"

echo '-A PREROUTING -i eth7 -j MARK --set-mark 1' >"$LAB_DIR/wrong.marks"
device af_xdp:xwan "marks = \"$LAB_DIR/wrong.marks\""
refused "marks of an unknown interface" 2 "wrong.marks: "
down "marks of an unknown interface"

device af_xdp:xwan
director_command() {
    local name=${1:-run}
    echo "$BIN/viplined" --config "$LAB_DIR/vipline.toml" --runtime-dir "$LAB_DIR/$name" --state-dir "$LAB_DIR/$name-state"
}
long=$(printf 'x%.0s' {1..100})
refused "a runtime directory too long for a socket" 1 "choose a shorter --runtime-dir" \
    bash -c "shift 4; exec \"$BIN/viplined\" --config \"$LAB_DIR/vipline.toml\" --runtime-dir \"$LAB_DIR/$long\" --state-dir \"$LAB_DIR/state\"" --
down "a runtime directory too long for a socket"

in_director ip link add wan0 type veth peer name wan9
refused "a host interface that exists" 1 "interface of that name already"
down "a host interface that exists"
in_director ip link del wan0

device af_xdp:xwan 'memory_mb = 100000000'
sed -i '/^memory_mb = 256/d' "$LAB_DIR/vipline.toml"
refused "more memory than there is" 2 "\`memory_mb\` is 100000000, but .* has [0-9]* MB in all"
down "more memory than there is"
expect "more memory than there is: the check says the same" 1 "$(vipline check "$LAB_DIR/vipline.toml" 2>&1 | grep -c 'MB in all')"

device af_xdp:xwan
refused "sysfs hidden" 1 "mount sysfs on /sys" unshare -m sh -c 'mount -t tmpfs none /sys && exec "$@"' --
down "sysfs hidden"
expect "check says what is needed and what is free" 1 \
    "$(vipline check "$LAB_DIR/vipline.toml" | grep -cE 'needs [0-9]+ MB of memory for 65536 connections and the rest; .* has [0-9]+ MB left')"

drivers=$(dirname "$(find /usr/lib -name 'librte_mempool_ring.so*' -path '*pmds*' | head -1)")
refused "no drivers of DPDK" 1 "DPDK has no drivers: $drivers is empty" \
    unshare -m sh -c "mount -t tmpfs none '$drivers' && exec \"\$@\"" --

# --- errors of the device -----------------------------------------------------------------------------------------
in_director ip link set lo mtu 1500
device af_xdp:lo
refused "an interface without XDP" 1 "does not support XDP.*take another interface"
in_director ip link add big0 mtu 1500 type veth peer name big1 mtu 9000
device af_xdp:big0
refused "a peer with an MTU of 9000" 1 "Peer MTU is too large to set XDP.*ip link set NAME mtu 1500"

cp "$LAB_DIR/good.toml" "$LAB_DIR/vipline.toml"
read -ra command < <(director_command first)
spawn director first "${command[@]}"
wait_until 20 grep -q serving "$LAB_DIR/log/first"
sed -i 's/wan0/wan1/; s/lan0/lan1/' "$LAB_DIR/vipline.toml"
refused "a device that another program uses" 1 "Device or resource busy.*another program has this queue of xwan"
expect "a device that another program uses: that program keeps it" 1 "$(in_director ip link show dev xwan | grep -c prog/xdp)"
stop first

# --- a table that takes long to make ---------------------------------------------------------------------------------
device af_xdp:xwan 'max_connections = 12000000'
sed -i 's/^memory_mb = 256/memory_mb = 2500/; /^max_connections = 65536/d' "$LAB_DIR/vipline.toml"
read -ra command < <(director_command)
spawn director viplined "${command[@]}"
wait_until 10 grep -q 'needs [0-9]* MB' "$LAB_DIR/log/viplined"
director_end TERM
expect "SIGTERM while the tables are made: exit status" 0 "$DIRECTOR_STATUS"
expect "SIGTERM while the tables are made: the daemon ended before it served" 1 "$(grep -c 'ended: SIGTERM, before it served' "$LAB_DIR/log/viplined")"
