//! The whole appliance as its users meet it: the binary on AF_XDP in one network namespace, kernel
//! TCP players in another, backends on the admin API. One file a subject; `running` and `player`
//! are what they share. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may panic and speak"
)]
#![allow(unreachable_pub, reason = "a test program has no outside")]

#[path = "../../../xdp-prog/tests/world/mod.rs"]
mod world;

mod running;
mod tcp_cases;
mod player;
mod crowd;

mod api;
mod autobahn;
mod bad_input;
mod black_box;
mod doctor;
mod drain;
mod export;
mod first_light;
mod hostile;
mod kill9;
mod lossy;
mod positions;
mod presence;
mod sdk;
mod storm;
