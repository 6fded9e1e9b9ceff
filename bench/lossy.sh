#!/usr/bin/env bash
# The appliance beside the same service on Linux kernel TCP (tokio-fanout), over the same bad wire, in
# the same run: the same crowd, loss and delay, round about. Prints a table for each loss rate and
# exits non-zero unless everything was delivered in order and the appliance's p99 and p99.9 are at
# most the kernel's. Whatever was made is removed at the end, also after Ctrl-C or a failure.
#
#   cluecast-lossy-players        cluecast-lossy-wire         cluecast-lossy-server
#   swarm 10.78.0.2 -- players == left  faultlink  right == game -- cluecast     10.78.0.1:8000 (AF_XDP)
#                                                               or tokio-fanout 10.78.0.1:8000 (kernel)
#         10.78.1.2 -- backend =========================== admin -- either       10.78.1.1:9000
#
# The second pair is clean: what is published arrives at once, what is measured is the way to the
# players. Each round starts the server and the wire anew with the round's seed, so that neither
# server finds what the last round left (TCP metrics, queues).
#
# LOSSES, ROUNDS, SECONDS_EACH, DELAY and CONTROL change the run; RESULTS names a directory that gets every
# report. Arguments are handed to swarm.
set -euo pipefail

cd "$(dirname "$0")"
BIN="${CARGO_TARGET_DIR:-$HOME/.cache/cluecast/target}/release"
LOSSES=${LOSSES:-1 3 10}
ROUNDS=${ROUNDS:-3}
SECONDS_EACH=${SECONDS_EACH:-15}
DELAY=${DELAY:-20:5}
# Of the kernel's server: Linux's own default, whatever this machine is set to.
CONTROL=${CONTROL:-cubic}
RESULTS=${RESULTS:-}
SERVER=cluecast-lossy-server
WIRE=cluecast-lossy-wire
PLAYERS=cluecast-lossy-players
GAME=10.78.0.1:8000
ADMIN=10.78.1.1:9000

directory=
server=
wire=
failures=()

say() { echo "lossy: $*"; }
in_server() { ip netns exec "$SERVER" "$@"; }
in_wire() { ip netns exec "$WIRE" "$@"; }
in_players() { ip netns exec "$PLAYERS" "$@"; }

remove_namespaces() {
    local name
    for name in "$SERVER" "$WIRE" "$PLAYERS"; do
        ip netns delete "$name" 2>/dev/null || true
    done
}

cleanup() {
    local status=$?
    trap '' INT TERM
    trap - EXIT
    set +e
    local pid
    for pid in $server $wire; do
        kill -KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    remove_namespaces
    if [ -n "$directory" ]; then
        [ "$status" -eq 0 ] || tail -n 20 "$directory/log" >&2 2>/dev/null
        rm -rf "$directory"
    fi
    exit "$status"
}

# A neighbour entry for good: a lost ARP request would hold a player up for a second, which says
# nothing about either TCP.
know() {
    local address
    address=$(ip -n "$3" -br link show "$4" | awk '{ print $3 }')
    ip -n "$1" neighbour replace "$2" lladdr "$address" dev "$5" nud permanent
}

make_namespaces() {
    remove_namespaces
    local name
    for name in "$SERVER" "$WIRE" "$PLAYERS"; do
        ip netns add "$name"
        ip netns exec "$name" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 \
            net.ipv6.conf.default.disable_ipv6=1
        ip -n "$name" link set lo up
    done
    ip link add players netns "$PLAYERS" type veth peer name left netns "$WIRE"
    ip link add game netns "$SERVER" numrxqueues 2 numtxqueues 2 type veth \
        peer name right netns "$WIRE" numrxqueues 2 numtxqueues 2
    ip link add backend netns "$PLAYERS" type veth peer name admin netns "$SERVER"
    # Frames as they would be on a wire: whole checksums, none larger than the MTU.
    local off=(tx off rx off tso off gso off gro off sg off)
    in_players ethtool -K players "${off[@]}" >/dev/null
    in_wire ethtool -K left "${off[@]}" >/dev/null
    in_wire ethtool -K right "${off[@]}" >/dev/null
    in_server ethtool -K game "${off[@]}" >/dev/null
    ip -n "$SERVER" address add 10.78.0.1/24 dev game
    ip -n "$PLAYERS" address add 10.78.0.2/24 dev players
    ip -n "$SERVER" address add 10.78.1.1/24 dev admin
    ip -n "$PLAYERS" address add 10.78.1.2/24 dev backend
    ip -n "$PLAYERS" link set players up
    ip -n "$PLAYERS" link set backend up
    ip -n "$WIRE" link set left up
    ip -n "$WIRE" link set right up
    ip -n "$SERVER" link set game up
    ip -n "$SERVER" link set admin up
    know "$PLAYERS" 10.78.0.1 "$SERVER" game players
    know "$SERVER" 10.78.0.2 "$PLAYERS" players game
    # What the kernel learned of a path in one round (ssthresh, RTT) must not help or hurt the next.
    in_server sysctl -qw net.ipv4.tcp_no_metrics_save=1
    in_players sysctl -qw net.ipv4.tcp_no_metrics_save=1
}

