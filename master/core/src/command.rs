//! What is proposed to the log, what the proposer is answered, and what became
//! true.
//!
//! One log entry carries a batch: the transitions that piled up while the
//! entry before it was on its way to disk. Replies stand in the order of the
//! commands.

use serde::{Deserialize, Serialize};
use vivat_shared::attempt::{FetchFailure, Outcome, PlanChunk};
use vivat_shared::dataset::{BlockSummary, DatasetFile, DatasetSpec, ReplicatedBlock};
use vivat_shared::ids::{
    AttemptId, BlockId, ClusterId, DatasetId, Epoch, JobId, NodeId, Seat, TaskId, WorkerEpoch,
    WorkerId,
};
use vivat_shared::job::{HostIdentity, JobSpec, SpecError};
use vivat_shared::size_code::SizeCode;

/// One log entry's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The leader's clock when it proposed, in milliseconds since 1970: to be
    /// shown, and for nothing else.
    pub proposed_at_ms: u64,
    /// The term in which it was proposed.
    pub term: u64,
    /// The cluster's age then, see [`crate::age`]. Taken while the term is the
    /// state's: a deposed leader has counted on from another beginning.
    pub age_ms: u64,
    /// Applied in order.
    pub commands: Vec<Command>,
}

/// What one entry did: replies in the order of its commands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Applied {
    /// One for each command.
    pub replies: Vec<Reply>,
    /// What became true, in order. Only a leader acts on it.
    pub events: Vec<Event>,
}

/// How the leader is reached; part of the barrier, so that every replica that
/// has applied it can send clients on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderRecord {
    /// Raft member.
    pub node_id: NodeId,
    /// Its seat.
    pub seat: Seat,
    /// Address of the client and worker services, `HOST:PORT`.
    pub client_address: String,
}

/// What a worker says of itself when it registers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Minted once on the worker's disk: the same across its restarts.
    pub uid: String,
    /// Where it serves segments, `HOST:PORT`.
    pub address: String,
    /// Process id.
    pub pid: u32,
    /// Attempts that it runs at once.
    pub slots: u32,
    /// Which machine's paths it sees.
    pub host: HostIdentity,
    /// `key=value` labels.
    pub labels: std::collections::BTreeMap<String, String>,
}

/// Segments of one map attempt that a restarted worker still has, intact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldSegments {
    /// The map attempt.
    pub attempt: AttemptId,
    /// Stored size of each partition's segment.
    pub segments: Vec<SizeCode>,
}

