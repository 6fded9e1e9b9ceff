//! The report: one structure, as a table for people, as JSON for scripts, and held against the
//! bounds of `--check`.

use std::collections::BTreeMap;
use std::fmt::Write;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::options::Options;
use super::process::Sample;
use super::stalled::Fates;

/// Percentiles in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Latency {
    pub(crate) count: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

impl Latency {
    /// The percentiles of a histogram of nanoseconds.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Latency {
        let at = |quantile| ratio(histogram.value_at_quantile(quantile), 1e6);
        Latency {
            count: histogram.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: ratio(histogram.max(), 1e6),
        }
    }
}

/// What the appliance's process used.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Appliance {
    /// Before the first player.
    pub(crate) before: Sample,
    /// All players subscribed, nothing published.
    pub(crate) joined: Sample,
    /// All delivered.
    pub(crate) after: Sample,
    /// Growth of resident memory from before to joined, per player.
    pub(crate) bytes_per_player: f64,
    /// Growth of what the kernel keeps for its sockets from before to joined, per player.
    pub(crate) socket_bytes_per_player: f64,
    /// User and system time per delivery, from the first event to the last delivery.
    pub(crate) cpu_us_per_delivery: f64,
    /// Of this, system time.
    pub(crate) system_us_per_delivery: f64,
    /// What the server's CPU was busy, if one was named.
    pub(crate) cpu_busy_us_per_delivery: f64,
}

/// See the file's header.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) players: usize,
    pub(crate) players_subscribed: usize,
    pub(crate) connect_seconds: f64,
    pub(crate) events_planned: usize,
    pub(crate) events_acknowledged: usize,
    pub(crate) events_refused: BTreeMap<String, u64>,
    /// Events whose acknowledged offset is not the one that players saw.
    pub(crate) offsets_disputed: u64,
    pub(crate) publish_late_ms_max: f64,
    pub(crate) ack: Latency,
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
    pub(crate) gaps: u64,
    pub(crate) duplicates: u64,
    pub(crate) out_of_order: u64,
    pub(crate) corrupt: u64,
    pub(crate) first_corrupt: Option<String>,
    pub(crate) disconnects: u64,
    pub(crate) leave_reasons: BTreeMap<String, u64>,
    pub(crate) close_codes: BTreeMap<u16, u64>,
    pub(crate) pings_answered: u64,
    pub(crate) steady: Latency,
    pub(crate) spike: Latency,
    /// From due to the last of an event's players, outside the spike; one value an event.
    pub(crate) last_player: Latency,
    pub(crate) seconds: f64,
    pub(crate) events_per_second: f64,
    pub(crate) deliveries_per_second: f64,
    pub(crate) deliveries_per_read: f64,
    pub(crate) appliance: Option<Appliance>,
    pub(crate) stalled: Fates,
    /// CPU time of the whole load generator, and of the crowd's thread per delivery.
    pub(crate) own_cpu_seconds: f64,
    pub(crate) own_cpu_us_per_delivery: f64,
    /// Of this, system time.
    pub(crate) own_system_us_per_delivery: f64,
    /// What `--check` found wrong; empty if all held or nothing was asked.
    pub(crate) failures: Vec<String>,
}

/// `part / whole` of integers, zero where there is no whole.
pub(crate) fn ratio(part: u64, whole: f64) -> f64 {
    // Figures for people: 53 bits of a nanosecond count are enough for a hundred days.
    if whole > 0.0 {
        part as f64 / whole
    } else {
        0.0
    }
}

