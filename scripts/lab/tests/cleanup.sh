# shellcheck shell=bash
# If the demo is interrupted at any point, it leaves no namespace, no process and no file.

export VIPLINE_LABS=$LAB_DIR/labs TMPDIR=$LAB_DIR/labs VIPLINE_BIN=$BIN
# Background jobs of a script ignore SIGINT, and under nohup also SIGHUP, and so does all that they
# start. Jobs of a terminal do not. This starts the demo as a terminal does.
as_from_a_terminal='import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); signal.signal(signal.SIGHUP, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])'
nested() { basename -a "$VIPLINE_LABS"/vipline-lab.* 2>/dev/null | sed -n 's/^vipline-lab\.\([^*]*\)$/vl-\1/p'; }
has_nested() { [[ -n $(nested) ]]; }
in_place() { [[ -e /run/netns/$(nested)-$1 ]]; }

# interrupt SIGNAL HOST SECONDS: sends the signal SECONDS after HOST exists
interrupt() {
    mkdir -p "$VIPLINE_LABS"
    "$PYTHON" -c "$as_from_a_terminal" "$REPO/scripts/demo" --method tun >"$LAB_DIR/demo.out" 2>&1 &
    local pid=$! status=0 name left
    wait_until 10 has_nested
    name=$(nested)
    wait_until 10 in_place "$2"
    sleep "$3"
    kill "-$1" "$pid"
    wait_until 20 dead "$pid" || kill -KILL "$pid"
    wait "$pid" || status=$?
    expect_true "SIG$1 $3 s after $2: the demo says it was interrupted" "exit 130 or 143" "exit $status" test "$status" -eq 130 -o "$status" -eq 143
    left="$(find /run/netns -name "$name-*" | tr '\n' ' ')$(ls "$VIPLINE_LABS")$(pgrep -f "$VIPLINE_LABS" | tr '\n' ' ')"
    expect "SIG$1 $3 s after $2: the demo left nothing behind" "" "$left"
}

interrupt TERM client 0
interrupt INT rs1 0
interrupt HUP rs3 0.5
interrupt INT rs3 1.5
