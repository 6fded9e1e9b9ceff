//! What only backends ask for: passing on, dropping a history, listing hunts.

use super::*;
use crate::journal::memory_store::Fault;
use crate::ring::submit::{ByServer, Tell, Told};

impl Rig {
    fn tell(&mut self, token: u64, user: &str, hunt: &str) {
        let what = Told::Subscribe(ByServer {
            hunt,
            ..ByServer::default()
        });
        let (client, session) = ("", "");
        self.submit(
            CONTROL,
            Submission::Tell(Tell {
                token,
                user,
                client,
                session,
                what,
            }),
        );
    }

    fn remove_history(&mut self, token: u64, hunt: &str) {
        self.submit(CONTROL, Submission::RemoveHistory { token, hunt });
    }
}

/// Offsets of what was published, as its publisher is told.
fn published(got: &[Got]) -> Vec<u64> {
    let offset = |got: &Got| match got {
        Got::Published { offset, .. } => Some(*offset),
        _ => None,
    };
    got.iter().filter_map(offset).collect()
}

#[test]
fn all_data_cores_are_told_between_the_same_events() {
    let mut rig = Rig::new();
    rig.publish(CONTROL, 1, "h", "1");
    rig.tell(2, "ann", "h");
    rig.publish(CONTROL, 3, "h", "2");
    let answers = rig.run(CONTROL);
    assert_eq!(answers[1], Got::Done(2));
    let told = Got::Told {
        token: 2,
        user: "ann".to_owned(),
        top: Some(1),
    };
    for core in 0..2 {
        let got = rig.take(core);
        assert_eq!((got.len(), &got[1]), (3, &told), "{got:?}");
    }
    // A store that takes nothing is no reason to let somebody stay.
    rig.store.set_fault(Fault::Commit);
    rig.publish(CONTROL, 4, "h", "3");
    rig.run(CONTROL);
    rig.tell(5, "ann", "h");
    rig.tell(6, "ann", "");
    let refusal = Refusal::BadRequest;
    let refused = Got::Refused { token: 6, refusal };
    assert_eq!(rig.run(CONTROL), [Got::Done(5), refused]);
}

#[test]
fn a_history_is_dropped_and_its_position_stays() {
    let mut rig = Rig::new();
    for token in 1..=3 {
        rig.publish(0, token, "h", "1");
    }
    rig.publish(0, 4, "other", "1");
    rig.run(0);
    let epoch = rig.epoch("h");
    // In one batch: what comes after stays.
    rig.publish(CONTROL, 5, "h", "2");
    rig.remove_history(6, "h");
    rig.publish(CONTROL, 7, "h", "3");
    rig.remove_history(8, "never used");
    let answers = rig.run(CONTROL);
    assert_eq!(published(&answers), [4, 5]);
    assert_eq!((&answers[1], &answers[3]), (&Got::Done(6), &Got::Done(8)));
    assert_eq!(rig.store.events(), 2, "one of each hunt");
    for _ in 0..2 {
        let (recovered, top, page) = rig.recover("h", &epoch, 4);
        assert_eq!((recovered, top, offsets(&page)), (true, 5, vec![5]));
        assert_eq!(rig.recover("h", &epoch, 3), (false, 5, String::new()));
        rig = rig.restart();
    }
    rig.remove_history(9, "h");
    rig.remove_history(10, "h");
    rig.publish(CONTROL, 11, "h", "4");
    assert_eq!(published(&rig.run(CONTROL)), [6], "offsets go on");
}

#[test]
fn a_history_that_could_not_be_dropped_is_still_there() {
    for fault in [Fault::Commit, Fault::CommitAfterWrite] {
        let mut rig = Rig::new();
        rig.publish(0, 1, "h", "1");
        rig.publish(0, 2, "h", "2");
        rig.run(0);
        rig.store.set_fault(fault);
        rig.publish(CONTROL, 3, "h", "3");
        rig.remove_history(4, "h");
        rig.remove_history(5, "h");
        let refused = |token| Got::Refused {
            token,
            refusal: Refusal::Unavailable,
        };
        assert_eq!(rig.run(CONTROL), [3, 4, 5].map(refused));
        rig.remove_history(6, "h");
        assert_eq!(rig.run(CONTROL), [refused(6)], "not even tried");
        rig.store.set_fault(Fault::None);
        rig.wait(1_100);
        rig.turn();
        if fault == Fault::Commit {
            assert_eq!(offsets(&rig.recover("h", "", 0).2), [1, 2]);
        }
        rig.remove_history(7, "h");
        assert_eq!(rig.run(CONTROL), [Got::Done(7)]);
        assert_eq!(rig.store.events(), 0, "{fault:?}");
        rig.publish(CONTROL, 8, "h", "4");
        assert_eq!(published(&rig.run(CONTROL)), [3]);
    }
}

#[test]
fn hunts_are_listed_with_the_subscribers_of_all_cores() {
    let mut rig = Rig::with(
        MemoryStore::default(),
        Config {
            hunts_max: 3000,
            ..config(1000, DAY_MS)
        },
        4 << 20,
    );
    let tables = rig.core.count_subscribers();
    assert_eq!(tables.len(), 2);
    for number in 0..2500 {
        rig.publish(0, 1, &format!("hunt{number}"), "1");
        if number % 200 == 0 {
            rig.run(0);
        }
    }
    rig.run(0);
    let ask = |rig: &mut Rig, from| {
        rig.submit(CONTROL, Submission::Channels { token: 1, from });
        rig.run(CONTROL).pop()
    };
    let page = |hunts: &[(&str, u32)], next| {
        let hunts = hunts
            .iter()
            .map(|&(name, n)| (name.to_owned(), n))
            .collect();
        Some(Got::Channels { hunts, next })
    };
    assert_eq!(ask(&mut rig, 0), page(&[], Some(2048)));
    for (table, hunt) in [(0, 3), (1, 3), (1, 3), (0, 4), (1, 2400)] {
        tables[table].add(hunt);
    }
    tables[0].remove(4);
    tables[0].add(5_000);
    assert_eq!(ask(&mut rig, 0), page(&[("hunt3", 3)], Some(2048)));
    assert_eq!(ask(&mut rig, 2048), page(&[("hunt2400", 1)], None));
    assert_eq!(ask(&mut rig, 9999), page(&[], None));
}
