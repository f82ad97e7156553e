//! What a leader answers workers and clients.

use std::collections::BTreeSet;

use vivat_core::command::{Command, DataCommand, Rejection};
use vivat_core::{State, view};
use vivat_shared::attempt::Work;
use vivat_shared::ids::{AttemptId, TaskKind, WorkerEpoch};
use vivat_shared::view::{JobState, WaitReason};

use super::sessions::Waiter;
use super::{PULL_WAIT_MS, Purpose, Question};
use crate::event::{CallId, Caller, Delivery, LeaderTimer, MasterAt, Request, Response};
use crate::evidence::Fact;
use crate::world::World;

impl World {
    pub fn on_request(&mut self, at: MasterAt, call: CallId, from: Caller, body: Request) {
        let open = self.masters[at]
            .leader
            .as_ref()
            .is_some_and(|leader| leader.open_since_ms.is_some());
        if !open {
            let hint = self.raft.leader.filter(|leader| *leader != at);
            self.answer(call, from, Response::NotLeader { hint });
            return;
        }
        if let Some(worker) = sender(&body)
            && !self.hear(at, worker)
        {
            self.answer(call, from, Response::Stale);
            return;
        }
        match body {
            Request::Heartbeat {
                worker,
                held,
                running,
                jobs,
            } => {
                let body = self.heartbeat(at, worker, &held, running, &jobs);
                self.answer(call, from, body);
            }
            Request::Pull {
                worker,
                held,
                want,
                control_free,
            } => {
                let room = (want, control_free);
                self.pull(at, worker, waiter((call, from), held, room));
            }
            Request::Locate { worker, reducer } => {
                let body = locate(&self.masters[at].state, worker, reducer);
                self.answer(call, from, body);
            }
            Request::Status { job } => self.status(at, call, from, job),
            Request::PlaceBlock { .. } => self.place_block(at, call, from, &body),
            Request::ReportBlocks {
                worker,
                after,
                blocks,
                last,
            } => self.blocks_reported(at, (call, from), worker, (after, blocks, last)),
            Request::Register { .. }
            | Request::OpenDataset { .. }
            | Request::AppendBlock { .. }
            | Request::SealDataset { .. }
            | Request::RemoveDataset { .. }
            | Request::Restore { .. }
            | Request::Report { .. }
            | Request::AppendPlan { .. }
            | Request::FetchFailure { .. }
            | Request::Submit { .. }
            | Request::Cancel { .. }
            | Request::Retry { .. }
            | Request::Drain { .. } => {
                let (to_what, commands) = to_propose(body);
                let purpose = Purpose::Answer {
                    call,
                    to: from,
                    to_what,
                };
                self.submit(at, purpose, commands);
            }
        }
    }

    /// Renews a lease; false when the epoch is over.
    fn hear(&mut self, at: MasterAt, worker: WorkerEpoch) -> bool {
        let now_ms = self.ground.now_ms;
        let current = self.masters[at].state.current_epoch(worker.worker) == Some(worker.epoch);
        let Some(leader) = self.masters[at].leader.as_mut() else {
            return false;
        };
        let mut heard = leader.sessions.hear(worker, now_ms);
        if !heard && current {
            leader.sessions.begin(worker, now_ms);
            heard = leader.sessions.hear(worker, now_ms);
        }
        if heard {
            self.oracle.heard(at, worker, now_ms);
        }
        heard
    }

    fn heartbeat(
        &mut self,
        at: MasterAt,
        worker: WorkerEpoch,
        held: &[AttemptId],
        running: BTreeSet<AttemptId>,
        jobs: &[vivat_shared::ids::JobId],
    ) -> Response {
        let term = self.masters[at].leader.as_ref().map_or(0, |it| it.term);
        let age_ms = self.age_ms(at, term);
        if let Some(leader) = self.masters[at].leader.as_mut() {
            leader.sessions.note_running(worker, running, age_ms);
            leader.sessions.note_held(worker, held);
        }
        let state = &self.masters[at].state;
        let kill = to_kill(state, worker, held);
        let ended = jobs
            .iter()
            .copied()
            .filter(|job| vivat_core::job_has_ended(state, *job))
            .collect();
        if !kill.is_empty() && !self.is_confirmed(at) {
            return Response::NotLeader { hint: None };
        }
        Response::Beat { kill, ended }
    }

    pub(super) fn is_confirmed(&self, at: MasterAt) -> bool {
        self.masters[at]
            .leader
            .as_ref()
            .is_some_and(|leader| self.raft.confirms(at, leader.term, self.ground.now_ms))
    }

