//! Jobs of a run: what is submitted, how its tasks behave, and what every task
//! must come to. All of it stands in the specification, so that whoever has the
//! specification knows what is right.

use std::collections::BTreeMap;

use vivat_shared::attempt::{
    Counters, InputFile, InputOrigin, PartOutput, PlanChunk, SplitRange, counters,
};
use vivat_shared::cause::FailureCause;
use vivat_shared::ids::{AttemptId, DatasetId, RoundId, TaskId, TaskKind};
use vivat_shared::job::{
    HostIdentity, InputFormat, InputPattern, JobSpec, OutputLocation, Policy, StepInput, StepSpec,
    Visibility,
};
use vivat_shared::notify::Notify;
use vivat_shared::size_code::SizeCode;

use crate::prng::Prng;

/// Splits in one chunk of a plan.
const SPLITS_PER_CHUNK: u64 = 3;
pub const SPLIT_BYTES: u64 = 10;
/// Parameters of steps: rounds that it wants, and that its closes speak at length.
const ROUNDS: &str = "rounds";
const STORED: &str = "stored";
/// Blocks of every dataset that is put, a split each.
pub const DATASET_BLOCKS: u64 = 4;

/// How the tasks of a job behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    Honest,
    /// The first attempt of every map fails.
    Flaky,
    /// One map fails whoever runs it.
    Broken,
    /// One map kills the process that runs it.
    Poisonous,
    /// The plan finds no input.
    Empty,
    /// One map of the second step fails until the job is retried.
    Mended,
}

impl Nature {
    const WORDS: [(Self, &'static str); 6] = [
        (Self::Honest, "honest"),
        (Self::Flaky, "flaky"),
        (Self::Broken, "broken"),
        (Self::Poisonous, "poisonous"),
        (Self::Empty, "empty"),
        (Self::Mended, "mended"),
    ];

    fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(nature, _)| *nature == self)
            .map_or("honest", |(_, word)| word)
    }

    /// As its specification says.
    #[must_use]
    pub fn of(spec: &JobSpec) -> Self {
        let word = spec.steps.first().map_or("", |step| step.program.as_str());
        Self::WORDS
            .iter()
            .find(|(_, known)| *known == word)
            .map_or(Self::Honest, |(nature, _)| *nature)
    }

    /// Whether a task kills its process.
    #[must_use]
    pub fn kills(self, task: TaskId) -> bool {
        self == Self::Poisonous && task.kind == TaskKind::Map && task.index == 0
    }

    /// How an attempt fails, if it does.
    #[must_use]
    pub fn failure(self, attempt: AttemptId, sick: bool) -> Option<FailureCause> {
        let is_map = attempt.task.kind == TaskKind::Map;
        let program = |detail: &str| FailureCause::Program {
            detail: detail.to_owned(),
        };
        match self {
            Self::Empty if attempt.task.kind == TaskKind::Plan => {
                Some(FailureCause::InputNotFound {
                    path: "in".to_owned(),
                })
            }
            Self::Flaky if is_map && attempt.number == 1 => Some(program("the first time")),
            Self::Broken if is_map && attempt.task.index == 0 => Some(program("always")),
            Self::Mended if is_mended(attempt) => Some(program("until it is mended")),
            Self::Honest
            | Self::Flaky
            | Self::Broken
            | Self::Poisonous
            | Self::Empty
            | Self::Mended => sick.then(|| FailureCause::Storage {
                detail: "the worker is sick".to_owned(),
            }),
        }
    }
}

/// A map of the second step, before it had as many attempts as fail a job.
fn is_mended(attempt: AttemptId) -> bool {
    let TaskId { round, kind, index } = attempt.task;
    kind == TaskKind::Map && (round.step, index) == (1, 0) && attempt.number <= 4
}

/// Draws a specification.
pub fn draw(dice: &mut Prng, number: usize) -> JobSpec {
    let nature = match dice.below(20) {
        0 | 1 => Nature::Flaky,
        2 => Nature::Broken,
        3 | 4 => Nature::Poisonous,
        5 => Nature::Empty,
        6 | 7 => Nature::Mended,
        _ => Nature::Honest,
    };
    let policies = [
        Policy::Locality,
        Policy::LeastLoaded,
        Policy::RoundRobin,
        Policy::Random,
        Policy::Score,
    ];
    let splits = if dice.chance(30) {
        0
    } else {
        dice.within(1..=9)
    };
    let mut spec = spec(nature, number, splits, dice.within(1..=4));
    spec.policy = policies[dice.index(policies.len())];
    spec.priority = if dice.chance(200) { 80 } else { 50 };
    spec.timeout_ms = dice.chance(150).then(|| dice.within(4_000..=60_000));
    if dice.chance(300) {
        read_dataset(&mut spec);
    }
    if dice.chance(300) {
        let name = dice.chance(500).then(|| format!("out-{number}"));
        spec.output = OutputLocation::Dataset { name };
    }
    if dice.chance(350) || nature == Nature::Mended {
        add_steps(dice, &mut spec);
    }
    if dice.chance(300) {
        let url = "http://127.0.0.1/told".to_owned();
        spec.notify = Some(Notify::Webhook { url });
    }
    // Nothing but its time can end a job that no worker sees the paths of (F20).
    if dice.chance(50) {
        move_elsewhere(&mut spec);
        spec.timeout_ms = Some(dice.within(3_000..=30_000));
    }
    spec
}

