//! A range of a block from one holder, each piece checked as it comes.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use tonic::{Request, Status, Streaming};
use vivat_proto::v1;
use vivat_proto::v1::block_service_client::BlockServiceClient;
use vivat_shared::dataset::{BlockSummary, Holder};
use vivat_shared::ids::ClusterId;

use super::error::FetchError;
use super::{Blocks, MESSAGE_BYTES_MAX};

/// A holder that says nothing for so long is not answering. Longer than it lets
/// a caller wait for a stream.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// A running fetch.
#[derive(Debug)]
pub(super) struct Fetch {
    address: String,
    stream: Streaming<v1::ReadBlockResponse>,
    block: BlockSummary,
    /// What is to come.
    left: Range<u64>,
    /// The first message is to name the block.
    is_named: bool,
}

impl Fetch {
    /// Asks a holder for a range that the block has.
    pub(super) async fn open(
        blocks: &Blocks,
        cluster: ClusterId,
        from: &Holder,
        block: BlockSummary,
        range: Range<u64>,
    ) -> Result<Self, FetchError> {
        let address = from.address.clone();
        let Some(channel) = blocks.peers().get(&address) else {
            let problem = Status::invalid_argument(format!("`{address}` is no address"));
            return Err(FetchError::of(&address, problem));
        };
        let request = v1::ReadBlockRequest {
            block: Some(block.id.into()),
            offset: range.start,
            bytes: range.end - range.start,
            worker: from.worker.0,
            cluster_id: cluster.to_string(),
        };
        let mut client =
            BlockServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let answer = match within(client.read_block(Request::new(request))).await {
            Ok(answer) => answer,
            Err(status) => {
                if std::error::Error::source(&status).is_some() {
                    // Made on this side, from a connection that broke.
                    blocks.peers().give_up(&address);
                }
                return Err(FetchError::of(&address, status));
            }
        };
        Ok(Self {
            address,
            stream: answer.into_inner(),
            block,
            left: range,
            is_named: false,
        })
    }

    /// The next piece; none at the end of the range.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        while !self.is_named || !self.left.is_empty() {
            let message = within(self.stream.message()).await;
            let message = message.map_err(|status| FetchError::of(&self.address, status))?;
            let Some(message) = message else {
                let early = Status::unavailable("the stream ended early");
                return Err(FetchError::of(&self.address, early));
            };
            self.check_name(message.summary)?;
            if crc32c::crc32c(&message.data) != message.crc32c {
                return Err(nonsense("a piece with another checksum"));
            }
            let bytes = message.data.len() as u64;
            if bytes > self.left.end - self.left.start {
                return Err(nonsense("more than was asked for"));
            }
            if bytes > 0 {
                self.left.start += bytes;
                return Ok(Some(message.data));
            }
        }
        Ok(None)
    }

    fn check_name(&mut self, named: Option<v1::BlockSummary>) -> Result<(), FetchError> {
        if self.is_named {
            return Ok(());
        }
        let named = named.and_then(|summary| BlockSummary::try_from(summary).ok());
        if named != Some(self.block) {
            return Err(nonsense("another block's bytes"));
        }
        self.is_named = true;
        Ok(())
    }
}

fn nonsense(problem: &'static str) -> FetchError {
    FetchError::Nonsense { problem }
}

async fn within<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(SILENCE_MAX, call).await {
        Ok(result) => result,
        Err(_elapsed) => Err(Status::deadline_exceeded("it is silent")),
    }
}
