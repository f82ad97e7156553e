//! The seeds of a CI run, in one test: a run is one seed after the other, and
//! what happened in all of them is part of what is proved.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read its setting has failed"
)]

use vivat_simulation::{Evidence, describe, run};

/// Seeds of a run: about two minutes of one core. `VIVAT_SEEDS` sets
/// another number, and `VIVAT_FIRST_SEED` where they begin.
const SEEDS: u64 = 5_000;
/// Seeds that are run twice.
const REPEATED_SEEDS: u64 = 100;
/// Failures that are told before a run gives up.
const FAILURES_MAX: usize = 5;

/// Seeds that found something once, each with what it found.
const REGRESSIONS: [(u64, &str); 0] = [];

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn no_seed_breaks_an_invariant_or_leaves_a_job_without_an_end() {
    let first = setting("VIVAT_FIRST_SEED", 0);
    let seeds = first..first + setting("VIVAT_SEEDS", SEEDS);
    let mut evidence = Evidence::default();
    let mut failures = Vec::new();
    for seed in seeds.clone() {
        let run = run(seed, false);
        evidence.add(&run.evidence);
        if let Some(violation) = &run.violation {
            failures.push(describe(seed, violation));
        }
        if failures.len() == FAILURES_MAX {
            break;
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    // Few seeds may miss a rare fault; a whole run must not.
    if seeds.end - seeds.start >= SEEDS {
        let missing = evidence.missing();
        assert!(missing.is_empty(), "never happened: {missing:?}");
    }
}

#[test]
fn same_seed_gives_the_same_run_to_the_byte() {
    for seed in 0..REPEATED_SEEDS {
        let (once, again) = (run(seed, true), run(seed, true));
        assert!(!once.trace.is_empty());
        assert!(once.trace == again.trace, "seed={seed} differs from itself");
        assert_eq!(once.evidence, again.evidence, "seed={seed}");
    }
}

#[test]
fn different_seeds_give_different_runs() {
    assert!(run(1, true).trace != run(2, true).trace);
}

#[test]
fn seeds_that_found_something_once_find_it_no_more() {
    for (seed, what) in REGRESSIONS {
        let run = run(seed, false);
        if let Some(violation) = &run.violation {
            panic!("{what}\n{}", describe(seed, violation));
        }
    }
}
