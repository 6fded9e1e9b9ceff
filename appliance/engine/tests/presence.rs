//! Who is present, from SYN to the journal's table and back: told in order, exact whatever happens to
//! the players' connections.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::collections::BTreeMap;

use engine::hunt::publication::ClientInfo;
use engine::metrics::catalog::Metric;
use engine::ring::broadcast::Movement;
use engine::ring::submit::{Enter, Part, Submission};
use engine::session::rules::ChannelRules;
use engine::units::Micros;
use proptest::prelude::*;
use serde_json::Value;
use world::{Setup, World};

fn setup() -> Setup {
    let mut setup = Setup::default();
    let shown = ChannelRules {
        presence: true,
        join_leave: true,
        force_push_join_leave: true,
        allow_presence_for_subscriber: true,
        allow_presence_for_anonymous: true,
        ..setup.rules.default.clone()
    };
    let listed = ChannelRules {
        join_leave: false,
        force_push_join_leave: false,
        ..shown.clone()
    };
    setup.rules.namespaces = vec![
        ("plain".to_owned(), setup.rules.default.clone()),
        ("listed".to_owned(), listed),
    ];
    setup.rules.default = shown;
    setup
}

/// Connects; the client id.
fn connect(world: &mut World, token: &str) -> (usize, String) {
    let player = world.upgrade();
    let command = format!(r#"{{"id":1,"connect":{{"token":"{token}"}}}}"#);
    let reply: Value = serde_json::from_str(&world.ask(player, &command)).unwrap();
    let client = reply["connect"]["client"].as_str().unwrap().to_owned();
    (player, client)
}

/// What of `field` a player was told since the last call.
fn told(world: &mut World, player: usize) -> Vec<String> {
    world.players[player].inbox.drain(..).collect()
}

fn push(kind: &str, client: &str) -> String {
    format!(r#"{{"push":{{"channel":"h","{kind}":{{"info":{{"user":"","client":"{client}"}}}}}}}}"#)
}

#[test]
fn everybody_is_told_who_comes_and_goes_after_their_own_reply() {
    let mut world = World::with(setup());
    let (a, ann) = connect(&mut world, "");
    let reply = world.subscribe(a, "h");
    assert!(reply.contains(r#""subscribe":"#), "{reply}");
    world.run(5);
    assert_eq!(told(&mut world, a), [push("join", &ann)], "also of itself");
    let (b, bob) = connect(&mut world, "");
    let reply = world.subscribe(b, "h");
    assert!(reply.contains(r#""subscribe":"#), "{reply}");
    world.run(5);
    assert_eq!(told(&mut world, b), [push("join", &bob)]);
    assert_eq!(told(&mut world, a), [push("join", &bob)]);

    world.publish("h", "1");
    let reply = world.ask(b, r#"{"id":4,"unsubscribe":{"channel":"h"}}"#);
    assert_eq!(reply, r#"{"id":4,"unsubscribe":{}}"#);
    world.run(5);
    assert_eq!(told(&mut world, b), [""; 0], "not of its own leave");
    assert_eq!(told(&mut world, a).last(), Some(&push("leave", &bob)));

    world.subscribe(b, "h");
    world.run(5);
    told(&mut world, a);
    world.reset(b);
    world.run(5);
    assert_eq!(told(&mut world, a), [push("leave", &bob)]);
    let heard: Vec<Movement> = world.other_heard.iter().map(|heard| heard.0).collect();
    use Movement::{Join, Leave};
    assert_eq!(heard, [Join, Join, Leave, Join, Leave]);
}

#[test]
fn a_player_asks_who_is_there_on_all_cores() {
    let mut world = World::with(setup());
    let (a, ann) = connect(&mut world, "good");
    world.subscribe(a, "h");
    world.run(5);
    // On another core.
    let mut info = Vec::new();
    ClientInfo {
        user: "far",
        client: "away",
        chan_info: b"[1]",
        ..ClientInfo::default()
    }
    .append(&mut info);
    let part = Part {
        listed: true,
        announced: true,
        told: false,
    };
    let enter = Submission::Enter(Enter {
        hunt: 0,
        conn: 1,
        part,
        info: &info,
    });
    let mut scratch = [0; 256];
    let enter = postcard::to_slice(&enter, &mut scratch).unwrap();
    world.other_submit.push(enter).unwrap();
    world.run(5);
    let heard = told(&mut world, a);
    assert!(heard[1].contains(r#""join":{"info":{"user":"far","client":"away","chan_info":[1]}}"#));

    let reply = world.ask(a, r#"{"id":5,"presence":{"channel":"h"}}"#);
    let reply: Value = serde_json::from_str(&reply).unwrap();
    let expected = serde_json::json!({
        &ann: {"user": "ann", "client": &ann, "conn_info": {"n": 1}},
        "away": {"user": "far", "client": "away", "chan_info": [1]},
    });
    assert_eq!(reply["presence"]["presence"], expected);
    assert_eq!(
        world.ask(a, r#"{"id":6,"presence_stats":{"channel":"h"}}"#),
        r#"{"id":6,"presence_stats":{"num_clients":2,"num_users":2}}"#
    );
}

#[test]
fn who_may_not_ask_is_told_why() {
    let mut world = World::with(setup());
    let (a, _) = connect(&mut world, "");
    world.subscribe(a, "plain:h");
    for (hunt, code) in [("plain:h", 108), ("h", 103), ("none:h", 102)] {
        for command in ["presence", "presence_stats"] {
            let ask = format!(r#"{{"id":5,"{command}":{{"channel":"{hunt}"}}}}"#);
            let reply = world.ask(a, &ask);
            assert!(reply.contains(&format!(r#""code":{code},"#)), "{reply}");
        }
    }
    assert_eq!(world.present("plain:h").0, [""; 0], "nobody asked for it");
    let reply = world.ask(a, r#"{"id":5,"presence":{}}"#);
    assert_eq!(reply, "closed 3501");
}

#[test]
fn nobody_enters_while_departures_wait_and_none_is_lost() {
    let mut setup = setup();
    setup.submit_ring_bytes = 100_000;
    let mut world = World::with(setup);
    let players: Vec<_> = (0..20).map(|_| connect(&mut world, "")).collect();
    for (player, _) in &players {
        world.subscribe(*player, "listed:h");
    }
    world.run(5);
    assert_eq!(world.present("listed:h").0.len(), 20);
    // The journal stops; publishes fill the ring.
    world.journal_works = false;
    let writers: Vec<_> = (0..5).map(|_| connect(&mut world, "").0).collect();
    let publish = |world: &mut World, writer: usize, bytes: usize| {
        let data = "x".repeat(bytes);
        let publish = format!(r#"{{"id":9,"publish":{{"channel":"plain:p","data":"{data}"}}}}"#);
        world.send_text(writer, &publish);
        world.run(5);
    };
    for _ in 0..12 {
        publish(&mut world, writers[0], 8000);
    }
    for writer in &writers[1..] {
        for _ in 0..16 {
            publish(&mut world, *writer, 60);
        }
    }
    for (player, _) in &players[..players.len() - 1] {
        world.reset(*player);
    }
    world.run(5);
    let last = players.last().unwrap();
    assert!(world.count(Metric::SessionLeavesWaited) > 0);
    let reply = world.ask(last.0, r#"{"id":4,"unsubscribe":{"channel":"listed:h"}}"#);
    assert_eq!(reply, r#"{"id":4,"unsubscribe":{}}"#);
    world.journal_works = true;
    world.run(50);
    assert_eq!(world.present("listed:h").0, [""; 0]);
    let reply = world.subscribe(last.0, "listed:h");
    assert!(reply.contains(r#""subscribe":"#), "{reply}");
    world.run(5);
    assert_eq!(world.present("listed:h").0, std::slice::from_ref(&last.1));
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Connect,
    Subscribe(usize, usize),
    Unsubscribe(usize, usize),
    HangUp(usize),
    Reset(usize),
    /// It neither reads nor answers any more, and its acknowledgements are lost.
    Fade(usize),
    Journal(bool),
    Loss(u64),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (player, hunt) = (0usize..12, 0usize..3);
    prop_oneof![
        3 => Just(Step::Connect),
        6 => (player.clone(), hunt.clone()).prop_map(|(player, hunt)| Step::Subscribe(player, hunt)),
        3 => (player.clone(), hunt).prop_map(|(player, hunt)| Step::Unsubscribe(player, hunt)),
        1 => player.clone().prop_map(Step::HangUp),
        1 => player.clone().prop_map(Step::Reset),
        1 => player.prop_map(Step::Fade),
        1 => any::<bool>().prop_map(Step::Journal),
        1 => prop_oneof![Just(0), Just(20)].prop_map(Step::Loss),
        3 => (1u64..40).prop_map(Step::Wait),
    ]
}

const HUNTS: [&str; 3] = ["h", "listed:h", "listed:i"];

/// A player, and the hunts it is in as it was told itself.
struct Known {
    player: usize,
    client: Option<String>,
    gone: bool,
    asked: BTreeMap<u32, (bool, usize)>,
    inside: [bool; 3],
    next: u32,
}

impl Known {
    fn ask(&mut self, world: &mut World, enters: bool, hunt: usize) {
        if self.gone {
            return;
        }
        self.next += 1;
        self.asked.insert(self.next, (enters, hunt));
        let (id, hunt) = (self.next, HUNTS[hunt]);
        let command = if enters { "subscribe" } else { "unsubscribe" };
        world.send_text(
            self.player,
            &format!(r#"{{"id":{id},"{command}":{{"channel":"{hunt}"}}}}"#),
        );
    }

    fn hear(&mut self, world: &mut World) {
        for message in told(world, self.player) {
            let message: Value = serde_json::from_str(&message).unwrap();
            if let Some(client) = message["connect"]["client"].as_str() {
                self.client = Some(client.to_owned());
            }
            let number = u32::try_from(message["id"].as_u64().unwrap_or(0)).unwrap();
            if let Some((enters, hunt)) = self.asked.remove(&number)
                && message.get("error").is_none()
            {
                self.inside[hunt] = enters;
            }
        }
        self.gone |= world.players[self.player].closed.is_some() || !world.is_open(self.player);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn whatever_happens_the_table_is_who_is_there(steps in prop::collection::vec(step(), 1..80)) {
        let mut setup = setup();
        setup.submit_ring_bytes = 98_500;
        setup.rules.ping_interval = Micros::from_secs(1);
        setup.rules.pong_timeout = Micros::from_millis(500);
        let mut world = World::with(setup);
        let mut known: Vec<Known> = Vec::new();
        for step in steps {
            let count = known.len().max(1);
            match step {
                Step::Connect if known.len() < 12 => {
                    let player = world.dial();
                    world.send_bytes(player, world::UPGRADE);
                    world.run(5);
                    world.send_text(player, r#"{"id":1,"connect":{}}"#);
                    let inside = [false; 3];
                    known.push(Known {
                        player, client: None, gone: false, asked: BTreeMap::new(), inside, next: 1,
                    });
                }
                Step::Subscribe(at, hunt) => {
                    if let Some(known) = known.get_mut(at % count) { known.ask(&mut world, true, hunt); }
                }
                Step::Unsubscribe(at, hunt) => {
                    if let Some(known) = known.get_mut(at % count) { known.ask(&mut world, false, hunt); }
                }
                Step::HangUp(at) => {
                    if let Some(known) = known.get(at % count) { world.hang_up(known.player); }
                }
                Step::Reset(at) => {
                    if let Some(known) = known.get(at % count) { world.reset(known.player); }
                }
                Step::Fade(at) => if let Some(known) = known.get(at % count) {
                    world.players[known.player].answers_pings = false;
                },
                Step::Journal(works) => world.journal_works = works,
                Step::Loss(percent) => world.loss_percent = percent,
                Step::Wait(ms) => world.run(ms),
                Step::Connect => {}
            }
            world.step();
        }
        world.journal_works = true;
        world.loss_percent = 0;
        world.run(15_000);
        for known in &mut known {
            known.hear(&mut world);
        }
        for (index, hunt) in HUNTS.iter().enumerate() {
            let inside = known.iter().filter(|known| !known.gone && known.inside[index]);
            let mut clients: Vec<String> = inside.filter_map(|known| known.client.clone()).collect();
            clients.sort();
            prop_assert_eq!(world.present(hunt).0, clients, "{}", hunt);
        }
        for known in &known {
            world.reset(known.player);
        }
        world.run(50);
        for hunt in HUNTS {
            prop_assert_eq!(world.present(hunt).0.len(), 0, "ghosts in {}", hunt);
        }
        prop_assert_eq!(world.core.attendance(), 0);
    }
}
