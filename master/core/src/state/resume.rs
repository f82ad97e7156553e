//! What a job that failed or was cancelled is retried from.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vivat_shared::attempt::{Counters, OutputIdentity};
use vivat_shared::ids::{AttemptId, DatasetId, RoundId};

use super::job::{Active, HandedOn, Phase};
use super::round::Plan;
use super::tasks::TaskTable;
use super::{Round, column::ByteColumn};

/// Sums over all that was accepted before the current round.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SumsBefore {
    /// Counters.
    pub counters: Counters,
    /// Records that were skipped.
    pub skipped_records: u64,
}

/// What is left for a retry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The round that did not end.
    pub round: RoundId,
    /// The datasets that the job's inputs name, in their order: it reads them again,
    /// if they are still there.
    pub datasets: Vec<DatasetId>,
    /// Of its side files.
    pub side_datasets: Vec<DatasetId>,
    /// What the round read beside its input.
    pub handed_on: HandedOn,
    /// What the step before wrote, if the round's step reads it.
    pub previous: Option<DatasetId>,
    /// What the first plan found at the output.
    pub replaces: Option<OutputIdentity>,
    /// What had been accepted when the round began.
    pub before: SumsBefore,
    /// Where a commit goes on that copies what the last round wrote.
    pub commit: Option<Box<Active>>,
    /// Whether what the job had written for itself was let go.
    pub let_go: bool,
    /// A commit attempt of which nobody knows what it did.
    pub unsettled: Option<AttemptId>,
}

impl Resume {
    /// Of a job that ends now, without a result.
    pub(crate) fn of(
        active: &Active,
        given: (&[DatasetId], &[DatasetId]),
        unsettled: Option<AttemptId>,
    ) -> Self {
        let copies = active.phase == Phase::Commit && active.written.is_some();
        Self {
            round: active.round().id,
            datasets: given.0.to_vec(),
            side_datasets: given.1.to_vec(),
            handed_on: active.handed_on.clone(),
            previous: active.previous,
            replaces: active.replaces.clone(),
            before: active.before.clone(),
            commit: copies.then(|| Box::new(stripped(active))),
            let_go: false,
            unsettled,
        }
    }

    /// Datasets of the job's own that are kept for a retry.
    pub(crate) fn owned(&self) -> BTreeSet<DatasetId> {
        let stored = match self.handed_on {
            HandedOn::Stored(dataset) => Some(dataset),
            HandedOn::Nothing | HandedOn::Inline(_) => None,
        };
        let written = self.commit.as_ref().and_then(|active| active.written);
        let owned = [self.previous, stored, written].into_iter().flatten();
        owned.filter(|_| !self.let_go).collect()
    }
}

/// What a commit needs of its job: not the maps, of which there may be a million.
fn stripped(active: &Active) -> Active {
    let mut kept = active.clone();
    kept.running = 0;
    kept.mishaps.clear();
    let round = kept.round_mut();
    let Round {
        plan, maps, sizes, ..
    } = round;
    *plan = Some(Arc::new(Plan::default()));
    *maps = TaskTable::default();
    *sizes = ByteColumn::default();
    round.planning = TaskTable::new(1, 0);
    round.close = TaskTable::new(1, 0);
    round.suspicions.clear();
    round.preferred.clear();
    kept
}
