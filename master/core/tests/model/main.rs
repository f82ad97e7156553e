//! Random commands against the invariants, on three replicas that are restarted
//! from snapshots on the way. At the end all faults stop, and every job must end
//! (L1).

#![expect(
    clippy::unwrap_used,
    reason = "a model that cannot go on is a failed test"
)]

#[path = "../script/build.rs"]
mod build;
mod data;
mod outcomes;
mod world;

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use world::{REPLICAS, World};

/// Sequences in a run; `VIVAT_SEQUENCES` sets another number.
const SEQUENCES: u32 = 20_000;
/// Sequences that must reach everything there is to reach.
const REACHING_SEQUENCES: u32 = 500;
/// Steps of a sequence; most of them are a command, some are several.
const STEPS: usize = 200;
/// Restarts of replicas in a sequence, at most.
const RESTARTS_MAX: usize = 6;
/// Times that a failing sequence is tried with less of it.
const SHRINKS_MAX: u32 = 20_000;

/// A kind of step and the dice that say how.
type Step = (u8, [u16; 4]);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any::<Step>(), STEPS)
}

/// Before which step, and which replica.
fn restarts() -> impl Strategy<Value = Vec<(usize, usize)>> {
    prop::collection::vec((0..STEPS, 0..REPLICAS), 0..RESTARTS_MAX)
}

fn sequences() -> u32 {
    std::env::var("VIVAT_SEQUENCES").map_or(SEQUENCES, |text| text.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: sequences(),
        failure_persistence: None,
        max_shrink_iters: SHRINKS_MAX,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_sequence_of_commands_breaks_an_invariant_or_tells_replicas_apart(
        steps in steps(),
        restarts in restarts(),
    ) {
        let mut world = World::new();
        for (at, (kind, dice)) in steps.into_iter().enumerate() {
            for (_, replica) in restarts.iter().filter(|(before, _)| *before == at) {
                world.restart_replica(*replica);
            }
            world.step(kind, dice);
        }
        world.heal();
    }
}

/// A model that reaches little proves little.
#[test]
fn random_sequences_reach_every_kind_of_event_and_every_end() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for _ in 0..REACHING_SEQUENCES {
        let mut world = World::new();
        for (kind, dice) in steps().new_tree(&mut runner).unwrap().current() {
            world.step(kind, dice);
        }
        seen.append(&mut world.seen);
    }
    let wanted = BTreeSet::from([
        "attempt finished",
        "attempt granted",
        "attempt revoked",
        "backup granted",
        "backup race decided",
        "broadcast stored",
        "dataset changed",
        "dataset gone",
        "dataset in use",
        "dataset sealed",
        "job cancelled",
        "job changed",
        "job failed",
        "job succeeded",
        "map completed again",
        "map restored",
        "output lost",
        "output visible",
        "read dataset replaced",
        "round closed",
        "round repeated",
        "segment suspected",
        "segments located",
        "segments lost",
        "step passed",
        "task idle",
        "term opened",
        "too late",
        "worker expired",
        "worker registered",
    ]);
    let missing: Vec<_> = wanted.difference(&seen).collect();
    assert!(missing.is_empty(), "never reached: {missing:?}");
}
