//! The directory's calls, in domain types.

use vivat_proto::convert::dataset::{open_to_wire, shape_from_wire};
use vivat_proto::convert::job::format_from_wire;
use vivat_proto::error::required;
use vivat_proto::v1;
use vivat_shared::dataset::{
    BlockSummary, DatasetFile, DatasetSpec, Holder, ReplicatedBlock, Shape,
};
use vivat_shared::ids::{DatasetId, JobId, WorkerId};
use vivat_shared::job::{HostIdentity, InputFormat};
use vivat_shared::limits::BLOCKS_LISTED_MAX;

use super::data_service;
use crate::error::ClientError;
use crate::jobs::timed;
use crate::leader::LeaderClient;

/// Datasets on one page.
const DATASETS_LISTED: u32 = 500;

/// A dataset as the leader describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetView {
    /// Which.
    pub id: DatasetId,
    /// Its name.
    pub name: String,
    /// At which records it was cut.
    pub format: InputFormat,
    /// What `get` makes of it.
    pub shape: Shape,
    /// Wanted replicas of each block.
    pub replicas: u32,
    /// Whether it is whole and visible.
    pub sealed: bool,
    /// Bytes of its files.
    pub bytes: u64,
    /// Its files.
    pub files: u64,
    /// Its blocks, as the leader counts them.
    pub blocks: u32,
    /// Blocks behind those of the files, which hold the list of files.
    pub list_blocks: u32,
    /// When it was opened.
    pub created_at_ms: u64,
    /// The job that wrote it, if one did.
    pub job: Option<JobId>,
    /// Blocks with fewer live holders than wanted.
    pub short_blocks: u32,
    /// Blocks without a live holder.
    pub lost_blocks: u32,
}

/// A block as the directory has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockView {
    /// What it is.
    pub summary: BlockSummary,
    /// Holders that are registered.
    pub holders: Vec<Holder>,
    /// Holders that are lost: their disks may come back.
    pub lost_holders: Vec<WorkerId>,
}

/// A dataset that was opened for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Which.
    pub dataset: DatasetId,
    /// Milliseconds without a word after which the leader gives it up.
    pub idle_ms: u64,
    /// The same key has sealed it already.
    pub is_sealed: bool,
    /// Blocks recorded so far.
    pub blocks: u32,
}

/// What a seal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Blocks in all, those of the list included.
    pub blocks: u32,
    /// Of these the last hold the list of files; with 0 `files` is the list.
    pub list_blocks: u32,
    /// The list of files when it is short.
    pub files: Vec<DatasetFile>,
    /// Files in all.
    pub file_count: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// What the whole list has.
    pub total: u32,
}

/// Pipelines that are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places<'a> {
    pub(crate) dataset: DatasetId,
    pub(crate) count: u32,
    pub(crate) replicas: u32,
    pub(crate) block_bytes: u64,
    pub(crate) avoid: &'a [WorkerId],
    pub(crate) near: HostIdentity,
}

impl LeaderClient {
    /// Begins a dataset, which nobody sees before it is sealed. Every try carries
    /// the same key, so a try whose answer was lost begins no second one.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`]; refusals are `DatasetExists`, `InvalidSpec` and
    /// `Limit`.
    pub async fn open_dataset(&self, key: &str, spec: &DatasetSpec) -> Result<Opened, ClientError> {
        let request = open_to_wire(key.to_owned(), spec.clone());
        let answer = self
            .call_leader(|channel, timeout| {
                let request = timed(request.clone(), timeout);
                async move { data_service(channel).open_dataset(request).await }
            })
            .await?;
        Ok(Opened {
            dataset: DatasetId(answer.dataset),
            idle_ms: answer.idle_ms,
            is_sealed: answer.sealed,
            blocks: answer.blocks,
        })
    }

    /// Pipelines for the next blocks, each with at least one hop.
    pub(crate) async fn place_blocks(
        &self,
        places: &Places<'_>,
    ) -> Result<Vec<Vec<Holder>>, ClientError> {
        let request = v1::PlaceBlocksRequest {
            dataset: places.dataset.0,
            count: places.count,
            replicas: places.replicas,
            block_bytes: places.block_bytes,
            avoid: places.avoid.iter().map(|worker| worker.0).collect(),
            near_host: places.near.0.clone(),
        };
        let answer = self
            .call_leader(|channel, timeout| {
                let request = timed(request.clone(), timeout);
                async move { data_service(channel).place_blocks(request).await }
            })
            .await?;
        let hops = |pipeline: v1::Pipeline| pipeline.hops.into_iter().map(Holder::from).collect();
        let pipelines = answer.pipelines.into_iter().map(hops);
        Ok(pipelines.filter(|hops: &Vec<_>| !hops.is_empty()).collect())
    }

