//! A leader that is played, with a directory of one dataset at a time, and
//! workers that keep their blocks in memory: real gRPC on loopback.
#![expect(
    clippy::unwrap_used,
    reason = "a fake that cannot start or lock has no test to go on with"
)]

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::runtime::{Builder, Runtime};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status, Streaming};
use vivat_client::data::Workers;
use vivat_client::{ClientOptions, LeaderClient};
use vivat_proto::error::status;
use vivat_proto::v1::block_service_server::{BlockService, BlockServiceServer};
use vivat_proto::v1::data_service_server::{DataService, DataServiceServer};
use vivat_proto::v1::error_detail::Kind;
use vivat_proto::v1::write_block_request::Part;
use vivat_proto::v1::*;

pub const CLUSTER: &str = "00112233445566778899aabbccddeeff";
/// Small, so that a short block has several messages.
const MESSAGE_BYTES: usize = 1_000;

/// What a worker does with the bytes that it is asked for or given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// Breaks off after so many messages of each stream that it sends.
    BreaksOff(usize),
    /// Sends bytes that are not those of their checksum.
    Garbles,
    /// Says that it has no block.
    Empty,
    /// Says that its copies are damaged.
    Damaged,
    /// Has another block under each name.
    Other,
    /// Refuses what it is given, as a full disk does.
    Full,
}

#[derive(Debug)]
struct Disk {
    mood: Mood,
    blocks: BTreeMap<(u64, u64), Bytes>,
    written: u32,
    copied: u32,
    read: u32,
}

/// A worker that is played; its runtime goes with it, and its connections too.
pub struct FakeWorker {
    pub hop: Hop,
    disk: Arc<Mutex<Disk>>,
    runtime: Option<Runtime>,
}

#[derive(Clone)]
struct BlockPart {
    disk: Arc<Mutex<Disk>>,
    worker: u32,
}

impl Drop for FakeWorker {
    fn drop(&mut self) {
        stop(self.runtime.take());
    }
}

/// A runtime must not be dropped where others await.
fn stop(runtime: Option<Runtime>) {
    if let Some(runtime) = runtime {
        std::thread::spawn(move || drop(runtime)).join().unwrap();
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

impl FakeWorker {
    pub fn start(worker: u32) -> Self {
        let disk = Arc::new(Mutex::new(Disk {
            mood: Mood::Well,
            blocks: BTreeMap::new(),
            written: 0,
            copied: 0,
            read: 0,
        }));
        let part = BlockPart {
            disk: Arc::clone(&disk),
            worker,
        };
        let runtime = runtime();
        let entered = runtime.enter();
        let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = incoming.local_addr().unwrap().to_string();
        let router = Server::builder().add_service(BlockServiceServer::new(part));
        runtime.spawn(async move {
            router.serve_with_incoming(incoming).await.unwrap();
        });
        drop(entered);
        Self {
            hop: Hop { worker, address },
            disk,
            runtime: Some(runtime),
        }
    }

    /// Dies: its address answers no more.
    pub fn kill(&mut self) {
        stop(self.runtime.take());
    }

    pub fn become_(&self, mood: Mood) {
        self.disk.lock().unwrap().mood = mood;
    }

    pub fn blocks(&self) -> Vec<Bytes> {
        self.disk.lock().unwrap().blocks.values().cloned().collect()
    }

    pub fn drop_block(&self, index: u64) {
        let mut disk = self.disk.lock().unwrap();
        disk.blocks.retain(|(_, at), _| *at != index);
    }

    /// Blocks written by pipelines, copied from others, and streams that it sent.
    pub fn counts(&self) -> (u32, u32, u32) {
        let disk = self.disk.lock().unwrap();
        (disk.written, disk.copied, disk.read)
    }
}

impl BlockPart {
    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap()
    }

    fn check(&self, worker: u32, cluster: &str) -> Result<(), Status> {
        if worker == self.worker && cluster == CLUSTER {
            return Ok(());
        }
        let kind = Kind::OtherWorker(OtherWorker {});
        Err(status(Code::FailedPrecondition, "another worker", kind))
    }

    async fn forward(&self, begin: &BeginBlock, data: &Bytes, crc32c: u32) -> WriteBlockResponse {
        let mut next = begin.next.clone();
        if next.is_empty() {
            return WriteBlockResponse::default();
        }
        let hop = next.remove(0);
        let parts = vec![
            Part::Begin(BeginBlock {
                worker: hop.worker,
                next,
                ..begin.clone()
            }),
            Part::Data(data.clone()),
            Part::Finish(FinishBlock {
                bytes: data.len() as u64,
                crc32c,
            }),
        ];
        let messages = parts
            .into_iter()
            .map(|part| WriteBlockRequest { part: Some(part) });
        let failed = |problem: String| WriteBlockResponse {
            workers: Vec::new(),
            failed: vec![FailedHop {
                worker: hop.worker,
                problem,
            }],
        };
        let endpoint = format!("http://{}", hop.address);
        let channel = tonic::transport::Endpoint::from_shared(endpoint).unwrap();
        let Ok(channel) = channel.connect().await else {
            return failed("connection refused".to_owned());
        };
        let mut service = vivat_client::data::block_service(channel);
        match service.write_block(stream::iter(messages)).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => failed(status.to_string()),
        }
    }
}

