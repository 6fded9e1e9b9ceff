//! TCP as a stranger sees it: 88 cases that a raw peer provokes against a WebSocket echo of which it
//! knows only address and port. The same functions run against the appliance on AF_XDP and against
//! the kernel's TCP, so that the cases are tested as well: what Linux fails is a mistake of the case.
//!
//! `table` lists the cases, `h` (handshake), `r` (receiving), `s` (sending), `c` (closing) and `a`
//! (attacks) hold one function each; `segment`, `net`, `peer`, `conn` and `ws` are the peer, `linux`
//! the server of comparison, `run` runs them and writes the page.
//!
//! Levels: MUST and SHOULD are the RFC's, ROB is robustness without RFC words, INFO is measured and
//! shown beside Linux and never fails.

#![allow(
    clippy::cast_possible_truncation,
    reason = "lengths and times of cases are small and known"
)]

/// Ends a case with what it saw, unless it saw what it should.
macro_rules! ensure {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err(format!($($what)+));
        }
    };
}

pub mod segment;
pub mod net;
pub mod peer;
pub mod conn;
pub mod ws;
pub mod linux;
pub mod random;
pub mod table;
pub mod run;
mod h;
mod r;
mod s;
mod c;
mod a;

/// What a case measured, or what went wrong.
pub type Outcome = Result<String, String>;

/// Nothing to say but that it holds.
pub fn holds() -> Outcome {
    Ok(String::new())
}
