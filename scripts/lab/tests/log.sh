# shellcheck shell=bash
# The log cannot stop or slow the director, even if stderr is on a full disk, has no reader, or has
# a reader that reads nothing.

lab_up nat 2
director_config
read -ra command < <(director_command)

# begin REDIRECTION: starts the director with this redirection of stderr
begin() {
    spawn director viplined bash -c "exec \"\$@\" $1" viplined "${command[@]}"
    wait_ready 20 viplined vipline status
    rule -C
    write_rules
}
# warnings COUNT: makes the director log COUNT warnings
warnings() { for ((i = 0; i < $1; i++)); do kill -HUP "$(pid_of viplined)"; sleep 0.0005; done; }
quiet() { "$@" >/dev/null; }
answered() { http_requests 30 2>/dev/null | grep -c '^rs'; }

# judge WHAT WARNINGS
judge() {
    warnings "$2"
    expect "$1: 30 requests answered" 30 "$(answered)"
    expect_true "$1: the tool is answered" "exit 0" "another" quiet vipline status
    director_end TERM
    expect "$1: SIGTERM, exit status" 0 "$DIRECTOR_STATUS"
}

begin '2>/dev/full'
warnings 5
expect "a full disk: the lost lines are counted" yes "$(vipline status | grep -q 'lines of the log were lost' && echo yes)"
judge "a full disk" 5

mkfifo "$LAB_DIR/pipe"
"$PYTHON" -c 'import sys, time; pipe = open(sys.argv[1]); time.sleep(1)' "$LAB_DIR/pipe" &
reader=$!
begin "2>'$LAB_DIR/pipe'"
wait "$reader"
judge "a pipe whose reader has gone" 5

# Opened for reading and writing, so that opening does not wait. Nobody reads. The pipe holds 64 kB,
# about 600 lines.
exec 7<>"$LAB_DIR/pipe"
begin "2>'$LAB_DIR/pipe'"
judge "a pipe that nobody reads" 1500

begin "2>'$LAB_DIR/err'"
kill -HUP "$(pid_of viplined)"
director_end TERM
expect "without the journal each line has a time stamp" 0 "$(grep -vcE '^(\x1b\[2m)?20[0-9]{2}-[0-9-]+T[0-9:.]+Z' "$LAB_DIR/err")"
expect "a line about a port has the port's name" yes "$(grep -qF 'port wan: af_xdp:xwan (net_af_xdp), ' "$LAB_DIR/err" && echo yes)"
expect "the last line says how the daemon ended" yes "$(tail -1 "$LAB_DIR/err" | grep -qE ' ended: SIGTERM, after [0-9]+ s$' && echo yes)"
touch "$LAB_DIR/journal"
JOURNAL_STREAM=$(stat -c '%d:%i' "$LAB_DIR/journal")
export JOURNAL_STREAM
begin "2>>'$LAB_DIR/journal'"
director_end TERM
unset JOURNAL_STREAM
expect "with the journal no line has a time stamp" 0 "$(grep -cvE '^ *(INFO|WARN) ' "$LAB_DIR/journal")"
expect "DPDK's directories are gone" "" "$(find /run/dpdk -maxdepth 1 -name "vipline-*" -newer "$LAB_DIR/vipline.toml" 2>/dev/null; ls -A "$LAB_DIR/run")"
