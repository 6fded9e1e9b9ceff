#!/usr/bin/env bash
# Attacks on a running appliance, at full size, beside players who must not notice:
#
#   stalled    2,000 readers with a closed window beside 500 good ones: the good ones' p99 moves by less
#              than 20 %, the stalled are cut, and what they held comes back
#   injection  RSTs, SYNs and data slipped into 200 connections at sequence numbers that do not match:
#              none of them ends and no event is lost
#   synflood   200,000 SYN/s from random sources for 20 s: 500 players connect meanwhile, none of 2,000
#              connected ones is lost, memory grows by no more than the queue of handshakes
#
# Prints the figures, exits non-zero unless all held, removes what it made, also after Ctrl-C or a
# failure. Arguments choose parts; without any, all run.
#
#   cluecast-hostile-players                     cluecast-hostile-appliance
#   swarm, flood  10.79.0.2 -- players ==== game -- cluecast 10.79.0.1:8000 (AF_XDP)
#                 10.79.1.2 -- backend === admin -- cluecast 10.79.1.1:9000 (kernel TCP)
set -euo pipefail

cd "$(dirname "$0")"
BIN="${CARGO_TARGET_DIR:-$HOME/.cache/cluecast/target}/release"
APPLIANCE=cluecast-hostile-appliance
PLAYERS=cluecast-hostile-players
GAME=10.79.0.1:8000
ADMIN=10.79.1.1:9000
SYN_RATE=${SYN_RATE:-200000}
INJECTION_RATE=${INJECTION_RATE:-50000}
ROUNDS=${ROUNDS:-3}
# A handshake's record, its place in the hash and in the timer wheel, generously.
HANDSHAKE_BYTES=256
# As in hostile.toml.
HALF_OPEN_MAX=4096
QUEUES=2

directory=
pid=
background=()
failures=()

say() { echo "hostile: $*"; }
failed() {
    say "FAILED: $*"
    failures+=("$*")
}
in_appliance() { ip netns exec "$APPLIANCE" "$@"; }
in_players() { ip netns exec "$PLAYERS" "$@"; }

remove_namespaces() {
    ip netns delete "$APPLIANCE" 2>/dev/null || true
    ip netns delete "$PLAYERS" 2>/dev/null || true
}

cleanup() {
    local status=$?
    trap '' INT TERM
    trap - EXIT
    set +e
    local one
    for one in $pid "${background[@]}"; do
        kill -KILL "$one" 2>/dev/null
        wait "$one" 2>/dev/null
    done
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
    for name in "$APPLIANCE" "$PLAYERS"; do
        ip netns add "$name"
        ip netns exec "$name" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 \
            net.ipv6.conf.default.disable_ipv6=1
        ip -n "$name" link set lo up
    done
    ip link add game netns "$APPLIANCE" numrxqueues 2 numtxqueues 2 type veth \
        peer name players netns "$PLAYERS" numrxqueues 2 numtxqueues 2
    ip link add admin netns "$APPLIANCE" type veth peer name backend netns "$PLAYERS"
    # Frames as they would be on a wire: whole checksums, none larger than the MTU.
    in_players ethtool -K players tx off tso off gso off gro off >/dev/null
    ip -n "$APPLIANCE" address add 10.79.0.1/24 dev game
    ip -n "$PLAYERS" address add 10.79.0.2/24 dev players
    ip -n "$APPLIANCE" address add 10.79.1.1/24 dev admin
    ip -n "$PLAYERS" address add 10.79.1.2/24 dev backend
    ip -n "$APPLIANCE" link set game up
    ip -n "$APPLIANCE" link set admin up
    ip -n "$PLAYERS" link set players up
    ip -n "$PLAYERS" link set backend up
    mac=$(ip -n "$APPLIANCE" -br link show game | awk '{ print $3 }')
}

