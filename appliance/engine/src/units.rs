//! The quantities that cross module borders, each with its own type, so that a slot is never taken
//! for an offset.

use serde::{Deserialize, Serialize};

/// A moment: microseconds on a monotonic clock that the caller owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Micros(pub u64);

impl Micros {
    /// The moment that never comes; what `poll_at` gives when nothing is due.
    pub const NEVER: Micros = Micros(u64::MAX);

    /// `milliseconds` as a span.
    pub const fn from_millis(milliseconds: u64) -> Micros {
        Micros(milliseconds * 1_000)
    }

    /// `seconds` as a span.
    pub const fn from_secs(seconds: u64) -> Micros {
        Micros(seconds * 1_000_000)
    }

    /// The span from `earlier` to `self`; zero when `earlier` is the later one.
    #[must_use]
    pub const fn since(self, earlier: Micros) -> Micros {
        Micros(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add for Micros {
    type Output = Micros;
    fn add(self, span: Micros) -> Micros {
        Micros(self.0.saturating_add(span.0))
    }
}

/// A moment in six bytes instead of eight, for records of which there are many. Exact for almost nine
/// years of the clock; later moments are the last one before `NEVER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment([u16; 3]);

impl Moment {
    const NEVER: Moment = Moment([u16::MAX; 3]);

    /// The last moment there is.
    pub const LATEST: Micros = Micros((1 << 48) - 2);
}

impl From<Micros> for Moment {
    #[inline]
    fn from(at: Micros) -> Moment {
        if at == Micros::NEVER {
            return Moment::NEVER;
        }
        let [.., a, b, c, d, e, f] = at.min(Moment::LATEST).0.to_be_bytes();
        Moment([[a, b], [c, d], [e, f]].map(u16::from_be_bytes))
    }
}

impl From<Moment> for Micros {
    #[inline]
    fn from(moment: Moment) -> Micros {
        if moment == Moment::NEVER {
            return Micros::NEVER;
        }
        let [high, middle, low] = moment.0.map(u64::from);
        Micros(high << 32 | middle << 16 | low)
    }
}

/// A connection: the index of its record and the generation of that record's use, so that a stale
/// id is noticed instead of naming the next player in the same slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnId {
    /// Index of the record in the core's slab.
    pub slot: u32,
    /// How often the slot had been taken when this id was made.
    pub generation: u32,
}

impl ConnId {
    /// Both halves in one integer, for rings.
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    /// The id that `to_bits` packed.
    pub const fn from_bits(bits: u64) -> ConnId {
        ConnId {
            slot: (bits & 0xffff_ffff) as u32,
            generation: (bits >> 32) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_exact_until_the_last_one() {
        for at in [0, 1, 0x1_0000, 0x1234_5678_9abc, Moment::LATEST.0] {
            assert_eq!(Micros::from(Moment::from(Micros(at))), Micros(at));
        }
        assert_eq!(Micros::from(Moment::from(Micros::NEVER)), Micros::NEVER);
        assert_eq!(Micros::from(Moment::from(Micros(1 << 48))), Moment::LATEST);
    }
}
