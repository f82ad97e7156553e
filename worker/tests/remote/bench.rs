//! A worker with a fake leader, and the steps of a job.

use tempfile::TempDir;
use vivat_proto::v1;
use vivat_shared::attempt::{
    Assignment, Broadcast, CommittedPart, InputFile, Outcome, PlanChunk, Work,
};
use vivat_shared::cause::FailureCause;
use vivat_shared::ids::AttemptId;
use vivat_shared::job::{InputPattern, JobSpec, OutputLocation, Visibility};
use vivat_worker::WorkerHandle;

use crate::common::{id, start, word_count};
use crate::leader::FakeLeader;

pub struct Bench {
    pub leader: FakeLeader,
    pub temp: TempDir,
    _worker: WorkerHandle,
}

/// What a plan came to.
pub type Planned = Result<(Vec<PlanChunk>, Outcome), FailureCause>;

impl Bench {
    pub async fn new() -> Self {
        let leader = FakeLeader::start().await;
        let temp = tempfile::tempdir().unwrap();
        let worker = start(&leader, &temp.path().join("worker"));
        leader
            .until("registered", |state| state.registrations.len() == 1)
            .await;
        Self {
            leader,
            temp,
            _worker: worker,
        }
    }

    /// Word count over URLs, into a directory.
    pub fn spec(&self, urls: &[&str]) -> JobSpec {
        let mut spec = word_count(self.temp.path(), "unused", 1);
        spec.inputs = urls.iter().map(|url| input(url)).collect();
        spec
    }

    pub async fn plan(&self, job: u64, spec: &JobSpec) -> Planned {
        self.leader.change(|state| state.chunks.clear());
        let attempt = id(&format!("job-{job}.0.0.plan-0.1"));
        let work = Work::Plan {
            datasets: Vec::new(),
            previous: None,
        };
        match self.run(spec, attempt, work).await {
            Outcome::Failed(failure) => Err(failure.cause),
            outcome => Ok((self.leader.look(|state| state.chunks.clone()), outcome)),
        }
    }

    /// The files that a plan lists.
    pub async fn files(&self, job: u64, urls: &[&str]) -> Result<Vec<InputFile>, FailureCause> {
        let (chunks, _) = self.plan(job, &self.spec(urls)).await?;
        Ok(chunks.into_iter().flat_map(|chunk| chunk.files).collect())
    }

    pub async fn run(&self, spec: &JobSpec, attempt: AttemptId, work: Work) -> Outcome {
        self.leader.grant(spec, [Assignment { attempt, work }]);
        self.leader.outcome(attempt).await
    }

    /// Runs all maps of a plan; the outcomes in order.
    pub async fn map(&self, job: u64, spec: &JobSpec, chunks: &[PlanChunk]) -> Vec<Outcome> {
        let files: Vec<_> = chunks.iter().flat_map(|chunk| &chunk.files).collect();
        let ranges: Vec<_> = chunks.iter().flat_map(|chunk| &chunk.splits).collect();
        let mut outcomes = Vec::new();
        for (index, split) in ranges.iter().enumerate() {
            let attempt = id(&format!("job-{job}.0.0.map-{index}.1"));
            let work = Work::Map {
                file: files[split.file as usize].clone(),
                split: **split,
                splits: u32::try_from(ranges.len()).unwrap(),
                blocks: Vec::new(),
                blocks_start: 0,
                broadcast: Broadcast::None,
            };
            outcomes.push(self.run(spec, attempt, work).await);
        }
        outcomes
    }

    /// Tells where the segments are, for reduces.
    pub fn locate(&self, outcomes: &[Outcome]) {
        self.leader.change(|state| {
            state.addresses = vec![v1::WorkerAddress {
                worker: 1,
                epoch: 1,
                address: state.registrations[0].address.clone(),
            }];
            let located = (0_u32..).zip(outcomes).map(|(map, outcome)| {
                let Outcome::Mapped { segments, .. } = outcome else {
                    panic!("{outcome:?}");
                };
                let largest = segments.iter().max_by_key(|size| size.0).unwrap();
                v1::SegmentLocation {
                    map,
                    attempt: 1,
                    holder: 1,
                    epoch: 1,
                    size: u32::from(largest.0),
                }
            });
            state.locations = located.collect();
        });
    }

    /// Runs one reduce attempt.
    pub async fn reduce(&self, spec: &JobSpec, attempt: &str, maps: usize) -> CommittedPart {
        let attempt = id(attempt);
        let work = Work::Reduce {
            maps: u32::try_from(maps).unwrap(),
            output: None,
            broadcast: Broadcast::None,
        };
        let outcome = self.run(spec, attempt, work).await;
        let Outcome::Reduced { output, .. } = outcome else {
            panic!("{outcome:?}");
        };
        CommittedPart {
            attempt: attempt.number,
            output,
        }
    }

    /// A job from its plan to the end of its reduces: what is to be committed.
    pub async fn parts(&self, job: u64, spec: &JobSpec) -> (Vec<CommittedPart>, Outcome) {
        let (chunks, planned) = self.plan(job, spec).await.unwrap();
        let outcomes = self.map(job, spec, &chunks).await;
        self.locate(&outcomes);
        let mut parts = Vec::new();
        for partition in 0..spec.steps[0].reducers {
            let attempt = format!("job-{job}.0.0.reduce-{partition}.1");
            parts.push(self.reduce(spec, &attempt, outcomes.len()).await);
        }
        (parts, planned)
    }

    pub async fn commit(
        &self,
        spec: &JobSpec,
        attempt: &str,
        parts: &[CommittedPart],
        planned: &Outcome,
    ) -> Outcome {
        let Outcome::Planned { replaces, .. } = planned else {
            panic!("{planned:?}");
        };
        let work = Work::Commit {
            parts: parts.to_vec(),
            blocks: Vec::new(),
            replaces: replaces.clone(),
        };
        self.run(spec, id(attempt), work).await
    }
}

pub fn input(url: &str) -> InputPattern {
    InputPattern {
        path: url.to_owned(),
        display: url.to_owned(),
        visibility: Visibility::Everyone,
    }
}

pub fn output(url: &str) -> OutputLocation {
    OutputLocation::Objects {
        url: url.to_owned(),
    }
}

pub fn words(count: u64, seed: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    vivat_programs::generate::words(count, seed, &mut bytes).unwrap();
    bytes
}

/// The sum of a counter over maps.
pub fn sum(outcomes: &[Outcome], counter: &str) -> u64 {
    let of = |outcome: &Outcome| match outcome {
        Outcome::Mapped { counters, .. } => counters[counter],
        outcome => panic!("{outcome:?}"),
    };
    outcomes.iter().map(of).sum()
}

pub fn cause(outcome: &Outcome) -> &FailureCause {
    match outcome {
        Outcome::Failed(failure) => &failure.cause,
        outcome => panic!("{outcome:?}"),
    }
}
