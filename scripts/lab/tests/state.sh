# shellcheck shell=bash
# The director keeps its rules: over SIGTERM, over kill -9 at any moment, with a full disk, and with
# a broken state file.

lab_up nat 3
STATE=$LAB_DIR/state/state

# Thresholds without the numbers of connections.
saved() {
    vipline ipvsadm -Sn
    vipline ipvsadm -Ln --thresholds | awk '{ print $1, $2, $3, $4 }'
    vipline ipvsadm -L --timeout
    vipline mark save
    vipline sysctl -a
}
kept() { grep -q "$1" "$STATE" 2>/dev/null; }
log_has() { grep -q "$1" "$LAB_DIR/log/viplined"; }
notes() { vipline status | grep -c "^note: .*$1"; }

director_start
expect "before the first change there is no state" "" "$(ls "$LAB_DIR/state")"
write_rules
rule -A -f 7 -s wlc -p 60
rule -a -f 7 -r "$(rip 1):8080" -m -x 100 -y 50
rule --set 800 90 200
vipline mark -A PREROUTING -d "$VIP" -p tcp --dport 81 -j MARK --set-mark 7
vipline sysctl -w net.ipv4.vs.sloppy_tcp=1 net.ipv4.vs.sync_threshold="4 60" >/dev/null 2>&1
expect "a tunable is set" "net.ipv4.vs.sloppy_tcp = 1" "$(vipline sysctl net.ipv4.vs.sloppy_tcp)"
before=$(saved)
expect_true "a change is written soon" "the tunable in the state" "none" wait_until 5 kept 'sync_threshold'
expect "modes of the directory and the state" "700 600" "$(stat -c %a "$LAB_DIR/state" "$STATE" | xargs)"

director_end KILL
director_again
expect "after kill -9: rules, thresholds, timeouts, mark rules and tunables are the same" "$before" "$(saved)"
expect "after kill -9: 20 requests answered" 20 "$(http_requests 20 2>/dev/null | grep -c '^rs')"

vipline ipvsadm -e -t "$VIP:80" -r "$(rip 1):8080" -m -w 77
before=$(saved)
director_end TERM
expect "SIGTERM: exit status" 0 "$DIRECTOR_STATUS"
expect_true "SIGTERM right after a change: it is written" "weight 77" "$(grep -c . "$STATE") lines" kept '"weight":77'
director_again
expect "after SIGTERM: the rules are the same" "$before" "$(saved)"

# --- kill -9 in the middle of changes --------------------------------------------------------------------------------
# Weights go up by one. What the next director has must be a weight that was given, and not older
# than one that was on the disk before.
director_end TERM
cat >"$LAB_DIR/vipline.toml" <<TOML
memory_mb = 128
max_connections = 1024
state_dir = "state"

[[port]]
name = "wan"
device = "null"
TOML
rm -rf "$LAB_DIR/state"
director_again
rule -A -t "$VIP:80" -s wrr
rule -a -t "$VIP:80" -r "$(rip 1):8080" -m -w 1
for n in {1..50}; do rule -a -t "$VIP:80" -r "10.2.1.$n:80" -m; done
wait_until 5 kept '10.2.1.50'
weight() { vipline ipvsadm -Ln | awk -v rip="$(rip 1):8080" '$2 == rip { print $4 }'; }
turn_up() {
    local w=$1
    while vipline ipvsadm -e -t "$VIP:80" -r "$(rip 1):8080" -m -w $((w + 1)) 2>/dev/null; do
        w=$((w + 1))
        echo "$w" >"$LAB_DIR/weight"
    done
}
at=1 wrong="" moved=0
for round in {1..20}; do
    echo "$at" >"$LAB_DIR/weight"
    turn_up "$at" &
    turner=$!
    sleep "0.$((RANDOM % 40 + 10))"
    director_end KILL
    wait "$turner"
    given=$(cat "$LAB_DIR/weight")
    director_again
    now=$(weight)
    destinations=$(vipline ipvsadm -Ln | grep -c -- '->.*:.*Masq')
    # The last change may have been made without an answer.
    [[ $now -ge $at && $now -le $((given + 1)) && $destinations -eq 51 ]] ||
        wrong+="round $round: weight $now, not $at to $given, $destinations destinations; "
    [[ $now -eq $at ]] || moved=$((moved + 1))
    at=$now
