//! The loop: look at what the appliance sends, send what is due, sleep.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use nix::sys::prctl::set_timerslack;
use serde::Serialize;

use super::attack::Attack;
use super::flows::Flows;
use super::options::{Kind, Options};
use crate::packet::{BATCH, Inbox, PacketSocket};
use crate::swarm::{now_ns, seconds_to_ns};

/// How exact a sleep is; the kernel's default is 50 us.
const TIMER_SLACK_NS: u64 = 1_000;
/// How long it sleeps when nothing is due: 20 segments at 200,000 a second.
const NAP: Duration = Duration::from_micros(100);

/// What was sent.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Segments the device took.
    pub sent: u64,
    /// Of each kind.
    pub kinds: BTreeMap<String, u64>,
    /// Segments it did not take.
    pub refused: u64,
    /// Connections of others that were seen.
    pub flows: usize,
    /// How long it took.
    pub seconds: f64,
    /// Segments a second that were really reached.
    pub rate: f64,
}

/// Attacks until the time is up.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    set_timerslack(TIMER_SLACK_NS).context("timer slack")?;
    let socket = PacketSocket::open(&options.interface)?;
    let mut inbox = Inbox::new();
    let mut flows = Flows::default();
    let mut attack = Attack::new(options);
    let mut frames = vec![Vec::new(); BATCH];
    let watches = options.kind.iter().any(|kind| *kind != Kind::Syn);
    let mut report = Report::default();
    let mut counts = BTreeMap::<Kind, u64>::new();
    let start_ns = now_ns();
    let end_ns = start_ns + seconds_to_ns(options.seconds);
    loop {
        let now = now_ns();
        if now >= end_ns {
            break;
        }
        if watches {
            socket.receive(&mut inbox).context("receive")?;
            inbox
                .frames()
                .for_each(|frame| flows.learn(frame, options.to));
        }
        let due = (now - start_ns) as f64 / 1e9 * options.rate;
        // What cannot be sent in time is given up after a second's worth, and shows in the rate.
        let behind = (due - (report.sent + report.refused) as f64).min(options.rate);
        if behind < 1.0 {
            std::thread::sleep(NAP);
            continue;
        }
        let mut count = 0;
        for frame in &mut frames {
            let kind = attack
                .next(&flows, frame)
                .filter(|_| (count as f64) < behind);
            let Some(kind) = kind else {
                break;
            };
            *counts.entry(kind).or_default() += 1;
            count += 1;
        }
        if count == 0 {
            std::thread::sleep(NAP);
            continue;
        }
        let sent = send(&socket, &frames[..count]);
        report.sent += sent as u64;
        report.refused += (count - sent) as u64;
    }
    report.flows = flows.len();
    report.seconds = (now_ns() - start_ns) as f64 / 1e9;
    report.rate = report.sent as f64 / report.seconds;
    let name = |(kind, count)| (format!("{kind:?}"), count);
    report.kinds = counts.into_iter().map(name).collect();
    Ok(report)
}

/// Sends `frames`; how many the device took. It refuses single ones when its queue is full.
fn send(socket: &PacketSocket, frames: &[Vec<u8>]) -> usize {
    let (mut at, mut taken) = (0, 0);
    while at < frames.len() {
        let frames = frames[at..].iter().map(Vec::as_slice);
        let sent = socket.send(frames).unwrap_or(0);
        taken += sent;
        at += sent.max(1);
    }
    taken
}
