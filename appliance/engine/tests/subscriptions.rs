//! Who may subscribe to what, what a token adds to it, and how it ends: the rules of
//! `session::permission` as players meet them, and the subscriptions that we make.

#![allow(clippy::unwrap_used, reason = "tests")]

mod schema;
mod world;

use engine::metrics::catalog::Metric;
use engine::session::rules::ChannelRules;
use prost::Message;
use schema::{Command, ConnectRequest, Reply, SubRefreshRequest, SubscribeRequest};
use serde_json::{Value, json};
use world::{Setup, World};

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}"))
}

fn ask(world: &mut World, player: usize, body: &Value) -> Value {
    let mut command = body.clone();
    command["id"] = json!(9);
    let reply = world.ask(player, &command.to_string());
    match reply.starts_with('{') {
        true => parsed(&reply),
        false => json!(reply),
    }
}

fn subscribe(channel: &str, token: &str) -> Value {
    json!({"subscribe": {"channel": channel, "token": token}})
}

/// Everything that came, parsed.
fn inbox(world: &mut World, player: usize) -> Vec<Value> {
    let messages: Vec<String> = world.players[player].inbox.drain(..).collect();
    messages.iter().map(|message| parsed(message)).collect()
}

fn ann(world: &mut World) -> usize {
    let (player, reply) = world.connect_with("user=ann;info=[1]");
    assert!(reply.contains("\"client\""), "{reply}");
    player
}

#[test]
fn a_subscription_token_decides_alone() {
    let mut world = World::new();
    let player = ann(&mut world);
    let token = "user=ann;channel=closed:x;data=[2];info=[3]";
    for (channel, token, code) in [
        ("closed:x", "", 103),
        ("$secret", "", 103),
        ("closed:x", "old", 109),
        ("closed:x", "lapsed", 110),
        ("closed:x", "forged", 103),
        ("none:x", token, 102),
    ] {
        let reply = ask(&mut world, player, &subscribe(channel, token));
        assert_eq!(reply["error"]["code"], json!(code), "{channel} {token}");
    }
    let reply = ask(&mut world, player, &subscribe("closed:x", token));
    assert_eq!(reply["subscribe"]["data"], json!([2]), "{reply}");
    assert_eq!(reply["subscribe"]["expires"], Value::Null);
    let reply = ask(
        &mut world,
        player,
        &subscribe("$secret", "user=ann;channel=$secret"),
    );
    assert!(reply["subscribe"].is_object(), "{reply}");
    // For another hunt, another user, another connection.
    for token in [
        "user=ann;channel=closed:y",
        "user=bob;channel=closed:x",
        "user=ann;channel=closed:x;client=no",
    ] {
        let player = ann(&mut world);
        let reply = ask(&mut world, player, &subscribe("closed:x", token));
        assert_eq!(reply, json!("closed 3500"), "{token}");
    }
}

#[test]
fn what_a_subscription_token_says_of_its_bearer_others_see() {
    let mut world = World::new();
    let player = ann(&mut world);
    ask(
        &mut world,
        player,
        &subscribe("h", "user=ann;channel=h;info=[3]"),
    );
    for channel in ["h", "elsewhere"] {
        let publish = json!({"id": 5, "publish": {"channel": channel, "data": 1}});
        world.send_text(player, &publish.to_string());
        world.run(20);
    }
    let pushes = inbox(&mut world, player);
    let info = pushes
        .iter()
        .find_map(|push| push["push"]["pub"]["info"].as_object());
    let info = info.unwrap();
    assert_eq!(
        (&info["conn_info"], &info["chan_info"]),
        (&json!([1]), &json!([3]))
    );
    assert_eq!(info["user"], json!("ann"));
    let watcher = world.connect();
    ask(&mut world, watcher, &subscribe("elsewhere", ""));
    let publish = json!({"publish": {"channel": "elsewhere", "data": 1}});
    ask(&mut world, player, &publish);
    world.run(20);
    let push = &inbox(&mut world, watcher)[0];
    assert_eq!(
        push["push"]["pub"]["info"]["chan_info"],
        Value::Null,
        "{push}"
    );
}

