//! Workers on loopback, and what a client says to them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Status};
use vivat_proto::v1;
use vivat_proto::v1::block_service_client::BlockServiceClient;
use vivat_proto::v1::write_block_request::Part;
use vivat_shared::dataset::{BlockSummary, Holder, LocatedBlock};
use vivat_shared::ids::{BlockId, DatasetId, WorkerId};
use vivat_worker::{Worker, WorkerConfig, WorkerHandle};

pub use crate::leader::DEADLINE;
use crate::leader::FakeLeader;

/// The leader's.
pub const CLUSTER: &str = "0123456789abcdef0123456789abcdef";
/// Its lower half.
const CLUSTER_LOW: u64 = 0x0123_4567_89ab_cdef;
/// Bytes of one message.
pub const PIECE_BYTES: usize = 256 * 1024;
/// More than all windows and buffers on the way hold.
pub const LARGE: usize = 24 * 1024 * 1024;

/// Some workers and their leader.
pub struct Rig {
    pub leader: FakeLeader,
    pub workers: Vec<WorkerHandle>,
    pub temp: TempDir,
}

impl Rig {
    pub async fn start(count: usize) -> Self {
        Self::with(count, |_, _| {}).await
    }

    /// Workers 1, 2, ..., each with settings of its own.
    pub async fn with(count: usize, set: impl Fn(usize, &mut WorkerConfig)) -> Self {
        let leader = FakeLeader::start().await;
        leader.change(|state| state.cluster = CLUSTER_LOW);
        let mut rig = Self {
            leader,
            workers: Vec::new(),
            temp: tempfile::tempdir().unwrap(),
        };
        for number in 1..=count {
            let mut config = WorkerConfig::new(rig.dir(number), vec![rig.leader.address()]);
            config.scrub_bytes_per_second = 0;
            set(number, &mut config);
            let worker = Worker::start(config).unwrap();
            until_registered(&worker, true).await;
            rig.workers.push(worker);
        }
        rig
    }

    pub fn dir(&self, number: usize) -> PathBuf {
        self.temp.path().join(format!("worker-{number}"))
    }

    pub fn worker(&self, number: usize) -> &WorkerHandle {
        &self.workers[number - 1]
    }

    /// A worker as others name it.
    pub fn hop(&self, number: usize) -> Holder {
        self.hop_at(number, self.worker(number).address())
    }

    pub fn hop_at(&self, number: usize, address: &str) -> Holder {
        Holder {
            worker: WorkerId(u32::try_from(number).unwrap()),
            address: address.to_owned(),
        }
    }

    pub async fn client(&self, number: usize) -> BlockServiceClient<Channel> {
        let origin = format!("http://{}", self.worker(number).address());
        BlockServiceClient::connect(origin).await.unwrap()
    }

    /// Sends a block along the hops named.
    pub async fn put(
        &self,
        block: BlockId,
        content: &[u8],
        hops: &[Holder],
    ) -> Result<v1::WriteBlockResponse, Status> {
        let mut writing = self.begin(block, content.len() as u64, hops).await;
        for piece in content.chunks(PIECE_BYTES) {
            if !writing
                .send(Part::Data(Bytes::copy_from_slice(piece)))
                .await
            {
                break;
            }
        }
        writing.finish(content).await
    }

    pub async fn begin(&self, block: BlockId, bytes_max: u64, hops: &[Holder]) -> Writing {
        let (parts, stream) = mpsc::channel(2);
        let origin = format!("http://{}", hops[0].address);
        let mut client = BlockServiceClient::connect(origin).await.unwrap();
        let answer = tokio::spawn(async move {
            let request = Request::new(ReceiverStream::new(stream));
            client.write_block(request).await
        });
        let mut writing = Writing {
            parts: Some(parts),
            answer,
        };
        let begin = v1::BeginBlock {
            block: Some(block.into()),
            worker: hops[0].worker.0,
            cluster_id: CLUSTER.to_owned(),
            bytes_max,
            next: hops[1..].iter().cloned().map(Into::into).collect(),
        };
        writing.send(Part::Begin(begin)).await;
        writing
    }

