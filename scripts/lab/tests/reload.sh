# shellcheck shell=bash
# SIGHUP and `vipline reload` take up a changed configuration: all or nothing, while connections go
# on.

lab_up nat 3
eval "plain_$(declare -f director_config)"
director_config() {
    plain_director_config
    sed -i '1i rules = "rules.ipvs"\nmarks = "marks.rules"\nlog_level = "info"' "$LAB_DIR/vipline.toml"
    printf '[sysctl]\nsloppy_tcp = 1\n' >>"$LAB_DIR/vipline.toml"
}
rules() {
    echo "-A -t $VIP:80 -s wrr"
    for n in "$@"; do echo "-a -t $VIP:80 -r $(rip "$n"):8080 -m -w 1"; done
}
listed() { vipline ipvsadm -Sn; }
is_listed() { [[ $(listed) == "$1" ]]; }
log_lines() { grep -c "$1" "$LAB_DIR/log/viplined"; }

rules 1 2 >"$LAB_DIR/rules.ipvs"
: >"$LAB_DIR/marks.rules"
director_start
expect "nothing has changed: nothing is done" "0 changes made" "$(vipline reload)"

rules 1 2 3 >"$LAB_DIR/rules.ipvs"
kill -HUP "$(pid_of viplined)"
expect_true "SIGHUP: the new destination is there" "rs3" "$(listed)" wait_until 5 is_listed "$(rules 1 2 3)"
expect "SIGHUP: one line in the log" 1 "$(log_lines 'vipline.toml was read again: 1 change made')"
expect "as nobody changed anything by a command, there is no state" "" "$(ls "$LAB_DIR/state")"

rules 2 3 >"$LAB_DIR/rules.ipvs"
echo "-A PREROUTING -p udp -j MARK --set-mark 9" >"$LAB_DIR/marks.rules"
sed -i 's/^sloppy_tcp = 1/sloppy_tcp = 0/; s/^poll = .*/poll = "busy"/; s/^max_connections = .*/max_connections = 1000/' "$LAB_DIR/vipline.toml"
sed -i '0,/^addresses = .*/s//addresses = ["10.1.0.1\/24"]/' "$LAB_DIR/vipline.toml"
expect "reload prints what it changes, and what needs a restart" "ipvsadm -d -t $VIP:80 -r $(rip 1):8080
sysctl -w net.ipv4.vs.sloppy_tcp=0
mark -I PREROUTING 1 -p udp -j MARK --set-xmark 0x9/0xffffffff
3 changes made
\`poll\`: changed, takes effect at the next start
\`max_connections\`: changed, takes effect at the next start
port wan, \`addresses\`: changed, takes effect at the next start" "$(vipline reload 2>/dev/null)"
expect "reload: the log names each key that needs a restart" 3 "$(log_lines 'changed, takes effect at the next start')"
expect "reload: the rules are those of the file" "$(rules 2 3)" "$(listed)"
expect "reload: 10 requests answered" 10 "$(http_requests 10 2>/dev/null | grep -c '^rs')"

# refused WHAT WORDS: reload must fail and change nothing
refused() {
    local before status=0 said
    before=$(listed)
    said=$(vipline reload 2>&1 >/dev/null) || status=$?
    expect_true "$1: refused in one line" "exit 1, $2" "exit $status, $said" \
        test "$status" -eq 1 -a "$(grep -c "^vipline: .*$2" <<<"$said")" -eq 1 -a "$(wc -l <<<"$said")" -eq 1
    expect "$1: nothing changes" "$before" "$(listed)"
}
{ rules 1; echo "-a -t $VIP:81 -r $(rip 1):8080 -m"; } >"$LAB_DIR/rules.ipvs"
refused "a rule without a service" "rules.ipvs: line 3: Service not defined"
rules 1 >"$LAB_DIR/rules.ipvs"
echo "-A PREROUTING -i eth9 -j ACCEPT" >"$LAB_DIR/marks.rules"
refused "a wrong mark rule" "marks.rules: line 1: "
: >"$LAB_DIR/marks.rules"
sed -i 's/^poll = .*/poll = "never"/' "$LAB_DIR/vipline.toml"
refused "a wrong key" "vipline.toml:[0-9]*:[0-9]*: .poll. cannot be"
expect "the log names each of them" 3 "$(log_lines 'reloading failed, and nothing changed: ')"

sed -i 's/^poll = .*/poll = "adaptive"/; s/^log_level = .*/log_level = "error"/' "$LAB_DIR/vipline.toml"
vipline reload >/dev/null 2>&1
before=$(log_lines SIGHUP)
kill -HUP "$(pid_of viplined)"
vipline reload >/dev/null 2>&1
expect "log_level error: SIGHUP leaves no line" "$before" "$(log_lines SIGHUP)"
sed -i 's/^log_level = .*/log_level = "info"/' "$LAB_DIR/vipline.toml"
vipline reload >/dev/null 2>&1
kill -HUP "$(pid_of viplined)"
says_so() { [[ $(log_lines SIGHUP) -gt $before ]]; }
expect_true "log_level info: SIGHUP leaves a line again" "a line" "none" wait_until 5 says_so
expect "a marks file without rules deletes them" "0" "$(vipline mark save | grep -c -- '-A')"

# With a state, reload still takes the files up, and the state follows.
rule -A -t "$VIP:82" -s rr
wait_until 5 test -s "$LAB_DIR/state/state"
expect "with a state: reload takes the rules file up" "ipvsadm -D -t $VIP:82" "$(vipline reload 2>/dev/null | head -n 1)"
director_end TERM
expect "with a state: the state has what reload made" 0 "$(grep -c '"port":82' "$LAB_DIR/state/state")"
