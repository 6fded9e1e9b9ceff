//! Which event has which offset, agreed among all players of a hunt, and what that looks like on
//! the wire.
//!
//! The first player to get an offset has its frame parsed and compared in full; the bytes of that
//! frame are kept, and for everyone after it one comparison of bytes proves offset and payload at
//! once. This is what makes a delivery cheap. Memory: one frame per event, kept for the run.

/// One offset of a hunt.
#[derive(Debug, Clone, Copy)]
struct Entry {
    event: usize,
    frame_at: usize,
    frame_bytes: usize,
}

/// One hunt's offsets, from `first` on.
#[derive(Debug, Default)]
struct Pages {
    first: Option<u64>,
    entries: Vec<Option<Entry>>,
}

/// All hunts.
#[derive(Debug)]
pub(crate) struct Ledger {
    hunts: Vec<Pages>,
    frames: Vec<u8>,
    /// An offset further than this from the first cannot come from this run.
    span_max: usize,
}

impl Ledger {
    /// Room for `hunts` hunts.
    pub(crate) fn new(hunts: usize) -> Ledger {
        let hunts = (0..hunts).map(|_| Pages::default()).collect();
        Ledger {
            hunts,
            frames: Vec::new(),
            span_max: 0,
        }
    }

    /// Takes room for a run of `events`, so that learning does not move what is known.
    pub(crate) fn reserve(&mut self, events: usize, frame_bytes: usize) {
        self.span_max = events.saturating_mul(2).max(1_024);
        self.frames.reserve(events * frame_bytes);
        for hunt in &mut self.hunts {
            hunt.entries.reserve(events);
        }
    }

    fn index(&self, hunt: usize, offset: u64) -> Option<usize> {
        usize::try_from(offset.checked_sub(self.hunts[hunt].first?)?).ok()
    }

    /// The event and length of the frame that `bytes` begins with, if it is the known frame of
    /// `offset`.
    #[inline]
    pub(crate) fn recall(&self, hunt: usize, offset: u64, bytes: &[u8]) -> Option<(usize, usize)> {
        let index = self.index(hunt, offset)?;
        let entry = (*self.hunts[hunt].entries.get(index)?)?;
        let frame = &self.frames[entry.frame_at..entry.frame_at + entry.frame_bytes];
        (!frame.is_empty() && bytes.starts_with(frame)).then_some((entry.event, entry.frame_bytes))
    }

    /// Notes that `offset` is `event`; `frame` is its whole frame, or empty if it shared one. False
    /// if another player was told otherwise, or the offset cannot be of this run.
    pub(crate) fn learn(&mut self, hunt: usize, offset: u64, event: usize, frame: &[u8]) -> bool {
        if self.hunts[hunt].first.is_none() {
            self.hunts[hunt].first = Some(offset);
        }
        let Some(index) = self
            .index(hunt, offset)
            .filter(|index| *index < self.span_max)
        else {
            return false;
        };
        let entries = &mut self.hunts[hunt].entries;
        if entries.len() <= index {
            entries.resize(index + 1, None);
        }
        match &mut entries[index] {
            Some(known) => known.event == event,
            empty => {
                let frame_at = self.frames.len();
                self.frames.extend_from_slice(frame);
                *empty = Some(Entry {
                    event,
                    frame_at,
                    frame_bytes: frame.len(),
                });
                true
            }
        }
    }

    /// Where the hunt stood when its players subscribed; the first to say so is believed.
    pub(crate) fn open(&mut self, hunt: usize, next_offset: u64) {
        self.hunts[hunt].first.get_or_insert(next_offset);
    }

    /// The event that players saw at `offset`.
    pub(crate) fn event_at(&self, hunt: usize, offset: u64) -> Option<usize> {
        let index = self.index(hunt, offset)?;
        self.hunts[hunt]
            .entries
            .get(index)?
            .map(|entry| entry.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(2);
        ledger.reserve(10, 8);
        ledger.open(0, 18);
        ledger
    }

    #[test]
    fn learned_frame_is_recalled_by_its_bytes_only() {
        let mut ledger = ledger();
        assert_eq!(ledger.recall(0, 18, b"frame"), None);
        assert!(ledger.learn(0, 18, 3, b"frame"));
        assert_eq!(ledger.recall(0, 18, b"frame and more"), Some((3, 5)));
        assert_eq!(ledger.recall(0, 18, b"frama"), None);
        assert_eq!(ledger.recall(0, 18, b"fram"), None);
        assert_eq!(ledger.recall(0, 19, b"frame"), None);
        assert_eq!(ledger.recall(1, 18, b"frame"), None);
        assert_eq!(ledger.event_at(0, 18), Some(3));
    }

    #[test]
    fn players_must_agree() {
        let mut ledger = ledger();
        assert!(ledger.learn(0, 19, 3, b"frame"));
        assert!(ledger.learn(0, 19, 3, b"other bytes, same event"));
        assert!(!ledger.learn(0, 19, 4, b"frame"));
    }

    #[test]
    fn offsets_of_another_run_are_refused() {
        let mut ledger = ledger();
        assert!(!ledger.learn(0, 17, 0, b""));
        assert!(!ledger.learn(0, u64::MAX, 0, b""));
        assert!(ledger.learn(1, 5, 0, b""));
        assert_eq!(ledger.recall(1, 5, b"anything"), None);
    }
}
