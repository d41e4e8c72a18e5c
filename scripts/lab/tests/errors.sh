# shellcheck shell=bash
# A daemon that cannot start prints one line with the reason, exits with the documented status, and
# leaves nothing behind. The control socket survives bad input.

lab_up nat 1

links() { in_director ip -br link | awk '{ print $1 }' | sort | tr '\n' ' '; }
before=$(links)

# refused WHAT STATUS PATTERN CONFIG [PREFIX…]: runs viplined with the file CONFIG, behind the
# command PREFIX
refused() {
    local what=$1 wanted=$2 pattern=$3 config=$4 status=0 lines
    shift 4
    in_director timeout 20 "$@" "$BIN/viplined" --config "$config" --runtime-dir "$LAB_DIR/refused" \
        >/dev/null 2>"$LAB_DIR/refused.err" || status=$?
    lines=$(grep -c '^viplined: ' "$LAB_DIR/refused.err")
    expect "$what: exit status" "$wanted" "$status"
    expect_true "$what: one line with the reason" "$pattern" "$(cat "$LAB_DIR/refused.err")" \
        test "$lines" -eq 1 -a "$(grep -cE "^viplined: .*$pattern" "$LAB_DIR/refused.err")" -eq 1
    expect "$what: the interfaces are as before" "$before" "$(links)"
    expect "$what: no socket left" "" "$(find "$LAB_DIR/refused" -type s 2>/dev/null)"
}

director_config
sed 's/af_xdp:xlan/af_xdp:nosuch/' "$LAB_DIR/vipline.toml" >"$LAB_DIR/nosuch.toml"
sed 's/host_interface = "lan0"/host_interface = "xwan"/' "$LAB_DIR/vipline.toml" >"$LAB_DIR/taken.toml"
sed 's/^poll = .*/pol = "busy"/' "$LAB_DIR/vipline.toml" >"$LAB_DIR/unknown.toml"
sed "1i rules = \"rules.ipvs\"" "$LAB_DIR/vipline.toml" >"$LAB_DIR/rules.toml"
printf -- '-A -t %s:80 -s rr\n-a -t %s:80 -r 10.2.0.11:70000 -m\n' "$VIP" "$VIP" >"$LAB_DIR/rules.ipvs"
chmod 755 "$LAB_DIR"

refused "no such file" 2 "nothere.toml" "$LAB_DIR/nothere.toml"
refused "an unknown key" 2 "unknown.toml:1:1.*pol" "$LAB_DIR/unknown.toml"
refused "no such interface" 1 "nosuch" "$LAB_DIR/nosuch.toml"
refused "a host interface whose name is taken" 1 "xwan" "$LAB_DIR/taken.toml"
refused "an invalid rule" 2 "rules.ipvs.*line 2" "$LAB_DIR/rules.toml"
mkdir -p "$LAB_DIR/refused" && chmod 777 "$LAB_DIR/refused" && rm -f "$LAB_DIR/refused"/*
refused "no permission" 1 "[Pp]ermission|[Nn]ot permitted|privilege" "$LAB_DIR/vipline.toml" \
    setpriv --reuid 65534 --regid 65534 --clear-groups

# On a machine without visible huge pages the director serves all the same, and says what it lacks.
director_config
read -ra command < <(director_command)
# shellcheck disable=SC2016 # for the inner shell
spawn director viplined unshare -m sh -c 'mount -t tmpfs none /sys/kernel/mm/hugepages && exec "$@"' sh "${command[@]}"
wait_ready 20 viplined vipline status
write_rules
expect "without huge pages: 10 requests answered" 10 "$(http_requests 10 2>/dev/null | grep -c '^rs')"
expect_true "without huge pages: a line in the log" "a line about huge pages" "none" \
    grep -rq "not enough free huge pages" "$LAB_DIR" --include='*viplined*'

expect "the control socket's mode" 600 "$(stat -c %a "$LAB_DIR/run/control.sock")"
for garbage in 'GET / HTTP/1.0\r\n\r\n' '\xff\xff\xff\xff' '\x00\x00\x00\x02{]' '\x00\x00\x10\x00half'; do
    printf '%b' "$garbage" | timeout 5 python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(3)
s.sendall(sys.stdin.buffer.read()); s.shutdown(socket.SHUT_WR)
try: s.recv(100)
except OSError: pass' "$LAB_DIR/run/control.sock" || true
done
expect "after bad input on the socket: 10 requests answered" 10 "$(http_requests 10 2>/dev/null | grep -c '^rs')"
status=0
vipline status >/dev/null 2>&1 || status=$?
expect "after bad input on the socket: status answers" 0 "$status"
