//! A connection's send queue: a short list of places to read bytes from, in the order of the stream.
//!
//! The first extent begins at SND.UNA. Nothing is copied here: unsent bytes, bytes in flight and
//! retransmissions are all read from their source again.
//!
//! Extents are nodes of one pool a core: each connection owns one, further ones come from what is
//! left. A connection whose next run finds no node waits for an acknowledgement. Nothing is
//! allocated after `new`.

use crate::memory::slab::NONE;
use crate::tcp::Source;

/// Runs one connection can have queued, contiguous ones counted as one, so that no player takes the
/// whole pool. A player gets a run from its private chain and one for each of its hunts with news.
const EXTENTS_MAX: u8 = 16;

/// A position in two halves: a node is 20 bytes, not 24.
#[derive(Debug, Clone, Copy)]
struct Position {
    high: u32,
    low: u32,
}

impl From<u64> for Position {
    fn from(position: u64) -> Position {
        let half = |bits: u64| u32::try_from(bits & 0xffff_ffff).unwrap_or(0);
        Position {
            high: half(position >> 32),
            low: half(position),
        }
    }
}

impl From<Position> for u64 {
    fn from(position: Position) -> u64 {
        u64::from(position.high) << 32 | u64::from(position.low)
    }
}

#[derive(Debug, Clone, Copy)]
struct Node {
    at: Position,
    tag: u32,
    /// In bytes; 0 when the node is free.
    length: u32,
    next: u32,
}

impl Node {
    fn position(&self) -> u64 {
        self.at.into()
    }
}

const _: () = assert!(
    size_of::<Node>() == 20,
    "a node a connection is in its budget"
);

/// The extents of one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Queue {
    first: u32,
    last: u32,
    count: u8,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue {
            first: NONE,
            last: NONE,
            count: 0,
        }
    }
}

/// The nodes of one core.
#[derive(Debug)]
pub(super) struct Extents {
    nodes: Vec<Node>,
    /// Nodes that belong to no connection.
    free: Vec<u32>,
    shared: usize,
}

impl Extents {
    /// One node for each of `connections`, and `shared` more.
    pub(super) fn new(connections: u32, shared: u32) -> Extents {
        let node = Node {
            at: 0.into(),
            tag: 0,
            length: 0,
            next: NONE,
        };
        let all = connections + shared;
        Extents {
            nodes: vec![node; all as usize],
            free: (connections..all).rev().collect(),
            shared: shared as usize,
        }
    }

