//! What can happen, and what masters, workers and clients say to each other.

use std::collections::{BTreeMap, BTreeSet};

use vivat_core::command::{DatasetSeal, HeldSegments, Rejection, WorkerInfo};
use vivat_core::placement::CopyOrder;
use vivat_shared::attempt::{Assignment, FetchFailure, Outcome, PlanChunk, SegmentLocation};
use vivat_shared::dataset::{BlockSummary, DatasetSpec, ReplicatedBlock};
use vivat_shared::ids::{AttemptId, BlockId, DatasetId, JobId, WorkerEpoch, WorkerId};
use vivat_shared::job::JobSpec;

use crate::raft::Append;

/// A master, by its seat.
pub type MasterAt = usize;
/// A worker's machine.
pub type MachineAt = usize;
/// Something that a client submits.
pub type SubmissionAt = usize;

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// A worker, in one life of its process.
    Worker {
        /// Where.
        machine: MachineAt,
        /// Which process.
        life: u32,
    },
    /// A client, for one submission.
    Client(SubmissionAt),
    /// A client that puts a dataset.
    Upload(usize),
    /// A person who drains workers.
    Operator,
}

/// What a master is asked.
#[derive(Debug, Clone)]
pub enum Request {
    Register {
        info: WorkerInfo,
        crashed: Vec<AttemptId>,
    },
    Restore {
        worker: WorkerEpoch,
        held: Vec<HeldSegments>,
    },
    Heartbeat {
        worker: WorkerEpoch,
        held: Vec<AttemptId>,
        running: BTreeSet<AttemptId>,
        jobs: Vec<JobId>,
    },
    Pull {
        worker: WorkerEpoch,
        held: Vec<AttemptId>,
        want: u32,
        control_free: bool,
    },
    Report {
        worker: WorkerEpoch,
        reports: Vec<(AttemptId, Outcome)>,
    },
    AppendPlan {
        worker: WorkerEpoch,
        attempt: AttemptId,
        chunk: u32,
        content: PlanChunk,
    },
    Locate {
        worker: WorkerEpoch,
        reducer: AttemptId,
    },
    FetchFailure {
        worker: WorkerEpoch,
        failure: FetchFailure,
    },
    Submit {
        key: String,
        spec: Box<JobSpec>,
    },
    Cancel {
        job: JobId,
    },
    Retry {
        key: String,
        job: JobId,
    },
    Status {
        job: JobId,
    },
    Drain {
        worker: WorkerId,
        draining: bool,
    },
    OpenDataset {
        key: String,
        spec: DatasetSpec,
    },
    PlaceBlock {
        dataset: DatasetId,
        avoid: BTreeSet<WorkerId>,
    },
    AppendBlock {
        dataset: DatasetId,
        first: u32,
        block: ReplicatedBlock,
    },
    SealDataset {
        dataset: DatasetId,
        seal: DatasetSeal,
    },
    RemoveDataset {
        name: String,
        dataset: DatasetId,
    },
    ReportBlocks {
        worker: WorkerEpoch,
        after: Option<BlockId>,
        blocks: Vec<BlockSummary>,
        last: bool,
    },
}

/// What a master answers.
#[derive(Debug, Clone)]
pub enum Response {
    NotLeader {
        hint: Option<MasterAt>,
    },
    /// The epoch is over.
    Stale,
    /// It may have happened or not (S5).
    Unknown,
    Refused(Rejection),
    Done,
    Registered(WorkerEpoch),
    Beat {
        kill: Vec<AttemptId>,
        ended: Vec<JobId>,
    },
    Delivery(Delivery),
    Verdicts(Vec<(AttemptId, bool)>),
    Located {
        maps: u32,
        locations: Vec<SegmentLocation>,
    },
    Job {
        job: JobId,
    },
    View,
    Dataset {
        dataset: DatasetId,
        sealed: bool,
    },
    /// The hops of a pipeline.
    Place(Vec<WorkerId>),
    /// Blocks to be deleted.
    BlockOrders(Vec<BlockId>),
}

/// What a pull is answered.
#[derive(Debug, Clone, Default)]
pub struct Delivery {
    pub assignments: Vec<Assignment>,
    pub specs: BTreeMap<JobId, JobSpec>,
    pub kill: Vec<AttemptId>,
    pub take_back: Vec<AttemptId>,
}

impl Delivery {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.assignments.is_empty() && self.kill.is_empty() && self.take_back.is_empty()
    }
}

/// What the network carries.
#[derive(Debug, Clone)]
pub enum Message {
    Request {
        call: CallId,
        from: Caller,
        master: MasterAt,
        body: Request,
    },
    Response {
        call: CallId,
        to: Caller,
        body: Response,
    },
}

/// Of a leader.
#[derive(Debug, Clone)]
pub enum LeaderTimer {
    /// Look at leases, the scheduler and duties.
    Tick,
    /// Propose what waits.
    Flush,
    /// A proposal's answer is overdue.
    Overdue { ticket: u64 },
    /// Raft refused a proposal.
    Refused { ticket: u64 },
    /// A waiting pull ends empty.
    PullEnds { worker: WorkerEpoch, number: u64 },
    /// A probe of a holder is answered.
    Probed {
        map: AttemptId,
        holder: WorkerEpoch,
        healthy: bool,
    },
    /// A copy of a block may be there.
    Copied {
        order: CopyOrder,
        worker: WorkerEpoch,
    },
    /// Raft tells it that it is deposed, or that no majority answers.
    Closed,
}

/// Of a worker.
#[derive(Debug, Clone)]
pub enum WorkerTimer {
    /// Begin to register.
    Register,
    Restore,
    Beat,
    Pull,
    Report,
    ReportBlocks,
    /// A call got no answer.
    Timeout {
        call: CallId,
    },
    /// An attempt has done its work.
    AttemptDone {
        attempt: AttemptId,
        run: u64,
    },
    /// Send the next chunk of a plan.
    Chunk {
        attempt: AttemptId,
    },
    /// Look for segments again.
    Fetch {
        attempt: AttemptId,
    },
}

/// Of a client, about one submission.
#[derive(Debug, Clone, Copy)]
pub enum ClientTimer {
    Submit,
    Cancel,
    Retry,
    Status,
    Timeout { call: CallId },
}

/// Of a client that puts.
#[derive(Debug, Clone, Copy)]
pub enum UploadTimer {
    Next,
    Timeout { call: CallId },
}

/// What happens.
#[derive(Debug, Clone)]
pub enum Event {
    Message(Box<Message>),
    /// Of one opening of leadership on a master.
    Leader {
        master: MasterAt,
        opening: u64,
        timer: LeaderTimer,
    },
    /// The first entries in flight may be decided.
    Commit,
    /// A proposal comes that was long on its way.
    Stray(Append),
    Elect,
    /// The leader is cut off from the others.
    Depose,
    /// The leader of a term opens (again) after a silence.
    Open {
        master: MasterAt,
        term: u64,
    },
    /// A replica applies what is decided.
    Apply {
        master: MasterAt,
    },
    MasterReturns {
        master: MasterAt,
    },
    Worker {
        machine: MachineAt,
        life: u32,
        timer: WorkerTimer,
    },
    MachineReturns {
        machine: MachineAt,
    },
    Client {
        submission: SubmissionAt,
        timer: ClientTimer,
    },
    Upload {
        upload: usize,
        timer: UploadTimer,
    },
    OperatorTimeout {
        call: CallId,
    },
    Fault,
    Heal,
}
