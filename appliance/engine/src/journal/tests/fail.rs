//! A store that fails, and what the next process finds.

use super::*;
use crate::journal::memory_store::Fault;

#[test]
fn a_batch_that_fails_is_taken_back_whole() {
    for fault in [Fault::Commit, Fault::CommitAfterWrite] {
        let mut rig = Rig::new();
        rig.publish(0, 1, "h", "1");
        rig.run(0);
        rig.take(1);
        rig.store.set_fault(fault);
        rig.publish_keyed(0, 2, "h", "2", "k");
        rig.publish_keyed(0, 3, "h", "2", "k");
        rig.subscribe(0, 4, "h");
        rig.publish(0, 5, "new", "3");
        let got = rig.run(0);
        let refused = |token| Got::Refused {
            token,
            refusal: Refusal::Unavailable,
        };
        assert_eq!(
            (&got[0], &got[1], &got[3]),
            (&refused(2), &refused(3), &refused(5))
        );
        assert!(
            matches!(
                got[2],
                Got::Subscribed {
                    token: 4,
                    top: 1,
                    ..
                }
            ),
            "{got:?}"
        );
        assert_eq!(rig.take(1), [], "nobody hears of it");
        assert_eq!(rig.count(Metric::JournalHealthy), 0);

        rig.publish(0, 6, "h", "2");
        assert_eq!(rig.run(0), [refused(6)], "not even tried");
        rig.store.set_fault(Fault::None);
        rig.wait(1_100);
        rig.turn();
        assert_eq!(rig.count(Metric::JournalHealthy), 1);
        assert_eq!(
            rig.store.events(),
            1,
            "what was refused does not turn up: {fault:?}"
        );
        rig.publish_keyed(0, 7, "h", "2", "k");
        assert_eq!(events(&rig.run(0)), [2]);

        let mut rig = rig.restart();
        rig.publish(0, 8, "h", "3");
        assert_eq!(events(&rig.run(0)), [3]);
        assert_eq!(rig.recover("h", "", 0).2.matches("data").count(), 3);
    }
}

#[test]
fn a_full_sink_does_not_delay_the_healing() {
    let mut rig = Rig::with(MemoryStore::default(), config(1000, DAY_MS), 700);
    rig.publish(0, 1, "h", "1");
    rig.run(0);
    rig.store.set_fault(Fault::CommitAfterWrite);
    for token in 0..200 {
        rig.publish(0, token, "h", "2");
    }
    assert!(rig.turn().busy);
    rig.store.set_fault(Fault::None);
    rig.wait(1_100);
    assert!(rig.turn().busy, "the ring is still full");
    assert_eq!(rig.count(Metric::JournalHealthy), 1);
    assert_eq!(rig.restart().recover("h", "", 1), (true, 1, String::new()));
}

#[test]
fn a_read_that_fails_is_refused() {
    let mut rig = Rig::new();
    rig.publish(CONTROL, 1, "h", "1");
    rig.run(CONTROL);
    rig.store.set_fault(Fault::Read);
    assert_eq!(
        rig.history(-1, None, false),
        Got::Refused {
            token: 9,
            refusal: Refusal::Unavailable
        }
    );
    rig.store.set_fault(Fault::None);
    assert!(matches!(
        rig.history(-1, None, false),
        Got::History { top: 1, .. }
    ));
}

#[test]
fn a_restart_goes_on_at_the_next_offset() {
    let mut rig = Rig::new();
    for n in 0..5 {
        rig.publish(0, n, "h", "1");
    }
    rig.publish(0, 9, "other", "1");
    let (epoch, silent) = (rig.epoch("h"), rig.epoch("silent"));
    let mut rig = rig.restart();
    assert_eq!(rig.epoch("h"), epoch);
    assert_eq!(rig.epoch("silent"), silent, "also of a hunt without events");
    rig.publish(0, 1, "h", "1");
    rig.publish(0, 1, "fresh", "1");
    assert_eq!(events(&rig.run(0)), [6, 1]);
    assert_eq!(rig.recover("h", &epoch, 3), (true, 6, recovered(4..=6)));
    assert_eq!(rig.recover("other", "", 0), (true, 1, recovered(1..=1)));
}

fn recovered(offsets: std::ops::RangeInclusive<u64>) -> String {
    let list: Vec<_> = offsets
        .map(|n| format!(r#"{{"data":1,"offset":{n}}}"#))
        .collect();
    list.join(",")
}

#[test]
fn a_lost_tail_makes_new_epochs() {
    let synced = config(1000, DAY_MS);
    let mut unsynced = config(1000, DAY_MS);
    unsynced.durability = Durability::Wal;
    let mut rig = Rig::with(MemoryStore::default(), synced.clone(), 4 << 20);
    rig.publish(0, 1, "h", "1");
    let (epoch, silent) = (rig.epoch("h"), rig.epoch("silent"));
    let mut rig = Rig::with(rig.store, unsynced, 4 << 20);
    rig.publish(0, 2, "h", "2");
    assert_eq!(events(&rig.run(0)), [2]);
    rig.store.crash_host();

    let mut rig = Rig::with(rig.store, synced.clone(), 4 << 20);
    let new = rig.epoch("h");
    assert_ne!(new, epoch);
    assert_ne!(rig.epoch("silent"), silent);
    assert_eq!(
        rig.recover("h", &epoch, 1),
        (false, 1, String::new()),
        "what was synced is there"
    );
    // The offset is given out again: a player who knows the first 2 must not take it for that.
    rig.publish(0, 3, "h", "3");
    rig.run(0);
    assert!(!rig.recover("h", &epoch, 2).0);
    assert!(rig.recover("h", &new, 1).0);

    rig.store.crash_host();
    rig.store.forget_doubt();
    let mut rig = Rig::with(rig.store, synced, 4 << 20);
    assert_eq!(rig.epoch("h"), new, "new epochs are kept");
}

#[test]
fn a_strangers_row_is_an_error() {
    let mut store = MemoryStore::default();
    let mut batch = Batch::default();
    batch.hunt("h", |out| {
        out.extend_from_slice(b"\xff\xff\xff\xff\xff\xff")
    });
    store.commit(&batch, true).unwrap();
    let opened = JournalCore::open(
        store,
        config(1, 1),
        vec![],
        vec![],
        0,
        Counters::default(),
        1,
    );
    assert!(opened.unwrap_err().to_string().contains("\"h\" is damaged"));
}
