//! How numbers leave: the page that lists every one, the text that Prometheus reads, and the
//! datagrams that a StatsD agent gets on a real socket.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine::metrics::catalog::{ALL, Kind, METRICS};
use engine::metrics::histogram::{Recorder, recorder};
use engine::units::Micros;
use xdp_prog::verdict::VERDICTS;

use super::statsd::Exporter;
use super::*;
use crate::config::Statsd;

/// The cores of an appliance with two queues, and the means to move their numbers.
struct World {
    sources: Sources,
    recorder: Recorder,
    steered: Arc<AtomicU64>,
    seconds: u64,
}

impl World {
    fn new() -> World {
        let names = ["data-0", "data-1", "control", "journal"];
        let cores = names.map(|name| (name.to_owned(), Counters::default()));
        let (recorder, collector) = recorder();
        let steered = Arc::new(AtomicU64::new(0));
        let count = steered.clone();
        let verdicts = move || vec![("steered", count.load(Ordering::Relaxed)), ("passed", 0)];
        World {
            sources: Sources::new(cores.into(), vec![collector], Box::new(verdicts)),
            recorder,
            steered,
            seconds: 0,
        }
    }

    fn core(&self, name: &str) -> &Counters {
        let mut cores = self.sources.cores().iter();
        &cores.find(|(core, _)| core == name).unwrap().1
    }

    /// A data core hands over a second with these latencies.
    fn latencies(&mut self, values: impl Iterator<Item = u64>) {
        values.for_each(|us| self.recorder.record(Micros(us), 1));
        self.seconds += 2;
        self.recorder.tick(Micros::from_secs(self.seconds));
        self.sources.collect();
    }
}

/// A StatsD agent and the exporter that reports to it.
struct Agent {
    socket: UdpSocket,
    exporter: Exporter,
}

impl Agent {
    fn new(settings: Statsd) -> Agent {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        Agent {
            exporter: Exporter::open(&Statsd {
                address,
                ..settings
            })
            .unwrap(),
            socket,
        }
    }

    /// The datagrams of one report.
    fn datagrams(&mut self, sources: &Sources) -> Vec<String> {
        self.exporter.report(sources);
        received(&self.socket)
    }

    /// The lines of one report but gauges of cores: what moved.
    fn moved(&mut self, sources: &Sources) -> BTreeSet<String> {
        let report = self.datagrams(sources).join("\n");
        let is_gauge = |line: &str| line.contains("|g") && line.contains("core:");
        report
            .lines()
            .filter(|line| !is_gauge(line))
            .map(str::to_owned)
            .collect()
    }
}

/// Everything that has arrived: on loopback that is everything that was sent.
fn received(socket: &UdpSocket) -> Vec<String> {
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let mut datagram = [0; 65_536];
    let mut datagrams = Vec::new();
    while let Ok(length) = socket.recv(&mut datagram) {
        datagrams.push(String::from_utf8(datagram[..length].to_vec()).unwrap());
    }
    datagrams
}

/// A set of lines.
fn lines<const N: usize>(lines: [&str; N]) -> BTreeSet<String> {
    lines.map(str::to_owned).into()
}

/// A metric's or a label's name, as Prometheus allows them (without the colon, which is for rules).
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Reads the text format line by line; gives the series with their values, and each family's type.
fn parse(text: &str) -> (HashMap<&str, u64>, HashMap<&str, &str>) {
    let (mut series, mut types, mut helped) = (HashMap::new(), HashMap::new(), HashSet::new());
    let mut family = "";
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, meaning) = rest.split_once(' ').unwrap();
            assert!(
                is_name(name) && !meaning.is_empty() && !meaning.contains('\\'),
                "{line}"
            );
            assert!(helped.insert(name), "{line} again");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "summary"].contains(&kind), "{line}");
            assert!(
                helped.contains(name) && types.insert(name, kind).is_none(),
                "{line} again"
            );
            family = name;
        } else {
            let (key, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = key.split_once('{').unwrap_or((key, "}"));
            // A family's lines stand together, under its type.
            let of = |suffix: &str| name.strip_suffix(suffix) == Some(family);
            assert!(
                of("") || (of("_count") && types[family] == "summary"),
                "{line} in {family}"
            );
            let labels = labels.strip_suffix('}').unwrap();
            for label in labels.split_terminator(',') {
                let (label, value) = label.split_once('=').unwrap();
                let value = value
                    .strip_prefix('"')
                    .and_then(|v| v.strip_suffix('"'))
                    .unwrap();
                assert!(is_name(label) && !value.contains(['"', '\\']), "{line}");
            }
            assert!(
                series.insert(key, value.parse().unwrap()).is_none(),
                "{line} again"
            );
        }
    }
    (series, types)
}