impl Report {
    /// What does not hold of the bounds in `options`, in words.
    pub(crate) fn check(&self, options: &Options) -> Vec<String> {
        let mut failures = Vec::new();
        let mut must = |holds: bool, what: String| {
            if !holds {
                failures.push(what);
            }
        };
        let all = self.players_subscribed == self.players;
        must(
            all,
            format!(
                "{} of {} players subscribed",
                self.players_subscribed, self.players
            ),
        );
        let acked = self.events_acknowledged == self.events_planned;
        must(
            acked,
            format!(
                "{} of {} acked",
                self.events_acknowledged, self.events_planned
            ),
        );
        must(
            self.expected > 0,
            "nothing was expected, so nothing was proved".into(),
        );
        let complete = self.delivered == self.expected;
        must(
            complete,
            format!("delivered {} of {}", self.delivered, self.expected),
        );
        for (count, what) in [
            (self.gaps, "gaps"),
            (self.duplicates, "duplicates"),
            (self.out_of_order, "out of order"),
            (self.corrupt, "corrupt"),
            (self.disconnects, "disconnects"),
            (
                self.offsets_disputed,
                "acknowledged under another offset than delivered",
            ),
        ] {
            must(count == 0, format!("{count} {what}"));
        }
        must(
            self.stalled.are_just(),
            format!("stalled players: {:?}", self.stalled),
        );
        for (bound, value, what) in [
            (options.p99_ms, self.steady.p99_ms, "steady p99 (ms)"),
            (options.p999_ms, self.steady.p999_ms, "steady p99.9 (ms)"),
            (options.spike_p99_ms, self.spike.p99_ms, "spike p99 (ms)"),
            (
                options.connect_s,
                self.connect_seconds,
                "time to connect (s)",
            ),
        ] {
            if let Some(bound) = bound {
                must(
                    value < bound,
                    format!("{what} is {value:.2}, must be under {bound}"),
                );
            }
        }
        failures
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut rows = vec![
            row(
                "players subscribed",
                format!("{} / {}", self.players_subscribed, self.players),
            ),
            row("time to connect", format!("{:.2} s", self.connect_seconds)),
            row("events acknowledged", {
                format!("{} / {}", self.events_acknowledged, self.events_planned)
            }),
            row("delivered / expected", {
                let percent = 100.0 * ratio(self.delivered, self.expected as f64);
                format!("{} / {} ({percent:.4} %)", self.delivered, self.expected)
            }),
            row("gaps, duplicates, out of order", {
                format!("{}, {}, {}", self.gaps, self.duplicates, self.out_of_order)
            }),
            row(
                "corrupt, disconnects",
                format!("{}, {}", self.corrupt, self.disconnects),
            ),
            row("events/s, deliveries/s", {
                format!(
                    "{:.1}, {:.0}",
                    self.events_per_second, self.deliveries_per_second
                )
            }),
        ];
        if self.stalled.asked > 0 {
            let Fates {
                subscribed,
                alive,
                reset,
                close_codes,
                other,
                ..
            } = &self.stalled;
            rows.push(row(
                "stalled players",
                format!(
                    "{subscribed}: {reset} reset, {close_codes:?}, {alive} alive, {other} other"
                ),
            ));
        }
        if let Some(appliance) = &self.appliance {
            let mib = |bytes| ratio(bytes, 1_048_576.0);
            rows.push(row("appliance CPU per delivery", {
                let system_us = appliance.system_us_per_delivery;
                format!(
                    "{:.2} us ({system_us:.2} system)",
                    appliance.cpu_us_per_delivery
                )
            }));
            rows.push(row("appliance RSS, bytes per player", {
                let rss_mib = mib(appliance.after.rss_bytes);
                format!("{rss_mib:.1} MiB, {:.0}", appliance.bytes_per_player)
            }));
            rows.push(row("kernel's sockets, bytes per player", {
                format!("{:.0}", appliance.socket_bytes_per_player)
            }));
            rows.push(row("appliance huge pages", {
                format!("{:.0} MiB", mib(appliance.after.hugetlb_bytes))
            }));
        }
        rows.push(row("load generator CPU", {
            let per_delivery = self.own_cpu_us_per_delivery;
            format!(
                "{:.2} s, {per_delivery:.2} us per delivery",
                self.own_cpu_seconds
            )
        }));
        rows.push(row("pings answered", self.pings_answered.to_string()));
        format!("{}\n{}{}", rows.concat(), self.latencies(), self.remarks())
    }

    fn latencies(&self) -> String {
        let mut text = format!(
            "{:<26}{:>9}{:>10}{:>10}{:>10}{:>10}{:>10}\n",
            "latency (ms)", "count", "p50", "p90", "p99", "p99.9", "max"
        );
        for (name, latency) in [
            ("due to delivery, steady", &self.steady),
            ("due to delivery, spike", &self.spike),
            ("due to the last player", &self.last_player),
            ("due to acknowledgement", &self.ack),
        ] {
            let Latency {
                count,
                p50_ms,
                p90_ms,
                p99_ms,
                p999_ms,
                max_ms,
            } = latency;
            // Writing to a String does not fail.
            let _ = writeln!(
                text,
                "{name:<26}{count:>9}{p50_ms:>10.2}{p90_ms:>10.2}{p99_ms:>10.2}\
                 {p999_ms:>10.2}{max_ms:>10.2}"
            );
        }
        text
    }

    /// Only what went wrong.
    fn remarks(&self) -> String {
        let refused = self
            .events_refused
            .iter()
            .map(|(why, times)| (format!("refused: {why}"), times));
        let left = self
            .leave_reasons
            .iter()
            .map(|(why, times)| (format!("left: {why}"), times));
        let mut text = String::new();
        for (what, times) in refused.chain(left) {
            let _ = writeln!(text, "{times:>8} x {what}");
        }
        if let Some(message) = &self.first_corrupt {
            let _ = writeln!(text, "first corrupt message: {message}");
        }
        for failure in &self.failures {
            let _ = writeln!(text, "FAILED: {failure}");
        }
        text
    }
}

fn row(name: &str, value: String) -> String {
    format!("{name:<34}{value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn good() -> Report {
        Report {
            players: 2,
            players_subscribed: 2,
            events_planned: 3,
            events_acknowledged: 3,
            expected: 6,
            delivered: 6,
            connect_seconds: 0.1,
            ..Report::default()
        }
    }

    #[test]
    fn a_good_run_passes_and_each_fault_alone_fails() {
        let options = Options::parse_from([
            "swarm",
            "--p99-ms=60",
            "--p999-ms=120",
            "--spike-p99-ms=200",
            "--connect-s=5",
        ]);
        assert!(good().check(&options).is_empty());
        let faults: [fn(&mut Report); 14] = [
            |report| report.players_subscribed = 1,
            |report| report.events_acknowledged = 2,
            |report| report.delivered = 5,
            |report| report.delivered = 7,
            |report| (report.delivered, report.expected) = (0, 0),
            |report| report.gaps = 1,
            |report| report.duplicates = 1,
            |report| report.out_of_order = 1,
            |report| report.corrupt = 1,
            |report| report.disconnects = 1,
            |report| report.offsets_disputed = 1,
            |report| report.steady.p99_ms = 60.0,
            |report| report.steady.p999_ms = 120.0,
            |report| report.spike.p99_ms = 200.0,
        ];
        for (index, fault) in faults.iter().enumerate() {
            let mut report = good();
            fault(&mut report);
            assert_eq!(report.check(&options).len(), 1, "fault {index}");
        }
        assert_eq!(
            Report {
                connect_seconds: 5.0,
                ..good()
            }
            .check(&options)
            .len(),
            1
        );
    }
}
