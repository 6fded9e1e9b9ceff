# Two commands matter: `make demo` and `make test`. Both do their own set-up; run them as root on
# Debian 12. What links RocksDB (package cluecast) is built with --release only, so that its C++ is
# compiled once (some 15 minutes on two CPUs); everything else is tested in the dev profile.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

export CARGO_TARGET_DIR ?= $(HOME)/.cache/cluecast/target
export PATH := $(HOME)/.cargo/bin:$(PATH)

CONFIG ?= appliance/src/config/default.toml
SCRIPTS := .ci/deb .ci/fuzz .ci/rfc .ci/run .ci/setup .ci/test .ci/test-deb .ci/test-nic-vm appliance/package/postinst appliance/package/postrm appliance/package/prerm appliance/tests/appliance/autobahn/install appliance/tests/appliance/sdk/install bench/demo.sh bench/hostile.sh bench/lossy.sh bench/peers.sh bench/peers/install bench/storm.sh nic-configs/tests/fake-ethtool nic-configs/tests/fake-systemctl nic-configs/tests/guest.sh

.PHONY: setup demo run test test-deb test-nic-vm deb autobahn lint bench bench-lossy bench-hostile fuzz rfc soak bench-storm bench-peers

# Installs what is missing; asks no network when nothing is.
setup:
	.ci/setup

# 2,500 players in a network namespace of their own, 10 s of events, a spike; prints a table.
demo: setup
	cargo build --release -p cluecast
	cargo build --release -p bench -p hugepage-setup
	bench/demo.sh

# The appliance in the foreground: make run CONFIG=FILE
run: setup
	cargo build --release -p cluecast
	"$$CARGO_TARGET_DIR/release/cluecast" run --config $(CONFIG)

# Every test; the last line is the sum.
test: setup
	.ci/test

# The Debian package: the appliance, both set-up tools, their units and pages.
deb: setup
	cargo build --release -p cluecast
	cargo build --release -p hugepage-setup -p nic-configs
	.ci/deb

# Installs, runs, upgrades, removes and purges it in a Debian 12 of its own, booted in namespaces.
test-deb: deb
	.ci/test-deb "$$CARGO_TARGET_DIR/debian/cluecast.deb"

# nic-setup on an emulated igb and virtio-net, in QEMU.
test-nic-vm: setup
	cargo build --release -p nic-configs
	.ci/test-nic-vm "$$CARGO_TARGET_DIR/release/nic-setup"

# The Autobahn cases by both engines: the quick one of `make test` and the original (docs/autobahn.md);
# all of the cases of compression (docs/autobahn-deflate.md).
autobahn: setup
	cargo nextest run --release -p cluecast --test appliance --run-ignored all autobahn

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --exclude cluecast --all-targets -- -D warnings
	cargo clippy --release -p cluecast --all-targets -- -D warnings
	shellcheck $(SCRIPTS)

# The load generator and its judge, against a stand-in; what an idle player costs (fails above 512 bytes);
# what compression saves and costs; what a point of a path costs on disk, and beside events.
bench: setup
	cargo build --release -p bench
	"$$CARGO_TARGET_DIR/release/swarm" --help
	"$$CARGO_TARGET_DIR/release/idle"
	"$$CARGO_TARGET_DIR/release/deflate"
	"$$CARGO_TARGET_DIR/release/paths"
	cargo test --release -p cluecast --bin cluecast -- --ignored --nocapture points_beside_events

# FUZZ_SECONDS (60) for each fuzz target; prints the executions. Not a part of `make test`, which replays
# the committed corpus.
fuzz: setup
	.ci/fuzz

# Which section of which RFC is tested where.
rfc:
	@.ci/rfc

# Random seeds of the TCP simulator until it is stopped or one fails; assertions are on.
soak: setup
	cargo test --profile soak -p engine --test simulator -- --ignored --nocapture soak

# The appliance beside the same service on Linux kernel TCP behind 1, 3 and 10 % loss; some eight minutes.
bench-lossy: setup
	cargo build --release -p cluecast
	cargo build --release -p bench
	bench/lossy.sh

# SYN flood, blind injection and stalled readers at full size; some four minutes.
bench-hostile: setup
	cargo build --release -p cluecast
	cargo build --release -p bench
	bench/hostile.sh

# 10,000 players are cut off and return at once, beside 500 others; half a minute.
bench-storm: setup
	cargo build --release -p cluecast
	cargo build --release -p bench
	bench/storm.sh

# The appliance beside uWebSockets, tokio-tungstenite, Go and nchan, one CPU each; some six minutes.
bench-peers:
	.ci/setup peers
	cargo build --release -p cluecast
	cargo build --release -p bench
	bench/peers.sh
