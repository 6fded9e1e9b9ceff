//! `cluecast pages DIR`: manual pages and shell completions, made from the command line's own description.

use std::fs;
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use super::Line;

/// Writes `man/` and `completions/` below `directory`.
pub fn pages(directory: &Path) -> anyhow::Result<()> {
    let (man, completions) = (directory.join("man"), directory.join("completions"));
    for directory in [&man, &completions] {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    clap_mangen::generate_to(Line::command(), &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Line::command(), "cluecast", &completions)?;
    }
    Ok(())
}
