//! Players' paths in the journal: how long points are kept, how a page is read, how old ones go.
//!
//! Points are written with the events of their turn, in the same batch and sync (`super::draft`). A
//! reader never sees one older than [`PathRule::ttl_ms`]. Removal gives the disk back, late and in small
//! steps: a walk over all paths from the last key to the first, so that it meets each user's newest
//! point first and knows where the path has to end. It looks at [`POINTS_PER_STEP`] points every
//! [`STEP_PERIOD`]; until it has come by, a user may have more than [`PathRule::points_max`].

use crate::journal::store::{Batch, Direction, Store, StoreError, StoreReader};
use crate::path::{PAGE_POINTS_MAX, Place, Point};
use crate::units::Micros;

/// Time between two steps of the walk. With [`POINTS_PER_STEP`] it costs the journal's core about one
/// percent, and sees ten thousand points a second.
const STEP_PERIOD: Micros = Micros::from_millis(100);

/// Time between the end of a walk and the next one: an idle store is left alone.
const WALK_PERIOD: Micros = Micros::from_secs(10);

/// Points looked at a step: some 300 microseconds that an event may have to wait.
const POINTS_PER_STEP: usize = 1_024;

/// Paths cut a step.
const CUTS_PER_STEP: usize = 16;

/// How far a point may lie in the future: phones' clocks are not exact.
const AHEAD_MS_MAX: u64 = 5 * 60 * 1_000;

/// Above every key: no user id has this byte in it (it is UTF-8).
const END: &[u8] = &[0xff, 0xff];

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

/// Replaces `page` by the wanted points of `user`'s path; answers where to go on.
pub(super) fn read<R: StoreReader>(
    store: &R,
    user: &str,
    wanted: Wanted,
    page: &mut Vec<u8>,
) -> Result<Option<Place>, StoreError> {
    page.clear();
    let (mut from, mut end) = (Vec::new(), Vec::new());
    wanted.from.append_key(user, &mut from);
    wanted.end.append_key(user, &mut end);
    let limit = wanted.limit.min(PAGE_POINTS_MAX);
    let (mut count, mut next) = (0, None);
    let keys = from.as_slice()..end.as_slice();
    store.read_paths(keys, Direction::Forward, &mut |key, value| {
        let Some((_, place)) = Place::from_key(key) else {
            return true;
        };
        if count == limit {
            next = Some(place);
            return false;
        }
        // One that does not parse is of no use to anybody.
        if let Some(point) = Point::from_value(place.time_ms, value) {
            point.append(page);
        }
        count += 1;
        true
    })?;
    Ok(next)
}

/// Where the walk is.
#[derive(Debug, Default)]
pub(super) struct PathTrimmer {
    due: Micros,
    /// The key below which it goes on; empty when it begins.
    below: Vec<u8>,
    /// The part of the key that stands for the user it is in.
    user: Vec<u8>,
    /// Points of that user seen.
    seen: u64,
    /// First key that goes, and first key that stays.
    cuts: Vec<(Vec<u8>, Vec<u8>)>,
    batch: Batch,
}

impl PathTrimmer {
    /// Goes on a little if it is time; answers how many paths it cut.
    pub(super) fn step<S: Store>(
        &mut self,
        store: &mut S,
        rule: PathRule,
        now: Micros,
        wall_ms: u64,
    ) -> Result<u64, StoreError> {
        if now < self.due {
            return Ok(0);
        }
        self.due = now + STEP_PERIOD;
        self.cuts.clear();
        let mut left = POINTS_PER_STEP;
        while left > 0 && self.cuts.len() < CUTS_PER_STEP {
            if !self.look(store, rule, wall_ms, &mut left)? {
                break;
            }
        }
        if !self.cuts.is_empty() {
            self.batch.clear();
            for (from, end) in &self.cuts {
                self.batch.trim_path(from, end);
            }
            store.commit(&self.batch, false)?;
        }
        if self.below.is_empty() {
            self.due = now + WALK_PERIOD;
        }
        Ok(self.cuts.len() as u64)
    }

    /// Walks until a path has to be cut; answers whether there is more to walk.
    fn look<S: Store>(
        &mut self,
        store: &mut S,
        rule: PathRule,
        wall_ms: u64,
        left: &mut usize,
    ) -> Result<bool, StoreError> {
        let mut below = std::mem::take(&mut self.below);
        if below.is_empty() {
            below.extend_from_slice(END);
            self.user.clear();
            self.seen = 0;
        }
        let first_ms = rule.first_ms(wall_ms);
        let keys = [].as_slice()..below.as_slice();
        store.read_paths(keys, Direction::Backward, &mut |key, _| {
            if *left == 0 {
                return false;
            }
            *left -= 1;
            self.below.clear();
            self.below.extend_from_slice(key);
            let Some((user, place)) = Place::from_key(key) else {
                return true;
            };
            if *user != *self.user {
                self.user = user.to_vec();
                self.seen = 0;
            }
            self.seen += 1;
            if self.seen <= rule.points_max && place.time_ms >= first_ms {
                return true;
            }
            // From the user's first key on; none is shorter than the part that stands for it.
            let end = [key, &[0]].concat();
            self.cuts.push((self.user.clone(), end));
            self.below.clone_from(&self.user);
            false
        })?;
        Ok(!self.below.is_empty())
    }
}
