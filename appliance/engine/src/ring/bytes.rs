//! A ring of length-prefixed records: one writer, one reader, bounded in bytes.
//!
//! Wait-free on both sides (`rtrb` carries the bytes). `push` copies a record in, whole or not at
//! all; `pop` copies it out into the reader's scratch buffer, because a record may wrap around the
//! ring's end and its reader wants it contiguous. Neither allocates.

use rtrb::{Consumer, Producer, RingBuffer};

/// Bytes in front of each record: its length, little endian.
const PREFIX_BYTES: usize = 4;

/// The ring has no room for the record now. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The writing end.
#[derive(Debug)]
pub struct Writer {
    bytes: Producer<u8>,
}

/// The reading end.
#[derive(Debug)]
pub struct Reader {
    bytes: Consumer<u8>,
    scratch: Vec<u8>,
}

/// A ring of `capacity` bytes for records of at most `record_max` bytes. All memory is taken here.
pub fn ring(capacity: usize, record_max: usize) -> (Writer, Reader) {
    assert!(
        record_max + PREFIX_BYTES <= capacity,
        "the largest record must fit the ring"
    );
    let (producer, consumer) = RingBuffer::new(capacity);
    (
        Writer { bytes: producer },
        Reader {
            bytes: consumer,
            scratch: vec![0; record_max],
        },
    )
}

impl Writer {
    /// Appends one record.
    pub fn push(&mut self, record: &[u8]) -> Result<(), Full> {
        let Ok(length) = u32::try_from(record.len()) else {
            return Err(Full);
        };
        let Ok(chunk) = self.bytes.write_chunk_uninit(PREFIX_BYTES + record.len()) else {
            return Err(Full);
        };
        chunk.fill_from_iter(
            length
                .to_le_bytes()
                .into_iter()
                .chain(record.iter().copied()),
        );
        Ok(())
    }

    /// Bytes that can be written now; `room() - 4` is the longest record that fits.
    pub fn room(&self) -> usize {
        self.bytes.slots()
    }

    /// How full the ring is, in percent.
    pub fn fill_percent(&self) -> u64 {
        let capacity = self.bytes.buffer().capacity();
        ((capacity - self.room()) * 100 / capacity) as u64
    }

    /// Whether the reader is gone.
    pub fn is_abandoned(&self) -> bool {
        self.bytes.is_abandoned()
    }
}

impl Reader {
    /// Whether a record is waiting.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the writer is gone.
    pub fn is_abandoned(&self) -> bool {
        self.bytes.is_abandoned()
    }

    /// Takes the next record; it stays readable until the next call.
    pub fn pop(&mut self) -> Option<&[u8]> {
        let mut prefix = [0; PREFIX_BYTES];
        let chunk = self.bytes.read_chunk(PREFIX_BYTES).ok()?;
        copy_out(chunk.as_slices(), &mut prefix);
        chunk.commit_all();
        let length = u32::from_le_bytes(prefix) as usize;
        let out = self.scratch.get_mut(..length)?;
        let chunk = self.bytes.read_chunk(length).ok()?;
        copy_out(chunk.as_slices(), out);
        chunk.commit_all();
        Some(out)
    }
}

fn copy_out((first, second): (&[u8], &[u8]), out: &mut [u8]) {
    out[..first.len()].copy_from_slice(first);
    out[first.len()..].copy_from_slice(second);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn behaves_like_a_bounded_queue(steps in prop::collection::vec((any::<bool>(), 0usize..40), 1..200)) {
            let (mut writer, mut reader) = ring(64, 40);
            let mut model = VecDeque::new();
            let mut used = 0;
            for (n, (push, length)) in steps.into_iter().enumerate() {
                if push {
                    let record = vec![n as u8; length];
                    let fits = used + length + PREFIX_BYTES <= 64;
                    prop_assert_eq!(writer.push(&record).is_ok(), fits);
                    if fits {
                        used += length + PREFIX_BYTES;
                        model.push_back(record);
                    }
                } else {
                    let expected = model.pop_front();
                    used -= expected.as_ref().map_or(0, |r: &Vec<u8>| r.len() + PREFIX_BYTES);
                    prop_assert_eq!(reader.pop(), expected.as_deref());
                }
            }
        }
    }

    #[test]
    fn records_cross_threads_in_order() {
        let (mut writer, mut reader) = ring(1 << 10, 64);
        let sender = std::thread::spawn(move || {
            for n in 0..100_000u32 {
                while writer.push(&n.to_le_bytes()).is_err() {
                    std::hint::spin_loop();
                }
            }
        });
        for n in 0..100_000u32 {
            let got = loop {
                if let Some(record) = reader.pop() {
                    break u32::from_le_bytes(record.try_into().unwrap());
                }
                std::hint::spin_loop();
            };
            assert_eq!(got, n);
        }
        sender.join().unwrap();
    }
}
