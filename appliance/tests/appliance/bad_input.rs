//! Whatever is sent to the appliance: it is refused, dropped or cut off, and counted; no record or
//! memory stays behind, and a player beside it gets every event.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::player::{Player, dial, token};
use crate::running::{
    Appliance, PATIENCE, SETTINGS, Settings, api, directory, eventually, history, metric, publish,
};
use crate::world::{LISTEN, World, seal, seal_header};

/// Lets `misbehave` loose beside a well-behaved player; each of `counters` has to move.
fn disturbs_nobody(settings: Settings, counters: &[&str], misbehave: impl FnOnce(&World)) {
    let (world, directory) = (World::new(), directory());
    let _appliance = Appliance::start(&directory, settings);
    let mut witness = Player::upgrade(dial(&world, LISTEN));
    witness.command("connect", json!({"token": token("witness")}));
    witness.subscribe(json!({"channel": "hunt"}));
    publish("hunt", &json!("before"));
    assert_eq!(witness.event().data, "before");
    // Gauges follow at the next turn's end.
    eventually("the witness is counted", || metric("tcp_connections") == 1);
    let before: Vec<u64> = counters.iter().map(|name| metric(name)).collect();
    let held = || ["tcp_connections", "session_players", "memory_chunks"].map(metric);
    let held_before = held();

    misbehave(&world);

    for (name, before) in counters.iter().zip(before) {
        eventually(&format!("{name} moves"), || metric(name) > before);
    }
    let start = Instant::now();
    while held() != held_before && start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(
        held(),
        held_before,
        "connections, players and chunks are given back"
    );
    publish("hunt", &json!("after"));
    assert_eq!(witness.event().data, "after");
    witness.hears_nothing(Duration::from_millis(20));
}

/// `bytes` to the appliance on a new connection, and what it answers until it hangs up.
fn converse(world: &World, bytes: &[u8]) -> String {
    let mut stream = dial(world, LISTEN);
    // It may hang up before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Frames from nowhere, each with another source port; `spoil` gets them without checksums.
fn send_frames(world: &World, count: u16, mut spoil: impl FnMut(u16, &mut Vec<u8>)) {
    let wire = world.wire();
    let segment = world.segment(1);
    for index in 0..count {
        let mut frame = segment.clone();
        // A host that is not there: nobody answers our SYN-ACK.
        frame[29] = 77;
        frame[34..36].copy_from_slice(&(10_000 + index).to_be_bytes());
        spoil(index, &mut frame);
        wire.send(&frame);
    }
}

#[test]
fn frames_that_end_early() {
    let counters = ["xdp_frames{verdict=\"pass_short\"}", "wire_drop_short"];
    disturbs_nobody(SETTINGS, &counters, |world| {
        send_frames(world, 100, |index, frame| {
            seal(frame);
            match index % 2 {
                // Inside the headers: the program cannot know whose it is.
                0 => frame.truncate(14 + usize::from(index) % 38),
                // The IP header promises more than there is.
                _ => {
                    frame[16..18].copy_from_slice(&400_u16.to_be_bytes());
                    seal_header(frame);
                }
            }
        });
    });
}

#[test]
fn wrong_checksums() {
    let counters = ["wire_drop_tcp_checksum", "wire_drop_ip_checksum"];
    disturbs_nobody(SETTINGS, &counters, |world| {
        send_frames(world, 100, |index, frame| {
            seal(frame);
            frame[if index % 2 == 0 { 25 } else { 51 }] ^= 1;
        });
    });
}

#[test]
fn random_frames() {
    let counters = ["wire_drop_tcp_checksum", "tcp_segments_in", "tcp_rst_out"];
    disturbs_nobody(SETTINGS, &counters, |world| {
        let mut state = 0x5eed_u64;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        send_frames(world, 5000, |index, frame| {
            // Random payload, options, flags and sizes behind addresses that are ours.
            frame.extend((0..random() % 100).map(|_| random()));
            frame[38..].iter_mut().for_each(|byte| *byte = random());
            let length = u16::try_from(frame.len() - 14).unwrap();
            frame[16..18].copy_from_slice(&length.to_be_bytes());
            // No SYN, so that no handshake begins.
            frame[47] &= !0x02;
            seal(frame);
            // The other half reaches what lies behind the check.
            frame[50] ^= u8::from(index % 2 == 0);
        });
    });
}

#[test]
fn half_open_tcp_handshakes() {
    let settings = Settings {
        game: "half_open_max = 32",
        ..SETTINGS
    };
    disturbs_nobody(
        settings,
        &["tcp_syn_received", "tcp_syn_cookies_sent"],
        |world| {
            send_frames(world, 500, |_, frame| seal(frame));
            eventually("they are bounded", || {
                let half_open = metric("tcp_half_open");
                half_open > 10 && half_open <= 2 * 32
            });
            // And ended by what ends them in the field before their minute is over.
            send_frames(world, 500, |_, frame| {
                let seq = u32::from_be_bytes(frame[38..42].try_into().unwrap()) + 1;
                frame[38..42].copy_from_slice(&seq.to_be_bytes());
                frame[47] = 0x04;
                seal(frame);
            });
        },
    );
}

#[test]
fn half_open_websocket_handshakes() {
    let settings = Settings {
        client: "anonymous = true\nhandshake_timeout_s = 1",
        ..SETTINGS
    };
    disturbs_nobody(settings, &["ws_handshake_timeouts"], |world| {
        let requests = [
            "",
            "GET",
            "GET /connection/websocket HTTP/1.1\r\nHost: a\r\n",
        ];
        for request in requests {
            assert_eq!(converse(world, request.as_bytes()), "", "{request}");
        }
    });
}

#[test]
fn oversize_headers() {
    disturbs_nobody(
        SETTINGS,
        &["ws_header_too_long", "ws_upgrade_refused"],
        |world| {
            let long = format!(
                "GET / HTTP/1.1\r\nHost: a\r\nCookie: {}",
                "x".repeat(20_000)
            );
            let answer = converse(world, long.as_bytes());
            assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        },
    );
}

#[test]
fn requests_that_are_none() {
    disturbs_nobody(SETTINGS, &["ws_upgrade_refused"], |world| {
        let cases = [
            ("\x16\x03\x01\x02\x00\x01\x00\x01\x00\r\n\r\n", "400"),
            (
                "POST /connection/websocket HTTP/1.1\r\nHost: a\r\n\r\n",
                "405",
            ),
            ("GET /elsewhere HTTP/1.1\r\nHost: a\r\n\r\n", "404"),
        ];
        for (request, status) in cases {
            let answer = converse(world, request.as_bytes());
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{answer}"
            );
        }
    });
}

