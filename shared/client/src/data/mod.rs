//! Datasets and named values, as a client works with them.
//!
//! The directory and the values are the leader's ([`crate::LeaderClient`] has a
//! method for each of their calls); the bytes are the workers', who are called
//! directly ([`Workers`]). [`BlockSender`] brings blocks onto their replicas,
//! whoever dies on the way; [`BlockFetch`] and [`DatasetReader`] bring them back,
//! checked, from whoever still has them.
//!
//! Nothing here reads or writes a file, and nothing here knows records: where
//! bytes are cut into blocks is decided by whoever has them.

mod append;
mod audit;
mod directory;
mod error;
mod fetch;
mod files;
mod place;
mod read;
mod send;
mod values;
mod workers;

pub use audit::{Audit, Difference, DifferenceKind, audit};
pub use directory::{BlockView, DatasetView, Opened, Page, Sealed};
pub use error::{BlockProblem, DataError, HolderProblem};
pub use fetch::BlockFetch;
pub use files::{decode_files, encode_files, files_fit_the_log};
pub use read::DatasetReader;
pub use send::{BlockBytes, BlockSender, SendProgress, Sent};
pub use values::{Value, ValueView};
pub use workers::Workers;

use tonic::transport::Channel;
use vivat_proto::v1::block_service_client::BlockServiceClient;
use vivat_proto::v1::data_service_client::DataServiceClient;
use vivat_proto::v1::value_service_client::ValueServiceClient;
use vivat_shared::limits::MESSAGE_BYTES_MAX;

/// The directory's service over a channel, with the message limit both ways.
#[must_use]
pub fn data_service(channel: Channel) -> DataServiceClient<Channel> {
    DataServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// The values' service over a channel, with the message limit both ways.
#[must_use]
pub fn value_service(channel: Channel) -> ValueServiceClient<Channel> {
    ValueServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// A worker's blocks over a channel, with the message limit both ways.
#[must_use]
pub fn block_service(channel: Channel) -> BlockServiceClient<Channel> {
    BlockServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}
