//! The bytes of an event, of a hunt's row and of the journal's own record in the store: postcard, so
//! that a stranger's bytes are an error and never a panic. A change here needs a new
//! [`FORMAT_VERSION`]; the store refuses versions it does not know.
//!
//! An event is kept as its publication, not as a frame: each encoding of the client protocol is made from
//! that.

use serde::{Deserialize, Serialize};

use crate::journal::store::HuntKey;

/// Version of these records and of the store's keys.
pub const FORMAT_VERSION: u32 = 3;

/// An event as kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EventRecord<'a> {
    /// When it was accepted, milliseconds since 1970: its age decides when it goes.
    pub(super) wall_ms: u64,
    /// The publisher's key, or empty: a repeat is noticed after a restart too.
    pub(super) idempotency_key: &'a str,
    /// The publication (`hunt::publication`).
    #[serde(with = "serde_bytes")]
    pub(super) publication: &'a [u8],
}

/// A hunt's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HuntRow<'a> {
    /// Where its events are.
    pub(super) key: HuntKey,
    /// Its epoch.
    pub(super) epoch: &'a str,
    /// Offset of its newest event.
    pub(super) top: u64,
    /// Offset of the oldest event kept; `top + 1` when none is.
    pub(super) first: u64,
}

/// The journal's own record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JournalRecord {
    /// What epochs are made from; a new one makes all epochs new.
    pub(super) era: u64,
    /// How often it was opened.
    pub(super) runs: u64,
}

/// Appends `record`.
pub(super) fn emit<T: Serialize>(record: &T, out: &mut Vec<u8>) {
    // Writing to a vector cannot fail, and none of the records has a part postcard cannot write.
    let _ = postcard::serialize_with_flavor(record, Appender(out));
}

/// Reads a record that [`emit`] wrote.
pub(super) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}

/// Lets postcard append to a vector.
struct Appender<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Appender<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_what_it_wrote(wall_ms: u64, key in ".*", publication: Vec<u8>) {
            let record =
                EventRecord { wall_ms, idempotency_key: &key, publication: &publication };
            let mut bytes = b"x".to_vec();
            emit(&record, &mut bytes);
            prop_assert_eq!(parse::<EventRecord<'_>>(&bytes[1..]), Some(record));
        }

        #[test]
        fn survives_a_strangers_bytes(bytes: Vec<u8>) {
            let _ = parse::<EventRecord<'_>>(&bytes);
            let _ = parse::<HuntRow<'_>>(&bytes);
        }
    }
}
