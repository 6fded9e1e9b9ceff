//! Order, answers, bounds, backpressure.

use super::*;
use crate::ring::submit::EVENT_BYTES_MAX;

#[test]
fn a_publish_is_answered_and_everybody_gets_the_event() {
    let mut rig = Rig::new();
    rig.publish(CONTROL, 5, "h", r#"{"n":1}"#);
    let turn = rig.turn();
    assert_eq!(
        turn,
        Turn {
            busy: true,
            wrote_to: 0b111
        }
    );
    let event = Got::Event {
        hunt: 0,
        offset: 1,
        publication: r#"{"data":{"n":1},"offset":1}"#.to_owned(),
    };
    assert_eq!(rig.take(0), std::slice::from_ref(&event));
    assert_eq!(rig.take(1), [event]);
    let got = rig.take(CONTROL);
    assert!(
        matches!(&got[..], [Got::Published { token: 5, offset: 1, epoch }] if epoch.len() == 8)
    );
    assert_eq!(
        rig.turn(),
        Turn {
            busy: false,
            wrote_to: 0
        }
    );
}

#[test]
fn many_publishes_share_one_batch() {
    let mut rig = Rig::new();
    let before = rig.store.commits();
    for n in 0..100 {
        rig.publish(n % 3, n as u64, "h", "1");
    }
    rig.run(0);
    assert_eq!(rig.store.commits(), before + 1);
    assert_eq!(rig.count(Metric::JournalSyncs), 1);
    assert_eq!(rig.count(Metric::JournalEvents), 100);
}

#[test]
fn subscribed_stands_behind_the_events_it_counts() {
    let mut rig = Rig::new();
    rig.publish(0, 1, "h", "1");
    rig.subscribe(0, 2, "h");
    rig.publish(0, 3, "h", "2");
    let got = rig.run(0);
    let kinds = got.iter().map(|got| match got {
        Got::Event { offset, .. } => ("event", *offset),
        Got::Published { token, .. } => ("published", *token),
        Got::Subscribed { top, .. } => ("subscribed", *top),
        _ => ("?", 0),
    });
    let expected = [
        ("event", 1),
        ("published", 1),
        ("subscribed", 1),
        ("event", 2),
        ("published", 3),
    ];
    assert_eq!(kinds.collect::<Vec<_>>(), expected);
}

#[test]
fn sources_take_turns() {
    let mut rig = Rig::new();
    for n in 0..1000 {
        rig.publish(0, n, "h", "1");
    }
    rig.publish(1, 7, "h", "2");
    rig.turn();
    assert!(rig.take(1).contains(&Got::Published {
        token: 7,
        offset: 2,
        epoch: rig.epoch("h")
    }));
}

#[test]
fn names_and_payloads_are_checked() {
    let mut rig = Rig::new();
    let long = "x".repeat(256);
    let big = "1".repeat(EVENT_BYTES_MAX + 1);
    for (n, (hunt, data)) in [
        ("", "1"),
        (long.as_str(), "1"),
        ("hünt", "1"),
        ("h", ""),
        ("h", big.as_str()),
    ]
    .iter()
    .enumerate()
    {
        rig.publish(0, n as u64, hunt, data);
        let refusal = Got::Refused {
            token: n as u64,
            refusal: Refusal::BadRequest,
        };
        assert_eq!(rig.run(0), [refusal]);
    }
    rig.publish_keyed(0, 9, "h", "1", &long);
    assert_eq!(
        rig.run(0),
        [Got::Refused {
            token: 9,
            refusal: Refusal::BadRequest
        }]
    );
    assert_eq!(rig.count(Metric::JournalRefused), 6);
    rig.publish(0, 1, &long[..255], &big[1..]);
    assert_eq!(events(&rig.run(0)), [1]);
}

#[test]
fn the_ninth_hunt_does_not_fit() {
    let mut rig = Rig::new();
    // Half of the eight for those who only ask, and the other half is left to publishers.
    for n in 0..5 {
        rig.subscribe(0, n, &format!("asked {n}"));
    }
    for n in 5..10 {
        rig.publish(0, n, &format!("told {n}"), "1");
    }
    let got = rig.run(0);
    let refused = |token| Got::Refused {
        token,
        refusal: Refusal::LimitExceeded,
    };
    let all: Vec<_> = got
        .into_iter()
        .filter(|got| matches!(got, Got::Refused { .. }))
        .collect();
    assert_eq!(all, [refused(4), refused(9)]);
    assert_eq!(
        rig.count(Metric::JournalHunts),
        0,
        "the gauge follows within 100 ms"
    );
    rig.wait(100);
    rig.turn();
    assert_eq!(rig.count(Metric::JournalHunts), 8);
}

#[test]
fn a_full_sink_stops_everything_and_loses_nothing() {
    let mut rig = Rig::with(MemoryStore::default(), config(1000, DAY_MS), 600);
    for n in 1..=100 {
        rig.publish(CONTROL, n, "h", "12345");
    }
    rig.turn();
    for _ in 0..3 {
        assert_eq!(
            rig.turn(),
            Turn {
                busy: true,
                wrote_to: 0
            },
            "a waiting journal says so"
        );
    }
    assert_eq!(rig.count(Metric::RingBroadcastStalls), 1);
    let mut turns = 0;
    let (mut first, mut second, mut control) = (Vec::new(), Vec::new(), Vec::new());
    while control.len() < 100 {
        for _ in 0..3 {
            rig.turn();
        }
        // The first core reads at once, the second one late.
        first.extend(rig.take(0));
        control.extend(rig.take(CONTROL));
        turns += 1;
        if turns % 5 == 0 {
            second.extend(rig.take(1));
        }
        assert!(turns < 1000);
        // More work arrives and has to wait.
        rig.subscribe(CONTROL, 1000 + turns, "h");
    }
    while rig.turn().busy {
        first.extend(rig.take(0));
        second.extend(rig.take(1));
        control.extend(rig.take(CONTROL));
    }
    second.extend(rig.take(1));
    first.extend(rig.take(0));
    let all: Vec<u64> = (1..=100).collect();
    assert_eq!(events(&first), all);
    assert_eq!(events(&second), all);
    assert!(rig.count(Metric::RingBroadcastStalls) > 1);
    assert_eq!(rig.count(Metric::JournalBatches), 1);
}

#[test]
fn while_a_sink_is_full_no_submission_is_taken() {
    let mut rig = Rig::with(MemoryStore::default(), config(1000, DAY_MS), 1000);
    for n in 0..100 {
        rig.publish(CONTROL, n, "h", "12345");
    }
    rig.turn();
    let room = rig.submit[0].room();
    rig.publish(0, 1, "h", "1");
    rig.turn();
    assert!(rig.submit[0].room() < room);
}

#[test]
fn a_core_that_is_gone_stops_nobody() {
    let mut rig = Rig::with(MemoryStore::default(), config(1000, DAY_MS), 1000);
    drop(rig.sinks.remove(1));
    let mut got = Vec::new();
    for n in 0..200 {
        rig.publish(0, n, "h", "12345");
        got.extend(rig.run(0));
    }
    assert_eq!(events(&got), (1..=200).collect::<Vec<_>>());
}

#[test]
fn a_repeated_key_appends_nothing_for_five_minutes() {
    let mut rig = Rig::new();
    rig.publish_keyed(CONTROL, 1, "h", "1", "k");
    rig.publish_keyed(CONTROL, 2, "h", "1", "k");
    rig.publish_keyed(CONTROL, 3, "other", "1", "k");
    let published = |got: Vec<Got>| -> Vec<(u64, u64)> {
        got.iter()
            .map(|got| match got {
                Got::Published { token, offset, .. } => (*token, *offset),
                other => panic!("{other:?}"),
            })
            .collect()
    };
    assert_eq!(published(rig.run(CONTROL)), [(1, 1), (2, 1), (3, 1)]);
    assert_eq!(rig.count(Metric::JournalDuplicates), 1);
    rig.wait(299_000);
    rig.publish_keyed(CONTROL, 4, "h", "1", "k");
    assert_eq!(published(rig.run(CONTROL)), [(4, 1)]);

    let mut rig = rig.restart();
    rig.publish_keyed(CONTROL, 5, "h", "1", "k");
    rig.publish_keyed(CONTROL, 6, "h", "1", "new");
    assert_eq!(
        published(rig.run(CONTROL)),
        [(5, 1), (6, 2)],
        "the key outlives the process"
    );
    rig.wait(2_000);
    rig.publish_keyed(CONTROL, 7, "h", "1", "k");
    assert_eq!(
        published(rig.run(CONTROL)),
        [(7, 3)],
        "five minutes are over"
    );
}