start_appliance() {
    rm -rf "$directory/journal"
    sed "s|@DIRECTORY@|$directory|" hostile.toml >"$directory/hostile.toml"
    # Not through a function: `ip` becomes the appliance, so that $! is the appliance itself.
    ip netns exec "$APPLIANCE" "$BIN/cluecast" run --config "$directory/hostile.toml" \
        2>>"$directory/log" 9>&- &
    pid=$!
    wait_until "the appliance does not start" 15 in_players curl -sf -o /dev/null "http://$ADMIN/health"
}

stop_appliance() {
    local status=0
    kill -TERM "$pid"
    wait "$pid" || status=$?
    pid=
    [ "$status" -eq 0 ] || failed "the appliance ended with $status after SIGTERM"
}

# wait_until COMPLAINT SECONDS COMMAND...
wait_until() {
    local tries
    for ((tries = 0; tries < 10 * $2; tries++)); do
        ! "${@:3}" 2>/dev/null || return 0
        sleep 0.1
    done
    say "$1" >&2
    exit 1
}

# A metric, added up over the data cores; 0 for one that this build does not have.
metric() {
    in_players curl -sf "http://$ADMIN/metrics" | awk -v name="cluecast_$1" '
        $1 == name || index($1, name "{") == 1 { sum += $2 }
        END { printf "%d\n", sum }'
}

is_metric() { [ "$(metric "$1")" -eq "$2" ]; }

rss_kib() { awk '$1 == "VmRSS:" { print $2 }' "/proc/$pid/status"; }

# What players hold and give back.
held() {
    local name
    for name in tcp_connections session_players session_subscriptions memory_chunks; do
        printf '%s %s, ' "$name" "$(metric "$name")"
    done
}

# swarm NAME ARGUMENT...: leaves NAME.json and NAME.table.
swarm() {
    in_players "$BIN/swarm" --game "$GAME" --admin "$ADMIN" --api-key hostile --quiet --check \
        --bytes 200 --spike-ms 0 --publishers 8 --json "$directory/$1.json" \
        --latencies "$directory/$1.latencies" "${@:2}" >"$directory/$1.table" 2>&1 9>&-
}

# in_background COMMAND...
in_background() {
    "$@" &
    background+=($!)
}

# Waits for all that runs in the background; how many of them failed.
gather() {
    local one bad=0
    for one in "${background[@]}"; do
        wait "$one" || bad=$((bad + 1))
    done
    background=()
    return "$bad"
}

# field FILE KEY: a number of a one-line JSON object.
field() { sed -n "s/.*\"$2\":\([0-9.]*\).*/\1/p" "$1" | cut -d. -f1; }

stalled() {
    say "stalled readers"
    local round with=() without=() before after
    start_appliance
    for ((round = 1; round <= ROUNDS; round++)); do
        before=$(held)
        swarm "without-$round" --players 500 --rate 20 --bytes 800 --seconds 15 || true
        swarm "with-$round" --players 500 --rate 20 --bytes 800 --seconds 15 --stalled 2000 ||
            failed "stalled, round $round: $(grep FAILED "$directory/with-$round.table")"
        grep 'stalled players' "$directory/with-$round.table" || true
        without+=("$directory/without-$round.json")
        with+=("$directory/with-$round.json")
        sleep 6
        after=$(held)
        [ "$before" = "$after" ] || failed "stalled: before $before after $after"
    done
    say "closed as slow (3008): $(metric session_slow), after round $ROUNDS held: $after"
    [ "$(metric session_slow)" -eq $((2000 * ROUNDS)) ] || failed "not all were cut as slow"
    "$BIN/sidebyside" --title "500 good readers" --names "2,000 stalled" alone \
        --judged "${with[@]}" --against "${without[@]}" --ratio-max 1.2 --percentiles p99 ||
        failed "the good readers noticed"
    stop_appliance
}

