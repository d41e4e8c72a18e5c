# shellcheck shell=bash
# shellcheck disable=SC2034 # constants for the scripts that source this
# What a lab is made of: one directory, namespaces with one prefix, processes inside those. A lab is known by its
# directory vipline-lab.XXXXXX; its namespaces are vl-XXXXXX-HOST. Taking it down ends what runs in these
# namespaces and nothing else, so that two labs, or a lab and a production director, live on one machine.

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

# Not `ip netns list`: it stumbles over a namespace that somebody else is just removing.
lab_hosts() { find /run/netns -maxdepth 1 -name "$LAB_NAME-*" -printf '%f\n' 2>/dev/null | sed "s/^$LAB_NAME-//"; }

# Takes the lab down: asks its processes to end, insists after five seconds, removes namespaces and directory.
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

# guard SECONDS COMMAND…: makes a lab, runs COMMAND in a process group of its own and takes the lab down again, however
# COMMAND ends: by itself, by Ctrl-C, SIGTERM, SIGHUP or by taking too long. With KEEP=yes only a signal takes it down.
# Call it as a plain statement and look at $? afterwards: inside a condition bash would switch off `set -e` in lab_up.
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

# What the director said last, before the lab that holds its log is gone.
last_words() {
    [[ ! -s $LAB_DIR/log/viplined ]] || tail -n 5 "$LAB_DIR/log/viplined" | sed 's/^/        log: /'
}

# --- processes in it -----------------------------------------------------------------------------------------------

in_ns() { local host=$1; shift; ip netns exec "$LAB_NAME-$host" "$@"; }
in_client() { in_ns client "$@"; }
in_director() { in_ns director "$@"; }
in_rs() { local n=$1; shift; in_ns "rs$n" "$@"; }

# spawn HOST NAME COMMAND…: in the background; output in log/NAME, pid in pids/NAME and in $SPAWNED
spawn() {
    local host=$1 name=$2
    shift 2
    setsid ip netns exec "$LAB_NAME-$host" "$@" </dev/null >>"$LAB_DIR/log/$name" 2>&1 &
    SPAWNED=$!
    echo "$SPAWNED" >"$LAB_DIR/pids/$name"
}

pid_of() { cat "$LAB_DIR/pids/$1"; }

# waited NAME…: how long the threads of spawned processes were ready to run and did not, in ms: tells slow ones from a machine
# that is taken.
waited() {
    local name
    for name in "$@"; do
        cat "/proc/$(pid_of "$name")"/task/*/schedstat
    done | awk '{ sum += $2 } END { printf "%d", sum / 1e6 }'
}

# A zombie is dead: nobody may be there to collect it.
alive() { [[ -e /proc/$1/stat && $(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null) =~ ^[^ZX]$ ]]; }
dead() { ! alive "$1"; }

# end PID SIGNAL: true once it has ended; gives it ten seconds
end() {
    kill "-$2" "$1" 2>/dev/null || true
    # Collected at once, or bash would report the kill on stderr.
    [[ $2 != KILL ]] || wait "$1" 2>/dev/null || true
    wait_until 10 dead "$1"
}

# stop NAME [SIGNAL]: ends one spawned process, whatever it takes
stop() {
    local pid
    pid=$(pid_of "$1")
    end "$pid" "${2:-TERM}" || end "$pid" KILL
    rm -f "$LAB_DIR/pids/$1"
}

# wait_until SECONDS COMMAND…: true as soon as COMMAND is
wait_until() {
    local deadline=$((${EPOCHREALTIME/./} + $1 * 1000000))
    shift
    until "$@"; do
        [[ ${EPOCHREALTIME/./} -lt $deadline ]] || return 1
        sleep 0.02
    done
}

# wait_ready SECONDS NAME COMMAND…: waits for a spawned process until COMMAND is true. If it does not come true or the
# process ends before, that is the end of everything, with the process's last words.
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
