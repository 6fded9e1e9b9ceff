//! Load generators. One room so far: [`swarm`], a crowd of players on kernel sockets that checks
//! every event it gets.

pub mod swarm;
