//! Events go when they are too many or too old, and the position stays.

use super::*;

#[test]
fn by_size() {
    let mut rig = Rig::with(MemoryStore::default(), config(10, DAY_MS), 4 << 20);
    for n in 0..95 {
        rig.publish(0, n, "h", "1");
    }
    rig.run(0);
    rig.wait(200);
    rig.run(0);
    assert_eq!(rig.store.events(), 10);
    assert_eq!(rig.count(Metric::JournalTrimmed), 85);
    assert_eq!(
        offsets(&rig.recover("h", "", 85).2),
        (86..=95).collect::<Vec<_>>()
    );
    let mut rig = rig.restart();
    assert_eq!(
        offsets(&rig.recover("h", "", 85).2),
        (86..=95).collect::<Vec<_>>()
    );
}

#[test]
fn by_age_and_the_position_stays() {
    let mut rig = Rig::with(MemoryStore::default(), config(1000, 5_000), 4 << 20);
    for n in 0..200 {
        rig.publish(0, n, "h", "1");
    }
    rig.run(0);
    rig.wait(3_000);
    rig.publish(0, 1, "h", "1");
    rig.run(0);
    assert_eq!(rig.store.events(), 201);
    // Not removed yet, and already not to be seen.
    rig.wall_ms += 2_000;
    assert_eq!(rig.recover("h", "", 199), (false, 201, String::new()));
    assert_eq!(offsets(&rig.recover("h", "", 200).2), [201]);
    let Got::History { page, .. } = rig.history(-1, None, true) else {
        panic!()
    };
    assert_eq!(offsets(&page), [201]);
    let Got::History { page, .. } = rig.history(-1, None, false) else {
        panic!()
    };
    assert_eq!(offsets(&page), [201]);
    for _ in 0..10 {
        rig.wait(100);
        rig.run(0);
    }
    assert_eq!(rig.store.events(), 1);
    assert_eq!(rig.count(Metric::JournalTrimmed), 200);

    let epoch = rig.epoch("h");
    let mut rig = rig.restart();
    for _ in 0..10 {
        rig.wait(1_000);
        rig.run(0);
    }
    assert_eq!(rig.store.events(), 0);
    let mut rig = rig.restart();
    assert_eq!(rig.recover("h", &epoch, 201), (true, 201, String::new()));
    rig.publish(0, 1, "h", "1");
    assert_eq!(events(&rig.run(0)), [202]);
}

#[test]
fn each_step_is_small() {
    let mut rig = Rig::with(MemoryStore::default(), config(1000, 5_000), 4 << 20);
    for n in 0..500 {
        rig.publish(0, n, "h", "1");
    }
    rig.run(0);
    rig.wait(6_000);
    let before = rig.store.events();
    rig.turn();
    assert!(rig.store.events() < before && rig.store.events() >= before - 64);
}

#[test]
fn a_hunt_without_history_keeps_only_its_position() {
    let mut rig = Rig::with(MemoryStore::default(), config(0, DAY_MS), 4 << 20);
    rig.publish(0, 1, "h", "1");
    rig.publish(0, 2, "h", "1");
    assert_eq!(events(&rig.run(0)), [1, 2]);
    assert_eq!(rig.store.events(), 0);
    assert_eq!(rig.recover("h", "", 1), (false, 2, String::new()));
    let mut rig = rig.restart();
    assert_eq!(rig.recover("h", "", 2), (true, 2, String::new()));
}
