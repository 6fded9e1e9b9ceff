//! What a returning player gets, case by case, and pages of history.

use super::*;
use crate::hunt::publication::{ClientInfo, append_tag};
use crate::ring::broadcast::{PAGE_BYTES_MAX, PAGE_EVENTS_MAX};

fn rig_with_events(count: u64, history_size: u32) -> Rig {
    let mut rig = Rig::with(
        MemoryStore::default(),
        config(history_size, DAY_MS),
        4 << 20,
    );
    for n in 1..=count {
        rig.publish(0, n, "h", &n.to_string());
    }
    rig.run(0);
    rig
}

#[test]
fn recovery_case_by_case() {
    let mut rig = rig_with_events(10, 5);
    let epoch = rig.epoch("h");
    let wrong = "wrong";
    // (epoch, offset), whether recovered, offsets of the page
    let cases: &[(&str, u64, bool, &[u64])] = &[
        (&epoch, 10, true, &[]),
        (&epoch, 9, true, &[10]),
        (&epoch, 5, true, &[6, 7, 8, 9, 10]),
        (&epoch, 4, false, &[]),
        (&epoch, 0, false, &[]),
        (&epoch, 11, false, &[]),
        (&epoch, u64::MAX, false, &[]),
        ("", 8, true, &[9, 10]),
        ("", 10, true, &[]),
        (wrong, 8, false, &[]),
        (wrong, 10, false, &[]),
        ("_", 0, false, &[]),
    ];
    for &(epoch, offset, expected, page) in cases {
        let (recovered, top, got) = rig.recover("h", epoch, offset);
        assert_eq!((recovered, top), (expected, 10), "({epoch}, {offset})");
        assert_eq!(offsets(&got), page, "({epoch}, {offset})");
    }
    let unknown = rig.recover("unknown", "", 0);
    assert_eq!(unknown, (true, 0, String::new()), "nothing is missing");
    assert!(!rig.recover("unknown", "", 1).0);
}

#[test]
fn a_page_holds_so_many_events() {
    let most = PAGE_EVENTS_MAX as u64;
    let mut rig = rig_with_events(most + 1, 2000);
    let Got::History { page, .. } = rig.history(-1, None, false) else {
        panic!()
    };
    assert_eq!(offsets(&page), (1..=most).collect::<Vec<_>>());
}

#[test]
fn a_page_holds_a_mebibyte() {
    let mut rig = Rig::new();
    let data = format!("\"{}\"", "x".repeat(60_000));
    for n in 1..=18 {
        rig.publish(0, n, "h", &data);
        rig.run(0);
    }
    assert!(18 * data.len() > PAGE_BYTES_MAX);
    let Got::History { page, .. } = rig.history(-1, None, false) else {
        panic!()
    };
    assert_eq!(offsets(&page), (1..=17).collect::<Vec<_>>(), "cut short");
    // Who wants fewer bytes gets fewer, but one event at least.
    for (bytes_max, expected) in [(1, 1), (130_000, 2)] {
        let ask = History {
            token: 9,
            hunt: "h",
            limit: -1,
            bytes_max,
            ..History::default()
        };
        rig.submit(CONTROL, Submission::History(ask));
        let Some(Got::History { page, .. }) = rig.run(CONTROL).pop() else {
            panic!()
        };
        assert_eq!(offsets(&page), (1..=expected).collect::<Vec<_>>());
    }
}

/// The answer stands behind the events that it counts and before the others, also in one batch.
#[test]
fn a_subscribe_has_its_place_among_the_events_of_its_batch() {
    let mut rig = rig_with_events(2, 1000);
    rig.publish(0, 1, "h", "3");
    let ask = Subscribe {
        token: 2,
        hunt: "h",
        recover: true,
        epoch: "",
        offset: 1,
    };
    rig.submit(0, Submission::Subscribe(ask));
    rig.publish(0, 3, "h", "4");
    rig.submit(0, Submission::Subscribe(Subscribe { token: 4, ..ask }));
    let mut met = 0;
    let mut answers = Vec::new();
    for got in rig.run(0) {
        match got {
            Got::Event { offset, .. } => met = offset,
            Got::Subscribed {
                top,
                recoverable: true,
                ..
            } => answers.push((top, met)),
            _ => {}
        }
    }
    assert_eq!(answers, [(3, 3), (4, 4)]);
    assert_eq!(rig.count(Metric::JournalReads), 0);
}

