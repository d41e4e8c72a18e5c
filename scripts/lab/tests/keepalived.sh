# shellcheck shell=bash
# Debian's own keepalived, under `vipline exec`, keeps the rules of a live director: through the end
# and the return of a real server, and through a restart of the daemon.

lab_up nat 2
director_start
export VIPLINE_LIBRARY=$BIN/libvipline_ipvs.so

{
    cat <<CONF
global_defs {
    router_id lab
    enable_script_security
    script_user root
}
virtual_server $VIP 8080 {
    delay_loop 1
    lvs_sched rr
    lvs_method NAT
    protocol TCP
CONF
    for n in 1 2; do
        cat <<CONF
    real_server $(rip "$n") 8080 {
        weight $n
        TCP_CHECK {
            connect_timeout 1
            retry 0
            delay_before_retry 1
        }
    }
CONF
    done
    echo "}"
} >"$LAB_DIR/keepalived.conf"

# servers N…: whether the service has exactly these real servers
servers() {
    local n wanted=
    for n in "$@"; do wanted+=" $(rip "$n"):8080"; done
    [[ $(vipline ipvsadm -Sn | sed -n "s/^-a -t $VIP:8080 -r \([^ ]*\) -m .*/\1/p" | sort | xargs) == "$(xargs <<<"$wanted")" ]]
}
there() { vipline ipvsadm -Sn; tail -n 3 "$LAB_DIR/log/keepalived"; }
gone() { [[ -z $(vipline ipvsadm -Sn) ]]; }

spawn director keepalived "$BIN/vipline" --runtime-dir "$LAB_DIR/run" exec -- keepalived --check --dont-fork \
    --log-console --log-detail --use-file "$LAB_DIR/keepalived.conf" --pid "$LAB_DIR/keepalived.pid" \
    --checkers_pid "$LAB_DIR/checkers.pid"
expect_true "keepalived makes the service with both real servers" "both within 10 s" "$(there)" wait_until 10 servers 1 2
stop rs2-nginx
expect_true "a real server that is down is taken out" "rs1 alone within 10 s" "$(there)" wait_until 10 servers 1
web_server rs2 rs2 80 443 8080
expect_true "a real server that is up again comes back" "both within 10 s" "$(there)" wait_until 10 servers 1 2

director_end TERM
stop rs2-nginx
director_again
expect_true "what keepalived changed while the daemon was down is in its rules after the start" "rs1 alone within 15 s" "$(there)" wait_until 15 servers 1
web_server rs2 rs2 80 443 8080
expect_true "after a restart of the daemon keepalived goes on" "both within 10 s" "$(there)" wait_until 10 servers 1 2
expect_true "keepalived is still running" "alive" "$(there)" alive "$(pid_of keepalived)"

stop keepalived
expect_true "keepalived takes its service away when it ends" "no rules within 5 s" "$(there)" wait_until 5 gone
