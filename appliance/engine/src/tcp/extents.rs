//! A connection's send queue: a short list of places to read bytes from, in the order of the stream.
//!
//! The first extent begins at SND.UNA. Nothing is copied here: unsent bytes, bytes in flight and
//! retransmissions are all read from their source again.

use crate::tcp::Source;

/// Runs a connection can have queued at once, contiguous ones counted as one. A player gets a run
/// from its private chain and one for each of its hunts that has news; a full list makes the rest
/// wait for an acknowledgement. Larger grows every connection record.
const EXTENTS_MAX: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    source: Source,
    length: u32,
}

/// Up to eight runs of bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extents {
    list: [Extent; EXTENTS_MAX],
    count: u8,
}

impl Default for Extents {
    fn default() -> Extents {
        let nothing = Extent {
            source: Source {
                tag: 0,
                position: 0,
            },
            length: 0,
        };
        Extents {
            list: [nothing; EXTENTS_MAX],
            count: 0,
        }
    }
}

impl Extents {
    fn used(&self) -> &[Extent] {
        &self.list[..usize::from(self.count)]
    }

    /// Appends a run; false when the list is full.
    pub(super) fn push(&mut self, source: Source, length: u32) -> bool {
        let count = usize::from(self.count);
        if let Some(last) = self.list[..count].last_mut()
            && last.source.tag == source.tag
            && last.source.position + u64::from(last.length) == source.position
        {
            last.length += length;
            return true;
        }
        let Some(free) = self.list.get_mut(count) else {
            return false;
        };
        *free = Extent { source, length };
        self.count += 1;
        true
    }

    /// Forgets the first `bytes` bytes.
    pub(super) fn drop_front(&mut self, bytes: u32) {
        let mut bytes = bytes;
        let mut gone = 0;
        for extent in &mut self.list[..usize::from(self.count)] {
            let now = extent.length.min(bytes);
            extent.source.position += u64::from(now);
            extent.length -= now;
            bytes -= now;
            if extent.length > 0 {
                break;
            }
            gone += 1;
        }
        self.list
            .copy_within(usize::from(gone)..usize::from(self.count), 0);
        self.count -= gone;
    }

    /// Lowest position of `tag` that is still queued.
    pub(super) fn first_of(&self, tag: u32) -> Option<u64> {
        let found = self.used().iter().find(|extent| extent.source.tag == tag);
        found.map(|extent| extent.source.position)
    }

    /// Reads all of `out` from `skip` bytes after the beginning; false when a source says so or the
    /// list is shorter.
    pub(super) fn read(
        &self,
        skip: u32,
        out: &mut [u8],
        read: &mut impl FnMut(Source, &mut [u8]) -> bool,
    ) -> bool {
        let mut skip = skip;
        let mut rest = out;
        for extent in self.used() {
            if rest.is_empty() {
                break;
            }
            if skip >= extent.length {
                skip -= extent.length;
                continue;
            }
            let here = rest.len().min((extent.length - skip) as usize);
            let (now, later) = rest.split_at_mut(here);
            let position = extent.source.position + u64::from(skip);
            if !read(
                Source {
                    tag: extent.source.tag,
                    position,
                },
                now,
            ) {
                return false;
            }
            skip = 0;
            rest = later;
        }
        rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(extents: &Extents, skip: u32, length: usize) -> Option<String> {
        let mut out = vec![0; length];
        // Every source holds its tag as a letter, upper case at even positions.
        let mut read = |source: Source, out: &mut [u8]| {
            for (index, byte) in (0u64..).zip(out) {
                let letter = b'a' + source.tag as u8;
                let even = (source.position + index).is_multiple_of(2);
                *byte = if even {
                    letter.to_ascii_uppercase()
                } else {
                    letter
                };
            }
            true
        };
        extents
            .read(skip, &mut out, &mut read)
            .then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn runs_join_are_read_across_and_dropped() {
        let mut extents = Extents::default();
        assert!(extents.push(
            Source {
                tag: 0,
                position: 10
            },
            3
        ));
        assert!(extents.push(
            Source {
                tag: 0,
                position: 13
            },
            2
        ));
        assert!(extents.push(
            Source {
                tag: 1,
                position: 0
            },
            4
        ));
        assert_eq!(extents.count, 2);
        assert_eq!(text(&extents, 0, 9).as_deref(), Some("AaAaABbBb"));
        assert_eq!(text(&extents, 4, 3).as_deref(), Some("ABb"));
        assert_eq!(text(&extents, 4, 6), None);
        extents.drop_front(2);
        assert_eq!(extents.first_of(0), Some(12));
        extents.drop_front(4);
        assert_eq!((extents.first_of(0), extents.first_of(1)), (None, Some(1)));
        assert_eq!(text(&extents, 0, 3).as_deref(), Some("bBb"));
        extents.drop_front(3);
        assert_eq!(extents.count, 0);
    }

    #[test]
    fn a_full_list_refuses() {
        let mut extents = Extents::default();
        let mut push = |tag| extents.push(Source { tag, position: 0 }, 1);
        assert!((0..8).all(&mut push));
        assert!(!push(9));
    }
}
