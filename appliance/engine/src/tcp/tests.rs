//! Scripted segments: what a raw peer sends, and what has to come back, by the clock.

mod attacks;
mod close;
mod handshake;
mod peer;
mod receiving;
mod recovery;
mod sending;
mod smoltcp;
