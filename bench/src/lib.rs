//! Load generators and measurements: [`swarm`], a crowd of players on kernel sockets that checks
//! every event it gets; [`idle`], what a player that does nothing costs.

pub mod swarm;
pub mod idle;
