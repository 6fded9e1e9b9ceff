//! Players on one core, from SYN to FIN: the client protocol, recovery, limits and bad input.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use engine::metrics::catalog::Metric;
use engine::port::Port;
use engine::units::Micros;
use world::{Setup, UPGRADE, World, masked};

/// Everything a connection takes is given back once the players are gone.
#[track_caller]
fn assert_nothing_is_held(world: &mut World) {
    world.run(12_000);
    assert_eq!(world.core.connections(), 0);
    assert_eq!(world.core.sessions_held(), (0, 0));
    world.run(200);
    assert_eq!(world.count(Metric::SessionPlayers), 0);
    assert_eq!(world.count(Metric::SessionSubscriptions), 0);
    assert_eq!(world.count(Metric::SessionHunts), 0);
}

#[test]
fn events_reach_all_subscribers_once_and_in_order() {
    let mut world = World::new();
    let players: Vec<usize> = (0..5).map(|_| world.connect()).collect();
    for &player in &players {
        let reply = world.subscribe(player, "hunt");
        assert!(reply.contains("\"recoverable\":true"), "{reply}");
    }
    for n in 1..=50 {
        world.publish("hunt", &format!("{{\"clue\":{n}}}"));
        world.step();
    }
    world.publish("other", "1");
    world.run(50);
    let first = world.players[0].inbox[0].clone();
    assert!(first.contains("\"data\":{\"clue\":1}"), "{first}");
    for player in players {
        assert_eq!(world.offsets(player), (1..=50).collect::<Vec<u64>>());
        world.hang_up(player);
    }
    assert_eq!(world.count(Metric::HuntDeliveries), 250);
    assert_nothing_is_held(&mut world);
}

#[test]
fn events_arrive_over_a_lossy_path() {
    let mut world = World::new();
    let players: Vec<usize> = (0..4).map(|_| world.connect()).collect();
    for &player in &players {
        world.subscribe(player, "hunt");
    }
    world.loss_percent = 10;
    for n in 1..=200 {
        world.publish("hunt", &format!("\"{n:0300}\""));
        world.run(5);
    }
    world.loss_percent = 0;
    world.run(5_000);
    for player in players {
        assert_eq!(world.offsets(player), (1..=200).collect::<Vec<u64>>());
    }
}

#[test]
fn a_returning_player_gets_what_it_missed_then_live_events() {
    let mut world = World::new();
    let player = world.connect();
    let reply = world.subscribe(player, "hunt");
    let value: serde_json::Value = serde_json::from_str(&reply).unwrap();
    let epoch = value["subscribe"]["epoch"].as_str().unwrap().to_owned();
    for _ in 0..10 {
        world.publish("hunt", "1");
    }
    world.run(20);
    assert_eq!(world.offsets(player).len(), 10);
    world.reset(player);
    for _ in 0..15 {
        world.publish("hunt", "2");
        world.step();
    }
    let player = world.connect();
    let recover = |epoch: &str, offset: u64| {
        format!(
            r#"{{"id":2,"subscribe":{{"channel":"hunt","recover":true,"epoch":"{epoch}","offset":{offset}}}}}"#
        )
    };
    let reply = world.ask(player, &recover(&epoch, 10));
    world.publish("hunt", "3");
    world.run(20);
    assert!(reply.contains("\"recovered\":true"), "{reply}");
    // The hunt's log still holds all of it.
    assert!(!reply.contains("publications"), "{reply}");
    assert_eq!(world.offsets(player), (11..=26).collect::<Vec<u64>>());
    assert_eq!(world.count(Metric::SessionRecoveredFromLog), 1);

    let player = world.connect();
    let reply = world.ask(player, &recover("gone", 10));
    assert!(reply.contains("\"was_recovering\":true"), "{reply}");
    assert!(!reply.contains("\"recovered\":true"), "{reply}");
    assert_eq!(world.count(Metric::SessionNotRecovered), 1);
}

#[test]
fn a_publish_is_answered_and_heard_by_all_even_the_publisher() {
    let mut world = World::new();
    let player = world.connect();
    world.subscribe(player, "hunt");
    world.send_text(
        player,
        r#"{"id":3,"publish":{"channel":"hunt","data":{"a": 1}}}"#,
    );
    world.run(20);
    let messages: Vec<String> = world.players[player].inbox.drain(..).collect();
    assert!(
        messages
            .iter()
            .any(|m| m.contains("\"id\":3") && m.contains("\"publish\":{}")),
        "{messages:?}"
    );
    let push = messages.iter().find(|m| m.contains("\"push\"")).unwrap();
    assert!(
        push.contains("\"offset\":1") && push.contains("\"info\""),
        "{push}"
    );
}

