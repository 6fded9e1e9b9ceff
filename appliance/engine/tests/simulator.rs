//! The simulator's seeds: a fixed set, fresh random ones, the comparison that shows what RACK-TLP is
//! for, and that a run follows from its seed.
//!
//! `SIM_SEED=N` runs one (with `SIM_TRACE=1`, frame by frame), `SIM_SEEDS=N` sets how many fresh ones
//! are drawn, `SIM_SCENARIO=NAME` a kind. The ignored `soak` runs until it is stopped.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::print_stdout, reason = "what a failing run has to say")]

use std::time::{SystemTime, UNIX_EPOCH};

use engine::sim::command::{Options, simulate};
use engine::sim::report::{Latency, NEITHER, NO_BUNDLING, OURS, SMOLTCP, compare, table};
use engine::sim::{Scenario, run};

/// Seeds of each of the two tests that run in every test run, so that two cores share them: some
/// twenty seconds each.
const FIXED: u64 = 2_000;

/// Fresh seeds of each of the two tests that draw them, when `SIM_SEEDS` does not say. `make soak` is
/// what looks for the one in ten thousand.
const FRESH: u64 = 100;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn options(seed: u64, seeds: u64) -> Options {
    Options {
        seed,
        seeds,
        scenario: std::env::var("SIM_SCENARIO").ok(),
        trace: number("SIM_TRACE").is_some(),
        ..Options::default()
    }
}

fn clean(seed: u64, seeds: u64) {
    let mut out = Vec::new();
    let failed = simulate(&options(seed, seeds), &mut out).unwrap();
    println!("{}", String::from_utf8_lossy(&out));
    assert_eq!(failed, 0, "seeds that failed are listed above");
}

fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_micros() % 1_000_000_000_000).unwrap()
}

#[test]
fn fixed_seeds_are_clean() {
    clean(1, FIXED);
}

#[test]
fn more_fixed_seeds_are_clean() {
    clean(1 + FIXED, FIXED);
}

#[test]
fn fresh_seeds_are_clean() {
    match number("SIM_SEED") {
        Some(seed) => clean(seed, number("SIM_SEEDS").unwrap_or(1)),
        None => clean(fresh_seed(), number("SIM_SEEDS").unwrap_or(FRESH)),
    }
}

#[test]
fn more_fresh_seeds_are_clean() {
    if number("SIM_SEED").is_none() {
        // Far from those of the other test.
        clean(
            fresh_seed() + (1 << 48),
            number("SIM_SEEDS").unwrap_or(FRESH),
        );
    }
}

#[test]
fn a_run_follows_from_its_seed() {
    let trace = |seed| {
        let mut lines = Vec::new();
        let outcome = run(&Scenario::from_seed(seed), Some(&mut lines)).unwrap();
        (lines, outcome.latencies)
    };
    let (lines, latencies) = trace(11);
    assert!(!lines.is_empty());
    assert_eq!(trace(11), (lines, latencies));
}

/// Without bundling, which hides most losses of a thin stream before either can find them.
#[test]
fn without_rack_and_tail_probes_the_slowest_events_are_slower() {
    let rows = compare(3, 50, 30).unwrap();
    println!("{}", table(&rows));
    let latency = |name: &str| {
        let row = rows.iter().find(|row| row.name == name).unwrap();
        Latency::of(&row.outcome.latencies)
    };
    let (with, without) = (latency(NO_BUNDLING), latency(NEITHER));
    assert_eq!(with.count, 50 * 30 * 20);
    // A probe after two round trips against a timeout of 200 ms at least.
    assert!(
        without.p99.0 * 10 >= with.p99.0 * 13,
        "with: {with}; without: {without}"
    );
    let (ours, smoltcp) = (latency(OURS), latency(SMOLTCP));
    assert!(ours.p99 < with.p99 && ours.p999 < without.p999, "{ours}");
    assert!(ours.p99 < smoltcp.p99, "{ours}; smoltcp: {smoltcp}");
}

#[test]
#[ignore = "runs until it is stopped: make soak"]
fn soak() {
    let mut seed = fresh_seed();
    loop {
        clean(seed, 500);
        seed += 500;
    }
}