done
expect "killed 20 times during changes: each time the state before or after a change" "" "$wrong"
expect_true "killed 20 times during changes: changes were kept" "more than 0 times" "$moved" test "$moved" -gt 0
expect "killed 20 times during changes: no broken state" "" "$(find "$LAB_DIR/state" -name 'state.[0-9]*')"

# --- a broken state ----------------------------------------------------------------------------------------------
director_end TERM
sed -i 's/wrr/rr/' "$STATE"
broken=$(sha256sum <"$STATE")
: >"$LAB_DIR/log/viplined"
printf -- '-A -t %s:8080 -s rr\n' "$VIP" >"$LAB_DIR/rules.ipvs"
sed -i '1i rules = "rules.ipvs"' "$LAB_DIR/vipline.toml"
printf '[sysctl]\npmtu_disc = 0\n' >>"$LAB_DIR/vipline.toml"
director_again
expect "a broken state: one line in the log" 1 "$(grep -c "the state $STATE is broken (the checksum is wrong): it is state.1 now" "$LAB_DIR/log/viplined")"
expect "a broken state is set aside as it was" "$broken" "$(sha256sum <"$STATE.1")"
expect "a broken state: the rules of the configuration" "-A -t $VIP:8080 -s rr" "$(vipline ipvsadm -Sn)"
expect "a broken state: the tunables of the configuration" 0 "$(vipline sysctl -n pmtu_disc)"

# --- the configuration's rules count until there is a state --------------------------------------------------------
director_end KILL
printf -- '-A -t %s:8081 -s rr\n' "$VIP" >"$LAB_DIR/rules.ipvs"
director_again
expect "without a state, a changed rules file counts" "-A -t $VIP:8081 -s rr" "$(vipline ipvsadm -Sn)"
rule -A -t "$VIP:8082" -s rr
director_end TERM
printf -- '-A -t %s:8083 -s rr\n' "$VIP" >"$LAB_DIR/rules.ipvs"
director_again
expect "with a state, the rules file does not count" "-A -t $VIP:8081 -s rr -A -t $VIP:8082 -s rr" "$(vipline ipvsadm -Sn | xargs)"
# shellcheck disable=SC2016 # the log has these quotes
expect_true "with a state, the log says so" "a line about rules" "none" \
    log_has '`rules` and `\[sysctl\]` of the configuration were not loaded, because there is a state'

# --- the disk is full, and then it is not ----------------------------------------------------------------------------
director_end TERM
mount -t tmpfs -o size=64k,mode=700 state "$LAB_DIR/state"
director_again
head -c 1M /dev/zero >"$LAB_DIR/state/filler" 2>/dev/null
rule -A -t "$VIP:9000" -s rr
expect_true "disk full: the log says so" "No space left on device" "none" wait_until 5 log_has 'state.* No space left on device'
expect "disk full: the change is in effect" 1 "$(vipline ipvsadm -Sn | grep -c ':9000')"
expect "disk full: status says so" 1 "$(notes 'No space left on device')"
rm "$LAB_DIR/state/filler"
expect_true "room again: the change is written" ":9000 in the state" "none" wait_until 5 kept 9000
expect_true "room again: the log says so" "is written to … again" "none" wait_until 5 log_has "the state is written to $STATE again"
expect "room again: status does not complain" 0 "$(notes state)"

mount -o remount,ro "$LAB_DIR/state"
rule -A -t "$VIP:9001" -s rr
expect_true "read-only: the log says so" "Read-only file system" "none" wait_until 5 log_has 'state.* Read-only file system'
expect "read-only: told once" 1 "$(grep -c 'Read-only file system' "$LAB_DIR/log/viplined")"
director_end KILL
director_again
expect "read-only: the next start has the last state that was written" "1 0" \
    "$(vipline ipvsadm -Sn | grep -c ':9000') $(vipline ipvsadm -Sn | grep -c ':9001')"
director_end TERM
umount "$LAB_DIR/state"
