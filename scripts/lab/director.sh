# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # shared with the other files of the lab
# The director of the lab: its configuration, its start and end, and the operator's tool.

BIN=${VIPLINE_BIN:-$REPO/target/release}

build() {
    [[ -z ${VIPLINE_BIN:-} ]] || return 0
    local cargo
    cargo=$(command -v cargo || echo "$HOME/.cargo/bin/cargo")
    # Cargo shows its progress: the first build takes minutes.
    (cd "$REPO" && "$cargo" build --release --locked --bin viplined --bin vipline --lib) || die "the build failed (above)"
}

# Writes the configuration, and forgets the state of the director before. Tests of the state use
# director_again.
director_config() {
    rm -rf "$LAB_DIR/state"
    cat >"$LAB_DIR/vipline.toml" <<TOML
poll = "adaptive"
state_dir = "state"
memory_mb = 256
max_connections = 65536

[[port]]
name = "wan"
device = "af_xdp:xwan"
host_interface = "wan0"
addresses = ["$DIP_WAN/24", "$VIP/32"]

[[port]]
name = "lan"
device = "af_xdp:xlan"
host_interface = "lan0"
addresses = ["$DIP_LAN/24"]
routes = ["10.99.0.0/16 via $(rip 1)"]
TOML
}

# The command line. Tests also use it for a second daemon that must fail.
director_command() {
    echo "$BIN/viplined" --config "$LAB_DIR/vipline.toml" --runtime-dir "$LAB_DIR/run"
}

director_start() {
    [[ -x $BIN/viplined && -x $BIN/vipline ]] || die "no viplined and vipline in $BIN"
    director_config
    director_again
}

# Starts viplined with the configuration and the state that are there.
director_again() {
    local command
    read -ra command < <(director_command)
    spawn director viplined "${command[@]}"
    wait_ready 20 viplined vipline status
}

# director_end SIGNAL: ends viplined and leaves its exit status in DIRECTOR_STATUS. Call it in the
# shell that started viplined.
director_end() {
    local pid
    pid=$(pid_of viplined)
    if end "$pid" "$1"; then
        DIRECTOR_STATUS=0
        wait "$pid" 2>/dev/null || DIRECTOR_STATUS=$?
    else
        DIRECTOR_STATUS="still running after 10 s"
    fi
}

# Every call has a time limit: a tool that hangs must fail the test, not block it.
vipline() { in_director timeout 5 "$BIN/vipline" --runtime-dir "$LAB_DIR/run" "$@"; }

# rule ARGUMENTS…: prints one change and makes it with the operator's tool
rule() {
    note "ipvsadm $*"
    vipline ipvsadm "$@" || die "vipline ipvsadm $*: refused (above)"
}