#[test]
fn a_subscription_whose_token_expires_ends_25_seconds_later() {
    let mut world = World::new();
    let player = ann(&mut world);
    for (channel, ttl) in [("a", 3), ("b", 60)] {
        let token = format!("user=ann;channel={channel};ttl={ttl}");
        let reply = ask(&mut world, player, &subscribe(channel, &token));
        let subscribe = &reply["subscribe"];
        assert_eq!(
            (&subscribe["expires"], &subscribe["ttl"]),
            (&json!(true), &json!(ttl))
        );
    }
    ask(&mut world, player, &subscribe("c", ""));
    world.run(27_500);
    world.publish("a", "1");
    world.run(20);
    assert_eq!(world.offsets(player), [1], "the grace is not over");
    world.run(600);
    let messages = inbox(&mut world, player);
    let push = json!({"push": {"channel": "a", "unsubscribe":
        {"code": 2501, "reason": "subscription expired"}}});
    assert_eq!(messages, [push]);
    world.publish("a", "2");
    world.publish("b", "2");
    world.run(20);
    assert_eq!(world.offsets(player), [1], "only b is left");
    assert_eq!(world.count(Metric::SessionSubscriptionsExpired), 1);
    assert!(world.is_open(player));
    // Who was asked to leave may come again.
    let reply = ask(&mut world, player, &subscribe("a", "user=ann;channel=a"));
    assert!(reply["subscribe"].is_object(), "{reply}");
}

#[test]
fn a_sub_refresh_prolongs_a_subscription() {
    let mut world = World::new();
    let player = ann(&mut world);
    let refresh = |token: &str| json!({"sub_refresh": {"channel": "a", "token": token}});
    let reply = ask(&mut world, player, &refresh("user=ann;channel=a;ttl=9"));
    assert_eq!(reply["error"]["code"], json!(103), "not subscribed");
    ask(
        &mut world,
        player,
        &subscribe("a", "user=ann;channel=a;ttl=3"),
    );
    world.run(20_000);
    inbox(&mut world, player);
    for (token, code) in [("", 107), ("old", 110), ("lapsed", 110)] {
        let reply = ask(&mut world, player, &refresh(token));
        assert_eq!(reply["error"]["code"], json!(code), "{token}");
    }
    let reply = ask(&mut world, player, &refresh("user=ann;channel=a;ttl=30"));
    assert_eq!(reply["sub_refresh"], json!({"expires": true, "ttl": 30}));
    world.run(50_000);
    assert_eq!(world.count(Metric::SessionSubscriptionsExpired), 0);
    // For good.
    let reply = ask(&mut world, player, &refresh("user=ann;channel=a"));
    assert_eq!(reply["sub_refresh"], json!({}));
    world.run(100_000);
    assert_eq!(world.count(Metric::SessionSubscriptionsExpired), 0);
    let reply = ask(&mut world, player, &refresh("user=bob;channel=a"));
    assert_eq!(reply, json!("closed 3500"));
}

#[test]
fn what_is_granted_is_told() {
    let mut setup = Setup::default();
    setup.rules.default.force_recovery = false;
    setup.rules.default.allow_recovery = true;
    let mut world = World::with(setup);
    let player = world.connect();
    let reply = ask(&mut world, player, &subscribe("a", ""));
    assert_eq!(reply["subscribe"], json!({}));
    let wish = json!({"subscribe": {"channel": "b", "recoverable": true}});
    let reply = ask(&mut world, player, &wish);
    let subscribe = &reply["subscribe"];
    assert_eq!(
        (&subscribe["recoverable"], &subscribe["positioned"]),
        (&json!(true), &json!(true))
    );
    assert!(subscribe["epoch"].is_string());
    // Positions are asked for and not allowed: the subscription is made without.
    let wish = json!({"subscribe": {"channel": "c", "positioned": true}});
    assert_eq!(ask(&mut world, player, &wish)["subscribe"], json!({}));
}

