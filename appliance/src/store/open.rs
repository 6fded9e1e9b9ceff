//! Opening the directory: made if it is not there, refused with a reason if it is somebody else's,
//! in use, newer than this program, or damaged.
//!
//! Also what the last process left behind about itself: whether events that it acknowledged may be
//! gone. They may if it did not sync, did not close, and the host was started again since.

use std::path::{Path, PathBuf};

use engine::journal::Durability;
use rocksdb::{DB, IteratorMode, WriteBatch};

use crate::store::layout::{self, DEFAULT, FAMILIES, META, META_FORMAT, META_RUN};
use crate::store::{Options, write_options};

/// The run line of a process that closed the journal.
pub(super) const CLEAN: &str = "clean";

/// The kernel's name for the time since the host was started.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The journal's directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be made or listed.
    #[error(
        "the journal's directory {path} cannot be used: {source}; set [journal] path to a writable directory"
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error(
        "the journal in {path} is in use by another process; stop it, or set another [journal] path"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// Something else lies there.
    #[error(
        "{path} holds {what}, not a cluecast journal; set [journal] path to an empty or new directory"
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// Written by another version.
    #[error(
        "the journal in {path} has format {found}, this program knows format {known}; use the program that wrote it"
    )]
    Format {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: String,
        /// Ours.
        known: String,
    },
    /// RocksDB refuses it.
    #[error(
        "the journal in {path} cannot be opened: {source}; if files are damaged, restore the directory from a copy"
    )]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What RocksDB said.
        source: rocksdb::Error,
    },
}

/// Opens or makes the database and checks that it is ours.
pub(super) fn open(path: &Path, options: Options) -> Result<DB, OpenError> {
    look(path)?;
    let damaged = |source| refusal(path, source);
    let db = DB::open_cf_descriptors(&layout::database(options), path, layout::families(options))
        .map_err(damaged)?;
    check_format(&db, path)?;
    Ok(db)
}

/// Whether everything that was acknowledged is surely there.
pub(super) fn is_tail_certain(db: &DB, path: &Path, boot: &str) -> Result<bool, OpenError> {
    let run = get_meta(db, path, META_RUN)?;
    let run = run.as_deref().unwrap_or(CLEAN);
    Ok(run == CLEAN || run == run_line(Durability::Wal, boot) || !run.starts_with(WAL))
}

const WAL: &str = "wal";

/// How a process with `durability` runs, on a host that was started as `boot`.
pub(super) fn run_line(durability: Durability, boot: &str) -> String {
    match durability {
        Durability::Fsync => format!("fsync {boot}"),
        Durability::Wal => format!("{WAL} {boot}"),
    }
}

/// Which start of the host this is; unlike any other when the kernel does not say.
pub(super) fn boot_id() -> String {
    match std::fs::read_to_string(BOOT_ID) {
        Ok(id) => id.trim().to_owned(),
        Err(error) => {
            tracing::warn!(
                "{BOOT_ID} cannot be read ({error}): after a crash with durability \"wal\" all epochs will be new"
            );
            format!("unknown, process {}", std::process::id())
        }
    }
}

/// Refuses a directory that holds something else, before RocksDB puts files into it.
fn look(path: &Path) -> Result<(), OpenError> {
    let directory = |source| OpenError::Directory {
        path: path.to_owned(),
        source,
    };
    std::fs::create_dir_all(path).map_err(directory)?;
    let mut found = None;
    for entry in std::fs::read_dir(path).map_err(directory)? {
        let name = entry.map_err(directory)?.file_name();
        found = found.or_else(|| (name != "lost+found").then(|| name.clone()));
        if name == "CURRENT" {
            return look_at_families(path);
        }
    }
    match found {
        // RocksDB died while it made the directory: its first files, and no CURRENT yet.
        Some(name) if !is_first_file(&name.to_string_lossy()) => {
            let what = format!("the file {}", name.display());
            Err(OpenError::Foreign {
                path: path.to_owned(),
                what,
            })
        }
        _ => Ok(()),
    }
}

fn is_first_file(name: &str) -> bool {
    let first = [
        "LOCK",
        "LOG",
        "IDENTITY",
        "MANIFEST-",
        "LOG.old.",
        "OPTIONS-",
    ];
    first.iter().any(|prefix| name.starts_with(prefix)) || name.ends_with(".dbtmp")
}

fn look_at_families(path: &Path) -> Result<(), OpenError> {
    let names =
        DB::list_cf(&rocksdb::Options::default(), path).map_err(|source| refusal(path, source))?;
    let Some(name) = names.iter().find(|name| !FAMILIES.contains(&name.as_str())) else {
        return Ok(());
    };
    // Ours, but laid out by another version: what it says of itself is more use than a name.
    if names.iter().any(|name| name == META) {
        let db = DB::open_cf_for_read_only(&Default::default(), path, [DEFAULT, META], false)
            .map_err(|source| refusal(path, source))?;
        if let Some(found) = get_meta(&db, path, META_FORMAT)? {
            return Err(OpenError::Format {
                path: path.to_owned(),
                found,
                known: layout::format(),
            });
        }
    }
    let what = format!("a database with a column family \"{name}\"");
    Err(OpenError::Foreign {
        path: path.to_owned(),
        what,
    })
}

/// Compares the format; writes it if nothing was ever written.
fn check_format(db: &DB, path: &Path) -> Result<(), OpenError> {
    let known = layout::format();
    match get_meta(db, path, META_FORMAT)? {
        Some(found) if found == known => return Ok(()),
        Some(found) => {
            return Err(OpenError::Format {
                path: path.to_owned(),
                found,
                known,
            });
        }
        None => {}
    }
    for name in FAMILIES {
        let Some(family) = db.cf_handle(name) else {
            continue;
        };
        if db.iterator_cf(family, IteratorMode::Start).next().is_some() {
            let what = "a database of another program".to_owned();
            return Err(OpenError::Foreign {
                path: path.to_owned(),
                what,
            });
        }
    }
    let mut batch = WriteBatch::default();
    if let Some(meta) = db.cf_handle(META) {
        batch.put_cf(meta, META_FORMAT, known);
    }
    db.write_opt(batch, &write_options(true))
        .map_err(|source| refusal(path, source))
}

fn get_meta(db: &DB, path: &Path, key: &str) -> Result<Option<String>, OpenError> {
    let Some(meta) = db.cf_handle(META) else {
        return Ok(None);
    };
    let value = db
        .get_cf(meta, key)
        .map_err(|source| refusal(path, source))?;
    Ok(value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// RocksDB tells a locked directory from a damaged one only in its text.
fn refusal(path: &Path, source: rocksdb::Error) -> OpenError {
    let path = path.to_owned();
    let text = source.as_ref();
    if text.contains("lock file") || text.contains("lock hold") {
        return OpenError::Locked { path };
    }
    OpenError::Damaged { path, source }
}
