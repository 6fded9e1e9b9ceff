//! Everybody comes back at once: a crowd of players is cut off, misses events, reconnects together and
//! recovers, while others in another hunt go on receiving.
//!
//! Where it stands: outside the appliance, on ordinary kernel sockets. Four threads:
//!
//! ```text
//!   main       gives the orders, publishes to the hunt of the storm, reads /proc, judges
//!   storm      the players that are cut off: one epoll
//!   others     the players that stay: one epoll; notes the latency of every event
//!   publisher  events for the others at a fixed rate, over one connection
//! ```
//!
//! ```text
//!   join ... calm ........ cut, events are missed ... all return ........ the last has recovered ... settle
//!            p99 "before"                             p99 "in the storm"
//! ```
//!
//! Invariants:
//! - A player takes offset after offset, across connections: anything but the next one is counted as
//!   missing or duplicate, whether it comes in the reply or as a push. Each event carries its own
//!   number, so that an event under a wrong offset is found too.
//! - The hunt of the storm gets further events while players return, so that what is recovered and what
//!   is new meet.
//! - An event's stamp is the moment it was due, never the moment it was sent.
//!
//! It retries as SDKs do: a temporary error after a growing random delay, and a lost connection likewise.

mod options;
mod publisher;
mod player;
mod crowd;
mod report;
mod run;

pub use options::Options;
pub use report::Report;
pub use run::{Outcome, run};
