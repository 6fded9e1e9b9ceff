#!/usr/bin/env bash
# First light on one machine: the appliance on AF_XDP in one network namespace, a crowd of players on
# kernel TCP in another, a veth pair with two queues between them. Prints the crowd's table, says what
# held, and exits non-zero unless all did. Whatever was made is removed at the end, also after Ctrl-C
# or a failure.
#
#   cluecast-demo-players                       cluecast-demo-appliance
#   swarm 10.77.0.2 -- players ====veth==== game -- cluecast 10.77.0.1:8000 (AF_XDP)
#                                                            10.77.0.1:9000 (kernel TCP)
#
# Arguments are handed to swarm after the demo's own; the last one given of a kind holds.
set -euo pipefail

cd "$(dirname "$0")"
BIN="${CARGO_TARGET_DIR:-$HOME/.cache/cluecast/target}/release"
APPLIANCE=cluecast-demo-appliance
PLAYERS=cluecast-demo-players
LISTEN=10.77.0.1:8000
ADMIN=10.77.0.1:9000
# What demo.toml takes: two cores of 8 MiB of hunt log, 16 MiB of frames and 4 MiB of chunks each,
# rounded up.
PAGES_NEEDED=36
PAGES=/sys/kernel/mm/hugepages/hugepages-2048kB

directory=
pid=
failures=()

say() { echo "demo: $*"; }
failed() { failures+=("$*"); }
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
    if [ -n "$pid" ]; then
        kill -KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    fi
    remove_namespaces
    if [ -n "$directory" ]; then
        "$BIN/hugepage-setup" --undo --record "$directory/pages.json" >/dev/null
        [ "$status" -eq 0 ] || tail -n 20 "$directory/log" >&2
        rm -rf "$directory"
    fi
    exit "$status"
}

make_namespaces() {
    remove_namespaces
    ip netns add "$APPLIANCE"
    ip netns add "$PLAYERS"
    ip link add game netns "$APPLIANCE" numrxqueues 2 numtxqueues 2 type veth \
        peer name players netns "$PLAYERS" numrxqueues 2 numtxqueues 2
    # The appliance verifies checksums of what comes in: the players' kernel has to compute them, and
    # to send and take frames as they would be on a wire.
    in_players ethtool -K players tx off tso off gso off gro off >/dev/null
    in_appliance ip address add 10.77.0.1/24 dev game
    in_players ip address add 10.77.0.2/24 dev players
    in_appliance ip link set lo up
    in_players ip link set lo up
    in_appliance ip link set game up
    in_players ip link set players up
}

reserve_pages() {
    local free total
    free=$(<"$PAGES/free_hugepages")
    [ "$free" -lt "$PAGES_NEEDED" ] || return 0
    total=$(<"$PAGES/nr_hugepages")
    "$BIN/hugepage-setup" --pages $((total + PAGES_NEEDED - free)) \
        --record "$directory/pages.json" >/dev/null ||
        say "no huge pages could be reserved; ordinary ones are slower"
}

start_appliance() {
    sed "s|@DIRECTORY@|$directory|" demo.toml >"$directory/demo.toml"
    # Not through a function: `ip` becomes the appliance, so that $! is the appliance itself.
    ip netns exec "$APPLIANCE" "$BIN/cluecast" run --config "$directory/demo.toml" \
        2>"$directory/log" 9>&- &
    pid=$!
    local tries
    for ((tries = 0; tries < 150; tries++)); do
        if in_appliance curl -sf -o /dev/null "http://$ADMIN/health"; then
            return
        fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    say "the appliance did not start" >&2
    exit 1
}

stop_appliance() {
    local status=0
    kill -TERM "$pid"
    # It has to be gone in 15 seconds.
    (sleep 15 9>&- && kill -KILL "$pid") 2>/dev/null &
    local watchdog=$!
    wait "$pid" || status=$?
    pid=
    kill "$watchdog" 2>/dev/null || true
    wait "$watchdog" 2>/dev/null || true
    [ "$status" -eq 0 ] || failed "the appliance ended with $status after SIGTERM"
}

# RSTs of the appliance's kernel: a steered segment that leaked is refused with one, nobody listens. The
# admin port gives no cause for any: swarm ends its connections to it with RSTs of its own.
resets() { in_appliance nstat -asz TcpOutRsts | awk '$1 == "TcpOutRsts" { print $2 }'; }

# Lowest value of a metric over the data cores.
metric() {
    in_appliance curl -sf "http://$ADMIN/metrics" |
        awk -v name="cluecast_$1" '
            $1 == name || index($1, name "{") == 1 { if (least == "" || $2 < least) least = $2 }
            END { print least == "" ? "missing" : least }'
}

# Sum of a metric over the data cores.
total() {
    in_appliance curl -sf "http://$ADMIN/metrics" |
        awk -v name="cluecast_$1{" 'index($1, name) == 1 { sum += $2 } END { print sum + 0 }'
}

say_losses() {
    say "AF_XDP rings: $(total port_rx_dropped) frames dropped; sent again: $(total tcp_retransmits)" \
        "segments, $(total tcp_tail_probes_needless) of them needless probes, after" \
        "$(total tcp_rto_timeouts) timeouts"
}

check_mode() {
    local native zerocopy
    native=$(metric port_native)
    zerocopy=$(metric port_zerocopy)
    # `ip` writes "xdp" for a native program and "xdpgeneric" for the slow kind.
    if [ "$native" = 1 ] && in_appliance ip -o link show dev game | grep -qE ' xdp(/id:[0-9]+)? '; then
        say "XDP native mode, zero-copy: $([ "$zerocopy" = 1 ] && echo yes || echo no)"
    else
        failed "XDP is not in native mode (port_native $native)"
    fi
    ! grep -q 'no huge pages' "$directory/log" || say "without huge pages: $(grep -m 1 'no huge pages' "$directory/log")"
}

if [ "$(id -u)" != 0 ]; then
    say "namespaces and AF_XDP need root" >&2
    exit 1
fi
exec 9>/run/cluecast-demo.lock
if ! flock -n 9; then
    say "another demo is running" >&2
    exit 1
fi
# One descriptor a player; the hard limit is root's to raise.
ulimit -n 16384

trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

directory=$(mktemp -d -t cluecast-demo.XXXXXX)
make_namespaces
reserve_pages
# The journal syncs what it writes, and would have to wait for what the build has left to write.
sync
start_appliance
check_mode
resets_before=$(resets)

in_players "$BIN/swarm" --game "$LISTEN" --admin "$ADMIN" --api-key demo --pid "$pid" \
    --players 2500 --rate 20 --bytes 200 --seconds 10 --spike-factor 10 --spike-ms 500 \
    --check --connect-s 5 --p99-ms 60 --p999-ms 120 --spike-p99-ms 200 "$@" 9>&- ||
    failed "the crowd found faults (above)"

leaked=$(($(resets) - resets_before))
[ "$leaked" -eq 0 ] || failed "the appliance's kernel refused $leaked segments (TcpOutRsts)"
say_losses
stop_appliance

if [ "${#failures[@]}" -gt 0 ]; then
    printf 'demo: FAILED: %s\n' "${failures[@]}"
    exit 1
fi
say "held: all delivered once and in order, nothing reached the kernel's TCP, clean exit"
