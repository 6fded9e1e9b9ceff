//! One offered load, several servers: puts what `swarm --json` wrote of each in one table, the first one
//! against every other, and judges the ratios that were asked for.
//!
//! A figure of a server that did not deliver everything is shown, and marked; it is never the better one.

use std::fmt::Write;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;

/// Compares servers under the same load.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "peers", version)]
pub struct Options {
    /// What the load was.
    #[arg(long)]
    pub title: String,
    /// `NAME=FILE`: a server and its report; the first one is judged.
    #[arg(required = true)]
    pub reports: Vec<Named>,
    /// `FIGURE/NAME<=RATIO`: the first server's figure may be so many times that of server NAME.
    #[arg(long = "bound")]
    pub bounds: Vec<Bound>,
    /// Append the comparison to this file as one line of JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// A server's report.
#[derive(Debug, Clone)]
pub struct Named {
    name: String,
    file: PathBuf,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Named, String> {
        let (name, file) = text.split_once('=').ok_or("must be NAME=FILE")?;
        Ok(Named {
            name: name.to_owned(),
            file: file.into(),
        })
    }
}

/// A ratio that is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    figure: Figure,
    against: String,
    ratio_max: f64,
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Bound, String> {
        let parts = text.split_once("<=").and_then(|(pair, ratio)| {
            let (figure, against) = pair.split_once('/')?;
            Some((figure, against, ratio.parse().ok()?))
        });
        let (figure, against, ratio_max) = parts.ok_or("must be FIGURE/NAME<=RATIO")?;
        let figure = clap::ValueEnum::from_str(figure, false)?;
        Ok(Bound {
            figure,
            against: against.to_owned(),
            ratio_max,
        })
    }
}

/// What is compared; smaller is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Figure {
    /// Microseconds of the server's process for each delivery.
    Cpu,
    /// Median over the events of the time until the last player has it, milliseconds.
    Last,
    /// 99th percentile of all deliveries, milliseconds.
    P99,
    /// Bytes a player: the process and what the kernel keeps for its sockets.
    Memory,
}

/// One server's row.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
struct Row {
    name: String,
    /// Everyone connected, and every event reached everyone once and in order.
    complete: bool,
    delivered_percent: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
    last_player_ms: f64,
    cpu_us_per_delivery: f64,
    /// Of the whole CPU that the server runs on, interrupts and others' work there included.
    cpu_busy_us_per_delivery: f64,
    memory_bytes_per_player: f64,
    connect_seconds: f64,
}

impl Row {
    fn figure(&self, figure: Figure) -> f64 {
        match figure {
            Figure::Cpu => self.cpu_us_per_delivery,
            Figure::Last => self.last_player_ms,
            Figure::P99 => self.p99_ms,
            Figure::Memory => self.memory_bytes_per_player,
        }
    }

    fn of(name: &str, report: &Value) -> anyhow::Result<Row> {
        let number = |value: &Value, key: &str| {
            value[key]
                .as_f64()
                .with_context(|| format!("{name}: no {key}"))
        };
        let (steady, server) = (&report["steady"], &report["appliance"]);
        let faults = [
            "gaps",
            "duplicates",
            "out_of_order",
            "corrupt",
            "disconnects",
        ];
        let mut complete = report["players"] == report["players_subscribed"]
            && report["events_planned"] == report["events_acknowledged"]
            && report["delivered"] == report["expected"];
        for fault in faults {
            complete &= number(report, fault)? == 0.0;
        }
        Ok(Row {
            name: name.to_owned(),
            complete,
            delivered_percent: 100.0 * number(report, "delivered")?
                / number(report, "expected")?.max(1.0),
            p50_ms: number(steady, "p50_ms")?,
            p99_ms: number(steady, "p99_ms")?,
            p999_ms: number(steady, "p999_ms")?,
            max_ms: number(steady, "max_ms")?,
            last_player_ms: number(&report["last_player"], "p50_ms")?,
            cpu_us_per_delivery: number(server, "cpu_us_per_delivery")?,
            cpu_busy_us_per_delivery: number(server, "cpu_busy_us_per_delivery")?,
            memory_bytes_per_player: number(server, "bytes_per_player")?
                + number(server, "socket_bytes_per_player")?,
            connect_seconds: number(report, "connect_seconds")?,
        })
    }
}

