//! `cluecast doctor` and `cluecast setup-arguments`: the host and its tools.

use std::io::{IsTerminal, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::say;
use crate::config::Config;
use crate::doctor::{Color, examine, setup_arguments};

/// Where the package keeps the configuration.
const USUAL: &str = "/etc/cluecast/cluecast.toml";

/// Options of `cluecast doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Configuration to examine the host for; /etc/cluecast/cluecast.toml if it is there.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints what `doctor` finds; 0 is green, 1 yellow, 2 red.
pub fn doctor(asked: &Doctor) -> anyhow::Result<ExitCode> {
    let usual = Path::new(USUAL);
    let file = asked.config.as_deref().or(usual.exists().then_some(usual));
    let report = examine(file);
    if asked.json {
        say(&serde_json::to_string_pretty(&report)?);
    } else {
        for finding in &report.findings {
            say(&format!(
                "{} {:14} {}",
                mark(finding.color),
                finding.check,
                finding.found
            ));
            if let Some(mend) = &finding.mend {
                say(&format!("{:22} -> {mend}", ""));
            }
        }
    }
    Ok(match report.color {
        Color::Green => ExitCode::SUCCESS,
        Color::Yellow => ExitCode::from(1),
        Color::Red => ExitCode::from(2),
    })
}

fn mark(color: Color) -> String {
    let (name, code) = match color {
        Color::Green => ("green ", 32),
        Color::Yellow => ("yellow", 33),
        Color::Red => ("red   ", 31),
    };
    if stdout().is_terminal() {
        format!("\u{1b}[{code}m{name}\u{1b}[0m")
    } else {
        name.to_owned()
    }
}

/// Which tool's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tool {
    /// hugepage-setup
    Pages,
    /// nic-setup
    Nic,
}

/// `cluecast setup-arguments TOOL --config FILE`.
pub fn arguments(tool: Tool, file: &Path) -> anyhow::Result<()> {
    let config = Config::load(file)?;
    let line = match tool {
        Tool::Pages => setup_arguments::pages(&config).context("game.interface")?,
        Tool::Nic => setup_arguments::nic(&config),
    };
    say(&line);
    Ok(())
}
