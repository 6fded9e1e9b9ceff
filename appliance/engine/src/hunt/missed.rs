//! What a returning player missed, found in the log of its stream: nothing is read or encoded for it, and
//! the bytes are everybody's.

use crate::hunt::Hunts;
use crate::hunt::encode::Variant;
use crate::units::Micros;
use crate::ws::frame::server_frame_bytes;

/// Where in a log what was missed is: up to the log's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// Log position of its first byte.
    pub position: u64,
    /// Bytes of it.
    pub bytes: u64,
}

impl Hunts {
    /// The events after offset `after` of the hunt in `slot`, for who takes `variant`; none when the log does not hold all that follows, when other frames stand between, or when it is not
    /// certain that the first of them was published less than `ttl` ago.
    pub fn missed(
        &self,
        slot: u32,
        variant: Variant,
        after: u64,
        now: Micros,
        ttl: Micros,
    ) -> Option<Missed> {
        let hunt = self.hunt(slot);
        let mut streams = hunt.streams.iter().copied();
        let stream = streams.find(|&stream| self.streams[stream as usize].variant == variant)?;
        if after >= hunt.top {
            return None;
        }
        let mark = self.logs.mark_before(stream, after + 1)?;
        // The other events of its block are younger.
        if now.since(Micros(mark.stamp_us)) >= ttl {
            return None;
        }
        let mut position = mark.position;
        for _ in mark.offset..=after {
            let mut header = [0; 10];
            let room = usize::try_from(self.logs.head(stream) - position).unwrap_or(usize::MAX);
            let header = header.get_mut(..room.min(10)).unwrap_or_default();
            if !self.logs.read(stream, position, header) {
                return None;
            }
            position += server_frame_bytes(header)?;
        }
        let bytes = self.logs.head(stream).checked_sub(position)?;
        Some(Missed { position, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hunt::log::{BLOCK_BYTES, Logs};
    use crate::hunt::publication::Publication;
    use crate::memory::slab::NONE;
    use crate::ring::broadcast::{Event, Moved, Movement};
    use crate::units::ConnId;
    use proptest::prelude::*;

    const VARIANT: Variant = Variant::JOINS;
    const TTL: Micros = Micros(1000);

    fn hunts() -> (Hunts, [u32; 2]) {
        let bytes = Box::leak(vec![0; 9 * BLOCK_BYTES].into_boxed_slice());
        let mut hunts = Hunts::new(Logs::new(bytes, 2, 6 * BLOCK_BYTES), 2, 2, 2);
        let slots = [0, 1].map(|number| {
            let slot = hunts.open(number, "h", "e", 0).unwrap();
            let conn = ConnId {
                slot: number,
                generation: 1,
            };
            assert!(hunts.subscribe(slot, conn, VARIANT, &mut NONE.clone()));
            slot
        });
        (hunts, slots)
    }

    fn publish(hunts: &mut Hunts, hunt: u32, offset: u64, stamp_us: u64, bytes: usize) {
        let mut publication = Vec::new();
        Publication {
            data: &vec![b'1'; bytes],
            offset,
            ..Publication::default()
        }
        .append(&mut publication);
        hunts.on_event(&Event {
            hunt,
            stamp_us,
            publication: &publication,
            deflated: &[],
        });
    }

    /// Offsets of the frames from `position` to the end of the stream's log; 0 for a frame without one.
    fn offsets(hunts: &Hunts, stream: u32, mut position: u64) -> Vec<u64> {
        let mut bytes = vec![0; (hunts.logs.head(stream) - position) as usize];
        assert!(hunts.logs.read(stream, position, &mut bytes));
        let mut offsets = Vec::new();
        position = 0;
        while let Some(frame) = bytes
            .get(position as usize..)
            .filter(|rest| !rest.is_empty())
        {
            let length = server_frame_bytes(frame).unwrap();
            let text = String::from_utf8_lossy(&frame[..length as usize]);
            let offset = text.split("\"offset\":").nth(1);
            let number = |text: &str| text.trim_end_matches('}').parse().unwrap();
            offsets.push(offset.map_or(0, number));
            position += length;
        }
        offsets
    }

    proptest! {
        /// Whatever is found is all that was missed and nothing else; and it is found while nothing but
        /// events of the newest blocks is between.
        #[test]
        fn what_is_found_is_what_was_missed(
            steps in prop::collection::vec((0u32..2, 0u8..12, 1usize..5000), 1..60)
        ) {
            let (mut hunts, slots) = hunts();
            let mut tops = [0; 2];
            for (hunt, kind, bytes) in steps {
                match kind {
                    0 => publish(&mut hunts, hunt, 0, 0, bytes),
                    1 => hunts.on_movement(&Moved { hunt, movement: Movement::Join, who: b"" }),
                    2.. => {
                        // Many small ones in a block, some that fill blocks.
                        let bytes = if kind < 9 { bytes / 16 + 1 } else { bytes };
                        tops[hunt as usize] += 1;
                        publish(&mut hunts, hunt, tops[hunt as usize], 0, bytes);
                    }
                }
                for (stream, slot) in (0..).zip(slots) {
                    let top = tops[stream as usize];
                    for after in 0..=top + 1 {
                        let found = hunts.missed(slot, VARIANT, after, Micros(1), TTL);
                        if let Some(Missed { position, bytes }) = found {
                            prop_assert_eq!(position + bytes, hunts.logs.head(stream));
                            let expected: Vec<u64> = (after + 1..=top).collect();
                            prop_assert_eq!(offsets(&hunts, stream, position), expected);
                        }
                    }
                }
                if kind >= 2 {
                    let top = tops[hunt as usize];
                    let slot = slots[hunt as usize];
                    let last = hunts.missed(slot, VARIANT, top - 1, Micros(1), TTL);
                    prop_assert!(last.is_some(), "the newest event is always found");
                }
            }
        }
    }

    #[test]
    fn a_long_way_back_is_found_while_it_is_kept() {
        let (mut hunts, [slot, _]) = hunts();
        for offset in 1..=300 {
            publish(&mut hunts, 0, offset, offset, 10);
        }
        let now = Micros(300);
        let found = |after, ttl| hunts.missed(slot, VARIANT, after, now, Micros(ttl));
        assert_eq!(found(0, 1000).map(|missed| missed.position), Some(0));
        assert_eq!(found(300, 1000), None, "nothing was missed");
        assert_eq!(found(0, 299), None, "too old");
        // Its block begins with an older one.
        assert!(found(250, 299).is_some() && found(298, 2).is_none());
        assert_eq!(hunts.missed(slot, Variant::PLAIN, 0, now, TTL), None);
    }

    #[test]
    fn what_another_hunt_left_in_the_log_is_not_found() {
        let (mut hunts, [slot, _]) = hunts();
        for offset in 1..=5 {
            publish(&mut hunts, 0, offset, 0, 10);
        }
        let mut first = 0;
        hunts.unsubscribe_all(&mut first);
        let other = hunts.open(9, "other", "e", 3).unwrap();
        assert_eq!(other, slot, "its place is taken");
        let conn = ConnId {
            slot: 0,
            generation: 1,
        };
        assert!(hunts.subscribe(other, conn, VARIANT, &mut first));
        for after in 0..4 {
            assert_eq!(hunts.missed(other, VARIANT, after, Micros(1), TTL), None);
        }
        publish(&mut hunts, 9, 4, 0, 10);
        assert!(hunts.missed(other, VARIANT, 3, Micros(1), TTL).is_some());
        assert_eq!(hunts.missed(other, VARIANT, 2, Micros(1), TTL), None);
    }
}
