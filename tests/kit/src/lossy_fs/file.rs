//! One file: what programs see, what is on the disk, and what lies between.
//!
//! The unsynced changes are kept one by one in order, because a cut may let any
//! of them through. What *can* survive is what a page cache and a drive with
//! 512-byte sectors can leave behind, not any subset of bytes: a page reaches
//! the disk as it was after one of its writes, and includes the earlier ones.

use std::collections::BTreeMap;

use crate::dice::Dice;

/// Pages are written back one by one, in any order.
pub(super) const PAGE_BYTES: usize = 4096;
/// A sector is written whole or not at all.
pub(super) const SECTOR_BYTES: usize = 512;

/// A change that was not synced.
#[derive(Debug)]
struct Change {
    /// Place among all changes of the file system.
    sequence: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    Write { offset: usize, data: Vec<u8> },
    Resize { bytes: usize },
}

/// What a cut took from a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Loss {
    pub bytes: u64,
    /// Writes and changes of size that did not survive as a whole.
    pub changes: u64,
}

impl Loss {
    fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.changes += 1;
    }
}

/// A write that a torn cut may tear: its place, and where its sectors end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tearable {
    pub sequence: u64,
    /// How many of its bytes may survive, each at a sector boundary; at least 0.
    pub kept_bytes: Vec<usize>,
}

/// The bytes of a file.
#[derive(Debug, Default)]
pub(super) struct FileData {
    content: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

impl FileData {
    /// As found on the disk.
    pub fn durable(bytes: Vec<u8>) -> Self {
        Self {
            content: bytes.clone(),
            durable: bytes,
            pending: Vec::new(),
        }
    }

    pub fn content(&self) -> &[u8] {
        &self.content
    }

    pub fn durable_content(&self) -> &[u8] {
        &self.durable
    }

    /// At most so many bytes from there; fewer at the end of the file.
    pub fn read(&self, offset: usize, bytes: usize) -> &[u8] {
        let start = offset.min(self.content.len());
        let end = offset.saturating_add(bytes).min(self.content.len());
        &self.content[start..end]
    }

    pub fn write(&mut self, sequence: u64, offset: usize, data: &[u8]) {
        put(&mut self.content, offset, data);
        let data = data.to_vec();
        let what = What::Write { offset, data };
        self.pending.push(Change { sequence, what });
    }

    pub fn resize(&mut self, sequence: u64, bytes: usize) {
        self.content.resize(bytes, 0);
        let what = What::Resize { bytes };
        self.pending.push(Change { sequence, what });
    }

    /// Makes everything durable; how many written bytes that were.
    pub fn sync(&mut self) -> u64 {
        let synced = self.unsynced_bytes();
        for change in self.pending.drain(..) {
            match change.what {
                What::Write { offset, data } => put(&mut self.durable, offset, &data),
                What::Resize { bytes } => self.durable.resize(bytes, 0),
            }
        }
        synced
    }

    /// What a sync that failed leaves behind: the pages count as clean and are
    /// not on the disk, so no later sync writes them.
    pub fn forget_unsynced(&mut self) {
        self.pending.clear();
    }

    pub fn unsynced_bytes(&self) -> u64 {
        self.pending
            .iter()
            .map(|change| match &change.what {
                What::Write { data, .. } => data.len() as u64,
                What::Resize { .. } => 0,
            })
            .sum()
    }

    pub fn tearable(&self) -> impl Iterator<Item = Tearable> {
        self.pending.iter().filter_map(|change| match &change.what {
            What::Write { offset, data } => {
                let end = offset + data.len();
                let first = offset / SECTOR_BYTES * SECTOR_BYTES;
                let inner = (first..end).step_by(SECTOR_BYTES).skip(1);
                Some(Tearable {
                    sequence: change.sequence,
                    kept_bytes: [0].into_iter().chain(inner.map(|at| at - offset)).collect(),
                })
            }
            What::Resize { .. } => None,
        })
    }

