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

use proptest::prelude::*;
use world::World;

/// Sequences in a run; raise it for a longer one.
const SEQUENCES: u32 = 300;
/// Steps of a sequence.
const STEPS_MAX: usize = 160;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: SEQUENCES,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_sequence_of_commands_breaks_an_invariant_or_tells_replicas_apart(
        steps in prop::collection::vec(any::<(u8, [u16; 4])>(), 1..STEPS_MAX),
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
