# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # shared with the other files of the lab
# Prints one line for each check. The results go to a file, so that checks in subshells count too.

RESULTS=${RESULTS:-/dev/null}

pass() { echo "  ok    $1"; echo pass >>"$RESULTS"; }

fail() {
    echo "  FAIL  $1: expected $2, got ${3:-nothing}"
    echo fail >>"$RESULTS"
}

# expect WHAT EXPECTED GOT
expect() { if [[ $3 == "$2" ]]; then pass "$1"; else fail "$1" "$2" "$3"; fi; }

# expect_true WHAT EXPECTED GOT COMMAND…: like expect, but COMMAND decides instead of equality
expect_true() {
    local what=$1 expected=$2 got=$3
    shift 3
    if "$@"; then pass "$what"; else fail "$what" "$expected" "$got"; fi
}

# not_judged WHAT WHY: a check that could not be made here. It is counted, and the last lines of the
# run name it.
not_judged() {
    echo "  --    $1: not judged, $2"
    echo "skip" >>"$RESULTS"
}

count_results() { grep -c "$1" "$RESULTS"; }

# Notes for a person who watches; tests do not print them.
note() { [[ ${QUIET:-no} == yes ]] || echo "  $*"; }
