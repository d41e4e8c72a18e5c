# shellcheck shell=bash
# The tools never wait for a daemon without a time limit. The daemon notices if its runtime
# directory is deleted.

lab_up nat 2
director_start
write_rules

rules=$(vipline ipvsadm -Sn)
export VIPLINE_TIMEOUT=1
# silent WHAT EXIT COMMAND…: checks that the tool gives up and prints one line
silent() {
    local what=$1 code=$2 status=0
    shift 2
    "$@" >/dev/null 2>"$LAB_DIR/err" || status=$?
    expect "stopped daemon, $what: exit status" "$code" "$status"
    expect "stopped daemon, $what: says so in one line" "1 1" "$(wc -l <"$LAB_DIR/err") $(grep -c 'has not answered for 1 s' "$LAB_DIR/err")"
}
kill -STOP "$(pid_of viplined)"
silent status 3 vipline status
silent stats 3 vipline stats
silent conns 3 vipline conns
silent mark 3 vipline mark -S
silent "ipvsadm -Ln" 2 vipline ipvsadm -Ln
silent "ipvsadm -A" 2 vipline ipvsadm -A -t 10.9.9.9:80
silent "ipvsadm -Lnc" 2 vipline ipvsadm -Lnc
silent "ipvsadm -R of three lines" 2 vipline ipvsadm -R < <(printf -- '-A -t 10.9.9.%s:80\n' 1 2 3)
kill -CONT "$(pid_of viplined)"
unset VIPLINE_TIMEOUT

quiet() { "$@" >/dev/null 2>&1; }
noted() { vipline status 2>/dev/null | grep -q 'somebody has deleted the runtime directory'; }
answered() { http_requests 30 2>/dev/null | grep -c '^rs'; }
expect_true "the tool works again when the daemon goes on" "exit 0" "another" quiet vipline status

rm -rf "$LAB_DIR/run"
expect_true "a deleted runtime directory is made again" "within 8 s" "not" wait_until 8 quiet vipline status
expect_true "a deleted runtime directory: a line in the status" "a line" "none" noted
expect "a deleted runtime directory: a line in the log" 1 "$(grep -c 'somebody has deleted the runtime directory' "$LAB_DIR/log/viplined")"
rm "$LAB_DIR/run/control.sock"
expect_true "a deleted socket is made again" "within 8 s" "not" wait_until 8 quiet vipline status
expect "the daemon has the same rules as before" "$rules" "$(vipline ipvsadm -Sn)"
expect "30 requests answered" 30 "$(answered)"

rm "$LAB_DIR/run/viplined.pid"
read -ra command < <(director_command)
status=0
in_director timeout 10 "${command[@]}" 2>"$LAB_DIR/err" >&2 || status=$?
expect "without its pid file, still no second daemon starts: exit status" 1 "$status"
expect "the error says that a daemon already runs" 1 "$(grep -c 'already runs' "$LAB_DIR/err")"
director_end TERM
expect "SIGTERM: exit status" 0 "$DIRECTOR_STATUS"
expect "nothing is left in the runtime directory" "" "$(ls -A "$LAB_DIR/run")"
