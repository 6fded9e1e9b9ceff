//! Players' paths: written with the events, read page by page, let go in time.

use super::*;
use crate::journal::memory_store::Fault;
use crate::path::{EXTRA_BYTES_MAX, PAGE_POINTS_MAX, USER_BYTES_MAX};
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
    // The next process adds to what is there and overwrites nothing, though the clock was set back.
    rig.wall_ms -= 500;
    send(&mut rig, Some(3), "ann", &[(at(5), 6)]);
    assert_eq!(rig.run(0), [Got::Done(3)]);
    rig.wall_ms = WALL_MS;
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

/// `count` points a second apart from `first_ms` on, in messages of ten; latitudes from `first_lat` on.
fn walk(rig: &mut Rig, user: &str, first_ms: u64, first_lat: i32, count: i32) -> Vec<(u64, i32)> {
    let point = |n: i32| (first_ms + u64::try_from(n).unwrap() * 1_000, first_lat + n);
    let points: Vec<_> = (0..count).map(point).collect();
    for message in points.chunks(10) {
        send(rig, None, user, message);
        rig.run(0);
    }
    points
}

#[test]
fn a_tail_becomes_blocks_and_the_path_stays_what_it_was() {
    let mut rig = Rig::new();
    let start = WALL_MS - 5_000_000;
    let mut all = walk(&mut rig, "ann", start, 0, 400);
    let blocks = rig.store.blocks();
    assert!(
        blocks.len() == 1 && (230..270).contains(&blocks[0]),
        "{blocks:?}"
    );
    assert_eq!(blocks[0] + rig.store.points(), 400);
    // Between those, some that came late, and some of the same times.
    all.extend(walk(&mut rig, "ann", start + 500, 1_000, 300));
    all.extend(walk(&mut rig, "ann", start + 100_000, 2_000, 300));
    all.extend(walk(&mut rig, "anna", start, 9_000, 300));
    let anna = all.split_off(1_000);
    all.sort_by_key(|point| point.0);
    assert!(rig.store.blocks().len() >= 4);
    assert_eq!(path(&mut rig, "ann"), all);
    assert_eq!(path(&mut rig, "anna"), anna);
    assert_eq!(
        rig.count(Metric::PathBlockPoints) + rig.store.points() as u64,
        1_300
    );
    assert_eq!(
        rig.count(Metric::PathBlocks),
        rig.store.blocks().len() as u64
    );
    assert!(rig.count(Metric::PathBytesPacked) < rig.count(Metric::PathBytesRaw) / 4);
    // Ranges, in pages of any size, over a restart.
    let mut rig = rig.restart();
    for (from, end, limit) in [
        (0, 1 << 50, 7),
        (150_000, 160_500, 3),
        (399_000, 1 << 50, 1_000),
    ] {
        let (from, end) = (start + from, start + end);
        let wanted: Vec<_> = all
            .iter()
            .copied()
            .filter(|p| (from..end).contains(&p.0))
            .collect();
        let (mut got, mut next) = (Vec::new(), Some(Place::at(from)));
        while let Some(place) = next {
            let Got::Path {
                points, next: more, ..
            } = page(&mut rig, "ann", place, Place::at(end), limit)
            else {
                panic!();
            };
            got.extend(points);
            next = more;
        }
        assert_eq!(got, wanted, "{from} {end} {limit}");
    }
}

/// A page that was asked for before its points moved into a block goes on at the same point.
#[test]
fn a_cursor_outlives_its_tail() {
    let mut rig = Rig::new();
    send(
        &mut rig,
        None,
        "ann",
        &[(WALL_MS, 1), (WALL_MS, 2), (WALL_MS, 3)],
    );
    rig.run(0);
    let end = Place::at(u64::MAX);
    let Got::Path { points, next, .. } = page(&mut rig, "ann", Place::at(0), end, 2) else {
        panic!();
    };
    assert_eq!(points, [(WALL_MS, 1), (WALL_MS, 2)]);
    walk(&mut rig, "ann", WALL_MS, 10, 300);
    assert_eq!(rig.store.blocks().len(), 1);
    let Got::Path { points, .. } = page(&mut rig, "ann", next.unwrap(), end, 2) else {
        panic!();
    };
    assert_eq!(points, [(WALL_MS, 3), (WALL_MS, 10)]);
}

#[test]
fn a_block_that_cannot_be_written_leaves_the_tail() {
    for fault in [Fault::Commit, Fault::CommitAfterWrite] {
        let mut rig = Rig::new();
        let mut all = walk(&mut rig, "ann", WALL_MS, 0, 230);
        assert_eq!(rig.store.blocks(), [0; 0]);
        // The message that fills the tail is written; what follows it is not.
        let more: Vec<_> = (230..260).map(|n| (WALL_MS + 300_000, n)).collect();
        all.extend(&more);
        send(&mut rig, Some(1), "ann", &more);
        rig.core.turn(rig.now, rig.wall_ms);
        let before = rig.store.blocks().len();
        rig.store.set_fault(fault);
        let errors = rig.count(Metric::JournalStoreErrors);
        rig.run(0);
        rig.store.set_fault(Fault::None);
        assert_eq!(path(&mut rig, "ann"), all, "{fault:?}");
        rig.wait(1_000);
        rig.run(0);
        assert_eq!(rig.store.blocks(), [260], "{before} {errors}");
        assert_eq!(rig.store.points(), 0);
        assert_eq!(path(&mut rig, "ann"), all, "{fault:?}");
    }
}