    /// All of a block from one worker, each piece checked.
    pub async fn get(&self, block: BlockId, from: &Holder) -> Result<Vec<u8>, Status> {
        let request = read_request(block, from);
        let origin = format!("http://{}", from.address);
        let mut client = BlockServiceClient::connect(origin).await.unwrap();
        let mut stream = client.read_block(request).await?.into_inner();
        let mut content = Vec::new();
        while let Some(message) = stream.message().await? {
            assert_eq!(crc32c::crc32c(&message.data), message.crc32c);
            assert_eq!(message.summary.is_some(), content.is_empty());
            content.extend_from_slice(&message.data);
        }
        Ok(content)
    }

    /// Nothing of a block is left or under way.
    pub async fn until_clean(&self, number: usize) {
        let store = self.worker(number).blocks().store().clone();
        let new = self.dir(number).join("store/new");
        let clean = || {
            let usage = store.usage();
            usage.reserved == 0 && usage.used == 0 && files(&new).is_empty()
        };
        eventually("nothing is left of the block", clean).await;
        assert!(store.list(None, 1).is_empty());
    }

    /// Files of finished blocks.
    pub fn block_files(&self, number: usize) -> Vec<PathBuf> {
        files(&self.dir(number).join("store/blocks"))
    }
}

/// A block on its way from the client.
pub struct Writing {
    parts: Option<mpsc::Sender<v1::WriteBlockRequest>>,
    answer: tokio::task::JoinHandle<Result<tonic::Response<v1::WriteBlockResponse>, Status>>,
}

impl Writing {
    /// False when the worker takes no more.
    pub async fn send(&mut self, part: Part) -> bool {
        let Some(parts) = &self.parts else {
            return false;
        };
        let sent = parts.send(v1::WriteBlockRequest { part: Some(part) });
        within(sent).await.is_ok()
    }

    pub async fn finish(mut self, content: &[u8]) -> Result<v1::WriteBlockResponse, Status> {
        let finish = v1::FinishBlock {
            bytes: content.len() as u64,
            crc32c: crc32c::crc32c(content),
        };
        self.send(Part::Finish(finish)).await;
        self.answer().await
    }

    /// Ends without a last part, and waits for what the worker says.
    pub async fn answer(mut self) -> Result<v1::WriteBlockResponse, Status> {
        self.parts = None;
        let answer = within(&mut self.answer).await.unwrap();
        answer.map(tonic::Response::into_inner)
    }

    /// Goes away without a word.
    pub fn vanish(self) {
        self.answer.abort();
    }
}

pub fn read_request(block: BlockId, from: &Holder) -> v1::ReadBlockRequest {
    v1::ReadBlockRequest {
        block: Some(block.into()),
        offset: 0,
        bytes: 0,
        worker: from.worker.0,
        cluster_id: CLUSTER.to_owned(),
    }
}

pub fn id(index: u64) -> BlockId {
    BlockId {
        dataset: DatasetId(7),
        index,
    }
}

pub fn summary(block: BlockId, content: &[u8]) -> BlockSummary {
    BlockSummary {
        id: block,
        bytes: content.len() as u64,
        crc32c: crc32c::crc32c(content),
    }
}

pub fn located(block: BlockId, content: &[u8], holders: Vec<Holder>) -> LocatedBlock {
    LocatedBlock {
        summary: summary(block, content),
        holders,
    }
}

/// Bytes in which no place is like another.
pub fn content(bytes: usize) -> Vec<u8> {
    let words = 0..bytes.div_ceil(8) as u64;
    let mut content: Vec<u8> = words
        .flat_map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect();
    content.truncate(bytes);
    content
}

/// Files below a directory.
pub fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found
}

/// Changes a byte of a file.
pub fn flip(path: &Path, offset: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[offset] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Waits for what must come.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap()
}

pub async fn until_registered(worker: &WorkerHandle, wanted: bool) {
    let mut registered = worker.registered();
    let reached = registered.wait_for(|worker| worker.is_some() == wanted);
    within(reached).await.unwrap();
}

/// Waits for what has no signal of its own.
pub async fn eventually(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !reached() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
