//! A crowd of players in one process, and the publisher that keeps it busy.
//!
//! Where it stands: outside the appliance, on ordinary kernel sockets, so that nothing of ours
//! judges itself. Three threads:
//!
//! ```text
//!   main       waits for the phases, draws the progress bar, reads /proc, writes the report
//!   crowd      all players: one epoll, one shared read buffer, no allocation per delivery
//!   publisher  the admin API, open loop: what is due is sent when it is due, acked or not
//! ```
//!
//! Invariants:
//! - An event's stamp is the moment it was *due* (`CLOCK_MONOTONIC`, nanoseconds), never the moment
//!   it was sent: a publisher or appliance that falls behind shows in the latencies instead of
//!   thinning the load (no coordinated omission).
//! - Every payload is rendered before the first one is published; a delivery is compared byte for
//!   byte with what was published.
//! - An event belongs to the spike if it was due inside the spike's window. Events that were due
//!   before or after it count as steady, also while the spike's backlog drains.
//!
//! It does not reconnect: a player that is cut off stays away, is counted, and its missing events
//! count as not delivered.

mod options;
mod clock;
mod plan;
pub(crate) mod wire;
mod ledger;
mod judge;
mod player;
mod crowd;
mod stalled;
mod publisher;
pub(crate) mod process;
mod report;
mod run;

pub(crate) use clock::{now_ns, seconds_to_ns};
pub(crate) use crowd::connect_to;
pub(crate) use judge::histogram;
pub use options::{Dialect, Options};
pub(crate) use publisher::Connection;
pub(crate) use run::raise_file_limit;
pub use run::{Outcome, run};
