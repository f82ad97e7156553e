//! Where things lie, made from ids alone: nothing that came over the network
//! becomes a path by itself.
//!
//! ```text
//! lock                          held for as long as the store is open
//! blocks/3f/DATASET-INDEX.block 16 hexadecimal digits each
//! new/N.part                    being written; removed at start
//! damaged/N-DATASET-INDEX.block moved aside; the newest few are kept
//! ```
//!
//! The shard is the last byte of the id's checksum, so that a dataset spreads
//! over all 256: a hundred thousand blocks are four hundred names a directory.

use std::path::{Path, PathBuf};

use vivat_shared::ids::{BlockId, DatasetId};

/// Directories that blocks are spread over.
pub(crate) const SHARDS: usize = 256;

const SUFFIX: &str = ".block";
/// Hexadecimal digits of each half of an id.
const DIGITS: usize = 16;

/// Which shard a block belongs to, for ever.
pub(crate) fn shard_of(id: BlockId) -> u8 {
    let sum = crc32c::crc32c(&id.dataset.0.to_le_bytes());
    let [last, ..] = crc32c::crc32c_append(sum, &id.index.to_le_bytes()).to_le_bytes();
    last
}

/// The name of a block's file.
pub(crate) fn file_name(id: BlockId) -> String {
    format!("{:016x}-{:016x}{SUFFIX}", id.dataset.0, id.index)
}

/// The block whose file has that name, if it is one that we give.
pub(crate) fn parse_file_name(name: &str) -> Option<BlockId> {
    let (dataset, index) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let number = |digits: &str| {
        (digits.len() == DIGITS)
            .then(|| u64::from_str_radix(digits, 16).ok())
            .flatten()
    };
    let id = BlockId {
        dataset: DatasetId(number(dataset)?),
        index: number(index)?,
    };
    // One name per block: `+1` and capitals parse, and are not ours.
    (file_name(id) == name).then_some(id)
}

/// The directories of a store.
#[derive(Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn blocks(&self) -> PathBuf {
        self.root.join("blocks")
    }

    pub(crate) fn new_files(&self) -> PathBuf {
        self.root.join("new")
    }

    pub(crate) fn damaged(&self) -> PathBuf {
        self.root.join("damaged")
    }

    pub(crate) fn shard(&self, shard: u8) -> PathBuf {
        self.blocks().join(format!("{shard:02x}"))
    }

    pub(crate) fn block(&self, id: BlockId) -> PathBuf {
        self.shard(shard_of(id)).join(file_name(id))
    }

    pub(crate) fn new_file(&self, number: u64) -> PathBuf {
        self.new_files().join(format!("{number}.part"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_keeps_its_path_for_ever() {
        let id = BlockId {
            dataset: DatasetId(4),
            index: 17,
        };
        assert_eq!(
            Layout::new(Path::new("r")).block(id),
            Path::new("r/blocks/92/0000000000000004-0000000000000011.block")
        );
    }

    #[test]
    fn only_names_that_we_give_are_blocks() {
        let id = BlockId {
            dataset: DatasetId(u64::MAX),
            index: 0,
        };
        assert_eq!(parse_file_name(&file_name(id)), Some(id));
        for name in [
            "000000000000000A-0000000000000000.block",
            "+00000000000000a-0000000000000000.block",
            "a-0.block",
            "0000000000000000-0000000000000000.block.part",
            "",
        ] {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn blocks_of_one_dataset_spread_over_all_shards() {
        let mut counts = [0_u32; SHARDS];
        for index in 0..100_000 {
            let dataset = DatasetId(7);
            counts[usize::from(shard_of(BlockId { dataset, index }))] += 1;
        }
        let (least, most) = (counts.iter().min(), counts.iter().max());
        assert!(
            least > Some(&300) && most < Some(&500),
            "{least:?} {most:?}"
        );
    }
}
