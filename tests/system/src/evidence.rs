//! What happened in a run: a fault that never struck proves nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Something that a run can count.
#[expect(missing_docs, reason = "the names are the documentation")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fact {
    // Faults.
    MasterCrashed,
    LeaderCrashed,
    LeadersCrashedTwice,
    AllMastersCrashed,
    PowerLost,
    WritesLost,
    AppendTorn,
    SyncStalled,
    WorkerCrashed,
    WorkerLostItsDisk,
    WorkerCut,
    AllWorkersCrashed,
    MasterCut,
    LeaderCut,
    LeaderMute,
    LeaderDeaf,
    LeaderCutFromWorkers,
    ClientUnanswered,
    Bridge,
    LinkFlapped,
    LinkHeld,
    LinkSlow,
    PacketsLost,
    ClockJumped,
    // What they led to.
    ConnectionUnanswered,
    ConnectionRefused,
    LeaderChanged,
    LeaderDeposedAlive,
    MasterRecovered,
    SnapshotSaved,
    SnapshotInstalled,
    LogPurged,
    CallMissed,
    CallRefusedByFollower,
    SubmissionRepeated,
    SubmissionFoundAgain,
    JobCancelled,
    CancelTooLate,
    ReadAnswered,
    WorkerExpired,
    TaskRanAgain,
    JobSucceeded,
}

/// Every fact, in order.
pub const FACTS: [Fact; FACT_COUNT] = {
    use Fact::*;
    [
        MasterCrashed,
        LeaderCrashed,
        LeadersCrashedTwice,
        AllMastersCrashed,
        PowerLost,
        WritesLost,
        AppendTorn,
        SyncStalled,
        WorkerCrashed,
        WorkerLostItsDisk,
        WorkerCut,
        AllWorkersCrashed,
        MasterCut,
        LeaderCut,
        LeaderMute,
        LeaderDeaf,
        LeaderCutFromWorkers,
        ClientUnanswered,
        Bridge,
        LinkFlapped,
        LinkHeld,
        LinkSlow,
        PacketsLost,
        ClockJumped,
        ConnectionUnanswered,
        ConnectionRefused,
        LeaderChanged,
        LeaderDeposedAlive,
        MasterRecovered,
        SnapshotSaved,
        SnapshotInstalled,
        LogPurged,
        CallMissed,
        CallRefusedByFollower,
        SubmissionRepeated,
        SubmissionFoundAgain,
        JobCancelled,
        CancelTooLate,
        ReadAnswered,
        WorkerExpired,
        TaskRanAgain,
        JobSucceeded,
    ]
};

/// How many facts there are.
pub const FACT_COUNT: usize = Fact::JobSucceeded as usize + 1;

impl FromStr for Fact {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let known = |fact: &Fact| format!("{fact:?}") == text;
        FACTS.into_iter().find(known).ok_or(())
    }
}

/// How often each fact happened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    counts: BTreeMap<Fact, u64>,
}

impl Evidence {
    /// Counts a fact so many times.
    pub fn note(&mut self, fact: Fact, times: u64) {
        *self.counts.entry(fact).or_default() += times;
    }

    /// How often a fact happened.
    #[must_use]
    pub fn count(&self, fact: Fact) -> u64 {
        self.counts.get(&fact).copied().unwrap_or(0)
    }

    /// Adds what another run counted.
    pub fn add(&mut self, other: &Self) {
        for (fact, count) in &other.counts {
            self.note(*fact, *count);
        }
    }

    /// Facts that never happened.
    #[must_use]
    pub fn missing(&self) -> Vec<Fact> {
        let never = |fact: &Fact| self.count(*fact) == 0;
        FACTS.into_iter().filter(never).collect()
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fact in FACTS {
            writeln!(f, "{:>10} {fact:?}", self.count(fact))?;
        }
        Ok(())
    }
}
