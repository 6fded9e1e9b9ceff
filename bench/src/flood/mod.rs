//! An attacker on the players' side: SYN floods from random sources, and segments slipped into
//! connections of others.
//!
//! Where it stands: on the interface that players use, on a packet socket, so that it takes no part in
//! any connection. Its frames come from a MAC address that nobody has: answers to it are dropped by
//! the host's kernel instead of being answered with RST, as answers to a spoofed source are lost.
//!
//! What it injects into connections is blind by choice: it sees the appliance's segments on the same
//! interface and knows each connection's addresses, ports and numbers, but never uses the sequence
//! number that the appliance expects next, nor an acknowledgement that it would accept (RFC 5961 3.2,
//! 4.2, 5.2: those cannot be told from the player's own).
//!
//! IPv4 only.

mod options;
mod segment;
mod flows;
mod attack;
mod run;

pub use options::{Kind, Options};
pub use run::{Report, run};
