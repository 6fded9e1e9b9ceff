//! The walk over a hunt's subscribers after its log grew.
//!
//! Emission is by pull: an event only advances the log and requests a walk. The walk visits each
//! subscriber in slot order and lets it take what it has window for; whoever has none takes a longer
//! run later, when its acknowledgement comes. So pressure coalesces events by itself.
//!
//! A walk can stop anywhere (no TX frame, turn budget spent) and goes on from there. Events that
//! come while a walk is under way reach those ahead of it at once and the others in one more round.
//! Hunts take turns: a walk that used up its share goes to the back of the queue. What is shared out is
//! frames, not visits: a crowd that catches up takes many frames a visit.

use std::collections::VecDeque;

/// Frames one hunt may send before the next hunt's walk goes on; a visit counts as one at least. With more,
/// small hunts wait behind a large one (1024: 100 ms beside 10,000 that catch up); with fewer, a walk jumps
/// about in memory.
const SHARE: usize = 64;

#[derive(Debug, Clone, Copy, Default)]
struct Walk {
    /// On the queue.
    queued: bool,
    /// The log grew after the walk had passed someone.
    again: bool,
    /// Next subscriber to visit.
    index: usize,
    /// Frames left before the next hunt's turn.
    share: usize,
}

/// The walks of one core. Bound: one entry a hunt.
#[derive(Debug)]
pub struct Walks {
    walks: Vec<Walk>,
    queue: VecDeque<u32>,
    /// The walk that visited somebody last.
    last: usize,
}

impl Walks {
    pub(super) fn new(hunts: usize) -> Walks {
        Walks {
            walks: vec![Walk::default(); hunts],
            queue: VecDeque::with_capacity(hunts),
            last: 0,
        }
    }

    /// Whether no walk is due.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// The log of `stream` grew.
    pub(super) fn request(&mut self, stream: u32) {
        let walk = &mut self.walks[stream as usize];
        if !walk.queued {
            *walk = Walk {
                queued: true,
                share: SHARE,
                ..Walk::default()
            };
            self.queue.push_back(stream);
        } else if walk.index > 0 {
            walk.again = true;
        }
    }

    /// The subscriber to visit next: hunt and index in its list.
    pub fn current(&self) -> Option<(u32, usize)> {
        let stream = *self.queue.front()?;
        Some((stream, self.walks[stream as usize].index))
    }

    /// The subscriber given by `current` was visited.
    #[inline]
    pub fn advance(&mut self) {
        let Some(&stream) = self.queue.front() else {
            return;
        };
        self.last = stream as usize;
        let walk = &mut self.walks[stream as usize];
        walk.index += 1;
        walk.share = walk.share.saturating_sub(1);
        if walk.share == 0 {
            walk.share = SHARE;
            self.queue.rotate_left(1);
        }
    }

    /// The last visit took so many frames.
    #[inline]
    pub fn charge(&mut self, frames: usize) {
        if let Some(walk) = self.walks.get_mut(self.last) {
            // At 0 it would never be found to be used up.
            walk.share = walk.share.saturating_sub(frames.saturating_sub(1)).max(1);
        }
    }

    /// The hunt given by `current` has no such subscriber: its round is over.
    pub fn finish_round(&mut self) {
        let Some(stream) = self.queue.pop_front() else {
            return;
        };
        let walk = &mut self.walks[stream as usize];
        if std::mem::take(&mut walk.again) {
            *walk = Walk {
                queued: true,
                share: SHARE,
                ..Walk::default()
            };
            self.queue.push_back(stream);
        } else {
            walk.queued = false;
        }
    }

    pub(super) fn on_insert(&mut self, stream: u32, place: usize) {
        let walk = &mut self.walks[stream as usize];
        if walk.queued && place < walk.index {
            walk.index += 1;
        }
    }

    pub(super) fn on_remove(&mut self, stream: u32, place: usize) {
        let walk = &mut self.walks[stream as usize];
        if walk.queued && place < walk.index {
            walk.index -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_during_a_walk_is_one_more_round() {
        let mut walks = Walks::new(2);
        walks.request(0);
        walks.request(0);
        walks.advance();
        walks.request(0);
        assert_eq!(walks.current(), Some((0, 1)));
        walks.finish_round();
        assert_eq!(walks.current(), Some((0, 0)));
        walks.finish_round();
        assert!(walks.is_idle());
    }

    #[test]
    fn a_leaver_behind_the_walk_moves_it_back() {
        let mut walks = Walks::new(1);
        walks.request(0);
        walks.advance();
        walks.advance();
        walks.on_remove(0, 0);
        assert_eq!(walks.current(), Some((0, 1)));
        walks.on_remove(0, 1);
        assert_eq!(walks.current(), Some((0, 1)));
    }

    #[test]
    fn hunts_take_turns() {
        let mut walks = Walks::new(2);
        walks.request(0);
        walks.request(1);
        for _ in 0..SHARE {
            walks.advance();
        }
        assert_eq!(walks.current(), Some((1, 0)));
    }
}