    /// The disk stops before the change with that place, which leaves its first
    /// bytes behind. Nothing survives of those after it.
    pub fn cut_at(&mut self, sequence: u64, kept_bytes: usize) -> Loss {
        let mut loss = Loss::default();
        for change in self.pending.drain(..) {
            let is_whole = change.sequence < sequence;
            match change.what {
                What::Write { offset, data } if is_whole => put(&mut self.durable, offset, &data),
                What::Resize { bytes } if is_whole => self.durable.resize(bytes, 0),
                What::Write { offset, data } => {
                    let is_torn = change.sequence == sequence;
                    let kept = if is_torn { kept_bytes } else { 0 };
                    if kept > 0 {
                        put(&mut self.durable, offset, &data[..kept]);
                    }
                    loss.add(data.len() - kept);
                }
                What::Resize { .. } => loss.add(0),
            }
        }
        self.content.clone_from(&self.durable);
        loss
    }

    /// Each page survives as it was after some number of its writes, the size as
    /// it was after some number of its changes, independently of one another.
    /// The space that a truncation freed is not written to before the truncation
    /// itself is on the disk: so if that did not survive, nothing after it did.
    pub fn cut_reordered(&mut self, dice: &mut Dice) -> Loss {
        let (size, horizon) = self.surviving_size(dice);
        let mut allowed = self.allowed_writes(dice);
        let mut loss = Loss::default();
        let mut image = std::mem::take(&mut self.durable);
        for change in self.pending.drain(..) {
            let is_possible = change.sequence < horizon;
            match change.what {
                What::Write { offset, data } => {
                    let mut lost = 0;
                    for (at, piece) in pieces(offset, &data) {
                        let left = allowed.entry(at / PAGE_BYTES).or_default();
                        if is_possible && *left > 0 {
                            *left -= 1;
                            put(&mut image, at, piece);
                        } else {
                            lost += piece.len();
                        }
                    }
                    if lost > 0 {
                        loss.add(lost);
                    }
                }
                What::Resize { bytes } if is_possible => image.truncate(bytes),
                What::Resize { .. } => loss.add(0),
            }
        }
        if image.len() > size {
            loss.add(image.len() - size);
        }
        image.resize(size, 0);
        self.durable = image;
        self.content.clone_from(&self.durable);
        loss
    }

    /// A size that the file may have after the cut, and the place of the first
    /// truncation that did not survive.
    fn surviving_size(&self, dice: &mut Dice) -> (usize, u64) {
        let mut size = self.durable.len();
        let mut changes = Vec::new();
        for change in &self.pending {
            let bytes = match &change.what {
                What::Write { offset, data } => size.max(offset + data.len()),
                What::Resize { bytes } => *bytes,
            };
            if bytes != size {
                changes.push((change.sequence, bytes, bytes < size));
                size = bytes;
            }
        }
        let kept = usize::try_from(dice.up_to(changes.len() as u64)).unwrap_or(changes.len());
        let survived = kept.checked_sub(1).map(|last| changes[last].1);
        let lost = &changes[kept..];
        let horizon = lost.iter().find(|(_, _, is_shorter)| *is_shorter);
        (
            survived.unwrap_or(self.durable.len()),
            horizon.map_or(u64::MAX, |(sequence, _, _)| *sequence),
        )
    }

