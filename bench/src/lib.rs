//! Load generators, attackers, bad wires and measurements. What judges the appliance is on ordinary
//! sockets: nothing of the appliance judges itself.
//!
//! - [`swarm`]: a crowd of players that checks every event it gets.
//! - [`storm`]: a crowd that is cut off and returns all at once.
//! - [`faultlink`]: a wire that loses, delays and damages.
//! - [`flood`]: an attacker.
//! - [`fanout`]: the same service on the kernel's TCP, to be measured beside.
//! - [`sidebyside`]: the comparison of the two.
//! - [`peers`]: the comparison of several, without loss.
//! - [`idle`]: what a player that does nothing costs.
//! - [`deflate`]: what compression saves and costs.
//! - [`walk`]: people under way with a phone.
//! - [`paths`]: what a point of their paths costs on disk.

mod dice;
pub mod packet;

pub mod swarm;
pub mod storm;
pub mod faultlink;
pub mod flood;
pub mod fanout;
pub mod sidebyside;
pub mod peers;
pub mod idle;
pub mod deflate;
pub mod walk;
pub mod paths;
