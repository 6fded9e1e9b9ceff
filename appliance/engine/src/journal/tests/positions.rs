//! Players' paths: written with the events, read page by page, let go in time.

use super::*;
use crate::journal::memory_store::Fault;
use crate::path::{PAGE_POINTS_MAX, USER_BYTES_MAX};
use crate::ring::submit::{Path, Positions};

const WALL_MS: u64 = 1_700_000_000_000;

/// Sends points of `user`: time (0 for none given) and latitude.
fn send(rig: &mut Rig, token: Option<u64>, user: &str, points: &[(u64, i32)]) {
    let mut list = Vec::new();
    for &(time_ms, lat_e7) in points {
        let point = Point {
            time_ms,
            lat_e7,
            ..Point::default()
        };
        point.append(&mut list);
    }
    let points = &list;
    let positions = Positions {
        token,
        user,
        points,
    };
    rig.submit(0, Submission::Positions(positions));
}

fn page(rig: &mut Rig, user: &str, from: Place, end: Place, limit: usize) -> Got {
    let ask = Path {
        token: 9,
        user,
        from,
        end,
        limit,
    };
    rig.submit(CONTROL, Submission::Path(ask));
    rig.run(CONTROL).pop().unwrap()
}

/// All that is seen of a path.
fn path(rig: &mut Rig, user: &str) -> Vec<(u64, i32)> {
    let (mut all, mut from) = (Vec::new(), Place::at(0));
    loop {
        match page(rig, user, from, Place::at(u64::MAX), 3) {
            Got::Path { points, next, .. } => {
                all.extend(points);
                match next {
                    Some(next) => from = next,
                    None => return all,
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_path_is_in_order_and_survives_a_crash_once_it_is_answered() {
    let mut rig = Rig::new();
    let at = |ms: u64| WALL_MS - 1_000 + ms;
    let before = rig.store.commits();
    send(&mut rig, Some(1), "ann", &[(at(5), 1), (at(3), 2), (0, 3)]);
    send(&mut rig, Some(2), "ann", &[(at(5), 4)]);
    send(&mut rig, None, "annabel", &[(at(4), 5)]);
    assert_eq!(rig.run(0), [Got::Done(1), Got::Done(2)]);
    assert_eq!(rig.store.commits() - before, 1, "one batch for all");
    rig.store.crash_host();
    let mut rig = rig.restart();
    let ann = [(at(3), 2), (at(5), 1), (at(5), 4), (WALL_MS, 3)];
    assert_eq!(path(&mut rig, "ann"), ann);
    assert_eq!(path(&mut rig, "annabel"), [(at(4), 5)]);
    assert_eq!(path(&mut rig, "an"), []);
    // The next process adds to what is there and overwrites nothing; it starts a while later.
    rig.wait(1);
    send(&mut rig, Some(3), "ann", &[(at(5), 6)]);
    assert_eq!(rig.run(0), [Got::Done(3)]);
    assert_eq!(
        path(&mut rig, "ann")[1..4],
        [(at(5), 1), (at(5), 4), (at(5), 6)]
    );
    // A range: from the first to the last, and pages that go on where the last one ended.
    let (from, end) = (Place::at(at(4)), Place::at(at(6)));
    let Got::Path { points, next, .. } = page(&mut rig, "ann", from, end, 2) else {
        panic!();
    };
    assert_eq!(points, [(at(5), 1), (at(5), 4)]);
    let wanted = Got::Path {
        token: 9,
        points: vec![(at(5), 6)],
        next: None,
    };
    assert_eq!(page(&mut rig, "ann", next.unwrap(), end, 2), wanted);
}

#[test]
fn what_could_not_be_is_refused_whole() {
    let mut rig = Rig::new();
    let day = rig.core.config.retention.paths.ttl_ms;
    let long = "x".repeat(USER_BYTES_MAX + 1);
    for (user, times, good) in [
        ("ann", vec![WALL_MS - day + 1, WALL_MS + 300_000], true),
        ("ann", vec![WALL_MS, WALL_MS - day], false),
        ("ann", vec![WALL_MS + 300_001], false),
        ("", vec![WALL_MS], false),
        (&long[1..], vec![WALL_MS], true),
        (&long, vec![WALL_MS], false),
    ] {
        let before = rig.store.points();
        let points: Vec<_> = times.iter().map(|&time| (time, 7)).collect();
        send(&mut rig, Some(1), user, &points);
        send(&mut rig, None, user, &points);
        let refused = Got::Refused {
            token: 1,
            refusal: Refusal::BadRequest,
        };
        let wanted = if good { Got::Done(1) } else { refused };
        assert_eq!(rig.run(0), [wanted], "{times:?}");
        let written = rig.store.points() - before;
        assert_eq!(written, if good { times.len() * 2 } else { 0 });
    }
    assert_eq!(rig.count(Metric::PathPoints), 6);
    assert_eq!(rig.count(Metric::PathPointsInvalid), 10);
    let refused = Got::Refused {
        token: 9,
        refusal: Refusal::BadRequest,
    };
    let all = (Place::at(0), Place::at(u64::MAX));
    assert_eq!(page(&mut rig, &long, all.0, all.1, 1), refused);
    assert_eq!(page(&mut rig, "ann", all.0, all.1, 0), refused);
}

#[test]
fn a_batch_that_fails_leaves_no_points() {
    for fault in [Fault::Commit, Fault::CommitAfterWrite] {
        let mut rig = Rig::new();
        rig.store.set_fault(fault);
        let refused = |token| Got::Refused {
            token,
            refusal: Refusal::Unavailable,
        };
        send(&mut rig, Some(1), "ann", &[(0, 1)]);
        send(&mut rig, None, "ann", &[(0, 2), (0, 3)]);
        assert_eq!(rig.run(0), [refused(1)]);
        send(&mut rig, Some(2), "ann", &[(0, 4)]);
        assert_eq!(rig.run(0), [refused(2)], "not even tried");
        assert_eq!(rig.count(Metric::PathPointsLost), 2);
        rig.store.set_fault(Fault::None);
        rig.wait(1_100);
        rig.turn();
        assert_eq!(rig.store.points(), 0, "{fault:?}");
        send(&mut rig, Some(3), "ann", &[(0, 5)]);
        assert_eq!(rig.run(0), [Got::Done(3)]);
        assert_eq!(path(&mut rig, "ann").len(), 1);
    }
}

#[test]
fn a_page_is_bounded() {
    let mut rig = Rig::new();
    for _ in 0..11 {
        send(&mut rig, None, "ann", &[(0, 1); 100]);
    }
    rig.run(0);
    let (from, end) = (Place::at(0), Place::at(u64::MAX));
    let Got::Path { points, next, .. } = page(&mut rig, "ann", from, end, usize::MAX) else {
        panic!();
    };
    assert_eq!(points.len(), PAGE_POINTS_MAX);
    let Got::Path { points, next, .. } = page(&mut rig, "ann", next.unwrap(), end, 1_000) else {
        panic!();
    };
    assert_eq!((points.len(), next), (100, None));
}

#[test]
fn old_points_are_not_seen_and_go() {
    let mut settings = config(1000, DAY_MS);
    settings.retention.paths = PathRule {
        ttl_ms: 60_000,
        points_max: 5,
    };
    let mut rig = Rig::with(MemoryStore::default(), settings, 4 << 20);
    let points = |count: i32| (0..count).map(|lat| (0, lat)).collect::<Vec<_>>();
    for (user, count) in [("", 1), ("a", 5), ("ann", 8), ("bob", 1), ("zoe", 6)] {
        send(&mut rig, None, user, &points(count));
    }
    rig.run(0);
    // A user in the middle of the walk, and the last one: each keeps its newest.
    rig.wait(20_000);
    for _ in 0..200 {
        rig.wait(100);
        rig.turn();
    }
    assert_eq!(rig.store.points(), 5 + 5 + 1 + 5);
    let lats = |path: Vec<(u64, i32)>| path.into_iter().map(|point| point.1).collect::<Vec<_>>();
    assert_eq!(lats(path(&mut rig, "ann")), [3, 4, 5, 6, 7]);
    assert_eq!(lats(path(&mut rig, "zoe")), [1, 2, 3, 4, 5]);
    assert_eq!(rig.count(Metric::PathsTrimmed), 2);
    // Too old ones are not seen from one moment to the next, and are gone later.
    rig.wall_ms = WALL_MS + 59_999;
    send(&mut rig, None, "bob", &[(0, 7)]);
    rig.run(0);
    assert_eq!(lats(path(&mut rig, "bob")), [0, 7]);
    rig.wall_ms = WALL_MS + 60_000;
    assert_eq!(lats(path(&mut rig, "bob")), [7]);
    for _ in 0..300 {
        rig.wait(100);
        rig.turn();
    }
    assert_eq!(rig.store.points(), 1);
}
