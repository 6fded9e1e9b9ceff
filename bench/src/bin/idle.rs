//! `idle`: the command line of [`bench::idle`]. Fails when an idle player costs more than its budget.

use std::alloc::System;

use cap::Cap;
use clap::Parser;

/// Counts what is handed out.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Memory of an idle player and time of an event to all, on the in-memory NIC.
#[derive(Debug, Parser)]
struct Options {
    /// Players.
    #[arg(long, default_value_t = 100_000)]
    players: u32,
}

#[allow(clippy::print_stdout, reason = "the table is what this program is for")]
fn main() -> anyhow::Result<std::process::ExitCode> {
    let outcome = bench::idle::run(Options::parse().players, || ALLOCATOR.allocated())?;
    print!("{}", outcome.table);
    Ok(u8::from(!outcome.held).into())
}