/// A transition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The barrier of a new leader's term; the first one also names the cluster.
    OpenTerm {
        /// Raft term.
        term: u64,
        /// The cluster.
        cluster: ClusterId,
        /// Who leads.
        leader: LeaderRecord,
    },
    /// Accepts a job. The same key with the same specification gives the same job.
    SubmitJob {
        /// Idempotency key, made by the client.
        key: String,
        /// The job.
        spec: JobSpec,
    },
    /// Ends a job, unless its commit was granted.
    CancelJob {
        /// The job.
        job: JobId,
    },
    /// Fails a job whose time passed; refused if it did not (by the state's age).
    TimeOutJob {
        /// The job.
        job: JobId,
    },
    /// Gives a worker a new epoch and expires its old one in the same step.
    RegisterWorker {
        /// What it says of itself.
        info: WorkerInfo,
        /// Attempts that ran when its former process died.
        crashed: Vec<AttemptId>,
    },
    /// After registration: segments still on the worker's disk.
    RestoreSegments {
        /// Who.
        worker: WorkerEpoch,
        /// What; those that no running round needs are ignored.
        held: Vec<HeldSegments>,
    },
    /// The only door for every way of noticing that a worker is gone.
    ExpireWorker {
        /// Who.
        worker: WorkerEpoch,
        /// The term of the leader that noticed; refused in a later one.
        term: u64,
        /// What was noticed.
        reason: String,
    },
    /// Sets or clears draining.
    DrainWorker {
        /// Who.
        worker: WorkerId,
        /// On or off.
        draining: bool,
        /// Milliseconds of the cluster's age after which what still runs there is
        /// taken away; none: it ends in its own time.
        deadline_ms: Option<u64>,
    },
    /// Takes from a draining worker whose deadline passed what it was granted.
    RevokeAttempts {
        /// Who.
        worker: WorkerEpoch,
        /// The term of the leader that found it due; refused in a later one.
        term: u64,
    },
    /// Grants attempts; each grant is verified on its own.
    AssignAttempts {
        /// The term of the scheduler; refused in a later one.
        term: u64,
        /// Task and worker, in order.
        grants: Vec<Grant>,
    },
    /// A piece of a plan, which belongs to its attempt until sealed.
    AppendPlan {
        /// The plan attempt.
        attempt: AttemptId,
        /// Who runs it.
        worker: WorkerEpoch,
        /// Position, from 0; a repeated one is accepted once.
        chunk: u32,
        /// Files and splits.
        content: PlanChunk,
    },
    /// How an attempt ended.
    FinishAttempt {
        /// The attempt.
        attempt: AttemptId,
        /// Who ran it.
        worker: WorkerEpoch,
        /// How.
        outcome: Outcome,
    },
    /// A reducer cannot have a segment: it becomes suspected.
    ReportFetchFailure {
        /// Who reports.
        worker: WorkerEpoch,
        /// What.
        failure: FetchFailure,
    },
    /// The leader probed the holder of a suspected segment.
    JudgeSegment {
        /// The term of the prober.
        term: u64,
        /// The map attempt that wrote it.
        map: AttemptId,
        /// Who was probed.
        holder: WorkerEpoch,
        /// Whether it is there, whole.
        healthy: bool,
    },
    /// Takes an ended job out of the state, with its key.
    ForgetJob {
        /// The job; refused unless it ended.
        job: JobId,
    },
    /// Lets a job that failed or was cancelled go on from the round that did not end.
    /// The same key retries it once.
    RetryJob {
        /// Idempotency key, made by the client.
        key: String,
        /// The job.
        job: JobId,
    },
    /// Ends the tries to tell of a job's end; refused before their time is over.
    GiveUpNotice {
        /// The job.
        job: JobId,
    },
    /// About datasets and values.
    Data(DataCommand),
}

/// A transition of the directory or of a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DataCommand {
    /// Begins a dataset. The same key with the same specification gives the same
    /// dataset, open or sealed.
    OpenDataset {
        /// Idempotency key, made by the client.
        key: String,
        /// What it is to be.
        spec: DatasetSpec,
    },
    /// Blocks of an open dataset whose replicas were acknowledged after fsync.
    AppendBlocks {
        /// The dataset.
        dataset: DatasetId,
        /// Position of the first; what is there already must be the same.
        first: u32,
        /// In order. Holders are added to those of a block that is there.
        blocks: Vec<ReplicatedBlock>,
    },
    /// Makes a dataset visible under its name, whole.
    SealDataset {
        /// The dataset.
        dataset: DatasetId,
        /// What it must consist of.
        seal: DatasetSeal,
    },
    /// Gives up a dataset that is not sealed.
    AbandonDataset {
        /// The dataset.
        dataset: DatasetId,
        /// The term of the leader that asks; refused in a later one.
        term: u64,
    },
    /// Takes a sealed dataset out of the directory. While a job that has not ended
    /// reads it that is refused, or left to the end of the last one.
    RemoveDataset {
        /// Its name.
        name: String,
        /// Which one is meant: whoever repeats a removal does not remove what took
        /// the name since.
        dataset: DatasetId,
        /// Its name goes at once, and its blocks with the last job that reads it.
        when_unread: bool,
    },
    /// Copies that a worker has: it was told to make them, or reported them.
    AddReplicas {
        /// Who has them.
        worker: WorkerEpoch,
        /// What they are; those that do not agree with the directory are ignored.
        blocks: Vec<BlockSummary>,
    },
    /// Copies that are gone, damaged, or more than are wanted.
    DropReplicas {
        /// Who had them.
        worker: WorkerEpoch,
        /// Which.
        blocks: Vec<BlockId>,
        /// Copies beyond those wanted: each is verified not to be needed (S15).
        surplus: bool,
    },
    /// Writes a named value.
    PutValue {
        /// Idempotency key: the last writer's is kept, so that it is answered the
        /// same when it repeats itself.
        key: String,
        /// Its name.
        name: String,
        /// At most [`vivat_shared::limits::VALUE_BYTES_MAX`].
        value: Vec<u8>,
        /// The version that must be there, 0: none must; none: any.
        expect_version: Option<u64>,
    },
    /// Removes a named value.
    RemoveValue {
        /// Idempotency key.
        key: String,
        /// Its name.
        name: String,
        /// The version that must be there.
        expect_version: Option<u64>,
    },
}

