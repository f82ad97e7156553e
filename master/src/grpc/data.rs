//! `DataService`: the directory of datasets.

use prost::Message as _;
use tonic::{Request, Response, Status};
use vivat_core::State;
use vivat_core::command::{DataCommand, DatasetSeal, Rejection, Reply};
use vivat_core::query;
use vivat_core::state::Dataset;
use vivat_proto::convert::dataset::open_from_wire;
use vivat_proto::convert::job::format_to_wire;
use vivat_proto::error::{collect, required};
use vivat_proto::v1;
use vivat_proto::v1::data_service_server::DataService;
use vivat_shared::ids::{DatasetId, WorkerId};
use vivat_shared::limits::{BLOCKS_LISTED_MAX, MESSAGE_BYTES_MAX, REPLICAS_MAX};

use super::Services;
use super::jobs::unexpected;
use super::workers::worker_of;
use crate::leader::LeaderError;
use crate::leader::data::{BlockReport, OPEN_IDLE, PlaceRequest};

/// Pipelines of one answer.
const PIPELINES_MAX: usize = 64;
/// Datasets of one page.
const DATASETS_LISTED_MAX: usize = 1_000;
/// What a page may take of a message.
const PAGE_BYTES_MAX: usize = MESSAGE_BYTES_MAX / 2;

#[tonic::async_trait]
impl DataService for Services {
    async fn open_dataset(
        &self,
        request: Request<v1::OpenDatasetRequest>,
    ) -> Result<Response<v1::OpenDatasetResponse>, Status> {
        let (key, spec) = open_from_wire(request.into_inner())?;
        let leader = self.leader()?;
        let opened = self.change(DataCommand::OpenDataset { key, spec }).await?;
        let Reply::Dataset {
            dataset,
            sealed,
            blocks,
        } = opened
        else {
            return Err(unexpected(&opened));
        };
        leader.touch(dataset);
        Ok(Response::new(v1::OpenDatasetResponse {
            dataset: dataset.0,
            idle_ms: u64::try_from(OPEN_IDLE.as_millis()).unwrap_or(u64::MAX),
            sealed,
            blocks,
        }))
    }

    async fn place_blocks(
        &self,
        request: Request<v1::PlaceBlocksRequest>,
    ) -> Result<Response<v1::PlaceBlocksResponse>, Status> {
        let request = request.into_inner();
        let pipelines = self.leader()?.place(&PlaceRequest {
            dataset: DatasetId(request.dataset),
            count: PIPELINES_MAX.min(request.count.max(1) as usize),
            replicas: usize::from(REPLICAS_MAX).min(request.replicas.max(1) as usize),
            block_bytes: request.block_bytes,
            avoid: request.avoid.into_iter().map(WorkerId).collect(),
            near_host: request.near_host,
        });
        if pipelines.iter().any(Vec::is_empty) || pipelines.is_empty() {
            return Err(no_room(request.block_bytes));
        }
        let wire = |hops: Vec<vivat_shared::dataset::Holder>| v1::Pipeline {
            hops: hops.into_iter().map(Into::into).collect(),
        };
        Ok(Response::new(v1::PlaceBlocksResponse {
            pipelines: pipelines.into_iter().map(wire).collect(),
        }))
    }

    async fn append_blocks(
        &self,
        request: Request<v1::AppendBlocksRequest>,
    ) -> Result<Response<v1::AppendBlocksResponse>, Status> {
        let request = request.into_inner();
        let dataset = DatasetId(request.dataset);
        self.leader()?.touch_blocks(dataset);
        let command = DataCommand::AppendBlocks {
            dataset,
            first: request.first,
            blocks: collect(request.blocks)?,
        };
        match self.change(command).await? {
            Reply::Dataset { blocks, .. } => Ok(Response::new(v1::AppendBlocksResponse { blocks })),
            other => Err(unexpected(&other)),
        }
    }

