//! `cluecast doctor`: whether this host is right for the appliance, and what mends it.
//!
//! Reads and changes nothing, and needs no rights beyond those of whoever asks (without root it says
//! what it could not see). Each check is a function from what the kernel shows to one [`Finding`];
//! `host` has those of the machine, `nic` those of the game interface. Where /proc and /sys are is an
//! argument, so that each colour of each check has a test.
//!
//! Green is right, yellow works but slower or with a risk, red does not start or loses players. The exit
//! code is the worst of them, 0, 1 or 2, which is also how Nagios and its kin understand it.

mod host;
mod nic;
pub mod setup_arguments;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::{Config, ConfigError};

/// How good a finding is; the worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// Right.
    Green,
    /// It works, slower or with a risk.
    Yellow,
    /// It does not start, or loses players.
    Red,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the check.
    pub check: &'static str,
    /// How good it is.
    pub color: Color,
    /// What there is, and what follows from it.
    pub found: String,
    /// What mends it, a command where there is one; none if it is green.
    pub mend: Option<String>,
}

/// All findings.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The worst of the findings.
    pub color: Color,
    /// In the order of the checks.
    pub findings: Vec<Finding>,
}

/// Where /proc and /sys are, and what is asked of this host.
#[derive(Debug)]
struct Subject<'a> {
    root: PathBuf,
    config: Option<&'a Config>,
}

/// Examines this host, for the configuration in `file` if there is one.
pub fn examine(file: Option<&Path>) -> Report {
    let config = file.map(Config::load);
    let mut findings = vec![configuration(file, config.as_ref())];
    let config = config.and_then(Result::ok);
    let subject = Subject {
        root: PathBuf::from("/"),
        config: config.as_ref(),
    };
    findings.extend(host::checks(&subject));
    if let Some(config) = &config {
        findings.extend(nic::checks(&subject, config));
    }
    if let Some(file) = file {
        // The commands are there to be copied.
        let name = file.display().to_string();
        for mend in findings
            .iter_mut()
            .filter_map(|finding| finding.mend.as_mut())
        {
            *mend = mend.replace("--config FILE", &format!("--config {name}"));
        }
    }
    let color = findings.iter().map(|finding| finding.color).max();
    Report {
        color: color.unwrap_or(Color::Green),
        findings,
    }
}

fn configuration(file: Option<&Path>, config: Option<&Result<Config, ConfigError>>) -> Finding {
    let name = file.map_or(String::new(), |file| file.display().to_string());
    match config {
        None => yellow(
            "configuration",
            "none, so only the host itself is examined",
            "cluecast doctor --config FILE",
        ),
        Some(Ok(_)) => green("configuration", format!("{name} is good")),
        Some(Err(error)) => red(
            "configuration",
            error.to_string(),
            format!("edit {name}; cluecast check-config {name}"),
        ),
    }
}

fn green(check: &'static str, found: impl Into<String>) -> Finding {
    Finding {
        check,
        color: Color::Green,
        found: found.into(),
        mend: None,
    }
}

fn yellow(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding {
        check,
        color: Color::Yellow,
        found: found.into(),
        mend: Some(mend.into()),
    }
}

fn red(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding {
        check,
        color: Color::Red,
        found: found.into(),
        mend: Some(mend.into()),
    }
}

impl Subject<'_> {
    /// What a file below the root holds, without its line end.
    fn read(&self, below: &str) -> Option<String> {
        let text = fs::read_to_string(self.root.join(below)).ok()?;
        Some(text.trim().to_owned())
    }

    fn number(&self, below: &str) -> Option<u64> {
        self.read(below)?.parse().ok()
    }

    /// A list such as "0-3,8".
    fn cpus(&self, below: &str) -> Vec<usize> {
        cpu_list(&self.read(below).unwrap_or_default())
    }

    /// CPUs that the data cores and the journal are pinned to.
    fn pinned(&self) -> Vec<usize> {
        let Some(config) = self.config else {
            return Vec::new();
        };
        let data = config.game.cpus.iter();
        data.chain(&config.journal.cpu).copied().collect()
    }
}

/// "0-3,8" as numbers; what is no list gives none.
fn cpu_list(text: &str) -> Vec<usize> {
    let mut list = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse()) {
            list.extend(first..=last);
        }
    }
    list
}

/// Numbers as a list for people and commands: "2,3".
fn list(numbers: &[usize]) -> String {
    let words: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    words.join(",")
}
