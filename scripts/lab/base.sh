# shellcheck shell=bash
# shellcheck disable=SC2034 # constants for the scripts that source this
# A lab is one directory, namespaces with one prefix, and processes in these namespaces. Its
# directory is vipline-lab.XXXXXX; its namespaces are vl-XXXXXX-HOST. Taking a lab down ends only
# the processes in its namespaces. So two labs, or a lab and a production director, can run on one
# machine.

LAB_HOME=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPO=$(cd "$LAB_HOME/../.." && pwd)
PYTHON=/usr/bin/python3 # Debian's, which scripts/setup installs
LABS=${VIPLINE_LABS:-/tmp} # where the directories of labs are; short, since unix sockets inside have 107 characters

die() { echo "${0##*/}: $*" >&2; exit 1; }

need_root() {
    [[ $EUID -eq 0 ]] || die "needs root for network namespaces: sudo $0"
    [[ -c /dev/net/tun ]] || die "needs /dev/net/tun: modprobe tun, or start the container with this device"
    local probe=vl-probe-$$ said
    said=$(ip netns add "$probe" 2>&1) || die "cannot make a network namespace here: $said"
    ip netns del "$probe"
}

# --- one lab -------------------------------------------------------------------------------------------------------

lab_new() {
    LAB_DIR=$(mktemp -d "$LABS/vipline-lab.XXXXXX") || die "cannot make a directory in $LABS"
    LAB_NAME=vl-${LAB_DIR##*.}
    mkdir "$LAB_DIR"/{log,pids,www}
}

lab_open() {
    LAB_DIR=$LABS/vipline-lab.${1#vl-}
    LAB_NAME=vl-${1#vl-}
    [[ -d $LAB_DIR ]] || die "no lab $1; these are up: $(lab_list | tr '\n' ' ')"
}

lab_list() {
    local dir
    for dir in "$LABS"/vipline-lab.*; do
        [[ -d $dir/pids ]] && echo "vl-${dir##*.}"
    done
    return 0
}

lab_pids() {
    local host
    for host in $(lab_hosts); do
        ip netns pids "$LAB_NAME-$host" 2>/dev/null
    done
}

# Not `ip netns list`: it fails if somebody else is just removing a namespace.
lab_hosts() { find /run/netns -maxdepth 1 -name "$LAB_NAME-*" -printf '%f\n' 2>/dev/null | sed "s/^$LAB_NAME-//"; }

# Takes the lab down: sends SIGTERM to its processes, SIGKILL after five seconds, then removes
# namespaces and directory.
lab_down() {
    local host pids left
    pids=$(lab_pids)
    # shellcheck disable=SC2086 # one word a pid
    [[ -z $pids ]] || kill -TERM $pids 2>/dev/null
    wait_until 5 lab_is_quiet || {
        pids=$(lab_pids)
        # shellcheck disable=SC2086
        [[ -z $pids ]] || kill -KILL $pids 2>/dev/null
        wait_until 5 lab_is_quiet
    }
    for host in $(lab_hosts); do
        ip netns del "$LAB_NAME-$host"
    done
    rm -rf "$LAB_DIR"
    left=$(lab_hosts)
    [[ -z $left && ! -e $LAB_DIR ]] || { echo "lab: could not remove all of $LAB_NAME: $left $LAB_DIR" >&2; return 1; }
}

lab_is_quiet() {
    local pid
    for pid in $(lab_pids); do
        alive "$pid" && return 1
    done
    return 0
}

# guard SECONDS COMMAND…: makes a lab, runs COMMAND in a process group of its own, and takes the lab
# down again. It does so however COMMAND ends: by itself, by Ctrl-C, SIGTERM, SIGHUP or by the time
# limit. With KEEP=yes only a signal takes the lab down. Call guard as a plain statement and check
# $? afterwards: inside a condition, bash would switch off `set -e` in lab_up.
guard() {
    local limit=$1 child clock status signal=0 failed
    shift
    failed=$(count_results fail)
    trap 'signal=130' INT
    trap 'signal=143' TERM HUP
    lab_new
    set -m
    (set +m; trap - INT TERM HUP; "$@") </dev/null &
    child=$!
    (sleep "$limit"; echo "${0##*/}: gave up after $limit s" >&2; kill -TERM -- "-$child") </dev/null 2>&1 &
    clock=$!
    set +m
    [[ $signal -ne 0 ]] || wait "$child"
    status=$?
    kill -TERM -- "-$clock" 2>/dev/null
    if alive "$child"; then
        kill -TERM -- "-$child" 2>/dev/null
        wait_until 2 dead "$child" || kill -KILL -- "-$child" 2>/dev/null
    fi
    wait "$child" "$clock" 2>/dev/null
    [[ $signal -ne 0 ]] || [[ $status -eq 0 && $(count_results fail) -eq $failed ]] || last_words
    if [[ ${KEEP:-no} != yes || $signal -ne 0 ]]; then
        # A second Ctrl-C must not stop the cleaning.
        (trap '' INT TERM HUP; lab_down) || status=1
    fi
    trap - INT TERM HUP
    [[ $signal -eq 0 ]] || exit "$signal"
    return "$status"
}

# Prints the last lines of the director's log, before the lab with the log is removed.
last_words() {
    [[ ! -s $LAB_DIR/log/viplined ]] || tail -n 5 "$LAB_DIR/log/viplined" | sed 's/^/        log: /'
}

# --- processes in it -----------------------------------------------------------------------------------------------

in_ns() { local host=$1; shift; ip netns exec "$LAB_NAME-$host" "$@"; }
in_client() { in_ns client "$@"; }
in_director() { in_ns director "$@"; }
in_rs() { local n=$1; shift; in_ns "rs$n" "$@"; }

# spawn HOST NAME COMMAND…: runs COMMAND in the background; its output is in log/NAME, its pid in
# pids/NAME and in $SPAWNED
spawn() {
    local host=$1 name=$2
    shift 2
    setsid ip netns exec "$LAB_NAME-$host" "$@" </dev/null >>"$LAB_DIR/log/$name" 2>&1 &
    SPAWNED=$!
    echo "$SPAWNED" >"$LAB_DIR/pids/$name"
}

pid_of() { cat "$LAB_DIR/pids/$1"; }

# waited NAME…: how many ms the threads of spawned processes waited for a CPU. It shows whether the
# process was slow or the machine was busy.
waited() {
    local name
    for name in "$@"; do
        cat "/proc/$(pid_of "$name")"/task/*/schedstat
    done | awk '{ sum += $2 } END { printf "%d", sum / 1e6 }'
}

# A zombie counts as dead: there may be nobody to collect it.
alive() { [[ -e /proc/$1/stat && $(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null) =~ ^[^ZX]$ ]]; }
dead() { ! alive "$1"; }

# end PID SIGNAL: sends the signal; true if the process ends within ten seconds
end() {
    kill "-$2" "$1" 2>/dev/null || true
    # Collect the process at once; otherwise bash reports the kill on stderr.
    [[ $2 != KILL ]] || wait "$1" 2>/dev/null || true
    wait_until 10 dead "$1"
}

# stop NAME [SIGNAL]: ends one spawned process, with SIGKILL if needed
stop() {
    local pid
    pid=$(pid_of "$1")
    end "$pid" "${2:-TERM}" || end "$pid" KILL
    rm -f "$LAB_DIR/pids/$1"
}

# wait_until SECONDS COMMAND…: waits until COMMAND succeeds; false after SECONDS
wait_until() {
    local deadline=$((${EPOCHREALTIME/./} + $1 * 1000000))
    shift
    until "$@"; do
        [[ ${EPOCHREALTIME/./} -lt $deadline ]] || return 1
        sleep 0.02
    done
}

# wait_ready SECONDS NAME COMMAND…: waits for a spawned process until COMMAND succeeds. If it does
# not succeed in time, or the process ends before, the script ends and prints the process's last
# lines.
wait_ready() {
    local seconds=$1 name=$2
    shift 2
    wait_until "$seconds" ready_or_dead "$name" "$@"
    "$@" >/dev/null 2>&1 && alive "$(pid_of "$name")" && return
    local state="is not ready after $seconds s"
    alive "$(pid_of "$name")" || state="ended at its start"
    die "$name $state; its last words: $(tail -n 5 "$LAB_DIR/log/$name")"
}

ready_or_dead() {
    local name=$1
    shift
    "$@" >/dev/null 2>&1 || dead "$(pid_of "$name")"
}
