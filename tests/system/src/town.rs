//! What all hosts of a run and its driver share: the record of what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vivat_master::raft::Handle;
use vivat_testkit::linearize::{CallId, History, JobAnswer, JobOp};

use crate::Violation;
use crate::evidence::{Evidence, Fact};

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Everything goes wrong, and clients do what they like.
    Faults,
    /// Nothing goes wrong any more; clients wait for the ends of their jobs.
    Healed,
    /// All jobs have ended; one more is submitted.
    Fresh,
}

/// A job that somebody submitted.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// Its key, which also names its output.
    pub key: String,
    /// How often it was answered for: more than once means repeated.
    pub answers: u64,
}

struct Record {
    phase: Phase,
    now: Duration,
    /// Of every call and answer; no two are alike.
    moment: u64,
    history: History<JobOp, JobAnswer>,
    evidence: Evidence,
    violation: Option<Violation>,
    trace: String,
    /// The masters that run.
    masters: BTreeMap<u32, Handle>,
    /// Pairs between which packets from the first to the second get lost.
    cut: BTreeSet<(String, String)>,
    jobs: BTreeMap<u64, Submitted>,
    clocks_ms: BTreeMap<u32, i64>,
    waiting_clients: usize,
}

/// See the module. Clones share one record.
#[derive(Clone)]
pub struct Town {
    record: Arc<Mutex<Record>>,
}

impl Town {
    /// Nothing happened yet.
    pub fn new() -> Self {
        let record = Record {
            phase: Phase::Faults,
            now: Duration::ZERO,
            moment: 0,
            history: History::new(),
            evidence: Evidence::default(),
            violation: None,
            trace: String::new(),
            masters: BTreeMap::new(),
            cut: BTreeSet::new(),
            jobs: BTreeMap::new(),
            clocks_ms: BTreeMap::new(),
            waiting_clients: 0,
        };
        Self {
            record: Arc::new(Mutex::new(record)),
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the run is.
    pub fn phase(&self) -> Phase {
        self.record().phase
    }

    /// The run goes on.
    pub fn enter(&self, phase: Phase) {
        self.record().phase = phase;
        self.tell(format_args!("phase {phase:?}"));
    }

    /// Sets the driver's clock.
    pub fn set_now(&self, now: Duration) {
        self.record().now = now;
    }

    /// Virtual time since the beginning.
    pub fn now(&self) -> Duration {
        self.record().now
    }

    /// Counts a fact.
    pub fn note(&self, fact: Fact) {
        self.record().evidence.note(fact, 1);
    }

    /// Writes a line for whoever replays the run.
    pub fn tell(&self, what: impl Display) {
        let mut record = self.record();
        let line = format!("{:>9.3} {what}\n", record.now.as_secs_f64());
        tracing::info!("{}", line.trim_end());
        record.trace.push_str(&line);
    }

    /// A property does not hold; the first one counts.
    pub fn violate(&self, id: &'static str, detail: impl Display) {
        self.tell(format_args!("VIOLATION {id}: {detail}"));
        let violation = Violation {
            id: id.to_owned(),
            detail: detail.to_string(),
        };
        self.record().violation.get_or_insert(violation);
    }

    /// What was found wrong.
    pub fn violation(&self) -> Option<Violation> {
        self.record().violation.clone()
    }

    /// All that was counted and told.
    pub fn results(&self) -> (Evidence, String) {
        let record = self.record();
        (record.evidence.clone(), record.trace.clone())
    }

    /// What clients asked and were answered.
    pub fn history(&self) -> History<JobOp, JobAnswer> {
        self.record().history.clone()
    }

    /// A client asks.
    pub fn invoke(&self, client: u64, op: JobOp) -> CallId {
        let mut record = self.record();
        record.moment += 1;
        let moment = record.moment;
        record.history.invoke(client, op, moment)
    }

    /// It is answered.
    pub fn complete(&self, call: CallId, answer: JobAnswer) {
        let mut record = self.record();
        record.moment += 1;
        let moment = record.moment;
        record.history.complete(call, answer, moment);
    }

    /// Packets from one host to the other get lost from now on, or do not.
    pub fn set_cut(&self, from: &str, to: &str, cut: bool) {
        let pair = (from.to_owned(), to.to_owned());
        let mut record = self.record();
        if cut {
            record.cut.insert(pair);
        } else {
            record.cut.remove(&pair);
        }
    }

    /// Whether packets get lost, in either direction.
    pub fn is_cut(&self, a: &str, b: &str) -> bool {
        let record = self.record();
        let cut = |from: &str, to: &str| record.cut.contains(&(from.to_owned(), to.to_owned()));
        cut(a, b) || cut(b, a)
    }

    /// A master runs.
    pub fn started(&self, seat: u32, raft: Handle) {
        self.record().masters.insert(seat, raft);
    }

    /// A master runs no longer.
    pub fn ended(&self, seat: u32) {
        self.record().masters.remove(&seat);
    }

    /// The masters that run, by seat.
    pub fn masters(&self) -> Vec<(u32, Handle)> {
        let record = self.record();
        let masters = record.masters.iter();
        masters.map(|(seat, raft)| (*seat, raft.clone())).collect()
    }

    /// A submission was answered.
    pub fn submitted(&self, id: u64, key: &str) {
        let mut record = self.record();
        let job = record.jobs.entry(id).or_insert_with(|| Submitted {
            key: key.to_owned(),
            answers: 0,
        });
        job.answers += 1;
    }

    /// Jobs that were acknowledged.
    pub fn jobs(&self) -> BTreeMap<u64, Submitted> {
        self.record().jobs.clone()
    }

    /// What a master's wall clock shows.
    pub fn wall_clock_ms(&self, seat: u32) -> u64 {
        let record = self.record();
        let elapsed = u64::try_from(record.now.as_millis()).unwrap_or(u64::MAX);
        let shifted = record.clocks_ms.get(&seat).copied().unwrap_or(0);
        (EPOCH_MS + elapsed).saturating_add_signed(shifted)
    }

    /// A master's wall clock jumps.
    pub fn jump(&self, seat: u32, by_ms: i64) {
        *self.record().clocks_ms.entry(seat).or_default() += by_ms;
    }

    /// A client has seen the ends of its jobs.
    pub fn client_waits(&self) {
        self.record().waiting_clients += 1;
    }

    /// How many have.
    pub fn waiting_clients(&self) -> usize {
        self.record().waiting_clients
    }
}

/// When runs begin, in milliseconds since 1970.
const EPOCH_MS: u64 = 1_700_000_000_000;
