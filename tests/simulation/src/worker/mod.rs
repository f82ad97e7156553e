//! Workers: a machine with a disk, and one process after the other on it.
//!
//! The process does what `vivat_worker` does: it registers, offers what its disk
//! still has, pulls, runs, reports until it is answered, beats, and fetches
//! segments from other machines. A machine may lose its process, its disk, its
//! time or its manners.

mod attempts;
mod blocks;
mod calls;
mod fetch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use vivat_core::command::WorkerInfo;
use vivat_shared::attempt::{Assignment, Outcome};
use vivat_shared::dataset::BlockSummary;
use vivat_shared::ids::{AttemptId, BlockId, JobId, WorkerEpoch, WorkerId};
use vivat_shared::job::{HostIdentity, JobSpec};
use vivat_shared::size_code::SizeCode;

use crate::event::{CallId, Caller, Event, MachineAt, MasterAt, Message, Request, WorkerTimer};
use crate::evidence::Fact;
use crate::leader::LEASE_MS;
use crate::world::World;

/// Between two heartbeats.
const BEAT_MS: u64 = 1_000;
/// For every call but the pull.
const CALL_TIMEOUT_MS: u64 = 1_500;
/// Longer than a leader lets a pull wait.
const PULL_TIMEOUT_MS: u64 = 12_000;
/// Waiting tasks that a worker takes beyond its slots.
const PREFETCH: usize = 2;

/// What an attempt is at.
#[derive(Debug, Clone)]
pub(crate) enum Phase {
    /// Gathering segments.
    Fetching,
    /// Waiting for a slot.
    Ready,
    /// In a slot.
    Running { run: u64 },
    /// A plan on its way to the log, in chunks.
    Sending { chunk: u32 },
    /// To be reported.
    Finished(Outcome),
}

/// A granted attempt.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    assignment: Assignment,
    spec: JobSpec,
    phase: Phase,
    /// Of a reduce: map tasks whose segments are here.
    gathered: BTreeSet<u32>,
    /// Of a reduce: failed tries by map task and attempt, and when it complained.
    failed_fetches: BTreeMap<(u32, u16), (u32, u64)>,
}

/// What a pending call is for.
#[derive(Debug, Clone)]
enum Pending {
    Register,
    Restore,
    Beat,
    Pull { want: u32, control_free: bool },
    Report,
    Blocks { next: Option<BlockId> },
    Chunk(AttemptId),
    Locate(AttemptId),
    Complain,
}

/// One process.
#[derive(Debug)]
pub(crate) struct Process {
    epoch: Option<WorkerEpoch>,
    /// Attempts that ran when the process before died.
    crashed: Vec<AttemptId>,
    /// What the disk has was offered under this epoch.
    restored: bool,
    /// Blocks up to this one were told.
    reported_to: Option<BlockId>,
    held: BTreeMap<AttemptId, Held>,
    ready: VecDeque<AttemptId>,
    control_ready: VecDeque<AttemptId>,
    calls: BTreeMap<CallId, Pending>,
    /// The master that it believes to lead.
    target: MasterAt,
    runs: u64,
}

/// One machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub uid: String,
    pub slots: u32,
    /// Segments by map attempt.
    pub disk: BTreeMap<AttemptId, Vec<SizeCode>>,
    /// Blocks of datasets.
    pub blocks: BTreeMap<BlockId, BlockSummary>,
    /// Attempts that run, noted on the disk.
    marks: BTreeSet<AttemptId>,
    /// The worker id that its uid got.
    pub worker: Option<WorkerId>,
    pub process: Option<Process>,
    pub life: u32,
    /// The process is stopped until then.
    stalled_until_ms: u64,
    /// Reports fetch failures that are none.
    pub lies: bool,
    /// Its attempts fail.
    pub sick: bool,
    /// Machines that it cannot fetch from.
    pub cut_from: BTreeSet<MachineAt>,
}

impl Machine {
    pub(crate) fn new(at: MachineAt, slots: u32) -> Self {
        Self {
            uid: format!("machine-{at}"),
            slots,
            disk: BTreeMap::new(),
            blocks: BTreeMap::new(),
            marks: BTreeSet::new(),
            worker: None,
            process: None,
            life: 0,
            stalled_until_ms: 0,
            lies: false,
            sick: false,
            cut_from: BTreeSet::new(),
        }
    }

    /// Whether a process holds anything that it was granted.
    pub(crate) fn is_busy(&self) -> bool {
        self.process
            .as_ref()
            .is_some_and(|process| !process.held.is_empty())
    }

    fn info(&self) -> WorkerInfo {
        WorkerInfo {
            uid: self.uid.clone(),
            address: format!("{}:2", self.uid),
            pid: self.life,
            slots: self.slots,
            host: HostIdentity("here".to_owned()),
            labels: BTreeMap::new(),
        }
    }

    /// Jobs that the disk has files of.
    fn jobs(&self) -> Vec<JobId> {
        let jobs: BTreeSet<JobId> = self.disk.keys().map(AttemptId::job).collect();
        jobs.into_iter().collect()
    }
}

impl World {
    /// The machine on which a worker lives.
    pub fn machine_of(&self, worker: WorkerId) -> Option<MachineAt> {
        self.machines
            .iter()
            .position(|machine| machine.worker == Some(worker))
    }

    /// Whether a machine's process would answer now.
    pub fn answers(&self, at: MachineAt) -> bool {
        let machine = &self.machines[at];
        machine.process.is_some() && machine.stalled_until_ms <= self.ground.now_ms
    }

    /// Whether a worker's disk has a map attempt's segments.
    pub fn has_segment(&self, holder: WorkerId, map: AttemptId) -> bool {
        self.machine_of(holder)
            .is_some_and(|at| self.machines[at].disk.contains_key(&map))
    }

