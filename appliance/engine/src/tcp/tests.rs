//! Scripted segments: what a raw peer sends, and what has to come back, by the clock.

mod attacks;
mod close;
mod cookies;
mod duplicates;
mod handshake;
mod limits;
mod path_mtu;
mod peer;
mod receiving;
mod recovery;
mod sending;
mod smoltcp;
