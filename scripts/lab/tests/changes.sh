# shellcheck shell=bash
# Rules change under traffic. Six long downloads and a constant stream of short requests run, while
# a real server dies, is removed, comes back, and weights change. Only connections of the dead
# server may fail.

lab_up nat 3
director_start
service=$VIP:80
rule -A -t "$service" -s wrr
for n in 1 2 3; do
    rule -a -t "$service" -r "$(rip "$n"):80" -m -w 1
done

server_of() { sed -n 's/^X-Server: \(rs[0-9]\).*/\1/p' "$LAB_DIR/download.$1.head" 2>/dev/null; }
has_server() { [[ -n $(server_of "$1") ]]; }

for i in {1..6}; do
    # Each takes about eight seconds: longer than all changes below.
    spawn client "download.$i" timeout 40 curl -sS --limit-rate 6M -D "$LAB_DIR/download.$i.head" \
        -o "$LAB_DIR/download.$i" "http://$service/large"
    wait_until 5 has_server "$i" || fail "download $i" "an answer" "$(cat "$LAB_DIR/log/download.$i")"
done
# shellcheck disable=SC2016 # for the shell in the client
spawn client requests bash -c 'while :; do curl -s -m 2 -o /dev/null -w "%{http_code} %header{x-server}\n" "$1"; done' - "http://$service/"
requests=$LAB_DIR/log/requests
wait_until 5 test -s "$requests"

# Collects the short requests of one second that begin after the call. A request that has begun
# before may belong to the dead server; it then ends by its time limit.
a_second_of_requests() {
    local before
    before=$(lines)
    wait_until 4 more_lines_than "$before"
    sleep 1
    tail -n +$((before + 2)) "$requests" >"$LAB_DIR/second"
}
lines() { wc -l <"$requests"; }
more_lines_than() { [[ $(lines) -gt $1 ]]; }
answers() { sort -u "$LAB_DIR/second" | tr '\n' ' ' | sed 's/ $//'; }

a_second_of_requests
expect "short requests reach all servers" "200 rs1 200 rs2 200 rs3" "$(answers)"

stop rs1-nginx KILL
rule -d -t "$service" -r "$(rip 1):80"
a_second_of_requests
expect "rs1 dead and taken out: every request answered by the others" "200 rs2 200 rs3" "$(answers)"

spawn rs1 rs1-nginx nginx -p "$LAB_DIR/rs1/" -e error.log -c nginx.conf
wait_ready 5 rs1-nginx in_rs 1 curl -sf -m 1 -o /dev/null http://127.0.0.1/
rule -a -t "$service" -r "$(rip 1):80" -m -w 1
a_second_of_requests
expect "rs1 back: every request answered, by rs1 too" "200 rs1 200 rs2 200 rs3" "$(answers)"

rule -e -t "$service" -r "$(rip 2):80" -m -w 0
a_second_of_requests
expect "rs2 at weight 0: every request answered by the others" "200 rs1 200 rs3" "$(answers)"

rule -e -t "$service" -r "$(rip 2):80" -m -w 8
a_second_of_requests
expect "rs2 at weight 8: every request answered, by rs2 too" "200 rs1 200 rs2 200 rs3" "$(answers)"
read -r heavy all < <(awk '/rs2/ { heavy++ } { all++ } END { print heavy + 0, all + 0 }' "$LAB_DIR/second")
expect_true "rs2 at weight 8: its share is eight tenths ($heavy of $all)" "70 to 90 %" "$heavy of $all" \
    test $((heavy * 10)) -ge $((all * 7)) -a $((heavy * 10)) -le $((all * 9))

stop requests
wanted=$(digest "$LAB_DIR/www/large")
intact=0 others=0
for i in {1..6}; do
    [[ $(server_of "$i") != rs1 ]] || continue
    others=$((others + 1))
    wait_until 30 dead "$(pid_of "download.$i")"
    [[ $(digest "$LAB_DIR/download.$i") != "$wanted" ]] || intact=$((intact + 1))
done
expect "long downloads from rs2 and rs3" 4 "$others"
expect "long downloads from rs2 and rs3 that were complete, with the right SHA-256" "$others" "$intact"
