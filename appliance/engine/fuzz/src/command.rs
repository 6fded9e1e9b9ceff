//! Any bytes as a message of client commands in JSON: an end after the first bad one, and never a panic.

use engine::session::codec::json::{commands, is_pong};

/// Reads all commands of `data`.
pub fn run(data: &[u8]) {
    is_pong(data);
    let lines = data.iter().filter(|byte| **byte == b'\n').count() + 1;
    let all: Vec<_> = commands(data).collect();
    assert!(!all.is_empty() && all.len() <= lines);
    assert!(all.iter().rev().skip(1).all(Result::is_ok));
}