    fn pull(&mut self, at: MasterAt, worker: WorkerEpoch, mut waiter: Waiter) {
        let Some(leader) = self.masters[at].leader.as_mut() else {
            return;
        };
        let opening = leader.opening;
        waiter.number = leader.sessions.next_number();
        let number = waiter.number;
        let mut superseded = None;
        let mut orders = (Vec::new(), Vec::new());
        if let Some(session) = leader.sessions.get_mut(worker) {
            superseded = session.waiter.take();
            session.pulled = true;
            session.held = waiter.held.iter().copied().collect();
            orders = (
                std::mem::take(&mut session.kill),
                std::mem::take(&mut session.take_back),
            );
        }
        if let Some(old) = superseded {
            self.answer(old.call, old.from, Response::Delivery(Delivery::default()));
        }
        let mut delivery = missing(&self.masters[at].state, worker, &waiter.held);
        delivery.kill = to_kill(&self.masters[at].state, worker, &waiter.held);
        if !delivery.kill.is_empty() && !self.is_confirmed(at) {
            let body = Response::NotLeader { hint: None };
            self.answer(waiter.call, waiter.from, body);
            return;
        }
        if !delivery.assignments.is_empty() {
            self.ground.note(Fact::AttemptRedelivered);
        }
        delivery.kill.extend(orders.0);
        delivery.take_back.extend(orders.1);
        if !delivery.is_empty() {
            self.answer(waiter.call, waiter.from, Response::Delivery(delivery));
            return;
        }
        if let Some(session) = self.session_mut(at, worker) {
            session.waiter = Some(waiter);
        }
        let timer = LeaderTimer::PullEnds { worker, number };
        self.leader_timer(PULL_WAIT_MS, at, opening, timer);
        self.schedule(at);
    }

    pub(super) fn pull_ends(&mut self, at: MasterAt, worker: WorkerEpoch, number: u64) {
        let Some(session) = self.session_mut(at, worker) else {
            return;
        };
        let ends = session.waiter.take_if(|waiter| waiter.number == number);
        if let Some(waiter) = ends {
            let body = Response::Delivery(Delivery::default());
            self.answer(waiter.call, waiter.from, body);
        }
    }

    /// Answers the waiting pull of a worker if there is something for it.
    pub(super) fn poke(&mut self, at: MasterAt, worker: WorkerEpoch) {
        let master = &mut self.masters[at];
        let Some(leader) = master.leader.as_mut() else {
            return;
        };
        let Some(session) = leader.sessions.get_mut(worker) else {
            return;
        };
        let Some(waiter) = &session.waiter else {
            return;
        };
        let mut delivery = missing(&master.state, worker, &waiter.held);
        delivery.kill.append(&mut session.kill);
        delivery.take_back.append(&mut session.take_back);
        if delivery.is_empty() {
            return;
        }
        if let Some(waiter) = session.waiter.take() {
            self.answer(waiter.call, waiter.from, Response::Delivery(delivery));
        }
    }

    /// A decided read (S10): only a leader that is confirmed answers it.
    fn status(&mut self, at: MasterAt, call: CallId, from: Caller, job: vivat_shared::ids::JobId) {
        let behind = self.masters[at].state.applied_index() < self.raft.log.len() as u64;
        if !self.is_confirmed(at) || behind {
            self.answer(call, from, Response::NotLeader { hint: None });
            return;
        }
        let Some(leader) = &self.masters[at].leader else {
            return;
        };
        let liveness = leader.sessions.liveness();
        let state = &self.masters[at].state;
        if view::wait_reason(state, job, &liveness) == Some(WaitReason::NoWorkers) {
            self.ground.note(Fact::JobWaitedForWorkers);
        }
        let body = match view::job(state, job, &liveness) {
            Some(seen) => {
                self.oracle.viewed(&seen, &liveness);
                Response::View
            }
            None => Response::Refused(Rejection::UnknownJob(job)),
        };
        self.answer(call, from, body);
    }

    pub(super) fn session_mut(
        &mut self,
        at: MasterAt,
        worker: WorkerEpoch,
    ) -> Option<&mut super::sessions::Session> {
        self.masters[at].leader.as_mut()?.sessions.get_mut(worker)
    }
}

fn waiter(
    (call, from): (CallId, Caller),
    held: Vec<AttemptId>,
    (want, control_free): (u32, bool),
) -> Waiter {
    Waiter {
        number: 0,
        call,
        from,
        held,
        want,
        control_free,
    }
}

