//! The simulator: our TCP against stacks it does not know, over paths that lose, reorder, repeat,
//! damage, delay, narrow, pause and break, in virtual time. One thread, no clock, no system call: a
//! run follows from its seed, and a seed that fails fails again.
//!
//! ```text
//!   server: App -> Tcp -> MemoryPort                 client: Foreign (smoltcp) or Receiver (ours)
//!                 |  ^                                             |  ^
//!                 v  |   checks: every frame, both ways            v  |
//!              path down, path up (one pair a client)  <->  world: a heap of moments
//! ```
//!
//! What holds in every run (`checks` looks at each frame, `world` at the ends):
//!
//! 1. The bytes a side reads are the bytes the other wrote, in order, once.
//! 2. The server sends nothing beyond the right edge the client offered, one byte of a window probe
//!    excepted; nothing larger than its MSS; no byte that was not written, none that changes when it
//!    is sent again, no gap, nothing behind FIN.
//! 3. Its own window never shrinks, its acknowledgment never goes back, and neither that nor a SACK
//!    block names what was not sent. All of this also across the wrap at 2^32.
//! 4. It is never silent for longer than a backed-off timeout while it owes bytes, and no stall is
//!    longer than what was lost or obstructed explains ([`checks`] says how long that is).
//! 5. What is sent again is in proportion to what went wrong; nothing goes round in one instant.
//! 6. A connection opens, finishes and closes once; it is given up only after 100 s without a word.
//! 7. At the end nothing is left: no record, piece, timer or reply.
//!
//! Where to read on: `scenario` (what a seed becomes), `world` (the run), `checks` (the bounds).
//! `docs/simulator.md` says how to use it.

mod baseline;
mod checks;
mod client;
mod content;
mod foreign;
mod path;
mod random;
mod receiver;
mod scenario;
mod server;
mod trace;
mod world;
pub mod command;
pub mod report;

pub use checks::Counts;
pub use client::{Ending, Kind, Plan, Reading};
pub use foreign::Settings;
pub use path::{Burst, Fate, Faults, Loss, Outage, Path};
pub use random::Random;
pub use receiver::Habits;
pub use scenario::{Engine, Scenario, names};
pub use server::Filling;
pub use world::{Outcome, Violation, run};
