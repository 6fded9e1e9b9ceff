//! The main thread: gives the orders in time, publishes to the hunt of the storm, judges.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;

use super::crowd::{Board, Crowd, Phase, Shared, look};
use super::options::Options;
use super::player::Tally;
use super::publisher::Publisher;
use super::report::{Latency, Report, Seen};
use crate::swarm::process::{self, Sample};
use crate::swarm::{now_ns, raise_file_limit, seconds_to_ns};

/// How often the boards are looked at.
const LOOK: Duration = Duration::from_millis(2);
/// Descriptors beside the players' own.
const FILES: usize = 64;

/// What a storm leaves behind.
#[derive(Debug)]
pub struct Outcome {
    /// Whether all recovered exactly, and the ratio is within its bound if one was given.
    pub held: bool,
    /// See [`Report`].
    pub report: Report,
    /// The report for people.
    pub table: String,
}

/// A crowd on its thread.
#[derive(Debug)]
struct Party {
    board: Shared,
    count: usize,
    thread: JoinHandle<anyhow::Result<Tally>>,
}

/// When what happened, and what the appliance had used by then.
#[derive(Debug, Clone, Copy)]
struct Times {
    calm_ns: u64,
    cut_ns: u64,
    returned_ns: u64,
    /// When the last had recovered, if all did.
    recovered_ns: Option<u64>,
    /// When that, or giving up, was noticed.
    ended_ns: u64,
    cpu_before: Sample,
    cpu_after: Sample,
}

/// Runs a storm from the first connection to the verdict.
///
/// # Errors
///
/// When the machine or the admin API refuses something. What players find is no error but a finding.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    raise_file_limit(options.players + options.others + FILES)?;
    let hunt = |name: &str| format!("{}{name}", options.hunt_prefix);
    let others = Party::gather(options, &hunt("others"), options.others, true)?;
    let storm = Party::gather(options, &hunt("storm"), options.players, false)?;
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = Publisher::open(options, &hunt("others"))?;
    let (rate, stopped) = (options.others_rate, Arc::clone(&stop));
    let publisher = thread::spawn(move || publisher.run(rate, &stopped));
    let mut backend = Publisher::open(options, &hunt("storm"))?;

    let times = weather(options, &storm, &mut backend)?;
    let storm_complete = storm.reaches(options, backend.published);
    stop.store(true, Relaxed);
    let publisher = publisher
        .join()
        .map_err(|_| anyhow::anyhow!("the publisher's thread died"))??;
    let others_complete = others.reaches(options, publisher.published);
    let (storm, others) = (storm.end()?, others.end()?);

    let latencies = others.latencies.as_deref().unwrap_or_default();
    let (calm, gale) = (
        times.calm_ns..times.cut_ns,
        times.returned_ns..times.ended_ns,
    );
    let before = Latency::of(latencies, calm.clone());
    let during = Latency::of(latencies, gale.clone());
    let report = Report {
        players: options.players,
        missed: options.missed,
        events: backend.published,
        others_events: publisher.published,
        recovered_ms: times
            .recovered_ns
            .map(|end| (end - times.returned_ns) as f64 / 1e6),
        cpu_us_per_player: times.cpu_us() / options.players as f64,
        cores_busy: times.cpu_us() * 1e3 / (times.ended_ns - times.returned_ns) as f64,
        load: load(),
        storm: Seen::new(&storm, storm_complete),
        others: Seen::new(&others, others_complete),
        acks_before: Latency::of(&publisher.acks, calm),
        acks_during: Latency::of(&publisher.acks, gale),
        before,
        during,
        ratio: during.p99_ms / before.p99_ms,
    };
    Ok(Outcome {
        held: report.holds(options),
        table: report.table(),
        report,
    })
}

