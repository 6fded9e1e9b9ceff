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
    /// Names of the two sides.
    #[arg(long, num_args = 2, default_values_t = ["appliance".to_owned(), "kernel TCP".to_owned()])]
    pub names: Vec<String>,
    /// Reports of the side that is judged, written by `swarm --json`; beside each lies what
    /// `--latencies` wrote, with the extension .latencies.
    #[arg(long, num_args = 1.., required = true)]
    pub judged: Vec<PathBuf>,
    /// The same of the side it is held against.
    #[arg(long, num_args = 1.., required = true)]
    pub against: Vec<PathBuf>,
    /// The judged percentiles may be this many times the other side's.
    #[arg(long, default_value_t = 1.0)]
    pub ratio_max: f64,
    /// Which percentiles are judged.
    #[arg(long, num_args = 1.., value_parser = ["p50", "p90", "p99", "p99.9", "max"],
        default_values_t = ["p99".to_owned(), "p99.9".to_owned()])]
    pub percentiles: Vec<String>,
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
    let sides = [read(&options.judged)?, read(&options.against)?];
    let failures = judge(&sides, options);
    let json = serde_json::json!({
        "title": options.title, "names": options.names, "sides": sides, "failures": failures
    });
    Ok(Comparison {
        table: table(&sides, options, &failures),
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
fn judge(sides: &[Side; 2], options: &Options) -> Vec<String> {
    let mut failures = Vec::new();
    for (name, side) in options.names.iter().zip(sides) {
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
    let ratio_max = options.ratio_max;
    for (name, judged_ms, against_ms) in percentiles(sides) {
        if options.percentiles.iter().any(|one| one == name) && judged_ms > against_ms * ratio_max {
            failures.push(format!(
                "{name}: {judged_ms:.2} ms is more than {ratio_max} times {against_ms:.2} ms"
            ));
        }
    }
    failures
}

fn percentiles([a, b]: &[Side; 2]) -> [(&'static str, f64, f64); 5] {
    [
        ("p50", a.p50_ms, b.p50_ms),
        ("p90", a.p90_ms, b.p90_ms),
        ("p99", a.p99_ms, b.p99_ms),
        ("p99.9", a.p999_ms, b.p999_ms),
        ("max", a.max_ms, b.max_ms),
    ]
}

fn table(sides: &[Side; 2], options: &Options, failures: &[String]) -> String {
    let mut text = String::new();
    let mut line = |name: &str, [a, b]: [String; 2], ratio: &str| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name:<34}{a:>18}{b:>18}{ratio:>8}");
    };
    let names = [0, 1].map(|side| options.names[side].clone());
    line(&options.title, names, "ratio");
    let both = |tell: fn(&Side) -> String| [tell(&sides[0]), tell(&sides[1])];
    let delivered = both(|side| format!("{}/{}", side.delivered, side.expected));
    line("  delivered/expected", delivered, "");
    let faults = both(|side| side.faults.to_string());
    line("  gaps, doubles, disorder, losses", faults, "");
    for (name, a_ms, b_ms) in percentiles(sides) {
        let values = [a_ms, b_ms].map(|value_ms| format!("{value_ms:.2}"));
        let ratio = format!("{:.3}", a_ms / b_ms);
        line(&format!("  latency {name} (ms)"), values, &ratio);
    }
    let rounds = both(|side| {
        let rounds = side
            .rounds_p99_ms
            .iter()
            .map(|p99_ms| format!("{p99_ms:.1}"));
        rounds.collect::<Vec<_>>().join(" ")
    });
    line("  p99 of each round (ms)", rounds, "");
    for failure in failures {
        let _ = writeln!(text, "  FAILED: {failure}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

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
        let line = "sidebyside --title t --judged a --against b";
        let options = Options::parse_from(line.split(' '));
        let failures = |a, b| judge(&[a, b], &options).len();
        assert_eq!(failures(side(), side()), 0);
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
        for side_that_fails in bad {
            assert_eq!(
                failures(side_that_fails.clone(), side()),
                1,
                "{side_that_fails:?}"
            );
        }
        let void = Side {
            delivered: 39_999,
            ..side()
        };
        assert_eq!(failures(side(), void), 1, "nothing to compare with");
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