    /// Records blocks from a position on; how many are recorded then.
    pub(crate) async fn append_blocks(
        &self,
        dataset: DatasetId,
        first: u32,
        blocks: &[ReplicatedBlock],
    ) -> Result<u32, ClientError> {
        let request = v1::AppendBlocksRequest {
            dataset: dataset.0,
            first,
            blocks: blocks.iter().cloned().map(Into::into).collect(),
        };
        let answer = self
            .call_leader(|channel, timeout| {
                let request = timed(request.clone(), timeout);
                async move { data_service(channel).append_blocks(request).await }
            })
            .await?;
        Ok(answer.blocks)
    }

    /// Makes a dataset visible, whole; how many of its blocks have fewer live
    /// holders than wanted. Idempotent.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`]; refusals are `UnknownDataset`, `InvalidBlocks`
    /// and `DatasetExists`.
    pub async fn seal_dataset(
        &self,
        dataset: DatasetId,
        sealed: &Sealed,
    ) -> Result<u32, ClientError> {
        let request = v1::SealDatasetRequest {
            dataset: dataset.0,
            blocks: sealed.blocks,
            list_blocks: sealed.list_blocks,
            files: Some(v1::DatasetFiles {
                files: sealed.files.iter().cloned().map(Into::into).collect(),
            }),
            file_count: sealed.file_count,
            bytes: sealed.bytes,
        };
        let answer = self
            .call_leader(|channel, timeout| {
                let request = timed(request.clone(), timeout);
                async move { data_service(channel).seal_dataset(request).await }
            })
            .await?;
        Ok(answer.short_blocks)
    }

    /// Gives up a dataset that is not sealed. Idempotent.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`].
    pub async fn abandon_dataset(&self, dataset: DatasetId) -> Result<(), ClientError> {
        self.call_leader(|channel, timeout| async move {
            let message = v1::AbandonDatasetRequest { dataset: dataset.0 };
            let request = timed(message, timeout);
            data_service(channel).abandon_dataset(request).await
        })
        .await?;
        Ok(())
    }

    /// A dataset by its name, with its files when their list is short.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`]; the refusal is `UnknownDataset`.
    pub async fn get_dataset(
        &self,
        name: &str,
    ) -> Result<(DatasetView, Vec<DatasetFile>), ClientError> {
        self.get_dataset_by(v1::get_dataset_request::Which::Name(name.to_owned()))
            .await
    }

    /// The same by its number.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::get_dataset`].
    pub async fn get_dataset_by_id(
        &self,
        dataset: DatasetId,
    ) -> Result<(DatasetView, Vec<DatasetFile>), ClientError> {
        self.get_dataset_by(v1::get_dataset_request::Which::Dataset(dataset.0))
            .await
    }

    async fn get_dataset_by(
        &self,
        which: v1::get_dataset_request::Which,
    ) -> Result<(DatasetView, Vec<DatasetFile>), ClientError> {
        let request = v1::GetDatasetRequest { which: Some(which) };
        let answer = self
            .call_leader(|channel, timeout| {
                let request = timed(request.clone(), timeout);
                async move { data_service(channel).get_dataset(request).await }
            })
            .await?;
        let dataset = required(answer.dataset, "dataset").map_err(ClientError::bad_answer)?;
        let files = answer.files.unwrap_or_default().files;
        let files = files.into_iter().map(Into::into).collect();
        Ok((dataset_view(dataset)?, files))
    }

    /// Every sealed dataset, by name.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`].
    pub async fn list_datasets(&self) -> Result<Vec<DatasetView>, ClientError> {
        let mut all: Vec<DatasetView> = Vec::new();
        loop {
            let request = v1::ListDatasetsRequest {
                after: all.last().map(|last| last.name.clone()).unwrap_or_default(),
                limit: DATASETS_LISTED,
            };
            let answer = self
                .call_leader(|channel, timeout| {
                    let request = timed(request.clone(), timeout);
                    async move { data_service(channel).list_datasets(request).await }
                })
                .await?;
            let ends = !answer.more || answer.datasets.is_empty();
            for dataset in answer.datasets {
                all.push(dataset_view(dataset)?);
            }
            if ends {
                return Ok(all);
            }
        }
    }

