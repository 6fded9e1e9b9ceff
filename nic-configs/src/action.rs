//! The only ways in which anything is changed: a command, or a write to a file of the kernel. What is
//! printed is what is run.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// See the file's comment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Action {
    /// A program and its arguments.
    Run(Vec<String>),
    /// `text` into `file`, which has to exist.
    Write { file: PathBuf, text: String },
}

impl Action {
    /// A command of words that are separated by spaces.
    pub(crate) fn command(words: &str) -> Action {
        Action::Run(words.split_whitespace().map(str::to_owned).collect())
    }

    /// Does it.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        match self {
            Action::Run(words) => {
                let (program, arguments) = words.split_first().context("an empty command")?;
                let output = Command::new(program)
                    .args(arguments)
                    .output()
                    .with_context(|| format!("cannot run {program}; is it installed?"))?;
                if !output.status.success() {
                    let said = String::from_utf8_lossy(&output.stderr);
                    bail!("`{self}` failed ({}): {}", output.status, said.trim());
                }
            }
            Action::Write { file, text } => {
                let mut file = OpenOptions::new()
                    .write(true)
                    .truncate(true)
                    .open(file)
                    .with_context(|| format!("`{self}`"))?;
                file.write_all(text.as_bytes())
                    .with_context(|| format!("`{self}`"))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Run(words) => f.write_str(&words.join(" ")),
            Action::Write { file, text } => write!(f, "echo {text} > {}", file.display()),
        }
    }
}
