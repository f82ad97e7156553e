//! A whole job over two workers, from its plan to its output.

use vivat_proto::v1;
use vivat_shared::attempt::{Assignment, Broadcast, CommittedPart, Outcome, Work};
use vivat_shared::ids::AttemptId;
use vivat_shared::job::JobSpec;

use crate::common::{eventually, expected, id, start, word_count};
use crate::leader::FakeLeader;

async fn plan(leader: &FakeLeader, spec: &JobSpec) -> Vec<Assignment> {
    let plan = id("job-1.0.0.plan-0.1");
    let work = Work::Plan {
        datasets: Vec::new(),
        previous: None,
    };
    leader.grant(
        spec,
        [Assignment {
            attempt: plan,
            work,
        }],
    );
    let outcome = leader.outcome(plan).await;
    let Outcome::Planned { splits, chunks, .. } = outcome else {
        panic!("{outcome:?}");
    };
    leader.look(|state| {
        assert_eq!(state.chunks.len(), chunks as usize);
        let files: Vec<_> = state.chunks.iter().flat_map(|chunk| &chunk.files).collect();
        let ranges = state.chunks.iter().flat_map(|chunk| &chunk.splits);
        let maps: Vec<_> = (0_u32..)
            .zip(ranges)
            .map(|(index, &split)| Assignment {
                attempt: id(&format!("job-1.0.0.map-{index}.1")),
                work: Work::Map {
                    file: files[split.file as usize].clone(),
                    split,
                    splits,
                    blocks: Vec::new(),
                    blocks_start: 0,
                    broadcast: Broadcast::None,
                },
            })
            .collect();
        assert_eq!(maps.len(), splits as usize);
        maps
    })
}

/// Runs the maps on both workers in turn and tells where their segments are.
async fn map(leader: &FakeLeader, spec: &JobSpec, maps: Vec<Assignment>) -> u32 {
    let count = u32::try_from(maps.len()).unwrap();
    let mut holders = Vec::new();
    for (index, assignment) in (0_u32..).zip(maps) {
        holders.push((1 + index % 2, assignment.attempt));
        leader.grant_to(1 + index % 2, spec, [assignment]);
    }
    let mut located: Vec<Vec<v1::SegmentLocation>> = Vec::new();
    for (holder, attempt) in holders {
        let outcome = leader.outcome(attempt).await;
        let Outcome::Mapped { segments, .. } = outcome else {
            panic!("{outcome:?}");
        };
        let locate = |size: &vivat_shared::size_code::SizeCode| v1::SegmentLocation {
            map: attempt.task.index,
            attempt: 1,
            holder,
            epoch: u64::from(holder),
            size: u32::from(size.0),
        };
        located.push(segments.iter().map(locate).collect());
    }
    leader.change(|state| {
        for (holder, registration) in (1..).zip(&state.registrations) {
            state.addresses.push(v1::WorkerAddress {
                worker: holder,
                epoch: u64::from(holder),
                address: registration.address.clone(),
            });
        }
        // One size for all partitions: the largest, so that none counts as empty.
        let largest = located.into_iter().map(|partitions| {
            let largest = partitions.into_iter().max_by_key(|location| location.size);
            largest.unwrap()
        });
        state.locations = largest.collect();
    });
    count
}

async fn reduce(leader: &FakeLeader, spec: &JobSpec, maps: u32) -> Vec<CommittedPart> {
    let reduces: Vec<AttemptId> = (0..spec.steps[0].reducers)
        .map(|index| id(&format!("job-1.0.0.reduce-{index}.1")))
        .collect();
    for &attempt in &reduces {
        let work = Work::Reduce {
            maps,
            output: None,
            broadcast: Broadcast::None,
        };
        leader.grant_to(
            1 + attempt.task.index % 2,
            spec,
            [Assignment { attempt, work }],
        );
    }
    let mut parts = Vec::new();
    for attempt in reduces {
        let outcome = leader.outcome(attempt).await;
        let Outcome::Reduced { output, .. } = outcome else {
            panic!("{outcome:?}");
        };
        let attempt = attempt.number;
        parts.push(CommittedPart { attempt, output });
    }
    parts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_of_a_job_over_two_workers_is_that_of_the_oracle() {
    let leader = FakeLeader::start().await;
    let temp = tempfile::tempdir().unwrap();
    let text = temp.path().join("a.txt");
    let mut bytes = Vec::new();
    vivat_programs::generate::words(20_000, 7, &mut bytes).unwrap();
    std::fs::write(&text, bytes).unwrap();
    let mut spec = word_count(temp.path(), "*.txt", 1);
    spec.split_bytes = 2_000;

    let first = start(&leader, &temp.path().join("worker-1"));
    leader
        .until("one", |state| state.registrations.len() == 1)
        .await;
    let second = start(&leader, &temp.path().join("worker-2"));
    leader
        .until("two", |state| state.registrations.len() == 2)
        .await;

    let planned = plan(&leader, &spec).await;
    let maps = map(&leader, &spec, planned).await;
    let parts = reduce(&leader, &spec, maps).await;
    let out = temp.path().join("out");
    assert!(!out.exists(), "nothing is visible before the commit");
    let commit = id("job-1.0.0.commit-0.1");
    let replaces = None;
    leader.grant_to(
        2,
        &spec,
        [Assignment {
            attempt: commit,
            work: Work::Commit {
                parts,
                blocks: Vec::new(),
                replaces,
            },
        }],
    );
    assert_eq!(leader.outcome(commit).await, Outcome::Committed);
    let found = std::fs::read(out.join("part-00000")).unwrap();
    assert_eq!(found, expected(&spec, &[(&text, "a.txt")]));
    assert!(out.join("_SUCCESS").exists() && out.join("_manifest.json").exists());

    leader.change(|state| state.ended_jobs.insert(1));
    for worker in ["worker-1", "worker-2"] {
        let segments = temp.path().join(worker).join("segments/job-1");
        eventually("the job's files are deleted", || !segments.exists()).await;
    }
    assert!(out.join("part-00000").exists());
    first.shutdown().await;
    second.shutdown().await;
}

#[tokio::test]
async fn staging_of_a_job_that_ended_without_a_commit_is_removed() {
    let leader = FakeLeader::start().await;
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("a.txt"), "the cat\n").unwrap();
    let spec = word_count(temp.path(), "a.txt", 1);
    let worker = start(&leader, &temp.path().join("worker"));
    plan(&leader, &spec).await;
    let staging = temp.path().join(".out.01234567-job-1.staging");
    assert!(staging.is_dir());
    leader.change(|state| state.ended_jobs.insert(1));
    eventually("the staging is removed", || !staging.exists()).await;
    worker.shutdown().await;
}
