//! A crowd that lost its connections returns at once: everyone gets what it missed, and what comes
//! meanwhile, once and in order. `make bench-storm` is the same at full size, and judges what the others
//! notice of it.

use clap::Parser;

use crate::crowd::EVERYWHERE;
use crate::running::{API_KEY, Appliance, SETTINGS, Settings, directory, metric};
use crate::world::{LISTEN, World};

const PLAYERS: u64 = 4_000;

#[test]
fn a_crowd_that_returns_at_once_recovers_exactly() {
    let (world, directory) = (World::new(), directory());
    let settings = Settings {
        players_max: 5_000,
        private_chunks: 16_384,
        tables: EVERYWHERE,
        ..SETTINGS
    };
    let _appliance = Appliance::start(&directory, settings);
    let line = format!(
        "storm --game {LISTEN} --admin 10.9.0.1:9000 --api-key {API_KEY} --hunt-prefix hunt- \
         --players {PLAYERS} --missed 50 --rate 20 --others 100 --calm-s 1"
    );
    let options = bench::storm::Options::parse_from(line.split_whitespace());
    let outcome = world.as_player(move || bench::storm::run(&options).unwrap());
    let outcome = outcome.join().unwrap();
    println!("{}", outcome.table);
    assert!(outcome.held, "{}", outcome.table);
    // From memory, and not from the store.
    assert_eq!(metric("session_recovered"), PLAYERS);
    let from_log = metric("session_recovered_from_log");
    assert!(from_log > PLAYERS * 9 / 10, "{from_log}");
    assert_eq!(metric("session_slow"), 0);
}
