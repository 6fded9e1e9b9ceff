//! The broadcast rings, as the journal writes them.
//!
//! A record is placed in every ring it belongs to or in none. A ring whose reader is gone takes
//! everything and keeps nothing: it must not stop the others.

use crate::ring::bytes::{Full, Writer};

/// Rings that one `wrote_to` mask can name.
pub(super) const SINKS_MAX: usize = 64;

/// Fill of a ring, in percent, from which on its reader gets no more long answers of which it can have
/// many: they would stand before the events that come meanwhile.
const BUSY_PERCENT: u64 = 25;

/// No asker.
const NOBODY: usize = usize::MAX;

/// Bytes a ring takes for a record besides its own.
const PREFIX_BYTES: usize = 4;

#[derive(Debug)]
pub(super) struct Sinks {
    writers: Vec<Writer>,
    data_cores: usize,
    wrote_to: u64,
}

impl Sinks {
    /// Events go to the first `data_cores` of `writers`.
    pub(super) fn new(writers: Vec<Writer>, data_cores: usize) -> Sinks {
        assert!(
            writers.len() <= SINKS_MAX,
            "a mask names at most {SINKS_MAX} sinks"
        );
        assert!(data_cores <= writers.len(), "every data core needs a sink");
        Sinks {
            writers,
            data_cores,
            wrote_to: 0,
        }
    }

    /// Rings that get events.
    pub(super) fn data_cores(&self) -> usize {
        self.data_cores
    }

    /// Places an answer in the ring of `sink`.
    pub(super) fn answer(&mut self, sink: usize, record: &[u8]) -> Result<(), Full> {
        let Some(writer) = self.writers.get_mut(sink) else {
            return Ok(());
        };
        if writer.is_abandoned() {
            return Ok(());
        }
        writer.push(record)?;
        self.wrote_to |= 1 << sink;
        Ok(())
    }

    /// Places an event in the rings of all data cores, and its answer behind it in that of `sink`.
    pub(super) fn event(&mut self, record: &[u8], sink: usize, answer: &[u8]) -> Result<(), Full> {
        for (index, writer) in self.writers.iter().enumerate() {
            let mut need = 0;
            if index < self.data_cores {
                need += record.len() + PREFIX_BYTES;
            }
            if index == sink {
                need += answer.len() + PREFIX_BYTES;
            }
            if writer.room() < need && !writer.is_abandoned() {
                return Err(Full);
            }
        }
        for (index, writer) in self.writers.iter_mut().take(self.data_cores).enumerate() {
            if writer.push(record).is_ok() {
                self.wrote_to |= 1 << index;
            }
        }
        if let Some(writer) = self.writers.get_mut(sink)
            && writer.push(answer).is_ok()
        {
            self.wrote_to |= 1 << sink;
        }
        Ok(())
    }

    /// Places a record that answers nobody in the rings of all data cores.
    pub(super) fn tell_all(&mut self, record: &[u8]) -> Result<(), Full> {
        self.event(record, NOBODY, &[])
    }

    /// Whether the reader of `sink` has yet to read much of what it was sent.
    pub(super) fn is_busy(&self, sink: usize) -> bool {
        let writer = self.writers.get(sink);
        writer.is_some_and(|writer| writer.fill_percent() >= BUSY_PERCENT)
    }

    /// Which rings were written since the last call, bit by bit.
    pub(super) fn take_wrote_to(&mut self) -> u64 {
        std::mem::take(&mut self.wrote_to)
    }

    /// How full the fullest ring is.
    pub(super) fn fill_percent(&self) -> u64 {
        self.writers
            .iter()
            .map(Writer::fill_percent)
            .max()
            .unwrap_or(0)
    }
}
