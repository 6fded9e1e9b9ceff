//! What a backend does to players: subscribe, unsubscribe, disconnect, refresh, and who it reaches.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use engine::metrics::catalog::Metric;
use engine::ring::submit::{ByServer, Overrides, Told};
use world::{Setup, World};

/// A connection of ann's; its client id.
fn ann(world: &mut World) -> (usize, String) {
    let player = world.upgrade();
    let reply = world.ask(player, r#"{"id":1,"connect":{"token":"good"}}"#);
    let value: serde_json::Value = serde_json::from_str(&reply).unwrap();
    let client = value["connect"]["client"].as_str().unwrap().to_owned();
    (player, client)
}

fn leave(hunt: &str) -> Told<'_> {
    Told::Unsubscribe { hunt }
}

const CLOSE: Told<'static> = Told::Disconnect {
    code: 3503,
    reason: "force disconnect",
    spared: b"",
};

#[test]
fn those_that_are_meant_are_closed() {
    let mut world = World::new();
    let stranger = world.connect();
    let anns: Vec<(usize, String)> = (0..5).map(|_| ann(&mut world)).collect();
    let closed = |world: &World| {
        let is_closed = |(player, _): &(usize, String)| world.players[*player].closed;
        anns.iter().map(is_closed).collect::<Vec<_>>()
    };
    assert_eq!(world.count(Metric::SessionUsers), 1);
    // Nobody of that name, not with that id.
    world.tell("bob", CLOSE);
    world.tell("", CLOSE);
    world.tell_one("ann", "other", "", CLOSE);
    world.tell_one("ann", "", "other", CLOSE);
    world.run(20);
    assert_eq!(closed(&world), [None; 5]);
    assert_eq!(world.count(Metric::SessionTold), 0);
    world.tell_one("ann", &anns[1].1, "", CLOSE);
    world.run(20);
    assert_eq!(closed(&world), [None, Some(3503), None, None, None]);
    let mut spared = Vec::new();
    engine::protobuf::append_delimited(&mut spared, anns[3].1.as_bytes());
    let close = Told::Disconnect {
        code: 4007,
        reason: "out",
        spared: &spared,
    };
    world.tell("ann", close);
    world.run(20);
    let (out, off) = (Some(4007), Some(3503));
    assert_eq!(closed(&world), [out, off, out, None, out]);
    // The first one of the list goes, one that came later stays to be found.
    let (late, _) = ann(&mut world);
    world.tell_one("ann", &anns[3].1, "", CLOSE);
    world.run(20);
    assert_eq!(closed(&world)[3], off);
    world.tell("ann", CLOSE);
    world.run(20);
    assert_eq!(world.players[late].closed, off);
    assert_eq!(world.players[stranger].closed, None);
    assert_eq!(world.count(Metric::SessionTold), 6);
    assert_eq!(world.count(Metric::SessionUsers), 0);
    world.run(8_000);
    assert_eq!(world.core.connections(), 1);
}

#[test]
fn a_player_is_subscribed_and_told() {
    let mut world = World::new();
    world.publish("hunt", "1");
    world.publish("hunt", "2");
    let (player, _) = ann(&mut world);
    let by = ByServer {
        hunt: "hunt",
        data: b"{\"a\":1}",
        ..ByServer::default()
    };
    world.tell("ann", Told::Subscribe(by));
    world.tell("ann", Told::Subscribe(by));
    world.publish("hunt", "3");
    world.run(20);
    let inbox: Vec<String> = world.players[player].inbox.drain(..).collect();
    assert_eq!(inbox.len(), 2, "{inbox:?}");
    let push: serde_json::Value = serde_json::from_str(&inbox[0]).unwrap();
    assert_eq!(push["push"]["channel"], "hunt");
    let said = &push["push"]["subscribe"];
    assert_eq!(
        (&said["offset"], &said["data"]["a"]),
        (&2.into(), &1.into())
    );
    assert_eq!(
        (&said["recoverable"], &said["positioned"]),
        (&true.into(), &true.into())
    );
    assert_eq!(world::offsets_in(&inbox[1]), [3]);
    assert_eq!(world.channels(), [("hunt".to_owned(), 1)]);

    world.tell("ann", leave("hunt"));
    world.tell("ann", leave("nothing"));
    world.publish("hunt", "4");
    world.run(20);
    let inbox: Vec<String> = world.players[player].inbox.drain(..).collect();
    let wanted =
        r#"{"push":{"channel":"hunt","unsubscribe":{"code":2000,"reason":"server unsubscribe"}}}"#;
    assert_eq!(inbox, [wanted]);
    assert_eq!(world.channels(), []);
    // A hunt that is known here is not asked for; without a position there is none to tell.
    let (other, _) = ann(&mut world);
    world.subscribe(other, "hunt");
    let overrides = Overrides {
        force_recovery: Some(false),
        ..Overrides::default()
    };
    world.tell("ann", Told::Subscribe(ByServer { overrides, ..by }));
    world.run(20);
    let push = world.players[player].inbox.pop_front().unwrap();
    assert_eq!(
        push,
        r#"{"push":{"channel":"hunt","subscribe":{"data":{"a":1}}}}"#
    );
    assert!(world.players[other].inbox.is_empty(), "it is there already");
    assert_eq!(world.channels(), [("hunt".to_owned(), 2)]);
}

