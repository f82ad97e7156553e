//! What a leader does by itself: grants, leases, duties, reactions, answers to
//! what was proposed.

use std::collections::BTreeSet;

use vivat_core::command::{
    Applied, Command, Event as Fact_, Grant, LeaderRecord, Rejection, Reply,
};
use vivat_core::{State, duties};
use vivat_shared::ids::{AttemptId, ClusterId, NodeId, Seat, WorkerEpoch, WorkerId};

use super::serve::has_the_outcome;
use super::{BACKUP_PERIOD_MS, GRANTS_MAX, LATE_MIN_MS, Purpose, Question, TICK_MS};
use crate::event::{CallId, Caller, LeaderTimer, MasterAt, Response};
use crate::evidence::Fact;
use crate::raft::Origin;
use crate::world::World;

impl World {
    pub(super) fn barrier(&self, at: MasterAt, term: u64) -> Command {
        let number = at as u64;
        Command::OpenTerm {
            term,
            cluster: ClusterId(7),
            leader: LeaderRecord {
                node_id: NodeId(number + 1),
                seat: Seat(u32::try_from(at).unwrap_or(u32::MAX)),
                client_address: format!("seat-{at}:1"),
            },
        }
    }

    /// A replica applied an entry; if it leads, it acts on what became true.
    pub fn on_applied(&mut self, at: MasterAt, origin: Origin, applied: Applied) {
        let Some(leader) = self.masters[at].leader.as_mut() else {
            return;
        };
        if leader.open_since_ms.is_some() {
            self.react(at, &applied.events);
        }
        let Some(leader) = self.masters[at].leader.as_mut() else {
            return;
        };
        if origin.master != at || origin.opening != leader.opening {
            return;
        }
        let Some(parts) = leader.pending.remove(&origin.ticket) else {
            return;
        };
        let mut replies = applied.replies.into_iter();
        for (purpose, count) in parts {
            let own: Vec<Reply> = replies.by_ref().take(count).collect();
            self.replied(at, purpose, own);
        }
        self.flush(at);
    }

    fn replied(&mut self, at: MasterAt, purpose: Purpose, mut replies: Vec<Reply>) {
        match purpose {
            Purpose::Barrier => self.opened(at),
            Purpose::Grants(grants) => {
                let workers: BTreeSet<_> = grants.iter().map(|grant| grant.worker).collect();
                for worker in workers {
                    self.poke(at, worker);
                }
                if let Some(leader) = self.masters[at].leader.as_mut() {
                    leader.sessions.granted(&grants);
                    leader.grants_in_flight = false;
                }
                let refused = |answer: &Result<_, _>| answer.is_err();
                let stale = match replies.pop() {
                    Some(Reply::Assigned(answers)) => {
                        if answers.iter().any(refused) {
                            self.ground.note(Fact::GrantRefused);
                        }
                        answers.iter().all(refused)
                    }
                    Some(
                        Reply::Done
                        | Reply::Job { .. }
                        | Reply::Retried { .. }
                        | Reply::Registered(_)
                        | Reply::Dataset { .. }
                        | Reply::Version(_)
                        | Reply::Rejected(_),
                    )
                    | None => true,
                };
                // The next tick tries again; do not spin on a stale view.
                if !stale {
                    self.schedule(at);
                }
            }
            Purpose::Expire(worker) => {
                if let [Reply::Rejected(_)] = replies.as_slice() {
                    self.end_session(at, worker);
                }
            }
            Purpose::Judge(map, holder) => {
                if let Some(leader) = self.masters[at].leader.as_mut() {
                    leader.probing.remove(&(map, holder));
                }
            }
            Purpose::Housekeeping => {
                if let Some(leader) = self.masters[at].leader.as_mut() {
                    leader.duties_in_flight = false;
                }
            }
            Purpose::Abandon => {}
            Purpose::Copy(block) => {
                if let Some(leader) = self.masters[at].leader.as_mut() {
                    leader.data.copying.remove(&block);
                }
            }
            Purpose::Answer { call, to, to_what } => {
                self.answer_replied(at, (call, to), to_what, replies);
            }
        }
    }