#[test]
fn a_tail_is_found_again_by_the_next_process() {
    let mut rig = Rig::new();
    let mut all = walk(&mut rig, "ann", WALL_MS, 0, 200);
    let mut rig = rig.restart();
    assert_eq!(rig.store.blocks(), [0; 0]);
    rig.wait(10_000);
    all.extend(walk(&mut rig, "ann", WALL_MS + 200_000, 200, 60));
    let blocks: usize = rig.store.blocks().iter().sum();
    assert_eq!(blocks + rig.store.points(), 260);
    assert!(blocks > 230, "both processes' points");
    assert_eq!(path(&mut rig, "ann"), all);
}

#[test]
fn a_damaged_block_is_counted_and_the_rest_is_shown() {
    let mut rig = Rig::new();
    walk(&mut rig, "ann", WALL_MS - 400_000, 0, 300);
    rig.store.damage_blocks();
    send(&mut rig, None, "ann", &[(WALL_MS, 7)]);
    rig.run(0);
    let rest = path(&mut rig, "ann");
    assert_eq!(rest.last(), Some(&(WALL_MS, 7)));
    assert!(rest.len() < 300);
    assert!(rig.count(Metric::PathBlocksDamaged) > 0);
}

#[test]
fn what_is_far_apart_comes_into_several_blocks() {
    let mut rig = Rig::new();
    let hour = 3_600_000;
    let point = |n: i32| (WALL_MS - u64::try_from(n % 40).unwrap() * hour, n);
    let mut all: Vec<_> = (0..280).map(point).collect();
    for message in all.chunks(20) {
        send(&mut rig, None, "ann", message);
    }
    rig.run(0);
    assert!(
        (6..=8).contains(&rig.store.blocks().len()),
        "{:?}",
        rig.store.blocks()
    );
    all.sort_by_key(|point| point.0);
    assert_eq!(path(&mut rig, "ann"), all);
    let (from, end) = (
        Place::at(WALL_MS - 20 * hour),
        Place::at(WALL_MS - 10 * hour),
    );
    let Got::Path { points, .. } = page(&mut rig, "ann", from, end, 1_000) else {
        panic!();
    };
    let wanted: Vec<_> = all
        .into_iter()
        .filter(|point| (from.time_ms..end.time_ms).contains(&point.0))
        .collect();
    assert_eq!(points, wanted);
}

/// Points as long as they may be, none like another.
#[test]
fn long_points_are_few_to_a_block() {
    let mut rig = Rig::new();
    let texts: Vec<String> = (0..40)
        .map(|n| format!("{{\"n{n}\":{}}}", "7,".repeat(250)))
        .collect();
    let mut list = Vec::new();
    for text in &texts {
        let extra = &text.as_bytes()[..text.len().min(EXTRA_BYTES_MAX)];
        let (time_ms, lat_e7) = (WALL_MS, 1);
        Point {
            time_ms,
            lat_e7,
            lon_e7: 2,
            extra,
        }
        .append(&mut list);
    }
    let (user, points) = ("ann", &list[..]);
    let positions = Positions {
        token: None,
        user,
        points,
    };
    rig.submit(0, Submission::Positions(positions));
    rig.run(0);
    assert_eq!(rig.store.blocks(), [40]);
    assert_eq!(path(&mut rig, "ann").len(), 40);
}

#[test]
fn old_blocks_go_as_a_whole_and_old_tails_too() {
    let mut settings = config(1000, DAY_MS);
    settings.retention.paths = PathRule {
        ttl_ms: 600_000,
        points_max: 500,
    };
    let mut rig = Rig::with(MemoryStore::default(), settings, 4 << 20);
    let start = WALL_MS - 599_000;
    for (user, count) in [
        ("", 0),
        ("a", 10),
        ("ann", 900),
        ("bob", 300),
        ("zoe", 1_200),
    ] {
        let points: Vec<_> = (0..count).map(|n| (start, n)).collect();
        for message in points.chunks(20) {
            send(&mut rig, None, user, message);
            rig.run(0);
        }
    }
    let kept = |rig: &mut Rig, user: &str| path(rig, user).len();
    assert_eq!(kept(&mut rig, "zoe"), 1_200);
    let walked = |rig: &mut Rig, ms: u64| {
        rig.wall_ms += ms;
        for _ in 0..300 {
            rig.now = rig.now + Micros::from_millis(100);
            rig.turn();
        }
    };
    walked(&mut rig, 0);
    // Not fewer than are to be kept; a block and a tail more at most.
    for (user, least, most) in [
        ("a", 10, 10),
        ("ann", 500, 900),
        ("bob", 300, 300),
        ("zoe", 500, 1_000),
    ] {
        let count = kept(&mut rig, user);
        assert!((least..=most).contains(&count), "{user}: {count}");
    }
    assert!(kept(&mut rig, "zoe") < 1_200);
    let newest = path(&mut rig, "zoe").last().copied();
    assert_eq!(newest, Some((start, 1_199)));
    assert!(rig.count(Metric::PathsTrimmed) > 0);
    // Not seen from one moment to the next, and gone later.
    rig.wall_ms = start + 599_999;
    assert_eq!(kept(&mut rig, "bob"), 300);
    rig.wall_ms = start + 600_000;
    assert_eq!(kept(&mut rig, "bob"), 0);
    send(&mut rig, None, "bob", &[(0, 7)]);
    rig.run(0);
    walked(&mut rig, 0);
    assert_eq!((rig.store.points(), rig.store.blocks()), (1, vec![]));
    assert_eq!(path(&mut rig, "bob"), [(start + 600_000, 7)]);
}
