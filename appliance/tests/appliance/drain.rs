//! SIGTERM: players are told to reconnect elsewhere, what was acknowledged stays, the exit code is 0.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::player::{Player, dial};
use crate::running::{Appliance, SETTINGS, api, directory, history};
use crate::world::{LISTEN, World};

/// "shutdown": the SDKs reconnect.
const SHUTDOWN: u16 = 3001;

#[test]
fn players_are_told_and_nothing_acknowledged_is_lost() {
    let (world, directory) = (World::new(), directory());
    let mut appliance = Appliance::start(&directory, SETTINGS);
    let mut players: Vec<Player> = (0..30).map(|_| Player::join_hunt(&world, "hunt")).collect();
    let stop = AtomicBool::new(false);
    let acknowledged = thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut count = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let answer = api("publish", &json!({"channel": "hunt", "data": count}));
                let Ok(answer) = answer else { break };
                assert_eq!(answer["result"]["offset"], count + 1, "{answer}");
                count += 1;
            }
            count
        });
        thread::sleep(Duration::from_millis(100));
        appliance.terminate();
        for player in &mut players {
            assert_eq!(player.closed(), SHUTDOWN);
        }
        let status = appliance.wait();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(status.code(), Some(0), "{status}");
        publisher.join().unwrap()
    });
    let _appliance = Appliance::start(&directory, SETTINGS);
    let (_, events) = history("hunt");
    let count = u64::try_from(events.len()).unwrap();
    // The last one may have been written and its acknowledgement cut off.
    assert!(
        acknowledged > 0 && (acknowledged..=acknowledged + 1).contains(&count),
        "{count}"
    );
    assert!(
        (1..)
            .zip(&events)
            .all(|(offset, event)| *event == (offset, json!(offset - 1)))
    );
}

#[test]
fn who_does_not_leave_holds_nothing_up() {
    let (world, directory) = (World::new(), directory());
    let mut appliance = Appliance::start(&directory, SETTINGS);
    let silent = Player::join_hunt(&world, "hunt");
    let never_upgraded = dial(&world, LISTEN);
    let start = Instant::now();
    appliance.terminate();
    assert_eq!(appliance.wait().code(), Some(0));
    assert!(
        start.elapsed() < Duration::from_secs(6),
        "{:?}",
        start.elapsed()
    );
    drop((silent, never_upgraded));
}