    /// Bytes taken.
    pub(super) fn bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>() + self.free.capacity() * size_of::<u32>()
    }

    /// Shared nodes in use.
    pub(super) fn used(&self) -> usize {
        self.shared - self.free.len()
    }

    fn get(&self, index: u32) -> Option<&Node> {
        self.nodes.get(index as usize)
    }

    fn give_back(&mut self, index: u32) {
        self.nodes[index as usize].length = 0;
        if index as usize >= self.nodes.len() - self.shared {
            self.free.push(index);
        }
    }

    /// Appends a run to the queue of the connection in `slot`; false when there is no room.
    pub(super) fn push(
        &mut self,
        queue: &mut Queue,
        slot: u32,
        source: Source,
        length: u32,
    ) -> bool {
        if length == 0 {
            return true;
        }
        if let Some(last) = self.nodes.get_mut(queue.last as usize)
            && last.tag == source.tag
            && last.position() + u64::from(last.length) == source.position
        {
            last.length += length;
            return true;
        }
        if queue.count == EXTENTS_MAX {
            return false;
        }
        let index = match self.get(slot) {
            Some(own) if own.length == 0 => slot,
            _ => match self.free.pop() {
                Some(index) => index,
                None => return false,
            },
        };
        self.nodes[index as usize] = Node {
            at: source.position.into(),
            tag: source.tag,
            length,
            next: NONE,
        };
        match self.nodes.get_mut(queue.last as usize) {
            Some(last) => last.next = index,
            None => queue.first = index,
        }
        queue.last = index;
        queue.count += 1;
        true
    }

    /// Forgets the first `bytes` bytes.
    pub(super) fn drop_front(&mut self, queue: &mut Queue, bytes: u32) {
        let mut bytes = bytes;
        while let Some(node) = self.nodes.get_mut(queue.first as usize) {
            let now = node.length.min(bytes);
            node.at = (node.position() + u64::from(now)).into();
            node.length -= now;
            bytes -= now;
            if node.length > 0 {
                return;
            }
            let (gone, next) = (queue.first, node.next);
            self.give_back(gone);
            queue.first = next;
            queue.count -= 1;
        }
        *queue = Queue::default();
    }

    /// Gives everything back.
    pub(super) fn clear(&mut self, queue: &mut Queue) {
        self.drop_front(queue, u32::MAX);
        while queue.first != NONE {
            self.drop_front(queue, u32::MAX);
        }
    }

    /// Lowest position of `tag` that is still queued.
    pub(super) fn first_of(&self, queue: &Queue, tag: u32) -> Option<u64> {
        let mut index = queue.first;
        while let Some(node) = self.get(index) {
            if node.tag == tag {
                return Some(node.position());
            }
            index = node.next;
        }
        None
    }

    /// Reads all of `out` from `skip` bytes after the beginning; false when a source says so or the
    /// list is shorter.
    pub(super) fn read(
        &self,
        queue: &Queue,
        skip: u32,
        out: &mut [u8],
        read: &mut impl FnMut(Source, &mut [u8]) -> bool,
    ) -> bool {
        let mut skip = skip;
        let mut rest = out;
        let mut index = queue.first;
        while !rest.is_empty()
            && let Some(node) = self.get(index)
        {
            index = node.next;
            if skip >= node.length {
                skip -= node.length;
                continue;
            }
            let here = rest.len().min((node.length - skip) as usize);
            let (now, later) = rest.split_at_mut(here);
            let source = Source {
                tag: node.tag,
                position: node.position() + u64::from(skip),
            };
            if !read(source, now) {
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

    fn at(tag: u32, position: u64) -> Source {
        Source { tag, position }
    }

    fn text(extents: &Extents, queue: &Queue, skip: u32, length: usize) -> Option<String> {
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
            .read(queue, skip, &mut out, &mut read)
            .then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn runs_join_are_read_across_and_dropped() {
        let mut extents = Extents::new(2, 4);
        let mut queue = Queue::default();
        assert!(extents.push(&mut queue, 1, at(0, 10), 3));
        assert!(extents.push(&mut queue, 1, at(0, 13), 2));
        assert!(extents.push(&mut queue, 1, at(1, 0), 4));
        assert_eq!((queue.count, extents.used()), (2, 1));
        assert_eq!(text(&extents, &queue, 0, 9).as_deref(), Some("AaAaABbBb"));
        assert_eq!(text(&extents, &queue, 4, 3).as_deref(), Some("ABb"));
        assert_eq!(text(&extents, &queue, 4, 6), None);
        extents.drop_front(&mut queue, 2);
        assert_eq!(extents.first_of(&queue, 0), Some(12));
        extents.drop_front(&mut queue, 4);
        assert_eq!(extents.first_of(&queue, 0), None);
        assert_eq!(extents.first_of(&queue, 1), Some(1));
        extents.drop_front(&mut queue, 3);
        assert_eq!((queue.count, queue.first, extents.used()), (0, NONE, 0));
    }

    #[test]
    fn a_full_list_and_a_full_pool_refuse() {
        let mut extents = Extents::new(2, 100);
        let mut queue = Queue::default();
        let kept = (0..100).filter(|n| extents.push(&mut queue, 0, at(0, n * 10), 1));
        assert_eq!(kept.count(), usize::from(EXTENTS_MAX));
        extents.clear(&mut queue);
        assert_eq!(extents.used(), 0);
        let mut extents = Extents::new(2, 1);
        let mut other = Queue::default();
        assert!(extents.push(&mut queue, 0, at(0, 0), 1));
        assert!(extents.push(&mut queue, 0, at(1, 0), 1));
        assert!(!extents.push(&mut queue, 0, at(2, 0), 1));
        // Whatever the others do, a connection has its own.
        assert!(extents.push(&mut other, 1, at(0, 0), 1));
        assert!(!extents.push(&mut other, 1, at(1, 0), 1));
    }
}
