#!/usr/bin/env bash
# The appliance beside servers that others wrote (peers/README.md), under the same loads in one run: one CPU
# for the server, the other for the players and the backend. Prints a table for each load; exits non-zero
# unless the appliance delivered everything and the ratios below hold. Removes what it made.
#
#   cluecast-peers-players                       cluecast-peers-server
#   swarm  10.81.0.2 -- players ==== game -- cluecast 10.81.0.1:8000 (AF_XDP), or a peer (kernel TCP)
#          10.81.1.2 -- backend === admin -- either   10.81.1.1:9000
#
# LOADS ("PLAYERS:EVENTS_A_SECOND ..."), SERVERS, SECONDS_EACH and BYTES change the run; RESULTS names a
# directory that gets every report. Arguments are handed to swarm.
set -euo pipefail

cd "$(dirname "$0")"
BIN="${CARGO_TARGET_DIR:-$HOME/.cache/cluecast/target}/release"
LOADS=${LOADS:-2500:20 2500:100 10000:10 25000:2}
SERVERS=${SERVERS:-cluecast uwebsockets tokio go nchan}
SECONDS_EACH=${SECONDS_EACH:-8}
BYTES=${BYTES:-200}
RESULTS=${RESULTS:-}
SERVER=cluecast-peers-server
PLAYERS=cluecast-peers-players
GAME=10.81.0.1:8000
ADMIN=10.81.1.1:9000
SERVER_CPU=0
PLAYERS_CPU=1

directory=
pid=
failures=()

say() { echo "peers: $*"; }
in_server() { ip netns exec "$SERVER" "$@"; }
in_players() { ip netns exec "$PLAYERS" "$@"; }

remove_namespaces() {
    ip netns delete "$SERVER" 2>/dev/null || true
    ip netns delete "$PLAYERS" 2>/dev/null || true
}

cleanup() {
    local status=$?
    trap '' INT TERM
    trap - EXIT
    set +e
    if [ -n "$pid" ]; then
        kill -KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    fi
    remove_namespaces
    if [ -n "$directory" ]; then
        [ "$status" -eq 0 ] || tail -n 20 "$directory/log" >&2
        rm -rf "$directory"
    fi
    exit "$status"
}

make_namespaces() {
    remove_namespaces
    local name
    for name in "$SERVER" "$PLAYERS"; do
        ip netns add "$name"
        ip -n "$name" link set lo up
        # 25,000 players have one address.
        ip netns exec "$name" sysctl -qw net.ipv4.ip_local_port_range="1024 65000" \
            net.core.somaxconn=8192 net.ipv4.tcp_max_syn_backlog=8192
    done
    ip link add game netns "$SERVER" type veth peer name players netns "$PLAYERS"
    ip link add admin netns "$SERVER" type veth peer name backend netns "$PLAYERS"
    # The appliance verifies checksums of what comes in. The server's own end keeps its offloads, which
    # only the peers can use.
    in_players ethtool -K players tx off tso off gso off gro off >/dev/null
    ip -n "$SERVER" address add 10.81.0.1/24 dev game
    ip -n "$PLAYERS" address add 10.81.0.2/24 dev players
    ip -n "$SERVER" address add 10.81.1.1/24 dev admin
    ip -n "$PLAYERS" address add 10.81.1.2/24 dev backend
    ip -n "$SERVER" link set game up
    ip -n "$SERVER" link set admin up
    ip -n "$PLAYERS" link set players up
    ip -n "$PLAYERS" link set backend up
}

