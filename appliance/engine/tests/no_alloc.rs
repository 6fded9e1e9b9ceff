//! The data plane allocates nothing after warm-up: received frames, acknowledgements, pongs, compressed
//! commands and fan-out, counted by the allocator itself around each turn of the data core.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(unsafe_code, reason = "an allocator is unsafe to write")]

mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use engine::metrics::catalog::Metric;
use engine::wire::emit::{Header, emit};
use engine::wire::segment::{Flags, Flow, Link, Options};
use engine::wire::seq::Seq;
use world::{Setup, World, deflated};

struct Counting;

static WATCHED: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if WATCHED.load(Ordering::Relaxed) {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ACK: Flags = Flags {
    ack: true,
    syn: false,
    fin: false,
    rst: false,
    psh: false,
    ece: false,
    cwr: false,
    ect: false,
    ce: false,
};
const SYN: Flags = Flags {
    syn: true,
    ack: false,
    ..ACK
};

/// A segment of nobody we know.
fn stranger(flags: Flags, port: u16) -> Vec<u8> {
    let header = Header {
        // Emitted as from the stranger: its end is the local one.
        link: Link {
            peer_mac: [2, 0, 0, 0, 0, 2],
            local_mac: [2, 0, 0, 0, 0, 1],
            vlan: None,
        },
        flow: Flow {
            local: std::net::SocketAddr::from(([192, 0, 2, 7], 1 + port)).into(),
            remote: "10.0.0.1:8000".parse().unwrap(),
        },
        seq: Seq(7),
        ack: Seq(9),
        flags,
        window: 1_000,
        options: Options {
            timestamps: Some((1, 0)),
            ..Options::default()
        },
    };
    let mut frame = vec![0; 200];
    let length = emit(&mut frame, &header, 0, |_| true);
    frame.truncate(length);
    frame
}

/// Events, commands and strangers for some time, then pings.
fn rounds(world: &mut World, deflates: usize) {
    let command = deflated(br#"{"id":2,"unsubscribe":{"channel":"hunt"}}"#);
    let pong = deflated(b"{}");
    for n in 0..200 {
        world.publish(
            "hunt",
            &format!("{{\"clue\":{n},\"text\":\"{}\"}}", "x".repeat(200)),
        );
        // Some frames are lost, so retransmission and reassembly are watched as well.
        world.loss_percent = if n % 50 < 5 { 20 } else { 0 };
        // Handshakes in the table, cookies beyond it, ACKs of nothing.
        for (flags, port) in [(SYN, n), (SYN, 1_000 + n), (ACK, 2_000 + n)] {
            let frame = stranger(flags, port);
            world.core.port().inject(&frame);
        }
        // Whole in a segment, and in fragments.
        world.send_frame(deflates, 0xc1, &command);
        world.send_frame(deflates, 0x41, &command[..9]);
        world.send_frame(deflates, 0x80, &command[9..]);
        world.run(3);
    }
    // Long enough for pings and pongs.
    for _ in 0..30_000 {
        world.run(1);
        if world.frames(deflates).contains(&(0x81, b"{}".to_vec())) {
            world.send_frame(deflates, 0xc1, &pong);
        }
    }
}

/// One test only: the switch is for the whole process.
#[test]
fn nothing_is_allocated_after_warm_up() {
    let mut setup = Setup {
        half_open_max: 8,
        ..Setup::default()
    };
    setup.rules.compression = true;
    let mut world = World::with(setup);
    let players: Vec<usize> = (0..20).map(|_| world.connect()).collect();
    for &player in &players {
        world.subscribe(player, "hunt");
    }
    let (deflates, _) = world.offer_extension("/connection/websocket", "permessage-deflate");
    world.send_frame(deflates, 0xc1, &deflated(br#"{"id":1,"connect":{}}"#));
    world.run(20);
    rounds(&mut world, deflates);
    let received = world.count(Metric::PortRxFrames);
    world.around_turn = |begins| WATCHED.store(begins, Ordering::Relaxed);
    rounds(&mut world, deflates);
    world.around_turn = |_| ();
    assert_eq!(
        ALLOCATIONS.load(Ordering::Relaxed),
        0,
        "allocations in turns of the data core"
    );
    assert!(
        world.count(Metric::PortRxFrames) > received + 3_000,
        "frames were received"
    );
    assert!(
        world.count(Metric::TcpRetransmits) > 0,
        "segments were sent again"
    );
    assert!(world.players[players[0]].pings > 1, "pings were sent");
    assert!(
        world.count(Metric::WsInflated) > 800 && world.is_open(deflates),
        "compressed messages were read"
    );
    assert!(
        world.count(Metric::TcpCookiesSent) > 100,
        "cookies were sent"
    );
    assert!(
        world.count(Metric::TcpSynAckRepeats) > 0,
        "and repeated SYN-ACKs"
    );
    assert!(world.count(Metric::TcpRstOut) > 100, "and RSTs");
    for player in players {
        assert_eq!(world.offsets(player), (1..=400).collect::<Vec<u64>>());
    }
    // The counter counts.
    WATCHED.store(true, Ordering::Relaxed);
    drop(Box::new([0u8; 100]).clone());
    WATCHED.store(false, Ordering::Relaxed);
    assert!(ALLOCATIONS.load(Ordering::Relaxed) > 0);
}
