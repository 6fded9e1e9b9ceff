//! Scripted segments, in the spirit of packetdrill: what a raw peer sends, what the application does,
//! and what has to come back, by the clock. The files `segments/*.script` are the tests, one file a
//! subject, each case with the section of the RFC it is about; `docs/testing.md` has the format.
//!
//! Only the engine's public interface is used.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    missing_docs,
    reason = "tests: numbers are small and known"
)]

#[path = "segments/parse.rs"]
mod parse;
#[path = "segments/play.rs"]
mod play;
#[path = "segments/show.rs"]
mod show;

use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/segments")
}

/// Plays all cases of a file and tells everything that failed.
fn run(name: &str) {
    let path = folder().join(format!("{name}.script"));
    let text = std::fs::read_to_string(&path).unwrap();
    let cases = parse::cases(&text).unwrap_or_else(|wrong| panic!("{name}.script:{wrong}"));
    assert!(!cases.is_empty(), "{name}.script has no case");
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| play::play(case).err())
        .map(|failure| format!("{name}.script:{failure}"))
        .collect();
    let (failed, all) = (failures.len(), cases.len());
    assert!(
        failures.is_empty(),
        "\n{}\n{failed} of {all} cases failed",
        failures.join("\n")
    );
}

/// A test for each file.
macro_rules! scripts {
    ($($name:ident)*) => {
        $(#[test] fn $name() { run(stringify!($name)); })*

        /// No file is forgotten.
        #[test]
        fn every_file_is_played() {
            let known = [$(stringify!($name)),*];
            for entry in std::fs::read_dir(folder()).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "script") {
                    let name = path.file_stem().unwrap().to_str().unwrap();
                    assert!(known.contains(&name), "{name}.script is not in the list");
                }
            }
        }
    };
}

scripts! {
    handshake
    syn_cookies
    path_mtu
    options
    receive
    sack
    slow_start
    recovery
    rack
    sack_recovery
    tail_probe
    undo
    window_validation
    pacing
    ecn
    timeout
    window
    limits
    close
    time_wait
    attacks
    timestamps
}
