//! What happened in a run: a fault that never struck proves nothing.

/// Something that a run can count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    // Faults of the network.
    MessageLost,
    MessageDoubled,
    MessageSlow,
    FetchCut,
    // Faults of the log and its leaders.
    ProposalLost,
    ProposalRepeated,
    ProposalDelayed,
    ProposalOfDeposedCommitted,
    ExpiryOfDeposedCommitted,
    EntriesCutAtElection,
    EntriesKeptAtElection,
    LeaderDeposed,
    LeaderKilled,
    LeaderFrozen,
    LeaderSilenced,
    LeaseExtended,
    ClockJumped,
    ReplicaKilled,
    ReplicaLagged,
    SnapshotTaken,
    SnapshotInstalled,
    ReplicaRestored,
    // Faults of workers.
    WorkerKilled,
    WorkerLostItsDisk,
    WorkerStalled,
    WorkerStalledPastLease,
    ZombieRefused,
    FinishedLate,
    ReportRepeated,
    FetchLied,
    SegmentDamaged,
    AttemptFailed,
    TaskPoisoned,
    WorkerDrained,
    BlockDamaged,
    PipelineDied,
    // What clients did.
    SubmissionRepeated,
    JobCancelled,
    CancelTooLate,
    CommitAbandoned,
    UploadBrokenOff,
    UploadBegunAnew,
    // What the control plane answered with.
    AttemptRedelivered,
    AttemptKilledByOrder,
    AttemptTakenBack,
    BackupProposed,
    BackupGranted,
    BackupWon,
    BackupRevoked,
    AttemptHandedBack,
    GrantRefused,
    CommandOfOldTermRefused,
    WorkerExpired,
    MapLost,
    MapRanAgain,
    MapRestored,
    SegmentProbed,
    ReduceMoved,
    JobSucceeded,
    JobFailed,
    JobRetried,
    JobWentBack,
    JobWentOn,
    EndTold,
    EndToldAgain,
    JobTimedOut,
    JobCrashedItsWorkers,
    DatasetChanged,
    DatasetSealed,
    UploadGivenUp,
    BlockCopied,
    BlockDeleted,
    OutputLost,
    OutputVisible,
    RoundClosed,
    StepPassed,
    BroadcastStored,
    LeaderDiedInClose,
    JobWaitedForWorkers,
}

/// Every fact, in order.
pub const FACTS: [Fact; FACT_COUNT] = {
    use Fact::*;
    [
        MessageLost,
        MessageDoubled,
        MessageSlow,
        FetchCut,
        ProposalLost,
        ProposalRepeated,
        ProposalDelayed,
        ProposalOfDeposedCommitted,
        ExpiryOfDeposedCommitted,
        EntriesCutAtElection,
        EntriesKeptAtElection,
        LeaderDeposed,
        LeaderKilled,
        LeaderFrozen,
        LeaderSilenced,
        LeaseExtended,
        ClockJumped,
        ReplicaKilled,
        ReplicaLagged,
        SnapshotTaken,
        SnapshotInstalled,
        ReplicaRestored,
        WorkerKilled,
        WorkerLostItsDisk,
        WorkerStalled,
        WorkerStalledPastLease,
        ZombieRefused,
        FinishedLate,
        ReportRepeated,
        FetchLied,
        SegmentDamaged,
        AttemptFailed,
        TaskPoisoned,
        WorkerDrained,
        BlockDamaged,
        PipelineDied,
        SubmissionRepeated,
        JobCancelled,
        CancelTooLate,
        CommitAbandoned,
        UploadBrokenOff,
        UploadBegunAnew,
        AttemptRedelivered,
        AttemptKilledByOrder,
        AttemptTakenBack,
        BackupProposed,
        BackupGranted,
        BackupWon,
        BackupRevoked,
        AttemptHandedBack,
        GrantRefused,
        CommandOfOldTermRefused,
        WorkerExpired,
        MapLost,
        MapRanAgain,
        MapRestored,
        SegmentProbed,
        ReduceMoved,
        JobSucceeded,
        JobFailed,
        JobRetried,
        JobWentBack,
        JobWentOn,
        EndTold,
        EndToldAgain,
        JobTimedOut,
        JobCrashedItsWorkers,
        DatasetChanged,
        DatasetSealed,
        UploadGivenUp,
        BlockCopied,
        BlockDeleted,
        OutputLost,
        OutputVisible,
        RoundClosed,
        StepPassed,
        BroadcastStored,
        LeaderDiedInClose,
        JobWaitedForWorkers,
    ]
};

/// How many facts there are.
pub const FACT_COUNT: usize = Fact::JobWaitedForWorkers as usize + 1;

/// How often each fact happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    counts: [u64; FACT_COUNT],
}

impl Default for Evidence {
    fn default() -> Self {
        Self {
            counts: [0; FACT_COUNT],
        }
    }
}

impl Evidence {
    /// Counts a fact.
    pub fn note(&mut self, fact: Fact) {
        self.counts[fact as usize] += 1;
    }

    /// How often a fact happened.
    #[must_use]
    pub fn count(&self, fact: Fact) -> u64 {
        self.counts[fact as usize]
    }

    /// Adds what another run counted.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
    }

    /// Facts that never happened.
    #[must_use]
    pub fn missing(&self) -> Vec<Fact> {
        FACTS
            .into_iter()
            .filter(|fact| self.count(*fact) == 0)
            .collect()
    }
}

impl std::fmt::Display for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for fact in FACTS {
            writeln!(f, "{:>10} {fact:?}", self.count(fact))?;
        }
        Ok(())
    }
}