#[test]
fn commands_are_answered_in_order_also_those_behind_a_slow_one() {
    let mut world = World::new();
    let player = world.connect();
    world.journal_works = false;
    world.send_text(player, "{\"id\":5,\"subscribe\":{\"channel\":\"a\"}}\n{\"id\":6,\"unsubscribe\":{\"channel\":\"b\"}}");
    world.send_text(player, r#"{"id":7,"subscribe":{"channel":"closed:x"}}"#);
    world.run(50);
    assert!(world.players[player].inbox.is_empty());
    world.journal_works = true;
    world.run(50);
    let ids: Vec<u64> = world.players[player]
        .inbox
        .iter()
        .map(|m| {
            serde_json::from_str::<serde_json::Value>(m).unwrap()["id"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert_eq!(ids, [5, 6, 7]);
}

#[test]
fn tokens_open_connections_and_expire() {
    let mut world = World::new();
    let connect = |token: &str| format!(r#"{{"id":1,"connect":{{"token":"{token}"}}}}"#);
    let good = world.upgrade();
    assert!(world.ask(good, &connect("good")).contains("\"client\""));
    let bad = world.upgrade();
    assert_eq!(world.ask(bad, &connect("bad")), "closed 3500");
    let old = world.upgrade();
    let reply = world.ask(old, &connect("old"));
    assert!(reply.contains("109"), "{reply}");
    let short = world.upgrade();
    let reply = world.ask(short, &connect("short"));
    assert!(
        reply.contains("\"expires\":true") && reply.contains("\"ttl\":3"),
        "{reply}"
    );
    // An SDK has 25 seconds to come with a new token.
    world.run(27_000);
    assert!(world.is_open(short));
    world.run(2_000);
    assert_eq!(world.players[short].closed, Some(3005));
    assert_eq!(world.count(Metric::SessionBadTokens), 1);
    assert!(world.is_open(good));
}

#[test]
fn without_a_token_only_if_the_rules_say_so() {
    let mut setup = Setup::default();
    setup.rules.anonymous = false;
    let mut world = World::with(setup);
    let player = world.upgrade();
    let reply = world.ask(player, r#"{"id":1,"connect":{}}"#);
    assert!(
        reply.contains("101") || reply.starts_with("closed"),
        "{reply}"
    );
}

#[test]
fn what_is_not_allowed_is_refused_with_its_code() {
    let mut world = World::new();
    let player = world.connect();
    for (command, code) in [
        (r#"{"id":3,"subscribe":{"channel":"unknown:x"}}"#, 102),
        (r#"{"id":4,"subscribe":{"channel":"closed:x"}}"#, 103),
        (r#"{"id":5,"publish":{"channel":"closed:x","data":1}}"#, 103),
        (r#"{"id":6,"presence":{"channel":"a"}}"#, 108),
        (r#"{"id":7,"rpc":{"method":"x"}}"#, 104),
    ] {
        let reply = world.ask(player, command);
        assert!(
            reply.contains(&format!("\"code\":{code}")),
            "{command}: {reply}"
        );
    }
    assert!(world.subscribe(player, "h0").contains("\"subscribe\""));
    let reply = world.subscribe(player, "h0");
    assert!(reply.contains("105"), "{reply}");
    for n in 1..4 {
        assert!(
            world
                .subscribe(player, &format!("h{n}"))
                .contains("\"subscribe\"")
        );
    }
    let reply = world.subscribe(player, "h5");
    assert!(reply.contains("106"), "{reply}");
    assert_eq!(world.count(Metric::SessionErrors), 7);
}

#[test]
fn a_malformed_or_unknown_command_closes_only_its_own_connection() {
    let mut world = World::new();
    let bystander = world.connect();
    world.subscribe(bystander, "hunt");
    for text in [
        "not json",
        r#"{"id":9,"dance":{}}"#,
        r#"{"id":9}"#,
        "[1]",
        r#"{"subscribe":{"channel":"x"}}"#,
    ] {
        let player = world.connect();
        assert_eq!(world.ask(player, text), "closed 3501", "{text}");
    }
    // Before connect, anything else is out of place.
    let player = world.upgrade();
    assert_eq!(
        world.ask(player, r#"{"id":1,"subscribe":{"channel":"x"}}"#),
        "closed 3501"
    );
    assert_eq!(world.count(Metric::SessionBadCommands), 6);
    world.publish("hunt", "1");
    world.run(20);
    assert_eq!(world.offsets(bystander), [1]);
    world.hang_up(bystander);
    assert_nothing_is_held(&mut world);
}

/// Every rule for what a player may send at all, in the order of docs/protocol.md.
#[test]
fn what_breaks_the_protocol_is_closed_with_its_code() {
    let mut world = World::new();
    let about = |name: &str| format!(r#"{{"id":9,"{name}":{{}}}}"#);
    let channels = [
        "subscribe",
        "unsubscribe",
        "publish",
        "presence",
        "presence_stats",
        "history",
        "sub_refresh",
    ];
    let mut cases: Vec<(String, u16)> = channels.iter().map(|name| (about(name), 3501)).collect();
    for (text, code) in [
        ("", 3501),
        ("\n", 3501),
        ("{}", 3501),
        (r#"{"id":2,"connect":{}}"#, 3501),
        (r#"{"id":2,"ping":{}}"#, 3501),
        (r#"{"rpc":{}}"#, 3501),
        (r#"{"send":{"data":1}}"#, 3508),
        (
            r#"{"id":2,"subscribe":{"channel":"h","delta":"zip"}}"#,
            3501,
        ),
        ("\0", 3501),
    ] {
        cases.push((text.to_owned(), code));
    }
    for (text, code) in cases {
        let player = world.connect();
        assert_eq!(world.ask(player, &text), format!("closed {code}"), "{text}");
    }
    let early = world.upgrade();
    assert_eq!(world.ask(early, "{}"), "closed 3501");
    assert_nothing_is_held(&mut world);
}

#[test]
fn what_cannot_be_done_is_refused_and_the_connection_goes_on() {
    let mut world = World::new();
    let player = world.connect();
    let long = "x".repeat(256);
    for (body, code) in [
        (r#""subscribe":{"channel":"h","type":1}"#.to_owned(), 108),
        (r#""subscribe":{"channel":"h","tf":{}}"#.to_owned(), 107),
        (format!(r#""subscribe":{{"channel":"{long}"}}"#), 107),
        (r#""subscribe":{"channel":"\u00e4"}"#.to_owned(), 107),
        (r#""subscribe":{"channel":"$h"}"#.to_owned(), 103),
        (format!(r#""history":{{"channel":"{long}"}}"#), 107),
        (r#""presence":{"channel":"none:h"}"#.to_owned(), 102),
        (r#""publish":{"channel":"h"}"#.to_owned(), 107),
        (
            r#""subscribe":{"channel":"h","recover":true,"epoch":"_","flag":2}"#.to_owned(),
            112,
        ),
    ] {
        let reply = world.ask(player, &format!("{{\"id\":7,{body}}}"));
        assert!(
            reply.contains(&format!("\"code\":{code},")),
            "{body}: {reply}"
        );
        assert!(reply.starts_with("{\"id\":7,"), "{reply}");
    }
    // Not subscribed is as good as unsubscribed.
    let reply = world.ask(player, r#"{"id":8,"unsubscribe":{"channel":"h"}}"#);
    assert_eq!(reply, r#"{"id":8,"unsubscribe":{}}"#);
}

#[test]
fn a_player_whose_connect_was_refused_may_say_more_and_is_not_heard() {
    let mut world = World::new();
    let player = world.upgrade();
    // As centrifuge-js does: all in one frame.
    let reply = world.ask(
        player,
        "{\"id\":1,\"connect\":{\"token\":\"old\"}}\n{\"id\":2,\"subscribe\":{\"channel\":\"h\"}}",
    );
    assert!(reply.contains("\"code\":109"), "{reply}");
    let reply = world.ask(player, r#"{"id":3,"connect":{"token":"good"}}"#);
    assert_eq!(reply, "nothing");
    world.run(5_000);
    assert_eq!(world.players[player].closed, Some(3502));
    assert_nothing_is_held(&mut world);
}

#[test]
fn held_commands_end_with_or_without_a_newline() {
    let mut world = World::new();
    let player = world.connect();
    world.journal_works = false;
    world.send_text(player, "{\"id\":5,\"subscribe\":{\"channel\":\"a\"}}\n");
    for id in 6..9 {
        let unsubscribe = format!("{{\"id\":{id},\"unsubscribe\":{{\"channel\":\"b\"}}}}\n");
        world.send_text(player, &unsubscribe);
    }
    world.run(20);
    world.journal_works = true;
    world.run(50);
    let ids: Vec<char> = world.players[player]
        .inbox
        .drain(..)
        .filter_map(|m| m.chars().nth(6))
        .collect();
    assert_eq!(ids, ['5', '6', '7', '8']);
    assert_eq!(world.players[player].closed, None);
    // An empty message is a bad one also behind others.
    for nothing in ["", "\n"] {
        world.journal_works = false;
        let player = world.connect();
        world.send_text(player, "{\"id\":5,\"subscribe\":{\"channel\":\"c\"}}");
        world.send_text(player, r#"{"id":6,"unsubscribe":{"channel":"b"}}"#);
        assert_eq!(world.ask(player, nothing), "closed 3501");
        world.journal_works = true;
        world.run(20);
    }
}

/// A pong does not wait for its turn: the journal may take longer than the player has for it.
#[test]
fn a_pong_behind_a_slow_command_is_in_time() {
    let mut world = World::new();
    let player = world.connect();
    world.journal_works = false;
    world.send_text(
        player,
        "{\"id\":5,\"subscribe\":{\"channel\":\"a\"}}\n{\"id\":6,\"unsubscribe\":{\"channel\":\"b\"}}",
    );
    world.run(40_000);
    assert!(world.players[player].pings > 0);
    assert_eq!(world.players[player].closed, None);
    world.journal_works = true;
    world.run(50);
    assert_eq!(world.players[player].inbox.len(), 2);
}

#[test]
fn json_may_come_in_binary_frames() {
    let mut world = World::new();
    let player = world.upgrade();
    world.send_frame(player, 0x82, br#"{"id":1,"connect":{}}"#);
    world.run(20);
    let reply = world.players[player].inbox.pop_front().unwrap();
    assert!(reply.contains("\"ping\":25,\"pong\":true"), "{reply}");
    world.send_frame(player, 0x82, b"\xff");
    world.run(20);
    assert_eq!(world.players[player].closed, Some(3501));
}

#[test]
fn whoever_asks_is_pinged_by_its_websocket() {
    let mut world = World::new();
    let target = "/connection/websocket?cf_ws_frame_ping_pong=true";
    let players = [world.upgrade_at(target, ""), world.upgrade_at(target, "")];
    for player in players {
        world.send_text(player, r#"{"id":1,"connect":{}}"#);
        world.run(20);
        let (first, reply) = world.frames(player).remove(0);
        let reply = String::from_utf8(reply).unwrap();
        assert!(first == 0x81 && reply.contains("\"client\""), "{reply}");
        assert!(
            !reply.contains("ping") && !reply.contains("pong"),
            "{reply}"
        );
        // One that nobody asked for (RFC 6455 5.5.3).
        world.send_frame(player, 0x8a, b"");
    }
    let [good, mute] = players;
    let mut pings = 0;
    for _ in 0..80_000 {
        world.step();
        for frame in world.frames(good) {
            assert_eq!(frame, (0x89, Vec::new()));
            pings += 1;
            world.send_frame(good, 0x8a, b"");
        }
    }
    assert!(pings >= 3, "{pings}");
    let frames = world.frames(mute);
    assert_eq!(frames[0], (0x89, Vec::new()));
    assert_eq!(
        (frames[1].0, &frames[1].1[..2]),
        (0x88, &3012_u16.to_be_bytes()[..])
    );
    assert_eq!(world.count(Metric::SessionNoPong), 1);
}

#[test]
fn broken_frames_are_closed_with_their_code_and_counted() {
    let mut world = World::new();
    let cases: [(&[u8], u16, Metric); 4] = [
        (b"\x81\x02{}", 1002, Metric::WsProtocolErrors),
        (b"\xf1\x80\0\0\0\0", 1002, Metric::WsProtocolErrors),
        (b"\x81\x82\0\0\0\0\xff\xfe", 1007, Metric::WsBadUtf8),
        (
            b"\x81\xff\0\0\0\0\x7f\xff\xff\xff\0\0\0\0",
            1009,
            Metric::WsTooBig,
        ),
    ];
    for (bytes, code, metric) in cases {
        let before = world.count(metric);
        let player = world.connect();
        world.send_bytes(player, bytes);
        world.run(20);
        assert_eq!(world.players[player].closed, Some(code), "{bytes:x?}");
        assert_eq!(world.count(metric), before + 1);
    }
    assert_nothing_is_held(&mut world);
}

#[test]
fn requests_that_are_no_upgrade_are_answered_and_closed() {
    let mut world = World::new();
    let long = [
        b"GET /connection/websocket HTTP/1.1\r\nX: ".as_slice(),
        &[b'a'; 6000],
    ]
    .concat();
    for (request, answer) in [
        (
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".as_slice(),
            "HTTP/1.1 404",
        ),
        (b"BREW /pot\r\n\r\n", "HTTP/1.1 400"),
        (b"\0\x01\x02\x03\xff\r\n\r\n", "HTTP/1.1 400"),
        (&long, "HTTP/1.1 431"),
    ] {
        let player = world.dial();
        world.send_bytes(player, request);
        world.run(50);
        assert!(
            world.text(player).starts_with(answer),
            "{:?}",
            world.text(player)
        );
        world.hang_up(player);
    }
    assert_eq!(world.count(Metric::WsUpgradeRefused), 4);
    assert_eq!(world.count(Metric::WsHeaderTooLong), 1);
    assert_nothing_is_held(&mut world);
}

#[test]
fn an_upgrade_in_single_bytes_is_an_upgrade() {
    let mut world = World::new();
    let player = world.dial();
    for byte in UPGRADE {
        world.send_bytes(player, &[*byte]);
        world.step();
    }
    let reply = world.ask(player, r#"{"id":1,"connect":{}}"#);
    assert!(reply.contains("\"connect\""), "{reply}");
}

#[test]
fn those_who_take_too_long_are_cut() {
    let mut world = World::new();
    let silent = world.dial();
    let half = world.dial();
    world.send_bytes(half, &UPGRADE[..40]);
    let stale = world.upgrade();
    world.run(5_500);
    assert!(!world.is_open(silent) && !world.is_open(half));
    assert_eq!(world.players[stale].closed, Some(3502));
    assert_eq!(world.count(Metric::WsHandshakeTimeouts), 2);
    assert_eq!(world.count(Metric::SessionStale), 1);
    assert_nothing_is_held(&mut world);
}

#[test]
fn pings_go_out_and_who_does_not_answer_is_disconnected() {
    let mut world = World::new();
    let good = world.connect();
    let mute = world.connect();
    world.players[mute].answers_pings = false;
    world.run(80_000);
    assert!(
        world.players[good].pings >= 3,
        "{}",
        world.players[good].pings
    );
    assert_eq!(world.players[mute].closed, Some(3012));
    assert!(world.is_open(good));
    assert_eq!(world.count(Metric::SessionNoPong), 1);
}

#[test]
fn a_slow_player_is_disconnected_and_slows_nobody() {
    let mut world = World::new();
    let slow = world.connect();
    let fast = world.connect();
    for player in [slow, fast] {
        world.subscribe(player, "hunt");
    }
    world.players[slow].reads = false;
    let text = format!("\"{}\"", "x".repeat(2_000));
    for _ in 0..200 {
        world.publish("hunt", &text);
        world.run(2);
    }
    world.run(100);
    assert_eq!(world.offsets(fast).len(), 200);
    assert_eq!(world.count(Metric::SessionSlow), 1);
    // What it was sent is overwritten before the close frame's time is up: still one slow player.
    for _ in 0..1_000 {
        world.publish("hunt", &text);
        world.run(2);
    }
    assert_eq!(world.count(Metric::SessionSlow), 1);
    world.players[slow].reads = true;
    world.run(10_000);
    assert!(!world.is_open(slow));
    world.hang_up(fast);
    assert_nothing_is_held(&mut world);
}

#[test]
fn a_full_submit_ring_refuses_with_a_code_and_loses_nothing() {
    let mut world = World::with(Setup {
        submit_ring_bytes: 110_000,
        ..Setup::default()
    });
    let player = world.connect();
    world.subscribe(player, "hunt");
    world.journal_works = false;
    let data = "x".repeat(30_000);
    for id in 10..20 {
        world.send_text(
            player,
            &format!(r#"{{"id":{id},"publish":{{"channel":"hunt","data":"{data}"}}}}"#),
        );
        world.run(20);
    }
    assert!(world.count(Metric::RingSubmitFull) > 0);
    world.journal_works = true;
    world.run(500);
    let messages: Vec<String> = world.players[player].inbox.drain(..).collect();
    let accepted = messages
        .iter()
        .filter(|m| m.contains("\"publish\":{}"))
        .count();
    let refused = messages
        .iter()
        .filter(|m| m.contains("\"code\":111"))
        .count();
    let pushes = messages.iter().filter(|m| m.contains("\"push\"")).count();
    assert_eq!(
        (accepted + refused, pushes),
        (10, accepted),
        "{accepted} {refused}"
    );
    assert!(refused > 0 && accepted > 0);
}

#[test]
fn an_empty_chunk_pool_cuts_the_connection_that_needs_more() {
    let mut world = World::with(Setup {
        chunks: 2,
        ..Setup::default()
    });
    let player = world.upgrade();
    let long = format!(r#"{{"id":1,"connect":{{"name":"{}"}}}}"#, "n".repeat(9_000));
    world.send_text(player, &long);
    world.run(50);
    assert!(!world.is_open(player));
    assert_eq!(world.count(Metric::SessionChunksFull), 1);
    assert_nothing_is_held(&mut world);
}

#[test]
fn a_recovery_leaves_room_for_the_others() {
    let mut world = World::with(Setup {
        chunks: 40,
        ..Setup::default()
    });
    let data = format!("\"{}\"", "x".repeat(1000));
    for _ in 0..32 {
        world.publish("hunt", &data);
        world.step();
    }
    let player = world.connect();
    // Of 40 KiB ten belong to the others; so a page holds 6 events, and the rest comes page by page.
    let recover = r#"{"id":2,"subscribe":{"channel":"hunt","recover":true,"offset":0}}"#;
    let reply = world.ask(player, recover);
    assert_eq!(world::offsets_in(&reply), (1..=6).collect::<Vec<u64>>());
    world.run(100);
    assert_eq!(world.offsets(player), (7..=32).collect::<Vec<u64>>());
    assert!(world.count(Metric::SessionRecoveryPages) >= 2);
    world.hang_up(player);
    assert_nothing_is_held(&mut world);
}

#[test]
fn what_finds_the_port_full_is_tried_again_soon() {
    let mut world = World::new();
    let player = world.connect();
    world.core.port().limit_tx(0);
    world.send_text(player, r#"{"id":2,"unsubscribe":{"channel":"hunt"}}"#);
    world.step();
    let turn = world.core.turn(world.now);
    assert!(!turn.busy, "there is nothing that can be done");
    assert!(turn.poll_at <= world.now + Micros(200), "{turn:?}");
    world.core.port().limit_tx(4096);
    world.run(5);
    let inbox = &world.players[player].inbox;
    assert!(inbox.iter().any(|m| m.contains("unsubscribe")));
    assert!(world.core.turn(world.now).poll_at > world.now + Micros(200));
}

/// A core that did not get its CPU for a while finds its timers due and, far back in a full port, the
/// acknowledgements they are waiting for.
#[test]
fn a_core_held_up_takes_what_has_arrived_before_its_timers_fire() {
    let mut world = World::new();
    let player = world.connect();
    world.subscribe(player, "hunt");
    world.run(300);
    world.publish("hunt", "1");
    // The journal's turn, and then the core's, which sends the event.
    world.step();
    world.step();
    for _ in 0..2_000 {
        assert!(world.core.port().inject(&[0; 60]));
    }
    for _ in 0..400 {
        world.step_players();
    }
    world.step();
    assert_eq!(world.offsets(player), [1]);
    assert_eq!(world.count(Metric::TcpTailProbes), 0);
    assert_eq!(world.count(Metric::TcpTimeouts), 0);
    assert!(!world.core.turn(world.now).busy, "all was taken");
}

/// Commands that have arrived while the core was held up and that do not fit into the submit ring stay
/// in the port until the journal has read some.
#[test]
fn a_core_held_up_refuses_no_command_while_the_journal_works() {
    let mut world = World::with(Setup {
        submit_ring_bytes: 300_000,
        ..Setup::default()
    });
    let players: Vec<usize> = (0..20).map(|_| world.connect()).collect();
    let data = "x".repeat(1_000);
    for &player in &players {
        let publishes = (2..22).flat_map(|id| {
            let command =
                format!(r#"{{"id":{id},"publish":{{"channel":"hunt","data":"{data}"}}}}"#);
            masked(0x81, command.as_bytes())
        });
        let publishes: Vec<u8> = publishes.collect();
        assert_eq!(world.offer(player, &publishes), publishes.len());
    }
    world.step_players();
    world.run(50);
    assert_eq!(world.count(Metric::RingSubmitFull), 0);
    for player in players {
        let inbox = &world.players[player].inbox;
        let published = inbox.iter().filter(|m| m.contains("\"publish\":{}"));
        assert_eq!(published.count(), 20);
    }
}

/// What a turn sends is bounded, so that the acknowledgements of it find room in the port.
#[test]
fn a_core_behind_with_many_players_sends_a_bounded_number_of_frames_a_turn() {
    let mut world = World::with(Setup {
        players_max: 200,
        ..Setup::default()
    });
    let players: Vec<usize> = (0..150).map(|_| world.connect()).collect();
    for &player in &players {
        world.subscribe(player, "hunt");
    }
    // Some 9 KiB for each: seven segments.
    let data = format!("\"{}\"", "x".repeat(900));
    for _ in 0..10 {
        world.publish("hunt", &data);
    }
    world.journal.turn(world.now, world.now.0 / 1000);
    let mut frames = Vec::new();
    for _ in 0..6 {
        let before = world.core.port().stats().tx_frames;
        world.step();
        frames.push(world.core.port().stats().tx_frames - before);
    }
    // The initial window of the last one may be sent beyond the budget of 256.
    assert!(frames.iter().all(|&count| count <= 256 + 10), "{frames:?}");
    assert!(frames.iter().sum::<u64>() > 1_000, "{frames:?}");
    world.run(20);
    for player in players {
        assert_eq!(world.offsets(player), (1..=10).collect::<Vec<u64>>());
    }
}

#[test]
fn draining_sends_everyone_away_and_lets_nobody_in() {
    let mut world = World::new();
    let players: Vec<usize> = (0..6).map(|_| world.connect()).collect();
    let late = world.dial();
    world.core.drain();
    world.run(20);
    for player in players {
        assert_eq!(world.players[player].closed, Some(3001));
    }
    world.send_bytes(late, UPGRADE);
    world.run(20);
    // One that had not upgraded yet is cut.
    assert!(!world.is_open(late) && world.text(late).is_empty());
    assert_eq!(world.count(Metric::SessionDrained), 7);
    assert_nothing_is_held(&mut world);
}

#[test]
fn random_bytes_disturb_nobody() {
    let mut world = World::new();
    let good = world.connect();
    world.subscribe(good, "hunt");
    let mut seed = 9u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33).to_le_bytes()[0]
    };
    for round in 0..60u64 {
        let player = match round % 3 {
            0 => world.dial(),
            1 => world.upgrade(),
            _ => world.connect(),
        };
        let bytes: Vec<u8> = (0..300).map(|_| random()).collect();
        world.send_bytes(player, &bytes);
        let mut frame = vec![0; 20 + usize::from(random())];
        frame.iter_mut().for_each(|byte| *byte = random());
        frame[..12].copy_from_slice(&[2; 12]);
        frame[12..14].copy_from_slice(&[8, 0]);
        world.core.port().inject(&frame);
        world.publish("hunt", "1");
        world.run(5);
        world.reset(player);
        world.run(5);
    }
    world.run(100);
    assert_eq!(world.offsets(good), (1..=60).collect::<Vec<u64>>());
    world.hang_up(good);
    assert_nothing_is_held(&mut world);
}

#[test]
fn a_clock_that_jumps_far_breaks_nothing() {
    let mut world = World::new();
    let player = world.connect();
    world.subscribe(player, "hunt");
    world.now = world.now + Micros::from_secs(20);
    world.publish("hunt", "1");
    world.run(20);
    assert_eq!(world.offsets(player), [1]);
}

fn echo_world() -> World {
    let mut setup = Setup::default();
    setup.rules.echo = true;
    World::with(setup)
}

#[test]
fn the_echo_endpoint_is_unknown_unless_switched_on() {
    let mut world = World::new();
    let player = world.echo();
    assert!(world.text(player).starts_with("HTTP/1.1 404 "));
    assert_eq!(world.count(Metric::WsUpgradeRefused), 1);
    assert_nothing_is_held(&mut world);
}

#[test]
fn every_message_is_echoed_fragmented_ones_as_one() {
    let mut world = echo_world();
    let player = world.echo();
    let long: Vec<u8> = (0..50_000u32).map(|n| n.to_le_bytes()[0]).collect();
    world.send_frame(player, 0x81, b"text");
    world.send_frame(player, 0x82, &long);
    world.send_frame(player, 0x01, b"frag");
    world.send_frame(player, 0x89, b"ping");
    world.send_frame(player, 0x80, b"ments");
    world.send_frame(player, 0x82, b"");
    world.run(50);
    let expected = [
        (0x81, b"text".to_vec()),
        (0x82, long),
        (0x8a, b"ping".to_vec()),
        (0x81, b"fragments".to_vec()),
        (0x82, Vec::new()),
    ];
    assert_eq!(world.frames(player), expected);
    // RFC 6455 5.5.1: the same code back, then TCP is closed by us (7.1.1).
    world.send_frame(player, 0x88, &4000_u16.to_be_bytes());
    world.run(50);
    assert_eq!(world.frames(player), [(0x88, vec![0x0f, 0xa0])]);
    assert!(!world.is_open(player));
    world.hang_up(player);
    assert_nothing_is_held(&mut world);
}

#[test]
fn who_breaks_the_rules_on_the_echo_endpoint_is_closed() {
    let mut world = echo_world();
    for (first, payload, code) in [
        (0x83, &b"reserved"[..], 1002_u16),
        (0x81, b"\xff\xfe", 1007),
    ] {
        let player = world.echo();
        world.send_frame(player, first, payload);
        world.run(20);
        let frames = world.frames(player);
        assert_eq!(frames[0].0, 0x88);
        assert_eq!(frames[0].1[..2], code.to_be_bytes());
        world.hang_up(player);
    }
    assert_nothing_is_held(&mut world);
}

/// The endpoints have a bound each; one byte over it is too much.
#[test]
fn the_echo_endpoint_has_a_bound_of_its_own() {
    const MOST: usize = 200_000;
    let mut setup = Setup::default();
    setup.rules.echo = true;
    setup.rules.echo_message_bytes_max = MOST;
    let bound_of_players = setup.rules.message_bytes_max;
    let mut world = World::with(setup);
    let player = world.echo();
    let long: Vec<u8> = (0..MOST).map(|n| n.to_le_bytes()[1]).collect();
    let sent = masked(0x82, &long);
    let mut at = 0;
    for _ in 0..2_000 {
        at += world.offer(player, &sent[at..]);
        world.step();
    }
    assert!(world.frames(player) == [(0x82, long)]);
    world.send_bytes(player, &long_header(MOST + 1));
    world.run(20);
    let frames = world.frames(player);
    assert_eq!(
        (frames[0].0, &frames[0].1[..2]),
        (0x88, &1009_u16.to_be_bytes()[..])
    );
    let other = world.connect();
    world.send_bytes(other, &long_header(bound_of_players + 1));
    world.run(20);
    assert_eq!(world.players[other].closed, Some(1009));
    assert_eq!(world.count(Metric::WsTooBig), 2);
    world.hang_up(player);
    assert_nothing_is_held(&mut world);
}

/// Header of a masked text frame that announces `length` bytes in the 64-bit form.
fn long_header(length: usize) -> Vec<u8> {
    [&[0x81, 0xff], &(length as u64).to_be_bytes()[..], &[0; 4]].concat()
}

/// Whoever does not read is not read from, and loses nothing.
#[test]
fn echo_pushes_back_and_cuts_nobody() {
    const MESSAGES: u32 = 300;
    let mut world = echo_world();
    let (player, other) = (world.echo(), world.echo());
    world.players[player].reads = false;
    let mut sent: Vec<u8> = Vec::new();
    let mut chunks_most = 0;
    for n in 0..MESSAGES {
        let payload = vec![n.to_le_bytes()[0]; 3_000];
        sent.extend(masked(0x82, &payload));
    }
    let mut at = 0;
    for _ in 0..2_000 {
        at += world.offer(player, &sent[at..]);
        world.step();
        chunks_most = chunks_most.max(world.core.sessions_held().1);
    }
    assert!(at < sent.len() / 2, "{at} of {} were taken", sent.len());
    // One window held, one echo and a message over the bound.
    assert!(chunks_most < 150, "{chunks_most} chunks");
    world.send_frame(other, 0x81, b"meanwhile");
    world.run(20);
    assert_eq!(world.frames(other), [(0x81, b"meanwhile".to_vec())]);
    world.players[player].reads = true;
    for _ in 0..5_000 {
        at += world.offer(player, &sent[at..]);
        world.step();
    }
    let echoed = world.frames(player);
    assert_eq!(echoed.len(), MESSAGES as usize);
    for (n, frame) in echoed.iter().enumerate() {
        assert_eq!(*frame, (0x82, vec![n.to_le_bytes()[0]; 3_000]));
    }
    assert_eq!(world.count(Metric::SessionSlow), 0);
    world.hang_up(player);
    world.hang_up(other);
    assert_nothing_is_held(&mut world);
}

/// RFC 9293 3.8.6.1: the window closed with nothing in flight; the update that opens it is lost.
#[test]
fn what_waits_for_a_closed_window_probes_it() {
    let mut world = echo_world();
    let player = world.echo();
    world.players[player].reads = false;
    // Fills the player's 32 KiB to the last byte.
    world.send_frame(player, 0x82, &[7; 32_764]);
    world.run(50);
    world.send_frame(player, 0x89, b"late");
    world.run(20);
    world.players[player].reads = true;
    world.loss_percent = 100;
    world.run(3);
    world.loss_percent = 0;
    assert_eq!(world.frames(player).len(), 1);
    world.run(2_000);
    assert_eq!(world.frames(player), [(0x8a, b"late".to_vec())]);
    world.hang_up(player);
    assert_nothing_is_held(&mut world);
}
