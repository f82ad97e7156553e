//! What the leader is told of blocks: all that are here, a page at a time, and
//! those that got lost, as soon as that is known.

use std::convert::Infallible;
use std::time::Duration;

use tonic::transport::Channel;
use vivat_client::ClientError;
use vivat_proto::v1;
use vivat_proto::v1::data_service_client::DataServiceClient;
use vivat_shared::ids::BlockId;
use vivat_shared::limits::{BLOCKS_LISTED_MAX, MESSAGE_BYTES_MAX};

use super::{CALL_TIMEOUT, Registration, Session, SessionEnd, after_error};

/// Before a report that failed is made again.
const PAUSE: Duration = Duration::from_secs(5);

impl Session {
    /// After the registration, and again and again: what got lost on the way of
    /// single messages is mended by the whole.
    pub(super) async fn report_blocks(
        &self,
        registration: Registration,
    ) -> Result<Infallible, SessionEnd> {
        loop {
            let interval = match self.report_all_blocks(registration).await {
                Ok(()) => self.block_report_interval,
                Err(error) => {
                    after_error("block report", error).await?;
                    PAUSE.min(self.block_report_interval)
                }
            };
            // Workers that lost the same leader are not to report as one.
            let jitter = 0.75 + rand::random::<f64>() / 4.0;
            tokio::time::sleep(interval.mul_f64(jitter)).await;
        }
    }

    async fn report_all_blocks(&self, registration: Registration) -> Result<(), ClientError> {
        let mut after = None;
        loop {
            let answer = self.report_page(registration, after).await?;
            self.blocks.remove(answer.remove);
            after = match answer.last {
                Some(last) => Some(last),
                None => return Ok(()),
            };
        }
    }

    /// One page. It is made anew for each try: the leader takes what is not in it
    /// for gone, and an old one would not have what came meanwhile.
    async fn report_page(
        &self,
        registration: Registration,
        after: Option<BlockId>,
    ) -> Result<Page, ClientError> {
        let blocks = self.blocks.store().list(after, BLOCKS_LISTED_MAX);
        let is_last = blocks.len() < BLOCKS_LISTED_MAX;
        let last = blocks.last().map(|summary| summary.id);
        let request = v1::ReportBlocksRequest {
            worker: Some(registration.worker.into()),
            after: after.map(Into::into),
            blocks: blocks.into_iter().map(Into::into).collect(),
            last: is_last,
        };
        let answer = self
            .call_over(
                CALL_TIMEOUT,
                CALL_TIMEOUT,
                &request,
                |channel, request| async move {
                    let mut client = data_service(channel);
                    client.report_blocks(request).await
                },
            )
            .await?;
        if !(answer.remove.is_empty() && answer.unknown.is_empty()) {
            tracing::debug!(
                remove = answer.remove.len(),
                unknown = answer.unknown.len(),
                "blocks that the directory does not want here, or does not know"
            );
        }
        Ok(Page {
            remove: answer.remove.into_iter().map(Into::into).collect(),
            last: last.filter(|_| !is_last),
        })
    }

    /// Until a leader has answered; what is left by the end of an epoch is told
    /// in the next one.
    pub(super) async fn report_lost_blocks(
        &self,
        registration: Registration,
    ) -> Result<Infallible, SessionEnd> {
        loop {
            let lost = self.blocks.lost().await;
            let request = v1::ReportLostBlocksRequest {
                worker: Some(registration.worker.into()),
                blocks: lost.iter().copied().map(Into::into).collect(),
            };
            let answer = self
                .call_over(
                    CALL_TIMEOUT,
                    CALL_TIMEOUT,
                    &request,
                    |channel, request| async move {
                        data_service(channel).report_lost_blocks(request).await
                    },
                )
                .await;
            match answer {
                Ok(v1::ReportLostBlocksResponse {}) => {
                    tracing::warn!(blocks = lost.len(), "lost copies reported");
                    self.blocks.forget_lost(&lost);
                }
                Err(error) => after_error("report of lost blocks", error).await?,
            }
        }
    }
}

/// What came of a page.
struct Page {
    remove: Vec<BlockId>,
    /// Its last block, if more follow.
    last: Option<BlockId>,
}

fn data_service(channel: Channel) -> DataServiceClient<Channel> {
    DataServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}
