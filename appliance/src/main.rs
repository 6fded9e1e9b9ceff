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
mod doctor;
mod doorbell;
mod export;
mod plan;
mod privileges;
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

use sd_notify::NotifyState;

use crate::cli::Command;
use crate::config::{Config, Level};

/// Steady latency for the control core and the store; the data plane does not allocate.
#[global_allocator]
static ALLOCATOR: snmalloc_rs::SnMalloc = snmalloc_rs::SnMalloc;

fn main() -> ExitCode {
    let done = match cli::parse() {
        Command::Run { config } => run(&config),
        Command::CheckConfig { file } => cli::check_config(&file),
        Command::Doctor(asked) => return exit(cli::doctor(&asked)),
        Command::SetupArguments { tool, config } => cli::arguments(tool, &config),
        Command::Pages { directory } => cli::pages(&directory),
        Command::Simulate(asked) => cli::simulate(&asked),
        Command::Version => cli::version(),
    };
    exit(done.map(|()| ExitCode::SUCCESS))
}

fn exit(done: anyhow::Result<ExitCode>) -> ExitCode {
    match done {
        Ok(code) => code,
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
    // Nobody listens unless systemd started us; then it waits for this.
    if let Err(error) = sd_notify::notify(&[NotifyState::Ready]) {
        tracing::warn!("systemd cannot be told that we are ready: {error}");
    }
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
