//! Attacks at a size that takes seconds, beside players who must not notice. `make bench-hostile` is
//! the same at full size.

use std::thread;
use std::time::{Duration, Instant};

use crate::crowd::{EVERYWHERE, flood, swarm};
use crate::player::Player;
use crate::running::{Appliance, SETTINGS, Settings, directory, eventually, metric};
use crate::world::World;

/// The admin API over the game's own interface: what is not the game's port stays with the kernel.
const ADMIN: &str = "10.9.0.1:9000";

#[test]
fn a_syn_flood_keeps_nobody_out() {
    const HALF_OPEN_MAX: u64 = 64;
    let (world, directory) = (World::new(), directory());
    let settings = Settings {
        game: "half_open_max = 64",
        tables: EVERYWHERE,
        ..SETTINGS
    };
    let _appliance = Appliance::start(&directory, settings);
    let settled = swarm(&world.player, ADMIN, "--players 50 --rate 10 --seconds 4");
    eventually("the players connect", || metric("session_players") == 50);
    let flood = flood(&world, "--kind syn --rate 20000 --seconds 3");
    eventually("the flood begins", || metric("tcp_syn_received") > 1_000);
    let start = Instant::now();
    let newcomers: Vec<Player> = (0..20).map(|_| Player::join_hunt(&world, "new")).collect();
    assert!(
        start.elapsed() < Duration::from_secs(2) && !flood.is_finished(),
        "while it lasts"
    );
    let connections = metric("tcp_connections");
    assert!(
        connections <= 70 + 2 * HALF_OPEN_MAX,
        "{connections} with the queues of two cores"
    );
    let report = flood.join().unwrap();
    assert!(report.sent > 30_000, "{report:?}");
    assert!(metric("tcp_syn_cookies_sent") > 10_000);
    assert!(metric("tcp_syn_cookies_accepted") > 0);
    assert_eq!(metric("session_players"), 70);
    let settled = settled.join().unwrap();
    assert!(settled.held, "{}", settled.table);
    drop(newcomers);
}

#[test]
fn blind_injection_ends_no_connection() {
    let (world, directory) = (World::new(), directory());
    let settings = Settings {
        tables: EVERYWHERE,
        ..SETTINGS
    };
    let _appliance = Appliance::start(&directory, settings);
    let players = swarm(&world.player, ADMIN, "--players 50 --rate 20 --seconds 4");
    eventually("the players connect", || metric("session_players") == 50);
    let flood = flood(
        &world,
        "--kind rst,syn-inside,data --rate 10000 --seconds 3",
    );
    let report = flood.join().unwrap();
    assert_eq!(report.flows, 50, "{report:?}");
    assert!(
        report.kinds.len() == 3 && report.sent > 15_000,
        "{report:?}"
    );
    assert!(metric("tcp_challenge_acks") > 0, "they reach connections");
    assert_eq!(metric("tcp_reset"), 0);
    let players = players.join().unwrap();
    assert!(players.held, "{}", players.table);
}

#[test]
fn stalled_readers_are_cut_and_give_all_back() {
    let (world, directory) = (World::new(), directory());
    let settings = Settings {
        client: "anonymous = true\nlag_bytes_max = 98304",
        tables: EVERYWHERE,
        ..SETTINGS
    };
    let _appliance = Appliance::start(&directory, settings);
    let held = || ["tcp_connections", "session_players", "memory_chunks"].map(metric);
    assert_eq!(held(), [0; 3]);
    // 53 kB a second: some two seconds until they are too far behind, five more until the close frame
    // that they do not read is given up.
    let arguments = "--players 40 --stalled 100 --rate 50 --bytes 1000 --seconds 9";
    let crowd = swarm(&world.player, ADMIN, arguments).join().unwrap();
    assert!(crowd.held, "{}", crowd.table);
    assert_eq!(crowd.report["stalled"]["alive"], 0, "{}", crowd.table);
    assert_eq!(metric("session_slow"), 100);
    eventually("all is given back", || held() == [0; 3]);
}

#[test]
fn a_stalled_reader_that_wakes_up_in_time_is_told_why() {
    let (world, directory) = (World::new(), directory());
    let settings = Settings {
        client: "anonymous = true\nlag_bytes_max = 98304",
        ..SETTINGS
    };
    let _appliance = Appliance::start(&directory, settings);
    let mut player = Player::join_hunt(&world, "hunt");
    let data = serde_json::json!("x".repeat(4_000));
    let mut published = 0;
    // Nobody reads: first the kernel's receive buffer fills, then the player falls behind.
    while metric("session_slow") == 0 {
        crate::running::publish("hunt", &data);
        published += 1;
        assert!(published < 5_000, "it is never too far behind");
    }
    thread::sleep(Duration::from_millis(500));
    assert_eq!(player.closed(), 3008);
}
