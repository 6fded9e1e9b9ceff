//! The command line.

mod doctor;
mod pages;
mod simulate;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use crate::config::Config;

pub use doctor::{Doctor, Tool, arguments, doctor};
pub use pages::pages;
pub use simulate::{Simulate, simulate};

/// Delivers live game events to WebSocket players over AF_XDP.
#[derive(Debug, Parser)]
#[command(name = "cluecast", version, disable_version_flag = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// What is asked for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the appliance until SIGTERM.
    Run {
        /// Configuration file (TOML); docs/config.md has every key.
        #[arg(long)]
        config: PathBuf,
    },
    /// Say whether a configuration file can be used, and if not, where and why.
    CheckConfig {
        /// Configuration file (TOML).
        file: PathBuf,
    },
    /// Say whether this host is right for the appliance, and what mends it; docs/install.md. The exit
    /// code is 0 if all is green, 1 if something is yellow, 2 if something is red.
    Doctor(Doctor),
    /// Print what a configuration asks of hugepage-setup or nic-setup, as their arguments.
    SetupArguments {
        /// Which tool.
        #[arg(value_enum)]
        tool: Tool,
        /// Configuration file (TOML).
        #[arg(long)]
        config: PathBuf,
    },
    /// Write manual pages and shell completions, for packages.
    #[command(hide = true)]
    Pages {
        /// Directory that gets man/ and completions/.
        directory: PathBuf,
    },
    /// Run the TCP engine against simulated networks in virtual time; docs/simulator.md.
    Simulate(Simulate),
    /// Print the version.
    Version,
}

/// Reads the command line; prints help or what is wrong with it and exits.
pub fn parse() -> Command {
    Line::parse().command
}

/// `cluecast check-config FILE`.
pub fn check_config(file: &Path) -> anyhow::Result<()> {
    let config = Config::load(file)?;
    let game = &config.game;
    say(&format!(
        "{}: good. Players on {:?} at {}, {} namespaces, journal in {} ({:?}), admin on {}.",
        file.display(),
        game.listen,
        game.interface,
        config.namespace.len(),
        config.journal.path.display(),
        config.journal.durability,
        config.admin.listen,
    ));
    Ok(())
}

/// `cluecast version`.
pub fn version() -> anyhow::Result<()> {
    say(&format!(
        "cluecast {} ({})",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH
    ));
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the answer to a command")]
fn say(text: &str) {
    println!("{text}");
}
