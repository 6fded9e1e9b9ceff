//! The text format of Prometheus, version 0.0.4.

use std::fmt::Write;

use engine::metrics::catalog::{ALL, Kind, METRICS};

use crate::export::{QUANTILES, Sources};

/// Everything there is to know, one line a number.
pub fn text(sources: &Sources) -> String {
    let mut out = String::with_capacity(32 * 1024);
    for (&metric, description) in ALL.iter().zip(METRICS) {
        let kind = match description.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let name = description.name;
        // Writing into a string cannot fail, here and below.
        let _ = writeln!(out, "# HELP cluecast_{name} {}", description.meaning);
        let _ = writeln!(out, "# TYPE cluecast_{name} {kind}");
        for (core, value) in sources.values(metric) {
            let _ = writeln!(out, "cluecast_{name}{{core=\"{core}\"}} {value}");
        }
    }
    let _ = writeln!(
        out,
        "# HELP cluecast_xdp_frames Frames by verdict of the XDP program"
    );
    let _ = writeln!(out, "# TYPE cluecast_xdp_frames counter");
    for (verdict, count) in sources.verdicts() {
        let _ = writeln!(out, "cluecast_xdp_frames{{verdict=\"{verdict}\"}} {count}");
    }
    let latency = sources.latency();
    let name = "cluecast_publish_to_wire_us";
    let _ = writeln!(
        out,
        "# HELP {name} Microseconds from a publish to its place in a player's stream"
    );
    let _ = writeln!(out, "# TYPE {name} summary");
    for (_, label, quantile) in QUANTILES {
        let value = latency.value_at_quantile(quantile);
        let _ = writeln!(out, "{name}{{quantile=\"{label}\"}} {value}");
    }
    let _ = writeln!(out, "{name}_count {}", latency.len());
    out
}
