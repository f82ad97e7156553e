//! Where fetched segments go: into the reduce's share of memory, or into files of
//! its own; and the proof that they are what was written.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use vivat_engine::disk::keep_reserve_in;
use vivat_engine::segment::FileRange;
use vivat_engine::{SegmentError, SegmentReader};
use vivat_ground::Threads;

use super::fetched::Piece;
use super::gather::MapOutput;
use super::memory::Share;
use crate::session::blocking;

/// A segment of at most so many bytes is checked where it arrives: that takes
/// less than handing it to another thread.
const CHECKED_INLINE_BYTES_MAX: usize = 64 * 1024;

/// Where fetched bytes go.
#[derive(Debug, Clone)]
pub(super) struct Landing {
    /// A directory of the attempt's own, made when first needed.
    pub(super) scratch: PathBuf,
    /// The reduce's share of memory; what does not fit goes to files.
    pub(super) memory: Arc<Share>,
}

/// A segment on its way in.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) expected_bytes: u64,
    pub(super) got_bytes: u64,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Memory(Vec<u8>),
    File { path: PathBuf, file: File },
}

/// Whether a segment that came is one of that partition, whole.
pub(super) async fn is_proved(piece: &Piece, partition: u32) -> bool {
    if let Piece::Memory(data) = piece
        && data.len() <= CHECKED_INLINE_BYTES_MAX
    {
        return check(piece, partition).is_ok();
    }
    let piece = piece.clone();
    blocking(Threads::Own, move || check(&piece, partition).is_ok())
        .await
        .unwrap_or(false)
}

/// Reads a whole run and proves its stored bytes; the reduce unpacks them.
pub(super) fn check(piece: &Piece, partition: u32) -> Result<(), SegmentError> {
    match piece {
        // The location said that there is something.
        Piece::Empty => check_run(std::io::empty(), partition),
        Piece::Memory(data) => check_run(&data[..], partition),
        Piece::Local {
            path,
            offset,
            bytes,
        } => check_file(path, *offset, *bytes, partition),
        Piece::Scratch { path, bytes } => check_file(path, 0, *bytes, partition),
    }
}

fn check_file(path: &Path, offset: u64, bytes: u64, partition: u32) -> Result<(), SegmentError> {
    let range =
        FileRange::open(path, offset, bytes).map_err(|source| SegmentError::Io { source })?;
    check_run(std::io::BufReader::new(range), partition)
}

fn check_run(run: impl std::io::Read, partition: u32) -> Result<(), SegmentError> {
    SegmentReader::of_partition(run, partition).prove()
}

impl Landing {
    pub(super) async fn begin(
        &self,
        output: MapOutput,
        expected_bytes: u64,
    ) -> std::io::Result<Incoming> {
        let place = if self.memory.take(expected_bytes) {
            Place::Memory(Vec::with_capacity(
                usize::try_from(expected_bytes).unwrap_or_default(),
            ))
        } else {
            tokio::fs::create_dir_all(&self.scratch).await?;
            keep_reserve_in(&self.scratch, expected_bytes)?;
            let name = format!("map-{}.{}", output.map, output.attempt);
            let path = self.scratch.join(name);
            let file = File::create(&path).await?;
            Place::File { path, file }
        };
        Ok(Incoming {
            expected_bytes,
            got_bytes: 0,
            place,
        })
    }

    /// The memory of a segment that is thrown away.
    pub(super) fn give_back(&self, piece: &Piece) {
        if let Piece::Memory(data) = piece {
            self.memory.give_back(data.len() as u64);
        }
    }

    /// The same for one that did not come whole.
    pub(super) fn give_up(&self, incoming: &Incoming) {
        if let Place::Memory(_) = incoming.place {
            self.memory.give_back(incoming.expected_bytes);
        }
    }
}

impl Incoming {
    /// Takes more bytes of it, not more than are left.
    pub(super) async fn add(&mut self, data: &[u8]) -> std::io::Result<()> {
        self.got_bytes += data.len() as u64;
        match &mut self.place {
            Place::Memory(bytes) => bytes.extend_from_slice(data),
            Place::File { file, .. } => file.write_all(data).await?,
        }
        Ok(())
    }

    pub(super) fn left_bytes(&self) -> u64 {
        self.expected_bytes.saturating_sub(self.got_bytes)
    }

    pub(super) async fn finish(self) -> std::io::Result<Piece> {
        Ok(match self.place {
            Place::Memory(bytes) => Piece::Memory(bytes.into()),
            Place::File { path, mut file } => {
                file.flush().await?;
                Piece::Scratch {
                    path,
                    bytes: self.expected_bytes,
                }
            }
        })
    }
}
