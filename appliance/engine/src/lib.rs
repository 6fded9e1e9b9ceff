//! The engine: the whole road of a frame and of an event, pure. No system call, no clock, no thread,
//! no C: time and frames come in as arguments, so the simulator, the fuzzers and the benches run
//! what the appliance runs.
//!
//! ```text
//!   a frame goes up                                        an event goes down
//!   port -> wire -> tcp -> ws -> session -> ring::submit    ring::broadcast -> hunt::log
//!                                      |                          |
//!                                      v                     hunt::fanout
//!                                   journal  -- order, store --   |
//!                                      |                          v
//!                                      +-> ring::broadcast   session::serve -> tcp -> wire -> port
//! ```
//!
//! The modules stand in that order. Read [`cores::data::DataCore::turn`] for the first line and
//! [`journal::JournalCore::turn`] for what lies between the rings.

#![deny(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        clippy::too_many_lines,
        reason = "tests: numbers are small and known"
    )
)]

pub mod port;
pub mod wire;
pub mod tcp;
pub mod ws;
pub mod session;
pub mod ring;
pub mod journal;
pub mod hunt;
pub mod path;

pub mod cores;
pub mod memory;
pub mod timer;
pub mod metrics;
pub mod protobuf;
pub mod units;
pub mod sim;
