//! Random numbers that are the same for ever for the same seed.
//!
//! A seed in a bug report must replay the failure in a year. The generators of
//! the `rand` crate promise that for no version but their own, so the dice are
//! ours: SplitMix64, which is a dozen lines and good enough to choose faults.

/// A seeded sequence of numbers.
#[derive(Debug, Clone)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// The sequence that belongs to the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number, all 64 bits of it.
    pub fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `most`, both possible.
    pub fn up_to(&mut self, most: u64) -> u64 {
        match most.checked_add(1) {
            Some(sides) => self.roll() % sides,
            None => self.roll(),
        }
    }

    /// From `least` to `most`, both possible; `least` where they are reversed.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.up_to(most.saturating_sub(least))
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.up_to(99) < percent
    }

    /// One of them; none only of none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let last = items.len().checked_sub(1)?;
        let index = usize::try_from(self.up_to(last as u64)).unwrap_or(last);
        items.get(index)
    }

    /// Dice of their own for a part of the test, so that one part may roll more
    /// often without changing the other.
    #[must_use]
    pub fn split(&mut self) -> Self {
        Self::new(self.roll())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_numbers_that_it_always_gave() {
        let mut dice = Dice::new(1);
        let rolls = [dice.roll(), dice.roll(), dice.roll()];
        // The published sequence of SplitMix64 for this seed.
        assert_eq!(
            rolls,
            [
                0x910a_2dec_8902_5cc1,
                0xbeeb_8da1_658e_ec67,
                0xf893_a2ee_fb32_555e
            ]
        );
    }

    #[test]
    fn numbers_stay_in_their_range_and_reach_both_ends() {
        let mut dice = Dice::new(7);
        let rolls: Vec<u64> = (0..1_000).map(|_| dice.between(3, 6)).collect();
        assert_eq!(rolls.iter().min(), Some(&3));
        assert_eq!(rolls.iter().max(), Some(&6));
        assert_eq!(dice.up_to(0), 0);
        assert_eq!(dice.between(9, 2), 9);
        assert_eq!(dice.pick::<u8>(&[]), None);
        assert_eq!(dice.pick(&[5]), Some(&5));
    }
}
