//! A real store: listing, ranges, faults, results.

use std::sync::atomic::Ordering;

use object_store::ObjectStoreExt;
use vivat_shared::attempt::{Assignment, Broadcast, Outcome, Work, counters};
use vivat_shared::cause::FailureCause;
use vivat_worker::ObjectResult;

use crate::bench::{Bench, cause, input, output, sum, words};
use crate::common::{eventually, expected};
use crate::store::{BUCKET, SECRET, Store, with_store};

fn url(key: &str) -> String {
    format!("s3://{BUCKET}/{key}")
}

#[test]
fn globs_directories_and_names_are_listed_as_a_shell_would() {
    with_store(
        "objects::globs_directories_and_names_are_listed_as_a_shell_would",
        async |store| {
            for key in [
                "logs/a.log",
                "logs/b c ü.log",
                "logs/.hidden.log",
                "logs/_SUCCESS",
                "logs/deep/c.log",
                "logs/[1].log",
                "other.txt",
            ] {
                let path = object_store::path::Path::parse(key).unwrap();
                store
                    .client
                    .put(&path, key.to_owned().into())
                    .await
                    .unwrap();
            }
            let bench = Bench::new().await;
            let mut job = 0;
            let mut list = async |key: &str| {
                job += 1;
                let listed = bench.files(job, &[&url(key)]).await?;
                let start = url("").len();
                let name = |file: vivat_shared::attempt::InputFile| file.path[start..].to_owned();
                Ok::<Vec<String>, FailureCause>(listed.into_iter().map(name).collect())
            };
            let logs = ["logs/[1].log", "logs/a.log", "logs/b c ü.log"];
            assert_eq!(list("logs/*.log").await.unwrap(), logs);
            assert_eq!(list("*/deep/?.log").await.unwrap(), ["logs/deep/c.log"]);
            assert_eq!(list("logs/[1].log").await.unwrap(), ["logs/[1].log"]);
            let below = [&logs[..], &["logs/deep/c.log"]].concat();
            assert_eq!(list("logs/").await.unwrap(), below);
            assert_eq!(list("other.txt").await.unwrap(), ["other.txt"]);
            assert_eq!(list("").await.unwrap().len(), 5);
            for missing in ["nothing.txt", "logs/*.csv", "nothing/"] {
                let not_found = FailureCause::InputNotFound { path: url(missing) };
                assert_eq!(list(missing).await.unwrap_err(), not_found);
            }
            let path = url("logs");
            assert_eq!(
                list("logs").await,
                Err(FailureCause::InputIsDirectory { path })
            );
            let bucket = bench
                .files(90, &["s3://no-such-bucket/x/*"])
                .await
                .unwrap_err();
            assert!(
                matches!(bucket, FailureCause::InputNotFound { .. }),
                "{bucket}"
            );
        },
    );
}

/// Twelve MB in one object, and the URL of it.
async fn large(store: &Store) -> (String, Vec<u8>) {
    let text = words(12_000_000, 3);
    store.put("in/large.txt", text.clone()).await;
    (url("in/large.txt"), text)
}

#[test]
fn word_count_from_store_to_store_is_the_oracle_s() {
    with_store(
        "objects::word_count_from_store_to_store_is_the_oracle_s",
        async |store| {
            let (one, two) = (words(600_000, 1), words(300_000, 2));
            store.put("in/one.txt", one.clone()).await;
            store.put("in/two.txt", two.clone()).await;
            let bench = Bench::new().await;
            let mut spec = bench.spec(&[&url("in/*.txt")]);
            spec.split_bytes = 100_000;
            spec.steps[0].reducers = 3;
            spec.output = output(&url("out"));
            let (parts, planned) = bench.parts(1, &spec).await;
            // What a loser wrote, and what is none of ours.
            store.put("out/part-00000.01234567-job-1.9", "lost").await;
            assert!(
                ObjectResult::open(&url("out")).await.is_err(),
                "it is not whole yet"
            );
            for attempt in ["job-1.0.0.commit-0.1", "job-1.0.0.commit-0.2"] {
                let outcome = bench.commit(&spec, attempt, &parts, &planned).await;
                assert_eq!(outcome, Outcome::Committed, "{attempt}");
            }
            let keys = store.keys("out").await;
            let part = |index| format!("part-0000{index}.01234567-job-1.1");
            let whole = ["_SUCCESS".to_owned(), "_manifest.json".to_owned()];
            assert_eq!(keys, [&whole[..], &[part(0), part(1), part(2)]].concat());
            let (first, second) = (bench.temp.path().join("1"), bench.temp.path().join("2"));
            std::fs::write(&first, one).unwrap();
            std::fs::write(&second, two).unwrap();
            let oracle = expected(&spec, &[(&first, "1"), (&second, "2")]);
            assert!(read("out").await == oracle);

            // It is there now: refused, replaced if asked, read by the next job.
            let refused = bench.plan(2, &spec).await.unwrap_err();
            assert_eq!(refused, FailureCause::OutputExists { path: url("out") });
            let listed = bench.files(3, &[&url("out/")]).await.unwrap();
            assert_eq!(listed.len(), 3);
            spec.overwrite = true;
            spec.inputs = vec![input(&url("in/one.txt"))];
            spec.steps[0].reducers = 1;
            let (parts, planned) = bench.parts(4, &spec).await;
            assert!(
                read("out").await == oracle,
                "the old one stands until the commit"
            );
            let outcome = bench
                .commit(&spec, "job-4.0.0.commit-0.1", &parts, &planned)
                .await;
            assert_eq!(outcome, Outcome::Committed);
            let only = "part-00000.01234567-job-4.1".to_owned();
            assert_eq!(store.keys("out").await, [&whole[..], &[only]].concat());
            assert!(read("out").await == expected(&spec, &[(&first, "1")]));
        },
    );
}