/// What a request makes the leader propose.
fn to_propose(body: Request) -> (Question, Vec<Command>) {
    let command = match body {
        Request::Register { info, crashed } => {
            let register = Command::RegisterWorker { info, crashed };
            return (Question::Register, vec![register]);
        }
        Request::Report { worker, reports } => {
            let attempts = reports.iter().map(|(attempt, _)| *attempt).collect();
            let finish = |(attempt, outcome)| Command::FinishAttempt {
                attempt,
                worker,
                outcome,
            };
            let commands = reports.into_iter().map(finish).collect();
            return (Question::Report { worker, attempts }, commands);
        }
        Request::Restore { worker, held } => Command::RestoreSegments { worker, held },
        Request::AppendPlan {
            worker,
            attempt,
            chunk,
            content,
        } => Command::AppendPlan {
            attempt,
            worker,
            chunk,
            content,
        },
        Request::FetchFailure { worker, failure } => {
            Command::ReportFetchFailure { worker, failure }
        }
        Request::Submit { key, spec } => Command::SubmitJob { key, spec: *spec },
        Request::Cancel { job } => Command::CancelJob { job },
        Request::Retry { key, job } => Command::RetryJob { key, job },
        Request::Drain { worker, draining } => Command::DrainWorker {
            worker,
            draining,
            deadline_ms: None,
        },
        Request::OpenDataset { key, spec } => DataCommand::OpenDataset { key, spec }.into(),
        Request::AppendBlock {
            dataset,
            first,
            block,
        } => {
            let blocks = vec![block];
            let append = DataCommand::AppendBlocks {
                dataset,
                first,
                blocks,
            };
            append.into()
        }
        Request::SealDataset { dataset, seal } => DataCommand::SealDataset { dataset, seal }.into(),
        Request::RemoveDataset { name, dataset } => {
            let remove = DataCommand::RemoveDataset {
                name,
                dataset,
                when_unread: false,
            };
            remove.into()
        }
        Request::Heartbeat { .. }
        | Request::PlaceBlock { .. }
        | Request::ReportBlocks { .. }
        | Request::Pull { .. }
        | Request::Locate { .. }
        | Request::Status { .. } => return (Question::Plain, Vec::new()),
    };
    (Question::Plain, vec![command])
}

/// Whose lease a request renews.
fn sender(body: &Request) -> Option<WorkerEpoch> {
    match body {
        Request::Restore { worker, .. }
        | Request::Heartbeat { worker, .. }
        | Request::Pull { worker, .. }
        | Request::Report { worker, .. }
        | Request::AppendPlan { worker, .. }
        | Request::Locate { worker, .. }
        | Request::ReportBlocks { worker, .. }
        | Request::FetchFailure { worker, .. } => Some(*worker),
        Request::Register { .. }
        | Request::OpenDataset { .. }
        | Request::PlaceBlock { .. }
        | Request::AppendBlock { .. }
        | Request::SealDataset { .. }
        | Request::RemoveDataset { .. }
        | Request::Submit { .. }
        | Request::Cancel { .. }
        | Request::Retry { .. }
        | Request::Status { .. }
        | Request::Drain { .. } => None,
    }
}

/// What is granted to a worker and not held.
fn missing(state: &State, worker: WorkerEpoch, held: &[AttemptId]) -> Delivery {
    let mut delivery = Delivery::default();
    for attempt in vivat_core::reconcile(state, worker, held).missing {
        let spec = vivat_core::job_spec(state, attempt.job());
        if let (Some(assignment), Some(spec)) = (vivat_core::assignment(state, attempt), spec) {
            delivery.specs.insert(attempt.job(), spec.clone());
            delivery.assignments.push(assignment);
        }
    }
    delivery
}

fn to_kill(state: &State, worker: WorkerEpoch, held: &[AttemptId]) -> Vec<AttemptId> {
    let mut unknown = vivat_core::reconcile(state, worker, held).unknown;
    unknown.retain(|attempt| !has_the_outcome(state, worker, *attempt));
    unknown
}

/// Whether an attempt's outcome is its task's, or was what ended the job.
pub(super) fn has_the_outcome(state: &State, worker: WorkerEpoch, attempt: AttemptId) -> bool {
    let Some(job) = state.job(attempt.job()) else {
        return false;
    };
    if attempt.task.kind == TaskKind::Commit && job.state() == JobState::Succeeded {
        return true;
    }
    let accepted = job
        .active()
        .and_then(|active| active.table(attempt.task))
        .and_then(|table| table.accepted(attempt.task.index));
    accepted.is_some_and(|accepted| {
        accepted.number == attempt.number && accepted.worker.worker == worker.worker
    })
}

fn locate(state: &State, worker: WorkerEpoch, reducer: AttemptId) -> Response {
    let live = state
        .job(reducer.job())
        .and_then(vivat_core::state::Job::active)
        .is_some_and(|active| active.is_live(reducer, worker));
    let assignment = vivat_core::assignment(state, reducer).filter(|_| live);
    match assignment.map(|assignment| assignment.work) {
        Some(Work::Reduce { maps, .. }) => Response::Located {
            maps,
            locations: vivat_core::locations(state, reducer.task.round, reducer.task.index),
        },
        Some(
            Work::Plan { .. }
            | Work::Map { .. }
            | Work::Close { .. }
            | Work::Commit { .. }
            | Work::Notify { .. },
        )
        | None => Response::Refused(Rejection::StaleAttempt { attempt: reducer }),
    }
}
