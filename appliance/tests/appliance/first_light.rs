//! The main job: what a backend publishes reaches every subscribed player once and in order, over
//! XDP in native mode, past the kernel's TCP.

use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::player::{Player, dial};
use crate::running::{Appliance, SETTINGS, api, directory, history, metric, publish};
use crate::world::{LISTEN, World, kernel_resets};

const LISTEN_V6: &str = "[fd00:9::1]:8000";

#[test]
fn every_player_gets_every_event_once_in_order() {
    const EVENTS: u64 = 300;
    let (world, directory) = (World::new(), directory());
    let _appliance = Appliance::start(&directory, SETTINGS);
    let resets = kernel_resets();
    let join = |index: usize| {
        let address = if index.is_multiple_of(2) {
            LISTEN
        } else {
            LISTEN_V6
        };
        let mut player = Player::upgrade(dial(&world, address));
        player.command("connect", json!({}));
        player.subscribe(json!({"channel": if index < 30 { "north" } else { "south" }}));
        player
    };
    let mut players: Vec<Player> = (0..40).map(join).collect();
    assert_eq!(metric("session_players"), 40);
    for number in 1..=EVENTS {
        assert_eq!(publish("north", &json!({"n": number})), number);
        assert_eq!(publish("south", &json!({"s": number})), number);
    }
    for (index, player) in players.iter_mut().enumerate() {
        let key = if index < 30 { "n" } else { "s" };
        for number in 1..=EVENTS {
            let event = player.event();
            assert_eq!((event.offset, &event.data), (number, &json!({key: number})));
        }
    }
    players
        .iter_mut()
        .for_each(|player| player.hears_nothing(Duration::from_millis(20)));
    assert_eq!(metric("hunt_deliveries"), 40 * EVENTS);

    assert_eq!(metric("port_native"), 2, "both queues");
    assert_eq!(
        metric("port_zerocopy"),
        0,
        "veth has none, and it is not claimed"
    );
    assert_eq!(kernel_resets(), resets, "no segment reached the kernel");
    assert_eq!(metric("tcp_rst_out") + metric("tcp_aborted"), 0);
    // Sends are batched: far fewer system calls than frames.
    let frames = metric("port_tx_frames") + metric("port_rx_frames");
    let kicks = metric("port_kicks");
    assert!(
        kicks < frames / 4,
        "{kicks} system calls for {frames} frames"
    );
}

#[test]
fn a_player_that_was_away_gets_what_it_missed() {
    let (world, directory) = (World::new(), directory());
    let _appliance = Appliance::start(&directory, SETTINGS);
    let mut player = Player::join(&world);
    publish("hunt", &json!(1));
    let start = player.subscribe(json!({"channel": "hunt"}));
    assert_eq!(start["offset"], 1, "{start}");
    publish("hunt", &json!(2));
    assert_eq!(player.event().offset, 2);
    drop(player);
    for number in 3..=50 {
        publish("hunt", &json!(number));
    }
    let mut player = Player::join(&world);
    let epoch = &start["epoch"];
    let again =
        player.subscribe(json!({"channel": "hunt", "recover": true, "epoch": epoch, "offset": 2}));
    // The position that was asked for: the events that follow move it on.
    assert_eq!(
        (&again["recovered"], &again["offset"]),
        (&json!(true), &json!(2)),
        "{again}"
    );
    // What was missed follows as pushes from the hunt's log, if the player came back to the core that has
    // one; the other core has the journal read it, into the reply.
    let replied = again["publications"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let from_log = replied.is_empty();
    let mut missed: Vec<_> = replied
        .into_iter()
        .map(|event| (event["offset"].clone(), event["data"].clone()))
        .collect();
    while missed.len() < 48 {
        let event = player.event();
        missed.push((json!(event.offset), event.data));
    }
    let all: Vec<_> = (3..=50).map(|number| json!(number)).collect();
    assert_eq!(
        missed,
        all.iter()
            .map(|number| (number.clone(), number.clone()))
            .collect::<Vec<_>>()
    );
    publish("hunt", &json!(51));
    assert_eq!(player.event().offset, 51);
    let other = json!({"channel": "hunt", "recover": true, "epoch": "another", "offset": 2});
    let lost = Player::join(&world).subscribe(other);
    assert_eq!(lost["recovered"].as_bool(), None, "{lost}");
    assert_eq!(
        (metric("session_recovered"), metric("session_not_recovered")),
        (1, 1)
    );
    assert_eq!(metric("session_recovered_from_log"), u64::from(from_log));
}

#[test]
fn who_subscribes_in_the_middle_of_a_stream_sees_no_seam() {
    const EVENTS: u64 = 900;
    let (world, directory) = (World::new(), directory());
    let _appliance = Appliance::start(&directory, SETTINGS);
    let publisher = thread::spawn(|| (0..EVENTS).for_each(|n| _ = publish("hunt", &json!(n))));
    let mut players = Vec::new();
    while !publisher.is_finished() {
        let mut player = Player::join(&world);
        let result = player.subscribe(json!({"channel": "hunt", "recover": true, "offset": 0}));
        assert_eq!(result["recovered"], true, "{result}");
        let recovered = result["publications"].as_array().map_or(0, Vec::len);
        let recovered = u64::try_from(recovered).unwrap();
        let offset =
            |index: u64| &result["publications"][usize::try_from(index).unwrap()]["offset"];
        assert!(
            (0..recovered).all(|index| *offset(index) == index + 1),
            "{result}"
        );
        players.push((player, recovered));
    }
    publisher.join().unwrap();
    assert!(
        players.len() > 10,
        "{} joined while it lasted",
        players.len()
    );
    for (player, recovered) in &mut players {
        for next in *recovered + 1..=EVENTS {
            assert_eq!(player.event().offset, next);
        }
    }
}

#[test]
fn players_publish_where_they_may() {
    let (world, directory) = (World::new(), directory());
    let _appliance = Appliance::start(&directory, SETTINGS);
    let mut witness = Player::join_hunt(&world, "open:chat");
    let mut player = Player::join(&world);
    let reply = player.command("publish", json!({"channel": "open:chat", "data": "hello"}));
    assert!(reply["publish"].is_object(), "{reply}");
    assert_eq!(witness.event().data, "hello");
    let reply = player.command("publish", json!({"channel": "closed", "data": "hello"}));
    assert_eq!(reply["error"]["code"], 103, "{reply}");
    let reply = player.command("publish", json!({"channel": "nowhere:x", "data": "hello"}));
    assert_eq!(reply["error"]["code"], 102, "{reply}");
    assert_eq!(history("closed").1, []);
}

#[test]
fn one_broadcast_reaches_several_hunts() {
    let (world, directory) = (World::new(), directory());
    let _appliance = Appliance::start(&directory, SETTINGS);
    let mut players = ["a", "b", "c"].map(|hunt| Player::join_hunt(&world, hunt));
    let body = json!({"channels": ["a", "b", "nowhere:c"], "data": {"clue": 7}});
    let answer = api("broadcast", &body).unwrap();
    let responses = answer["result"]["responses"].as_array().unwrap();
    assert_eq!(responses[0]["result"]["offset"], 1, "{answer}");
    assert_eq!(responses[1]["result"]["offset"], 1, "{answer}");
    assert_eq!(responses[2]["error"]["code"], 102, "{answer}");
    for player in &mut players[..2] {
        assert_eq!(player.event().data, json!({"clue": 7}));
    }
    players[2].hears_nothing(Duration::from_millis(50));
    let info = api("info", &json!({})).unwrap();
    assert_eq!(info["result"]["nodes"][0]["num_clients"], 3, "{info}");
}