#[test]
fn prometheus_reads_every_number_once() {
    let mut world = World::new();
    world.core("data-1").set(Metric::SessionPlayers, 5);
    world.core("journal").add(Metric::JournalEvents, 12);
    world.core("control").add(Metric::RingSubmitFull, 3);
    world.steered.store(9, Ordering::Relaxed);
    world.latencies(1..=100);
    let text = prometheus::text(&world.sources);
    let (series, types) = parse(&text);
    for metric in METRICS {
        let name = format!("cluecast_{}", metric.name);
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        assert_eq!(types[name.as_str()], kind, "{name}");
        let series = series
            .keys()
            .filter(|key| key.starts_with(&format!("{name}{{core=")));
        assert!(series.count() > 0, "no core has {name}");
    }
    assert_eq!(types.len(), METRICS.len() + 2);
    let wanted = [
        ("cluecast_session_players{core=\"data-0\"}", 0),
        ("cluecast_session_players{core=\"data-1\"}", 5),
        ("cluecast_journal_events{core=\"journal\"}", 12),
        ("cluecast_presence_entries{core=\"journal\"}", 0),
        ("cluecast_ring_submit_full{core=\"control\"}", 3),
        ("cluecast_ring_submit_full{core=\"data-0\"}", 0),
        ("cluecast_xdp_frames{verdict=\"steered\"}", 9),
        ("cluecast_xdp_frames{verdict=\"passed\"}", 0),
        ("cluecast_publish_to_wire_us{quantile=\"0.5\"}", 50),
        ("cluecast_publish_to_wire_us{quantile=\"0.9\"}", 90),
        ("cluecast_publish_to_wire_us{quantile=\"0.99\"}", 99),
        ("cluecast_publish_to_wire_us{quantile=\"0.999\"}", 100),
        ("cluecast_publish_to_wire_us_count", 100),
    ];
    for (key, value) in wanted {
        assert_eq!(series[key], value, "{key}");
    }
    for foreign in [
        "journal_events{core=\"data-0\"}",
        "ring_submit_full{core=\"journal\"}",
    ] {
        let key = format!("cluecast_{foreign}");
        assert!(!series.contains_key(key.as_str()), "{key}");
    }
}

#[test]
fn statsd_gets_what_counters_grew_by() {
    let world = World::new();
    let mut agent = Agent::new(Statsd::default());
    assert_eq!(agent.moved(&world.sources), lines([]));
    let events = |n| world.core("journal").add(Metric::JournalEvents, n);
    events(5);
    world.steered.store(8, Ordering::Relaxed);
    let both = [
        "cluecast.journal_events:5|c|#core:journal",
        "cluecast.xdp_steered:8|c",
    ];
    assert_eq!(agent.moved(&world.sources), lines(both));
    assert_eq!(agent.moved(&world.sources), lines([]), "nothing changed");
    events(2);
    // The same counter of two cores is two counters.
    world.core("data-0").add(Metric::PortRxFrames, 1);
    world.core("data-1").add(Metric::PortRxFrames, 4);
    let three = [
        "cluecast.journal_events:2|c|#core:journal",
        "cluecast.port_rx_frames:1|c|#core:data-0",
        "cluecast.port_rx_frames:4|c|#core:data-1",
    ];
    assert_eq!(agent.moved(&world.sources), lines(three));
}