#[test]
fn history_case_by_case() {
    let mut setup = Setup::default();
    setup.rules.default.allow_history_for_client = true;
    setup.rules.default.allow_history_for_anonymous = true;
    setup.rules.namespaces.push((
        "short".to_owned(),
        ChannelRules {
            history: false,
            ..setup.rules.default.clone()
        },
    ));
    let mut world = World::with(setup);
    let player = world.connect();
    for _ in 0..5 {
        world.publish("h", "1");
    }
    world.run(20);
    let history = |fields: Value| {
        let mut body = fields;
        body["channel"] = json!("h");
        json!({"history": body})
    };
    let reply = ask(&mut world, player, &history(json!({})));
    let epoch = reply["history"]["epoch"].clone();
    assert_eq!(
        reply["history"],
        json!({"publications": [], "epoch": epoch, "offset": 5})
    );
    let since = |offset: u64| json!({"offset": offset, "epoch": epoch});
    for (fields, expected) in [
        (json!({"limit": -1}), vec![1, 2, 3, 4, 5]),
        (json!({"limit": 2}), vec![1, 2]),
        (json!({"limit": 2, "reverse": true}), vec![5, 4]),
        (json!({"limit": -1, "since": since(3)}), vec![4, 5]),
        (
            json!({"limit": 9, "since": since(3), "reverse": true}),
            vec![2, 1],
        ),
        (json!({"limit": 9, "since": since(9)}), vec![]),
    ] {
        let reply = ask(&mut world, player, &history(fields.clone()));
        let publications = reply["history"]["publications"].as_array().unwrap();
        let offsets: Vec<u64> = publications
            .iter()
            .filter_map(|p| p["offset"].as_u64())
            .collect();
        assert_eq!(offsets, expected, "{fields}");
    }
    let wrong = json!({"limit": 1, "since": {"offset": 1, "epoch": "gone"}});
    let reply = ask(&mut world, player, &history(wrong));
    assert_eq!(reply["error"]["code"], json!(112));
    for (channel, code) in [("short:h", 108), ("none:h", 102)] {
        let reply = ask(
            &mut world,
            player,
            &json!({"history": {"channel": channel}}),
        );
        assert_eq!(reply["error"]["code"], json!(code), "{channel}");
    }
    let mut world = World::new();
    let player = world.connect();
    let reply = ask(&mut world, player, &json!({"history": {"channel": "h"}}));
    assert_eq!(reply["error"]["code"], json!(103));
}

#[test]
fn a_token_subscribes_its_bearer_and_the_reply_tells() {
    let mut setup = Setup::default();
    setup.rules.personal_channel = Some("#".to_owned());
    let mut world = World::with(setup);
    world.publish("a", "1");
    let (player, reply) = world.connect_with("user=ann;subs=a,closed:b;data=[2]");
    let connect = &parsed(&reply)["connect"];
    let subs = connect["subs"].as_object().unwrap();
    let names: Vec<&str> = subs.keys().map(String::as_str).collect();
    assert_eq!(names, ["#ann", "a", "closed:b"]);
    let a = &subs["a"];
    assert_eq!(
        (&a["offset"], &a["recoverable"], &a["data"]),
        (&json!(1), &json!(true), &json!([2]))
    );
    assert!(a["epoch"].is_string() && a["id"].is_null(), "{a}");
    for (channel, data) in [("a", "2"), ("closed:b", "3"), ("#ann", "4")] {
        world.publish(channel, data);
        world.run(5);
    }
    let pushes = inbox(&mut world, player);
    let channels: Vec<&str> = pushes
        .iter()
        .filter_map(|p| p["push"]["channel"].as_str())
        .collect();
    assert_eq!(channels, ["a", "closed:b", "#ann"]);
    let reply = ask(&mut world, player, &subscribe("a", ""));
    assert_eq!(reply["error"]["code"], json!(105));
    // Another one, with the hunts known here: the journal is not needed.
    world.journal_works = false;
    let (_, reply) = world.connect_with("user=ann;subs=a");
    assert_eq!(
        parsed(&reply)["connect"]["subs"]["a"]["offset"],
        json!(2),
        "{reply}"
    );
}

