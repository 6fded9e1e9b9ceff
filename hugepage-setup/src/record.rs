//! What was there before the first change: a file of JSON, written before the change is made and
//! removed when it is undone.
//!
//! Invariant: what the first run noted is never overwritten by a later one, so that any number of runs
//! are undone by one `--undo`. The file lies in /run: like what it is about, it is gone after a reboot.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// See the file's comment.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    #[serde(skip)]
    file: PathBuf,
    /// Pages of each pool that was changed, by the pool's directory.
    pub(crate) pools: BTreeMap<PathBuf, u64>,
    /// What was mounted.
    pub(crate) mount: Option<Mounted>,
}

/// A mount of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mounted {
    /// Where.
    pub(crate) directory: PathBuf,
    /// Whether the directory was made for it.
    pub(crate) made: bool,
}

impl Record {
    /// The record in `file`; an empty one if there is none.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Record> {
        let mut record = match fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                let file = file.display();
                format!("{file} is not what an earlier run wrote; remove it to go on without")
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => Record::default(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", file.display()));
            }
        };
        record.file = file.to_owned();
        Ok(record)
    }

    /// Writes it; whoever changes the host calls this first.
    pub(crate) fn save(&self) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self).context("the record")?;
        let fresh = self.file.with_extension("new");
        fs::write(&fresh, text)
            .and_then(|()| fs::rename(&fresh, &self.file))
            .with_context(|| format!("cannot write {}; run as root", self.file.display()))
    }

    /// Forgets everything.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.file.display()))
            }
            _ => Ok(()),
        }
    }
}
