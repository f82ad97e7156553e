//! Every bound of the system that is not a setting, with its unit in its name
//! and its reason beside it.

/// A batch of commands, a job specification: at most one Raft entry of this
/// size, so that 16 of them fit an append call inside one heartbeat.
pub const ENTRY_BYTES_MAX: usize = 64 * 1024;
/// A job's specification, encoded.
pub const JOB_SPEC_BYTES_MAX: usize = 48 * 1024;
/// What is kept of a failed attempt's output.
pub const OUTPUT_TAIL_BYTES_MAX: usize = 4 * 1024;
/// One chunk of a plan, encoded; leaves room for its envelope in an entry.
pub const PLAN_CHUNK_BYTES_MAX: usize = 48 * 1024;
/// Splits of one round.
pub const SPLITS_MAX: u32 = 4_000_000;
/// Input files of one round.
pub const INPUT_FILES_MAX: u32 = 1_000_000;
/// Partitions of one round.
pub const REDUCERS_MAX: u32 = 4_096;
/// Steps of one job.
pub const STEPS_MAX: usize = 64;
/// A name: job, program, parameter, label.
pub const NAME_BYTES_MAX: usize = 128;
/// A path in a plan or a specification.
pub const PATH_BYTES_MAX: usize = 4_096;
/// An idempotency key made by a client.
pub const JOB_KEY_BYTES_MAX: usize = 128;
/// Input patterns of one job.
pub const INPUTS_MAX: usize = 4_096;
/// Distinct counters of one attempt, and so of one job's sums.
pub const COUNTERS_MAX: usize = 128;
/// Times that a task may be lost with its worker before its job fails (S: bounded re-execution).
pub const LOSSES_MAX: u8 = 20;
/// Workers that may die while running one task before the task is to blame.
pub const CRASHES_MAX: u8 = 3;
/// A gRPC message, both ways.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Attempts that a worker may hold beyond those running, per slot: enough that one
/// entry of the log grants what runs while the next one is on its way to the disks.
pub const PREFETCH_PER_SLOT_MAX: u32 = 256;
/// Slots of one worker.
pub const SLOTS_MAX: u32 = 1_024;
/// Bytes in one message of a segment or snapshot stream.
pub const STREAM_CHUNK_BYTES: usize = 256 * 1024;
/// A key that a program may emit.
pub const KEY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A record of input; a longer one fails the attempt with `InvalidInput`.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// A name of a dataset or a value.
pub const DATASET_NAME_BYTES_MAX: usize = 200;
/// Replicas of a block.
pub const REPLICAS_MAX: u8 = 10;
/// Blocks of one dataset: a directory of these stands in the memory of every master.
pub const BLOCKS_MAX: u32 = 1_000_000;
/// Blocks in one command; with their holders well within an entry.
pub const BLOCKS_APPENDED_MAX: usize = 512;
/// Files of a dataset that are listed in the log; a longer list stands in blocks.
pub const FILES_LISTED_MAX: usize = 64;
/// Blocks that one reduce attempt may write: its report names them all.
pub const OUTPUT_BLOCKS_MAX: usize = 1_024;
/// A named value.
pub const VALUE_BYTES_MAX: usize = 48 * 1024;
/// Blocks in one page of a report or a listing.
pub const BLOCKS_LISTED_MAX: usize = 1_000;
/// Rounds of one step.
pub const ROUNDS_MAX: u32 = 10_000;
/// Rounds of a job that are remembered; those before them are forgotten.
pub const ROUNDS_SHOWN_MAX: usize = 1_000;
/// A broadcast that stands in the log; a larger one stands in blocks. With the
/// rest of its report it fits an entry.
pub const BROADCAST_INLINE_BYTES_MAX: usize = 32 * 1024;
/// A broadcast in blocks: every task of a round reads it whole.
pub const BROADCAST_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Blocks that a `close` attempt is told of, and that a commit copies: those of
/// all partitions of a round. Their addresses travel in one message.
pub const CLOSE_BLOCKS_MAX: usize = 20_000;
/// Metrics of one round.
pub const METRICS_MAX: usize = 64;
/// Skipped records that one attempt tells of, and that a job remembers.
pub const SKIPPED_RECORDS_MAX: usize = 16;
/// What is kept of a skipped record.
pub const SKIPPED_BYTES_MAX: usize = 256;
/// Path and problem of a skipped record, each.
pub const SKIPPED_TEXT_BYTES_MAX: usize = 512;
/// Side files of one job.
pub const SIDE_FILES_MAX: usize = 64;
/// Sorted runs that one merge reads at once, each an open file; more are merged
/// in passes.
pub const MERGE_RUNS_MAX: usize = 256;
/// Workers that a worker fetches segments from at once, by one stream each for all
/// its reduces; the others take turns with them.
pub const FETCH_STREAMS_MAX: usize = 8;
/// Streams of segments that a worker serves at once; whoever comes later is told
/// to come again. Streams on which nothing is asked do not count.
pub const SERVED_STREAMS_MAX: usize = 16;
/// Segments of one order.
pub const FETCH_BATCH_MAX: usize = 256;
/// Bytes of one order, if it is of more than one segment.
pub const FETCH_ORDER_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Bytes that are ordered of one worker and have not come; past it nothing more is
/// ordered there.
pub const FETCH_AHEAD_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Bytes after which a stream lets others have its turn.
pub const FETCH_TURN_BYTES: u64 = 128 * 1024 * 1024;
/// The header line of a CSV file that a plan carries: with the file's paths it must
/// fit [`PLAN_CHUNK_BYTES_MAX`].
pub const CSV_HEADER_BYTES_MAX: usize = 32 * 1024;
/// What is kept of one attempt's standard error.
pub const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Blocks of one attempt's log.
pub const LOG_BLOCKS_MAX: usize = 8;
/// Failed attempts of a job that its list of logs has, the first of them.
pub const LOGS_OF_FAILURES_MAX: usize = 256;
/// Other attempts with a log that it has, the first of them.
pub const LOGS_OF_OTHERS_MAX: usize = 256;
/// Program and arguments of a command that is told of a job's end.
pub const NOTIFY_COMMAND_BYTES_MAX: usize = 4_096;
/// Tries to tell of a job's end.
pub const NOTIFY_TRIES_MAX: u32 = 100;
/// `comment` and `source` of a job, each.
pub const JOB_TEXT_BYTES_MAX: usize = 4_096;