#[test]
fn what_was_missed_follows() {
    let mut world = World::new();
    let (player, _) = ann(&mut world);
    for _ in 0..40 {
        world.publish("hunt", "1");
        world.step();
    }
    let since = |offset| ByServer {
        hunt: "hunt",
        since: Some(("", offset)),
        ..ByServer::default()
    };
    world.tell("ann", Told::Subscribe(since(3)));
    world.publish("hunt", "2");
    world.run(40);
    let push = world.players[player].inbox.pop_front().unwrap();
    assert!(push.contains(r#""offset":3"#), "{push}");
    assert_eq!(world.offsets(player), (4..=41).collect::<Vec<u64>>());
    world.tell("ann", leave("hunt"));
    world.run(20);
    world.players[player].inbox.clear();
    // More than there is: from now on.
    world.tell("ann", Told::Subscribe(since(90)));
    world.run(20);
    let push = world.players[player].inbox.pop_front().unwrap();
    assert!(push.contains(r#""offset":41"#), "{push}");
    assert!(world.offsets(player).is_empty());
}

#[test]
fn expiry_is_set_from_outside() {
    let mut world = World::new();
    let (player, _) = ann(&mut world);
    let refresh = |ttl_s| Told::Refresh {
        ttl_s,
        info: b"{\"n\":2}",
    };
    world.tell("ann", refresh(Some(2)));
    world.run(20);
    let push = world.players[player].inbox.pop_front().unwrap();
    assert_eq!(push, r#"{"push":{"refresh":{"expires":true,"ttl":2}}}"#);
    world.run(26_000);
    assert!(world.is_open(player));
    world.tell("ann", refresh(None));
    world.run(20);
    let push = world.players[player].inbox.pop_front().unwrap();
    assert_eq!(push, r#"{"push":{"refresh":{}}}"#);
    world.run(2_000);
    assert_eq!(world.players[player].closed, None);
    world.tell("ann", refresh(Some(1)));
    world.run(27_000);
    assert_eq!(world.players[player].closed, Some(3005));
    let (player, _) = ann(&mut world);
    world.tell("ann", refresh(Some(0)));
    world.run(20);
    assert_eq!(world.players[player].closed, Some(3005));
}

#[test]
fn what_cannot_be_done_is_counted_and_harms_nobody() {
    let mut setup = Setup::default();
    setup.rules.channels_max = 1;
    let mut world = World::with(setup);
    let (player, _) = ann(&mut world);
    world.subscribe(player, "hunt");
    let by = |hunt| ByServer {
        hunt,
        ..ByServer::default()
    };
    world.tell("ann", Told::Subscribe(by("other")));
    world.tell("ann", Told::Subscribe(by("unknown:x")));
    world.run(20);
    assert_eq!(world.count(Metric::SessionToldInVain), 1);
    assert_eq!(world.channels(), [("hunt".to_owned(), 1)]);
    assert!(world.players[player].inbox.is_empty());
    // Without room in the ring too; and the answer may come when the player is gone.
    world.tell("ann", leave("hunt"));
    world.run(20);
    world.tell("ann", Told::Subscribe(by("late")));
    world.step();
    world.reset(player);
    world.run(8_000);
    assert_eq!(world.channels(), []);
    assert_eq!(world.core.connections(), 0);
}
