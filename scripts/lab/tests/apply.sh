# shellcheck shell=bash
# `vipline apply` brings the rules to those of a file, while connections go on.

lab_up nat 3
director_start
echo "-C" >"$LAB_DIR/nothing.rules"
expect "no rules, and none wanted: nothing to change" "$LAB_DIR/nothing.rules: 0 changes made" "$(vipline apply "$LAB_DIR/nothing.rules")"
write_rules

rules=$LAB_DIR/new.rules
{ vipline ipvsadm -Sn; vipline mark save; } >"$rules"
expect "the present rules: nothing to change" "$rules: 0 changes made" "$(vipline apply "$rules")"
{
    grep -v -- "-r $(rip 3):8080" "$rules"
    echo "-A -t $VIP:8080 -s rr"
    echo "-a -t $VIP:8080 -r $(rip 2):8080 -m"
    echo "net.ipv4.vs.sloppy_tcp = 1"
} >"$rules.2"
sed -i '/^-A -u/i -a -t '"$VIP"':80 -r 10.2.0.14:8080 -m -w 9' "$rules.2"
before=$(vipline ipvsadm -Sn)
wanted="ipvsadm -d -t $VIP:80 -r $(rip 3):8080
ipvsadm -a -t $VIP:80 -r 10.2.0.14:8080 -m -w 9
ipvsadm -A -t $VIP:8080 -s rr
ipvsadm -a -t $VIP:8080 -r $(rip 2):8080 -m -w 1
sysctl -w net.ipv4.vs.sloppy_tcp=1"
expect "--dry-run prints what would be changed" "$wanted
$rules.2: 5 changes would be made" "$(vipline apply --dry-run "$rules.2")"
expect "--dry-run changes nothing" "$before" "$(vipline ipvsadm -Sn)"
epoch() { vipline status --json | "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)["epoch"])'; }
# in_one_change: applies the two files in turn, until the rules' number rises by one. Each time a
# neighbour may come or go, and that makes another number.
in_one_change() {
    local file old
    for file in "$rules" "$rules.2" "$rules" "$rules.2" "$rules" "$rules.2"; do
        old=$(epoch)
        vipline apply "$file" >/dev/null
        [[ $(epoch) -ne $((old + 1)) ]] || { echo yes; return; }
    done
    echo no
}
expect "apply prints what it changes" "$wanted" "$(vipline apply "$rules.2" | head -n 5)"
expect "apply is one change for the worker" yes "$(in_one_change)"
vipline apply "$rules.2" >/dev/null
expect "the rules are those of the file" "$(grep '^-' "$rules.2" | sort)" "$(vipline ipvsadm -Sn | sed '/8080 -r/s/ -w 1$//' | sort)"

sed "3s/-r [^ ]*/-r nowhere/" "$rules.2" >"$rules.3"
before=$(vipline ipvsadm -Sn)
status=0
said=$(vipline apply "$rules.3" 2>&1) || status=$?
expect "a wrong line: exit status, file, line and column" "1 vipline: $rules.3:3:24: illegal real server address[:port] specified" "$status $said"
expect "a wrong line: nothing changes" "$before" "$(vipline ipvsadm -Sn)"
