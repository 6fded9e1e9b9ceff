//! `/connection/uni_websocket`: a connect request, then pushes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod schema;
mod world;

use engine::metrics::catalog::Metric;
use prost::Message;
use schema::{ConnectRequest, Push, SubscribeRequest};
use serde_json::{Value, json};
use world::World;

const TARGET: &str = "/connection/uni_websocket";

/// JSON messages that have come, and the code of a close frame behind them.
fn pushes(world: &mut World, player: usize) -> (Vec<Value>, Option<u16>) {
    let (mut pushes, mut closed) = (Vec::new(), None);
    for (first, payload) in world.frames(player) {
        match first {
            0x81 => pushes.push(serde_json::from_slice(&payload).unwrap()),
            0x88 => closed = Some(u16::from_be_bytes([payload[0], payload[1]])),
            other => panic!("{other:x}"),
        }
    }
    (pushes, closed)
}

#[test]
fn a_connect_request_is_all_it_takes() {
    let mut world = World::new();
    world.publish("a", "1");
    let player = world.upgrade_at(TARGET, "");
    let request = json!({"token": "user=ann;subs=b", "subs": {"a": {}}});
    world.send_text(player, &request.to_string());
    world.run(20);
    let (messages, _) = pushes(&mut world, player);
    let connect = &messages[0]["connect"];
    assert_eq!((messages.len(), &connect["ping"]), (1, &json!(25)));
    assert!(
        connect["client"].is_string() && connect["pong"].is_null(),
        "{connect}"
    );
    let subs = connect["subs"].as_object().unwrap();
    assert_eq!(subs.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(subs["a"]["offset"], json!(1));
    world.publish("a", "{}");
    world.run(20);
    let (messages, _) = pushes(&mut world, player);
    assert_eq!(
        messages,
        [json!({"channel": "a", "pub": {"data": {}, "offset": 2}})]
    );
    // What else it says is not heard.
    world.send_text(player, r#"{"id":2,"unsubscribe":{"channel":"a"}}"#);
    world.send_text(player, "what?");
    world.run(20);
    assert_eq!(pushes(&mut world, player), (vec![], None));
    assert_eq!(world.count(Metric::SessionPlayers), 1);
}

#[test]
fn the_request_may_stand_in_the_query() {
    let mut world = World::new();
    let target = format!("{TARGET}?cf_connect=%7B%22subs%22:%7B%22a%22%3A+%7B%7D%7D%7d&x=1");
    let player = world.upgrade_at(&target, "");
    world.run(20);
    let (messages, _) = pushes(&mut world, player);
    assert!(
        messages[0]["connect"]["subs"]["a"].is_object(),
        "{messages:?}"
    );
    let player = world.upgrade_at(&format!("{TARGET}?cf_connect=%7"), "");
    world.run(20);
    let (messages, closed) = pushes(&mut world, player);
    let expected = json!({"disconnect": {"code": 3501, "reason": "bad request"}});
    assert_eq!((messages, closed), (vec![expected], Some(3501)));
}

#[test]
fn pings_need_no_answer() {
    let mut world = World::new();
    let player = world.upgrade_at(TARGET, "");
    world.send_text(player, "{}");
    world.run(20);
    pushes(&mut world, player);
    world.run(80_000);
    let (messages, closed) = pushes(&mut world, player);
    assert!(messages.len() >= 3 && messages.iter().all(|ping| *ping == json!({})));
    assert_eq!(closed, None);
}

/// An end is told by a push as well: whoever has no SDK may not see the close frame.
#[test]
fn the_end_is_pushed_before_it_comes() {
    let mut world = World::new();
    for (request, code) in [
        (r#"{"token":"forged"}"#, 3500),
        (r#"{"token":"old"}"#, 3005),
        (r#"{"subs":{"none:x":{}}}"#, 3501),
        ("[]", 3501),
    ] {
        let player = world.upgrade_at(TARGET, "");
        world.send_text(player, request);
        world.run(20);
        let (messages, closed) = pushes(&mut world, player);
        assert_eq!(closed, Some(code), "{request}");
        assert_eq!(messages[0]["disconnect"]["code"], json!(code));
    }
    let player = world.upgrade_at(TARGET, "");
    world.send_text(player, "{}");
    world.run(20);
    pushes(&mut world, player);
    world.core.drain();
    world.run(20);
    let (messages, closed) = pushes(&mut world, player);
    assert_eq!(
        messages,
        [json!({"disconnect": {"code": 3001, "reason": "shutdown"}})]
    );
    assert_eq!(closed, Some(3001));
}

#[test]
fn what_was_missed_comes_as_pushes() {
    let mut world = World::new();
    for _ in 0..250 {
        world.publish("a", "1");
    }
    world.run(20);
    let player = world.upgrade_at(TARGET, "");
    world.send_text(player, r#"{"subs":{"a":{"recover":true,"offset":50}}}"#);
    world.run(100);
    let (messages, _) = pushes(&mut world, player);
    let a = &messages[0]["connect"]["subs"]["a"];
    assert_eq!(a["recovered"], json!(true), "{a}");
    assert_eq!(a["publications"].as_array().unwrap().len(), 100);
    let offsets: Vec<u64> = messages
        .iter()
        .filter_map(|m| m["pub"]["offset"].as_u64())
        .collect();
    assert_eq!(offsets, (151..=250).collect::<Vec<u64>>());
}

#[test]
fn in_protocol_buffers_a_push_is_a_whole_frame() {
    let mut world = World::new();
    let player = world.upgrade_at(&format!("{TARGET}?cf_protocol=protobuf"), "");
    let request = ConnectRequest {
        subs: [("a".to_owned(), SubscribeRequest::default())].into(),
        ..ConnectRequest::default()
    };
    world.send_frame(player, 0x82, &request.encode_to_vec());
    world.run(20);
    let (first, payload) = world.frames(player).remove(0);
    let push = Push::decode(&payload[..]).unwrap();
    assert_eq!(first, 0x82);
    assert!(push.connect.unwrap().subs.contains_key("a"));
    world.publish("a", "1");
    world.run(20);
    let (_, payload) = world.frames(player).remove(0);
    let push = Push::decode(&payload[..]).unwrap();
    assert_eq!((&*push.channel, push.publication.unwrap().offset), ("a", 1));
    world.run(26_000);
    assert_eq!(world.frames(player), [(0x82, Vec::new())]);
    world.core.drain();
    world.run(20);
    let frames = world.frames(player);
    let push = Push::decode(&frames[0].1[..]).unwrap();
    assert_eq!(push.disconnect.unwrap().code, 3001);
    assert_eq!(frames[1].0, 0x88);
}
