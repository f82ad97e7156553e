//! The segments of one partition that a reduce has gathered so far.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use vivat_engine::{SegmentData, SegmentSource};
use vivat_ground::Threads;
use vivat_shared::attempt::{Counters, counters};

use super::memory::Share;

/// Where the segment of one map task is now.
#[derive(Clone)]
pub(crate) enum Piece {
    /// Nothing was emitted for the partition.
    Empty,
    /// In a segment file of this worker.
    Local {
        path: PathBuf,
        offset: u64,
        bytes: u64,
    },
    /// Fetched.
    Memory(Arc<[u8]>),
    /// Fetched, into a file of its own.
    Scratch { path: PathBuf, bytes: u64 },
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Local { path, bytes, .. } => write!(f, "Local({}, {bytes})", path.display()),
            Self::Memory(data) => write!(f, "Memory({})", data.len()),
            Self::Scratch { path, bytes } => write!(f, "Scratch({}, {bytes})", path.display()),
        }
    }
}

impl Piece {
    fn bytes(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Local { bytes, .. } | Self::Scratch { bytes, .. } => *bytes,
            Self::Memory(data) => data.len() as u64,
        }
    }

    fn data(&self) -> Option<SegmentData> {
        match self {
            Self::Empty => None,
            Self::Local {
                path,
                offset,
                bytes,
            } => Some(SegmentData::File {
                path: path.clone(),
                offset: *offset,
                bytes: *bytes,
            }),
            Self::Memory(data) => Some(SegmentData::Memory(data.clone())),
            Self::Scratch { path, bytes } => Some(SegmentData::File {
                path: path.clone(),
                offset: 0,
                bytes: *bytes,
            }),
        }
    }
}

/// What fetching came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FetchSums {
    /// In segment files of this worker.
    pub(crate) local_bytes: u64,
    /// From other workers.
    pub(crate) remote_bytes: u64,
    /// Of those, in files.
    pub(crate) spilled_bytes: u64,
    /// From the first question to the last segment.
    pub(crate) elapsed: Duration,
}

impl FetchSums {
    /// Adds what is not nothing. Where threads are the callers' no time passes.
    pub(crate) fn count(self, threads: Threads, sums: &mut Counters) {
        let elapsed_us = match threads {
            Threads::Own => u64::try_from(self.elapsed.as_micros()).unwrap_or(u64::MAX),
            Threads::Callers => 0,
        };
        for (name, sum) in [
            (counters::SHUFFLE_LOCAL_BYTES, self.local_bytes),
            (counters::SHUFFLE_REMOTE_BYTES, self.remote_bytes),
            (counters::SHUFFLE_SPILLED_BYTES, self.spilled_bytes),
            (counters::SHUFFLE_ELAPSED_US, elapsed_us),
        ] {
            if sum > 0 {
                sums.insert(name.to_owned(), sum);
            }
        }
    }
}

/// What there is, by map task.
#[derive(Debug)]
pub(crate) struct Fetched {
    pieces: Vec<Option<(u16, Piece)>>,
    missing: usize,
    /// How often the segment of a map attempt arrived and was bad.
    bad: HashMap<(u32, u16), u32>,
    /// The right to hold segments in memory, until the reduce is done.
    pub(super) turn: Option<OwnedSemaphorePermit>,
    /// The memory that they take.
    pub(super) memory: Option<Arc<Share>>,
    /// How long fetching took.
    pub(super) elapsed: Duration,
    /// What of it is in files.
    pub(super) scratch: Option<Scratch>,
}

/// The directory of fetched files. It goes with whoever needed them, however
/// that ends: done, failed, killed or taken back.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) path: PathBuf,
    pub(super) runtime: Handle,
    pub(super) threads: Threads,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        let remove = move || {
            if let Err(error) = crate::dir::remove_tree(&path) {
                let path = path.display();
                tracing::warn!(%path, error = %error, "cannot delete fetched segments");
            }
        };
        match self.threads {
            // Whoever drops it may hold a lock or run on an async thread.
            Threads::Own => drop(self.runtime.spawn_blocking(remove)),
            Threads::Callers => remove(),
        }
    }
}

impl Fetched {
    pub(crate) fn none_of(maps: u32) -> Self {
        Self {
            pieces: vec![None; maps as usize],
            missing: maps as usize,
            bad: HashMap::new(),
            turn: None,
            memory: None,
            elapsed: Duration::ZERO,
            scratch: None,
        }
    }

    pub(super) fn maps(&self) -> usize {
        self.pieces.len()
    }

    /// Segments in the order of their maps, those that are empty left out.
    pub(crate) fn sources(&self) -> Vec<SegmentSource> {
        (0_u32..)
            .zip(&self.pieces)
            .filter_map(|(map, piece)| {
                let data = piece.as_ref()?.1.data()?;
                Some(SegmentSource { map, data })
            })
            .collect()
    }

    /// Stored bytes of all of them.
    pub(crate) fn bytes(&self) -> u64 {
        self.pieces
            .iter()
            .flatten()
            .map(|(_, piece)| piece.bytes())
            .sum()
    }

    /// What fetching them came to, for the attempt's counters.
    pub(crate) fn sums(&self) -> FetchSums {
        let mut sums = FetchSums {
            elapsed: self.elapsed,
            ..FetchSums::default()
        };
        for (_, piece) in self.pieces.iter().flatten() {
            match piece {
                Piece::Empty => {}
                Piece::Local { bytes, .. } => sums.local_bytes += bytes,
                Piece::Memory(data) => sums.remote_bytes += data.len() as u64,
                Piece::Scratch { bytes, .. } => {
                    sums.remote_bytes += bytes;
                    sums.spilled_bytes += bytes;
                }
            }
        }
        sums
    }

    /// A segment turned out bad when it was read: it is missing again.
    pub(crate) fn give_up(&mut self, map: u32) {
        if let Some(slot) = self.pieces.get_mut(map as usize)
            && let Some((attempt, _)) = slot.take()
        {
            self.missing += 1;
            self.note_bad(map, attempt);
        }
    }

    pub(super) fn note_bad(&mut self, map: u32, attempt: u16) {
        *self.bad.entry((map, attempt)).or_default() += 1;
    }

    /// Times that this segment was bad.
    pub(super) fn times_bad(&self, map: u32, attempt: u16) -> u32 {
        self.bad.get(&(map, attempt)).copied().unwrap_or(0)
    }

    pub(super) fn has(&self, map: u32) -> bool {
        self.pieces.get(map as usize).is_some_and(Option::is_some)
    }

    pub(super) fn put(&mut self, map: u32, attempt: u16, piece: Piece) {
        if let Some(slot) = self.pieces.get_mut(map as usize)
            && slot.is_none()
        {
            *slot = Some((attempt, piece));
            self.missing -= 1;
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.missing == 0
    }
}
