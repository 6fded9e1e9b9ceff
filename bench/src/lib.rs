//! Load generators, attackers and bad wires, all on ordinary sockets: nothing of the appliance judges
//! itself.
//!
//! - [`swarm`]: a crowd of players that checks every event it gets.
//! - [`faultlink`]: a wire that loses, delays and damages.
//! - [`flood`]: an attacker.
//! - [`fanout`]: the same service on the kernel's TCP, to be measured beside.
//! - [`sidebyside`]: the comparison.

mod dice;
pub mod packet;

pub mod swarm;
pub mod faultlink;
pub mod flood;
pub mod fanout;
pub mod sidebyside;
