//! The phases of a run, on the main thread: connect, publish, drain, report.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::clock::{now_ns, seconds_to_ns};
use super::crowd::{self, Crowd};
use super::options::Options;
use super::plan::{self, Plan};
use super::process::{self, Sample};
use super::publisher::{self, Publisher};
use super::report::{Appliance, Latency, Report, ratio};
use super::stalled::{Fates, Stalled};

/// From the last player's subscription to the first event: time for the crowd to get the plan.
const LEAD_NS: u64 = 300_000_000;
/// After the last expected delivery: time in which a duplicate would still arrive.
const LINGER: Duration = Duration::from_millis(300);
/// Events for each hunt that fill a stalled player's receive buffer, which holds some two kilobytes.
const FILLER_EVENTS: f64 = 20.0;
/// How long they take, and how long the frames they cause then have to come to rest.
const FILLER_SECONDS: f64 = 0.5;
/// How often the main thread looks.
const TICK: Duration = Duration::from_millis(20);

/// What a run has to say.
#[derive(Debug)]
pub struct Outcome {
    /// The table for people.
    pub table: String,
    /// The report as JSON.
    pub json: String,
    /// The steady latencies, `NANOSECONDS COUNT` a line.
    pub latencies: String,
    /// False when `--check` found something wrong.
    pub held: bool,
}

/// What the threads of one run share with the main thread.
struct Threads {
    crowd: JoinHandle<anyhow::Result<crowd::Result>>,
    crowd_shared: Arc<crowd::Shared>,
    publisher_shared: Arc<publisher::Shared>,
    bar: ProgressBar,
}

/// Process samples at the three moments that matter.
struct Samples {
    before: Option<Sample>,
    joined: Option<Sample>,
    after: Option<Sample>,
}

/// Runs a swarm from the first SYN to the report.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    raise_file_limit(options.players + options.stalled + options.publishers + 64)?;
    let sample = || {
        let sample = |pid| process::sample(pid, options.server_cpu);
        options.pid.map(sample).transpose()
    };
    let before = sample()?;
    let stalled = Stalled::join(options)?;
    close_windows(options)?;
    let publisher_shared = Arc::<publisher::Shared>::default();
    let publisher = Publisher::open(options, Arc::clone(&publisher_shared))?;
    let crowd_shared = Arc::<crowd::Shared>::default();
    let crowd = Crowd::new(options, Arc::clone(&crowd_shared))?;
    let crowd = std::thread::Builder::new()
        .name("crowd".into())
        .spawn(|| crowd.run())?;
    let bar = if options.quiet {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(0)
    };
    let threads = Threads {
        crowd,
        crowd_shared,
        publisher_shared,
        bar,
    };

    threads.wait_until_joined(options);
    let joined = sample()?;
    let due = plan::schedule(options);
    let start_ns = now_ns() + LEAD_NS;
    let plan = Arc::new(Plan::new(due, start_ns, options.hunts, options.bytes));
    let _ = threads.crowd_shared.plan.set(Arc::clone(&plan));
    let published = threads.publish(publisher, &plan)?;
    let finished_ns = threads.drain(options, &published);
    let samples = Samples {
        before,
        joined,
        after: sample()?,
    };
    std::thread::sleep(LINGER);
    let crowd = threads.stop()?;
    let stalled = stalled.finish();

    let mut report = make_report(options, &plan, &published, &crowd, finished_ns);
    let latencies = lines(&crowd.judge.steady);
    report.appliance = make_appliance(&samples, &report);
    report.stalled = stalled;
    if options.check {
        report.failures = report.check(options);
    }
    Ok(Outcome {
        table: report.table(),
        json: serde_json::to_string_pretty(&report)?,
        latencies,
        held: report.failures.is_empty(),
    })
}

