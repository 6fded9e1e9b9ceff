//! What strangers and routers send to a whole data core: SYN floods beside players who come and stay,
//! and reports of packets too big, also those that reach the wrong core.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use engine::metrics::catalog::Metric;
use engine::port::Port;
use engine::wire::checksum;
use engine::wire::emit::{Header, emit};
use engine::wire::segment::{Flags, Flow, Link, Options};
use engine::wire::seq::Seq;
use world::{Setup, World};

/// A SYN from somewhere.
fn syn(random: &mut u64) -> Vec<u8> {
    *random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1);
    let [_, _, a, b, c, d, e, f] = random.to_be_bytes();
    let header = Header {
        link: Link {
            peer_mac: [2, 0, 0, 0, 0, 2],
            local_mac: [2, 0, 0, 0, 0, 1],
            vlan: None,
        },
        flow: Flow {
            local: std::net::SocketAddr::from(([11, a, b, c], u16::from_be_bytes([d, e]).max(1)))
                .into(),
            remote: "10.0.0.1:8000".parse().unwrap(),
        },
        seq: Seq(u32::from_be_bytes([f, a, b, c])),
        ack: Seq(0),
        flags: Flags {
            syn: true,
            ..Flags::default()
        },
        window: 65_535,
        options: Options {
            mss: Some(1460),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: Some((1, 0)),
            ..Options::default()
        },
    };
    let mut frame = vec![0; 200];
    let length = emit(&mut frame, &header, 0, |_| true);
    frame.truncate(length);
    frame
}

/// A crowd that comes at once is answered whole, though its SYNs take more than one turn.
#[test]
fn a_burst_of_syns_loses_no_answer() {
    let mut world = World::new();
    let mut random = 1;
    for _ in 0..2_000 {
        assert!(world.core.port().inject(&syn(&mut random)));
    }
    world.run(5);
    assert_eq!(world.count(Metric::TcpSynReceived), 2_000);
    assert_eq!(world.count(Metric::TcpRepliesDropped), 0);
    assert_eq!(world.core.port().stats().tx_frames, 2_000);
}

/// RFC 4987: 40 SYNs in each turn beside players who come and players who are there.
#[test]
fn a_flood_takes_nobodys_place() {
    let mut world = World::with(Setup {
        half_open_max: 16,
        players_max: 60,
        ..Setup::default()
    });
    let mut players: Vec<usize> = (0..20).map(|_| world.connect()).collect();
    for &player in &players {
        world.subscribe(player, "hunt");
    }
    let mut random = 1;
    let mut flood = |world: &mut World| {
        for _ in 0..40 {
            let frame = syn(&mut random);
            world.core.port().inject(&frame);
        }
    };
    for n in 0..40 {
        for _ in 0..20 {
            flood(&mut world);
            world.step();
        }
        world.publish("hunt", &format!("{{\"clue\":{n}}}"));
        let player = world.connect();
        world.hang_up(player);
        if n < 20 {
            players.push(world.connect());
        }
    }
    world.run(500);
    for &player in &players {
        assert!(world.is_open(player));
    }
    for &player in &players[..20] {
        assert_eq!(world.offsets(player), (1..=40).collect::<Vec<u64>>());
    }
    assert_eq!(world.count(Metric::TcpHalfOpen), 16);
    assert!(world.count(Metric::TcpCookiesSent) > 30_000);
    // Who came while the table was full came by a cookie: 40 who left and 20 who stayed.
    assert_eq!(world.count(Metric::TcpCookiesAccepted), 60);
    assert_eq!(world.count(Metric::TcpReset), 0);
    assert_eq!(world.count(Metric::TcpSynDropped), 0);
}

/// A router's report about a segment of a flow of `local_port`'s to a player.
fn report(player: u16, seq: u32) -> Vec<u8> {
    let mut quoted = vec![
        0x45, 0, 5, 0xdc, 0, 0, 0x40, 0, 63, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    quoted.extend(8000_u16.to_be_bytes());
    quoted.extend(player.to_be_bytes());
    quoted.extend(seq.to_be_bytes());
    let mut message = vec![3, 4, 0, 0, 0, 0, 4, 0];
    message.extend(quoted);
    let sum = !checksum::fold(checksum::sum(&message));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut packet = vec![0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0];
    packet.extend([172, 16, 0, 1, 10, 0, 0, 1]);
    let sum = !checksum::fold(checksum::sum(&packet));
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    [
        &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0][..],
        &packet,
        &message,
    ]
    .concat()
}

/// RFC 1191, by a data core of two: NICs spread reports by the router's address, not the player's.
#[test]
fn reports_find_the_core_of_their_flow() {
    let mut world = World::with(Setup {
        cores: 2,
        ..Setup::default()
    });
    world.connect();
    // The first player's port; nothing is in flight, so the report is not believed, but it is known.
    let ours = report(40_001, 5);
    world.core.port().inject(&ours);
    world.step();
    assert_eq!(world.count(Metric::TcpPathMtuIgnored), 1);
    assert_eq!(world.count(Metric::TcpHandedOver), 0);
    // Of no flow here: the other core's, perhaps.
    let other = report(9, 5);
    world.core.port().inject(&other);
    world.step();
    assert_eq!(world.count(Metric::TcpHandedOver), 1);
    let mut frame = Vec::new();
    assert_eq!(world.neighbours[0].receive(&mut frame), Some(1));
    assert_eq!(frame, other);
    assert_eq!(world.count(Metric::TcpPathMtuIgnored), 1);
    // Handed to us by the other core: our flow, and one that nobody knows.
    assert!(world.neighbours[0].hand_over(0, &ours));
    assert!(world.neighbours[0].hand_over(0, &other));
    world.step();
    assert_eq!(world.count(Metric::TcpPathMtuIgnored), 3);
    assert_eq!(world.count(Metric::TcpHandedOver), 1);
    assert_eq!(world.count(Metric::WireNotTcp), 0);
}

/// A player that stops reading is cut, and what it held comes back (RFC 9293 section 3.8.6.1).
#[test]
fn a_player_that_keeps_its_window_closed_is_cut_and_leaves_nothing() {
    let mut setup = Setup::default();
    // Not for lag nor for pings.
    setup.rules.lag_bytes_max = 10_000_000;
    setup.rules.ping_interval = engine::units::Micros::from_secs(10_000);
    setup.log_bytes = 4 << 20;
    let mut world = World::with(setup);
    let reader = world.connect();
    let stalled = world.connect();
    for player in [reader, stalled] {
        world.subscribe(player, "hunt");
    }
    world.players[stalled].reads = false;
    for n in 0..100 {
        world.publish("hunt", &format!("\"{n}{}\"", "x".repeat(1_000)));
        world.run(10);
    }
    world.run(130_000);
    assert_eq!(world.count(Metric::TcpPersistTimedOut), 1);
    assert_eq!(world.core.sessions_held().0, 1);
    assert_eq!(world.core.connections(), 1);
    assert_eq!(world.offsets(reader), (1..=100).collect::<Vec<u64>>());
}
