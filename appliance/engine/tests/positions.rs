//! Players send where they are: what is answered, counted, and what ends a connection.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use engine::metrics::catalog::Metric;
use world::World;

const HERE: &str = r#"{"position":{"lat":52.5,"lon":13.4}}"#;

fn rpc(id: u32, data: &str) -> String {
    format!(r#"{{"id":{id},"rpc":{{"method":"position","data":{data}}}}}"#)
}

fn send(data: &str) -> String {
    format!(r#"{{"send":{{"data":{data}}}}}"#)
}

fn batch(count: usize) -> String {
    let points = vec![r#"{"lat":1,"lon":2}"#; count].join(",");
    format!(r#"{{"positions":[{points}]}}"#)
}

fn code(reply: &str) -> u64 {
    let value: serde_json::Value = serde_json::from_str(reply).unwrap();
    value["error"]["code"].as_u64().unwrap_or(0)
}

#[test]
fn a_player_is_told_what_became_of_its_positions() {
    let mut world = World::new();
    let (ann, _) = world.connect_with("good");
    assert_eq!(
        world.ask(ann, &rpc(2, HERE)),
        r#"{"id":2,"rpc":{"data":{}}}"#
    );
    world.send_text(ann, &send(HERE));
    world.run(20);
    for (command, wanted) in [
        (rpc(3, "{}"), 107),
        (rpc(4, r#"{"position":{"lat":91,"lon":0}}"#), 107),
        (
            rpc(5, r#"{"position":{"lat":9,"lon":0,"t":9000000000000000}}"#),
            107,
        ),
        (rpc(6, &batch(101)), 106),
        (r#"{"id":7,"rpc":{"method":"else"}}"#.to_owned(), 104),
        // Two of the burst's hundred are used, and one that the journal refused.
        (rpc(8, &batch(100)), 111),
        (rpc(9, &batch(90)), 0),
    ] {
        assert_eq!(code(&world.ask(ann, &command)), wanted, "{command}");
    }
    // Too fast, or bad: counted, and the player stays.
    world.send_text(ann, &send(&batch(60)));
    world.send_text(ann, &send(r#"{"position":{"lat":"x"}}"#));
    world.run(20);
    assert_eq!(world.players[ann].closed, None);
    assert_eq!(world.count(Metric::PathPointsTooFast), 160);
    assert_eq!(world.count(Metric::PathMessagesInvalid), 4);
    // Anything else is not for us.
    world.send_text(ann, &send(r#"{"chat":1}"#));
    world.run(20);
    assert_eq!(world.players[ann].closed, Some(3508));
}

#[test]
fn the_anonymous_have_no_path() {
    let mut world = World::new();
    let stranger = world.connect();
    assert_eq!(code(&world.ask(stranger, &rpc(2, HERE))), 103);
    world.send_text(stranger, &send(HERE));
    world.run(20);
    assert_eq!(world.players[stranger].closed, None);
    assert_eq!(world.count(Metric::PathMessagesAnonymous), 2);
}
