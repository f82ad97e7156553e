//! Draws that are the same on every machine.

/// Steele, Lea and Flood's generator.
#[derive(Debug, Clone)]
pub(super) struct SplitMix64(pub(super) u64);

impl SplitMix64 {
    #[inline]
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`, which is at most 2^32: the high half of a
    /// product, whose bias is below bound / 2^32.
    #[inline]
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((self.next() >> 32) * bound) >> 32
    }
}

/// Draws ranks by Vose's alias method, in integers: one column of height
/// 2^32 per rank, the lower part the rank's own, the upper another's.
pub(super) struct AliasTable {
    columns: Vec<Column>,
}

#[derive(Clone, Copy)]
struct Column {
    /// Heights below this are the rank's own.
    own: u32,
    other: u32,
}

impl AliasTable {
    pub(super) fn zipf(ranks: u32) -> Self {
        let weights = (1..=u64::from(ranks)).map(|rank| (1 << 40) / rank);
        let weights: Vec<u64> = weights.collect();
        let total: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
        // Heights scaled so that they average 2^32; what rounding loses is far
        // below one part in a million.
        let mut heights: Vec<u64> = weights
            .iter()
            .map(|&weight| {
                let scaled = (u128::from(weight) * u128::from(ranks)) << 32;
                u64::try_from(scaled / total).unwrap_or(u64::MAX)
            })
            .collect();
        const FULL: u64 = 1 << 32;
        let full = Column {
            own: u32::MAX,
            other: 0,
        };
        let mut columns: Vec<Column> = (0..ranks)
            .map(|rank| Column {
                other: rank,
                ..full
            })
            .collect();
        let (mut low, mut high): (Vec<u32>, Vec<u32>) =
            (0..ranks).partition(|&rank| heights[rank as usize] < FULL);
        while let (Some(poor), Some(&rich)) = (low.pop(), high.last()) {
            let height = heights[poor as usize];
            columns[poor as usize] = Column {
                own: u32::try_from(height).unwrap_or(u32::MAX),
                other: rich,
            };
            let left = &mut heights[rich as usize];
            *left -= FULL - height;
            if *left < FULL {
                low.extend(high.pop());
            }
        }
        Self { columns }
    }

    #[inline]
    pub(super) fn draw(&self, random: &mut SplitMix64) -> u32 {
        let bits = random.next();
        let count = self.columns.len() as u64;
        let rank = ((bits >> 32) * count) >> 32;
        let column = self.columns[usize::try_from(rank).unwrap_or(0)];
        let height = u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        if height < column.own {
            u32::try_from(rank).unwrap_or(0)
        } else {
            column.other
        }
    }
}
