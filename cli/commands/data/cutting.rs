//! Files into blocks: each file is cut at the ends of its records, and small
//! files share a block.
//!
//! No record spans two files, because each file is cut by itself; where a file
//! ends within a block the list of files says. Cutting runs on a thread that may
//! block, and holds one block: it goes on when the sender has room for it.

use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::runtime::Handle;
use vivat_client::data::{BlockBytes, BlockSender, DataError};
use vivat_shared::dataset::DatasetFile;
use vivat_shared::job::InputFormat;
use vivat_shared::shown::shown;
use vivat_store::cut::{BLOCK_BYTES_MAX, CutBlock, CutError, Cutter, Sizes};

use super::sources::{Origin, Source};
use crate::failure::Failure;

/// What is read at once.
const PIECE_BYTES: u64 = 512 * 1024;
/// Shorter pieces are put together: each would be a message of its own.
const PIECE_BYTES_MIN: usize = 64 * 1024;

/// What the cutting of all files came to.
#[derive(Debug)]
pub struct Cut {
    /// To be finished.
    pub sender: BlockSender,
    /// In order.
    pub files: Vec<DatasetFile>,
    /// Of all files.
    pub bytes: u64,
}

/// What the one who waits for it can see and say.
#[derive(Debug, Default)]
pub struct Watch {
    /// Bytes that were read.
    pub read: AtomicU64,
    /// The cutting is to end.
    pub given_up: AtomicBool,
}

/// Cuts files into blocks and sends them.
pub struct Cutting {
    format: InputFormat,
    sizes: Sizes,
    block: Block,
    sender: BlockSender,
    runtime: Handle,
    watch: Arc<Watch>,
}

impl Cutting {
    /// Into blocks of so many bytes; must be called within the runtime.
    pub fn new(
        format: InputFormat,
        block_bytes: u64,
        sender: BlockSender,
        watch: Arc<Watch>,
    ) -> Self {
        Self {
            format,
            sizes: Sizes::new(block_bytes, BLOCK_BYTES_MAX.max(block_bytes)),
            block: Block::new(block_bytes),
            sender,
            runtime: Handle::current(),
            watch,
        }
    }

    /// Cuts all files. Blocks the thread.
    ///
    /// # Errors
    ///
    /// What cannot be read or cut, or that a block found no worker.
    pub fn run(mut self, sources: &[Source]) -> Result<Cut, Failure> {
        let mut files = Vec::with_capacity(sources.len());
        let mut bytes = 0;
        for source in sources {
            let file = self.cut(source)?;
            bytes += file.bytes;
            files.push(file);
        }
        self.flush()?;
        Ok(Cut {
            sender: self.sender,
            files,
            bytes,
        })
    }

    fn cut(&mut self, source: &Source) -> Result<DatasetFile, Failure> {
        let mut reader = open(source)?;
        let mut cutter = Cutter::new(self.format, self.sizes);
        let uncuttable = |error: CutError| {
            Failure::failed(format!("cannot cut {}: {error}", shown(&source.name)))
        };
        let mut file = DatasetFile {
            name: source.name.clone(),
            bytes: 0,
            crc32c: 0,
        };
        // The header is in no block of the cutter's: it goes before the first.
        let mut is_headless = self.format == InputFormat::Csv;
        let mut left = source.bytes;
        loop {
            if self.watch.given_up.load(Ordering::Relaxed) {
                return Err(DataError::GivenUp.into());
            }
            let piece = read(&mut reader, left).map_err(|error| unreadable(source, &error))?;
            let is_last = piece.is_empty();
            let length = piece.len() as u64;
            left = left.map(|left| left.saturating_sub(length));
            file.bytes += length;
            file.crc32c = crc32c::crc32c_append(file.crc32c, &piece);
            self.watch.read.fetch_add(length, Ordering::Relaxed);
            if is_last {
                cutter.end().map_err(uncuttable)?;
            } else {
                cutter.push(piece.into()).map_err(uncuttable)?;
            }
            while let Some(mut cut) = cutter.take_block().map_err(uncuttable)? {
                if mem::take(&mut is_headless) {
                    cut.pieces.splice(0..0, cutter.header().cloned());
                }
                self.add(cut, !is_last)?;
            }
            if is_last {
                break;
            }
        }
        // Nothing but a header.
        if is_headless && let Some(header) = cutter.header().filter(|header| !header.is_empty()) {
            let cut = CutBlock {
                offset: 0,
                pieces: vec![header.clone()],
            };
            self.add(cut, false)?;
        }
        Ok(file)
    }

