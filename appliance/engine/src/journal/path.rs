//! Players' paths in the journal: how long points are kept, and how a page is read.
//!
//! Points are written with the events of their turn, in the same batch and sync (`super::draft`), as a row
//! of their user's tail. [`tails`] knows how long tails are, [`pack`] makes blocks of long ones, [`trim`]
//! lets old ones go. A reader never sees a point older than [`PathRule::ttl_ms`].
//!
//! A block covers at most [`SPAN_MS_MAX`], and blocks are sorted by their last point: points that came
//! late make blocks that overlap, and a page has to look at no more than that much of what follows it.

pub(super) mod pack;
pub(super) mod tails;
pub(super) mod trim;

use std::ops::Range;

use crate::journal::store::{Direction, PathPart, StoreError, StoreReader};
use crate::path::block::{self, Head};
use crate::path::{self, PAGE_POINTS_MAX, Place, Point};

/// Time that a block covers at most. Less cuts the blocks of who sends a point in minutes, more is more
/// keys to look at for each page: at a point a second some 170.
pub(super) const SPAN_MS_MAX: u64 = 6 * 3_600 * 1_000;

/// How far a point may lie in the future: phones' clocks are not exact.
const AHEAD_MS_MAX: u64 = 5 * 60 * 1_000;

/// What is kept of a user's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathRule {
    /// Milliseconds from a point's time on.
    pub ttl_ms: u64,
    /// Points, the newest ones.
    pub points_max: u64,
}

impl Default for PathRule {
    /// A week, and a point a second for a day of it.
    fn default() -> PathRule {
        PathRule {
            ttl_ms: 7 * 86_400_000,
            points_max: 100_000,
        }
    }
}

impl PathRule {
    /// The first time that is still seen at `wall_ms`.
    pub(super) fn first_ms(self, wall_ms: u64) -> u64 {
        (wall_ms + 1).saturating_sub(self.ttl_ms)
    }

    /// Whether a point of `time_ms` is taken at `wall_ms`.
    pub(super) fn takes(self, time_ms: u64, wall_ms: u64) -> bool {
        (self.first_ms(wall_ms)..=wall_ms.saturating_add(AHEAD_MS_MAX)).contains(&time_ms)
    }
}

/// What a page holds: the places wanted, and how many at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) from: Place,
    pub(super) end: Place,
    pub(super) limit: usize,
}

impl Wanted {
    fn has(&self, place: Place) -> bool {
        (self.from..self.end).contains(&place)
    }
}

/// What a read found, besides the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Where to go on.
    pub(super) next: Option<Place>,
    /// Blocks that could not be read; their points are missing.
    pub(super) damaged: u64,
}

/// Points that may be on the page, and the bytes of what else they say.
#[derive(Debug, Default)]
struct Heap {
    points: Vec<(Place, i32, i32, Range<usize>)>,
    extras: Vec<u8>,
}

impl Heap {
    fn add(&mut self, place: Place, point: &Point<'_>) {
        let start = self.extras.len();
        self.extras.extend_from_slice(point.extra);
        let extra = start..self.extras.len();
        self.points.push((place, point.lat_e7, point.lon_e7, extra));
    }
}

/// A block that may have points of the page.
struct Candidate {
    last: Place,
    head: Head,
    body: Vec<u8>,
}

/// Replaces `page` by the wanted points of `user`'s path in the order of their places.
pub(super) fn read<S: StoreReader>(
    store: &S,
    user: &str,
    wanted: Wanted,
    page: &mut Vec<u8>,
) -> Result<Found, StoreError> {
    page.clear();
    let limit = wanted.limit.min(PAGE_POINTS_MAX);
    let mut heap = Heap::default();
    // The tail first: a tail that becomes a block meanwhile is found twice, and not missed.
    for_each_of_tail(store, user, &mut |_, place, point| {
        if wanted.has(place) {
            heap.add(place, &point);
        }
    })?;
    let (blocks, mut damaged) = candidates(store, user, wanted, limit)?;
    let mut body = Vec::new();
    for block in blocks {
        body.clear();
        let whole = store.unpack(&block.body, &mut body).is_ok_and(|()| {
            let shown = block::decode(block.head, block.last, &body, &mut |placed| {
                if wanted.has(placed.place) {
                    heap.add(placed.place, &placed.point);
                }
                true
            });
            shown.is_ok()
        });
        damaged += u64::from(!whole);
    }
    let Heap { mut points, extras } = heap;
    points.sort_unstable_by_key(|point| point.0);
    points.dedup_by_key(|point| point.0);
    for &(place, lat_e7, lon_e7, ref extra) in points.iter().take(limit) {
        let point = Point {
            time_ms: place.time_ms,
            lat_e7,
            lon_e7,
            extra: extras.get(extra.clone()).unwrap_or_default(),
        };
        point.append(page);
    }
    let next = points.get(limit).map(|point| point.0);
    Ok(Found { next, damaged })
}

/// Shows the key of each point's row, its place, and the point, in the order of arrival.
fn for_each_of_tail<S: StoreReader>(
    store: &S,
    user: &str,
    visit: &mut dyn FnMut(&[u8], Place, Point<'_>),
) -> Result<(), StoreError> {
    let (mut from, mut end) = (Vec::new(), Vec::new());
    path::append_row_key(user, 0, &mut from);
    path::append_row_key(user, u64::MAX, &mut end);
    let keys = from.as_slice()..end.as_slice();
    store.read_paths(
        PathPart::Tails,
        keys,
        Direction::Forward,
        &mut |key, row| {
            if let Some((_, first)) = path::from_row_key(key) {
                for (arrival, point) in (first..).zip(Point::list(row)) {
                    let time_ms = point.time_ms;
                    visit(key, Place { time_ms, arrival }, point);
                }
            }
            true
        },
    )
}

/// The blocks that have the first `limit` wanted points and the one behind them, and how many are
/// damaged. Goes by heads alone: as soon as blocks that lie in the wanted range as a whole have enough
/// points, nothing behind the last of those is needed.
fn candidates<S: StoreReader>(
    store: &S,
    user: &str,
    wanted: Wanted,
    limit: usize,
) -> Result<(Vec<Candidate>, u64), StoreError> {
    let (mut from, mut end) = (Vec::new(), Vec::new());
    Place::at(wanted.from.time_ms).append_key(user, &mut from);
    let end_ms = wanted.end.time_ms.saturating_add(SPAN_MS_MAX);
    Place {
        time_ms: end_ms,
        arrival: u64::MAX,
    }
    .append_key(user, &mut end);
    let (mut blocks, mut damaged) = (Vec::new(), 0);
    let (mut whole, mut needed_ms) = (0, wanted.end.time_ms);
    let keys = from.as_slice()..end.as_slice();
    store.read_paths(
        PathPart::Blocks,
        keys,
        Direction::Forward,
        &mut |key, value| {
            let parsed = Place::from_key(key).map(|(_, last)| (last, Head::take(value)));
            let Some((last, Ok((head, body)))) = parsed else {
                damaged += 1;
                return true;
            };
            if last.time_ms.saturating_sub(SPAN_MS_MAX) > needed_ms {
                return false;
            }
            let first_ms = last.time_ms.saturating_sub(head.span_ms);
            if first_ms <= needed_ms {
                let body = body.to_vec();
                blocks.push(Candidate { last, head, body });
            }
            if first_ms > wanted.from.time_ms && whole <= limit {
                whole += head.count;
                if whole > limit {
                    needed_ms = needed_ms.min(last.time_ms);
                }
            }
            true
        },
    )?;
    Ok((blocks, damaged))
}
