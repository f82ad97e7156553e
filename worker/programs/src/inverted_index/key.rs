//! Keys and postings of the index, and the names of its documents.
//!
//! | Key | Bytes |
//! |---|---|
//! | name of a file, for one partition | `00`, partition and file big-endian, name |
//! | word that begins with `00` or `01` | `01`, word |
//! | any other word | itself |
//!
//! So names come first, words keep their order, and nearly every word is its own
//! encoding.

use vivat_mapreduce::{
    DecodeError, EncodedKey, Key, MapContext, ProgramError, TextKey, Value, partition_of,
};

/// The type of the keys.
#[derive(Debug)]
pub(super) struct IndexKey;

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View<'a> {
    /// A file's name.
    File {
        /// The partition that is told.
        partition: u32,
        file: u32,
        name: &'a [u8],
    },
    /// A word.
    Word(&'a [u8]),
}

const FILE: u8 = 0;
const ESCAPE: u8 = 1;

impl Key for IndexKey {
    type View<'a> = View<'a>;
    type Decoded<'a> = View<'a>;

    fn encode(view: View<'_>, out: &mut Vec<u8>) {
        match view {
            View::File {
                partition,
                file,
                name,
            } => {
                out.push(FILE);
                out.extend_from_slice(&partition.to_be_bytes());
                out.extend_from_slice(&file.to_be_bytes());
                out.extend_from_slice(name);
            }
            View::Word(word) => {
                if word.first().is_some_and(|first| *first <= ESCAPE) {
                    out.push(ESCAPE);
                }
                out.extend_from_slice(word);
            }
        }
    }

    #[inline]
    fn encoded<'a>(view: Self::View<'a>) -> Option<&'a [u8]> {
        match view {
            View::Word(word) if word.first().is_some_and(|first| *first > ESCAPE) => Some(word),
            View::Word(_) | View::File { .. } => None,
        }
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<View<'_>, DecodeError> {
        match bytes {
            [ESCAPE, word @ ..] => Ok(View::Word(word)),
            [FILE, p0, p1, p2, p3, f0, f1, f2, f3, name @ ..] => Ok(View::File {
                partition: u32::from_be_bytes([*p0, *p1, *p2, *p3]),
                file: u32::from_be_bytes([*f0, *f1, *f2, *f3]),
                name,
            }),
            [FILE, ..] => Err(DecodeError {
                wanted: "name of a file",
                bytes: bytes.len(),
            }),
            word => Ok(View::Word(word)),
        }
    }
}

impl TextKey for IndexKey {
    #[inline]
    fn of_text(text: &[u8]) -> View<'_> {
        View::Word(text)
    }
}

/// Words by their own bytes, names where they were addressed to.
#[inline]
pub(super) fn partition(key: EncodedKey<'_>, partitions: u32) -> u32 {
    match key.bytes() {
        [FILE, p0, p1, p2, p3, ..] => u32::from_be_bytes([*p0, *p1, *p2, *p3]),
        [ESCAPE, word @ ..] => partition_of(word, partitions),
        _ => key.partition(partitions),
    }
}

/// Tells every partition the name of the task's file.
pub(super) fn tell_name(context: &MapContext<'_>, mut emit: impl FnMut(View<'_>)) {
    for partition in 0..context.partitions {
        emit(View::File {
            partition,
            file: context.file_index,
            name: context.display.as_bytes(),
        });
    }
}

/// A file's number and a count in one word: a table entry stays as small as that
/// of a plain count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Posting(u64);

/// Files of a round are at most a million, see
/// [`vivat_shared::limits::INPUT_FILES_MAX`]: 20 bits are left for them.
const COUNT_BITS: u32 = 44;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

impl Posting {
    #[inline]
    pub(super) fn new(file: u32, count: u64) -> Self {
        Self(u64::from(file) << COUNT_BITS | count.min(COUNT_MASK))
    }

    #[inline]
    pub(super) fn file(self) -> u32 {
        (self.0 >> COUNT_BITS) as u32
    }

    #[inline]
    pub(super) fn count(self) -> u64 {
        self.0 & COUNT_MASK
    }

    /// Adds the other's count; a split has fewer words than make it overflow.
    #[inline]
    pub(super) fn add(&mut self, other: Self) {
        self.0 += other.count();
    }
}

impl Value for Posting {
    type View<'a> = Posting;

    #[inline]
    fn encode(view: Posting, out: &mut Vec<u8>) {
        <(u64, u64) as Value>::encode((u64::from(view.file()), view.count()), out);
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<Posting, DecodeError> {
        let (file, count) = <(u64, u64) as Value>::decode(bytes)?;
        let file = u32::try_from(file).map_err(|_| DecodeError {
            wanted: "posting",
            bytes: bytes.len(),
        })?;
        Ok(Self::new(file, count))
    }

    #[inline]
    fn own(view: Posting) -> Self {
        view
    }

    #[inline]
    fn view(&self) -> Posting {
        *self
    }
}

/// What the files are called, in their order and sorted.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: Vec<Vec<u8>>,
    /// Of each file, the place of its name among all different names.
    ranks: Vec<u32>,
    /// Of each rank, a file that has the name.
    files: Vec<u32>,
}

impl Names {
    /// Takes the next file's name.
    pub(super) fn learn(&mut self, file: u32, name: &[u8]) -> Result<(), ProgramError> {
        if self.names.len() != file as usize {
            return Err(unknown(file));
        }
        self.names.push(name.to_vec());
        Ok(())
    }

    /// Ranks the names, once all are known.
    #[inline]
    pub(super) fn rank(&mut self) {
        if self.ranks.len() != self.names.len() {
            self.rank_all();
        }
    }

    #[cold]
    fn rank_all(&mut self) {
        let mut files: Vec<u32> = (0_u32..).take(self.names.len()).collect();
        let names = &self.names;
        files.sort_by_key(|file| &names[*file as usize]);
        self.ranks = vec![0; files.len()];
        self.files.clear();
        for (rank, same) in
            (0_u32..).zip(files.chunk_by(|a, b| names[*a as usize] == names[*b as usize]))
        {
            self.files.push(same[0]);
            for file in same {
                self.ranks[*file as usize] = rank;
            }
        }
    }

    /// The rank of a file's name.
    #[inline]
    pub(super) fn rank_of(&self, file: u32) -> Result<u32, ProgramError> {
        let rank = self.ranks.get(file as usize).copied();
        rank.ok_or_else(|| unknown(file))
    }

    /// The name of a rank.
    #[inline]
    pub(super) fn name(&self, rank: u32) -> &[u8] {
        &self.names[self.files[rank as usize] as usize]
    }

    /// Whether names are different and sorted as files are numbered.
    pub(super) fn is_sorted(&self) -> bool {
        (0_u32..).zip(&self.ranks).all(|(file, rank)| file == *rank)
    }
}

#[cold]
fn unknown(file: u32) -> ProgramError {
    ProgramError::new(format!("nobody told the name of file {file}"))
}