    async fn seal_dataset(
        &self,
        request: Request<v1::SealDatasetRequest>,
    ) -> Result<Response<v1::SealDatasetResponse>, Status> {
        let request = request.into_inner();
        let dataset = DatasetId(request.dataset);
        let files = request.files.unwrap_or_default().files;
        let seal = DatasetSeal {
            blocks: request.blocks,
            list_blocks: request.list_blocks,
            files: files.into_iter().map(Into::into).collect(),
            file_count: request.file_count,
            bytes: request.bytes,
        };
        self.change(DataCommand::SealDataset { dataset, seal })
            .await?;
        tracing::info!(%dataset, "dataset sealed");
        let short = self
            .look(move |state| {
                let known = state.directory().get(dataset);
                known.map_or(0, |known| shortages(state, known).0)
            })
            .await?;
        let short_blocks = short;
        Ok(Response::new(v1::SealDatasetResponse { short_blocks }))
    }

    async fn abandon_dataset(
        &self,
        request: Request<v1::AbandonDatasetRequest>,
    ) -> Result<Response<v1::AbandonDatasetResponse>, Status> {
        let dataset = DatasetId(request.into_inner().dataset);
        let term = self.leader()?.term();
        self.change(DataCommand::AbandonDataset { dataset, term })
            .await?;
        Ok(Response::new(v1::AbandonDatasetResponse {}))
    }

    async fn get_dataset(
        &self,
        request: Request<v1::GetDatasetRequest>,
    ) -> Result<Response<v1::GetDatasetResponse>, Status> {
        use v1::get_dataset_request::Which;
        let which = required(request.into_inner().which, "which")?;
        let answer = self
            .look(|state| {
                let known = match &which {
                    Which::Name(name) => state.directory().named(name),
                    Which::Dataset(id) => state.directory().get(DatasetId(*id)),
                }?;
                let files = known.listed().map(|files| v1::DatasetFiles {
                    files: files.iter().cloned().map(Into::into).collect(),
                });
                let dataset = Some(describe(state, known));
                Some(v1::GetDatasetResponse { dataset, files })
            })
            .await?;
        let unknown = || match which {
            Which::Name(name) => Rejection::UnknownDatasetName(name),
            Which::Dataset(id) => Rejection::UnknownDataset(DatasetId(id)),
        };
        answer
            .map(Response::new)
            .ok_or_else(|| self.status(LeaderError::Rejected(unknown())))
    }

    async fn list_datasets(
        &self,
        request: Request<v1::ListDatasetsRequest>,
    ) -> Result<Response<v1::ListDatasetsResponse>, Status> {
        let request = request.into_inner();
        let limit = page(request.limit, DATASETS_LISTED_MAX);
        let answer = self
            .look(|state| {
                let mut rest = state.directory().after(&request.after);
                let datasets: Vec<_> = rest
                    .by_ref()
                    .take(limit)
                    .map(|known| describe(state, known))
                    .collect();
                let more = rest.next().is_some();
                v1::ListDatasetsResponse { datasets, more }
            })
            .await?;
        Ok(Response::new(answer))
    }

    async fn list_blocks(
        &self,
        request: Request<v1::ListBlocksRequest>,
    ) -> Result<Response<v1::ListBlocksResponse>, Status> {
        let request = request.into_inner();
        let dataset = DatasetId(request.dataset);
        let limit = u32::try_from(page(request.limit, BLOCKS_LISTED_MAX)).unwrap_or(u32::MAX);
        let answer = self
            .look(|state| {
                let known = state.directory().get(dataset)?;
                let total = known.blocks.len();
                let end = request.first.saturating_add(limit).min(total);
                let mut bytes = 0;
                let blocks = (request.first..end)
                    .filter_map(|position| located(state, known, position))
                    .take_while(|block| {
                        bytes += block.encoded_len();
                        bytes <= PAGE_BYTES_MAX
                    })
                    .collect();
                Some(v1::ListBlocksResponse { blocks, total })
            })
            .await?;
        answer
            .map(Response::new)
            .ok_or_else(|| self.status(LeaderError::Rejected(Rejection::UnknownDataset(dataset))))
    }

    async fn remove_dataset(
        &self,
        request: Request<v1::RemoveDatasetRequest>,
    ) -> Result<Response<v1::RemoveDatasetResponse>, Status> {
        let request = request.into_inner();
        let command = DataCommand::RemoveDataset {
            name: request.name,
            dataset: DatasetId(request.dataset),
            when_unread: request.when_unread,
        };
        self.change(command).await?;
        Ok(Response::new(v1::RemoveDatasetResponse {}))
    }

