//! The loop: sleep until a frame comes, one is due, or it is time to end.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::prctl::set_timerslack;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;

use super::direction::Direction;
use super::faults::Faults;
use super::options::Options;
use crate::packet::{Inbox, PacketSocket};
use crate::swarm::{now_ns, seconds_to_ns};

/// Two directions of one seed must not draw the same.
const OTHER_DIRECTION: u64 = 0x5555_5555_5555_5555;
/// How long a sleep may last; bounds how late anything that is not a descriptor is noticed.
const SLEEP_NS_MAX: u64 = 200_000_000;
/// How exact a sleep is; the kernel's default is 50 us.
const TIMER_SLACK_NS: u64 = 1_000;

/// Carries frames until the time is up or a signal comes; statistics go to `out`.
pub fn run(options: &Options, out: &mut impl Write) -> anyhow::Result<()> {
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGINT);
    ends.add(Signal::SIGTERM);
    ends.thread_block().context("block signals")?;
    let signals = SignalFd::with_flags(&ends, SfdFlags::SFD_NONBLOCK).context("signalfd")?;
    set_timerslack(TIMER_SLACK_NS).context("timer slack")?;
    let sockets = [
        PacketSocket::open(&options.a)?,
        PacketSocket::open(&options.b)?,
    ];
    let mut directions = [
        Direction::new(Faults::parse(&options.both, &options.ab)?, options.seed),
        Direction::new(
            Faults::parse(&options.both, &options.ba)?,
            options.seed ^ OTHER_DIRECTION,
        ),
    ];
    let mut inbox = Inbox::new();
    let start_ns = now_ns();
    let end_ns = options
        .seconds
        .map_or(u64::MAX, |seconds| start_ns + seconds_to_ns(seconds));
    let every_ns = options
        .every
        .map_or(u64::MAX, |seconds| seconds_to_ns(seconds).max(1));
    let mut report_ns = start_ns.saturating_add(every_ns);
    // Who started it may wait for this line.
    writeln!(
        out,
        "{}",
        serde_json::json!({ "between": [options.a, options.b] })
    )?;
    out.flush()?;
    loop {
        let now = now_ns();
        if now >= report_ns {
            report(&directions, now - start_ns, out)?;
            report_ns += every_ns;
        }
        if now >= end_ns || signals.read_signal().context("signalfd")?.is_some() {
            return report(&directions, now - start_ns, out);
        }
        let due_ns = directions.iter().filter_map(Direction::due_ns).min();
        let until_ns = due_ns.unwrap_or(u64::MAX).min(end_ns).min(report_ns);
        sleep(&sockets, &signals, until_ns.saturating_sub(now))?;
        for (side, direction) in directions.iter_mut().enumerate() {
            sockets[side].receive(&mut inbox).context("receive")?;
            let now = now_ns();
            for frame in inbox.frames() {
                direction.take(frame, now, now - start_ns);
            }
            direction.send_due(now, &sockets[1 - side]);
        }
    }
}

fn sleep(sockets: &[PacketSocket; 2], signals: &SignalFd, at_most_ns: u64) -> anyhow::Result<()> {
    let wait = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let mut fds = [
        wait(sockets[0].as_fd()),
        wait(sockets[1].as_fd()),
        wait(signals.as_fd()),
    ];
    let timeout = Duration::from_nanos(at_most_ns.min(SLEEP_NS_MAX));
    match ppoll(&mut fds, Some(TimeSpec::from_duration(timeout)), None) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error).context("ppoll"),
    }
}

fn report(directions: &[Direction; 2], up_ns: u64, out: &mut impl Write) -> anyhow::Result<()> {
    for (name, direction) in ["a to b", "b to a"].iter().zip(directions) {
        let seconds = up_ns as f64 / 1e9;
        let line = serde_json::json!({
            "direction": name, "seconds": seconds, "stats": direction.stats()
        });
        writeln!(out, "{line}")?;
    }
    Ok(out.flush()?)
}
