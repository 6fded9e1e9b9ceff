//! The tests that the makers of `centrifuge-python` run against Centrifugo, against the appliance.

use std::process::Command;

use super::{installed, run, script};
use crate::running::{Appliance, SETTINGS, Settings, directory};
use crate::world::{LISTEN, World, shell};

/// What their `docker-compose.yml` asks of Centrifugo, in our words.
const CLIENT: &str = "user_personal_channel = true";
const CHANNEL: &str = r#"
presence = true
join_leave = true
force_push_join_leave = true
history_size = 100
history_ttl_s = 300
force_recovery = true
allow_subscribe_for_client = false
allow_publish_for_subscriber = true
allow_presence_for_subscriber = true
allow_history_for_subscriber = true
"#;
const TABLES: &str = r#"
[[namespace]]
name = "smallhistory"
history_size = 2
"#;

/// Tests in `tests/test_client.py` of version 0.7.0.
const TESTS: usize = 62;

#[test]
fn centrifuge_python() {
    let sdk = installed();
    let (world, directory) = (World::new(), directory());
    // Some of its tests play the server themselves, on 127.0.0.1.
    shell(&format!("ip -n {} link set lo up", world.player));
    let settings = Settings {
        client: CLIENT,
        channel: CHANNEL,
        tables: TABLES,
        ..SETTINGS
    };
    let _appliance = Appliance::start(&directory, settings);
    let mut suite = Command::new(sdk.join("python/bin/python"));
    suite
        .arg(script("py/suite.py"))
        .arg(sdk.join("suite"))
        .arg(LISTEN);
    let said = run(&world, suite);
    let last = said.trim().lines().last().unwrap();
    assert_eq!(last, format!("{TESTS} run, 0 failed, 0 skipped"));
}