/// A comparison, for people and for scripts.
#[derive(Debug)]
pub struct Comparison {
    /// The table.
    pub table: String,
    /// One line of JSON.
    pub json: String,
    /// Whether all bounds held.
    pub held: bool,
}

/// Reads the reports and compares.
pub fn run(options: &Options) -> anyhow::Result<Comparison> {
    let mut rows = Vec::new();
    for Named { name, file } in &options.reports {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("read the report {}", file.display()))?;
        rows.push(Row::of(name, &serde_json::from_str(&text)?)?);
    }
    let verdicts = options.bounds.iter().map(|bound| judge(&rows, bound));
    let verdicts: Vec<(bool, String)> = verdicts.collect::<anyhow::Result<_>>()?;
    let mut table = table(&options.title, &rows);
    for (held, what) in &verdicts {
        let _ = writeln!(
            table,
            "  {} {what}",
            if *held { "held:  " } else { "FAILED:" }
        );
    }
    let json = serde_json::json!({
        "title": options.title, "servers": rows,
        "bounds": verdicts.iter().map(|(held, what)| serde_json::json!({"held": held, "what": what}))
            .collect::<Vec<_>>(),
    });
    Ok(Comparison {
        table,
        json: json.to_string(),
        held: verdicts.iter().all(|(held, _)| *held),
    })
}

/// Whether `bound` holds, in words. A server that lost events has no claim to a figure.
fn judge(rows: &[Row], bound: &Bound) -> anyhow::Result<(bool, String)> {
    let ours = rows.first().context("no server")?;
    let theirs = rows
        .iter()
        .find(|row| row.name == bound.against)
        .with_context(|| format!("no report of {}", bound.against))?;
    let (mine, other) = (ours.figure(bound.figure), theirs.figure(bound.figure));
    let ratio = mine / other;
    let name = clap::ValueEnum::to_possible_value(&bound.figure);
    let name = name.as_ref().map_or("", |name| name.get_name());
    let what = format!(
        "{name}: {ratio:.2} of {} ({mine:.2} to {other:.2}), must be at most {}{}",
        bound.against,
        bound.ratio_max,
        if theirs.complete {
            ""
        } else {
            "; it lost events"
        }
    );
    // Nothing divided by nothing is no measurement.
    Ok((
        ours.complete && ratio.is_finite() && ratio <= bound.ratio_max,
        what,
    ))
}

fn table(title: &str, rows: &[Row]) -> String {
    let mut text = format!(
        "{title}\n{:<14}{:>11}{:>9}{:>9}{:>9}{:>9}{:>10}{:>10}{:>10}{:>10}{:>9}\n",
        "",
        "delivered",
        "p50 ms",
        "p99",
        "p99.9",
        "max",
        "last ms",
        "cpu us",
        "of CPU",
        "B/player",
        "conn. s"
    );
    for row in rows {
        let mark = if row.complete { ' ' } else { '!' };
        let _ = writeln!(
            text,
            "{:<14}{:>9.3}%{mark}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>10.2}{:>10.2}{:>10.2}{:>10.0}{:>9.2}",
            row.name,
            row.delivered_percent,
            row.p50_ms,
            row.p99_ms,
            row.p999_ms,
            row.max_ms,
            row.last_player_ms,
            row.cpu_us_per_delivery,
            row.cpu_busy_us_per_delivery,
            row.memory_bytes_per_player,
            row.connect_seconds,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, cpu: f64, complete: bool) -> Row {
        Row {
            name: name.into(),
            cpu_us_per_delivery: cpu,
            complete,
            ..Row::default()
        }
    }

    #[test]
    fn a_bound_is_read_and_judged() {
        let bound: Bound = "cpu/uws<=0.25".parse().unwrap();
        let judged = |ours, theirs, complete| {
            judge(
                &[row("ours", ours, complete), row("uws", theirs, true)],
                &bound,
            )
            .unwrap()
            .0
        };
        assert!(judged(1.0, 4.0, true));
        assert!(!judged(1.01, 4.0, true), "over the bound");
        assert!(!judged(1.0, 40.0, false), "we lost events");
        assert!(!judged(0.0, 0.0, true), "nothing was measured");
        assert!(judge(&[row("ours", 1.0, true)], &bound).is_err());
        assert!("cpu/uws".parse::<Bound>().is_err());
        assert!("speed/uws<=1".parse::<Bound>().is_err());
    }
}
