//! What a process asks of the leader, and what it makes of the answers.

use vivat_core::command::HeldSegments;
use vivat_shared::attempt::Outcome;
use vivat_shared::ids::{AttemptId, WorkerEpoch};

use super::{Pending, Phase, Process};
use crate::event::{CallId, MachineAt, MasterAt, Request, Response, WorkerTimer};
use crate::evidence::Fact;
use crate::world::World;

/// Reports of one call.
const REPORTS_MAX: usize = 16;

impl World {
    pub(super) fn register(&mut self, at: MachineAt) {
        if self.is_calling(at, |pending| matches!(pending, Pending::Register)) {
            return;
        }
        let info = self.machines[at].info();
        let Some(process) = self.process_mut(at) else {
            return;
        };
        if process.epoch.is_some() {
            return;
        }
        let crashed = process.crashed.clone();
        self.call(at, Pending::Register, Request::Register { info, crashed });
    }

    pub(super) fn restore(&mut self, at: MachineAt) {
        let held = self.machines[at]
            .disk
            .iter()
            .map(|(attempt, segments)| HeldSegments {
                attempt: *attempt,
                segments: segments.clone(),
            })
            .collect();
        let Some(worker) = self.process_mut(at).and_then(|process| process.epoch) else {
            return;
        };
        self.call(at, Pending::Restore, Request::Restore { worker, held });
    }

    pub(super) fn beat(&mut self, at: MachineAt) {
        let jobs = self.machines[at].jobs();
        let Some(process) = self.process_mut(at) else {
            return;
        };
        let Some(worker) = process.epoch else {
            return;
        };
        let held = process.held.keys().copied().collect();
        let running = process
            .held
            .iter()
            .filter(|(_, held)| matches!(held.phase, Phase::Running { .. }))
            .map(|(attempt, _)| *attempt)
            .collect();
        let body = Request::Heartbeat {
            worker,
            held,
            running,
            jobs,
        };
        self.call(at, Pending::Beat, body);
    }

    /// Pulls, unless a pull waits that asks for as much.
    pub(super) fn pull_work(&mut self, at: MachineAt) {
        let Some((want, control_free)) = self.room(at) else {
            return;
        };
        let outgrown = |pending: &Pending| match pending {
            Pending::Pull {
                want: asked,
                control_free: asked_control,
            } => Some((want > 0 && *asked == 0) || (control_free && !asked_control)),
            Pending::Register
            | Pending::Restore
            | Pending::Beat
            | Pending::Report
            | Pending::Blocks { .. }
            | Pending::Chunk(_)
            | Pending::Locate(_)
            | Pending::Complain => None,
        };
        let Some(process) = self.process_mut(at) else {
            return;
        };
        let (Some(worker), true) = (process.epoch, process.restored) else {
            return;
        };
        let mut waiting = process.calls.values().filter_map(outgrown);
        if waiting.next().is_some_and(|outgrown| !outgrown) {
            return;
        }
        // Given up: an answer that is on its way is then one that got lost.
        process
            .calls
            .retain(|_, pending| !matches!(pending, Pending::Pull { .. }));
        let body = Request::Pull {
            worker,
            held: process.held.keys().copied().collect(),
            want,
            control_free,
        };
        let pending = Pending::Pull { want, control_free };
        self.call(at, pending, body);
    }

    pub(super) fn report(&mut self, at: MachineAt) {
        if self.is_calling(at, |pending| matches!(pending, Pending::Report)) {
            return;
        }
        let Some(process) = self.process_mut(at) else {
            return;
        };
        let Some(worker) = process.epoch else {
            return;
        };
        let finished = |phase: &Phase| match phase {
            Phase::Finished(outcome) => Some(outcome.clone()),
            Phase::Fetching | Phase::Ready | Phase::Running { .. } | Phase::Sending { .. } => None,
        };
        let reports: Vec<(AttemptId, Outcome)> = process
            .held
            .iter()
            .filter_map(|(attempt, held)| Some((*attempt, finished(&held.phase)?)))
            .take(REPORTS_MAX)
            .collect();
        if reports.is_empty() {
            return;
        }
        let body = Request::Report { worker, reports };
        self.call(at, Pending::Report, body);
    }

    pub fn on_worker_response(&mut self, at: MachineAt, life: u32, call: CallId, body: Response) {
        if self.machines[at].life != life {
            return;
        }
        if let Some(hint) = is_no_answer(&body) {
            self.call_failed(at, call, hint);
            return;
        }
        let process = self.process_mut(at);
        let Some(pending) = process.and_then(|process| process.calls.remove(&call)) else {
            return;
        };
        match (body, pending) {
            (Response::Registered(worker), Pending::Register) => self.registered(at, worker),
            (Response::Stale, _) => self.epoch_is_over(at),
            (Response::Beat { kill, ended }, _) => {
                self.kill_attempts(at, &kill);
                self.delete_jobs(at, &ended);
            }
            (Response::Delivery(delivery), Pending::Pull { .. }) => {
                self.kill_attempts(at, &delivery.kill);
                self.hand_back(at, &delivery.take_back);
                self.take_in(at, delivery);
                self.pull_work(at);
            }
            (Response::Verdicts(verdicts), _) => {
                if let Some(process) = self.process_mut(at) {
                    for (attempt, _) in &verdicts {
                        process.held.remove(attempt);
                    }
                }
                self.report(at);
                self.pull_work(at);
            }
            (Response::Located { maps, locations }, Pending::Locate(attempt)) => {
                self.gather(at, attempt, maps, &locations);
            }
            (Response::BlockOrders(remove), Pending::Blocks { next }) => {
                self.blocks_taken(at, &remove, next);
            }
            (Response::Done, Pending::Restore) => self.restored(at),
            (Response::Done, Pending::Chunk(attempt)) => self.chunk_taken(at, attempt),
            // The attempt is not granted any more; the next list tells it so.
            (Response::Refused(_), Pending::Chunk(_)) => {}
            (Response::Refused(_), Pending::Locate(attempt)) => {
                self.fetch_again(at, attempt);
            }
            (
                Response::Refused(_)
                | Response::Done
                | Response::Registered(_)
                | Response::Delivery(_)
                | Response::Located { .. }
                | Response::Job { .. }
                | Response::View
                | Response::Dataset { .. }
                | Response::Place(_)
                | Response::BlockOrders(_)
                | Response::NotLeader { .. }
                | Response::Unknown,
                _,
            ) => {}
        }
    }

