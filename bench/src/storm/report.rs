//! What a storm found: as JSON, as a table, and whether it held.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::options::Options;
use super::player::Tally;

/// What a crowd saw that should not be, and where its events came from.
#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    /// Players that had every event at the end.
    pub complete: usize,
    /// Events that were jumped over, that came twice, and messages that are not what was published.
    pub missing: u64,
    /// See `missing`.
    pub duplicates: u64,
    /// See `missing`.
    pub corrupt: u64,
    /// Subscriptions that said they did not recover.
    pub not_recovered: u64,
    /// Events in subscribe replies.
    pub in_replies: u64,
    /// Events in pushes.
    pub in_pushes: u64,
    /// Error replies by code.
    pub errors: BTreeMap<u32, u64>,
    /// Connections that ended though nobody here cut them, by reason.
    pub lost: BTreeMap<String, u64>,
}

/// The 99th percentile of the others' latencies in one span of time, in milliseconds, and of how many.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Latency {
    /// 99th percentile.
    pub p99_ms: f64,
    /// Median.
    pub p50_ms: f64,
    /// Deliveries.
    pub count: u64,
}

/// See the file's header.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Players that were cut off.
    pub players: usize,
    /// Events each missed.
    pub missed: u64,
    /// Events of their hunt in all; each player has to see 1 to this, once and in order.
    pub events: u64,
    /// Events of the others' hunt, likewise.
    pub others_events: u64,
    /// First SYN of the return to the last player that has all it missed; all of them, or none.
    pub recovered_ms: Option<f64>,
    /// The appliance's CPU time in this span, for each player that returned; 0 without --pid.
    pub cpu_us_per_player: f64,
    /// The appliance's CPU time in this span over the span: cores that were busy.
    pub cores_busy: f64,
    /// The machine's load average over the last minute, at the end: who else was at work.
    pub load: f64,
    /// What the players saw.
    pub storm: Seen,
    /// What the others saw.
    pub others: Seen,
    /// The others' latency before the cut, ...
    pub before: Latency,
    /// ... and from the first SYN of the return to the last player's recovery.
    pub during: Latency,
    /// The same of the acknowledgements that the others' backend got: the part of it that is the admin
    /// API's and the journal's.
    pub acks_before: Latency,
    /// See `acks_before`.
    pub acks_during: Latency,
    /// p99 in the storm over p99 before.
    pub ratio: f64,
}

impl Seen {
    pub(super) fn new(tally: &Tally, complete: usize) -> Seen {
        Seen {
            complete,
            missing: tally.missing,
            duplicates: tally.duplicates,
            corrupt: tally.corrupt,
            not_recovered: tally.not_recovered,
            in_replies: tally.in_replies,
            in_pushes: tally.in_pushes,
            errors: tally.errors.clone(),
            lost: tally.lost.clone(),
        }
    }

    /// Every player of `players` had every event, once and in order.
    fn is_exact(&self, players: usize) -> bool {
        let wrong = self.missing + self.duplicates + self.corrupt + self.not_recovered;
        self.complete == players && wrong == 0
    }
}

impl Latency {
    /// Of what was due in `span`.
    pub(super) fn of(latencies: &[(u64, u64)], span: std::ops::Range<u64>) -> Latency {
        let mut histogram: Histogram<u64> = crate::swarm::histogram(60_000_000_000);
        for (due_ns, latency_ns) in latencies {
            if span.contains(due_ns) {
                histogram.saturating_record(*latency_ns);
            }
        }
        let ms = |percentile| histogram.value_at_percentile(percentile) as f64 / 1e6;
        Latency {
            p99_ms: ms(99.0),
            p50_ms: ms(50.0),
            count: histogram.len(),
        }
    }
}

impl Report {
    /// All recovered exactly and nobody else lost anything.
    pub fn is_exact(&self, options: &Options) -> bool {
        self.recovered_ms.is_some()
            && self.storm.is_exact(options.players)
            && self.others.is_exact(options.others)
    }

    /// Exact, and the others' p99 within the bound that was asked for.
    pub(super) fn holds(&self, options: &Options) -> bool {
        let bound = options.ratio_max.unwrap_or(f64::INFINITY);
        self.is_exact(options) && self.before.count > 0 && self.ratio <= bound
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(out, "{name:<22} {value}");
        };
        let (storm, others) = (&self.storm, &self.others);
        line(
            "returned",
            format!(
                "{} of {} complete; {} events each, {} of them missed",
                storm.complete, self.players, self.events, self.missed
            ),
        );
        let ms = self.recovered_ms;
        line(
            "last recovered after",
            ms.map_or("never".into(), |ms| format!("{ms:.0} ms")),
        );
        let (cpu, cores) = (self.cpu_us_per_player, self.cores_busy);
        line(
            "appliance CPU",
            format!("{cpu:.0} us a recovered player, {cores:.2} cores busy"),
        );
        line(
            "events of the storm",
            format!(
                "{} in replies, {} pushed",
                storm.in_replies, storm.in_pushes
            ),
        );
        for (name, seen) in [("storm", storm), ("others", others)] {
            line(
                &format!("wrong, {name}"),
                format!(
                    "{} missing, {} duplicate, {} corrupt, {} not recovered",
                    seen.missing, seen.duplicates, seen.corrupt, seen.not_recovered
                ),
            );
            let (errors, lost) = (&seen.errors, &seen.lost);
            line(
                &format!("retried, {name}"),
                format!("errors {errors:?}, connections {lost:?}"),
            );
        }
        for (name, latency) in [
            ("others, before", self.before),
            ("others, in the storm", self.during),
            ("acks, before", self.acks_before),
            ("acks, in the storm", self.acks_during),
        ] {
            line(
                name,
                format!(
                    "p50 {:.2} ms, p99 {:.2} ms of {}",
                    latency.p50_ms, latency.p99_ms, latency.count
                ),
            );
        }
        line(
            "p99 ratio",
            format!("{:.2} (machine's load {:.1})", self.ratio, self.load),
        );
        out
    }
}
