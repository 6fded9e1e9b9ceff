//! The file of a JSON Web Key Set, read anew when it changes.
//!
//! Runs on the control core, on its pool for blocking calls: a file may lie on a slow disk. Compares the
//! whole text, not the time stamp: files are small, and what replaces files (editors, symbolic links of
//! an orchestrator) does not agree on time stamps. New keys reach the data cores by one swap of a pointer.
//!
//! A file that is gone or broken is logged and counted once, and leaves the keys that were read last: a
//! slip of the operator must not lock all players out. At start there are none to keep, so it refuses to
//! start.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use engine::metrics::catalog::Metric;
use engine::metrics::counters::Counters;
use tokio::task::spawn_blocking;
use tokio::time::interval;

use crate::auth::keys::{KeySet, Keys, Static};

/// How often the file is looked at: a new key is usually published minutes before it is used.
pub const PERIOD: Duration = Duration::from_secs(2);

/// Longest file taken, in bytes: thousands of keys, where a set has a handful.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A key file and what it held when it was last looked at.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    /// The text, or why there was none.
    seen: Result<String, String>,
    fixed: Static,
    keys: Arc<ArcSwap<Keys>>,
}

impl KeyFile {
    /// Reads the file for the first time; `fixed` are the keys beside it.
    pub fn open(path: &Path, fixed: Static) -> anyhow::Result<(Arc<ArcSwap<Keys>>, KeyFile)> {
        let about = || format!("client.token_jwks_file: {}", path.display());
        let text = read(path).map_err(anyhow::Error::msg).with_context(about)?;
        let set = KeySet::parse(&text).with_context(about)?;
        announce(path, &set);
        let keys = Arc::new(ArcSwap::from_pointee(Keys::new(fixed.clone(), Some(set))));
        let file = KeyFile {
            path: path.to_owned(),
            seen: Ok(text),
            fixed,
            keys: keys.clone(),
        };
        Ok((keys, file))
    }

    /// Looks at the file again, and takes over what it holds if that is new.
    pub fn look(&mut self, counters: &Counters) {
        let now = read(&self.path);
        if now == self.seen {
            return;
        }
        let set = match &now {
            Ok(text) => KeySet::parse(text).map_err(|error| error.to_string()),
            Err(why) => Err(why.clone()),
        };
        self.seen = now;
        match set {
            Ok(set) => {
                announce(&self.path, &set);
                let keys = Keys::new(self.fixed.clone(), Some(set));
                self.keys.store(Arc::new(keys));
                counters.inc(Metric::AuthKeysReloads);
            }
            Err(why) => {
                let path = self.path.display();
                tracing::error!("client.token_jwks_file: {path}: {why}; the keys read before stay");
                counters.inc(Metric::AuthKeysErrors);
            }
        }
    }

    /// Looks at the file for ever.
    pub async fn follow(mut self, counters: Counters) {
        let mut ticks = interval(PERIOD);
        loop {
            ticks.tick().await;
            let counters = counters.clone();
            let looked = spawn_blocking(move || {
                self.look(&counters);
                self
            });
            // It does not panic and is not cancelled before the runtime ends.
            let Ok(file) = looked.await else { return };
            self = file;
        }
    }
}

fn announce(path: &Path, set: &KeySet) {
    let (path, count, skipped) = (path.display(), set.len(), set.skipped);
    tracing::info!("{path}: {count} keys for tokens, {skipped} for something else");
}

fn read(path: &Path) -> Result<String, String> {
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("is longer than {FILE_BYTES_MAX} bytes"));
    }
    Ok(text)
}
