//! permessage-deflate between a player and the appliance (RFC 7692): what is agreed, what compressed
//! messages may be, what the echo endpoint compresses. Both ways through another library than ours.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use engine::metrics::catalog::Metric;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
use world::{Setup, World, deflated};

const PLAYERS: &str = "/connection/websocket";
const ECHO: &str = "/debug/echo";

fn world() -> World {
    let mut setup = Setup::default();
    setup.rules.compression = true;
    setup.rules.echo = true;
    World::with(setup)
}

/// Inflates into a circle of `window` bytes: with distances beyond it something else comes out.
fn inflated(payload: &[u8], window: usize) -> Vec<u8> {
    let input = [payload, &[0, 0, 0xff, 0xff]].concat();
    let (mut state, mut circle) = (DecompressorOxide::new(), vec![0; window]);
    let (mut taken, mut at, mut message) = (0, 0, Vec::new());
    loop {
        let flags = inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
        let (status, used, len) = decompress(&mut state, &input[taken..], &mut circle, at, flags);
        message.extend_from_slice(&circle[at..at + len]);
        (taken, at) = (taken + used, (at + len) % window);
        if status == TINFLStatus::NeedsMoreInput {
            return message;
        }
        assert_eq!(status, TINFLStatus::HasMoreOutput);
    }
}

fn closed_with(world: &mut World, player: usize) -> u16 {
    world.run(20);
    let frames = world.frames(player);
    let (first, payload) = frames.last().unwrap();
    assert_eq!(*first, 0x88, "{frames:?}");
    u16::from_be_bytes([payload[0], payload[1]])
}

