//! The log, as what Raft promises of it and no more.
//!
//! A term has one leader. Entries are decided in the order in which the leader
//! took them; when it is deposed, a prefix of what was in flight survives and
//! the rest is cut off. Worse than real Raft, a proposal may also vanish, come
//! twice, or come so late that another leader's term has begun: what fences such
//! a one is in the core, and must not rest on what carries it there.

use std::collections::VecDeque;

use vivat_core::command::{Command, Proposal};

use crate::event::{Event, LeaderTimer, MasterAt};
use crate::evidence::Fact;
use crate::world::World;

/// Who waits for an entry's reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    pub master: MasterAt,
    /// Which opening of leadership there.
    pub opening: u64,
    pub ticket: u64,
    /// The term that it leads.
    pub term: u64,
}

/// Something to be put in the log.
#[derive(Debug, Clone)]
pub struct Append {
    pub origin: Origin,
    pub proposal: Proposal,
    /// Virtual time, which no master knows.
    pub sent_at_ms: u64,
}

/// Decided.
#[derive(Debug, Clone)]
pub struct Entry {
    /// None: an entry of Raft's own.
    pub append: Option<Append>,
}

/// The log and who may write it.
#[derive(Debug, Default)]
pub struct Raft {
    pub term: u64,
    pub leader: Option<MasterAt>,
    /// Of index 1 and on.
    pub log: Vec<Entry>,
    in_flight: VecDeque<(u64, Append)>,
    /// What a deposed leader left behind and the next one will have.
    inherited: Vec<Append>,
    /// No majority answers the leader until then.
    pub silent_until_ms: u64,
}

impl Raft {
    /// Whether a majority would confirm that this master leads.
    pub fn confirms(&self, master: MasterAt, term: u64, now_ms: u64) -> bool {
        self.leader == Some(master) && self.term == term && now_ms >= self.silent_until_ms
    }
}

impl World {
    /// A leader proposes.
    pub fn propose(&mut self, origin: Origin, commands: Vec<Command>) {
        let append = Append {
            origin,
            sent_at_ms: self.ground.now_ms,
            proposal: Proposal {
                proposed_at_ms: self.wall_clock_ms(origin.master),
                term: origin.term,
                age_ms: self.age_ms(origin.master, origin.term),
                commands,
            },
        };
        let leads = self.raft.leader == Some(origin.master) && self.raft.term == origin.term;
        // An expiry that comes late is what must be fenced, so more of them do.
        let expires = append
            .proposal
            .commands
            .iter()
            .any(|command| matches!(command, Command::ExpireWorker { .. }));
        let more = if expires && self.faulty { 150 } else { 0 };
        let bad = self.ground.dice.chance(self.ground.weather.log + more);
        if !leads {
            self.propose_deposed(append, bad);
            return;
        }
        if !bad {
            self.take(append);
            return;
        }
        match self.ground.dice.below(if expires { 8 } else { 4 }) {
            0 => {
                self.ground.note(Fact::ProposalLost);
                self.ground.say(|| format!("proposal lost: {append:?}"));
            }
            1 => {
                self.ground.note(Fact::ProposalRepeated);
                self.stray(append.clone());
                self.take(append);
            }
            _ => {
                self.ground.note(Fact::ProposalDelayed);
                self.stray(append);
            }
        }
    }

    /// Refused, as Raft does it; or carried on by something that should not.
    fn propose_deposed(&mut self, append: Append, bad: bool) {
        if bad {
            self.stray(append);
            return;
        }
        let Origin {
            master,
            opening,
            ticket,
            ..
        } = append.origin;
        let delay_ms = self.ground.dice.within(1..=20);
        let timer = LeaderTimer::Refused { ticket };
        self.leader_timer(delay_ms, master, opening, timer);
    }

    fn stray(&mut self, append: Append) {
        let delay_ms = self.ground.dice.within(50..=9_000);
        self.ground.after(delay_ms, Event::Stray(append));
    }

