//! The data plane allocates nothing after warm-up: received frames, acknowledgements, pongs and
//! fan-out, counted by the allocator itself around each turn of the data core.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(unsafe_code, reason = "an allocator is unsafe to write")]

mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use engine::metrics::catalog::Metric;
use world::World;

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

/// One test only: the switch is for the whole process.
#[test]
fn nothing_is_allocated_after_warm_up() {
    let mut world = World::new();
    let players: Vec<usize> = (0..20).map(|_| world.connect()).collect();
    for &player in &players {
        world.subscribe(player, "hunt");
    }
    let rounds = |world: &mut World| {
        for n in 0..200 {
            world.publish(
                "hunt",
                &format!("{{\"clue\":{n},\"text\":\"{}\"}}", "x".repeat(200)),
            );
            // Some frames are lost, so retransmission and reassembly are watched as well.
            world.loss_percent = if n % 50 < 5 { 20 } else { 0 };
            world.run(3);
        }
        // Long enough for pings and pongs.
        world.run(30_000);
    };
    rounds(&mut world);
    let received = world.count(Metric::PortRxFrames);
    world.around_turn = |begins| WATCHED.store(begins, Ordering::Relaxed);
    rounds(&mut world);
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
    for player in players {
        assert_eq!(world.offsets(player), (1..=400).collect::<Vec<u64>>());
    }
    // The counter counts.
    WATCHED.store(true, Ordering::Relaxed);
    drop(Box::new([0u8; 100]).clone());
    WATCHED.store(false, Ordering::Relaxed);
    assert!(ALLOCATIONS.load(Ordering::Relaxed) > 0);
}