type Messages = Pin<Box<dyn Stream<Item = Result<ReadBlockResponse, Status>> + Send>>;

#[tonic::async_trait]
impl BlockService for BlockPart {
    type ReadBlockStream = Messages;

    async fn write_block(
        &self,
        request: Request<Streaming<WriteBlockRequest>>,
    ) -> Result<Response<WriteBlockResponse>, Status> {
        let mut parts = request.into_inner();
        let mut begin = BeginBlock::default();
        let mut data = Vec::new();
        let mut finish = FinishBlock::default();
        while let Some(message) = parts.message().await? {
            match message.part.unwrap() {
                Part::Begin(part) => begin = part,
                Part::Data(part) => data.extend_from_slice(&part),
                Part::Finish(part) => finish = part,
            }
        }
        self.check(begin.worker, &begin.cluster_id)?;
        if self.lock().mood == Mood::Full {
            let problem = "no space left".to_owned();
            let kind = Kind::NoRoom(NoRoom { problem });
            return Err(status(Code::ResourceExhausted, "no room", kind));
        }
        let data = Bytes::from(data);
        assert_eq!(finish.bytes, data.len() as u64);
        assert_eq!(finish.crc32c, crc32c::crc32c(&data));
        let mut answer = self.forward(&begin, &data, finish.crc32c).await;
        let block = begin.block.unwrap();
        let mut disk = self.lock();
        disk.written += 1;
        let old = disk
            .blocks
            .insert((block.dataset, block.index), data.clone());
        assert!(
            old.is_none_or(|old| old == data),
            "the same id, other bytes"
        );
        answer.workers.insert(0, self.worker);
        Ok(Response::new(answer))
    }

    async fn read_block(
        &self,
        request: Request<ReadBlockRequest>,
    ) -> Result<Response<Messages>, Status> {
        let request = request.into_inner();
        self.check(request.worker, &request.cluster_id)?;
        let id = request.block.unwrap();
        let mut disk = self.lock();
        let mood = disk.mood;
        let found = disk.blocks.get(&(id.dataset, id.index)).cloned();
        let (None | Some(_), Mood::Empty) = (&found, mood) else {
            let Some(data) = found else {
                return Err(gone());
            };
            if mood == Mood::Damaged {
                let kind = Kind::BlockDamaged(BlockDamaged {});
                return Err(status(Code::DataLoss, "chunk 3 is damaged", kind));
            }
            disk.read += 1;
            return Ok(Response::new(messages(id, &data, request.offset, mood)));
        };
        Err(gone())
    }

    async fn copy_block(
        &self,
        request: Request<CopyBlockRequest>,
    ) -> Result<Response<CopyBlockResponse>, Status> {
        let request = request.into_inner();
        self.check(request.worker, &request.cluster_id)?;
        let block = request.block.unwrap();
        let id = block.block.unwrap();
        let from = request.from.unwrap();
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", from.address));
        let channel = channel.unwrap().connect().await;
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        let read = ReadBlockRequest {
            block: Some(id),
            offset: 0,
            bytes: 0,
            worker: from.worker,
            cluster_id: CLUSTER.to_owned(),
        };
        let mut service = vivat_client::data::block_service(channel);
        let mut parts = service.read_block(read).await?.into_inner();
        let mut data = Vec::new();
        while let Some(part) = parts.message().await? {
            data.extend_from_slice(&part.data);
        }
        assert_eq!(block.crc32c, crc32c::crc32c(&data));
        let mut disk = self.lock();
        disk.copied += 1;
        disk.blocks.insert((id.dataset, id.index), data.into());
        Ok(Response::new(CopyBlockResponse {}))
    }