    fn answer_replied(
        &mut self,
        at: MasterAt,
        (call, to): (CallId, Caller),
        to_what: Question,
        mut replies: Vec<Reply>,
    ) {
        let body = match to_what {
            Question::Register | Question::Plain => match replies.pop() {
                Some(Reply::Registered(worker)) => {
                    self.begin_session(at, worker);
                    Response::Registered(worker)
                }
                Some(Reply::Job { job, .. }) => Response::Job { job },
                Some(Reply::Rejected(
                    Rejection::StaleEpoch { .. } | Rejection::UnknownWorker(_),
                )) => Response::Stale,
                Some(Reply::Rejected(rejection)) => Response::Refused(rejection),
                Some(Reply::Dataset {
                    dataset,
                    sealed,
                    blocks: _,
                }) => {
                    self.touch(at, dataset);
                    Response::Dataset { dataset, sealed }
                }
                Some(
                    Reply::Done | Reply::Assigned(_) | Reply::Version(_) | Reply::Retried { .. },
                ) => Response::Done,
                None => Response::Unknown,
            },
            Question::Blocks { worker, remove } => {
                let refused = |reply: &Reply| matches!(reply, Reply::Rejected(_));
                if replies.iter().any(refused) {
                    Response::Stale
                } else {
                    self.block_orders(at, worker, remove)
                }
            }
            Question::Report { worker, attempts } => {
                if let Some(session) = self.session_mut(at, worker) {
                    for attempt in &attempts {
                        session.held.remove(attempt);
                        session.running.remove(attempt);
                    }
                }
                verdicts(&self.masters[at].state, worker, attempts, replies)
            }
        };
        self.answer(call, to, body);
    }

    fn opened(&mut self, at: MasterAt) {
        let now_ms = self.ground.now_ms;
        let term = self.masters[at].leader.as_ref().map_or(0, |it| it.term);
        let age_ms = self.age_ms(at, term);
        let master = &mut self.masters[at];
        let Some(leader) = master.leader.as_mut() else {
            return;
        };
        leader.open_since_ms = Some(now_ms);
        leader.ticked_at_ms = now_ms;
        leader.sessions.opened_age_ms = age_ms;
        for worker in master.state.workers().filter(|known| known.is_registered()) {
            leader.sessions.begin(worker.current(), now_ms);
        }
        let (opening, term) = (leader.opening, leader.term);
        self.oracle.opened(at, term, now_ms);
        self.ground
            .say(|| format!("seat {at}: open in term {term}"));
        self.leader_timer(0, at, opening, LeaderTimer::Tick);
    }

    pub(super) fn begin_session(&mut self, at: MasterAt, worker: WorkerEpoch) {
        let now_ms = self.ground.now_ms;
        let current = self.masters[at].state.current_epoch(worker.worker) == Some(worker.epoch);
        let Some(leader) = self.masters[at].leader.as_mut().filter(|_| current) else {
            return;
        };
        if let Some(former) = leader.sessions.begin(worker, now_ms) {
            self.answer(former.call, former.from, Response::Stale);
        }
    }

    fn end_session(&mut self, at: MasterAt, worker: WorkerEpoch) {
        let Some(leader) = self.masters[at].leader.as_mut() else {
            return;
        };
        if let Some(former) = leader.sessions.finish(worker) {
            self.answer(former.call, former.from, Response::Stale);
        }
    }

    fn react(&mut self, at: MasterAt, events: &[Fact_]) {
        let mut poke = BTreeSet::new();
        for event in events {
            match event {
                Fact_::AttemptGranted { worker, .. } => {
                    poke.insert(*worker);
                }
                Fact_::AttemptRevoked { attempt, worker } => {
                    if let Some(session) = self.session_mut(at, *worker) {
                        session.kill.push(*attempt);
                    }
                    poke.insert(*worker);
                }
                Fact_::WorkerRegistered { worker } => self.begin_session(at, *worker),
                Fact_::WorkerExpired { worker, .. } => self.end_session(at, *worker),
                Fact_::AttemptFinished { .. }
                | Fact_::JobChanged { .. }
                | Fact_::JobEnded { .. }
                | Fact_::JobRetried { .. }
                | Fact_::TaskIdle { .. }
                | Fact_::SegmentsLocated { .. }
                | Fact_::SegmentsLost { .. }
                | Fact_::SegmentSuspected { .. }
                | Fact_::DatasetChanged { .. }
                | Fact_::TermOpened { .. } => {}
            }
        }
        for worker in poke {
            self.poke(at, worker);
        }
        self.schedule(at);
    }

