//! What a node does beside answering: watches its core and its disk, purges
//! its log, and compares its state with its peers'.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{RaftMetrics, ServerState};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use vivat_core::HashPoint;
use vivat_shared::ids::NodeId;

use super::api::{FatalReason, Leadership};
use super::handle::Inner;
use super::settings::RaftLimits;
use super::types::TypeConfig;
use crate::identity::Stage;
use crate::storage::{LogStore, StorageError};

/// Between two comparisons with the peers.
const COMPARE_EVERY: Duration = Duration::from_secs(1);
/// For a peer's answer.
const COMPARE_DEADLINE: Duration = Duration::from_millis(500);
/// Others that must agree against us.
const WITNESSES_MIN: usize = 2;

/// Follows the core: who leads, whether it lives, and what to purge. Ends with
/// the core.
pub async fn watch_core(inner: Arc<Inner>, store: Arc<dyn LogStore>) {
    let mut metrics = inner.raft.metrics();
    let mut asked = 0;
    loop {
        let now = metrics.borrow_and_update().clone();
        inner.leadership.send_if_modified(|last| {
            let next = leadership(&now);
            let changed = *last != next;
            *last = next;
            changed
        });
        if let Err(error) = &now.running_state {
            report_core(&inner, &*store, error.to_string());
            return;
        }
        note_membership(&inner, &now).await;
        if let Some(upto) = due_purge(&inner.limits, &*store, &now, asked) {
            asked = upto;
            // An error means that the core has stopped, which is seen below.
            let _ = inner.raft.trigger().purge_log(upto).await;
        }
        if metrics.changed().await.is_err() {
            report_core(&inner, &*store, "it ended without a word".to_owned());
            return;
        }
    }
}

fn report_core(inner: &Inner, store: &dyn LogStore, problem: String) {
    inner.leadership.send_modify(|last| last.is_leader = false);
    // A core that died of its disk says less of it than the disk does.
    let reason = match store.failure().borrow().clone() {
        Some(error) => FatalReason::Storage(error),
        None => FatalReason::Core { problem },
    };
    inner.report_fatal(reason);
}

fn leadership(metrics: &RaftMetrics<TypeConfig>) -> Leadership {
    let running = metrics.running_state.is_ok();
    Leadership {
        term: metrics.current_term,
        leader: metrics.current_leader.map(NodeId),
        is_leader: running
            && metrics.state == ServerState::Leader
            && metrics.current_leader == Some(metrics.id),
    }
}

/// From the first entry on, an empty log means a lost disk.
async fn note_membership(inner: &Inner, metrics: &RaftMetrics<TypeConfig>) {
    if metrics.last_log_index.is_none() && metrics.current_term == 0 {
        return;
    }
    inner.local.set_initialized();
    let Some(mut identity) = inner.local.identity() else {
        return;
    };
    if identity.stage != Stage::Member {
        identity.stage = Stage::Member;
        // The stage is a guard, and the next start writes it again.
        if let Err(error) = inner.local.save(identity).await {
            tracing::warn!(error = %error, "cannot note the membership");
        }
    }
}

/// How far to purge now: what is applied and in a snapshot, but for the margin.
///
/// A purge that overtakes a queued apply stops openraft's core, so the margin
/// is never below twice what can be in flight. A purge that was `asked` for is
/// not asked for again: openraft keeps it until no follower is being sent those
/// entries, and says so with new metrics every time it is told.
fn due_purge(
    limits: &RaftLimits,
    store: &dyn LogStore,
    metrics: &RaftMetrics<TypeConfig>,
    asked: u64,
) -> Option<u64> {
    let (snapshot, applied) = (metrics.snapshot?, metrics.last_applied?);
    let purged = metrics.purged.map_or(0, |purged| purged.index);
    // Between two snapshots there is nothing new to purge.
    if snapshot.index <= purged {
        return None;
    }
    let keep_from = store.keep_from(
        limits.log_margin_entries,
        limits.log_margin_bytes,
        limits.kept_entries_min(),
    );
    let upto = keep_from
        .saturating_sub(1)
        .min(snapshot.index)
        .min(applied.index);
    // In batches: each purge is a write of its own.
    (upto > asked && upto >= purged + limits.purge_batch_entries()).then_some(upto)
}

/// Follows the disk: its first error ends the replica.
pub fn watch_disk(inner: Arc<Inner>, store: &dyn LogStore) -> impl Future<Output = ()> + use<> {
    let failure = store.failure();
    report_disk(inner, failure)
}

async fn report_disk(inner: Arc<Inner>, mut failure: watch::Receiver<Option<Arc<StorageError>>>) {
    if let Ok(found) = failure.wait_for(Option::is_some).await {
        let error = found.clone();
        drop(found);
        if let Some(error) = error {
            inner.report_fatal(FatalReason::Storage(error));
        }
    }
}