    /// A stray proposal reaches whoever leads now.
    pub fn on_stray(&mut self, append: Append) {
        if self.raft.leader.is_none() {
            self.stray(append);
            return;
        }
        if append.origin.term != self.raft.term {
            self.ground.note(Fact::ProposalOfDeposedCommitted);
            let expires = |command: &Command| matches!(command, Command::ExpireWorker { .. });
            if append.proposal.commands.iter().any(expires) {
                self.ground.note(Fact::ExpiryOfDeposedCommitted);
            }
        }
        self.take(append);
    }

    fn take(&mut self, append: Append) {
        let slow = self.ground.dice.chance(self.ground.weather.slowness);
        let latency_ms = self
            .ground
            .dice
            .within(if slow { 50..=700 } else { 1..=12 });
        let after_last = self.raft.in_flight.back().map_or(0, |(due_ms, _)| *due_ms);
        let due_ms = (self.ground.now_ms + latency_ms).max(after_last);
        self.raft.in_flight.push_back((due_ms, append));
        if self.faulty && self.ground.dice.chance(10) {
            // While it is on its way, or right after.
            let delay_ms = self.ground.dice.below(latency_ms + 3);
            self.ground.after(delay_ms, Event::Depose);
        }
        self.ground
            .after(due_ms - self.ground.now_ms, Event::Commit);
    }

    pub fn on_commit(&mut self) {
        if self.raft.leader.is_none() || self.ground.now_ms < self.raft.silent_until_ms {
            // What is in flight waits; the end of the silence looks again.
            return;
        }
        while let Some((due_ms, _)) = self.raft.in_flight.front() {
            if *due_ms > self.ground.now_ms {
                break;
            }
            if let Some((_, append)) = self.raft.in_flight.pop_front() {
                self.decide(Some(append));
            }
        }
    }

    /// An entry is decided: the oracle sees it first, then the replicas.
    fn decide(&mut self, append: Option<Append>) {
        self.raft.log.push(Entry { append });
        let index = self.raft.log.len() as u64;
        if let Some(entry) = self.raft.log.last() {
            self.oracle.decide(&mut self.ground, index, entry);
        }
        for master in 0..self.masters.len() {
            self.apply_soon(master);
        }
    }

    /// The leader loses its term, whatever it believes. What was in flight
    /// survives as far as the dice say.
    pub fn end_term(&mut self) {
        if self.raft.leader.take().is_none() {
            return;
        }
        let in_flight = std::mem::take(&mut self.raft.in_flight);
        let kept = self.ground.dice.index(in_flight.len() + 1);
        let cut = in_flight.len() - kept;
        self.raft
            .inherited
            .extend(in_flight.into_iter().take(kept).map(|(_, append)| append));
        if kept > 0 {
            self.ground.note(Fact::EntriesKeptAtElection);
        }
        if cut > 0 {
            self.ground.note(Fact::EntriesCutAtElection);
        }
        self.ground
            .say(|| format!("term over; in flight: {kept} kept, {cut} cut"));
        let delay_ms = if self.faulty && self.ground.dice.chance(150) {
            self.ground.dice.within(1_500..=6_000)
        } else {
            self.ground.dice.within(200..=900)
        };
        self.ground.after(delay_ms, Event::Elect);
    }

    pub fn on_elect(&mut self) {
        if self.raft.leader.is_some() {
            return;
        }
        let up: Vec<MasterAt> = (0..self.masters.len())
            .filter(|at| self.is_up(*at))
            .collect();
        // A majority must be there, or there is no vote.
        if up.len() * 2 <= self.masters.len() {
            self.ground.after(200, Event::Elect);
            return;
        }
        let elected = up[self.ground.dice.index(up.len())];
        self.raft.term += 1 + self.ground.dice.below(2);
        self.raft.leader = Some(elected);
        self.raft.silent_until_ms = 0;
        let term = self.raft.term;
        self.ground
            .say(|| format!("seat {elected} leads term {term}"));
        for append in std::mem::take(&mut self.raft.inherited) {
            self.decide(Some(append));
        }
        self.decide(None);
        self.open(elected, term);
    }
}
