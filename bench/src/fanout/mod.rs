//! The same service as the appliance's on Linux kernel TCP, the way one writes it: tokio, tungstenite,
//! one task a connection, a bounded broadcast queue a hunt. It exists to be measured beside the
//! appliance on the same wire.
//!
//! ```text
//!   POST /api/publish -> Hunts: offset, encode once -> broadcast -> task of each player -> kernel TCP
//! ```
//!
//! It speaks just enough of the client protocol for `swarm` (connect, subscribe to one hunt, pushes
//! with offsets, pings) and of the server API (publish). Fair to it: an event is encoded as JSON
//! once and its bytes are shared, TCP_NODELAY is on, whatever has gathered is written in one go, and
//! it keeps no journal, so a publish costs it no disk.
//!
//! Bounds: a player that finds itself [`Options::lag_events_max`] events behind is closed with 3008; one
//! that reads nothing at all holds up its own task and socket buffer, and nothing else. It has no
//! authentication, no history and no recovery.

mod options;
mod hunts;
mod player;
mod run;

pub use options::Options;
pub use run::run;