    async fn report_blocks(
        &self,
        request: Request<v1::ReportBlocksRequest>,
    ) -> Result<Response<v1::ReportBlocksResponse>, Status> {
        let leader = self.leader_for_worker()?;
        let request = request.into_inner();
        let worker = worker_of(request.worker)?;
        let report = BlockReport {
            after: request.after.map(Into::into),
            blocks: collect(request.blocks)?,
            last: request.last,
        };
        let orders = leader
            .report_blocks(worker, &report)
            .await
            .map_err(|error| self.status(error))?;
        Ok(Response::new(v1::ReportBlocksResponse {
            remove: orders.remove.into_iter().map(Into::into).collect(),
            unknown: orders.unknown.into_iter().map(Into::into).collect(),
        }))
    }

    async fn report_lost_blocks(
        &self,
        request: Request<v1::ReportLostBlocksRequest>,
    ) -> Result<Response<v1::ReportLostBlocksResponse>, Status> {
        let leader = self.leader_for_worker()?;
        let request = request.into_inner();
        let worker = worker_of(request.worker)?;
        let blocks = request.blocks.into_iter().map(Into::into).collect();
        leader
            .report_lost_blocks(worker, blocks)
            .await
            .map_err(|error| self.status(error))?;
        Ok(Response::new(v1::ReportLostBlocksResponse {}))
    }
}

impl Services {
    /// Proposes a client's change of the directory or of a value.
    pub(super) async fn change(&self, command: DataCommand) -> Result<Reply, Status> {
        let answered = self.leader()?.propose_for_client(command.into()).await;
        answered.map_err(|error| self.status(error))
    }

    /// Reads the state as it is decided now.
    pub(super) async fn look<T>(&self, read: impl FnOnce(&State) -> T) -> Result<T, Status> {
        let answered = self.leader()?.read_decided(|state, _| read(state)).await;
        answered.map_err(|error| self.status(error))
    }
}

/// How many a page has, of what was asked for; 0 asks for the most.
pub(super) fn page(asked: u32, most: usize) -> usize {
    match asked {
        0 => most,
        asked => most.min(asked as usize),
    }
}

fn no_room(block_bytes: u64) -> Status {
    let problem = format!("no worker has room for a block of {block_bytes} bytes");
    vivat_proto::error::status(
        tonic::Code::ResourceExhausted,
        problem.clone(),
        v1::error_detail::Kind::NoRoom(v1::NoRoom { problem }),
    )
}

/// Blocks with fewer live holders than wanted, and with none.
fn shortages(state: &State, dataset: &Dataset) -> (u32, u32) {
    let wanted = usize::from(dataset.spec.replicas);
    let live = |workers: &[WorkerId]| {
        let registered = workers
            .iter()
            .filter(|worker| state.is_registered(**worker));
        registered.count()
    };
    let (mut short, mut lost) = (0, 0);
    for row in dataset.blocks.rows() {
        let live = live(&row.workers);
        short += u32::from(live < wanted);
        lost += u32::from(live == 0);
    }
    (short, lost)
}

fn describe(state: &State, dataset: &Dataset) -> v1::Dataset {
    let (format, fixed_bytes) = format_to_wire(dataset.spec.format);
    let (short_blocks, lost_blocks) = shortages(state, dataset);
    let sealed = dataset.sealed.as_ref();
    let list_blocks = dataset.list_blocks();
    v1::Dataset {
        dataset: dataset.id.0,
        name: dataset.spec.name.clone(),
        format: format.into(),
        fixed_bytes,
        shape: v1::DatasetShape::from(dataset.spec.shape).into(),
        replicas: u32::from(dataset.spec.replicas),
        sealed: sealed.is_some(),
        bytes: sealed.map_or(0, |sealed| sealed.bytes),
        files: sealed.map_or(0, |sealed| sealed.file_count),
        blocks: dataset.blocks.len() - list_blocks,
        list_blocks,
        created_at_ms: dataset.created_at_ms,
        job: dataset.job.map_or(0, |job| job.0),
        short_blocks,
        lost_blocks,
    }
}

fn located(state: &State, dataset: &Dataset, position: u32) -> Option<v1::DatasetBlock> {
    let row = dataset.blocks.rows().get(position as usize)?;
    let lost = row
        .workers
        .iter()
        .filter(|worker| !state.is_registered(**worker));
    Some(v1::DatasetBlock {
        lost_holders: lost.map(|worker| worker.0).collect(),
        ..query::locate_block(state, dataset, position)?.into()
    })
}
