//! Every file of `fuzz/corpus/` through the function its fuzz target calls: what the fuzzer once found
//! stays found. Named seeds besides, so that each case is there in short.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    missing_docs,
    unreachable_pub,
    reason = "a test and what it shares with the fuzzer"
)]

use std::path::Path;

use engine::session::codec::Protocol;

#[path = "../fuzz/src/lib.rs"]
mod targets;

/// Runs every file of a target's folder; at least one has to be there.
fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut names: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    assert!(!names.is_empty(), "{} is empty", folder.display());
    for name in names {
        let bytes = std::fs::read(&name).unwrap();
        let result = std::panic::catch_unwind(|| run(&bytes));
        assert!(result.is_ok(), "{} fails", name.display());
    }
}

#[test]
fn frame() {
    replay("frame", targets::frame::run);
}

#[test]
fn segments() {
    replay("segments", targets::segments::run);
}

#[test]
fn upgrade() {
    replay("upgrade", targets::upgrade::run);
}

#[test]
fn ws_frame() {
    replay("ws_frame", targets::ws_frame::run);
}

#[test]
fn inflate() {
    replay("inflate", targets::inflate::run);
}

#[test]
fn command() {
    replay("command", |data| {
        targets::command::run(Protocol::Json, data)
    });
}

#[test]
fn command_protobuf() {
    let run = |data: &[u8]| targets::command::run(Protocol::Protobuf, data);
    replay("command_protobuf", run);
}

#[test]
fn path_block() {
    replay("path_block", targets::path_block::run);
}
