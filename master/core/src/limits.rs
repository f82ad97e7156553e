//! Bounds of the replicated state, each with its reason. They are constants and
//! not settings: replicas that disagreed about one would diverge.

/// Jobs that have not ended; past it submissions are refused.
pub const JOBS_ACTIVE_MAX: usize = 100_000;
/// Ended jobs that are kept for `job list`; the oldest beyond are forgotten.
pub const FINISHED_JOBS_MAX: usize = 1_000;
/// Bytes of the specifications of all jobs in the state, ended ones included;
/// past it submissions are refused. Every master holds them, and a snapshot, of
/// which 2 GiB are taken, has them all: [`JOBS_ACTIVE_MAX`] jobs of the largest
/// specification would be 4.6 GiB. An ordinary one has 500 bytes.
pub const SPEC_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Workers that are registered and not lost.
pub const WORKERS_LIVE_MAX: usize = 10_000;
/// Lost workers that are remembered, so that one that returns keeps its id.
pub const WORKERS_LOST_MAX: usize = 1_000;
/// Bytes of what a worker says of itself: uid, address and labels.
pub const WORKER_INFO_BYTES_MAX: usize = 16 * 1024;
/// Bytes of the reason why a worker was expired.
pub const REASON_BYTES_MAX: usize = 512;
/// Bytes of the paths in one plan: a plan stands in the memory of every master.
pub const PLAN_NAME_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Segments of one round, a byte each: more would not fit a master's memory.
pub const SEGMENTS_MAX: u64 = 256 * 1024 * 1024;
/// Reduces per slot that a worker may hold while maps still run. They hold no
/// slot, but their buffers and connections are real.
pub const EARLY_REDUCES_PER_SLOT: u32 = 2;
/// Milliseconds for which a worker that registered anew is given time to tell
/// which segments it still has, before the maps that wrote them run again. It
/// reads and checks them all first, some gigabytes from a disk; its first pull
/// says that it is done and ends the wait, so the bound is for one that hangs.
pub const RESTORE_GRACE_MS: u64 = 10_000;
/// Milliseconds since a job's last map that went to a worker with its block,
/// after which maps go elsewhere. Workers hold work for two seconds: one that is
/// asked for more by then has come to the end of it.
pub const LOCALITY_WAIT_MS: u64 = 3_000;
/// Healthy probes of a suspected segment before its reader is to blame, and as
/// many again before the word of a second worker counts against it.
pub const HEALTHY_PROBES_MAX: u8 = 2;
/// The chained hash is published at multiples of this many entries.
pub const HASH_POINT_ENTRIES: u64 = 64;
/// Datasets, open and sealed, and outputs that jobs write.
pub const DATASETS_MAX: usize = 100_000;
/// Datasets that are being written: each has a client behind it.
pub const DATASETS_OPEN_MAX: usize = 1_000;
/// Blocks of all datasets and outputs: some 80 bytes each in the memory of every master.
pub const DIRECTORY_BLOCKS_MAX: u64 = 4_000_000;
/// Bytes of a block, which may be one long record: far above what a worker
/// writes, and so few that the sum over a dataset's blocks fits 64 bits.
pub const BLOCK_BYTES_MAX: u64 = 1024 * 1024 * 1024 * 1024;
/// Named values.
pub const VALUES_MAX: usize = 100_000;
/// Bytes of all named values, names included.
pub const VALUES_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Writes of values whose answers are kept for a writer that repeats itself.
pub const VALUE_ANSWERS_MAX: usize = 4_096;
/// The number of a task's last attempt from which on it gets no backup: what hands
/// backups back again and again must not use up a task's numbers.
pub const BACKUP_NUMBER_MAX: u16 = 64;
/// Milliseconds that an attempt is left alone before anybody thinks of a backup:
/// longer than workers hold work for and than a leader's death takes.
pub const BACKUP_AGE_MIN_MS: u64 = 5_000;
/// How many times the median of a round's accepted attempts an attempt must still
/// need, by its own rate, to get a backup: it would need the median.
pub const BACKUP_MEDIANS: u64 = 2;
/// Of a hundred slots, those that may run backups at once; at least one in all.
pub const BACKUP_SLOTS_PERCENT: u64 = 10;
/// Attempts of rounds that are over whose times are kept, in all, the newest: 24
/// bytes each in the memory of every master.
pub const TIMELINE_ROWS_MAX: u32 = 200_000;
/// Attempts of one round that came to nothing whose times are kept, the first.
pub const MISHAPS_MAX: usize = 1_000;
/// Metrics of all remembered rounds of one job: 16 bytes each in the memory of
/// every master, for a thousand ended jobs too.
pub const METRICS_KEPT_MAX: usize = 16_384;
/// Different names of metrics of one job.
pub const METRIC_NAMES_MAX: usize = 256;
/// Bytes of the tails of all failures of one job, for a thousand ended jobs too.
pub const LOG_TAILS_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the line that says why an attempt in a job's list of logs failed.
pub const LOG_PROBLEM_BYTES_MAX: usize = 256;
/// Milliseconds after which nobody tries any more to tell of a job's end: a day.
pub const NOTICE_AGE_MAX_MS: u64 = 24 * 60 * 60 * 1_000;
/// Milliseconds between the first try to tell of a job's end and the second; each
/// pause is twice the one before.
pub const NOTICE_PAUSE_MIN_MS: u64 = 1_000;
/// The longest of these pauses: a minute.
pub const NOTICE_PAUSE_MAX_MS: u64 = 60_000;
/// Ended jobs that keep what they had written for themselves, so that a retry needs
/// not begin anew: their blocks take room on the workers' disks.
pub const RESUMABLE_MAX: usize = 64;
/// The number of a job's attempts up to which it can be retried: those of the retry
/// count on from it.
pub const RETRY_NUMBER_MAX: u16 = u16::MAX / 2;