# start_wire LOSS SEED
start_wire() {
    # It has little to do, but at the right time.
    ip netns exec "$WIRE" chrt --fifo 1 "$BIN/faultlink" left right \
        --both "loss=$1,delay=$DELAY" --seed "$2" >"$directory/wire" 2>>"$directory/log" 9>&- &
    wire=$!
    wait_until "the wire" grep -q between "$directory/wire"
}

# start_server appliance|kernel
start_server() {
    if [ "$1" = appliance ]; then
        rm -rf "$directory/journal"
        sed "s|@DIRECTORY@|$directory|" lossy.toml >"$directory/lossy.toml"
        ip netns exec "$SERVER" "$BIN/cluecast" run --config "$directory/lossy.toml" \
            2>>"$directory/log" 9>&- &
    else
        ip netns exec "$SERVER" "$BIN/tokio-fanout" --listen "$GAME" --admin "$ADMIN" \
            --congestion "$CONTROL" \
            2>>"$directory/log" 9>&- &
    fi
    server=$!
    wait_until "the server" in_players curl -sf -o /dev/null "http://$ADMIN/health"
}

# wait_until WHAT COMMAND...
wait_until() {
    local tries
    for ((tries = 0; tries < 150; tries++)); do
        ! "${@:2}" 2>/dev/null || return 0
        sleep 0.1
    done
    say "$1 did not start" >&2
    exit 1
}

stop() {
    kill -TERM "$1"
    wait "$1" 2>/dev/null || true
}

# round appliance|kernel LOSS ROUND: leaves NAME.json and NAME.latencies in the directory.
round() {
    local name="$directory/$1-$2-$3"
    start_wire "$2" "$3"
    start_server "$1"
    in_players "$BIN/swarm" --game "$GAME" --admin "$ADMIN" --api-key lossy --quiet \
        --players 200 --connect-parallel 200 --connect-timeout-s 90 --drain-s 30 \
        --rate 20 --bytes 200 --seconds "$SECONDS_EACH" --spike-ms 0 --publishers 8 \
        --json "$name.json" --latencies "$name.latencies" "${swarm[@]}" >"$name.table" 9>&-
    stop "$server"
    server=
    stop "$wire"
    wire=
    if [ -n "$RESULTS" ]; then
        mkdir -p "$RESULTS"
        cp "$name".* "$RESULTS"
        cp "$directory/wire" "$RESULTS/$1-$2-$3.wire"
    fi
}

if [ "$(id -u)" != 0 ]; then
    say "namespaces and AF_XDP need root" >&2
    exit 1
fi
exec 9>/run/cluecast-lossy.lock
if ! flock -n 9; then
    say "another run is going on" >&2
    exit 1
fi
ulimit -n 16384
swarm=("$@")

trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Whatever else this machine does must not decide the comparison.
renice -n -10 $$ >/dev/null

directory=$(mktemp -d -t cluecast-lossy.XXXXXX)
make_namespaces
for loss in $LOSSES; do
    ours=()
    kernel=()
    for ((number = 1; number <= ROUNDS; number++)); do
        for server_kind in appliance kernel; do
            round "$server_kind" "$loss" "$number"
        done
        ours+=("$directory/appliance-$loss-$number.json")
        kernel+=("$directory/kernel-$loss-$number.json")
    done
    "$BIN/sidebyside" --title "$loss % loss, ${DELAY/:/ +- } ms each way" \
        --judged "${ours[@]}" --against "${kernel[@]}" --json "$directory/comparisons.json" ||
        failures+=("$loss % loss (above)")
done
[ -z "$RESULTS" ] || cp "$directory/comparisons.json" "$RESULTS"

if [ "${#failures[@]}" -gt 0 ]; then
    printf 'lossy: FAILED: %s\n' "${failures[@]}"
    exit 1
fi
say "held: all delivered once and in order, p99 and p99.9 at most those of the kernel's TCP"
