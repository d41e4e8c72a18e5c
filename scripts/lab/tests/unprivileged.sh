# shellcheck shell=bash
# The director runs as another user with exactly the capabilities of docs/viplined.service. If one
# is missing, the daemon names it and refuses, before it touches anything.

lab_up nat 2
director_config
chmod 711 "$LAB_DIR"
install -d -m 755 "$LAB_DIR/bin"
install -m 755 "$BIN/viplined" "$LAB_DIR/bin/viplined"
install -d -m 711 -o 65534 -g 65534 "$LAB_DIR/run"

unit=$REPO/docs/viplined.service
mapfile -t granted < <(sed -n 's/^AmbientCapabilities=//p' "$unit" | tr ' ' '\n' | sed 's/^CAP_//' | tr '[:upper:]' '[:lower:]')
expect "the unit bounds what it grants" "$(sed -n 's/^AmbientCapabilities=//p' "$unit")" "$(sed -n 's/^CapabilityBoundingSet=//p' "$unit")"

# command_with CAPABILITY…: sets $command to the command line of the daemon as user nobody with
# these capabilities
command_with() {
    local set=-all name
    for name in "$@"; do set+=,+$name; done
    command=(setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs --inh-caps="$set" --ambient-caps="$set"
        --bounding-set="$set" "$LAB_DIR/bin/viplined" --config "$LAB_DIR/vipline.toml" --runtime-dir "$LAB_DIR/run")
}

in_director ip link set xwan down
for less in "${granted[@]}"; do
    others=()
    for name in "${granted[@]}"; do [[ $name == "$less" ]] || others+=("$name"); done
    command_with "${others[@]}"
    status=0
    # With an unlimited memlock limit, ipc_lock would not be needed.
    in_director prlimit --memlock=65536:65536 timeout 10 "${command[@]}" >"$LAB_DIR/err" 2>&1 || status=$?
    expect "without $less: exit status" 1 "$status"
    expect "without $less: says so in one line" "1 1" "$(wc -l <"$LAB_DIR/err") $(grep -c "^viplined: Permission denied: viplined lacks CAP_${less^^} (" "$LAB_DIR/err")"
done
expect "the refusals left the device down" 1 "$(in_director ip link show dev xwan | grep -c 'state DOWN')"

command_with "${granted[@]}"
spawn director viplined prlimit --memlock=65536:65536 "${command[@]}"
wait_ready 20 viplined vipline status
write_rules
expect "the daemon runs as user nobody" 65534 "$(awk '/^Uid:/ { print $2 }' "/proc/$(pid_of viplined)/status")"
expect "30 requests answered" 30 "$(http_requests 30 2>/dev/null | grep -c '^rs')"
director_end TERM
expect "SIGTERM: exit status" 0 "$DIRECTOR_STATUS"
expect "no XDP program is left" 0 "$(in_director ip link show dev xwan | grep -c prog/xdp)"