impl Threads {
    /// Until every player is subscribed or gone, or the time is up.
    fn wait_until_joined(&self, options: &Options) {
        self.bar
            .set_style(style("connecting  {wide_bar} {pos}/{len} players"));
        self.bar.set_length(options.players as u64);
        let deadline_ns = now_ns() + seconds_to_ns(options.connect_timeout_s);
        loop {
            let live = self.crowd_shared.live.load(Relaxed);
            let gone = self.crowd_shared.gone.load(Relaxed);
            self.bar.set_position(live as u64);
            if live + gone >= options.players || self.is_over(deadline_ns) {
                return;
            }
            std::thread::sleep(TICK);
        }
    }

    fn is_over(&self, deadline_ns: u64) -> bool {
        now_ns() >= deadline_ns || self.crowd.is_finished()
    }

    /// Publishes on a thread of its own and draws meanwhile.
    fn publish(&self, publisher: Publisher, plan: &Arc<Plan>) -> anyhow::Result<publisher::Result> {
        self.bar
            .set_style(style("publishing  {wide_bar} {pos}/{len} events, {msg}"));
        self.bar.set_length(plan.len() as u64);
        let plan = Arc::clone(plan);
        let publisher = std::thread::Builder::new()
            .name("publisher".into())
            .spawn(move || publisher.run(&plan))?;
        while !publisher.is_finished() {
            self.bar
                .set_position(self.publisher_shared.acked.load(Relaxed));
            let delivered = self.crowd_shared.delivered.load(Relaxed);
            self.bar.set_message(format!("{delivered} deliveries"));
            std::thread::sleep(TICK);
        }
        publisher
            .join()
            .map_err(|_| anyhow::anyhow!("the publisher thread panicked"))?
    }

    /// Until all that was acknowledged is delivered, or nothing more comes; when that was.
    fn drain(&self, options: &Options, published: &publisher::Result) -> u64 {
        let acked = published.acked.iter().flatten().count() as u64;
        // With several hunts every player gets its own share; the exact number is in the report.
        let live = self.crowd_shared.live.load(Relaxed) as u64;
        let expected = acked * live / options.hunts as u64;
        let patience_ns = seconds_to_ns(options.drain_s);
        let (mut delivered, mut since_ns) = (0, now_ns());
        loop {
            let now = self.crowd_shared.delivered.load(Relaxed);
            if now != delivered {
                (delivered, since_ns) = (now, now_ns());
            }
            let even = options.hunts == 1 || published.acked.len().is_multiple_of(options.hunts);
            if (even && delivered >= expected) || self.is_over(since_ns + patience_ns) {
                return since_ns;
            }
            std::thread::sleep(TICK);
        }
    }

    fn stop(self) -> anyhow::Result<crowd::Result> {
        self.bar.finish_and_clear();
        self.crowd_shared.stop.store(true, Relaxed);
        self.crowd
            .join()
            .map_err(|_| anyhow::anyhow!("the crowd's thread panicked"))?
    }
}

/// Publishes until the windows of the stalled players are closed, so that what is measured afterwards is
/// a crowd beside readers that take nothing.
fn close_windows(options: &Options) -> anyhow::Result<()> {
    if options.stalled == 0 {
        return Ok(());
    }
    let filler = Options {
        rate: FILLER_EVENTS / FILLER_SECONDS * options.hunts as f64,
        seconds: FILLER_SECONDS,
        spike_ms: 0,
        ..options.clone()
    };
    let due = plan::schedule(&filler);
    let plan = Plan::new(due, now_ns(), options.hunts, options.bytes);
    let published = Publisher::open(options, Arc::default())?.run(&plan)?;
    anyhow::ensure!(
        published.acked.iter().all(Option::is_some),
        "events for the stalled players were refused: {:?}",
        published.refused
    );
    std::thread::sleep(Duration::from_secs_f64(FILLER_SECONDS));
    Ok(())
}

fn lines(histogram: &hdrhistogram::Histogram<u64>) -> String {
    let line = |value: hdrhistogram::iterators::IterationValue<u64>| {
        format!("{} {}\n", value.value_iterated_to(), value.count_at_value())
    };
    histogram.iter_recorded().map(line).collect()
}

