//! Moments in four bytes instead of eight: a record has many of them.
//!
//! Both types keep the low 32 bits of microseconds, which come round after 71 minutes; what they
//! measure is shorter by far (the longest retransmission timeout is a minute).

use std::num::NonZeroU32;

use crate::units::Micros;

/// When something was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stamp(u32);

impl Stamp {
    pub(super) fn of(now: Micros) -> Stamp {
        Stamp(super::isn::low(now.0))
    }

    /// Microseconds from this to `now`.
    pub(super) fn age_us(self, now: Micros) -> u32 {
        super::isn::low(now.0).wrapping_sub(self.0)
    }

    /// This is later than `other`.
    pub(super) fn after(self, other: Stamp) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() > 0
    }
}

/// When something happened, in milliseconds: for ages of up to 49 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StampMs(NonZeroU32);

impl StampMs {
    pub(super) fn of(now: Micros) -> StampMs {
        // Zero is kept for "never": a millisecond later will do.
        StampMs(NonZeroU32::new(super::isn::low(now.0 / 1_000)).unwrap_or(NonZeroU32::MIN))
    }

    /// Milliseconds from this to `now`.
    pub(super) fn age_ms(self, now: Micros) -> u32 {
        StampMs::of(now).0.get().wrapping_sub(self.0.get())
    }
}

/// When something is due, or never; at most half an hour ahead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Deadline(u32);

impl Deadline {
    /// Nothing is due.
    pub(super) const NEVER: Deadline = Deadline(0);

    pub(super) fn of(at: Micros) -> Deadline {
        // Zero means never: a microsecond later will do.
        Deadline(super::isn::low(at.0).max(1))
    }

    pub(super) fn is_set(self) -> bool {
        self != Deadline::NEVER
    }

    pub(super) fn is_due(self, now: Micros) -> bool {
        self.is_set() && self.ahead_us(now) <= 0
    }

    /// As a full moment: `now` when it has passed.
    pub(super) fn micros(self, now: Micros) -> Micros {
        match u64::try_from(self.ahead_us(now)) {
            _ if !self.is_set() => Micros::NEVER,
            Ok(ahead) => now + Micros(ahead),
            Err(_) => now,
        }
    }

    fn ahead_us(self, now: Micros) -> i32 {
        self.0.wrapping_sub(super::isn::low(now.0)).cast_signed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_survive_the_wrap() {
        let now = Micros(u64::from(u32::MAX) - 10);
        let later = Micros(now.0 + 20);
        assert_eq!(Stamp::of(now).age_us(later), 20);
        assert!(Stamp::of(later).after(Stamp::of(now)) && !Stamp::of(now).after(Stamp::of(now)));
        let deadline = Deadline::of(later);
        assert!(!deadline.is_due(now) && deadline.is_due(later));
        assert_eq!(deadline.micros(now), later);
        assert_eq!(deadline.micros(Micros(later.0 + 5)), Micros(later.0 + 5));
        assert_eq!(Deadline::NEVER.micros(now), Micros::NEVER);
        assert!(!Deadline::NEVER.is_due(now));
        // The one moment that would read as never.
        assert!(Deadline::of(Micros(1 << 32)).is_set());
    }
}
