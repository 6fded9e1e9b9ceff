//! Clients and backends that nobody here wrote, as their makers publish them: `centrifuge-python` and
//! `cent` (PyPI), `centrifuge` (npm), Chromium (Debian). They run in the players' namespace, unchanged;
//! `sdk/install` says where they come from. The SDKs neither order events nor take out doubles, so
//! whatever they deliver is what the appliance sent.

mod browser;
mod cut_off;
mod live_suite;
mod scenarios;
mod tokio_centrifuge;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::world::{World, shell};

/// The admin API as players' scripts reach it, for which `admin.listen` has to be everywhere.
const ADMIN: &str = "http://10.9.0.1:9000";

/// Where the libraries are; to be asked in the host's network, before a test goes into a namespace
/// that has none.
fn installed() -> PathBuf {
    PathBuf::from(shell(script("install").to_str().unwrap()).trim())
}

/// A file of ours that drives a library.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/appliance/sdk")
        .join(name)
}

/// Runs `command` to its end in the players' namespace; it has to succeed. What it says on standard
/// output is given, and shown.
fn run(world: &World, mut command: Command) -> String {
    command.env("NO_PROXY", "*").stdout(Stdio::piped());
    let child = world.as_player(move || command.spawn().unwrap()).join();
    let output = child.unwrap().wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{text}");
    assert!(output.status.success(), "{}", output.status);
    text
}
