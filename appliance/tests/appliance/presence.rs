//! Who is there, at the size of a crowd: two data cores, players on kernel TCP.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::crowd::{EVERYWHERE, swarm, swarm_in};
use crate::player::Player;
use crate::running::{Appliance, SETTINGS, Settings, api, directory, eventually, metric};
use crate::world::World;

/// The admin API from the players' namespace.
const ADMIN: &str = "10.9.0.1:9000";

const SEEN: Settings = Settings {
    channel: "history_size = 1000\npresence = true\nallow_presence_for_subscriber = true\n\
              allow_presence_for_anonymous = true",
    private_chunks: 16_384,
    players_max: 12_000,
    tables: "[[namespace]]\nname = \"lobby\"\njoin_leave = true\nforce_push_join_leave = true\n",
    game: "",
    ..SETTINGS
};

fn numbers(hunt: &str) -> (u64, u64) {
    let answer = api("presence_stats", &json!({"channel": hunt})).unwrap();
    let number = |name: &str| answer["result"][name].as_u64().unwrap();
    (number("num_clients"), number("num_users"))
}

fn admin_everywhere() -> &'static str {
    Box::leak(format!("{}\n{}", EVERYWHERE, SEEN.tables).into_boxed_str())
}

/// The answers' times in order.
fn timed(times: usize, mut ask: impl FnMut() -> usize) -> (Vec<Duration>, usize) {
    let mut count = 0;
    let mut took: Vec<Duration> = (0..times)
        .map(|_| {
            let start = Instant::now();
            count = ask();
            start.elapsed()
        })
        .collect();
    took.sort();
    (took, count)
}

#[test]
fn a_hunt_of_ten_thousand_is_told_in_less_than_fifty_milliseconds() {
    const PLAYERS: u64 = 10_000;
    let (world, directory) = (World::new(), directory());
    let settings = Settings {
        tables: admin_everywhere(),
        ..SEEN
    };
    let _appliance = Appliance::start(&directory, settings);
    let arguments = format!("--players {} --rate 1 --seconds 10", PLAYERS - 1);
    let crowd = swarm(&world.player, ADMIN, &arguments);
    let mut asker = Player::join_hunt(&world, "hunt0");
    let start = Instant::now();
    eventually("all are there", || numbers("hunt0").0 == PLAYERS);
    println!("all there after {:?}", start.elapsed());
    let (by_api, count) = timed(7, || {
        let answer = api("presence", &json!({"channel": "hunt0"})).unwrap();
        let present = answer["result"]["presence"].as_object();
        present.unwrap_or_else(|| panic!("{answer}")).len()
    });
    assert_eq!(count as u64, PLAYERS);
    let (by_player, count) = timed(7, || {
        let answer = asker.command("presence", json!({"channel": "hunt0"}));
        let present = answer["presence"]["presence"].as_object();
        present.unwrap_or_else(|| panic!("{answer}")).len()
    });
    assert_eq!(count as u64, PLAYERS);
    let (stats, _) = timed(7, || numbers("hunt0").0.try_into().unwrap());
    println!("presence of {PLAYERS}: backend {by_api:?}\nplayer {by_player:?}\nstats {stats:?}");
    let bound = Duration::from_millis(50);
    assert!(by_api[3] < bound && by_player[3] < bound && stats[3] < bound);
    let crowd = crowd.join().unwrap();
    assert!(crowd.held, "{}", crowd.table);
    // The swarm has closed or dropped all its connections.
    eventually("only the asker is left", || numbers("hunt0").0 == 1);
    let stats = asker.command("presence_stats", json!({"channel": "hunt0"}));
    assert_eq!(
        stats["presence_stats"],
        json!({"num_clients": 1, "num_users": 1})
    );
    // A gauge, set now and then.
    eventually("the gauge follows", || metric("presence_entries") == 1);
}

#[test]
fn a_storm_of_joins_and_leaves_keeps_no_event_waiting() {
    let (world, directory) = (World::new(), directory());
    // Whose last segment the ring lost is found by the next ping.
    let settings = Settings {
        client: "anonymous = true\nping_interval_s = 5\npong_timeout_s = 3",
        tables: admin_everywhere(),
        ..SEEN
    };
    let _appliance = Appliance::start(&directory, settings);
    let steady = "--players 200 --rate 50 --seconds 6";
    let p99 = |report: &Value| report["steady"]["p99_ms"].as_f64();
    let calm = swarm(&world.player, ADMIN, steady).join().unwrap();
    assert!(calm.held, "{}", calm.table);
    let watched = swarm(&world.player, ADMIN, steady);
    eventually("they are there", || numbers("hunt0").0 == 200);
    for _ in 0..2 {
        let storm = "--players 1500 --rate 1 --seconds 0.5 --drain-s 0.5";
        let storm = swarm_in("lobby:", &world.player, ADMIN, storm)
            .join()
            .unwrap();
        assert!(storm.held, "{}", storm.table);
        eventually("none stays", || numbers("lobby:0").0 == 0);
    }
    let stormy = watched.join().unwrap();
    assert!(stormy.held, "{}", stormy.table);
    let (joins, leaves) = (metric("presence_joins"), metric("presence_leaves"));
    let dropped = metric("presence_pushes_dropped");
    println!(
        "p99 calm {:?}, in the storm {:?}; {joins} joins, {leaves} leaves, {dropped} not announced\n{}\n{}",
        p99(&calm.report),
        p99(&stormy.report),
        calm.report,
        stormy.report
    );
    assert!(dropped > 0 && joins >= 3_400);
}