async fn read(key: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let result = ObjectResult::open(&url(key)).await.unwrap();
    let copied = result.copy(|piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    });
    copied.await.unwrap();
    bytes
}

#[test]
fn result_of_many_megabytes_is_written_in_pieces_through_broken_connections() {
    with_store(
        "objects::result_of_many_megabytes_is_written_in_pieces_through_broken_connections",
        async |store| {
            // Every word is another one, so that the output is large.
            let letter = |nibble: u64| b"abcdefghijklmnop"[usize::try_from(nibble % 16).unwrap()];
            let word = |i: u64| {
                let mixed = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let letters = (0..16).map(move |place| letter(mixed >> (4 * place)));
                letters.chain([b'\n'])
            };
            let text: Vec<u8> = (1..=600_000).flat_map(word).collect();
            store.put("in/words.txt", text.clone()).await;
            let bench = Bench::new().await;
            let mut spec = bench.spec(&[&url("in/words.txt")]);
            spec.split_bytes = 64 << 20;
            spec.output = output(&url("out"));
            let (chunks, planned) = bench.plan(1, &spec).await.unwrap();
            let outcomes = bench.map(1, &spec, &chunks).await;
            bench.locate(&outcomes);
            store.faults.breaks.store(2, Ordering::Relaxed);
            let part = bench.reduce(&spec, "job-1.0.0.reduce-0.2", 1).await;
            assert!(part.output.bytes > 9 << 20);
            assert_eq!(
                store.faults.breaks.load(Ordering::Relaxed),
                0,
                "the faults struck"
            );
            let committed = bench
                .commit(&spec, "job-1.0.0.commit-0.1", &[part], &planned)
                .await;
            assert_eq!(committed, Outcome::Committed);
            let file = bench.temp.path().join("1");
            std::fs::write(&file, text).unwrap();
            assert!(read("out").await == expected(&spec, &[(&file, "1")]));
        },
    );
}

#[test]
fn read_that_breaks_or_stalls_in_the_middle_goes_on_where_it_was() {
    with_store(
        "objects::read_that_breaks_or_stalls_in_the_middle_goes_on_where_it_was",
        async |store| {
            let (url, text) = large(&store).await;
            let bench = Bench::new().await;
            let mut spec = bench.spec(&[&url]);
            spec.split_bytes = 64 << 20;
            let (chunks, _) = bench.plan(1, &spec).await.unwrap();
            let faults = &store.faults;
            faults.after_bytes.store(1_500_000, Ordering::Relaxed);
            faults.breaks.store(3, Ordering::Relaxed);
            faults.stalls.store(1, Ordering::Relaxed);
            faults.passed.store(0, Ordering::Relaxed);
            let outcomes = bench.map(1, &spec, &chunks).await;
            let bytes = text.len() as u64;
            assert_eq!(sum(&outcomes, counters::MAP_INPUT_BYTES), bytes);
            assert_eq!(
                faults.breaks.load(Ordering::Relaxed),
                0,
                "the faults struck"
            );
            assert_eq!(faults.stalls.load(Ordering::Relaxed), 0, "the fault struck");
            let passed = faults.passed.load(Ordering::Relaxed);
            assert!(passed < bytes + bytes / 4, "{passed} bytes for {bytes}");
        },
    );
}

