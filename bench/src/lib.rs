//! Load generators, attackers and bad wires, all on ordinary sockets: nothing of the appliance judges
//! itself. [`swarm`] is a crowd of players that checks every event it gets, [`faultlink`] a wire that
//! loses and delays, [`fanout`] the same service on the kernel's TCP for comparison.

pub mod packet;

pub mod swarm;
pub mod faultlink;
pub mod fanout;
pub mod sidebyside;
