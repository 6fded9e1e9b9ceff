//! Scenarios of a game's life on the SDKs: `js/` on `centrifuge`, `py/` on `centrifuge-python`, each in JSON
//! and in Protobuf, and `py/backend.py` on `cent`. A script runs its scenarios one after the other
//! against one appliance, prints a line for each and fails if one did not hold.

use std::path::Path;
use std::process::Command;

use super::{ADMIN, installed, run, script};
use crate::running::{API_KEY, Appliance, SECRET, SETTINGS, Settings, directory};
use crate::world::{LISTEN, World};

/// One namespace for each kind of rules that the scripts need.
pub(super) const TABLES: &str = r#"
listen = "0.0.0.0:9000"
[[namespace]]
name = "full"
allow_subscribe_for_client = true
presence = true
join_leave = true
force_push_join_leave = true
allow_publish_for_subscriber = true
allow_presence_for_subscriber = true
allow_history_for_subscriber = true
[[namespace]]
name = "quiet"
allow_subscribe_for_client = true
[[namespace]]
name = "closed"
allow_subscribe_for_client = false
[[namespace]]
name = "limited"
allow_subscribe_for_client = false
allow_user_limited_channels = true
[[namespace]]
name = "short"
allow_subscribe_for_client = true
history_size = 10
[[namespace]]
name = "bare"
allow_subscribe_for_client = true
force_recovery = false
history_size = 0
history_ttl_s = 0
[[namespace]]
name = "deflated"
allow_subscribe_for_client = true
compression = true
"#;

/// Runs `program` with what every script is told behind `format`.
fn hold(program: impl FnOnce(&Path) -> Command, format: &str) {
    let sdk = installed();
    let (world, directory) = (World::new(), directory());
    let client = "ping_interval_s = 2\npong_timeout_s = 1\ncompression = true";
    let settings = Settings {
        client,
        tables: TABLES,
        ..SETTINGS
    };
    let _appliance = Appliance::start(&directory, settings);
    let mut program = program(&sdk);
    program
        .arg(format)
        .arg(format!("ws://{LISTEN}/connection/websocket"))
        .args([ADMIN, API_KEY, SECRET]);
    let said = run(&world, program);
    let last = said.trim().lines().last().unwrap();
    let held: u32 = last.split(' ').next().unwrap().parse().unwrap();
    assert!(held > 0 && last.ends_with(" held, 0 failed"), "{last}");
}

fn node(sdk: &Path) -> Command {
    let mut command = Command::new("node");
    command
        .arg(script("js/main.mjs"))
        .arg(sdk.join("node_modules"));
    command
}

fn python(sdk: &Path, name: &str) -> Command {
    let mut command = Command::new(sdk.join("python/bin/python"));
    command.arg(script(name));
    command
}

#[test]
fn javascript_json() {
    hold(node, "json");
}

#[test]
fn javascript_protobuf() {
    hold(node, "protobuf");
}

#[test]
fn python_json() {
    hold(|sdk| python(sdk, "py/scenarios.py"), "json");
}

#[test]
fn python_protobuf() {
    hold(|sdk| python(sdk, "py/scenarios.py"), "protobuf");
}

#[test]
fn cent() {
    hold(|sdk| python(sdk, "py/backend.py"), "json");
}
