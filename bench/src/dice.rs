//! Chance from a seed: SplitMix64.

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The same seed gives the same draws.
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// 64 random bits.
    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// True in `percent` of the cases; draws only if that is not zero.
    pub(crate) fn hit(&mut self, percent: f64) -> bool {
        percent > 0.0 && self.unit() * 100.0 < percent
    }

    /// A number from 0 up to but not 1: 53 bits are what a double holds.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number of the standard normal distribution (Box and Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        let (size, turn) = (1.0 - self.unit(), self.unit());
        (-2.0 * size.ln()).sqrt() * (std::f64::consts::TAU * turn).cos()
    }

    /// A number below `bound`, 0 if that is 0. The bias of the remainder is far below what any
    /// statistic here shows.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.draw().checked_rem(bound).unwrap_or(0)
    }

    /// An index below `bound`.
    pub(crate) fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_what_was_asked() {
        let mut dice = Dice::new(7);
        let hits = (0..100_000).filter(|_| dice.hit(3.0)).count();
        assert!((2_800..3_200).contains(&hits), "{hits}");
        assert!(!dice.hit(0.0));
        assert!(dice.hit(100.0));
        assert!((0..1_000).all(|_| dice.below(5) < 5));
        assert_eq!(dice.below(0), 0);
    }
}
