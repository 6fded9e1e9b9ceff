//! The page that lists every number, made from the catalogue.

use std::fmt::Write;

use engine::metrics::catalog::{Kind, METRICS};
use xdp_prog::verdict::VERDICTS;

use super::QUANTILES;

#[test]
fn the_page_is_fresh() {
    let mut page = String::from(
        "# Metrics\n\nMade from `appliance/engine/src/metrics/catalog.rs`; do not edit this page.\n\n\
         Prometheus, at `/metrics` of the admin address: `cluecast_<name>{core=\"data-0\"}`, one series for \
         each core that has the metric.\nStatsD, over UDP, if `[statsd]` is configured: \
         `<prefix><name>` with the tag `core:data-0` (`dogstatsd = true`) or\n`<prefix>data-0.<name>`. A \
         counter is sent as what it grew by since the last report, and not at all when it did not.\n\n\
         | name | type | meaning |\n|---|---|---|\n",
    );
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        writeln!(page, "| `{}` | {kind} | {} |", metric.name, metric.meaning).unwrap();
    }
    page += "\n## Latency\n\nFrom a publish (its arrival on the control core or a data core) to its \
             place in a player's TCP stream, in microseconds.\nPrometheus: the summary \
             `cluecast_publish_to_wire_us` since the start, with quantiles ";
    page += &QUANTILES
        .map(|(_, label, _)| format!("`{label}`"))
        .join(", ");
    page += ".\nStatsD: the gauges `publish_to_wire_us.p50`, `.p90`, `.p99`, `.p999` and `.max` of the \
             interval.\n\n## Verdicts of the XDP program\n\nFrames, over all CPUs. Prometheus: \
             `cluecast_xdp_frames{verdict=\"steered\"}`. StatsD: `xdp_steered`.\n\n| verdict | meaning \
             |\n|---|---|\n";
    for (name, meaning) in VERDICTS {
        writeln!(page, "| `{name}` | {meaning} |").unwrap();
    }
    crate::docs::assert_page("metrics.md", &page);
}
