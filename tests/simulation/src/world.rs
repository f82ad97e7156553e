//! One run: masters, workers and clients on one ground, from its first event to
//! its last.

use vivat_shared::ids::WorkerId;

use crate::client::{Operator, Submission};
use crate::event::{Caller, Event, Message};
use crate::evidence::{Evidence, Fact};
use crate::ground::Ground;
use crate::jobs;
use crate::master::Master;
use crate::oracle::{Disks, Oracle, Violation};
use crate::raft::Raft;
use crate::upload::Upload;
use crate::worker::Machine;

/// Replicas.
const MASTERS: usize = 3;
/// How long faults last.
const FAULTS_MS: std::ops::RangeInclusive<u64> = 20_000..=40_000;
/// After the faults every job must have ended in this time: a lease, probes of
/// silent holders and a handful of repeated tasks fit several times over.
const HEALING_MS: u64 = 90_000;
/// After which the last of what workers hold must have been settled.
const SETTLING_MS: u64 = 8_000;
/// Between two comparisons of disks and directory.
const LOOK_MS: u64 = 200;
/// Events of one run; more would be a spin.
const EVENTS_MAX: u64 = 400_000;

/// What came of a run.
#[derive(Debug)]
pub struct Run {
    /// The first thing that was wrong.
    pub violation: Option<Violation>,
    /// What happened.
    pub evidence: Evidence,
    /// What happened, line by line, if it was asked for.
    pub trace: String,
    /// Entries of the log.
    pub entries: u64,
    /// Virtual time.
    pub took_ms: u64,
}

/// See the module.
#[derive(Debug)]
pub struct World {
    pub ground: Ground,
    pub raft: Raft,
    pub masters: Vec<Master>,
    pub machines: Vec<Machine>,
    pub submissions: Vec<Submission>,
    pub uploads: Vec<Upload>,
    pub operator: Operator,
    pub oracle: Oracle,
    /// Faults are on.
    pub faulty: bool,
    pub healed_at_ms: u64,
    pub openings: u64,
    pub calls: u64,
    pub wiped: u32,
    /// When the last job was submitted, after all others had ended.
    last_at_ms: Option<u64>,
    /// When every job had ended.
    ended_at_ms: Option<u64>,
    /// When disks and directory are compared next.
    looks_at_ms: u64,
}

impl World {
    fn new(seed: u64, traced: bool) -> Self {
        let mut world = Self {
            ground: Ground::new(seed, traced),
            raft: Raft::default(),
            masters: (0..MASTERS).map(|_| Master::default()).collect(),
            machines: Vec::new(),
            submissions: Vec::new(),
            uploads: Vec::new(),
            operator: Operator::default(),
            oracle: Oracle::default(),
            faulty: true,
            healed_at_ms: 0,
            openings: 0,
            calls: 0,
            wiped: 0,
            last_at_ms: None,
            ended_at_ms: None,
            looks_at_ms: 0,
        };
        let machines = world.ground.dice.within(2..=4);
        for _ in 0..machines {
            let slots = u32::try_from(world.ground.dice.within(1..=2)).unwrap_or(1);
            let at = world.machines.len();
            world.machines.push(Machine::new(at, slots));
            world.start_machine(at);
        }
        let faults_ms = world.ground.dice.within(FAULTS_MS);
        for number in 0..world.ground.dice.index(6) + 3 {
            let spec = jobs::draw(&mut world.ground.dice, number);
            let delay_ms = world.ground.dice.below(faults_ms * 9 / 10);
            world.add_submission(spec, delay_ms);
        }
        for number in 0..world.ground.dice.index(3) + 1 {
            let latest_ms = if number == 0 {
                5_000
            } else {
                faults_ms * 9 / 10
            };
            let delay_ms = world.ground.dice.below(latest_ms);
            world.add_upload(delay_ms);
        }
        world.ground.weather = world.draw_weather();
        world.ground.after(0, Event::Elect);
        world.ground.after(1_000, Event::Fault);
        world.ground.after(faults_ms, Event::Heal);
        world
    }

