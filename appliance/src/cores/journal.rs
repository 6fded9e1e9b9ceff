//! The thread of the journal core.

use std::os::fd::AsFd;

use engine::journal::JournalCore;
use engine::journal::store::Store;
use engine::units::Micros;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::clock;
use crate::cores::{Life, Pulse, Stage, pin};
use crate::doorbell::Doorbell;

/// How long the journal looks for work before it sleeps; see `cores::data`.
const SPIN: Micros = Micros(20);

/// Longest sleep: retention goes on without traffic.
const SLEEP_MS_MAX: u8 = 100;

/// What the journal's thread needs besides the core.
#[derive(Debug)]
pub struct Surroundings {
    /// Beats every turn.
    pub pulse: Pulse,
    /// CPU to run on.
    pub cpu: Option<usize>,
    /// Our own bell.
    pub bell: Doorbell,
    /// The bells of those who read our answers, in the order of the sinks.
    pub readers: Vec<Doorbell>,
    /// When to stop.
    pub life: Life,
}

/// Runs the journal until it is told to stop and has answered everything.
pub fn run<S: Store>(mut core: JournalCore<S>, around: &Surroundings) {
    pin(around.cpu, "journal");
    let mut idle_since = clock::now();
    loop {
        around.pulse.beat();
        let now = clock::now();
        if turn(&mut core, around, now) {
            idle_since = now;
        } else if around.life.stage() == Stage::Stop {
            return tracing::info!("the journal is stopped");
        } else if now.since(idle_since) >= SPIN {
            sleep(&mut core, around);
            idle_since = clock::now();
        } else {
            std::hint::spin_loop();
        }
    }
}

/// One turn; answers whether it did anything.
fn turn<S: Store>(core: &mut JournalCore<S>, around: &Surroundings, now: Micros) -> bool {
    let turn = core.turn(now, clock::wall_ms());
    for (index, reader) in around.readers.iter().enumerate() {
        if turn.wrote_to >> index & 1 == 1 {
            reader.ring();
        }
    }
    turn.busy
}

fn sleep<S: Store>(core: &mut JournalCore<S>, around: &Surroundings) {
    around.bell.lie_down();
    if !turn(core, around, clock::now()) {
        let mut fds = [PollFd::new(around.bell.as_fd(), PollFlags::POLLIN)];
        // Interrupted or not: the next turn finds out what there is to do.
        let _ = poll(&mut fds, PollTimeout::from(SLEEP_MS_MAX));
    }
    around.bell.get_up();
}
