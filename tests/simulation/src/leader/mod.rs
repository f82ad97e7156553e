//! A leader's soft state, modelled after `vivat_master::leader`: leases, waiting
//! pulls, orders, what was proposed and not answered.
//!
//! It opens by a barrier in its term, from the replicated state alone and with
//! fresh leases; it closes in one step. What is different from the original is
//! only what carries messages and time.

mod data;
mod serve;
mod sessions;
mod work;

use std::collections::{BTreeMap, BTreeSet};

use vivat_core::command::{Command, Grant};
use vivat_shared::ids::{AttemptId, BlockId, WorkerEpoch};

use crate::event::{CallId, Caller, Event, LeaderTimer, MasterAt, Response};
use crate::evidence::Fact;
use crate::raft::Origin;
use crate::world::World;
use sessions::Sessions;

/// How long a worker is believed without a word from it.
pub const LEASE_MS: u64 = 10_000;
/// The longest that a pull waits.
const PULL_WAIT_MS: u64 = 10_000;
/// Between two looks at leases, scheduler and duties.
const TICK_MS: u64 = 250;
/// Lateness of a tick that is made good.
const LATE_MIN_MS: u64 = 1_000;
/// After which a proposal's outcome is called unknown.
const PROPOSAL_DEADLINE_MS: u64 = 2_000;
/// Entries under way at once.
const IN_FLIGHT_MAX: usize = 4;
/// Grants of one proposal.
const GRANTS_MAX: usize = 1_024;
/// A worker is asked for attempts back at most once in this time.
const TAKE_BACK_PAUSE_MS: u64 = 1_500;

/// Stragglers are looked for this often.
const BACKUP_PERIOD_MS: u64 = 1_000;

/// Why commands were proposed: who is to be told.
#[derive(Debug, Clone)]
enum Purpose {
    Barrier,
    Grants(Vec<Grant>),
    Expire(WorkerEpoch),
    Judge(AttemptId, WorkerEpoch),
    Housekeeping,
    Abandon,
    Copy(BlockId),
    Answer {
        call: CallId,
        to: Caller,
        to_what: Question,
    },
}

/// What a caller asked that the log must answer.
#[derive(Debug, Clone)]
enum Question {
    Register,
    Report {
        worker: WorkerEpoch,
        attempts: Vec<AttemptId>,
    },
    Blocks {
        worker: WorkerEpoch,
        remove: Vec<BlockId>,
    },
    /// Answered by done or a refusal.
    Plain,
}

/// One opening of leadership.
#[derive(Debug)]
pub struct Leader {
    pub term: u64,
    /// Tells this opening from all others.
    pub opening: u64,
    /// When it opened; none while its barrier is on the way.
    open_since_ms: Option<u64>,
    ticked_at_ms: u64,
    sessions: Sessions,
    queue: Vec<(Purpose, Vec<Command>)>,
    flush_due: bool,
    /// By ticket: whose commands an entry has, and how many of each.
    pending: BTreeMap<u64, Vec<(Purpose, usize)>>,
    tickets: u64,
    grants_in_flight: bool,
    looked_for_stragglers_ms: u64,
    probing: BTreeSet<(AttemptId, WorkerEpoch)>,
    duties_in_flight: bool,
    data: data::Desk,
}

impl World {
    /// Begins to open leadership on a master.
    pub fn open(&mut self, at: MasterAt, term: u64) {
        if self.raft.leader != Some(at) || self.raft.term != term {
            return;
        }
        if let Some(delay_ms) = self.frozen_for_ms(at) {
            let open = Event::Open { master: at, term };
            self.ground.after(delay_ms, open);
            return;
        }
        self.openings += 1;
        let leader = Leader {
            term,
            opening: self.openings,
            open_since_ms: None,
            ticked_at_ms: self.ground.now_ms,
            sessions: Sessions::default(),
            queue: Vec::new(),
            flush_due: false,
            pending: BTreeMap::new(),
            tickets: 0,
            grants_in_flight: false,
            looked_for_stragglers_ms: 0,
            probing: BTreeSet::new(),
            duties_in_flight: false,
            data: data::Desk::default(),
        };
        self.close(at);
        self.masters[at].leader = Some(leader);
        let barrier = self.barrier(at, term);
        self.submit(at, Purpose::Barrier, vec![barrier]);
    }

    /// Drops soft state; whoever waits learns that this is no leader.
    pub fn close(&mut self, at: MasterAt) {
        let Some(mut leader) = self.masters[at].leader.take() else {
            return;
        };
        self.ground
            .say(|| format!("seat {at}: leadership of term {} closed", leader.term));
        for (call, to) in leader.sessions.take_all_waiting() {
            self.answer(call, to, Response::NotLeader { hint: None });
        }
    }

