//! StatsD over UDP: counters as what they grew by, gauges as they are, latency percentiles of the
//! interval. Fire and forget: a lost datagram loses one interval.

use std::collections::HashMap;
use std::io;
use std::net::UdpSocket;

use engine::metrics::catalog::{ALL, Kind, METRICS};

use crate::config::Statsd;
use crate::export::{QUANTILES, Sources};

/// Longest datagram: what fits an Ethernet frame with IPv6 and room for a tunnel.
const DATAGRAM_BYTES_MAX: usize = 1_432;

/// Sends reports to one agent.
#[derive(Debug)]
pub struct Exporter {
    socket: UdpSocket,
    settings: Statsd,
    /// Counters as last reported.
    before: HashMap<String, u64>,
    datagram: String,
}

impl Exporter {
    /// Opens a socket. An agent that cannot be reached yet is no error: it may come.
    pub fn open(settings: &Statsd) -> io::Result<Exporter> {
        let any = if settings.address.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        let settings = settings.clone();
        Ok(Exporter {
            socket,
            settings,
            before: HashMap::new(),
            datagram: String::new(),
        })
    }

    /// One report.
    pub fn report(&mut self, sources: &Sources) {
        for (&metric, description) in ALL.iter().zip(METRICS) {
            for (core, value) in sources.values(metric) {
                match description.kind {
                    Kind::Gauge => self.put(description.name, Some(core), value, 'g'),
                    Kind::Counter => self.count(description.name, Some(core), value),
                }
            }
        }
        for (verdict, count) in sources.verdicts() {
            self.count(&format!("xdp_{verdict}"), None, count);
        }
        let latency = sources.latency_since();
        if !latency.is_empty() {
            for (percentile, _, quantile) in QUANTILES {
                let name = format!("publish_to_wire_us.{percentile}");
                self.put(&name, None, latency.value_at_quantile(quantile), 'g');
            }
            self.put("publish_to_wire_us.max", None, latency.max(), 'g');
        }
        self.flush();
    }

    /// A counter: only what it grew by, and nothing when it did not.
    fn count(&mut self, name: &str, core: Option<&str>, value: u64) {
        let key = format!("{}.{name}", core.unwrap_or_default());
        let before = self.before.insert(key, value).unwrap_or(0);
        if value > before {
            self.put(name, core, value - before, 'c');
        }
    }

    fn put(&mut self, name: &str, core: Option<&str>, value: u64, kind: char) {
        let Statsd {
            prefix,
            tags,
            dogstatsd,
            ..
        } = &self.settings;
        let line = if *dogstatsd {
            let core = core.map(|core| format!("core:{core}"));
            let tags: Vec<&str> = tags.iter().chain(&core).map(String::as_str).collect();
            let tags = if tags.is_empty() {
                String::new()
            } else {
                format!("|#{}", tags.join(","))
            };
            format!("{prefix}{name}:{value}|{kind}{tags}\n")
        } else {
            let core = core.map(|core| format!("{core}.")).unwrap_or_default();
            format!("{prefix}{core}{name}:{value}|{kind}\n")
        };
        if self.datagram.len() + line.len() > DATAGRAM_BYTES_MAX {
            self.flush();
        }
        self.datagram.push_str(&line);
    }

    fn flush(&mut self) {
        if self.datagram.is_empty() {
            return;
        }
        // An agent that is not there costs nothing but this report.
        let (bytes, agent) = (self.datagram.trim_end().as_bytes(), self.settings.address);
        let _ = self.socket.send_to(bytes, agent);
        self.datagram.clear();
    }
}
