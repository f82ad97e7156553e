//! The blocks of datasets on a worker's disk: each checked, whole or not there,
//! and all together within a budget.
//!
//! What it promises:
//!
//! - *Durable before promised* (S6, S9). [`BlockWriter::finish`] answers when the
//!   file and its name are synced. A sync that fails ends writing for good.
//! - *Right bytes or an error* (S7). Bytes leave [`BlockReader`] after their
//!   64 KiB agreed with their checksum. A copy that does not is moved aside,
//!   reported through [`Opened::damaged`], and never served again.
//! - *Refused before the disk is full* (F16). A block's place is reserved before
//!   its first byte; see [`StoreError::Full`].
//! - *Deleted on request only* (S15), and not while a [`Pin`] holds the block.
//!
//! Everything blocks: call it on a thread that may. A [`Store`] is a cheap handle
//! for any number of threads; a writer or a reader belongs to one stream.
//!
//! **A broken pipeline.** Bytes flow from the sender to a first worker, and from
//! there to the next. A writer belongs to no connection: who serves it may keep
//! it for a while after its sender is gone. [`BlockWriter::received`] says how
//! many bytes it has and their checksum. A sender that still has the block
//! compares the checksum with that of its own first so many bytes, and goes on
//! from there on the replica that survived; a worker that is new to the block
//! gets it from the start, by the sender or later by a copy of the finished one.
//! There is nothing to resume after a restart: an unfinished block is no block.
//!
//! [`cut`] is the other end of it: where a stream of bytes is cut into blocks.
//!
//! This crate knows files and checksums. It knows neither the network nor the
//! directory of datasets, and has no clock but that of [`ScrubDriver`].

mod aside;
pub mod cut;
mod error;
mod format;
mod layout;
mod open;
mod reader;
mod scrub;
mod space;
mod store;
mod writer;

pub use error::{Damage, Limit, StoreError};
pub use format::{CHUNK_BYTES, FORMAT_VERSION};
pub use open::Opened;
pub use reader::{BlockReader, BlockStream};
pub use scrub::{ScrubDriver, ScrubStep, Scrubber, TokenBucket};
pub use space::Usage;
pub use store::{DamagedBlock, Deletion, Pin, Store};
pub use writer::{BlockWriter, Created, Finished, Received};
