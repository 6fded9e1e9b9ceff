//! Who is sending positions, how long each one's tail is, and the numbers that points arrive with.
//!
//! Bounded by [`PLAYERS_MAX`]. When it is full, one of [`ADMIT_EVERY`] messages of strangers takes the
//! place of somebody who has been quiet; the others are written all the same, and their tails get
//! somewhat longer until they are looked at. A player that left has its tail where it is; it is found
//! again by reading it, when the player is back.
//!
//! Numbers of arrival rise for each player from message to message, and over restarts (each run of the
//! journal has its own range, so that no clock has a say in it). Nobody shares them while known: in a
//! block, numbers one after the other cost nothing.

use std::collections::VecDeque;

use crate::journal::path::pack::TAIL_BYTES;

/// Players known: some 100 bytes each. More than there are players at a time on one appliance.
const PLAYERS_MAX: usize = 1 << 17;

/// Of messages of strangers, when all places are taken; a stranger's tail has to be read (some 50
/// microseconds), and its points are fewer than a tail until its turn comes.
const ADMIT_EVERY: u32 = 64;

/// Places looked at for one that has been quiet.
const LOOKS: usize = 64;

/// Numbers given to a player at once: 18 hours at a point a second.
const RANGE: u64 = 1 << 16;

/// Bits of a number within a run of the journal: 268 million ranges. Above them stands the run, of
/// which there may be a million.
const RUN_BITS: u32 = 44;

/// A player that sent points.
#[derive(Debug)]
struct Player {
    user: Box<str>,
    /// Numbers that are left of its range.
    arrivals: std::ops::Range<u64>,
    /// Of its tail; none until it was read.
    bytes: Option<usize>,
    /// It sent something since it was last looked at for its place.
    recent: bool,
    /// It is in the line of those whose tail is to be read.
    waits: bool,
}

/// See the module.
#[derive(Debug)]
pub(in crate::journal) struct Tails {
    index: ahash::HashMap<Box<str>, usize>,
    players: Vec<Player>,
    players_max: usize,
    /// The next place to look at.
    hand: usize,
    strangers: u32,
    next_arrival: u64,
    line: VecDeque<usize>,
}

impl Tails {
    /// Nobody is known in the `run`th run of this journal.
    pub(in crate::journal) fn new(run: u64) -> Tails {
        Tails::with_room(run, PLAYERS_MAX)
    }

    fn with_room(run: u64, players_max: usize) -> Tails {
        Tails {
            index: ahash::HashMap::default(),
            players: Vec::new(),
            players_max,
            hand: 0,
            strangers: 0,
            next_arrival: run.wrapping_shl(RUN_BITS),
            line: VecDeque::new(),
        }
    }

    /// Players known.
    pub(in crate::journal) fn count(&self) -> usize {
        self.players.len()
    }

    /// Players whose tail is to be read.
    pub(in crate::journal) fn waiting(&self) -> usize {
        self.line.len()
    }

    /// The number of the first of so many new points of `user`, which are a row of so many bytes.
    pub(in crate::journal) fn take(&mut self, user: &str, points: u64, bytes: usize) -> u64 {
        let Some(place) = self.place_of(user) else {
            let first = self.next_arrival;
            self.next_arrival += points;
            return first;
        };
        let player = &mut self.players[place];
        player.recent = true;
        if player.arrivals.end - player.arrivals.start < points {
            player.arrivals = self.next_arrival..self.next_arrival + RANGE.max(points);
            self.next_arrival = player.arrivals.end;
        }
        let first = player.arrivals.start;
        player.arrivals.start += points;
        player.bytes = player.bytes.map(|before| before + bytes);
        let read = player.bytes.is_none_or(|bytes| bytes >= TAIL_BYTES);
        if read && !std::mem::replace(&mut player.waits, true) {
            self.line.push_back(place);
        }
        first
    }

    /// The next player whose tail is to be read. It is to be told of the outcome by [`Self::set`].
    pub(super) fn next(&mut self) -> Option<(usize, &str)> {
        let place = self.line.pop_front()?;
        Some((place, &self.players[place].user))
    }

    /// The tail of the player at `place` has so many bytes; none if that is not known after all, and it
    /// has to be read again.
    pub(super) fn set(&mut self, place: usize, bytes: Option<usize>) {
        let player = &mut self.players[place];
        player.bytes = bytes;
        player.waits = bytes.is_none();
        if player.waits {
            self.line.push_back(place);
        }
    }

    fn place_of(&mut self, user: &str) -> Option<usize> {
        if let Some(&place) = self.index.get(user) {
            return Some(place);
        }
        let player = Player {
            user: user.into(),
            arrivals: 0..0,
            bytes: None,
            recent: true,
            waits: false,
        };
        let place = if self.players.len() < self.players_max {
            self.players.push(player);
            self.players.len() - 1
        } else {
            let place = self.quiet()?;
            let left = std::mem::replace(&mut self.players[place], player);
            self.index.remove(&left.user);
            place
        };
        self.index.insert(user.into(), place);
        Some(place)
    }

    /// A place that a stranger may have.
    fn quiet(&mut self) -> Option<usize> {
        self.strangers = self.strangers.wrapping_add(1);
        if !self.strangers.is_multiple_of(ADMIT_EVERY) {
            return None;
        }
        for _ in 0..LOOKS {
            self.hand = (self.hand + 1) % self.players.len();
            let player = &mut self.players[self.hand];
            if !std::mem::take(&mut player.recent) && !player.waits {
                return Some(self.hand);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_known_is_read_once_and_when_its_tail_is_long() {
        let mut tails = Tails::new(1);
        let first = tails.take("ann", 2, 60);
        assert_eq!(tails.take("ann", 1, 30), first + 2);
        assert_eq!(tails.next(), Some((0, "ann")));
        assert_eq!(tails.next(), None);
        tails.set(0, Some(TAIL_BYTES - 31));
        tails.take("ann", 1, 30);
        assert_eq!(tails.next(), None);
        tails.take("ann", 1, 1);
        tails.take("ann", 1, 1);
        assert_eq!(tails.next(), Some((0, "ann")));
        assert_eq!(tails.next(), None);
        // It could not be done: once more.
        tails.set(0, None);
        assert_eq!((tails.waiting(), tails.next()), (1, Some((0, "ann"))));
        tails.set(0, Some(0));
        tails.take("ann", 1, 1);
        assert_eq!(tails.next(), None);
    }

    #[test]
    fn numbers_rise_for_each_player_over_runs_and_ranges() {
        let mut last = [0, 0];
        for run in [0, 1, 2, 1_000_000] {
            let mut tails = Tails::with_room(run, 1);
            for step in 0..100_000 {
                for (user, last) in ["ann", "bob"].into_iter().zip(&mut last) {
                    let first = tails.take(user, 1 + step % 3, 1);
                    assert!(first > *last || run + step == 0, "{user} {first} {last}");
                    *last = first + step % 3;
                }
            }
        }
    }

    #[test]
    fn a_full_table_keeps_who_is_there_and_takes_some() {
        let mut tails = Tails::with_room(1, 4);
        let users: Vec<String> = (0..400).map(|n| n.to_string()).collect();
        for _ in 0..50 {
            users.iter().for_each(|user| _ = tails.take(user, 1, 1));
            while let Some((place, _)) = tails.next() {
                tails.set(place, Some(0));
            }
            assert_eq!((tails.count(), tails.index.len()), (4, 4));
        }
        assert!(!tails.index.contains_key("0"), "others had their turn");
        for (place, player) in tails.players.iter().enumerate() {
            assert_eq!(tails.index[&player.user], place);
        }
    }
}
