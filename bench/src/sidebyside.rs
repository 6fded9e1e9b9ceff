//! Puts the reports of two servers beside each other: what `swarm --json FILE --latencies FILE` wrote
//! in several rounds on the same wire, pooled, and the verdict.
//!
//! Percentiles are those of all deliveries of all rounds together; rounds are added as histograms,
//! never averaged. A figure is believed only if both sides delivered everything.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::Value;

/// Fewer deliveries than these say nothing about the worst one in a thousand.
const DELIVERIES_MIN: u64 = 20_000;

/// Compares two servers under the same crowd on the same wire.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "sidebyside", version)]
pub struct Options {
    /// What the wire was like.
    #[arg(long)]
    pub title: String,
    /// Reports of the appliance, written by `swarm --json`; beside each lies what `--latencies`
    /// wrote, with the extension .latencies.
    #[arg(long, num_args = 1.., required = true)]
    pub ours: Vec<PathBuf>,
    /// The same of the server on the kernel's TCP.
    #[arg(long, num_args = 1.., required = true)]
    pub kernel: Vec<PathBuf>,
    /// The appliance's p99 and p99.9 may be this many times the kernel's.
    #[arg(long, default_value_t = 1.0)]
    pub ratio_max: f64,
    /// Append the comparison to this file as one line of JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// All rounds of one server.
#[derive(Debug, Clone, Default, Serialize, PartialEq)]
struct Side {
    rounds: usize,
    expected: u64,
    delivered: u64,
    faults: u64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
    /// Of each round, to show how far rounds differ.
    rounds_p99_ms: Vec<f64>,
}

/// A comparison, for people and for scripts.
#[derive(Debug)]
pub struct Comparison {
    /// The table.
    pub table: String,
    /// One line of JSON.
    pub json: String,
    /// Whether all held.
    pub held: bool,
}

/// Reads the reports and compares.
pub fn run(options: &Options) -> anyhow::Result<Comparison> {
    let (ours, kernel) = (read(&options.ours)?, read(&options.kernel)?);
    let failures = judge(&ours, &kernel, options.ratio_max);
    let json = serde_json::json!({
        "title": options.title, "ours": ours, "kernel": kernel, "failures": failures
    });
    Ok(Comparison {
        table: table(&options.title, &ours, &kernel, &failures),
        json: json.to_string(),
        held: failures.is_empty(),
    })
}

fn read(reports: &[PathBuf]) -> anyhow::Result<Side> {
    let mut side = Side::default();
    let mut latencies = Histogram::<u64>::new(3).context("histogram")?;
    for file in reports {
        let report = std::fs::read_to_string(file).with_context(|| read_error(file))?;
        let report: Value = serde_json::from_str(&report).with_context(|| read_error(file))?;
        let count = |key: &str| report[key].as_u64().with_context(|| format!("no {key}"));
        side.rounds += 1;
        side.expected += count("expected")?;
        side.delivered += count("delivered")?;
        for fault in [
            "gaps",
            "duplicates",
            "out_of_order",
            "corrupt",
            "disconnects",
        ] {
            side.faults += count(fault)?;
        }
        side.faults += count("players")? - count("players_subscribed")?;
        side.faults += count("events_planned")? - count("events_acknowledged")?;
        side.rounds_p99_ms
            .push(report["steady"]["p99_ms"].as_f64().context("no p99")?);
        add(&file.with_extension("latencies"), &mut latencies)?;
    }
    let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e6;
    Ok(Side {
        p50_ms: at(0.5),
        p90_ms: at(0.9),
        p99_ms: at(0.99),
        p999_ms: at(0.999),
        max_ms: latencies.max() as f64 / 1e6,
        ..side
    })
}

fn add(file: &Path, latencies: &mut Histogram<u64>) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| read_error(file))?;
    for line in text.lines() {
        let (value, count) = line.split_once(' ').with_context(|| read_error(file))?;
        latencies.record_n(value.parse()?, count.parse()?)?;
    }
    Ok(())
}

fn read_error(file: &Path) -> String {
    format!("read {}", file.display())
}

