//! Latencies in figures, and the table that compares loss recoveries on one link.

use std::fmt::Write as _;

use crate::sim::scenario::{Engine, Scenario};
use crate::sim::world::{Outcome, Violation, run};
use crate::units::Micros;

/// Loss on the link of [`compare`].
const LOSS_PPM: u64 = 30_000;

/// Names of rows: the engine as it is.
pub const OURS: &str = "ours";
/// Without redundant data in later segments.
pub const NO_BUNDLING: &str = "no bundling";
/// Without that and without RACK-TLP.
pub const NEITHER: &str = "neither";
/// The same server on smoltcp's sockets.
pub const SMOLTCP: &str = "smoltcp sockets";

/// Percentiles of one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    /// Events.
    pub count: usize,
    /// Half of them were faster.
    pub p50: Micros,
    /// 99 %.
    pub p99: Micros,
    /// 99.9 %.
    pub p999: Micros,
    /// The slowest.
    pub max: Micros,
}

impl Latency {
    /// Of these.
    pub fn of(latencies: &[Micros]) -> Latency {
        let mut sorted = latencies.to_vec();
        sorted.sort_unstable();
        let at = |permille: usize| {
            // Nearest rank.
            let rank = (sorted.len() * permille).div_ceil(1_000);
            sorted
                .get(rank.saturating_sub(1))
                .copied()
                .unwrap_or_default()
        };
        Latency {
            count: sorted.len(),
            p50: at(500),
            p99: at(990),
            p999: at(999),
            max: at(1_000),
        }
    }
}

impl std::fmt::Display for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |span: Micros| format!("{}.{:01}", span.0 / 1_000, span.0 / 100 % 10);
        write!(
            f,
            "{} events, p50 {} ms, p99 {} ms, p99.9 {} ms, max {} ms",
            self.count,
            ms(self.p50),
            ms(self.p99),
            ms(self.p999),
            ms(self.max)
        )
    }
}

/// One server on the lossy mobile link.
#[derive(Debug, Clone)]
pub struct Row {
    /// Which.
    pub name: &'static str,
    /// What it showed.
    pub outcome: Outcome,
}

/// Ours, ours with parts switched off, and smoltcp's on the same link, seed and load.
pub fn compare(seed: u64, clients: u32, seconds: u64) -> Result<Vec<Row>, Violation> {
    let with = |rack_tlp, bundling, engine| {
        let mut link = Scenario::mobile(seed, clients, seconds, LOSS_PPM);
        link.tcp.rack_tlp = rack_tlp;
        link.tcp.bundling = bundling;
        link.engine = engine;
        link
    };
    let rows = [
        (OURS, with(true, true, Engine::Ours)),
        ("no RACK-TLP", with(false, true, Engine::Ours)),
        (NO_BUNDLING, with(true, false, Engine::Ours)),
        (NEITHER, with(false, false, Engine::Ours)),
        (SMOLTCP, with(true, true, Engine::Smoltcp)),
    ];
    let row = |(name, scenario): (&'static str, Scenario)| {
        run(&scenario, None).map(|outcome| Row { name, outcome })
    };
    rows.into_iter().map(row).collect()
}

/// The rows as text.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{:<20}{:>9}{:>9}{:>9}{:>9}{:>9}{:>11}{:>9}",
        "", "events", "p50", "p99", "p99.9", "max ms", "frames", "resent"
    );
    for Row { name, outcome } in rows {
        let latency = Latency::of(&outcome.latencies);
        let ms = |span: Micros| format!("{}.{}", span.0 / 1_000, span.0 / 100 % 10);
        let resent = match outcome.counts.segments {
            0 => "-".to_owned(),
            _ => outcome.counts.resent.to_string(),
        };
        let _ = writeln!(
            text,
            "{name:<20}{:>9}{:>9}{:>9}{:>9}{:>9}{:>11}{resent:>9}",
            latency.count,
            ms(latency.p50),
            ms(latency.p99),
            ms(latency.p999),
            ms(latency.max),
            outcome.counts.frames_down,
        );
    }
    text
}