/// Raw bytes behind a good upgrade, and the close code they earn.
fn frames_earn(bytes: &[u8], code: u16, counter: &str) {
    disturbs_nobody(SETTINGS, &[counter], |world| {
        let mut player = Player::join(world);
        player.stream().write_all(bytes).unwrap();
        assert_eq!(player.closed(), code);
    });
}

#[test]
fn an_unmasked_frame() {
    frames_earn(b"\x81\x02{}", 1002, "ws_protocol_errors");
}

#[test]
fn a_reserved_bit() {
    frames_earn(b"\xc1\x82\0\0\0\0{}", 1002, "ws_protocol_errors");
}

#[test]
fn text_that_is_not_utf8() {
    frames_earn(b"\x81\x83\0\0\0\0\"\xff\"", 1007, "ws_bad_utf8");
}

#[test]
fn a_message_without_end() {
    frames_earn(
        b"\x81\xff\0\0\0\0\x7f\xff\xff\xff\0\0\0\0",
        1009,
        "ws_message_too_big",
    );
}

#[test]
fn a_command_that_is_none() {
    disturbs_nobody(SETTINGS, &["session_bad_commands"], |world| {
        for text in [
            "{\"id\":9,\"fly\":{}}",
            "not json",
            "{\"id\":9,\"subscribe\":{\"channel\":7}}",
        ] {
            let mut player = Player::join(world);
            player.send(text.to_owned());
            assert_eq!(player.closed(), 3501, "{text}");
        }
    });
}

#[test]
fn tokens_that_do_not_hold() {
    let settings = Settings {
        client: "",
        ..SETTINGS
    };
    disturbs_nobody(settings, &["session_bad_tokens"], |world| {
        let good = token("eve");
        let (rest, signature) = good.rsplit_once('.').unwrap();
        let forged = format!("{rest}.{}", signature.chars().rev().collect::<String>());
        let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJldmUifQ.";
        for bad in [forged.as_str(), unsigned, "no token at all"] {
            let mut player = Player::upgrade(dial(world, LISTEN));
            player.send(json!({"id": 1, "connect": {"token": bad}}).to_string());
            assert_eq!(player.closed(), 3500, "{bad}");
        }
    });
}

#[test]
fn silence_behind_the_upgrade() {
    let settings = Settings {
        client: "anonymous = true\nconnect_timeout_s = 1",
        ..SETTINGS
    };
    disturbs_nobody(settings, &["session_stale"], |world| {
        assert_eq!(Player::upgrade(dial(world, LISTEN)).closed(), 3502);
    });
}

#[test]
fn more_than_the_submit_ring_holds() {
    let settings = Settings {
        durability: "fsync",
        ..SETTINGS
    };
    disturbs_nobody(settings, &["ring_submit_full"], |_| {
        // While the journal waits for the disk, the rest comes to more than the ring's 1 MiB.
        let data = json!("x".repeat(60_000));
        let publishers: Vec<_> = (0..64)
            .map(|_| {
                let body = json!({"channel": "flood", "data": data});
                thread::spawn(move || {
                    (0..8)
                        .map(|_| api("publish", &body).unwrap())
                        .collect::<Vec<Value>>()
                })
            })
            .collect();
        let answers: Vec<Value> = publishers
            .into_iter()
            .flat_map(|publisher| publisher.join().unwrap())
            .collect();
        let refused = answers
            .iter()
            .filter(|answer| answer["error"]["code"] == 111)
            .count();
        let accepted = answers
            .iter()
            .filter(|answer| answer["result"].is_object())
            .count();
        assert!(refused > 0, "none of {accepted}");
        assert_eq!(refused + accepted, 64 * 8);
        assert_eq!(
            history("flood").1.len(),
            accepted,
            "what was acknowledged is there"
        );
    });
}
