//! Why a configuration is refused: file, line, key, and what to do about it.

use std::path::{Path, PathBuf};

/// One thing that is wrong with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line, from 1; none when the key is not in the file at all.
    pub line: Option<usize>,
    /// The key with its table, `client.pong_timeout_s`; empty when the text is not TOML.
    pub key: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot read the configuration: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file says something that cannot be.
    #[error("{}", display_faults(file, faults))]
    Refused {
        /// The file.
        file: PathBuf,
        /// Everything that is wrong with it; never empty.
        faults: Vec<Fault>,
    },
}

fn display_faults(file: &Path, faults: &[Fault]) -> String {
    let line = |fault: &Fault| {
        let at = fault
            .line
            .map(|line| format!("{line}:"))
            .unwrap_or_default();
        let key = if fault.key.is_empty() {
            String::new()
        } else {
            format!("{}: ", fault.key)
        };
        format!("{}:{at} {key}{}", file.display(), fault.message)
    };
    faults.iter().map(line).collect::<Vec<_>>().join("\n")
}