#[test]
fn tags_and_publisher_come_back() {
    let mut rig = Rig::new();
    let (mut tags, mut info) = (Vec::new(), Vec::new());
    append_tag(&mut tags, "a", "b");
    ClientInfo {
        user: "u",
        client: "c",
        ..ClientInfo::default()
    }
    .append(&mut info);
    let publish = Publish {
        token: 1,
        hunt: "h",
        data: b"1",
        tags: &tags,
        info: &info,
        ..Publish::default()
    };
    rig.submit(0, Submission::Publish(publish));
    rig.run(0);
    let expected = r#"{"data":1,"info":{"user":"u","client":"c"},"offset":1,"tags":{"a":"b"}}"#;
    assert_eq!(rig.recover("h", "", 0).2, expected);
}

/// An event that skips the history reaches those who are there, has no offset, and is not kept.
#[test]
fn what_skips_the_history_is_not_kept() {
    let mut rig = rig_with_events(1, 2);
    let publish = Publish {
        token: 7,
        hunt: "h",
        data: b"0",
        skip_history: true,
        ..Publish::default()
    };
    rig.submit(0, Submission::Publish(publish));
    let got = rig.run(0);
    assert_eq!(events(&got), [0], "{got:?}");
    assert!(
        matches!(
            got[1],
            Got::Published {
                token: 7,
                offset: 0,
                ..
            }
        ),
        "{got:?}"
    );
    rig.publish(0, 8, "h", "2");
    assert_eq!(events(&rig.run(0)), [2]);
    assert_eq!(offsets(&rig.recover("h", "", 0).2), [1, 2]);
}

#[test]
fn history_pages() {
    let mut rig = rig_with_events(10, 8);
    let epoch = rig.epoch("h");
    let e = epoch.as_str();
    type Case<'a> = (i64, Option<(&'a str, u64)>, bool, &'a [u64]);
    let cases: &[Case<'_>] = &[
        (0, None, false, &[]),
        (-1, None, false, &[3, 4, 5, 6, 7, 8, 9, 10]),
        (3, None, false, &[3, 4, 5]),
        (3, None, true, &[10, 9, 8]),
        (-1, Some((e, 7)), false, &[8, 9, 10]),
        (2, Some((e, 7)), false, &[8, 9]),
        (-1, Some(("", 7)), false, &[8, 9, 10]),
        (2, Some((e, 7)), true, &[6, 5]),
        (-1, Some((e, 5)), true, &[4, 3]),
        (-1, Some((e, 10)), false, &[]),
        (-1, Some((e, 99)), false, &[]),
        (2, Some((e, 99)), true, &[10, 9]),
        (-1, Some((e, 0)), true, &[]),
        (1000, Some((e, 0)), false, &[3, 4, 5, 6, 7, 8, 9, 10]),
        (-1, Some((e, u64::MAX)), false, &[]),
    ];
    for &(limit, since, reverse, expected) in cases {
        let Got::History {
            top,
            epoch: got,
            page,
            ..
        } = rig.history(limit, since, reverse)
        else {
            panic!("{limit} {since:?}")
        };
        assert_eq!((top, got), (10, epoch.clone()));
        assert_eq!(offsets(&page), expected, "{limit} {since:?} {reverse}");
    }
    let refused = Got::Refused {
        token: 9,
        refusal: Refusal::UnrecoverablePosition,
    };
    assert_eq!(rig.history(-1, Some(("wrong", 7)), false), refused);
}

#[test]
fn many_who_ask_the_same_get_the_same() {
    let mut rig = rig_with_events(20, 1000);
    let ask = History {
        token: 2,
        hunt: "h",
        limit: -1,
        since: Some(("", 15)),
        ..History::default()
    };
    for _ in 0..20 {
        rig.submit(1, Submission::History(ask));
    }
    rig.take(1);
    let got = rig.run(1);
    assert_eq!(got.len(), 20);
    assert!(got.iter().all(|g| *g == got[0]));
    assert!(matches!(&got[0], Got::History { page, .. } if offsets(page) == [16, 17, 18, 19, 20]));
}