/// Follows the state machine: a panic in `apply` ends the replica, at once.
pub async fn watch_machine(inner: Arc<Inner>) {
    let mut panicked = inner.shared.panicked();
    if panicked.wait_for(|panicked| *panicked).await.is_ok() {
        inner.report_fatal(FatalReason::Core {
            problem: "apply panicked".to_owned(),
        });
    }
}

/// Compares the chained hash with the peers', for ever.
pub async fn compare_hashes(inner: Arc<Inner>) {
    let mut ticks = tokio::time::interval(COMPARE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !inner.stopping.load(Ordering::Acquire) {
        ticks.tick().await;
        let calls = inner.peers.others().into_iter().map(|seat| {
            let inner = Arc::clone(&inner);
            async move { inner.peers.describe(seat, COMPARE_DEADLINE).await.ok() }
        });
        let answers = futures_util::future::join_all(calls).await;
        let cluster_id = inner.identity.cluster_id;
        let theirs: Vec<Vec<HashPoint>> = answers
            .into_iter()
            .flatten()
            .filter(|answer| {
                answer
                    .membership
                    .is_some_and(|(cluster, _)| cluster == cluster_id)
            })
            .filter_map(|answer| Some(answer.raft?.hash_points))
            .collect();
        if let Some(reason) = divergence(&inner.shared.hash_points(), &theirs) {
            inner.report_fatal(reason);
            return;
        }
    }
}

/// The first index at which two others agree with each other and not with us.
fn divergence(ours: &[HashPoint], theirs: &[Vec<HashPoint>]) -> Option<FatalReason> {
    let mut votes: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    for point in theirs.iter().flatten() {
        *votes.entry((point.index, point.hash)).or_default() += 1;
    }
    ours.iter().find_map(|point| {
        let against = votes.iter().find(|((index, hash), witnesses)| {
            *index == point.index && *hash != point.hash && **witnesses >= WITNESSES_MIN
        });
        against.map(|((index, hash), _)| FatalReason::Diverged {
            index: *index,
            ours: point.hash,
            theirs: *hash,
        })
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::types::{LogId, committed_leader};
    use super::*;
    use crate::storage::memory_log::SyncMode;
    use crate::storage::{MemoryLog, Record};

    fn points(pairs: &[(u64, u64)]) -> Vec<HashPoint> {
        let points = pairs.iter().map(|(index, hash)| HashPoint {
            index: *index,
            hash: *hash,
        });
        points.collect()
    }

    #[test]
    fn two_that_agree_against_us_at_one_index_are_a_divergence() {
        let ours = points(&[(64, 1), (128, 2)]);
        let theirs = [points(&[(64, 1), (128, 3)]), points(&[(128, 3), (192, 4)])];
        assert!(matches!(
            divergence(&ours, &theirs),
            Some(FatalReason::Diverged {
                index: 128,
                ours: 2,
                theirs: 3
            })
        ));
    }

    fn log_id(index: u64) -> LogId {
        LogId::new(committed_leader(1), index)
    }

    /// Seed 1 of the whole-system simulation: a leader whose follower was cut
    /// off asked for the same purge for ever, at the speed of its core.
    #[test]
    fn purge_that_has_to_wait_for_a_follower_is_asked_for_once() {
        let store = MemoryLog::new(SyncMode::AtOnce);
        let record = |index| Record {
            index,
            bytes: Bytes::from_static(b"entry"),
        };
        store.append((1..=1_000).map(record).collect(), Box::new(|_| {}));
        let limits = RaftLimits {
            in_flight_max: 10,
            snapshot_interval_entries: 50,
            log_margin_entries: 20,
            ..RaftLimits::default()
        };
        let mut metrics = RaftMetrics::new_initial(1);
        metrics.last_applied = Some(log_id(1_000));
        metrics.snapshot = Some(log_id(900));
        assert_eq!(due_purge(&limits, &store, &metrics, 0), Some(900));
        assert_eq!(due_purge(&limits, &store, &metrics, 900), None);
        metrics.snapshot = Some(log_id(960));
        assert_eq!(due_purge(&limits, &store, &metrics, 900), Some(960));
    }

    #[test]
    fn one_witness_two_disagreeing_ones_or_other_indexes_are_none() {
        let ours = points(&[(64, 1)]);
        assert!(divergence(&ours, &[points(&[(64, 2)])]).is_none());
        let disagreeing = [points(&[(64, 2)]), points(&[(64, 3)])];
        assert!(divergence(&ours, &disagreeing).is_none());
        let elsewhere = [points(&[(128, 2)]), points(&[(128, 2)])];
        assert!(divergence(&ours, &elsewhere).is_none());
    }
}
