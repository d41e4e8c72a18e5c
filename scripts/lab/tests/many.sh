# shellcheck shell=bash
# Ten thousand services, loaded line by line while a download runs: a change must cost no more among
# many services than among few.

lab_up nat 1
director_start
write_rules
spawn client download timeout 60 curl -sS --limit-rate 8M -o "$LAB_DIR/download" "http://$VIP/large"

for ((i = 0; i < 10000; i++)); do
    service=10.9.$((i / 256)).$((i % 256)):80
    printf -- '-A -t %s -s wlc\n-a -t %s -r %s:8080 -m\n' "$service" "$service" "$(rip 1)"
done >"$LAB_DIR/many"
tool=("$BIN/vipline" --runtime-dir "$LAB_DIR/run" ipvsadm)
before=$SECONDS
in_director timeout 60 "${tool[@]}" -R <"$LAB_DIR/many" || fail "10 000 services" "exit 0" "exit $?"
expect_true "10 000 services loaded in $((SECONDS - before)) s" "at most 30 s" "$((SECONDS - before)) s" \
    test $((SECONDS - before)) -le 30
expect "all 10 002 services are listed" 10002 "$(in_director timeout 20 "${tool[@]}" -Ln | grep -cE '^(TCP|UDP)')"
expect_true "the download is complete" "$(stat -c %s "$LAB_DIR/www/large") bytes" "$(stat -c %s "$LAB_DIR/download") bytes" \
    wait_until 20 cmp -s "$LAB_DIR/www/large" "$LAB_DIR/download"
