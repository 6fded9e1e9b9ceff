//! The demo page in a real browser: Debian's Chromium in the players' namespace, driven by Playwright
//! (`browser.mjs`). The screenshot goes to `docs/demo.png` with `UPDATE_DOCS=1`.

use std::path::Path;
use std::process::Command;

use super::{ADMIN, installed, run, script};
use crate::running::{API_KEY, Appliance, SETTINGS, Settings, directory, metric};
use crate::world::World;

const CHROMIUM: &str = "/usr/bin/chromium-headless-shell";

#[test]
fn clues_arrive_on_the_map() {
    let sdk = installed();
    let (world, directory) = (World::new(), directory());
    let tables = "listen = \"0.0.0.0:9000\"\n\
                  [debug]\ndemo = true\n\
                  [[namespace]]\nname = \"demo\"\nallow_publish_for_subscriber = true";
    // No anonymous players: the page's token is what lets it in.
    let client = "allowed_origins = [\"http://10.9.0.1:9000\"]";
    let settings = Settings {
        client,
        tables,
        ..SETTINGS
    };
    let _appliance = Appliance::start(&directory, settings);
    let screenshot = match std::env::var_os("UPDATE_DOCS") {
        Some(_) => Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/demo.png"),
        None => directory.path().join("demo.png"),
    };
    let mut browser = Command::new("node");
    browser
        .arg(script("js/browser.mjs"))
        .arg(sdk.join("node_modules"))
        .args([CHROMIUM, ADMIN, API_KEY])
        .arg(&screenshot);
    assert_eq!(run(&world, browser).trim(), "ok");
    let picture = std::fs::read(&screenshot).unwrap();
    assert!(picture.starts_with(b"\x89PNG"), "{}", screenshot.display());
    assert_eq!(metric("session_bad_tokens"), 0);
}

/// The vendored client is the published one, to the byte.
#[test]
fn the_page_has_the_npm_client_unchanged() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/control/demo");
    let npm = installed().join("node_modules/centrifuge");
    for (ours, theirs) in [
        ("centrifuge-5.8.0.js", "dist/centrifuge.js"),
        ("centrifuge-LICENSE.txt", "LICENSE"),
    ] {
        let read = |file| std::fs::read(file).unwrap();
        assert!(read(demo.join(ours)) == read(npm.join(theirs)), "{ours}");
    }
}