    /// How many of its writes each page received.
    fn allowed_writes(&self, dice: &mut Dice) -> BTreeMap<usize, u64> {
        let mut writes: BTreeMap<usize, u64> = BTreeMap::new();
        for change in &self.pending {
            if let What::Write { offset, data } = &change.what {
                for (at, _) in pieces(*offset, data) {
                    *writes.entry(at / PAGE_BYTES).or_default() += 1;
                }
            }
        }
        for count in writes.values_mut() {
            *count = dice.up_to(*count);
        }
        writes
    }
}

/// The parts of a write that lie in one page each.
fn pieces(offset: usize, data: &[u8]) -> Vec<(usize, &[u8])> {
    let mut pieces = Vec::new();
    let mut rest = data;
    let mut at = offset;
    while !rest.is_empty() {
        let room = PAGE_BYTES - at % PAGE_BYTES;
        let (piece, after) = rest.split_at(room.min(rest.len()));
        pieces.push((at, piece));
        at += piece.len();
        rest = after;
    }
    pieces
}

/// Writes into an image, which grows with zeros where it must.
fn put(image: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset..end].copy_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(durable: &[u8]) -> FileData {
        FileData::durable(durable.to_vec())
    }

    #[test]
    fn a_torn_write_ends_at_a_sector_of_the_file_not_of_the_write() {
        let mut file = file(&[]);
        file.write(1, 500, &[1; 600]);
        let tearable: Vec<_> = file.tearable().collect();
        assert_eq!(tearable[0].kept_bytes, [0, 12, 524]);
        file.write(2, 512, &[2; 512]);
        assert_eq!(file.tearable().nth(1).unwrap().kept_bytes, [0]);
    }

    #[test]
    fn a_cut_keeps_what_came_before_and_nothing_after() {
        let mut file = file(b"old");
        file.write(1, 0, b"NEW");
        file.write(2, 512, &[7; 1024]);
        file.resize(3, 1);
        let loss = file.cut_at(2, 512);
        let expected = Loss {
            bytes: 512,
            changes: 2,
        };
        assert_eq!(loss, expected);
        assert_eq!(&file.content()[..3], b"NEW");
        assert_eq!(file.content().len(), 1024);
        assert_eq!(file.unsynced_bytes(), 0);
    }

    #[test]
    fn a_page_is_never_newer_at_one_byte_than_at_another() {
        let mut outcomes = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut file = file(&[0; 10]);
            file.write(1, 0, b"11111");
            file.write(2, 5, b"22222");
            file.cut_reordered(&mut Dice::new(seed));
            outcomes.insert(file.content().to_vec());
        }
        let possible: [&[u8]; 3] = [&[0; 10], b"11111\0\0\0\0\0", b"1111122222"];
        assert_eq!(outcomes, possible.iter().map(|it| it.to_vec()).collect());
    }

    #[test]
    fn pages_and_size_survive_independently() {
        let mut outcomes = std::collections::BTreeSet::new();
        for seed in 0..400 {
            let mut file = file(&[]);
            file.write(1, 0, &[1; PAGE_BYTES]);
            file.write(2, PAGE_BYTES, &[2; PAGE_BYTES]);
            file.cut_reordered(&mut Dice::new(seed));
            let content = file.content();
            outcomes.insert((
                content.len() / PAGE_BYTES,
                content.first().copied(),
                content.get(PAGE_BYTES).copied(),
            ));
        }
        assert!(outcomes.contains(&(0, None, None)));
        assert!(outcomes.contains(&(2, Some(0), Some(2))), "{outcomes:?}");
        assert!(outcomes.contains(&(2, Some(1), Some(0))));
        assert!(outcomes.contains(&(1, Some(1), None)));
    }

    #[test]
    fn nothing_written_after_a_lost_truncation_survives() {
        for seed in 0..100 {
            let mut file = file(b"committed");
            file.resize(1, 0);
            file.write(2, 0, b"x");
            file.cut_reordered(&mut Dice::new(seed));
            let possible: [&[u8]; 4] = [b"committed", b"", b"\0", b"x"];
            assert!(possible.contains(&file.content()), "{:?}", file.content());
        }
    }

    #[test]
    fn a_failed_sync_is_not_made_good_by_the_next() {
        let mut file = file(b"old");
        file.write(1, 0, b"new");
        file.forget_unsynced();
        file.sync();
        assert_eq!(file.content(), b"new");
        assert_eq!(file.durable_content(), b"old");
    }
}