/// Gives a job up to three steps, of which some repeat. All have the same tasks.
fn add_steps(dice: &mut Prng, spec: &mut JobSpec) {
    let first = spec.steps.remove(0);
    for position in 0..dice.within(1..=3) {
        let mut step = first.clone();
        if position > 0 && dice.chance(600) {
            step.input = StepInput::Previous;
        }
        if dice.chance(700) {
            step.closes = true;
            step.rounds_max = u32::try_from(dice.within(1..=3)).unwrap_or(1);
            let wanted = dice.within(1..=4).to_string();
            step.parameters.insert(ROUNDS.to_owned(), wanted);
        }
        if dice.chance(400) {
            step.parameters.insert(STORED.to_owned(), String::new());
        }
        spec.steps.push(step);
    }
}

/// Whether a step is content after a round only when it had so many.
fn wanted_rounds(step: &StepSpec) -> u32 {
    let wanted = step.parameters.get(ROUNDS);
    wanted.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// The rounds that a job which succeeds has had, as step and number.
#[must_use]
pub fn rounds(spec: &JobSpec) -> Vec<(u16, u32)> {
    let of = |(position, step): (u16, &StepSpec)| {
        let count = wanted_rounds(step).min(step.rounds_max);
        (0..count).map(move |round| (position, round))
    };
    (0..).zip(&spec.steps).flat_map(of).collect()
}

fn step_of(spec: &JobSpec, id: RoundId) -> Option<&StepSpec> {
    spec.steps.get(usize::from(id.step))
}

/// Whether every close of a round wants another one.
#[must_use]
pub fn again(spec: &JobSpec, id: RoundId) -> bool {
    step_of(spec, id).is_some_and(|step| id.round + 1 < wanted_rounds(step))
}

/// Whether what every close of a round says goes into the store.
#[must_use]
pub fn is_stored(spec: &JobSpec, id: RoundId) -> bool {
    let step = step_of(spec, id);
    step.is_some_and(|step| step.parameters.contains_key(STORED)) && id.round.is_multiple_of(2)
}

/// What every close of a round says, if it is inline.
#[must_use]
pub fn said(id: RoundId) -> Vec<u8> {
    format!("{}.{}", id.step, id.round).into_bytes()
}

/// The round whose close spoke last before a round, if any did.
#[must_use]
pub fn speaker(spec: &JobSpec, id: RoundId) -> Option<RoundId> {
    let closes = |step: u16| {
        let step = spec.steps.get(usize::from(step));
        step.is_some_and(|step| step.closes)
    };
    let mut before = rounds(spec)
        .into_iter()
        .filter(|round| *round < (id.step, id.round) && closes(round.0));
    let (step, round) = before.next_back()?;
    let job = id.job;
    Some(RoundId { job, step, round })
}

/// Whether a round writes into a dataset, so that its blocks can be lost.
#[must_use]
pub fn writes_dataset(spec: &JobSpec, id: RoundId) -> bool {
    let is_last = usize::from(id.step) + 1 == spec.steps.len();
    let closes = step_of(spec, id).is_some_and(|step| step.closes);
    !is_last || closes || matches!(spec.output, OutputLocation::Dataset { .. })
}

/// Lets a job read the first dataset that is put.
fn read_dataset(spec: &mut JobSpec) {
    for input in &mut spec.inputs {
        input.path = "vivat://data-0".to_owned();
        input.visibility = Visibility::Everyone;
    }
    let splits = u64::from(splits(spec)).min(DATASET_BLOCKS);
    if let Some(step) = spec.steps.first_mut() {
        step.parameters
            .insert("splits".to_owned(), splits.to_string());
    }
}

/// Lets a job name the paths of a machine that has no worker.
fn move_elsewhere(spec: &mut JobSpec) {
    let elsewhere = Visibility::Host(HostIdentity("elsewhere".to_owned()));
    for input in &mut spec.inputs {
        input.visibility = elsewhere.clone();
    }
    if let OutputLocation::Directory { visibility, .. } = &mut spec.output {
        *visibility = elsewhere;
    }
}

/// An honest job, for after the faults.
#[must_use]
pub fn last(number: usize) -> JobSpec {
    spec(Nature::Honest, number, 3, 2)
}

fn spec(nature: Nature, number: usize, splits: u64, reducers: u64) -> JobSpec {
    let visibility = Visibility::Host(HostIdentity("here".to_owned()));
    JobSpec {
        name: format!("job {number}"),
        comment: String::new(),
        inputs: vec![InputPattern {
            path: "/in".to_owned(),
            display: "in".to_owned(),
            visibility: visibility.clone(),
        }],
        format: InputFormat::Text,
        split_bytes: SPLIT_BYTES,
        steps: vec![StepSpec {
            parameters: BTreeMap::from([("splits".to_owned(), splits.to_string())]),
            ..StepSpec::once(nature.word(), u32::try_from(reducers).unwrap_or(1))
        }],
        output: OutputLocation::Directory {
            path: format!("/out-{number}"),
            display: format!("out-{number}"),
            visibility,
        },
        overwrite: false,
        priority: 50,
        policy: Policy::Locality,
        attempts_max: 4,
        timeout_ms: None,
        speculation: true,
        skipped_max: 0,
        side_files: Vec::new(),
        notify: None,
        source: String::new(),
        size_hint_bytes: None,
    }
}

/// Partitions of a job.
#[must_use]
pub fn reducers(spec: &JobSpec) -> u32 {
    spec.steps.first().map_or(0, |step| step.reducers)
}

/// Map tasks of a job.
#[must_use]
pub fn splits(spec: &JobSpec) -> u32 {
    spec.steps
        .first()
        .and_then(|step| step.parameters.get("splits")?.parse().ok())
        .unwrap_or(0)
}

/// The one plan of a job, in chunks of a file each, of the dataset that it reads.
#[must_use]
pub fn plan(spec: &JobSpec, dataset: Option<DatasetId>) -> Vec<PlanChunk> {
    let mut start = 0;
    let mut left = u64::from(splits(spec));
    let mut chunks = Vec::new();
    while left > 0 {
        let count = left.min(SPLITS_PER_CHUNK);
        let file = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
        chunks.push(PlanChunk {
            files: vec![InputFile {
                header: Vec::new(),
                path: format!("/in/{file}"),
                display: format!("in/{file}"),
                bytes: count * SPLIT_BYTES,
                origin: dataset.map_or(InputOrigin::FileSystem { modified_ns: 1 }, |dataset| {
                    InputOrigin::Dataset { dataset, start }
                }),
            }],
            splits: (0..count)
                .map(|split| SplitRange {
                    file,
                    offset: split * SPLIT_BYTES,
                    bytes: SPLIT_BYTES,
                })
                .collect(),
        });
        left -= count;
        start += count * SPLIT_BYTES;
    }
    chunks
}

/// What every attempt of a map writes; some segments are empty.
#[must_use]
pub fn segments(map: u32, reducers: u32) -> Vec<SizeCode> {
    (0..reducers)
        .map(|partition| SizeCode::of(u64::from((map + partition) % 5) * 100))
        .collect()
}

/// What every attempt of a map counts.
#[must_use]
pub fn map_counters(map: u32) -> Counters {
    let records = u64::from(map) * 7 + 3;
    Counters::from([(counters::MAP_INPUT_RECORDS.to_owned(), records)])
}

/// What every attempt of a reduce counts.
#[must_use]
pub fn reduce_counters(partition: u32) -> Counters {
    let records = u64::from(partition) * 11 + 5;
    Counters::from([(counters::REDUCE_OUTPUT_RECORDS.to_owned(), records)])
}

/// What every attempt of a reduce writes.
#[must_use]
pub fn output(partition: u32) -> PartOutput {
    PartOutput {
        bytes: u64::from(partition) + 100,
        records: u64::from(partition) + 10,
        crc32c: partition ^ 0x5eed,
    }
}

/// The counters of a job that succeeded: each task once in each round.
#[must_use]
pub fn counters_of(spec: &JobSpec) -> Counters {
    let mut sums = Counters::new();
    let maps = (0..splits(spec)).map(map_counters);
    let reduces = (0..reducers(spec)).map(reduce_counters);
    let rounds = rounds(spec).len() as u64;
    for (name, count) in maps.chain(reduces).flatten() {
        *sums.entry(name).or_default() += count * rounds;
    }
    sums
}