/// What a sealed dataset consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetSeal {
    /// Blocks in all.
    pub blocks: u32,
    /// Of these the last so many hold the list of files; 0: `files` is the list.
    pub list_blocks: u32,
    /// At most [`vivat_shared::limits::FILES_LISTED_MAX`].
    pub files: Vec<DatasetFile>,
    /// Files in all.
    pub file_count: u64,
    /// Bytes of all files; those of the blocks before the list must be as many.
    pub bytes: u64,
}

impl From<DataCommand> for Command {
    fn from(command: DataCommand) -> Self {
        Self::Data(command)
    }
}

/// A task for a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The task; must be idle, unless this is a backup.
    pub task: TaskId,
    /// The worker; its epoch must be current.
    pub worker: WorkerEpoch,
    /// A second attempt beside one that runs: the task must have exactly one, on
    /// another worker.
    pub backup: bool,
}

/// The answer to one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done, nothing to tell.
    Done,
    /// The job, new or not.
    Job {
        /// The job.
        job: JobId,
        /// Whether this command made it.
        created: bool,
    },
    /// The job goes on with this step.
    Retried {
        /// From 0.
        step: u16,
    },
    /// The worker and its new epoch.
    Registered(WorkerEpoch),
    /// The dataset that a key made.
    Dataset {
        /// Which.
        dataset: DatasetId,
        /// Whether it is sealed.
        sealed: bool,
        /// Blocks recorded.
        blocks: u32,
    },
    /// The value's version now.
    Version(u64),
    /// One answer for each grant.
    Assigned(Vec<Result<AttemptId, Rejection>>),
    /// The command changed nothing.
    Rejected(Rejection),
}

/// Why a command, or a part of it, changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// The leader that proposed it is deposed.
    #[error("proposed in term {proposed}, now it is {current}")]
    StaleTerm {
        /// Of the command.
        proposed: u64,
        /// Of the state.
        current: u64,
    },
    /// The worker registered anew or was expired.
    #[error("{worker} is not current")]
    StaleEpoch {
        /// As named by the command.
        worker: WorkerEpoch,
        /// The worker's epoch now, if it is alive.
        current: Option<Epoch>,
    },
    /// The attempt is not, or no longer, granted to that worker (S4).
    #[error("attempt {attempt} is not granted to that worker")]
    StaleAttempt {
        /// As named by the command.
        attempt: AttemptId,
    },
    /// No such job; it may be forgotten.
    #[error("no such job: {0}")]
    UnknownJob(JobId),
    /// No such worker.
    #[error("no such worker: {0}")]
    UnknownWorker(WorkerId),
    /// The worker does not drain, or has time yet.
    #[error("{0} is not to be drained now")]
    NotDrained(WorkerId),
    /// The job has ended.
    #[error("{0} has ended")]
    JobEnded(JobId),
    /// The job still runs.
    #[error("{0} has not ended")]
    JobNotEnded(JobId),
    /// It cannot go on.
    #[error("{job} cannot be retried: {problem}")]
    NotRetryable {
        /// The job.
        job: JobId,
        /// Why, and what to do.
        problem: String,
    },
    /// Nothing is to be given up.
    #[error("{0} has nobody to be told, or time yet")]
    NotDue(JobId),
    /// Its commit is granted: the point of no return.
    #[error("{0} is committing its output: too late to cancel")]
    TooLate(JobId),
    /// The key belongs to another specification.
    #[error("key `{key}` belongs to {job}, which is another specification")]
    KeyConflict {
        /// The key.
        key: String,
        /// Whose it is.
        job: JobId,
    },
    /// The specification is out of bounds.
    #[error(transparent)]
    InvalidSpec(SpecError),
    /// The task is not idle, or its phase has not come or is over.
    #[error("task {0} is not to be granted")]
    NotGrantable(TaskId),
    /// A piece of a plan is missing, doubled with other content, or too large.
    #[error("plan of {attempt}: {problem}")]
    InvalidPlan {
        /// The plan attempt.
        attempt: AttemptId,
        /// What.
        problem: String,
    },
    /// A bound on what the state may hold.
    #[error("limit reached: {limit}")]
    Limit {
        /// Which one, with its number.
        limit: String,
    },
    /// The name is taken.
    #[error("there is a dataset `{name}`")]
    DatasetExists {
        /// The name.
        name: String,
    },
    /// No such dataset; it may be removed, or given up.
    #[error("no such dataset: {0}")]
    UnknownDataset(DatasetId),
    /// No sealed dataset of that name.
    #[error("no such dataset: `{0}`")]
    UnknownDatasetName(String),
    /// A job reads it.
    #[error("`{name}` is read by {job}")]
    DatasetInUse {
        /// Its name.
        name: String,
        /// One job that reads it.
        job: JobId,
    },
    /// What was appended or sealed does not fit what is there.
    #[error("{dataset}: {problem}")]
    InvalidBlocks {
        /// The dataset.
        dataset: DatasetId,
        /// What.
        problem: String,
    },
    /// No such value.
    #[error("no such value: `{0}`")]
    UnknownValue(String),
    /// Another version is there.
    #[error("`{name}` has version {version}")]
    VersionConflict {
        /// Its name.
        name: String,
        /// Its version; 0: there is none.
        version: u64,
    },
    /// The barrier names another cluster.
    #[error("this is cluster {current}")]
    OtherCluster {
        /// The state's.
        current: ClusterId,
    },
}

