//! Returning players that missed more than a reply holds: each event once, in order, with no seam to the
//! live ones, in bounded memory.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use engine::metrics::catalog::Metric;
use serde_json::{Value, json};
use world::{Setup, World};

fn recover(world: &mut World, player: usize, hunt: &str, offset: u64, flag: u64) -> Value {
    let command = json!({"id": 2, "subscribe":
        {"channel": hunt, "recover": true, "offset": offset, "flag": flag}});
    let reply = world.ask(player, &command.to_string());
    serde_json::from_str(&reply).unwrap_or_else(|_| panic!("{reply}"))
}

/// Events in a subscribe reply.
fn in_reply(reply: &Value) -> u64 {
    world::offsets_in(&reply.to_string()).len() as u64
}

fn publish(world: &mut World, hunt: &str, count: usize, bytes: usize) {
    for _ in 0..count {
        world.publish(hunt, &format!("\"{}\"", "x".repeat(bytes)));
        world.step();
    }
}

#[track_caller]
fn assert_nothing_is_held(world: &mut World) {
    world.run(12_000);
    assert_eq!(world.core.sessions_held(), (0, 0));
    assert_eq!(world.count(Metric::SessionHunts), 0);
}

/// Everything that is kept can be recovered, however long it takes, while events go on.
#[test]
fn a_long_gap_is_closed_before_live_events() {
    for (flag, loss_percent) in [(0, 0), (1, 0), (0, 5)] {
        let mut world = World::new();
        publish(&mut world, "h", 900, 600);
        let player = world.connect();
        let reply = recover(&mut world, player, "h", 7, flag);
        world.loss_percent = loss_percent;
        let subscribe = &reply["subscribe"];
        assert_eq!(
            (&subscribe["recovered"], &subscribe["offset"]),
            (&json!(true), &json!(7))
        );
        let mut offsets = world::offsets_in(&reply.to_string());
        assert_eq!(offsets, (8..=107).collect::<Vec<u64>>());
        for _ in 0..60 {
            publish(&mut world, "h", 1, 600);
        }
        world.loss_percent = 0;
        world.run(3_000);
        let is_numbered = world.players[player]
            .inbox
            .iter()
            .all(|m| m.contains("\"id\":"));
        assert_eq!(is_numbered, flag == 1);
        offsets.extend(world.offsets(player));
        assert_eq!(offsets, (8..=960).collect::<Vec<u64>>());
        assert!(world.count(Metric::SessionRecoveryPages) >= 8);
        publish(&mut world, "h", 1, 600);
        world.run(20);
        assert_eq!(world.offsets(player), [961]);
        world.hang_up(player);
        assert_nothing_is_held(&mut world);
    }
}

/// A storm of returning players is let in page by page: a quarter of the pool stays for the others,
/// nobody is turned away, and the pool is never empty.
#[test]
fn many_who_return_at_once_take_turns() {
    let mut world = World::with(Setup {
        chunks: 400,
        ..Setup::default()
    });
    publish(&mut world, "h", 300, 1_000);
    let players: Vec<usize> = (0..40).map(|_| world.connect()).collect();
    let bystander = world.connect();
    for &player in &players {
        let command = r#"{"id":2,"subscribe":{"channel":"h","recover":true}}"#;
        world.send_text(player, command);
    }
    let mut most = 0;
    for n in 0..3_000 {
        // Who waits for a page could take these at once, and has to wait all the same.
        if n < 500 && n % 10 == 0 {
            world.publish("h", "1");
        }
        world.step();
        most = most.max(world.core.sessions_held().1);
    }
    assert!(most <= 300, "{most} chunks");
    assert!(world.count(Metric::SessionRecoveryPutOff) > 0);
    for player in players {
        assert_eq!(world.offsets(player), (1..=350).collect::<Vec<u64>>());
        world.hang_up(player);
    }
    assert!(
        world
            .subscribe(bystander, "other")
            .contains("\"subscribe\"")
    );
    world.hang_up(bystander);
    assert_eq!(world.count(Metric::SessionChunksFull), 0);
    assert_nothing_is_held(&mut world);
}