/// Calm, cut, the missed events, the return, until all have recovered or patience ends.
fn weather(options: &Options, storm: &Party, backend: &mut Publisher) -> anyhow::Result<Times> {
    backend.publish(now_ns())?;
    let first = storm.reaches(options, backend.published);
    anyhow::ensure!(
        first == options.players,
        "{first} players got the first event"
    );
    let calm_ns = now_ns();
    thread::sleep(Duration::from_nanos(seconds_to_ns(options.calm_s)));

    let cut_ns = now_ns();
    storm.order(Phase::Cut);
    storm.wait(options, |board| board.live == 0);
    for _ in 0..options.missed {
        backend.publish(now_ns())?;
    }
    let sample = || {
        options
            .pid
            .map(|pid| process::sample(pid, None))
            .transpose()
    };
    let cpu_before = sample()?.unwrap_or_default();
    look(&storm.board).target = backend.published;
    storm.order(Phase::Return);

    let gap_ns = seconds_to_ns(1.0 / options.rate);
    let until_ns = now_ns() + seconds_to_ns(options.patience_s);
    let mut due_ns = now_ns() + gap_ns;
    let recovered_ns = loop {
        let reached = storm.reached();
        if reached.is_some() || now_ns() > until_ns {
            break reached;
        }
        if due_ns <= now_ns() {
            backend.publish(due_ns)?;
            due_ns += gap_ns;
        }
        thread::sleep(LOOK);
    };
    let returned_ns = look(&storm.board).returned_ns;
    Ok(Times {
        calm_ns,
        cut_ns,
        returned_ns,
        recovered_ns,
        ended_ns: recovered_ns.unwrap_or_else(now_ns),
        cpu_before,
        cpu_after: sample()?.unwrap_or_default(),
    })
}

impl Times {
    fn cpu_us(&self) -> f64 {
        let all = |sample: Sample| sample.user_us + sample.system_us;
        (all(self.cpu_after) - all(self.cpu_before)) as f64
    }
}

impl Party {
    /// Connects `count` players to `channel`.
    fn gather(
        options: &Options,
        channel: &str,
        count: usize,
        keeps_latencies: bool,
    ) -> anyhow::Result<Party> {
        let board = Shared::default();
        let crowd = Crowd::new(options, channel, count, keeps_latencies, Arc::clone(&board))?;
        let party = Party {
            board,
            count,
            thread: thread::spawn(move || crowd.run()),
        };
        party.wait(options, |board| board.live == count);
        let live = look(&party.board).live;
        if live < count {
            let tally = party.end()?;
            let (errors, lost) = (tally.errors, tally.lost);
            anyhow::bail!("{live} of {count} joined {channel}: errors {errors:?}, lost {lost:?}");
        }
        Ok(party)
    }

    fn order(&self, phase: Phase) {
        look(&self.board).phase = phase;
    }

    /// Waits until `holds` or patience ends.
    fn wait(&self, options: &Options, holds: impl Fn(&Board) -> bool) {
        let until_ns = now_ns() + seconds_to_ns(options.patience_s);
        while now_ns() < until_ns && !self.thread.is_finished() && !holds(&look(&self.board)) {
            thread::sleep(LOOK);
        }
    }

    /// When the last of all reached the target.
    fn reached(&self) -> Option<u64> {
        let board = look(&self.board);
        let all = board.reached == self.count && board.reached_target == board.target;
        all.then_some(board.reached_ns)
    }

    /// Waits until all are at `offset`; how many are.
    fn reaches(&self, options: &Options, offset: u64) -> usize {
        look(&self.board).target = offset;
        self.wait(options, |board| {
            board.reached_target == offset && board.reached == self.count
        });
        look(&self.board).reached
    }

    fn end(self) -> anyhow::Result<Tally> {
        self.order(Phase::Stop);
        let died = |_| anyhow::anyhow!("a crowd's thread died");
        self.thread.join().map_err(died)?.context("a crowd")
    }
}

/// The load average over a minute; NaN if /proc does not say.
fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|word| word.parse().ok()).unwrap_or(f64::NAN)
}
