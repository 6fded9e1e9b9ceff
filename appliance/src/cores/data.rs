//! The thread of a data core.

use std::os::fd::AsFd;

use engine::cores::data::DataCore;
use engine::units::Micros;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use xdp_prog::port::XskPort;

use crate::clock;
use crate::cores::{Life, Pulse, Stage, pin};
use crate::doorbell::Doorbell;

/// Adaptive polling: how long a core looks for work before it sleeps. About the cost of falling
/// asleep and being woken; longer starves the others on a host with fewer CPUs than threads.
const SPIN: Micros = Micros(20);

/// Longest sleep: bounds how stale the gauges get.
const SLEEP_MAX: Micros = Micros::from_millis(100);

/// Time that draining players have to take their close frames.
const DRAIN_MAX: Micros = Micros::from_secs(3);

/// What the thread of one data core needs besides the core.
#[derive(Debug)]
pub struct Surroundings {
    /// For logs: `data-0`.
    pub name: String,
    /// Beats every turn.
    pub pulse: Pulse,
    /// CPU to run on.
    pub cpu: Option<usize>,
    /// Never sleep.
    pub busy_poll: bool,
    /// Our own bell.
    pub bell: Doorbell,
    /// The right-hand neighbour's bell.
    pub neighbour: Doorbell,
    /// The journal's bell.
    pub journal: Doorbell,
    /// When to drain.
    pub life: Life,
}

/// Runs the core until it is drained.
pub fn run(mut core: DataCore<XskPort>, around: &Surroundings) {
    pin(around.cpu, &around.name);
    let mut idle_since = clock::now();
    let mut drain_until = None;
    loop {
        around.pulse.beat();
        let now = clock::now();
        let turn = turn(&mut core, around, now);
        if drain_until.is_none() && around.life.stage() >= Stage::Drain {
            core.drain();
            drain_until = Some(now + DRAIN_MAX);
        }
        if let Some(until) = drain_until
            && (core.sessions_held().0 == 0 || now >= until)
        {
            // One more round sends what the last connections are owed.
            self::turn(&mut core, around, clock::now());
            return tracing::info!("{} is drained", around.name);
        }
        if turn.busy {
            idle_since = now;
        } else if !around.busy_poll && now.since(idle_since) >= SPIN {
            sleep(&mut core, around);
            idle_since = clock::now();
        } else {
            std::hint::spin_loop();
        }
    }
}

fn turn(
    core: &mut DataCore<XskPort>,
    around: &Surroundings,
    now: Micros,
) -> engine::cores::data::Turn {
    let turn = core.turn(now);
    if turn.submitted {
        around.journal.ring();
    }
    if turn.handed_over {
        around.neighbour.ring();
    }
    turn
}

/// Sleeps until a frame, a bell or the next timer, unless something came in the meantime.
fn sleep(core: &mut DataCore<XskPort>, around: &Surroundings) {
    around.bell.lie_down();
    let now = clock::now();
    let last = turn(core, around, now);
    let span = last.poll_at.since(now).0.min(SLEEP_MAX.0);
    if !last.busy && span > 0 && around.life.stage() == Stage::Run {
        let nanoseconds = i64::try_from(span * 1_000).unwrap_or(i64::MAX);
        let port = core.port();
        let mut fds = [
            PollFd::new(port.as_fd(), PollFlags::POLLIN),
            PollFd::new(around.bell.as_fd(), PollFlags::POLLIN),
        ];
        // Interrupted or not: the next turn finds out what there is to do.
        let _ = ppoll(&mut fds, Some(TimeSpec::new(0, nanoseconds)), None);
    }
    around.bell.get_up();
}