    pub fn start_machine(&mut self, at: MachineAt) {
        let target = self.ground.dice.index(self.masters.len());
        let machine = &mut self.machines[at];
        if machine.process.is_some() {
            return;
        }
        machine.life += 1;
        machine.stalled_until_ms = 0;
        machine.process = Some(Process {
            epoch: None,
            crashed: std::mem::take(&mut machine.marks).into_iter().collect(),
            restored: false,
            reported_to: None,
            held: BTreeMap::new(),
            ready: VecDeque::new(),
            control_ready: VecDeque::new(),
            calls: BTreeMap::new(),
            target,
            runs: 0,
        });
        self.ground.say(|| format!("machine {at} starts"));
        self.worker_timer(0, at, WorkerTimer::Register);
        self.worker_timer(1, at, WorkerTimer::Beat);
    }

    /// kill -9 of the process; its disk notes what ran.
    pub fn kill_machine(&mut self, at: MachineAt, return_ms: u64) {
        let machine = &mut self.machines[at];
        if machine.process.take().is_none() {
            return;
        }
        self.ground.note(Fact::WorkerKilled);
        self.ground
            .say(|| format!("machine {at} dies, back in {return_ms}"));
        self.ground
            .after(return_ms, Event::MachineReturns { machine: at });
    }

    /// Its disk is empty when it comes back, and it is another worker.
    pub fn wipe_machine(&mut self, at: MachineAt) {
        self.ground.note(Fact::WorkerLostItsDisk);
        self.wiped += 1;
        let machine = &mut self.machines[at];
        machine.disk.clear();
        machine.blocks.clear();
        machine.marks.clear();
        // Half of them keep their uid, as from a volume that was restored empty.
        if self.ground.dice.chance(500) {
            machine.uid = format!("machine-{at}-{}", self.wiped);
            machine.worker = None;
        }
    }

    /// SIGSTOP.
    pub fn stall_machine(&mut self, at: MachineAt, for_ms: u64) {
        self.ground.note(Fact::WorkerStalled);
        if for_ms > LEASE_MS {
            self.ground.note(Fact::WorkerStalledPastLease);
        }
        self.ground
            .say(|| format!("machine {at} stalls for {for_ms}"));
        let until_ms = self.ground.now_ms + for_ms;
        let machine = &mut self.machines[at];
        machine.stalled_until_ms = machine.stalled_until_ms.max(until_ms);
    }

    /// SIGCONT, when faults end. What waited for it comes when it was due.
    pub fn shorten_stall(&mut self, at: MachineAt) {
        self.machines[at].stalled_until_ms = 0;
    }

    /// How long messages to a machine wait; none when it listens, or is dead.
    pub fn machine_waits_ms(&self, at: MachineAt) -> Option<u64> {
        self.stalled_for_ms(at)
    }

    fn stalled_for_ms(&self, at: MachineAt) -> Option<u64> {
        let left_ms = self.machines[at]
            .stalled_until_ms
            .saturating_sub(self.ground.now_ms);
        (left_ms > 0).then_some(left_ms)
    }

    fn worker_timer(&mut self, delay_ms: u64, at: MachineAt, timer: WorkerTimer) {
        let event = Event::Worker {
            machine: at,
            life: self.machines[at].life,
            timer,
        };
        self.ground.after(delay_ms, event);
    }

    fn process_mut(&mut self, at: MachineAt) -> Option<&mut Process> {
        self.machines[at].process.as_mut()
    }

    pub fn on_worker_timer(&mut self, at: MachineAt, life: u32, timer: WorkerTimer) {
        if self.machines[at].life != life || self.machines[at].process.is_none() {
            return;
        }
        if let Some(delay_ms) = self.stalled_for_ms(at) {
            self.worker_timer(delay_ms, at, timer);
            return;
        }
        match timer {
            WorkerTimer::Register => self.register(at),
            WorkerTimer::Restore => self.restore(at),
            WorkerTimer::Beat => {
                self.beat(at);
                self.worker_timer(BEAT_MS, at, WorkerTimer::Beat);
            }
            WorkerTimer::Pull => self.pull_work(at),
            WorkerTimer::Report => self.report(at),
            WorkerTimer::ReportBlocks => self.report_blocks(at),
            WorkerTimer::Timeout { call } => self.call_failed(at, call, None),
            WorkerTimer::AttemptDone { attempt, run } => self.attempt_done(at, attempt, run),
            WorkerTimer::Chunk { attempt } => self.send_chunk(at, attempt),
            WorkerTimer::Fetch { attempt } => self.look_for_segments(at, attempt),
        }
    }

    /// Calls the master that it believes to lead.
    fn call(&mut self, at: MachineAt, pending: Pending, body: Request) {
        self.calls += 1;
        let call = CallId(self.calls);
        let life = self.machines[at].life;
        let timeout_ms = match pending {
            Pending::Pull { .. } => PULL_TIMEOUT_MS,
            Pending::Register
            | Pending::Restore
            | Pending::Beat
            | Pending::Report
            | Pending::Blocks { .. }
            | Pending::Chunk(_)
            | Pending::Locate(_)
            | Pending::Complain => CALL_TIMEOUT_MS,
        };
        let Some(process) = self.process_mut(at) else {
            return;
        };
        process.calls.insert(call, pending);
        let master = process.target;
        self.worker_timer(timeout_ms, at, WorkerTimer::Timeout { call });
        let from = Caller::Worker { machine: at, life };
        self.ground.send(Message::Request {
            call,
            from,
            master,
            body,
        });
    }

    fn is_calling(&self, at: MachineAt, what: impl Fn(&Pending) -> bool) -> bool {
        let process = self.machines[at].process.as_ref();
        process.is_some_and(|process| process.calls.values().any(what))
    }
}
