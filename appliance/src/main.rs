//! `cluecast`: delivers live game events to WebSocket players over AF_XDP.
//!
//! Here: command line, log, and the order of things. Read `start` for the wiring, `cores` for the
//! threads, and the `engine` crate for what they do.

#![allow(
    unreachable_pub,
    reason = "a binary has no outside: pub marks what other modules use"
)]

mod auth;
mod cli;
mod clock;
mod config;
mod control;
mod cores;
mod doorbell;
mod export;
mod plan;
mod region;
mod start;
mod stop;
mod store;
mod translate;

#[cfg(test)]
mod docs;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use crate::cli::Command;
use crate::config::{Config, Level};

/// Steady latency for the control core and the store; the data plane does not allocate.
#[global_allocator]
static ALLOCATOR: snmalloc_rs::SnMalloc = snmalloc_rs::SnMalloc;

fn main() -> ExitCode {
    let done = match cli::parse() {
        Command::Run { config } => run(&config),
        Command::CheckConfig { file } => cli::check_config(&file),
        Command::Simulate(asked) => cli::simulate(&asked),
        Command::Version => cli::version(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cluecast: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(file: &Path) -> anyhow::Result<()> {
    let config = Config::load(file)?;
    log_to_stderr(config.log.level);
    tracing::info!("cluecast {} starts", env!("CARGO_PKG_VERSION"));
    let appliance = start::start(&config)?;
    tracing::info!(
        "ready: players on {:?}, admin on {}",
        config.game.listen,
        config.admin.listen
    );
    stop::wait(appliance)?;
    tracing::info!("stopped");
    Ok(())
}

fn log_to_stderr(level: Level) {
    let level = match level {
        Level::Error => tracing::Level::ERROR,
        Level::Warn => tracing::Level::WARN,
        Level::Info => tracing::Level::INFO,
        Level::Debug => tracing::Level::DEBUG,
        Level::Trace => tracing::Level::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
