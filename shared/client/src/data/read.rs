//! The bytes of a dataset in order, read ahead of whoever takes them.

use std::ops::Range;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use vivat_shared::dataset::DatasetFile;
use vivat_shared::limits::BLOCKS_LISTED_MAX;

use super::directory::DatasetView;
use super::error::DataError;
use super::fetch::BlockFetch;
use super::files::decode_files;
use super::workers::Workers;
use crate::leader::LeaderClient;

/// Messages that wait to be taken: some MiB, so that reading and writing overlap.
const READ_AHEAD: usize = 32;

/// Bytes of a dataset's blocks, one block after the other.
#[derive(Debug)]
pub struct DatasetReader {
    queue: mpsc::Receiver<Result<Bytes, DataError>>,
    task: JoinHandle<()>,
}

impl DatasetReader {
    /// The bytes of its files.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`].
    pub async fn open(
        client: &LeaderClient,
        workers: &Workers,
        dataset: &DatasetView,
    ) -> Result<Self, DataError> {
        let total = client.list_blocks(dataset.id, 0, 1).await?.total;
        let of_files = total.saturating_sub(dataset.list_blocks);
        Ok(Self::start(client, workers, dataset, 0..of_files))
    }

    fn start(
        client: &LeaderClient,
        workers: &Workers,
        dataset: &DatasetView,
        blocks: Range<u32>,
    ) -> Self {
        let (sender, queue) = mpsc::channel(READ_AHEAD);
        let reading = Reading {
            client: client.clone(),
            workers: workers.clone(),
            dataset: dataset.clone(),
            sender,
        };
        let task = tokio::spawn(reading.run(blocks));
        Self { queue, task }
    }

    /// The next bytes, none behind the last. Cancel-safe.
    ///
    /// # Errors
    ///
    /// As [`BlockFetch::next`]. Nothing follows an error.
    pub async fn next(&mut self) -> Result<Option<Bytes>, DataError> {
        self.queue.recv().await.transpose()
    }

    /// The list of a dataset's files, where it stands in blocks.
    ///
    /// # Errors
    ///
    /// As [`BlockFetch::next`]; [`DataError::Inconsistent`] when it is no list.
    pub async fn files(
        client: &LeaderClient,
        workers: &Workers,
        dataset: &DatasetView,
    ) -> Result<Vec<DatasetFile>, DataError> {
        let total = client.list_blocks(dataset.id, 0, 1).await?.total;
        let first = total.saturating_sub(dataset.list_blocks);
        let mut reader = Self::start(client, workers, dataset, first..total);
        let mut list = Vec::new();
        while let Some(bytes) = reader.next().await? {
            list.extend_from_slice(&bytes);
        }
        decode_files(&list).ok_or_else(|| DataError::Inconsistent {
            dataset: dataset.name.clone(),
            problem: "its list of files cannot be read".to_owned(),
        })
    }
}

impl Drop for DatasetReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The side that reads.
struct Reading {
    client: LeaderClient,
    workers: Workers,
    dataset: DatasetView,
    sender: mpsc::Sender<Result<Bytes, DataError>>,
}

impl Reading {
    async fn run(self, blocks: Range<u32>) {
        if let Err(error) = self.read(blocks).await {
            // Whoever took the bytes may be gone: then nobody needs to know.
            let _gone = self.sender.send(Err(error)).await;
        }
    }

    async fn read(&self, blocks: Range<u32>) -> Result<(), DataError> {
        let limit = u32::try_from(BLOCKS_LISTED_MAX).unwrap_or(u32::MAX);
        let mut position = blocks.start;
        while position < blocks.end {
            let count = limit.min(blocks.end - position);
            let id = self.dataset.id;
            let page = self.client.list_blocks(id, position, count).await?;
            if page.items.is_empty() {
                return Err(DataError::Inconsistent {
                    dataset: self.dataset.name.clone(),
                    problem: format!("it has no block {position}"),
                });
            }
            for block in page.items.into_iter().take(count as usize) {
                let mut fetch = BlockFetch::new(
                    self.client.clone(),
                    self.workers.clone(),
                    self.dataset.name.clone(),
                    position,
                    block,
                );
                while let Some(bytes) = fetch.next().await? {
                    if self.sender.send(Ok(bytes)).await.is_err() {
                        return Ok(());
                    }
                }
                position += 1;
            }
        }
        Ok(())
    }
}