    /// Blocks of a dataset from a position on, at most so many.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`]; the refusal is `UnknownDataset`.
    pub async fn list_blocks(
        &self,
        dataset: DatasetId,
        first: u32,
        limit: u32,
    ) -> Result<Page<BlockView>, ClientError> {
        let answer = self
            .call_leader(|channel, timeout| async move {
                let message = v1::ListBlocksRequest {
                    dataset: dataset.0,
                    first,
                    limit,
                };
                let request = timed(message, timeout);
                data_service(channel).list_blocks(request).await
            })
            .await?;
        let items = answer.blocks.into_iter().map(block_view);
        Ok(Page {
            items: items.collect::<Result<_, _>>()?,
            total: answer.total,
        })
    }

    /// All blocks of a dataset in order, those of its list of files last.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::list_blocks`].
    pub async fn list_all_blocks(&self, dataset: DatasetId) -> Result<Vec<BlockView>, ClientError> {
        let limit = u32::try_from(BLOCKS_LISTED_MAX).unwrap_or(u32::MAX);
        let mut all: Vec<BlockView> = Vec::new();
        loop {
            let first = u32::try_from(all.len()).map_err(ClientError::bad_answer)?;
            let page = self.list_blocks(dataset, first, limit).await?;
            let is_last = page.items.is_empty();
            all.extend(page.items);
            if is_last || all.len() as u64 >= u64::from(page.total) {
                return Ok(all);
            }
        }
    }

    /// Removes a dataset.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`]; refusals are `UnknownDataset` and
    /// `DatasetInUse`.
    pub async fn remove_dataset(&self, name: &str) -> Result<(), ClientError> {
        let (known, _) = self.get_dataset(name).await?;
        self.remove(name, known.id, false).await
    }

    /// Takes a dataset's name away, and the dataset when no job reads it any more.
    ///
    /// # Errors
    ///
    /// As [`LeaderClient::call`]; the refusal is `UnknownDataset`.
    pub async fn remove_dataset_when_unread(&self, name: &str) -> Result<(), ClientError> {
        let (known, _) = self.get_dataset(name).await?;
        self.remove(name, known.id, true).await
    }

    async fn remove(
        &self,
        name: &str,
        dataset: DatasetId,
        when_unread: bool,
    ) -> Result<(), ClientError> {
        let request = v1::RemoveDatasetRequest {
            name: name.to_owned(),
            dataset: dataset.0,
            when_unread,
        };
        self.call_leader(|channel, timeout| {
            let request = timed(request.clone(), timeout);
            async move { data_service(channel).remove_dataset(request).await }
        })
        .await?;
        Ok(())
    }
}

fn dataset_view(dataset: v1::Dataset) -> Result<DatasetView, ClientError> {
    let format = format_from_wire(dataset.format, dataset.fixed_bytes);
    Ok(DatasetView {
        id: DatasetId(dataset.dataset),
        name: dataset.name,
        format: format.map_err(ClientError::bad_answer)?,
        shape: shape_from_wire(dataset.shape).map_err(ClientError::bad_answer)?,
        replicas: dataset.replicas,
        sealed: dataset.sealed,
        bytes: dataset.bytes,
        files: dataset.files,
        blocks: dataset.blocks,
        list_blocks: dataset.list_blocks,
        created_at_ms: dataset.created_at_ms,
        job: (dataset.job > 0).then_some(JobId(dataset.job)),
        short_blocks: dataset.short_blocks,
        lost_blocks: dataset.lost_blocks,
    })
}

fn block_view(block: v1::DatasetBlock) -> Result<BlockView, ClientError> {
    let summary = required(block.summary, "summary").map_err(ClientError::bad_answer)?;
    Ok(BlockView {
        summary: summary.try_into().map_err(ClientError::bad_answer)?,
        holders: block.holders.into_iter().map(Into::into).collect(),
        lost_holders: block.lost_holders.into_iter().map(WorkerId).collect(),
    })
}
