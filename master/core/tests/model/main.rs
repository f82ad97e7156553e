//! Random commands against the invariants, on two replicas of which one is
//! restarted from a snapshot on the way. At the end all faults stop, and every
//! job must end (L1).

#![expect(
    clippy::unwrap_used,
    reason = "a model that cannot go on is a failed test"
)]

#[path = "../script/build.rs"]
mod build;
mod world;

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use world::World;

/// Sequences in a run; raise it for a longer one.
const SEQUENCES: u32 = 300;
/// Steps of a sequence.
const STEPS_MAX: usize = 160;

/// A kind of step and the dice that say how.
type Step = (u8, [u16; 4]);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any::<Step>(), 1..STEPS_MAX)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: SEQUENCES,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_sequence_of_commands_breaks_an_invariant_or_tells_replicas_apart(
        steps in steps(),
        restart_at in 0..STEPS_MAX,
    ) {
        let mut world = World::new();
        for (at, (kind, dice)) in steps.into_iter().enumerate() {
            if at == restart_at {
                world.restart_second_replica();
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
    for _ in 0..SEQUENCES {
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
        "job cancelled",
        "job changed",
        "job failed",
        "job succeeded",
        "map completed again",
        "map restored",
        "segment suspected",
        "segments located",
        "segments lost",
        "task idle",
        "term opened",
        "too late",
        "worker expired",
        "worker registered",
    ]);
    let missing: Vec<_> = wanted.difference(&seen).collect();
    assert!(missing.is_empty(), "never reached: {missing:?}");
}
