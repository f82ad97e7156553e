//! All chance of a run, from one seed.
//!
//! xoshiro256** by David Blackman and Sebastiano Vigna, its state filled by
//! splitmix64, as its authors advise (<https://prng.di.unimi.it/>, public
//! domain). Written out here, so that a seed means the same run for as long as
//! this crate does not change: a dependency could change under it.

/// The generator.
#[derive(Debug, Clone)]
pub struct Prng {
    words: [u64; 4],
}

impl Prng {
    /// The generator of a seed.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let mut filler = seed;
        let mut word = || {
            // splitmix64.
            filler = filler.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = filler;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        Self {
            words: [word(), word(), word(), word()],
        }
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.words;
        let drawn = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        drawn
    }

    /// A number below a bound; 0 below 0. Its bias is far below what a test of
    /// this size could see.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw().checked_rem(bound).unwrap_or(0)
    }

    /// A number of a range, both ends included.
    pub fn within(&mut self, range: std::ops::RangeInclusive<u64>) -> u64 {
        let (low, high) = range.into_inner();
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// An index of something with so many elements.
    pub fn index(&mut self, len: usize) -> usize {
        // Below `len`, which is a usize.
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// True in so many of a thousand cases.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of the reference implementation in C for seed 0.
    #[test]
    fn splitmix64_fills_the_state_as_its_reference_does() {
        let words = Prng::of_seed(0).words;
        assert_eq!(
            words,
            [
                0xe220_a839_7b1d_cdaf,
                0x6e78_9e6a_a1b9_65f4,
                0x06c4_5d18_8009_454f,
                0xf88b_b8a8_724c_81ec,
            ]
        );
    }

    #[test]
    fn first_draw_of_xoshiro256_starstar_is_that_of_its_definition() {
        let mut prng = Prng {
            words: [1, 2, 3, 4],
        };
        // rotl(2 * 5, 7) * 9 and, after one step, rotl(0 * 5, 7) * 9.
        assert_eq!(prng.draw(), 11_520);
        assert_eq!(prng.draw(), 0);
        assert_eq!(prng.draw(), 1_509_978_240);
    }
}
