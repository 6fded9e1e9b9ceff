//! TCP sequence numbers: 32 bits that wrap (RFC 9293 section 3.4).

/// A sequence number. Compared by signed distance, so only within half the space of each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Seq(pub u32);

impl Seq {
    /// Bytes from `base` to this, negative when this lies before.
    #[inline]
    pub fn since(self, base: Seq) -> i32 {
        self.0.wrapping_sub(base.0).cast_signed()
    }

    /// This lies before `other`.
    #[inline]
    pub fn before(self, other: Seq) -> bool {
        self.since(other) < 0
    }

    /// This lies after `other`.
    #[inline]
    pub fn after(self, other: Seq) -> bool {
        self.since(other) > 0
    }

    /// Lies in `first .. first + length`.
    #[inline]
    pub fn within(self, first: Seq, length: u32) -> bool {
        self.0.wrapping_sub(first.0) < length
    }

    /// The earlier of both.
    #[inline]
    #[must_use]
    pub fn min(self, other: Seq) -> Seq {
        if self.after(other) { other } else { self }
    }

    /// The later of both.
    #[inline]
    pub fn max(self, other: Seq) -> Seq {
        if self.before(other) { other } else { self }
    }
}

impl std::ops::Add<u32> for Seq {
    type Output = Seq;

    #[inline]
    fn add(self, bytes: u32) -> Seq {
        Seq(self.0.wrapping_add(bytes))
    }
}

impl std::ops::Sub<u32> for Seq {
    type Output = Seq;

    #[inline]
    fn sub(self, bytes: u32) -> Seq {
        Seq(self.0.wrapping_sub(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives_the_wrap() {
        let before = Seq(u32::MAX - 5);
        let after = before + 10;
        assert_eq!(after, Seq(4));
        assert!(before.before(after) && after.after(before));
        assert_eq!(after.since(before), 10);
        assert_eq!(before.since(after), -10);
        assert!(
            Seq(2).within(before, 10)
                && !after.within(before, 10)
                && !(before - 1).within(before, 10)
        );
        assert_eq!(before.max(after), after);
    }
}