/// Who is still being told its past is not slow because the hunt goes on, even if its log loses more than
/// it holds meanwhile.
#[test]
fn the_log_may_run_away_meanwhile() {
    let mut world = World::with(Setup {
        history_size: 2_000,
        ..Setup::default()
    });
    publish(&mut world, "h", 200, 1_000);
    let player = world.connect();
    let reply = recover(&mut world, player, "h", 0, 0);
    assert_eq!(reply["subscribe"]["recovered"], json!(true));
    world.players[player].reads = false;
    world.run(50);
    publish(&mut world, "h", 1_000, 1_000);
    world.players[player].reads = true;
    world.run(3_000);
    let told = in_reply(&reply);
    let offsets = world.offsets(player);
    assert_eq!(offsets, (told + 1..=1_200).collect::<Vec<u64>>());
    assert_eq!(world.count(Metric::SessionSlow), 0);
    publish(&mut world, "h", 1, 10);
    world.run(20);
    assert_eq!(world.offsets(player), [1_201]);
    world.hang_up(player);
    assert_nothing_is_held(&mut world);
}

/// What was to be told is removed in the middle of it: better the end than a gap.
#[test]
fn a_gap_that_opens_meanwhile_ends_the_subscription() {
    let mut world = World::with(Setup {
        history_size: 300,
        log_bytes: 4 << 20,
        ..Setup::default()
    });
    publish(&mut world, "h", 300, 1_000);
    let player = world.connect();
    let reply = recover(&mut world, player, "h", 0, 0);
    assert_eq!(reply["subscribe"]["recovered"], json!(true));
    world.players[player].reads = false;
    world.run(50);
    publish(&mut world, "h", 290, 100);
    world.players[player].reads = true;
    world.run(2_000);
    let last = world.players[player].inbox.back().unwrap().clone();
    assert!(last.contains("\"code\":2500"), "{last}");
    world.players[player].inbox.pop_back();
    let offsets = world.offsets(player);
    let told = in_reply(&reply);
    let reached = offsets.len() as u64 + told;
    assert_eq!(offsets, (told + 1..=reached).collect::<Vec<u64>>());
    assert!(reached < 300, "{reached}");
    assert!(world.is_open(player));
    // As an SDK does.
    let reply = recover(&mut world, player, "h", reached, 0);
    assert_eq!(reply["subscribe"]["was_recovering"], json!(true));
    assert_eq!(reply["subscribe"]["recovered"], Value::Null);
    world.hang_up(player);
    assert_nothing_is_held(&mut world);
}

/// The same where the player did not subscribe itself: it has to connect anew.
#[test]
fn a_gap_in_what_we_subscribed_it_to_ends_the_connection() {
    let mut world = World::with(Setup {
        history_size: 300,
        log_bytes: 4 << 20,
        ..Setup::default()
    });
    publish(&mut world, "h", 300, 1_000);
    let player = world.upgrade();
    let connect = json!({"id": 1, "connect": {
        "token": "user=ann;subs=h", "subs": {"h": {"recover": true, "offset": 0}}}});
    let reply: Value = serde_json::from_str(&world.ask(player, &connect.to_string())).unwrap();
    let h = &reply["connect"]["subs"]["h"];
    assert_eq!(h["recovered"], json!(true), "{reply}");
    let told = h["publications"].as_array().map_or(0, Vec::len) as u64;
    world.players[player].reads = false;
    world.run(50);
    publish(&mut world, "h", 290, 100);
    world.players[player].reads = true;
    world.run(2_000);
    assert_eq!(world.players[player].closed, Some(3010));
    let offsets = world.offsets(player);
    let reached = told + offsets.len() as u64;
    assert_eq!(offsets, (told + 1..=reached).collect::<Vec<u64>>());
    assert!(reached < 300, "{reached}");
    world.hang_up(player);
    assert_nothing_is_held(&mut world);
}