    /// A proposal was refused or nobody knows what became of it.
    pub(super) fn proposal_failed(&mut self, at: MasterAt, ticket: u64) {
        let Some(leader) = self.masters[at].leader.as_mut() else {
            return;
        };
        let Some(parts) = leader.pending.remove(&ticket) else {
            return;
        };
        let term = leader.term;
        for (purpose, _) in parts {
            match purpose {
                Purpose::Barrier => {
                    let barrier = self.barrier(at, term);
                    self.submit(at, Purpose::Barrier, vec![barrier]);
                }
                Purpose::Grants(grants) => {
                    if let Some(leader) = self.masters[at].leader.as_mut() {
                        leader.sessions.granted(&grants);
                        leader.grants_in_flight = false;
                    }
                }
                Purpose::Expire(worker) => {
                    if let Some(session) = self.session_mut(at, worker) {
                        session.expiring = false;
                    }
                }
                Purpose::Judge(..)
                | Purpose::Housekeeping
                | Purpose::Abandon
                | Purpose::Copy(_) => {
                    self.replied(at, purpose, Vec::new());
                }
                Purpose::Answer { call, to, .. } => self.answer(call, to, Response::Unknown),
            }
        }
        self.flush(at);
    }

    pub(super) fn tick(&mut self, at: MasterAt) {
        let now_ms = self.ground.now_ms;
        let Some(leader) = self.masters[at].leader.as_mut() else {
            return;
        };
        let late_ms = (now_ms - leader.ticked_at_ms).saturating_sub(TICK_MS);
        leader.ticked_at_ms = now_ms;
        if late_ms > LATE_MIN_MS {
            leader.sessions.extend_leases(late_ms);
            self.ground.note(Fact::LeaseExtended);
        }
        let expired = leader.sessions.take_expired(now_ms);
        let (term, opening) = (leader.term, leader.opening);
        for worker in expired {
            self.oracle.check_expiry(at, term, worker, now_ms);
            let expire = Command::ExpireWorker {
                worker,
                term,
                reason: "silent".to_owned(),
            };
            self.submit(at, Purpose::Expire(worker), vec![expire]);
        }
        self.do_duties(at);
        self.do_data(at);
        self.schedule(at);
        self.leader_timer(TICK_MS, at, opening, LeaderTimer::Tick);
    }

    /// Proposes what the scheduler chose; asks for attempts back when it chose
    /// nothing.
    pub(super) fn schedule(&mut self, at: MasterAt) {
        let Some(term) = self.masters[at].leader.as_ref().map(|leader| leader.term) else {
            return;
        };
        let age_ms = self.age_ms(at, term);
        let master = &mut self.masters[at];
        let Some(leader) = master.leader.as_mut() else {
            return;
        };
        if leader.grants_in_flight || leader.open_since_ms.is_none() {
            return;
        }
        let liveness = leader.sessions.liveness();
        let has_room = |seen: &vivat_core::WorkerLiveness| seen.want > 0 || seen.control_free;
        if !liveness.workers.values().any(has_room) {
            return;
        }
        let grants = vivat_core::schedule(&master.state, &liveness, age_ms, GRANTS_MAX);
        if grants.is_empty() {
            self.take_back(at);
            self.back_up(at);
            return;
        }
        self.propose_grants(at, grants);
    }

    /// Looks for stragglers, as often as heartbeats tell anything new.
    fn back_up(&mut self, at: MasterAt) {
        let now_ms = self.ground.now_ms;
        let Some(term) = self.masters[at].leader.as_ref().map(|leader| leader.term) else {
            return;
        };
        let age_ms = self.age_ms(at, term);
        let master = &mut self.masters[at];
        let Some(leader) = master.leader.as_mut() else {
            return;
        };
        if leader.looked_for_stragglers_ms + BACKUP_PERIOD_MS > now_ms {
            return;
        }
        leader.looked_for_stragglers_ms = now_ms;
        let liveness = leader.sessions.liveness();
        let backups = vivat_core::backups(&master.state, &liveness, age_ms);
        if !backups.is_empty() {
            self.ground.note(Fact::BackupProposed);
            self.propose_grants(at, backups);
        }
    }

    fn propose_grants(&mut self, at: MasterAt, grants: Vec<Grant>) {
        let Some(leader) = self.masters[at].leader.as_mut() else {
            return;
        };
        leader.grants_in_flight = true;
        leader.sessions.granting(&grants);
        let assign = Command::AssignAttempts {
            term: leader.term,
            grants: grants.clone(),
        };
        self.submit(at, Purpose::Grants(grants), vec![assign]);
    }