    fn registered(&mut self, at: MachineAt, worker: WorkerEpoch) {
        self.ground.say(|| format!("machine {at} is {worker}"));
        self.machines[at].worker = Some(worker.worker);
        let Some(process) = self.process_mut(at) else {
            return;
        };
        process.epoch = Some(worker);
        process.crashed.clear();
        process.restored = false;
        process.reported_to = None;
        self.worker_timer(1, at, WorkerTimer::ReportBlocks);
        if self.machines[at].disk.is_empty() {
            self.restored(at);
        } else {
            // A large disk takes its time to be looked through.
            let large = self.ground.dice.chance(200);
            let range = if large { 1_000..=6_000 } else { 1..=200 };
            let delay_ms = self.ground.dice.within(range);
            self.worker_timer(delay_ms, at, WorkerTimer::Restore);
        }
    }

    fn restored(&mut self, at: MachineAt) {
        if let Some(process) = self.process_mut(at) {
            process.restored = true;
        }
        self.pull_work(at);
    }

    /// Nothing that was granted under it counts any more. Segments stay.
    fn epoch_is_over(&mut self, at: MachineAt) {
        self.ground.note(Fact::ZombieRefused);
        self.ground.say(|| format!("machine {at}: epoch is over"));
        let machine = &mut self.machines[at];
        machine.marks.clear();
        let Some(process) = machine.process.as_mut() else {
            return;
        };
        process.epoch = None;
        process.held.clear();
        process.ready.clear();
        process.control_ready.clear();
        process.calls.clear();
        let delay_ms = self.ground.dice.within(1..=50);
        self.worker_timer(delay_ms, at, WorkerTimer::Register);
    }

    /// No answer, or none that helps: the next master may know better.
    pub(super) fn call_failed(&mut self, at: MachineAt, call: CallId, hint: Option<MasterAt>) {
        let masters = self.masters.len();
        let pause_ms = self.ground.dice.within(15..=120);
        let Some(process) = self.process_mut(at) else {
            return;
        };
        let Some(pending) = process.calls.remove(&call) else {
            return;
        };
        process.target = hint.unwrap_or((process.target + 1) % masters);
        let retry = match pending {
            Pending::Register => WorkerTimer::Register,
            Pending::Restore => WorkerTimer::Restore,
            Pending::Pull { .. } => WorkerTimer::Pull,
            Pending::Report => {
                self.ground.note(Fact::ReportRepeated);
                WorkerTimer::Report
            }
            Pending::Blocks { .. } => WorkerTimer::ReportBlocks,
            Pending::Chunk(attempt) => WorkerTimer::Chunk { attempt },
            Pending::Locate(attempt) => WorkerTimer::Fetch { attempt },
            // The next beat, the next failed fetch say it again.
            Pending::Beat | Pending::Complain => return,
        };
        self.worker_timer(pause_ms, at, retry);
    }

    /// What there is room for beyond what is held; none without a process.
    fn room(&self, at: MachineAt) -> Option<(u32, bool)> {
        let machine = &self.machines[at];
        let process = machine.process.as_ref()?;
        let slots = machine.slots as usize;
        let waiting = process.count(|phase| matches!(phase, Phase::Ready));
        let running = process.count(|phase| matches!(phase, Phase::Running { .. }));
        let idle = slots.saturating_sub(running);
        let want = (slots * super::PREFETCH)
            .saturating_sub(waiting)
            .max(idle.saturating_sub(waiting));
        let control_free = !process.held.iter().any(|(attempt, held)| {
            attempt.task.kind.is_control() && !matches!(held.phase, Phase::Finished(_))
        });
        Some((u32::try_from(want).unwrap_or(u32::MAX), control_free))
    }
}

/// Whether another master must be asked, and which.
fn is_no_answer(body: &Response) -> Option<Option<MasterAt>> {
    match body {
        Response::NotLeader { hint } => Some(*hint),
        Response::Unknown => Some(None),
        Response::Stale
        | Response::Refused(_)
        | Response::Done
        | Response::Registered(_)
        | Response::Beat { .. }
        | Response::Delivery(_)
        | Response::Verdicts(_)
        | Response::Located { .. }
        | Response::Job { .. }
        | Response::View
        | Response::Dataset { .. }
        | Response::Place(_)
        | Response::BlockOrders(_) => None,
    }
}

impl Process {
    /// Maps and reduces in some phase.
    pub(super) fn count(&self, phase: fn(&Phase) -> bool) -> usize {
        self.held
            .iter()
            .filter(|(attempt, held)| !attempt.task.kind.is_control() && phase(&held.phase))
            .count()
    }
}