#[test]
fn the_reply_to_connect_waits_and_what_follows_it_too() {
    let mut world = World::new();
    let player = world.upgrade();
    world.journal_works = false;
    let commands = concat!(
        r#"{"id":1,"connect":{"token":"user=ann;subs=a,b"}}"#,
        "\n",
        r#"{"id":2,"subscribe":{"channel":"c"}}"#,
    );
    world.send_text(player, commands);
    world.run(50);
    world.send_text(player, r#"{"id":3,"unsubscribe":{"channel":"a"}}"#);
    world.run(50);
    assert!(world.players[player].inbox.is_empty());
    assert_eq!(world.count(Metric::SessionPlayers), 0);
    world.publish("a", "1");
    world.journal_works = true;
    world.run(100);
    let messages = inbox(&mut world, player);
    assert_eq!(messages[0]["id"], json!(1), "{messages:?}");
    let rest: Vec<&Value> = messages[1..].iter().map(|message| &message["id"]).collect();
    let replies: Vec<_> = rest.into_iter().filter(|id| id.is_u64()).collect();
    assert_eq!(replies, [&json!(2), &json!(3)]);
    // An event of a hunt is never before the reply that tells of it, and is there once.
    let in_reply = messages[0]["connect"]["subs"]["a"]["offset"]
        .as_u64()
        .unwrap_or(0);
    let pushed = messages
        .iter()
        .filter(|m| m["push"]["channel"] == json!("a"))
        .count() as u64;
    assert_eq!(in_reply + pushed, 1, "{messages:?}");
    assert_eq!(world.count(Metric::SessionPlayers), 1);
}

/// The answers for one connect may reach the core in two turns, with events between them: wherever the
/// line runs, the reply comes first and then each event once.
#[test]
fn no_event_overtakes_the_reply_to_connect() {
    for publishes in 80..=90 {
        let mut world = World::new();
        let others: Vec<usize> = (0..6).map(|_| world.connect()).collect();
        world.journal_works = false;
        for n in 0..publishes {
            let publish = r#"{"id":5,"publish":{"channel":"x","data":1}}"#;
            world.send_text(others[n / 16], publish);
        }
        world.run(20);
        let player = world.upgrade();
        let connect = r#"{"id":1,"connect":{"token":"user=ann;subs=a,b,c,d"}}"#;
        world.send_text(player, connect);
        world.run(20);
        for _ in 0..150 {
            world.publish("a", "1");
        }
        world.journal_works = true;
        world.run(100);
        let messages = inbox(&mut world, player);
        let told = messages[0]["connect"]["subs"]["a"]["offset"].as_u64();
        let offsets: Vec<u64> = messages[1..]
            .iter()
            .filter_map(|message| message["push"]["pub"]["offset"].as_u64())
            .collect();
        assert_eq!(offsets, (told.unwrap_or(0) + 1..=150).collect::<Vec<u64>>());
    }
}

#[test]
fn a_subscription_of_ours_that_expires_ends_the_connection() {
    let mut world = World::new();
    let (player, _) = world.connect_with("user=ann;subs=a");
    let refresh = json!({"sub_refresh": {"channel": "a", "token": "user=ann;channel=a;ttl=3"}});
    let reply = ask(&mut world, player, &refresh);
    assert_eq!(reply["sub_refresh"]["ttl"], json!(3), "{reply}");
    world.run(27_500);
    assert_eq!(world.players[player].closed, None);
    world.run(1_000);
    assert_eq!(world.players[player].closed, Some(3006));
}

#[test]
fn a_journal_that_does_not_answer_sends_a_connecting_player_elsewhere() {
    let mut world = World::new();
    world.journal_works = false;
    let player = world.upgrade();
    world.send_text(player, r#"{"id":1,"connect":{"token":"user=ann;subs=a"}}"#);
    world.run(5_500);
    assert_eq!(world.players[player].closed, Some(3004));
    world.hang_up(player);
    world.journal_works = true;
    world.run(12_000);
    assert_eq!(world.core.sessions_held(), (0, 0));
    assert_eq!(world.count(Metric::SessionHunts), 0);
}

#[test]
fn server_side_subscriptions_are_recovered() {
    let mut world = World::new();
    let (player, reply) = world.connect_with("user=ann;subs=a,b");
    let epoch = parsed(&reply)["connect"]["subs"]["a"]["epoch"].clone();
    world.reset(player);
    // Its log is gone when the player comes back.
    world.run(31_000);
    for _ in 0..40 {
        world.publish("a", "1");
        world.step();
    }
    let player = world.upgrade();
    let connect = json!({"connect": {"token": "user=ann;subs=a,b", "subs": {
        "a": {"recover": true, "epoch": epoch, "offset": 3},
        "b": {"recover": true, "epoch": "gone", "offset": 3},
        "closed:not": {"recover": true, "offset": 1},
    }}});
    let reply = ask(&mut world, player, &connect);
    world.publish("a", "2");
    let subs = &reply["connect"]["subs"];
    let a = &subs["a"];
    assert_eq!(
        (&a["recovered"], &a["offset"]),
        (&json!(true), &json!(3)),
        "{a}"
    );
    assert_eq!(a["publications"].as_array().unwrap().len(), 37);
    assert_eq!(
        (&subs["b"]["was_recovering"], &subs["b"]["recovered"]),
        (&json!(true), &Value::Null)
    );
    assert!(subs["closed:not"].is_null(), "nobody brings it");
    world.run(50);
    assert_eq!(world.offsets(player), [41]);
}

#[test]
fn a_name_in_subs_subscribes_to_what_is_open() {
    let mut world = World::new();
    let player = world.upgrade();
    let connect = json!({"connect": {"subs": {"a": {}, "closed:x": {}, "$p": {}}}});
    let reply = ask(&mut world, player, &connect);
    let subs = reply["connect"]["subs"].as_object().unwrap();
    assert_eq!(subs.keys().collect::<Vec<_>>(), ["a"]);
    let player = world.upgrade();
    let connect = json!({"connect": {"subs": {"none:x": {}}}});
    assert_eq!(ask(&mut world, player, &connect), json!("closed 3501"));
    let player = world.upgrade();
    let connect = json!({"connect": {"subs": {"a": {}, "b": {}, "c": {}, "d": {}, "e": {}}}});
    assert_eq!(ask(&mut world, player, &connect), json!("closed 3505"));
    let (_, reply) = world.connect_with("user=ann;subs=none:x");
    assert_eq!(parsed(&reply)["error"]["code"], json!(102));
    let (_, reply) = world.connect_with("lapsed");
    assert_eq!(parsed(&reply)["error"]["code"], json!(110));
}

#[test]
fn a_refresh_with_other_subscriptions_is_a_reconnect() {
    let mut world = World::new();
    let (player, _) = world.connect_with("user=ann;subs=a,b;ttl=3");
    let refresh = |token: &str| json!({"refresh": {"token": token}});
    let reply = ask(&mut world, player, &refresh("user=ann;subs=b,a;ttl=90"));
    assert_eq!(reply["refresh"]["ttl"], json!(90), "{reply}");
    world.run(60_000);
    assert!(world.is_open(player));
    inbox(&mut world, player);
    let reply = ask(&mut world, player, &refresh("user=ann;subs=a,c;ttl=90"));
    assert_eq!(reply, json!("closed 3010"));
    for (token, end) in [
        ("old", 3005),
        ("forged", 3500),
        ("user=bob", 3500),
        ("", 3501),
    ] {
        let (player, _) = world.connect_with("user=ann");
        let reply = ask(&mut world, player, &refresh(token));
        assert_eq!(reply, json!(format!("closed {end}")), "{token}");
    }
    let (player, _) = world.connect_with("user=ann");
    let reply = ask(&mut world, player, &refresh("lapsed"));
    assert_eq!(reply["error"]["code"], json!(110));
}

/// Native SDKs; what they send and get is written and read by another implementation.
#[test]
fn the_same_in_protocol_buffers() {
    let mut world = World::new();
    let player = world.upgrade_at(
        "/connection/websocket",
        "Sec-WebSocket-Protocol: centrifuge-protobuf\r\n",
    );
    let exchange = |world: &mut World, command: Command| -> Vec<Reply> {
        world.send_frame(player, 0x82, &command.encode_length_delimited_to_vec());
        world.run(30);
        let frames = world.frames(player);
        let reply = |(_, payload): &(u8, Vec<u8>)| Reply::decode_length_delimited(&payload[..]);
        frames.iter().map(|frame| reply(frame).unwrap()).collect()
    };
    world.publish("a", "1");
    world.run(5);
    let connect = ConnectRequest {
        token: "user=ann;subs=a,b".to_owned(),
        name: "swift".to_owned(),
        ..ConnectRequest::default()
    };
    let command = Command {
        id: 1,
        connect: Some(connect),
        ..Command::default()
    };
    let replies = exchange(&mut world, command);
    let subs = &replies[0].connect.as_ref().unwrap().subs;
    assert_eq!(subs.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((subs["a"].offset, subs["a"].recoverable), (1, true));
    let subscribe = SubscribeRequest {
        channel: "closed:x".to_owned(),
        token: "user=ann;channel=closed:x;ttl=3".to_owned(),
        flag: 1,
        ..SubscribeRequest::default()
    };
    let command = Command {
        id: 2,
        subscribe: Some(subscribe),
        ..Command::default()
    };
    let replies = exchange(&mut world, command);
    let subscribe = replies[0].subscribe.as_ref().unwrap();
    assert_eq!((subscribe.expires, subscribe.ttl), (true, 3));
    assert!(subscribe.id > 0);
    let refresh = SubRefreshRequest {
        channel: "closed:x".to_owned(),
        token: "user=ann;channel=closed:x;ttl=5".to_owned(),
    };
    let command = Command {
        id: 3,
        sub_refresh: Some(refresh),
        ..Command::default()
    };
    let replies = exchange(&mut world, command);
    assert_eq!(replies[0].sub_refresh.as_ref().unwrap().ttl, 5);
    let mut unsubscribed = None;
    for _ in 0..31_000 {
        world.step();
        for (_, payload) in world.frames(player) {
            let reply = Reply::decode_length_delimited(&payload[..]).unwrap();
            match reply.push {
                Some(push) => unsubscribed = Some(push),
                None => world.send_frame(player, 0x82, &[0]),
            }
        }
    }
    let push = unsubscribed.unwrap();
    assert_eq!((&*push.channel, push.id), ("closed:x", 0));
    assert_eq!(push.unsubscribe.unwrap().code, 2501);
}
