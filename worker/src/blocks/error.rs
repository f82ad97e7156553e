//! How blocks fail to come, to go and to be kept; and the same on the wire.

use std::error::Error;

use tonic::{Code, Status};
use vivat_proto::error::{detail_of, status};
use vivat_proto::v1;
use vivat_proto::v1::error_detail::Kind;
use vivat_shared::ids::{BlockId, WorkerId};
use vivat_store::StoreError;

/// Why one holder did not give a block, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It does not have it, and tells the leader so.
    #[error("it does not have it")]
    Gone,
    /// Its copy is damaged, and it tells the leader so.
    #[error("its copy is damaged")]
    Damaged,
    /// At its address is another worker by now.
    #[error("another worker is at {address}")]
    OtherWorker {
        /// `HOST:PORT`.
        address: String,
    },
    /// It has no stream left: ask again.
    #[error("all its streams are taken")]
    Busy,
    /// It did not answer, or broke off: ask again.
    #[error("{address} does not answer: {}", source.message())]
    Unreachable {
        /// `HOST:PORT`.
        address: String,
        /// What the call ended with.
        #[source]
        source: Box<Status>,
    },
    /// What it sent is not what was asked for.
    #[error("it sent {problem}")]
    Nonsense {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// This worker's own disk.
    #[error("{}", chain(.0))]
    Disk(StoreError),
    /// Reading panicked.
    #[error("reading it panicked")]
    Panicked,
}

impl FetchError {
    /// Whether the same holder may have it the next time.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Busy | Self::Unreachable { .. } => true,
            Self::Gone
            | Self::Damaged
            | Self::OtherWorker { .. }
            | Self::Nonsense { .. }
            | Self::Disk(_)
            | Self::Panicked => false,
        }
    }

    /// Sorts what a call to that address ended with.
    pub(super) fn of(address: &str, answer: Status) -> Self {
        match detail_of(&answer) {
            Some(Kind::BlockGone(_)) => Self::Gone,
            Some(Kind::BlockDamaged(_)) => Self::Damaged,
            Some(Kind::OtherWorker(_)) => Self::OtherWorker {
                address: address.to_owned(),
            },
            Some(_) | None if answer.code() == Code::ResourceExhausted => Self::Busy,
            Some(_) | None => Self::Unreachable {
                address: address.to_owned(),
                source: Box::new(answer),
            },
        }
    }
}

/// What one holder said when a block was to be read from it.
#[derive(Debug)]
pub struct Refusal {
    /// Who.
    pub worker: WorkerId,
    /// What.
    pub error: FetchError,
}

/// Nobody gave a block.
#[derive(Debug, thiserror::Error)]
pub enum BlockReadError {
    /// Every holder was asked.
    #[error("cannot read {block} from byte {offset}: {}", told(refusals))]
    Unreadable {
        /// Which block of which dataset.
        block: BlockId,
        /// The first byte that nobody gave.
        offset: u64,
        /// What each holder said, in the order in which they were asked; nobody
        /// is known to have it when this is empty.
        refusals: Vec<Refusal>,
    },
    /// Each part was right, and the whole is not the block's.
    #[error("{block} was read with checksum {found:#010x}, expected {expected:#010x}")]
    Corrupt {
        /// Which block of which dataset.
        block: BlockId,
        /// Its checksum.
        expected: u32,
        /// The checksum of what was read.
        found: u32,
    },
    /// A range that the block does not have.
    #[error("{block} has {bytes} bytes, and byte {end} was asked for")]
    Range {
        /// Which block of which dataset.
        block: BlockId,
        /// Bytes that it has.
        bytes: u64,
        /// End of the range.
        end: u64,
    },
}

/// Why this worker does not have a block that came to it.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The store's reason.
    #[error("{}", chain(.0))]
    Store(StoreError),
    /// Some of it got lost on the way.
    #[error("{received} bytes came, and its sender says {announced}")]
    Length {
        /// What came.
        received: u64,
        /// What the sender says.
        announced: u64,
    },
    /// The disk is too slow, or hangs.
    #[error("the disk did not take it in time")]
    Stalled,
    /// Writing panicked.
    #[error("writing it panicked")]
    Panicked,
}

/// A hop of a pipeline that does not have the block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedHop {
    /// Who.
    pub worker: WorkerId,
    /// Why.
    pub problem: String,
}

/// Nobody took a block.
#[derive(Debug, thiserror::Error)]
#[error("nobody took {block}: {}", failed_hops(failed))]
pub struct BlockWriteError {
    /// Which block of which dataset.
    pub block: BlockId,
    /// What each hop said.
    pub failed: Vec<FailedHop>,
}

fn told(refusals: &[Refusal]) -> String {
    if refusals.is_empty() {
        return "no worker that is here has it".to_owned();
    }
    let told = refusals.iter();
    let told: Vec<String> = told
        .map(|refusal| format!("{}: {}", refusal.worker, refusal.error))
        .collect();
    told.join("; ")
}

pub(super) fn failed_hops(failed: &[FailedHop]) -> String {
    if failed.is_empty() {
        return "this worker has not registered yet, or was told before".to_owned();
    }
    let told = failed.iter();
    let told: Vec<String> = told
        .map(|hop| format!("{}: {}", hop.worker, hop.problem))
        .collect();
    told.join("; ")
}

/// An error with all its reasons.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// What the store said, as a status.
pub(super) fn store_status(error: &StoreError) -> Status {
    let message = chain(error);
    match error {
        StoreError::NotFound { .. } => {
            status(Code::NotFound, message, Kind::BlockGone(v1::BlockGone {}))
        }
        StoreError::Damaged { .. } => {
            let damaged = Kind::BlockDamaged(v1::BlockDamaged {});
            status(Code::DataLoss, message, damaged)
        }
        StoreError::Full { .. } => {
            let problem = message.clone();
            let no_room = Kind::NoRoom(v1::NoRoom { problem });
            status(Code::ResourceExhausted, message, no_room)
        }
        StoreError::Corrupt { .. } => Status::data_loss(message),
        StoreError::Conflict { .. } => Status::already_exists(message),
        StoreError::TooLong { .. } => Status::invalid_argument(message),
        StoreError::Range { .. } => Status::out_of_range(message),
        StoreError::Broken { .. }
        | StoreError::Stopped
        | StoreError::InUse { .. }
        | StoreError::Io { .. } => Status::internal(message),
    }
}

/// Why a block was not kept, as a status.
pub(super) fn keep_status(error: &KeepError) -> Status {
    match error {
        KeepError::Store(error) => store_status(error),
        KeepError::Length { .. } => Status::data_loss(error.to_string()),
        KeepError::Stalled | KeepError::Panicked => Status::internal(error.to_string()),
    }
}
