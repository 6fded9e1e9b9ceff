//! Numbers leave as documented: Prometheus text over HTTP, StatsD over UDP.

use std::collections::HashSet;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::player::Player;
use crate::running::{ADMIN, Appliance, PATIENCE, SETTINGS, Settings, directory, publish};
use crate::world::World;

#[test]
fn prometheus_text_is_well_formed() {
    let (world, directory) = (World::new(), directory());
    let _appliance = Appliance::start(&directory, SETTINGS);
    let mut player = Player::join_hunt(&world, "hunt");
    publish("hunt", &json!(1));
    player.event();
    let mut answer = ureq::get(format!("{ADMIN}/metrics")).call().unwrap();
    let kind = answer.headers()["content-type"].to_str().unwrap();
    assert_eq!(kind, "text/plain; version=0.0.4");
    let text = answer.body_mut().read_to_string().unwrap();
    let (mut typed, mut helped, mut series) = (HashSet::new(), HashSet::new(), HashSet::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, meaning) = rest.split_once(' ').unwrap();
            assert!(helped.insert(name) && !meaning.is_empty(), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "summary"].contains(&kind), "{line}");
            assert!(typed.insert(name), "{line}");
        } else {
            let (key, value) = line.rsplit_once(' ').unwrap();
            assert!(series.insert(key), "{line} is there twice");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let name = key.split('{').next().unwrap();
            assert!(
                typed.contains(name.trim_end_matches("_count")),
                "{line} has no type"
            );
        }
    }
    assert_eq!(typed, helped);
    assert!(series.len() > 100, "{} series", series.len());
}

#[test]
fn statsd_gets_what_changed() {
    let (world, directory) = (World::new(), directory());
    let agent = UdpSocket::bind("127.0.0.1:8125").unwrap();
    agent.set_read_timeout(Some(PATIENCE)).unwrap();
    let tables = r#"
        [statsd]
        address = "127.0.0.1:8125"
        interval_ms = 200
        prefix = "game."
        tags = ["env:test"]
    "#;
    let _appliance = Appliance::start(&directory, Settings { tables, ..SETTINGS });
    let mut player = Player::join_hunt(&world, "hunt");
    publish("hunt", &json!(1));
    player.event();
    let mut lines = HashSet::new();
    let mut published = 0;
    let start = Instant::now();
    // Three reports from now on: what was counted once is said once.
    while start.elapsed() < Duration::from_millis(700) {
        let mut datagram = [0; 2048];
        let length = agent.recv(&mut datagram).unwrap();
        assert!(length <= 1432, "{length} bytes");
        for line in std::str::from_utf8(&datagram[..length]).unwrap().lines() {
            assert!(
                line.starts_with("game.") && line.contains("|#env:test"),
                "{line}"
            );
            published += u32::from(line == "game.journal_events:1|c|#env:test,core:journal");
            lines.insert(line.to_owned());
        }
    }
    assert_eq!(published, 1, "a counter's growth is said once");
    for wanted in [
        "game.journal_healthy:1|g|#env:test,core:journal",
        "game.session_players:1|g|#env:test,core:data-",
        "game.xdp_steered:",
        "game.publish_to_wire_us.p99:",
        "game.api_requests:1|c|#env:test,core:control",
    ] {
        assert!(
            lines.iter().any(|line| line.starts_with(wanted)),
            "{wanted} in {lines:?}"
        );
    }
}

#[test]
fn an_agent_that_is_not_there_disturbs_nobody() {
    let (world, directory) = (World::new(), directory());
    let tables = "[statsd]\naddress = \"127.0.0.1:8125\"\ninterval_ms = 100";
    let _appliance = Appliance::start(&directory, Settings { tables, ..SETTINGS });
    let mut player = Player::join_hunt(&world, "hunt");
    for number in 1..=10 {
        std::thread::sleep(Duration::from_millis(50));
        publish("hunt", &json!(number));
        assert_eq!(player.event().offset, number);
    }
}
