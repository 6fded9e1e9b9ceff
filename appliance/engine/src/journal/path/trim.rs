//! Old ends of paths are removed, late and in small steps.
//!
//! Two walks, each from the last key to the first, one after the other. Over the blocks: it meets each
//! user's newest first and knows where the path has to end; blocks go whole, so that a path keeps up to a
//! block more than [`PathRule::points_max`], and its tail. Over the tails: a row goes when all its points
//! are too old, which is so for who has not been seen for long. A step looks at [`LOOKS_PER_STEP`] entries
//! every [`STEP_PERIOD`].

use crate::journal::path::PathRule;
use crate::journal::store::{Batch, Direction, PathPart, Store, StoreError};
use crate::path::block::Head;
use crate::path::{Place, Point};
use crate::units::Micros;

/// Time between two steps of the walk. With [`LOOKS_PER_STEP`] it costs the journal's core about one
/// percent, and sees ten thousand entries a second.
const STEP_PERIOD: Micros = Micros::from_millis(100);

/// Time between the end of a walk and the next one: an idle store is left alone.
const WALK_PERIOD: Micros = Micros::from_secs(10);

/// Entries looked at a step: some 300 microseconds that an event may have to wait.
const LOOKS_PER_STEP: usize = 1_024;

/// Paths cut a step.
const CUTS_PER_STEP: usize = 16;

/// Above every key: no user id has this byte in it (it is UTF-8), and none is so long.
const END: &[u8] = &[0xff, 0xff];

/// Where the walk is.
#[derive(Debug, Default)]
pub(in crate::journal) struct PathTrimmer {
    due: Micros,
    /// It is over the tails.
    in_tails: bool,
    /// The key below which it goes on; empty when it begins.
    below: Vec<u8>,
    /// The part of the key that stands for the user it is in.
    user: Vec<u8>,
    /// Points of that user seen.
    seen: u64,
    cuts: usize,
    batch: Batch,
}

impl PathTrimmer {
    /// Goes on a little if it is time; answers how often it cut something off.
    pub(in crate::journal) fn step<S: Store>(
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
        self.batch.clear();
        self.cuts = 0;
        let mut left = LOOKS_PER_STEP;
        let first_ms = rule.first_ms(wall_ms);
        let mut more = true;
        while more && left > 0 && self.cuts < CUTS_PER_STEP {
            more = match self.in_tails {
                true => self.look_at_tails(store, first_ms, &mut left)?,
                false => self.look_at_blocks(store, rule, first_ms, &mut left)?,
            };
        }
        if !self.batch.is_empty() {
            store.commit(&self.batch, false)?;
        }
        if !more {
            if self.in_tails {
                self.due = now + WALK_PERIOD;
            }
            self.in_tails = !self.in_tails;
        }
        Ok(self.cuts as u64)
    }

    /// Takes the key to go on below; a new walk begins above all.
    fn take_below(&mut self) -> Vec<u8> {
        let mut below = std::mem::take(&mut self.below);
        if below.is_empty() {
            below.extend_from_slice(END);
            self.user.clear();
            self.seen = 0;
        }
        below
    }

    /// Walks until a path has to be cut; answers whether there is more to walk.
    fn look_at_blocks<S: Store>(
        &mut self,
        store: &mut S,
        rule: PathRule,
        first_ms: u64,
        left: &mut usize,
    ) -> Result<bool, StoreError> {
        let below = self.take_below();
        let keys = [].as_slice()..below.as_slice();
        store.read_paths(
            PathPart::Blocks,
            keys,
            Direction::Backward,
            &mut |key, value| {
                if *left == 0 {
                    return false;
                }
                *left -= 1;
                self.below.clear();
                self.below.extend_from_slice(key);
                let Some((user, last)) = Place::from_key(key) else {
                    return true;
                };
                if *user != *self.user {
                    self.user = user.to_vec();
                    self.seen = 0;
                }
                if self.seen >= rule.points_max || last.time_ms < first_ms {
                    // From the user's first key on; none is shorter than the part that stands for it.
                    self.batch.trim_path(&self.user, &[key, &[0]].concat());
                    self.cuts += 1;
                    self.below.clone_from(&self.user);
                    return false;
                }
                self.seen += Head::take(value).map_or(1, |(head, _)| head.count as u64);
                true
            },
        )?;
        Ok(!self.below.is_empty())
    }

    /// Walks as far as it may; answers whether there is more to walk.
    fn look_at_tails<S: Store>(
        &mut self,
        store: &mut S,
        first_ms: u64,
        left: &mut usize,
    ) -> Result<bool, StoreError> {
        let below = self.take_below();
        let keys = [].as_slice()..below.as_slice();
        store.read_paths(
            PathPart::Tails,
            keys,
            Direction::Backward,
            &mut |key, row| {
                if *left == 0 {
                    return false;
                }
                *left -= 1;
                self.below.clear();
                self.below.extend_from_slice(key);
                if Point::list(row).all(|point| point.time_ms < first_ms) {
                    self.batch.drop_path(PathPart::Tails, key);
                    self.cuts += 1;
                }
                true
            },
        )?;
        // It ended by itself before it had looked at all it may: that was the first key.
        if *left > 0 {
            self.below.clear();
        }
        Ok(!self.below.is_empty())
    }
}
