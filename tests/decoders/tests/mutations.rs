//! The corpus and thousands of random changes of it, through every decoder.
//!
//! The same seed gives the same inputs. `VIVAT_MUTATIONS` sets how many are
//! made for each target. What fails is written to a file, and its name belongs
//! into `fuzz/corpus` beside the fix.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use vivat_decoders::{Mutator, TARGETS, Target, value_name};

const MUTATIONS: u32 = 3_000;
const SEED: u64 = 7;
/// For one input, on a machine that does other things too.
const TIME_MAX: Duration = Duration::from_secs(5);
const CORPUS_BYTES_MAX: u64 = 1024 * 1024;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

/// Inputs of a target, each with the name of its file.
fn inputs(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = corpus().join(target.name);
    let entries = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}; see docs/testing.md", folder.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a folder of files").path())
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let bytes = fs::read(&path).expect("a file of the corpus");
            (path, bytes)
        })
        .collect()
}

/// Checks one input; keeps it when it fails.
fn check(target: &Target, name: &str, bytes: &[u8]) {
    let began = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| target.check(bytes)));
    let took = began.elapsed();
    if outcome.is_ok() && took <= TIME_MAX {
        return;
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", target.name));
    fs::write(&path, bytes).expect("the build's folder takes a small file");
    panic!(
        "{}: {name} fails after {took:?}; its bytes are in {}",
        target.name,
        path.display()
    );
}

/// S7, S13 and the bounds of every format: no bytes end a process.
#[test]
fn no_bytes_make_a_decoder_panic_or_take_memory_without_bound() {
    let mutations: u32 = env::var("VIVAT_MUTATIONS")
        .ok()
        .map_or(MUTATIONS, |text| text.parse().expect("a number"));
    for target in &TARGETS {
        let inputs = inputs(target);
        for (path, bytes) in &inputs {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            check(target, &name, bytes);
        }
        for (position, bytes) in (target.values)().iter().enumerate() {
            check(target, &value_name(position), bytes);
        }
        let kept = inputs.into_iter().map(|(_, bytes)| bytes);
        // Those of today too: a format may have changed since they were kept.
        let corpus: Vec<Vec<u8>> = kept.chain((target.values)()).collect();
        let mut mutator = Mutator::new(SEED, &corpus);
        for number in 0..mutations {
            check(target, &format!("mutation-{number}"), &mutator.next_input());
        }
    }
}

#[test]
fn corpus_is_small_and_has_a_fuzz_target_for_every_folder() {
    let mut bytes = 0;
    for target in &TARGETS {
        let source = corpus().join(format!("../fuzz_targets/{}.rs", target.name));
        let text = fs::read_to_string(&source).unwrap_or_default();
        assert!(text.contains(target.name), "{}", source.display());
        let first = corpus().join(target.name).join(value_name(0));
        assert!(first.is_file(), "{}: see docs/testing.md", first.display());
        bytes += inputs(target)
            .iter()
            .map(|(_, bytes)| bytes.len() as u64)
            .sum::<u64>();
    }
    assert!(bytes < CORPUS_BYTES_MAX, "{bytes} bytes");
    let folders = fs::read_dir(corpus()).expect("the corpus").count();
    assert_eq!(folders, TARGETS.len());
}