/// A fact that `apply` made true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A term's leader opened.
    TermOpened {
        /// Raft term.
        term: u64,
    },
    /// A job is new, or its state, phase, step or round changed.
    JobChanged {
        /// The job.
        job: JobId,
    },
    /// A job that had ended goes on.
    JobRetried {
        /// The job.
        job: JobId,
    },
    /// A job ended: its files on workers may go.
    JobEnded {
        /// The job.
        job: JobId,
    },
    /// A worker registered.
    WorkerRegistered {
        /// Its new epoch.
        worker: WorkerEpoch,
    },
    /// A worker's epoch is over.
    WorkerExpired {
        /// The epoch that ended.
        worker: WorkerEpoch,
        /// Why.
        reason: String,
    },
    /// An attempt was granted.
    AttemptGranted {
        /// The attempt.
        attempt: AttemptId,
        /// To whom.
        worker: WorkerEpoch,
    },
    /// A granted attempt no longer is: whoever runs it must stop.
    AttemptRevoked {
        /// The attempt.
        attempt: AttemptId,
        /// Who had it.
        worker: WorkerEpoch,
    },
    /// A granted attempt's outcome was taken.
    AttemptFinished {
        /// The attempt.
        attempt: AttemptId,
        /// Who ran it.
        worker: WorkerEpoch,
        /// Whether it is the task's output now.
        accepted: bool,
    },
    /// A task went back to idle and wants another attempt.
    TaskIdle {
        /// The task.
        task: TaskId,
    },
    /// A map task's segments can be fetched.
    SegmentsLocated {
        /// The map attempt.
        map: AttemptId,
        /// Who has them.
        holder: WorkerEpoch,
    },
    /// A completed map task's segments are gone; it runs again.
    SegmentsLost {
        /// The map attempt.
        map: AttemptId,
    },
    /// A segment is suspected: probing its holder is a duty.
    SegmentSuspected {
        /// The map attempt.
        map: AttemptId,
        /// Whom to probe.
        holder: WorkerEpoch,
    },
    /// A dataset was opened, appended to, sealed, given up or removed, or a block
    /// of it got or lost a holder: what is known about its blocks is to be looked
    /// up anew.
    DatasetChanged {
        /// Which.
        dataset: DatasetId,
    },
}