/// A compressed command is a command; the reply is plain, as RFC 7692 6 allows.
#[test]
fn a_compressed_command_is_answered() {
    let mut world = world();
    let (player, response) =
        world.offer_extension(PLAYERS, "permessage-deflate; client_max_window_bits");
    assert!(response.contains("permessage-deflate"), "{response}");
    let command = br#"{"id":1,"connect":{"name":"js","version":"5.5.2"}}"#;
    world.send_frame(player, 0xc1, &deflated(command));
    world.run(20);
    let frames = world.frames(player);
    let [(0x81, reply)] = &frames[..] else {
        panic!("{frames:?}")
    };
    assert!(reply.starts_with(br#"{"id":1,"connect":{"#));
    // One in fragments, and one that is not compressed.
    let payload = deflated(br#"{"id":2,"unsubscribe":{"channel":"hunt"}}"#);
    world.send_frame(player, 0x41, &payload[..10]);
    world.send_frame(player, 0x80, &payload[10..]);
    world.send_frame(
        player,
        0x81,
        br#"{"id":3,"unsubscribe":{"channel":"hunt"}}"#,
    );
    world.run(20);
    let frames = world.frames(player);
    assert_eq!(frames.len(), 2);
    assert!(frames[0].1.starts_with(br#"{"id":2,"unsubscribe""#));
    assert!(frames[1].1.starts_with(br#"{"id":3,"unsubscribe""#));
    assert_eq!(world.count(Metric::WsDeflateAgreed), 1);
    assert_eq!(world.count(Metric::WsInflated), 2);
    assert_eq!(
        world.count(Metric::WsInflatedBytesIn),
        (deflated(command).len() + payload.len()) as u64
    );
    assert_eq!(
        world.count(Metric::WsInflatedBytesOut),
        (command.len() + 41) as u64
    );
}

/// RFC 7692 6, 7: without an offer, or without the switch, RSV1 is a protocol error.
#[test]
fn what_was_not_agreed_to_is_refused() {
    let mut world = world();
    let (player, response) = world.offer_extension(PLAYERS, "permessage-deflate; unknown");
    assert!(!response.contains("Extensions"), "{response}");
    world.send_frame(player, 0xc1, &deflated(b"{}"));
    assert_eq!(closed_with(&mut world, player), 1002);
    let mut off = World::new();
    let (player, response) = off.offer_extension(PLAYERS, "permessage-deflate");
    assert!(!response.contains("Extensions"), "{response}");
    off.send_frame(player, 0xc1, &deflated(b"{}"));
    assert_eq!(closed_with(&mut off, player), 1002);
}

/// Each ends its own connection and moves its counter; the next player's messages are read.
#[test]
fn bombs_and_damage_cost_a_counter() {
    let mut world = world();
    let bomb = deflated(&vec![b' '; 65_537]);
    let cut = deflated(br#"{"id":1,"connect":{}}"#);
    for (payload, code, metric) in [
        (&bomb[..], 1009, Metric::WsInflateBombs),
        (&cut[..cut.len() - 3], 1007, Metric::WsInflateCorrupt),
        (b"\x07", 1007, Metric::WsInflateCorrupt),
        (&deflated(b"\xff\xff"), 1007, Metric::WsBadUtf8),
    ] {
        let before = world.count(metric);
        let (player, _) = world.offer_extension(PLAYERS, "permessage-deflate");
        world.send_frame(player, 0xc1, payload);
        assert_eq!(closed_with(&mut world, player), code);
        assert_eq!(world.count(metric), before + 1);
        let (player, _) = world.offer_extension(PLAYERS, "permessage-deflate");
        world.send_frame(player, 0xc1, &deflated(br#"{"id":1,"connect":{}}"#));
        world.run(20);
        assert_eq!(world.frames(player)[0].0, 0x81);
    }
}

#[test]
fn the_echo_is_compressed_with_the_window_that_was_agreed_on() {
    let mut world = world();
    // Repeats itself 1,000 bytes later.
    let digits: String = (0..250).map(|n: u32| format!("{:04}", n * 37)).collect();
    let message = digits.repeat(6).into_bytes();
    let mut lengths = Vec::new();
    for (offer, window) in [
        ("permessage-deflate", 1 << 12),
        ("permessage-deflate; server_max_window_bits=12", 1 << 12),
        ("permessage-deflate; server_max_window_bits=9", 1 << 9),
    ] {
        let (player, _) = world.offer_extension(ECHO, offer);
        world.send_frame(player, 0xc2, &deflated(&message));
        // Shorter than what is compressed.
        world.send_frame(player, 0x81, &[b'x'; 99]);
        world.run(20);
        let frames = world.frames(player);
        assert_eq!((frames[0].0, frames.len()), (0xc2, 2), "{offer}");
        assert!(inflated(&frames[0].1, window) == message, "{offer}");
        assert_eq!(frames[1], (0x81, vec![b'x'; 99]));
        lengths.push(frames[0].1.len());
    }
    assert!(
        lengths[0] == lengths[1] && lengths[0] * 2 < lengths[2],
        "{lengths:?}"
    );
    assert_eq!(world.count(Metric::WsDeflated), 3);
    assert_eq!(world.count(Metric::WsDeflatedBytesIn), 3 * 6_000);
    let out: usize = lengths.iter().sum();
    assert_eq!(world.count(Metric::WsDeflatedBytesOut), out as u64);
    // Without an offer nothing is compressed.
    let player = world.echo();
    world.send_frame(player, 0x82, &message);
    world.run(20);
    assert_eq!(world.frames(player), [(0x82, message)]);
}

/// What the journal compresses once goes to everyone who agreed to the window it was compressed with.
#[test]
fn events_are_compressed_for_who_agreed_to_it() {
    let mut setup = Setup::default();
    setup.rules.compression = true;
    setup.compress_from = Some(100);
    let mut world = World::with(setup);
    let offers = [
        "permessage-deflate",
        "permessage-deflate; server_max_window_bits=9",
        "x",
    ];
    let players = offers.map(|offer| world.offer_extension(PLAYERS, offer).0);
    for player in players {
        world.send_text(player, r#"{"id":1,"connect":{"subs":{"h":{}}}}"#);
        world.run(20);
        world.frames(player);
    }
    let data = format!("\"{}\"", "clue ".repeat(100));
    world.publish("h", &data);
    world.publish("h", "1");
    world.run(20);
    let text = |data: &str, offset: u32| {
        let push =
            format!(r#"{{"push":{{"channel":"h","pub":{{"data":{data},"offset":{offset}}}}}}}"#);
        push.into_bytes()
    };
    let [shared, narrow, none] = players.map(|player| world.frames(player));
    assert_eq!(
        (shared[0].0, shared[1].0),
        (0xc1, 0x81),
        "the short one is not"
    );
    assert!(shared[0].1.len() < 200);
    assert_eq!(inflated(&shared[0].1, 4096), text(&data, 1));
    let plain = vec![(0x81, text(&data, 1)), (0x81, text("1", 2))];
    assert_eq!(narrow, plain);
    assert_eq!(none, plain);
}