fn make_report(
    options: &Options,
    plan: &Plan,
    published: &publisher::Result,
    crowd: &crowd::Result,
    finished_ns: u64,
) -> Report {
    let acked: Vec<_> = published
        .acked
        .iter()
        .enumerate()
        .filter(|(_, ack)| ack.is_some())
        .collect();
    let expected = acked
        .iter()
        .map(|(event, _)| crowd.joined[plan.hunt(*event)] as u64)
        .sum();
    let offsets_disputed = acked.iter().filter(|(event, ack)| {
        let seen = ack.and_then(|offset| crowd.judge.ledger.event_at(plan.hunt(*event), offset));
        seen.is_some_and(|seen| seen != *event)
    });
    let tally = &crowd.judge.tally;
    let started_ns = plan.due_ns(0);
    let seconds = ratio(finished_ns.saturating_sub(started_ns), 1e9);
    Report {
        players: options.players,
        players_subscribed: crowd.joined.iter().sum(),
        connect_seconds: ratio(crowd.connect_ns, 1e9),
        events_planned: plan.len(),
        events_acknowledged: acked.len(),
        events_refused: published.refused.clone(),
        offsets_disputed: offsets_disputed.count() as u64,
        publish_late_ms_max: ratio(published.late_ns_max, 1e6),
        ack: Latency::of(&published.ack),
        expected,
        delivered: tally.delivered,
        gaps: crowd.gaps,
        duplicates: tally.duplicates,
        out_of_order: tally.out_of_order,
        corrupt: tally.corrupt,
        first_corrupt: tally.first_corrupt.clone(),
        disconnects: tally.disconnects,
        leave_reasons: tally.reasons.clone(),
        close_codes: tally.close_codes.clone(),
        pings_answered: tally.pings,
        steady: Latency::of(&crowd.judge.steady),
        spike: Latency::of(&crowd.judge.spike),
        last_player: Latency::of(&crowd.judge.last_players()),
        seconds,
        events_per_second: ratio(acked.len() as u64, seconds),
        deliveries_per_second: ratio(tally.delivered, seconds),
        deliveries_per_read: ratio(tally.delivered, tally.reads as f64),
        appliance: None,
        stalled: Fates::default(),
        own_cpu_seconds: own_cpu_seconds(),
        own_cpu_us_per_delivery: ratio(crowd.user_us + crowd.system_us, tally.delivered as f64),
        own_system_us_per_delivery: ratio(crowd.system_us, tally.delivered as f64),
        failures: Vec::new(),
    }
}

fn make_appliance(samples: &Samples, report: &Report) -> Option<Appliance> {
    let (before, joined, after) = (samples.before?, samples.joined?, samples.after?);
    let delivered = report.delivered as f64;
    let user_us = after.user_us.saturating_sub(joined.user_us);
    let system_us = after.system_us.saturating_sub(joined.system_us);
    let grown = joined.rss_bytes.saturating_sub(before.rss_bytes);
    let busy_us = after.cpu_busy_us.saturating_sub(joined.cpu_busy_us);
    let sockets = joined.socket_bytes.saturating_sub(before.socket_bytes);
    Some(Appliance {
        before,
        joined,
        after,
        bytes_per_player: ratio(grown, report.players_subscribed as f64),
        socket_bytes_per_player: ratio(sockets, report.players_subscribed as f64),
        cpu_us_per_delivery: ratio(user_us + system_us, delivered),
        system_us_per_delivery: ratio(system_us, delivered),
        cpu_busy_us_per_delivery: ratio(busy_us, delivered),
    })
}

fn own_cpu_seconds() -> f64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| {
        let total = usage.user_time() + usage.system_time();
        ratio(u64::try_from(total.num_microseconds()).unwrap_or(0), 1e6)
    })
}

/// Lets this process have `wanted` open files.
pub(crate) fn raise_file_limit(wanted: usize) -> anyhow::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let wanted = wanted as u64;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)).with_context(|| {
            format!("raise the limit of open files from {soft} to {wanted}; run as root")
        })?;
    }
    Ok(())
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants of this file.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