    /// Adds whole records. When more of their file follows they end a block: what
    /// follows needs one of its own.
    fn add(&mut self, cut: CutBlock, more_follows: bool) -> Result<(), Failure> {
        if !self.block.has_room_for(cut.bytes()) {
            self.flush()?;
        }
        for piece in cut.pieces {
            self.block.push(piece);
        }
        if more_follows || self.block.is_full() {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let block = BlockBytes::new(self.block.take());
        if block.is_empty() {
            return Ok(());
        }
        self.runtime
            .block_on(self.sender.send(block))
            .map_err(Into::into)
    }
}

/// A block in the making.
struct Block {
    target: u64,
    bytes: u64,
    pieces: Vec<bytes::Bytes>,
    /// Short pieces that were put together.
    tail: Vec<u8>,
}

impl Block {
    fn new(target: u64) -> Self {
        Self {
            target,
            bytes: 0,
            pieces: Vec::new(),
            tail: Vec::new(),
        }
    }

    fn has_room_for(&self, bytes: u64) -> bool {
        self.bytes == 0 || self.bytes + bytes <= self.target
    }

    fn is_full(&self) -> bool {
        self.bytes >= self.target
    }

    fn push(&mut self, piece: bytes::Bytes) {
        self.bytes += piece.len() as u64;
        if piece.len() < PIECE_BYTES_MIN {
            self.tail.extend_from_slice(&piece);
            if self.tail.len() >= PIECE_BYTES_MIN {
                self.end_tail();
            }
            return;
        }
        self.end_tail();
        self.pieces.push(piece);
    }

    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            let capacity = self.tail.capacity();
            let tail = mem::replace(&mut self.tail, Vec::with_capacity(capacity));
            self.pieces.push(tail.into());
        }
    }

    fn take(&mut self) -> Vec<bytes::Bytes> {
        self.end_tail();
        self.bytes = 0;
        mem::take(&mut self.pieces)
    }
}

fn open(source: &Source) -> Result<Box<dyn Read>, Failure> {
    match &source.origin {
        Origin::Stdin => Ok(Box::new(io::stdin().lock())),
        Origin::Path(path) => {
            let file = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
            Ok(Box::new(file))
        }
        Origin::Url(file) => match file.read() {
            Ok(reader) => Ok(Box::new(reader)),
            Err(error) => Err(unreadable(source, &error)),
        },
    }
}

/// The next bytes, none at the end. A file that is shorter than a piece takes no
/// more memory than it has.
fn read(reader: &mut impl Read, left: Option<u64>) -> io::Result<Vec<u8>> {
    // One more than is expected, so that the end is seen without growing.
    let expected = left.map_or(PIECE_BYTES, |left| left.saturating_add(1).min(PIECE_BYTES));
    let mut piece = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
    reader.take(PIECE_BYTES).read_to_end(&mut piece)?;
    Ok(piece)
}

fn unreadable(source: &Source, error: &io::Error) -> Failure {
    match &source.origin {
        Origin::Stdin => Failure::failed(format!("cannot read standard input: {error}")),
        Origin::Path(path) => Failure::file("read", path, error),
        Origin::Url(file) => Failure::failed(format!("cannot read {}: {error}", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(block: &mut Block) -> Vec<usize> {
        block.take().iter().map(bytes::Bytes::len).collect()
    }

    #[test]
    fn short_pieces_are_put_together_and_their_order_is_kept() {
        let mut block = Block::new(1_000_000);
        let mut whole = Vec::new();
        for (number, length) in [10, 20, 70_000, 5, 40_000, 30_000, 1]
            .into_iter()
            .enumerate()
        {
            let piece = vec![u8::try_from(number).unwrap(); length];
            whole.extend_from_slice(&piece);
            block.push(piece.into());
        }
        assert_eq!(block.bytes, whole.len() as u64);
        let pieces = block.take();
        assert!(pieces.concat() == whole);
        let lengths: Vec<usize> = pieces.iter().map(bytes::Bytes::len).collect();
        assert_eq!(lengths, [30, 70_000, 70_005, 1]);
    }

    #[test]
    fn block_takes_what_fits_and_anything_when_it_is_empty() {
        let mut block = Block::new(100);
        assert!(block.has_room_for(5_000) && !block.is_full());
        block.push(vec![1; 60].into());
        assert!(block.has_room_for(40) && !block.has_room_for(41));
        block.push(vec![2; 40].into());
        assert!(block.is_full());
        assert_eq!(lengths(&mut block), [100]);
        assert_eq!((block.bytes, lengths(&mut block)), (0, Vec::new()));
    }

    #[test]
    fn file_is_read_to_its_end_whatever_its_size_was_said_to_be() {
        let bytes = vec![7_u8; 3_000];
        for said in [None, Some(0), Some(3_000), Some(9_000)] {
            let mut reader = bytes.as_slice();
            assert_eq!(read(&mut reader, said).unwrap(), bytes, "{said:?}");
            assert!(read(&mut reader, said).unwrap().is_empty(), "{said:?}");
        }
    }
}