    async fn list_held_blocks(
        &self,
        _request: Request<ListHeldBlocksRequest>,
    ) -> Result<Response<ListHeldBlocksResponse>, Status> {
        Ok(Response::new(ListHeldBlocksResponse::default()))
    }

    async fn verify_blocks(
        &self,
        _request: Request<VerifyBlocksRequest>,
    ) -> Result<Response<VerifyBlocksResponse>, Status> {
        Ok(Response::new(VerifyBlocksResponse::default()))
    }
}

fn gone() -> Status {
    let kind = Kind::BlockGone(BlockGone {});
    status(Code::NotFound, "the block is not here", kind)
}

fn messages(id: BlockId, data: &Bytes, offset: u64, mood: Mood) -> Messages {
    let mut crc = crc32c::crc32c(data);
    if mood == Mood::Other {
        crc ^= 1;
    }
    let summary = BlockSummary {
        block: Some(id),
        bytes: data.len() as u64,
        crc32c: crc,
    };
    let rest = data.slice(usize::try_from(offset).unwrap()..);
    let mut list: Vec<Result<ReadBlockResponse, Status>> = rest
        .chunks(MESSAGE_BYTES)
        .enumerate()
        .map(|(number, part)| {
            let crc32c = crc32c::crc32c(part);
            let mut data = part.to_vec();
            if mood == Mood::Garbles && number == 1 {
                data[0] ^= 1;
            }
            Ok(ReadBlockResponse {
                summary: (number == 0).then_some(summary),
                data: data.into(),
                crc32c,
            })
        })
        .collect();
    if let Mood::BreaksOff(after) = mood {
        list.truncate(after);
        list.push(Err(Status::unavailable("the worker stops")));
    }
    Box::pin(stream::iter(list).then(|message| async {
        tokio::task::yield_now().await;
        message
    }))
}

/// What the directory holds.
#[derive(Debug, Default)]
pub struct Directory {
    /// Registered workers, in the order in which they are given blocks.
    pub workers: Vec<Hop>,
    /// Appended blocks, in order.
    pub blocks: Vec<AppendedBlock>,
    pub appends: u32,
    pub placements: u32,
    /// Refuses the appending of blocks.
    pub refuses: bool,
    turn: usize,
}

/// A leader that is played.
pub struct FakeLeader {
    pub directory: Arc<Mutex<Directory>>,
    address: String,
    runtime: Option<Runtime>,
}

#[derive(Clone)]
struct DirectoryPart(Arc<Mutex<Directory>>);

impl Drop for FakeLeader {
    fn drop(&mut self) {
        stop(self.runtime.take());
    }
}

impl FakeLeader {
    pub fn start(workers: &[&FakeWorker]) -> Self {
        let directory = Arc::new(Mutex::new(Directory {
            workers: workers.iter().map(|worker| worker.hop.clone()).collect(),
            ..Directory::default()
        }));
        let runtime = runtime();
        let entered = runtime.enter();
        let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = incoming.local_addr().unwrap().to_string();
        let part = DirectoryPart(Arc::clone(&directory));
        let router = Server::builder().add_service(DataServiceServer::new(part));
        runtime.spawn(async move {
            router.serve_with_incoming(incoming).await.unwrap();
        });
        drop(entered);
        Self {
            directory,
            address,
            runtime: Some(runtime),
        }
    }

    pub fn client(&self) -> LeaderClient {
        LeaderClient::new(vec![self.address.clone()], ClientOptions::default())
    }

    pub fn workers(&self) -> Workers {
        Workers::new(CLUSTER.to_owned(), ClientOptions::default())
    }

    /// The lease of a worker is over.
    pub fn lose(&self, worker: u32) {
        let mut directory = self.directory.lock().unwrap();
        directory.workers.retain(|hop| hop.worker != worker);
    }
}

#[tonic::async_trait]
impl DataService for DirectoryPart {
    async fn open_dataset(
        &self,
        _request: Request<OpenDatasetRequest>,
    ) -> Result<Response<OpenDatasetResponse>, Status> {
        Ok(Response::new(OpenDatasetResponse {
            dataset: 1,
            idle_ms: 60_000,
            sealed: false,
            blocks: 0,
        }))
    }