/// What does not hold, in words.
fn judge(ours: &Side, kernel: &Side, ratio_max: f64) -> Vec<String> {
    let mut failures = Vec::new();
    for (name, side) in [("the appliance", ours), ("the kernel's server", kernel)] {
        let Side {
            expected,
            delivered,
            faults,
            ..
        } = side;
        if delivered != expected || *faults > 0 {
            let what = format!("{name}: {delivered} of {expected} delivered, {faults} faults");
            failures.push(what);
        }
        if *delivered < DELIVERIES_MIN {
            failures.push(format!(
                "{name}: {delivered} deliveries are too few for a p99.9"
            ));
        }
    }
    for (name, ours_ms, kernel_ms) in [
        ("p99", ours.p99_ms, kernel.p99_ms),
        ("p99.9", ours.p999_ms, kernel.p999_ms),
    ] {
        if ours_ms > kernel_ms * ratio_max {
            failures.push(format!(
                "{name}: {ours_ms:.2} ms, the kernel's is {kernel_ms:.2} ms, at most {ratio_max} times \
                 that is asked for"
            ));
        }
    }
    failures
}

fn table(title: &str, ours: &Side, kernel: &Side, failures: &[String]) -> String {
    let mut text = format!(
        "{title:<34}{:>16}{:>16}{:>8}\n",
        "appliance", "kernel TCP", "ratio"
    );
    let mut line = |name: &str, ours: String, kernel: String, ratio: String| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name:<34}{ours:>16}{kernel:>16}{ratio:>8}");
    };
    let delivered = |side: &Side| format!("{}/{}", side.delivered, side.expected);
    line(
        "  delivered/expected",
        delivered(ours),
        delivered(kernel),
        String::new(),
    );
    let faults = |side: &Side| side.faults.to_string();
    line(
        "  gaps, doubles, disorder, losses",
        faults(ours),
        faults(kernel),
        String::new(),
    );
    for (name, ours_ms, kernel_ms) in [
        ("  latency p50 (ms)", ours.p50_ms, kernel.p50_ms),
        ("  latency p90 (ms)", ours.p90_ms, kernel.p90_ms),
        ("  latency p99 (ms)", ours.p99_ms, kernel.p99_ms),
        ("  latency p99.9 (ms)", ours.p999_ms, kernel.p999_ms),
        ("  latency max (ms)", ours.max_ms, kernel.max_ms),
    ] {
        let ratio = format!("{:.3}", ours_ms / kernel_ms);
        line(
            name,
            format!("{ours_ms:.2}"),
            format!("{kernel_ms:.2}"),
            ratio,
        );
    }
    let rounds = |side: &Side| {
        let rounds = side
            .rounds_p99_ms
            .iter()
            .map(|p99_ms| format!("{p99_ms:.0}"));
        rounds.collect::<Vec<_>>().join(" ")
    };
    line(
        "  p99 of each round (ms)",
        rounds(ours),
        rounds(kernel),
        String::new(),
    );
    for failure in failures {
        let _ = writeln!(text, "  FAILED: {failure}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side() -> Side {
        Side {
            rounds: 1,
            expected: 40_000,
            delivered: 40_000,
            p99_ms: 100.0,
            p999_ms: 200.0,
            ..Side::default()
        }
    }

    #[test]
    fn each_bound_fails_by_itself() {
        let good = side();
        assert!(judge(&good, &good, 1.0).is_empty());
        let bad = [
            Side {
                p99_ms: 100.1,
                ..side()
            },
            Side {
                p999_ms: 200.1,
                ..side()
            },
            Side {
                delivered: 39_999,
                ..side()
            },
            Side {
                faults: 1,
                ..side()
            },
            Side {
                expected: 100,
                delivered: 100,
                ..side()
            },
        ];
        for side in bad {
            assert_eq!(judge(&side, &good, 1.0).len(), 1, "{side:?}");
        }
        let void = Side {
            delivered: 39_999,
            ..side()
        };
        assert_eq!(judge(&good, &void, 1.0).len(), 1, "nothing to compare with");
    }

    #[test]
    fn rounds_are_pooled() {
        let directory = std::env::temp_dir().join(format!("sidebyside-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let report = serde_json::json!({
            "expected": 1000, "delivered": 1000, "gaps": 0, "duplicates": 0, "out_of_order": 1,
            "corrupt": 0, "disconnects": 0, "players": 10, "players_subscribed": 9,
            "events_planned": 100, "events_acknowledged": 100, "steady": {"p99_ms": 7.0}
        });
        let files = ["1.json", "2.json"].map(|name| directory.join(name));
        for (file, latencies) in files
            .iter()
            .zip(["1000000 990\n9000000 10\n", "1000000 1000\n"])
        {
            std::fs::write(file, report.to_string()).unwrap();
            std::fs::write(file.with_extension("latencies"), latencies).unwrap();
        }
        let side = read(&files).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!((side.rounds, side.expected, side.faults), (2, 2_000, 4));
        assert!((0.99..1.01).contains(&side.p99_ms), "{side:?}");
        assert!((8.9..9.1).contains(&side.p999_ms), "{side:?}");
    }
}
