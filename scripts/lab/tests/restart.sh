# shellcheck shell=bash
# A director is killed, started twice, or asked to end: what does it leave, and does the next one
# start?

lab_up nat 3

serve() {
    director_start
    rule -C
    write_rules
}
answered() { http_requests 30 2>/dev/null | grep -c '^rs'; }
taps() { in_director ip -br link | awk '$1 ~ /^(wan0|lan0)/ { printf "%s ", $1 }'; }
route() { in_director ip route show 10.99.0.0/16 | xargs; }
sockets() { find "$LAB_DIR/run" -type s 2>/dev/null; }
# Files that viplined maps from a hugetlbfs mount, without deleted ones.
huge_files() {
    local mounts
    mounts=$(awk '$3 == "hugetlbfs" { printf "%s%s/", bar, $2; bar = "|" }' /proc/mounts)
    [[ -z $mounts ]] || grep -oE " ($mounts).*" "/proc/$(pid_of viplined)/maps" | grep -v '(deleted)$' | sort -u
}

serve
expect "30 requests answered" 30 "$(answered)"

for round in 1 2; do
    director_end KILL
    expect "killed ($round): its host interfaces are gone" "" "$(taps)"
    serve
    expect "started again ($round): 30 requests answered" 30 "$(answered)"
    expect "started again ($round): the route of the configuration exists" "10.99.0.0/16 via $(rip 1) dev lan0 proto static" "$(route)"
done

read -ra command < <(director_command)
status=0
in_director timeout 10 "${command[@]}" 2>"$LAB_DIR/second.err" >&2 || status=$?
expect_true "a second daemon in the same place refuses" "exit 1 or 2" "exit $status" test "$status" -eq 1 -o "$status" -eq 2
expect "a second daemon in the same place says why in one line" 1 "$(wc -l <"$LAB_DIR/second.err")"
expect "the first daemon goes on: 30 requests answered" 30 "$(answered)"

files=$(huge_files)
director_end TERM
expect "SIGTERM: exit status" 0 "$DIRECTOR_STATUS"
expect "SIGTERM: its host interfaces are gone" "" "$(taps)"
expect "SIGTERM: its sockets are gone" "" "$(sockets)"
# shellcheck disable=SC2086 # one word a file
expect "SIGTERM: its hugepage files are gone" "" "${files:+$(ls -d $files 2>/dev/null)}"
status=0
vipline status >/dev/null 2>&1 || status=$?
expect "vipline status without a daemon: exit status" 3 "$status"