#[test]
fn store_that_is_gone_is_out_of_reach_and_no_secret_is_told() {
    with_store(
        "objects::store_that_is_gone_is_out_of_reach_and_no_secret_is_told",
        async |store| {
            let (url, _) = large(&store).await;
            let bench = Bench::new().await;
            let spec = bench.spec(&[&url]);
            store.faults.breaks.store(u32::MAX, Ordering::Relaxed);
            let error = bench.plan(1, &spec).await.unwrap_err();
            let FailureCause::InputUnreachable { path, detail } = &error else {
                panic!("{error}");
            };
            assert_eq!(*path, url);
            assert!(!error.is_final());
            for secret in [SECRET, "ada", "Signature", "127.0.0.1"] {
                assert!(!detail.contains(secret), "{detail}");
            }
        },
    );
}

#[test]
fn object_that_was_replaced_since_the_plan_is_a_changed_input() {
    with_store(
        "objects::object_that_was_replaced_since_the_plan_is_a_changed_input",
        async |store| {
            let bench = Bench::new().await;
            let spec = bench.spec(&[&url("in.txt")]);
            // Of the same size, and of another.
            for (job, other) in [(1, "the dog\n"), (2, "a\n"), (3, "the cat and the dog\n")] {
                store.put("in.txt", "the cat\n").await;
                let (chunks, _) = bench.plan(job, &spec).await.unwrap();
                store.put("in.txt", other).await;
                let outcomes = bench.map(job, &spec, &chunks).await;
                let found = cause(&outcomes[0]);
                let FailureCause::InputChanged { path, .. } = found else {
                    panic!("{found}");
                };
                assert_eq!(*path, url("in.txt"));
            }
        },
    );
}

#[test]
fn what_a_job_without_a_commit_wrote_is_deleted_when_it_has_ended() {
    with_store(
        "objects::what_a_job_without_a_commit_wrote_is_deleted_when_it_has_ended",
        async |store| {
            store.put("in.txt", "the cat\n").await;
            let bench = Bench::new().await;
            let mut spec = bench.spec(&[&url("in.txt")]);
            spec.output = output(&url("out"));
            let _parts = bench.parts(1, &spec).await;
            // A killed worker's attempt; another job's; what was put there by hand.
            store.put("out/part-00007.01234567-job-1.3", "x").await;
            store.put("out/part-00000.01234567-job-2.1", "x").await;
            store.put("out/notes.txt", "x").await;
            assert_eq!(store.keys("out").await.len(), 4);
            bench.leader.change(|state| state.ended_jobs.insert(1));
            let deadline = std::time::Instant::now() + crate::leader::DEADLINE;
            while store.keys("out").await.len() > 2 {
                assert!(std::time::Instant::now() < deadline, "never deleted");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            let left = ["notes.txt", "part-00000.01234567-job-2.1"];
            assert_eq!(store.keys("out").await, left);
            // What is not ours stands in the way of an output.
            let refused = bench.plan(3, &spec).await.unwrap_err();
            assert!(
                matches!(refused, FailureCause::OutputExists { .. }),
                "{refused}"
            );
            let unfinished = bench.files(4, &[&url("out/")]).await.unwrap_err();
            assert!(
                matches!(unfinished, FailureCause::InvalidInput { .. }),
                "{unfinished}"
            );
        },
    );
}

#[test]
fn attempt_that_is_killed_in_the_middle_leaves_nothing_and_the_next_one_counts() {
    with_store(
        "objects::attempt_that_is_killed_in_the_middle_leaves_nothing_and_the_next_one_counts",
        async |store| {
            store.put("in.txt", "the cat\n").await;
            let bench = Bench::new().await;
            let mut spec = bench.spec(&[&url("in.txt")]);
            spec.output = output(&url("out"));
            let (chunks, planned) = bench.plan(1, &spec).await.unwrap();
            let outcomes = bench.map(1, &spec, &chunks).await;
            bench.locate(&outcomes);
            // The store's answer to the put never comes.
            store.faults.stalls.store(1, Ordering::Relaxed);
            let killed = crate::common::id("job-1.0.0.reduce-0.1");
            let work = Work::Reduce {
                maps: 1,
                output: None,
                broadcast: Broadcast::None,
            };
            let attempt = killed;
            bench.leader.grant(&spec, [Assignment { attempt, work }]);
            let struck = || store.faults.stalls.load(Ordering::Relaxed) == 0;
            eventually("the put stalls", struck).await;
            bench.leader.change(|state| state.kill.insert(killed));
            bench
                .leader
                .until("it stops", |state| !state.held.contains(&killed))
                .await;

            let part = bench.reduce(&spec, "job-1.0.0.reduce-0.2", 1).await;
            let committed = bench
                .commit(&spec, "job-1.0.0.commit-0.1", &[part], &planned)
                .await;
            assert_eq!(committed, Outcome::Committed);
            assert_eq!(read("out").await, b"cat\t1\nthe\t1\n");
            let winner = "part-00000.01234567-job-1.2";
            assert_eq!(
                store.keys("out").await,
                ["_SUCCESS", "_manifest.json", winner]
            );
        },
    );
}
