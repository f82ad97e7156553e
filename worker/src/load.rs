//! `--load-probability`: to behave as a machine that others use as well.
//!
//! Whether an attempt is struck depends on its id alone, so a run can be repeated
//! with the same strikes, and the next attempt of its task is struck or not on its
//! own account.

use std::time::Duration;

use vivat_shared::ids::{AttemptId, TaskKind};
use vivat_shared::job::Policy;

/// By how much an attempt is delayed.
pub(crate) const DELAY: Duration = Duration::from_secs(3);
/// Later attempts of a task are not handed back: a busy worker alone would hand
/// back for ever.
const HANDED_BACK_MAX: u16 = 8;

/// How busy the machine is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Load {
    probability: f64,
}

impl Load {
    /// With a probability, 0 to 1; 0 is an ordinary machine.
    pub(crate) fn new(probability: f64) -> Self {
        Self { probability }
    }

    /// Whether an attempt is delayed by [`DELAY`].
    pub(crate) fn delays(self, attempt: AttemptId) -> bool {
        !attempt.task.kind.is_control() && self.strikes(attempt, 1)
    }

    /// Whether an attempt is handed back, which only the policy that looks at loads
    /// is prepared for.
    pub(crate) fn hands_back(self, attempt: AttemptId, policy: Policy) -> bool {
        policy == Policy::LeastLoaded
            && !attempt.task.kind.is_control()
            && attempt.number <= HANDED_BACK_MAX
            && self.strikes(attempt, 2)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a fraction of 53 bits is exact, and so is its share of all"
    )]
    fn strikes(self, attempt: AttemptId, salt: u64) -> bool {
        let fraction = mixed(attempt, salt) >> 11;
        (fraction as f64) < self.probability * (1_u64 << 53) as f64
    }
}

/// All bits of an id over all bits of a number: the steps of SplitMix64.
fn mixed(attempt: AttemptId, salt: u64) -> u64 {
    let AttemptId { task, number } = attempt;
    let kind = match task.kind {
        TaskKind::Plan => 0,
        TaskKind::Map => 1,
        TaskKind::Reduce => 2,
        TaskKind::Close => 3,
        TaskKind::Commit => 4,
        TaskKind::Notify => 5,
    };
    let parts = [
        salt,
        task.round.job.0,
        u64::from(task.round.step),
        u64::from(task.round.round),
        kind,
        u64::from(task.index),
        u64::from(number),
    ];
    parts.into_iter().fold(0, |hash: u64, part| {
        let mut bits = (hash ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    })
}

#[cfg(test)]
mod tests {
    use vivat_shared::ids::{JobId, RoundId, TaskId};

    use super::*;

    fn attempt(kind: TaskKind, index: u32, number: u16) -> AttemptId {
        let round = RoundId {
            job: JobId(7),
            step: 0,
            round: 0,
        };
        AttemptId {
            task: TaskId { round, kind, index },
            number,
        }
    }

    #[test]
    fn a_third_of_the_attempts_is_struck_with_a_probability_of_a_third() {
        let load = Load::new(1.0 / 3.0);
        let all = (0..3_000).map(|index| attempt(TaskKind::Map, index, 1));
        let struck = all.clone().filter(|it| load.delays(*it)).count();
        assert!((900..1_100).contains(&struck), "{struck}");
        let again = all.filter(|it| load.delays(*it)).count();
        assert_eq!(struck, again);
    }

    #[test]
    fn only_least_loaded_jobs_are_handed_back_and_not_for_ever() {
        let load = Load::new(1.0);
        let map = |number| attempt(TaskKind::Map, 0, number);
        assert!(load.hands_back(map(1), Policy::LeastLoaded));
        assert!(!load.hands_back(map(1), Policy::Locality));
        assert!(!load.hands_back(map(9), Policy::LeastLoaded));
        assert!(!Load::default().hands_back(map(1), Policy::LeastLoaded));
    }

    #[test]
    fn plans_and_commits_are_left_alone() {
        let load = Load::new(1.0);
        for kind in [TaskKind::Plan, TaskKind::Close, TaskKind::Commit] {
            assert!(!load.delays(attempt(kind, 0, 1)));
            assert!(!load.hands_back(attempt(kind, 0, 1), Policy::LeastLoaded));
        }
        assert!(load.delays(attempt(TaskKind::Reduce, 0, 1)));
    }
}