    async fn place_blocks(
        &self,
        request: Request<PlaceBlocksRequest>,
    ) -> Result<Response<PlaceBlocksResponse>, Status> {
        let request = request.into_inner();
        let mut directory = self.0.lock().unwrap();
        directory.placements += 1;
        let there: Vec<Hop> = directory
            .workers
            .iter()
            .filter(|hop| !request.avoid.contains(&hop.worker))
            .cloned()
            .collect();
        if there.is_empty() {
            let problem = "no worker".to_owned();
            let kind = Kind::NoRoom(NoRoom { problem });
            return Err(status(Code::ResourceExhausted, "no worker", kind));
        }
        let pipelines = (0..request.count).map(|_| {
            directory.turn += 1;
            let turn = directory.turn % there.len();
            let wanted = request.replicas as usize;
            let hops = there
                .iter()
                .cycle()
                .skip(turn)
                .take(wanted.min(there.len()));
            Pipeline {
                hops: hops.cloned().collect(),
            }
        });
        let pipelines = pipelines.collect();
        Ok(Response::new(PlaceBlocksResponse { pipelines }))
    }

    async fn append_blocks(
        &self,
        request: Request<AppendBlocksRequest>,
    ) -> Result<Response<AppendBlocksResponse>, Status> {
        let request = request.into_inner();
        let mut directory = self.0.lock().unwrap();
        if directory.refuses {
            let dataset = request.dataset;
            let kind = Kind::UnknownDataset(UnknownDataset {
                dataset,
                ..UnknownDataset::default()
            });
            return Err(status(Code::NotFound, "it was given up", kind));
        }
        assert_eq!(request.first as usize, directory.blocks.len(), "in order");
        directory.appends += 1;
        directory.blocks.extend(request.blocks);
        let blocks = u32::try_from(directory.blocks.len()).unwrap();
        Ok(Response::new(AppendBlocksResponse { blocks }))
    }

    async fn seal_dataset(
        &self,
        _request: Request<SealDatasetRequest>,
    ) -> Result<Response<SealDatasetResponse>, Status> {
        Ok(Response::new(SealDatasetResponse::default()))
    }

    async fn abandon_dataset(
        &self,
        _request: Request<AbandonDatasetRequest>,
    ) -> Result<Response<AbandonDatasetResponse>, Status> {
        Ok(Response::new(AbandonDatasetResponse {}))
    }

    async fn get_dataset(
        &self,
        _request: Request<GetDatasetRequest>,
    ) -> Result<Response<GetDatasetResponse>, Status> {
        Ok(Response::new(GetDatasetResponse::default()))
    }

    async fn list_datasets(
        &self,
        _request: Request<ListDatasetsRequest>,
    ) -> Result<Response<ListDatasetsResponse>, Status> {
        Ok(Response::new(ListDatasetsResponse::default()))
    }

    async fn list_blocks(
        &self,
        request: Request<ListBlocksRequest>,
    ) -> Result<Response<ListBlocksResponse>, Status> {
        let request = request.into_inner();
        let directory = self.0.lock().unwrap();
        let listed = directory.blocks.iter().skip(request.first as usize);
        let blocks = listed.take(request.limit as usize).map(|block| {
            let registered = |worker: &u32| {
                let mut workers = directory.workers.iter();
                workers.find(|hop| hop.worker == *worker).cloned()
            };
            DatasetBlock {
                summary: block.summary,
                holders: block.workers.iter().filter_map(registered).collect(),
                lost_holders: block
                    .workers
                    .iter()
                    .filter(|worker| registered(worker).is_none())
                    .copied()
                    .collect(),
            }
        });
        Ok(Response::new(ListBlocksResponse {
            blocks: blocks.collect(),
            total: u32::try_from(directory.blocks.len()).unwrap(),
        }))
    }

    async fn remove_dataset(
        &self,
        _request: Request<RemoveDatasetRequest>,
    ) -> Result<Response<RemoveDatasetResponse>, Status> {
        Ok(Response::new(RemoveDatasetResponse {}))
    }

    async fn report_blocks(
        &self,
        _request: Request<ReportBlocksRequest>,
    ) -> Result<Response<ReportBlocksResponse>, Status> {
        Ok(Response::new(ReportBlocksResponse::default()))
    }

    async fn report_lost_blocks(
        &self,
        _request: Request<ReportLostBlocksRequest>,
    ) -> Result<Response<ReportLostBlocksResponse>, Status> {
        Ok(Response::new(ReportLostBlocksResponse {}))
    }
}