# start NAME: leaves the address of its API in `api`.
start() {
    local command
    api=$GAME
    case $1 in
        cluecast)
            rm -rf "$directory/journal"
            sed "s|@DIRECTORY@|$directory|" peers.toml >"$directory/peers.toml"
            command=("$BIN/cluecast" run --config "$directory/peers.toml")
            api=$ADMIN
            ;;
        uwebsockets) command=("$installed/python/bin/python" peers/uwebsockets/serve.py "$GAME") ;;
        tokio)
            command=("$BIN/tokio-fanout" --listen "$GAME" --admin "$ADMIN")
            api=$ADMIN
            ;;
        go) command=("$installed/go-fanout" "$GAME") ;;
        nchan)
            sed -e "s|@DIRECTORY@|$directory|" -e "s|@LISTEN@|$GAME|" peers/nchan/nginx.conf \
                >"$directory/nginx.conf"
            command=(/usr/sbin/nginx -p "$directory" -c "$directory/nginx.conf")
            ;;
        *)
            say "there is no server called $1" >&2
            exit 2
            ;;
    esac
    # Not through a function: `ip` becomes the server, so that $! is the server itself.
    ip netns exec "$SERVER" taskset -c "$SERVER_CPU" "${command[@]}" >>"$directory/log" 2>&1 9>&- &
    pid=$!
    local tries
    for ((tries = 0; tries < 150; tries++)); do
        ! in_players curl -sf -o /dev/null "http://$api/health" || return 0
        sleep 0.1
    done
    say "$1 does not start" >&2
    exit 1
}

# measure NAME PLAYERS RATE: leaves NAME-PLAYERS-RATE.json in the directory.
measure() {
    local dialect=()
    # Its order is that of the requests, so they come one by one.
    [ "$1" != nchan ] || dialect=(--dialect nchan --publishers 1)
    start "$1"
    # A server that fails is a result too.
    ip netns exec "$PLAYERS" taskset -c "$PLAYERS_CPU" "$BIN/swarm" --game "$GAME" --admin "$api" \
        --api-key peers --quiet --players "$2" --rate "$3" --bytes "$BYTES" --seconds "$SECONDS_EACH" \
        --spike-ms 0 --publishers 8 --connect-parallel 64 --connect-timeout-s 60 --pid "$pid" \
        --server-cpu "$SERVER_CPU" --json "$directory/$1-$2-$3.json" "${dialect[@]}" "${swarm[@]}" \
        >"$directory/$1-$2-$3.table" 9>&- || say "swarm failed against $1" >&2
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null || true
    pid=
}

# The ratios that this project promises (the load, then what is judged).
bounds() {
    case $1 in
        2500:20) echo "--bound cpu/uwebsockets<=0.25 --bound cpu/tokio<=0.15" ;;
        10000:10) echo "--bound last/uwebsockets<=0.3" ;;
    esac
}

if [ "$(id -u)" != 0 ]; then
    say "namespaces and AF_XDP need root" >&2
    exit 1
fi
exec 9>/run/cluecast-peers.lock
if ! flock -n 9; then
    say "another run is going on" >&2
    exit 1
fi
ulimit -n "$(ulimit -Hn)"
# Sockets that a process may have here, less what it needs besides players.
most=$(($(ulimit -n) - 500))
swarm=("$@")

trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Whatever else this machine does must not decide the comparison.
renice -n -10 $$ >/dev/null

installed=$(peers/install)
directory=$(mktemp -d -t cluecast-peers.XXXXXX)
make_namespaces
for load in $LOADS; do
    players=${load%:*}
    rate=${load#*:}
    if [ "$players" -gt "$most" ]; then
        say "$most players instead of $players: a process here may have no more open files"
        players=$most
    fi
    reports=()
    for server in $SERVERS; do
        measure "$server" "$players" "$rate"
        reports+=("$server=$directory/$server-$players-$rate.json")
    done
    judged=()
    # With the servers that the ratios name.
    [[ " $SERVERS " != *" uwebsockets "* || " $SERVERS " != *" tokio "* ]] || read -ra judged <<<"$(bounds "$load")"
    "$BIN/peers" --title "$players players x $rate events/s of $BYTES bytes" \
        --json "$directory/comparisons.json" "${judged[@]}" "${reports[@]}" || failures+=("$load")
    echo
done
if [ -n "$RESULTS" ]; then
    mkdir -p "$RESULTS"
    cp "$directory"/*.json "$directory"/*.table "$RESULTS"
fi

if [ "${#failures[@]}" -gt 0 ]; then
    say "FAILED: ${failures[*]}"
    exit 1
fi
say "held: everything was delivered by the appliance, and the ratios are what they must be"