    /// A master that was frozen, or cut off, soon hears of the new term.
    pub fn learn_that_it_is_over(&mut self, at: MasterAt) {
        let Some(leader) = &self.masters[at].leader else {
            return;
        };
        let (term, opening) = (leader.term, leader.opening);
        if self.raft.leader == Some(at) && self.raft.term == term {
            return;
        }
        let delay_ms = self.ground.dice.within(0..=600);
        self.leader_timer(delay_ms, at, opening, LeaderTimer::Closed);
    }

    /// The leader is cut off from the others.
    pub fn depose(&mut self) {
        let Some(at) = self.raft.leader else {
            return;
        };
        self.ground.note(Fact::LeaderDeposed);
        self.ground.say(|| format!("seat {at} is cut off"));
        self.end_term();
        self.learn_that_it_is_over(at);
    }

    /// No majority answers for a while: the leader closes, and opens again in
    /// the same term.
    pub fn silence_quorum(&mut self, for_ms: u64) {
        let Some(at) = self.raft.leader else {
            return;
        };
        self.ground.note(Fact::LeaderSilenced);
        self.ground
            .say(|| format!("no majority answers seat {at} for {for_ms}"));
        self.raft.silent_until_ms = self.ground.now_ms + for_ms;
        if let Some(leader) = &self.masters[at].leader {
            let opening = leader.opening;
            self.leader_timer(for_ms.min(600), at, opening, LeaderTimer::Closed);
        }
        self.ground.after(for_ms, Event::Commit);
        let term = self.raft.term;
        let open = Event::Open { master: at, term };
        self.ground.after(for_ms.max(650) + 5, open);
    }

    pub fn leader_timer(&mut self, delay_ms: u64, at: MasterAt, opening: u64, timer: LeaderTimer) {
        let event = Event::Leader {
            master: at,
            opening,
            timer,
        };
        self.ground.after(delay_ms, event);
    }

    pub fn answer(&mut self, call: CallId, to: Caller, body: Response) {
        self.ground
            .send(crate::event::Message::Response { call, to, body });
    }

    pub fn on_leader_timer(&mut self, at: MasterAt, opening: u64, timer: LeaderTimer) {
        let current = self.masters[at].leader.as_ref();
        if current.is_none_or(|leader| leader.opening != opening) {
            return;
        }
        if let Some(delay_ms) = self.frozen_for_ms(at) {
            self.leader_timer(delay_ms, at, opening, timer);
            return;
        }
        match timer {
            LeaderTimer::Tick => self.tick(at),
            LeaderTimer::Flush => self.flush(at),
            LeaderTimer::Overdue { ticket } | LeaderTimer::Refused { ticket } => {
                self.proposal_failed(at, ticket);
            }
            LeaderTimer::PullEnds { worker, number } => self.pull_ends(at, worker, number),
            LeaderTimer::Probed {
                map,
                holder,
                healthy,
            } => self.probed(at, map, holder, healthy),
            LeaderTimer::Copied { order, worker } => self.copied(at, order, worker),
            LeaderTimer::Closed => self.close(at),
        }
    }

    /// Puts commands in the leader's queue.
    fn submit(&mut self, at: MasterAt, purpose: Purpose, commands: Vec<Command>) {
        let Some(leader) = self.masters[at].leader.as_mut() else {
            return;
        };
        leader.queue.push((purpose, commands));
        if !leader.flush_due {
            leader.flush_due = true;
            let opening = leader.opening;
            let delay_ms = self.ground.dice.below(3);
            self.leader_timer(delay_ms, at, opening, LeaderTimer::Flush);
        }
    }

    fn flush(&mut self, at: MasterAt) {
        let Some(leader) = self.masters[at].leader.as_mut() else {
            return;
        };
        leader.flush_due = false;
        if leader.queue.is_empty() || leader.pending.len() >= IN_FLIGHT_MAX {
            return;
        }
        leader.tickets += 1;
        let mut parts = Vec::new();
        let mut batch = Vec::new();
        for (purpose, commands) in leader.queue.drain(..) {
            parts.push((purpose, commands.len()));
            batch.extend(commands);
        }
        let ticket = leader.tickets;
        leader.pending.insert(ticket, parts);
        let (opening, term) = (leader.opening, leader.term);
        let overdue = LeaderTimer::Overdue { ticket };
        self.leader_timer(PROPOSAL_DEADLINE_MS, at, opening, overdue);
        let origin = Origin {
            master: at,
            opening,
            ticket,
            term,
        };
        self.propose(origin, batch);
    }
}