    fn take_back(&mut self, at: MasterAt) {
        let now_ms = self.ground.now_ms;
        let master = &self.masters[at];
        let Some(leader) = &master.leader else {
            return;
        };
        let idle = leader.sessions.idle();
        let mut room: usize = idle.values().map(|want| *want as usize).sum();
        let mut orders = Vec::new();
        for (holder, waiting, half) in leader.sessions.holders(now_ms) {
            let most = half.min(room);
            let back: Vec<AttemptId> = waiting
                .into_iter()
                .rev()
                .filter(|attempt| !attempt.task.kind.is_control())
                .filter(|attempt| {
                    let other = |worker: &WorkerId| *worker != holder.worker;
                    idle.keys()
                        .any(|worker| other(worker) && can_move(&master.state, *attempt, *worker))
                })
                .take(most)
                .collect();
            if !back.is_empty() {
                room -= back.len();
                orders.push((holder, back));
            }
        }
        for (holder, back) in orders {
            self.ground.note(Fact::AttemptTakenBack);
            if let Some(session) = self.session_mut(at, holder) {
                session.took_back_at_ms = Some(now_ms);
                session.take_back = back;
            }
            self.poke(at, holder);
        }
    }

    fn do_duties(&mut self, at: MasterAt) {
        let Some(term) = self.masters[at].leader.as_ref().map(|leader| leader.term) else {
            return;
        };
        let age_ms = self.age_ms(at, term);
        let due = duties::due(&self.masters[at].state, age_ms);
        for (map, holder) in due.suspects {
            self.probe(at, map, holder);
        }
        let Some(leader) = self.masters[at].leader.as_mut() else {
            return;
        };
        let time_out = due
            .timed_out
            .into_iter()
            .map(|job| Command::TimeOutJob { job });
        let forget = due.forget.into_iter().map(|job| Command::ForgetJob { job });
        let give_up = due.give_up.into_iter();
        let give_up = give_up.map(|job| Command::GiveUpNotice { job });
        let commands: Vec<Command> = time_out.chain(forget).chain(give_up).collect();
        if !commands.is_empty() && !leader.duties_in_flight {
            leader.duties_in_flight = true;
            self.submit(at, Purpose::Housekeeping, commands);
        }
    }

    /// Asks a holder; the answer takes its time, silence takes two tries.
    fn probe(&mut self, at: MasterAt, map: AttemptId, holder: WorkerEpoch) {
        let Some(leader) = self.masters[at].leader.as_mut() else {
            return;
        };
        let opening = leader.opening;
        if !leader.probing.insert((map, holder)) {
            return;
        }
        self.ground.note(Fact::SegmentProbed);
        let answers = self
            .machine_of(holder.worker)
            .is_some_and(|on| self.answers(on));
        let healthy = answers && self.has_segment(holder.worker, map);
        let delay_ms = if answers {
            self.ground.dice.within(2..=60)
        } else {
            5_000
        };
        let timer = LeaderTimer::Probed {
            map,
            holder,
            healthy,
        };
        self.leader_timer(delay_ms, at, opening, timer);
    }

    pub(super) fn probed(
        &mut self,
        at: MasterAt,
        map: AttemptId,
        holder: WorkerEpoch,
        healthy: bool,
    ) {
        let Some(leader) = self.masters[at].leader.as_ref() else {
            return;
        };
        let judge = Command::JudgeSegment {
            term: leader.term,
            map,
            holder,
            healthy,
        };
        self.submit(at, Purpose::Judge(map, holder), vec![judge]);
    }
}

fn verdicts(
    state: &State,
    worker: WorkerEpoch,
    attempts: Vec<AttemptId>,
    replies: Vec<Reply>,
) -> Response {
    let mut verdicts = Vec::new();
    for (attempt, reply) in attempts.into_iter().zip(replies) {
        let accepted = match reply {
            Reply::Done => true,
            Reply::Rejected(Rejection::StaleEpoch { .. } | Rejection::UnknownWorker(_)) => {
                return Response::Stale;
            }
            Reply::Rejected(_)
            | Reply::Job { .. }
            | Reply::Retried { .. }
            | Reply::Registered(_)
            | Reply::Dataset { .. }
            | Reply::Version(_)
            | Reply::Assigned(_) => has_the_outcome(state, worker, attempt),
        };
        verdicts.push((attempt, accepted));
    }
    Response::Verdicts(verdicts)
}

/// Whether a worker sees the paths that the attempt's job names.
fn can_move(state: &State, attempt: AttemptId, worker: WorkerId) -> bool {
    let (Some(job), Some(worker)) = (state.job(attempt.job()), state.worker(worker)) else {
        return false;
    };
    worker.accepts_work() && worker.sees_paths_of(job)
}
