//! Partitions by range: every key of a partition sorts before every key of the
//! next, so that the parts in order are sorted as a whole.
//!
//! Cut points travel as a broadcast and are searched where they lie: making a
//! [`Ranges`] of the bytes costs nothing, so a partitioner makes one for every
//! key. Who reads them first checks them once, see [`Ranges::check`].

use crate::key::DecodeError;

/// Before each set of cut points.
const MAGIC: [u8; 4] = *b"cut1";
/// The magic and the number of cuts.
const HEADER_BYTES: usize = 8;
/// Of each cut: its first eight bytes, and where it ends among all.
const HEAD_BYTES: usize = 12;

/// Cut points in order: a key belongs to the partition of as many cuts as are
/// not above it.
///
/// ```
/// use vivat_mapreduce::Ranges;
///
/// let bytes = Ranges::encode([&b"cat"[..], b"dog"]);
/// let ranges = Ranges::check(&bytes).unwrap();
/// assert_eq!(ranges.partition(b"ant"), 0);
/// assert_eq!(ranges.partition(b"cat"), 1);
/// assert_eq!(ranges.partition(b"eel"), 2);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Ranges<'b> {
    heads: &'b [u8],
    keys: &'b [u8],
}

impl<'b> Ranges<'b> {
    /// The bytes of these cuts, which rise or stay.
    pub fn encode<'k>(cuts: impl IntoIterator<Item = &'k [u8]>) -> Vec<u8> {
        let mut heads = Vec::new();
        let mut keys = Vec::new();
        let mut count: u32 = 0;
        for cut in cuts {
            keys.extend_from_slice(cut);
            heads.extend_from_slice(&prefix(cut).to_be_bytes());
            let end = u32::try_from(keys.len()).unwrap_or(u32::MAX);
            heads.extend_from_slice(&end.to_le_bytes());
            count += 1;
        }
        let mut bytes = Vec::with_capacity(HEADER_BYTES + heads.len() + keys.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&heads);
        bytes.extend_from_slice(&keys);
        bytes
    }

    /// Cut points that have been checked before; bytes that are none have no
    /// cut, so that every key is of partition 0.
    #[inline]
    #[must_use]
    pub fn of(bytes: &'b [u8]) -> Self {
        Self::open(bytes).unwrap_or(Self {
            heads: &[],
            keys: &[],
        })
    }

    /// Cut points from elsewhere.
    ///
    /// # Errors
    ///
    /// When the bytes are none, or the cuts do not rise.
    pub fn check(bytes: &'b [u8]) -> Result<Self, DecodeError> {
        let fail = || DecodeError::new("set of cut points", bytes);
        let ranges = Self::open(bytes).ok_or_else(fail)?;
        let mut start = 0;
        let mut before: Option<&[u8]> = None;
        for (index, head) in ranges.heads.chunks_exact(HEAD_BYTES).enumerate() {
            let end = ranges.end(index);
            let key = ranges.keys.get(start..end).ok_or_else(fail)?;
            if head[..8] != prefix(key).to_be_bytes() || before.is_some_and(|before| before > key) {
                return Err(fail());
            }
            (start, before) = (end, Some(key));
        }
        if start == ranges.keys.len() {
            Ok(ranges)
        } else {
            Err(fail())
        }
    }

    /// How many cuts there are: one less than there are partitions.
    #[must_use]
    pub fn cuts(&self) -> usize {
        self.heads.len() / HEAD_BYTES
    }

    /// The partition of a key.
    #[inline]
    #[must_use]
    pub fn partition(&self, key: &[u8]) -> u32 {
        let wanted = prefix(key);
        let (mut low, mut high) = (0, self.cuts());
        while low < high {
            let middle = low.midpoint(high);
            let is_not_above = match self.prefix(middle).cmp(&wanted) {
                std::cmp::Ordering::Less => true,
                std::cmp::Ordering::Greater => false,
                std::cmp::Ordering::Equal => self.cut(middle) <= key,
            };
            if is_not_above {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        u32::try_from(low).unwrap_or(u32::MAX)
    }

    #[inline]
    fn open(bytes: &'b [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
        let (magic, count) = header.split_first_chunk::<4>()?;
        let count = u32::from_le_bytes(*count.first_chunk::<4>()?) as usize;
        let (heads, keys) = rest.split_at_checked(count.checked_mul(HEAD_BYTES)?)?;
        (*magic == MAGIC).then_some(Self { heads, keys })
    }

    #[inline]
    fn head(&self, index: usize) -> &'b [u8] {
        let at = index * HEAD_BYTES;
        self.heads.get(at..at + HEAD_BYTES).unwrap_or_default()
    }

    #[inline]
    fn prefix(&self, index: usize) -> u64 {
        let head = self.head(index).first_chunk::<8>();
        head.map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }

    fn end(&self, index: usize) -> usize {
        let head = self.head(index).last_chunk::<4>();
        head.map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize)
    }

    fn cut(&self, index: usize) -> &'b [u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.end(before));
        self.keys.get(start..self.end(index)).unwrap_or_default()
    }
}

/// The first eight bytes, which order most keys without a look at the rest.
#[inline]
fn prefix(key: &[u8]) -> u64 {
    match key.first_chunk::<8>() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => {
            let mut bytes = [0; 8];
            bytes[..key.len()].copy_from_slice(key);
            u64::from_be_bytes(bytes)
        }
    }
}
