//! A bad wire between two interfaces, for kernels without netem and for tests that replay.
//!
//! Where it stands: in a network namespace of its own that holds one end of two veth pairs. What
//! comes in on one leaves on the other, later, damaged, twice or never.
//!
//! ```text
//!   PacketSocket -> Direction::take: lost? damage, delay -> Pipe (by due time) -> PacketSocket
//! ```
//!
//! One thread; it sleeps in ppoll(2) until a frame comes or one is due. Run it with real-time
//! priority (`chrt -f 1`) where other processes keep the CPUs busy: it has little to do, but at the
//! right time.
//!
//! Invariants:
//! - Every draw comes from the seed, in the order of the frames of a direction.
//! - Jitter alone never reorders a flow (addresses and ports); it does reorder flows among each
//!   other, as the radio links of different players would.
//! - Frames in flight are bounded; what is beyond is dropped and counted.
//! - Each received frame is in exactly one of: sent, lost for a named reason, in flight.

mod options;
mod faults;
mod frame;
mod pipe;
mod direction;
mod run;

pub use options::Options;
pub use run::run;