/// What the log holds is told from there, and what another variant's log does not hold by the journal.
#[test]
fn a_short_way_back_goes_by_the_log() {
    let mut world = World::new();
    let player = world.connect();
    world.subscribe(player, "h");
    publish(&mut world, "h", 5, 100);
    world.run(20);
    assert_eq!(world.offsets(player), [1, 2, 3, 4, 5]);
    world.reset(player);
    publish(&mut world, "h", 5, 100);
    let player = world.connect();
    let reply = recover(&mut world, player, "h", 7, 0);
    world.run(20);
    assert_eq!(
        (in_reply(&reply), world.offsets(player)),
        (0, vec![8, 9, 10])
    );
    assert_eq!(world.count(Metric::SessionRecoveredFromLog), 1);
    // Another protocol has a log of its own, which begins with it.
    let numbered = world.connect();
    let reply = recover(&mut world, numbered, "h", 7, 1);
    assert_eq!(in_reply(&reply), 3);
    publish(&mut world, "h", 1, 100);
    world.run(20);
    assert_eq!(
        (world.offsets(player), world.offsets(numbered)),
        (vec![11], vec![11])
    );
    for player in [player, numbered] {
        world.hang_up(player);
    }
    assert_nothing_is_held(&mut world);
}

#[test]
fn who_leaves_in_the_middle_of_it_is_told_no_more() {
    let mut world = World::new();
    publish(&mut world, "h", 500, 1_000);
    let player = world.connect();
    recover(&mut world, player, "h", 0, 0);
    let unsubscribe = r#"{"id":3,"unsubscribe":{"channel":"h"}}"#;
    world.send_text(player, unsubscribe);
    world.run(500);
    let last = world.players[player].inbox.back().unwrap();
    assert!(last.contains("\"id\":3"), "{last}");
    world.players[player].inbox.clear();
    // And again from somewhere else, at once.
    recover(&mut world, player, "h", 100, 0);
    world.send_text(player, unsubscribe);
    let mut reply = recover(&mut world, player, "h", 400, 0);
    while reply["id"] != json!(2) || reply["subscribe"]["offset"] != json!(400) {
        world.run(5);
        let next = world.players[player].inbox.pop_front().unwrap();
        reply = serde_json::from_str(&next).unwrap();
    }
    world.run(500);
    let reached = 400 + in_reply(&reply);
    let offsets = world.offsets(player);
    assert_eq!(offsets, (reached + 1..=500).collect::<Vec<u64>>());
    world.hang_up(player);
    assert_nothing_is_held(&mut world);
}

/// As long as the pool has room, and longer than what a player may be behind.
#[test]
fn a_long_page_of_history_makes_nobody_slow() {
    let history = r#"{"id":4,"history":{"channel":"h","limit":-1}}"#;
    for (chunks, expected) in [(600, 300), (400, 0)] {
        let mut setup = Setup {
            chunks,
            ..Setup::default()
        };
        setup.rules.default.allow_history_for_client = true;
        setup.rules.default.allow_history_for_anonymous = true;
        let mut world = World::with(setup);
        publish(&mut world, "h", 300, 1_000);
        let player = world.connect();
        world.subscribe(player, "live");
        world.send_text(player, history);
        for _ in 0..20 {
            publish(&mut world, "live", 1, 10);
        }
        world.run(200);
        let inbox = std::mem::take(&mut world.players[player].inbox);
        let reply = inbox.iter().find(|m| m.starts_with("{\"id\":4")).unwrap();
        let reply: Value = serde_json::from_str(reply).unwrap();
        let page = reply["history"]["publications"].as_array();
        assert_eq!(page.map_or(0, Vec::len), expected);
        assert_eq!(reply["error"]["code"] == json!(111), expected == 0);
        assert_eq!(world.count(Metric::SessionSlow), 0);
    }
}