injection() {
    say "blind injection"
    start_appliance
    in_background swarm injected --players 200 --rate 20 --seconds 20
    wait_until "the players do not connect" 30 is_metric session_players 200
    local resets challenges
    resets=$(metric tcp_reset)
    in_players "$BIN/flood" players --to "$GAME" --mac "$mac" --kind rst,syn-inside,data \
        --rate "$INJECTION_RATE" --seconds 15 >"$directory/injection.json"
    challenges=$(metric tcp_challenge_acks)
    resets=$(($(metric tcp_reset) - resets))
    gather || failed "injection: $(grep FAILED "$directory/injected.table")"
    say "$(cat "$directory/injection.json")"
    grep -E 'delivered|disconnects|steady' "$directory/injected.table"
    say "challenge ACKs sent: $challenges, connections reset: $resets"
    [ "$resets" -eq 0 ] || failed "injection: $resets connections were reset"
    [ "$challenges" -gt 0 ] || failed "injection: nothing reached a connection"
    [ "$(field "$directory/injection.json" flows)" -ge 200 ] || failed "injection: not all were attacked"
    stop_appliance
}

synflood() {
    say "SYN flood"
    local players=2000 newcomers=500 before now most=0 tries bound
    bound=$((HALF_OPEN_MAX * QUEUES * HANDSHAKE_BYTES / 1024))
    start_appliance
    in_background swarm settled --players "$players" --rate 2 --seconds 30
    wait_until "the players do not connect" 30 is_metric session_players "$players"
    sleep 2
    before=$(rss_kib)
    in_players "$BIN/flood" players --to "$GAME" --mac "$mac" --kind syn \
        --rate "$SYN_RATE" --seconds 20 >"$directory/flood.json" &
    local flood=$!
    background+=("$flood")
    # Memory first, with nobody else coming: what newcomers take is theirs.
    for ((tries = 0; tries < 16; tries++)); do
        sleep 0.25
        now=$(rss_kib)
        [ "$now" -le "$most" ] || most=$now
    done
    swarm newcomers --players "$newcomers" --hunt-prefix "hunt:new" --rate 5 --seconds 3 \
        --connect-timeout-s 14 ||
        failed "synflood, newcomers: $(grep FAILED "$directory/newcomers.table")"
    kill -0 "$flood" 2>/dev/null || failed "synflood: the newcomers outlasted the flood"
    gather || failed "synflood, settled: $(grep FAILED "$directory/settled.table")"
    say "$(cat "$directory/flood.json")"
    say "settled:"
    grep -E 'subscribed|delivered|disconnects|steady' "$directory/settled.table"
    say "newcomers:"
    grep -E 'subscribed|connect |delivered|disconnects|steady' "$directory/newcomers.table"
    say "SYNs taken $(metric tcp_syn_received), refused $(metric tcp_syn_dropped)," \
        "cookies sent $(metric tcp_syn_cookies_sent), accepted $(metric tcp_syn_cookies_accepted)"
    say "memory $before KiB before, at most $most KiB in the flood; allowed to grow by $bound KiB"
    [ "$((most - before))" -le "$bound" ] || failed "synflood: memory grew by $((most - before)) KiB"
    [ "$(field "$directory/flood.json" rate)" -ge $((SYN_RATE * 95 / 100)) ] ||
        failed "synflood: the attacker reached $(field "$directory/flood.json" rate) SYN/s only"
    stop_appliance
}

if [ "$(id -u)" != 0 ]; then
    say "namespaces and AF_XDP need root" >&2
    exit 1
fi
exec 9>/run/cluecast-hostile.lock
if ! flock -n 9; then
    say "another run is going on" >&2
    exit 1
fi
# One descriptor a player; the hard limit is root's to raise.
ulimit -n 16384

trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Whatever else this machine does must not decide whether players notice.
renice -n -10 $$ >/dev/null

directory=$(mktemp -d -t cluecast-hostile.XXXXXX)
make_namespaces
[ "$#" -gt 0 ] || set -- stalled injection synflood
for part in "$@"; do
    case "$part" in
        stalled | injection | synflood) "$part" ;;
        *)
            say "no part called $part" >&2
            exit 2
            ;;
    esac
done

if [ "${#failures[@]}" -gt 0 ]; then
    printf 'hostile: FAILED: %s\n' "${failures[@]}"
    exit 1
fi
say "held: $*"