    /// Runs a seed to its end, or to the first thing that is wrong.
    pub fn run(seed: u64, traced: bool) -> Run {
        let mut world = Self::new(seed, traced);
        let mut events = 0_u64;
        while world.oracle.violation().is_none() {
            events += 1;
            let Some(event) = world.ground.next().filter(|_| events < EVENTS_MAX) else {
                world
                    .oracle
                    .report(Violation::new("L1", "events without an end".to_owned()));
                break;
            };
            world.handle(event);
            if world.is_over() {
                break;
            }
        }
        let violation = world.oracle.violation().cloned();
        if let Some(violation) = &violation {
            world.ground.say(|| format!("{violation:?}"));
        }
        Run {
            violation,
            evidence: world.ground.evidence.clone(),
            entries: world.raft.log.len() as u64,
            took_ms: world.ground.now_ms,
            trace: world.ground.into_trace(),
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Message(message) => self.on_message(*message),
            Event::Leader {
                master,
                opening,
                timer,
            } => self.on_leader_timer(master, opening, timer),
            Event::Commit => self.on_commit(),
            Event::Stray(append) => self.on_stray(append),
            Event::Elect => self.on_elect(),
            Event::Depose => self.depose(),
            Event::Open { master, term } => self.open(master, term),
            Event::Apply { master } => self.on_apply(master),
            Event::MasterReturns { master } => self.on_master_returns(master),
            Event::Worker {
                machine,
                life,
                timer,
            } => self.on_worker_timer(machine, life, timer),
            Event::MachineReturns { machine } => self.start_machine(machine),
            Event::Client { submission, timer } => self.on_client_timer(submission, timer),
            Event::Upload { upload, timer } => self.on_upload_timer(upload, timer),
            Event::OperatorTimeout { call } => self.on_operator_timeout(call),
            Event::Fault => self.on_fault(),
            Event::Heal => self.on_heal(),
        }
    }

    fn on_message(&mut self, message: Message) {
        // To a stopped process messages come when it goes on.
        let wait_ms = match &message {
            Message::Request { master, .. } => self.frozen_for_ms(*master),
            Message::Response {
                to: Caller::Worker { machine, .. },
                ..
            } => self.machine_waits_ms(*machine),
            Message::Response {
                to: Caller::Client(_) | Caller::Upload(_) | Caller::Operator,
                ..
            } => None,
        };
        if let Some(wait_ms) = wait_ms {
            self.ground
                .after(wait_ms, Event::Message(Box::new(message)));
            return;
        }
        self.ground.say(|| format!("{message:?}"));
        match message {
            Message::Request {
                call,
                from,
                master,
                body,
            } => {
                if self.is_up(master) {
                    self.on_request(master, call, from, body);
                }
            }
            Message::Response {
                call,
                to: Caller::Worker { machine, life },
                body,
            } => self.on_worker_response(machine, life, call, body),
            Message::Response {
                call,
                to: Caller::Client(submission),
                body,
            } => self.on_client_response(submission, call, body),
            Message::Response {
                call,
                to: Caller::Upload(upload),
                body,
            } => self.on_upload_response(upload, call, body),
            Message::Response {
                call,
                to: Caller::Operator,
                body,
            } => self.on_operator_response(call, &body),
        }
    }

    fn disks(&self) -> Disks {
        let disk = |machine: &Machine| (machine.worker, machine.blocks.clone());
        self.machines.iter().map(disk).collect()
    }

    /// The worker that lives on a machine.
    pub fn worker_on(&self, machine: usize) -> Option<WorkerId> {
        let uid = &self.machines[machine].uid;
        self.oracle.worker_of(uid)
    }

    /// Whether only the end is waited for.
    pub fn is_finishing(&self) -> bool {
        self.ended_at_ms.is_some()
    }

    /// Looks whether all has come to its end, and checks what must hold then.
    fn is_over(&mut self) -> bool {
        if self.faulty {
            return false;
        }
        if self.ground.now_ms > self.healed_at_ms + HEALING_MS {
            let waiting = self.oracle.unfinished();
            let settled = self.submissions.iter().all(Submission::is_settled);
            let data = self.oracle.data_problem(&self.disks());
            let detail = format!("{waiting}; clients settled: {settled}; data: {data:?}");
            self.oracle.report(Violation::new("L1", detail));
            return true;
        }
        if self.operator.is_settled() {
            // A drain that was long on its way may come after its end.
            for worker in self.oracle.draining() {
                self.drain(worker, false);
            }
        }
        let settled = self.submissions.iter().all(Submission::is_settled)
            && self.uploads.iter().all(Upload::is_settled)
            && self.operator.is_settled()
            && self.oracle.all_ended();
        if !settled {
            return false;
        }
        if self.last_at_ms.is_none() {
            self.last_at_ms = Some(self.ground.now_ms);
            self.submit_last();
            return false;
        }
        let ended_at_ms = *self.ended_at_ms.get_or_insert(self.ground.now_ms);
        let holds = self.machines.iter().any(Machine::is_busy);
        if holds && self.ground.now_ms < ended_at_ms + SETTLING_MS {
            return false;
        }
        if holds {
            let detail = "a worker holds attempts of jobs that ended".to_owned();
            self.oracle.report(Violation::new("mistake 8", detail));
        }
        if self.ground.now_ms < self.looks_at_ms {
            return false;
        }
        self.looks_at_ms = self.ground.now_ms + LOOK_MS;
        // Until the end of the healing time: the look before says what is wrong.
        if self.oracle.data_problem(&self.disks()).is_some() {
            return false;
        }
        let last = self.submissions.last().and_then(|last| last.job);
        self.oracle.finish(&mut self.ground, last);
        if self.ground.evidence.count(Fact::JobSucceeded) == 0 {
            let detail = "not even the last job succeeded".to_owned();
            self.oracle.report(Violation::new("L1", detail));
        }
        true
    }
}
