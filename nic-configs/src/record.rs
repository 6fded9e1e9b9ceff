//! What was there before the first change, in a file of JSON that is written before the change is made.
//!
//! Invariant: what the first run noted is never overwritten by a later one, so that any number of runs
//! are undone by one `--undo`. It says where each value belongs, so that it needs no profile to be
//! undone, also after an upgrade. The file lies in /run: a reboot undoes everything by itself.
//!
//! Undone in the order in which it was done, stage by stage (first the queues are back, then what
//! depends on them), but backwards within a stage: adaptive coalescing refuses times while it is on.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::setting::{Now, Place, Setting};

/// See the file's comment.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    #[serde(skip)]
    file: PathBuf,
    interface: String,
    entries: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// "features lro"; the first word is the stage.
    name: String,
    place: Place,
    before: String,
}

impl Record {
    /// The record in `file`, or an empty one.
    pub(crate) fn read(file: &Path, interface: &str) -> anyhow::Result<Record> {
        let mut record = match fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                let file = file.display();
                format!("{file} is not what an earlier run wrote; remove it to go on without")
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => Record {
                interface: interface.to_owned(),
                ..Record::default()
            },
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", file.display()));
            }
        };
        record.file = file.to_owned();
        ensure!(
            interface.is_empty() || record.interface == interface,
            "{} is about {} and not about {interface}",
            file.display(),
            record.interface
        );
        Ok(record)
    }

    /// Whether there is nothing to undo.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Remembers what can be changed among `settings` and is not yet known.
    pub(crate) fn note(&mut self, settings: &[Setting]) -> anyhow::Result<()> {
        let known = self.entries.len();
        for setting in settings {
            let Now::Value(before) = &setting.now else {
                continue;
            };
            if self
                .entries
                .iter()
                .any(|entry| entry.place == setting.place)
            {
                continue;
            }
            self.entries.push(Entry {
                name: setting.name.clone(),
                place: setting.place.clone(),
                before: before.clone(),
            });
        }
        if self.entries.len() == known {
            return Ok(());
        }
        let text = serde_json::to_vec_pretty(self).context("the record")?;
        let fresh = self.file.with_extension("new");
        fs::write(&fresh, text)
            .and_then(|()| fs::rename(&fresh, &self.file))
            .with_context(|| format!("cannot write {}; run as root", self.file.display()))
    }

    /// Puts everything back; whether all of it could be.
    pub(crate) fn undo(&self, say: &mut dyn FnMut(&str)) -> anyhow::Result<bool> {
        let stage = |entry: &Entry| entry.name.split(' ').next().map(str::to_owned);
        for stage in self.entries.chunk_by(|a, b| stage(a) == stage(b)) {
            for entry in stage.iter().rev() {
                entry.undo(say);
            }
        }
        let mut good = true;
        for entry in &self.entries {
            match entry.place.read() {
                Now::Value(now) | Now::Fixed(now) if now == entry.before => {}
                now => {
                    good = false;
                    say(&format!("{}: was {}, is {now:?}", entry.name, entry.before));
                }
            }
        }
        Ok(good)
    }

    /// Forgets everything.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        fs::remove_file(&self.file)
            .with_context(|| format!("cannot remove {}", self.file.display()))
    }
}

impl Entry {
    /// Goes on after a failure: what else can be put back should be.
    fn undo(&self, say: &mut dyn FnMut(&str)) {
        if self.place.read() == Now::Value(self.before.clone()) {
            return;
        }
        for action in self.place.actions(&self.before) {
            say(&action.to_string());
            if let Err(error) = action.run() {
                say(&format!("{}: {error:#}", self.name));
            }
        }
    }
}
