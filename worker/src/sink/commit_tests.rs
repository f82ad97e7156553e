//! Commit at every crash point: what a commit left when it died after any step
//! is what the next one makes the output of.

use super::*;
use crate::sink::check_output;
use tempfile::TempDir;
use vivat_shared::attempt::PartOutput;
use vivat_shared::job::{OutputLocation, Visibility};

const CLUSTER: ClusterId = ClusterId(0xfeed_beef);

struct Bench {
    _temp: TempDir,
    paths: OutputPaths,
    parts: Vec<CommittedPart>,
}

impl Bench {
    /// Two partitions; partition 0 was won by attempt 2, partition 1 by attempt 1.
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("out").to_str().unwrap().to_owned();
        let output = OutputLocation::Directory {
            display: path.clone(),
            path,
            visibility: Visibility::Everyone,
        };
        let paths = OutputPaths::new(&output, CLUSTER, JobId(7)).unwrap();
        let bench = Self {
            _temp: temp,
            paths,
            parts: [(2, "won\n"), (1, "also won\n")]
                .map(|(attempt, text)| CommittedPart {
                    attempt,
                    output: PartOutput {
                        bytes: text.len() as u64,
                        records: 1,
                        crc32c: crc32c::crc32c(text.as_bytes()),
                    },
                })
                .to_vec(),
        };
        bench.stage();
        bench
    }

    fn stage(&self) {
        self.paths.create_staging().unwrap();
        for (name, text) in [
            ("part-00000.attempt-1", "lost\n"),
            ("part-00000.attempt-2", "won\n"),
            ("part-00001.attempt-1", "also won\n"),
        ] {
            fs::write(self.paths.staging.join(name), text).unwrap();
        }
    }

    fn order<'a>(&'a self, replaces: Option<&'a OutputIdentity>) -> CommitOrder<'a> {
        CommitOrder {
            paths: &self.paths,
            cluster: CLUSTER,
            job: JobId(7),
            parts: &self.parts,
            replaces,
        }
    }

    fn assert_committed(&self) {
        let mut names: Vec<_> = fs::read_dir(&self.paths.target)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            ["_SUCCESS", "_manifest.json", "part-00000", "part-00001"]
        );
        let read = |name| fs::read_to_string(self.paths.target.join(name)).unwrap();
        assert_eq!(read("part-00000"), "won\n");
        assert_eq!(read("part-00001"), "also won\n");
        let around = fs::read_dir(&self.paths.parent).unwrap().count();
        assert_eq!(around, 1, "nothing is left beside the target");
    }

    /// An output of an earlier job, and its identity.
    fn old_output(&self) -> OutputIdentity {
        fs::create_dir(&self.paths.target).unwrap();
        let json = Manifest::new(CLUSTER, JobId(1), &[]).to_json().unwrap();
        fs::write(self.paths.target.join(MANIFEST), json).unwrap();
        fs::write(self.paths.target.join(SUCCESS), "").unwrap();
        check_output(&self.paths, true).unwrap().unwrap()
    }
}

type Step = fn(&CommitOrder<'_>);
const STEPS: [Step; 7] = [
    |order| order.gather_parts().unwrap(),
    |order| order.remove_others().unwrap(),
    |order| order.write_manifest().unwrap(),
    |order| order.mark_success().unwrap(),
    |order| order.move_old_away().unwrap(),
    |order| order.show().unwrap(),
    |order| order.keep_shown().unwrap(),
];

#[test]
fn commit_that_died_after_any_step_is_completed_by_the_next() {
    for died_after in 0..=STEPS.len() {
        let bench = Bench::new();
        for step in &STEPS[..died_after] {
            step(&bench.order(None));
        }
        commit(&bench.order(None)).unwrap();
        bench.assert_committed();
    }
}

#[test]
fn overwriting_commit_that_died_after_any_step_is_completed_by_the_next() {
    for died_after in 0..=STEPS.len() {
        let bench = Bench::new();
        let old = bench.old_output();
        for step in &STEPS[..died_after] {
            step(&bench.order(Some(&old)));
        }
        commit(&bench.order(Some(&old))).unwrap();
        bench.assert_committed();
    }
}

#[test]
fn former_output_is_put_back_when_the_new_one_cannot_be_shown_and_only_then() {
    let bench = Bench::new();
    let old = bench.old_output();
    let order = bench.order(Some(&old));
    for step in &STEPS[..5] {
        step(&order);
    }
    assert!(!bench.paths.target.exists());
    order.put_old_back();
    assert_eq!(identity(&bench.paths.target).unwrap().as_ref(), Some(&old));
    commit(&order).unwrap();
    order.put_old_back();
    bench.assert_committed();
}

#[test]
fn commit_that_died_half_way_through_renaming_its_parts_is_completed() {
    let bench = Bench::new();
    let staging = &bench.paths.staging;
    fs::rename(
        staging.join("part-00000.attempt-2"),
        staging.join("part-00000"),
    )
    .unwrap();
    commit(&bench.order(None)).unwrap();
    bench.assert_committed();
}

#[test]
fn output_that_appeared_since_the_plan_is_never_replaced() {
    let bench = Bench::new();
    let old = bench.old_output();
    // Another output takes the place of the one that the plan recorded.
    fs::rename(&bench.paths.target, bench.paths.parent.join("kept")).unwrap();
    fs::create_dir(&bench.paths.target).unwrap();
    let refused = commit(&bench.order(Some(&old)));
    assert!(matches!(refused, Err(FailureCause::OutputExists { .. })));
    assert_eq!(fs::read_dir(&bench.paths.target).unwrap().count(), 0);
}

#[test]
fn part_that_is_missing_or_cut_fails_the_commit_and_shows_nothing() {
    let bench = Bench::new();
    let part = bench.paths.staging.join("part-00001.attempt-1");
    fs::write(&part, "also").unwrap();
    let cut = commit(&bench.order(None));
    assert!(matches!(cut, Err(FailureCause::Storage { .. })), "{cut:?}");
    fs::remove_file(&part).unwrap();
    let missing = commit(&bench.order(None));
    assert!(
        matches!(missing, Err(FailureCause::Storage { .. })),
        "{missing:?}"
    );
    assert!(!bench.paths.target.exists());
}

#[test]
fn plan_refuses_an_output_that_exists_unless_it_is_ours_and_may_be_replaced() {
    let bench = Bench::new();
    assert_eq!(check_output(&bench.paths, false), Ok(None));
    fs::create_dir(&bench.paths.target).unwrap();
    for overwrite in [false, true] {
        let refused = check_output(&bench.paths, overwrite);
        assert!(matches!(refused, Err(FailureCause::OutputExists { .. })));
    }
    fs::remove_dir(&bench.paths.target).unwrap();
    bench.old_output();
    assert!(check_output(&bench.paths, false).is_err());
}