#[test]
fn statsd_gets_gauges_each_time_and_percentiles_of_the_interval() {
    let mut world = World::new();
    let mut agent = Agent::new(Statsd::default());
    world.core("data-1").set(Metric::SessionPlayers, 7);
    let players = "cluecast.session_players:7|g|#core:data-1";
    world.latencies(1..=100);
    for has_latency in [true, false] {
        let report = agent.datagrams(&world.sources).join("\n");
        assert!(report.lines().any(|line| line == players), "{report}");
        let latency = report
            .lines()
            .filter(|line| line.contains("publish_to_wire"));
        let wanted = ["p50:50", "p90:90", "p99:99", "p999:100", "max:100"]
            .map(|end| format!("cluecast.publish_to_wire_us.{end}|g"));
        let wanted = if has_latency { &wanted[..] } else { &[] };
        assert_eq!(latency.collect::<Vec<_>>(), wanted);
    }
    world.latencies([7, 7].into_iter());
    let report = agent.moved(&world.sources);
    assert!(
        report.contains("cluecast.publish_to_wire_us.p50:7|g"),
        "{report:?}"
    );
    // Prometheus keeps them all.
    assert_eq!(world.sources.latency().len(), 102);
}

#[test]
fn names_have_their_prefix_and_tags() {
    let report = |dogstatsd: bool| {
        let world = World::new();
        world.core("data-0").add(Metric::PortRxFrames, 3);
        world.steered.store(4, Ordering::Relaxed);
        let (prefix, tags) = (
            "game.".to_owned(),
            ["env:test", "zone:b"].map(str::to_owned),
        );
        let mut agent = Agent::new(Statsd {
            prefix,
            tags: tags.into(),
            dogstatsd,
            ..Statsd::default()
        });
        let report = agent.datagrams(&world.sources).join("\n");
        report.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let (dog, plain) = (report(true), report(false));
    assert!(dog.contains("game.port_rx_frames:3|c|#env:test,zone:b,core:data-0"));
    assert!(dog.contains("game.xdp_steered:4|c|#env:test,zone:b"));
    assert!(
        dog.iter()
            .all(|line| line.starts_with("game.") && line.contains("|#env:test,zone:b"))
    );
    assert!(plain.contains("game.data-0.port_rx_frames:3|c"));
    assert!(plain.contains("game.xdp_steered:4|c"));
    assert!(
        plain
            .iter()
            .all(|line| line.starts_with("game.") && !line.contains('#'))
    );
    assert_eq!(dog.len(), plain.len());
}

#[test]
fn datagrams_fit_a_frame_and_end_with_a_line() {
    let world = World::new();
    let mut wanted = HashSet::new();
    let tag = "t:".to_owned() + &"x".repeat(100);
    for (&metric, description) in ALL.iter().zip(METRICS) {
        for (core, _) in world.sources.values(metric) {
            world.core(core).set(metric, u64::MAX);
            let kind = if description.kind == Kind::Gauge {
                'g'
            } else {
                'c'
            };
            let (name, most) = (description.name, u64::MAX);
            wanted.insert(format!("cluecast.{name}:{most}|{kind}|#{tag},core:{core}"));
        }
    }
    let mut agent = Agent::new(Statsd {
        tags: vec![tag],
        ..Statsd::default()
    });
    let datagrams = agent.datagrams(&world.sources);
    let lengths: Vec<_> = datagrams.iter().map(String::len).collect();
    // Filled as far as whole lines go.
    let (_, full) = lengths.split_last().unwrap();
    assert!(
        full.iter().all(|length| (1_200..=1_432).contains(length)),
        "{lengths:?}"
    );
    let got = datagrams.iter().flat_map(|datagram| datagram.split('\n'));
    assert_eq!(got.map(str::to_owned).collect::<HashSet<_>>(), wanted);
}

#[test]
fn nothing_to_say_sends_nothing() {
    let nothing = Sources::new(Vec::new(), Vec::new(), Box::new(Vec::new));
    let mut agent = Agent::new(Statsd::default());
    assert_eq!(agent.datagrams(&nothing), [""; 0]);
}

/// The kernel answers each datagram to a closed port with an ICMP error.
#[test]
fn an_agent_may_go_and_come_back() {
    let world = World::new();
    let Agent {
        socket,
        mut exporter,
    } = Agent::new(Statsd::default());
    let address = socket.local_addr().unwrap();
    drop(socket);
    for _ in 0..3 {
        world.core("journal").inc(Metric::JournalEvents);
        exporter.report(&world.sources);
    }
    let socket = UdpSocket::bind(address).unwrap();
    world.core("journal").inc(Metric::JournalEvents);
    exporter.report(&world.sources);
    let report = received(&socket).join("\n");
    assert!(
        report.contains("cluecast.journal_events:1|c|#core:journal"),
        "{report}"
    );
}

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
