//! What is to be told to the leader of blocks that got lost, and what it told to
//! delete.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use vivat_shared::ids::{BlockId, DatasetId};
use vivat_shared::limits::BLOCKS_LISTED_MAX;
use vivat_store::{DamagedBlock, Deletion, Store, Usage};

use super::Blocks;

/// Datasets that one heartbeat asks about.
const DATASETS_ASKED_MAX: usize = 256;
/// How often the store's findings are looked at, beside those of our own reads:
/// it has no way to wake a task.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Upkeep {
    damaged: Mutex<Receiver<DamagedBlock>>,
    told: Mutex<Told>,
    lost_added: Notify,
    doomed_added: Notify,
}

#[derive(Debug, Default)]
struct Told {
    /// Copies that are lost, until a leader knows.
    lost: BTreeSet<BlockId>,
    /// Blocks and datasets to be deleted.
    blocks: BTreeSet<BlockId>,
    datasets: BTreeSet<DatasetId>,
    /// The last dataset that was asked about.
    asked: Option<DatasetId>,
}

impl Upkeep {
    pub(super) fn new(damaged: Receiver<DamagedBlock>) -> Self {
        Self {
            damaged: Mutex::new(damaged),
            told: Mutex::default(),
            lost_added: Notify::new(),
            doomed_added: Notify::new(),
        }
    }

    /// Takes over what the store found out.
    pub(super) fn look_for_damage(&self) {
        let found: Vec<DamagedBlock> = {
            // Nothing panics under this lock.
            let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
            damaged.try_iter().collect()
        };
        for DamagedBlock { id, damage } in found {
            tracing::warn!(block = %id, damage = %damage, "a copy is damaged; dropped");
            self.add_lost(id);
        }
    }

    /// The directory believes it to be here, and it is not.
    pub(super) fn add_lost(&self, id: BlockId) {
        self.lock().lost.insert(id);
        self.lost_added.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        // Sets are whole at every point where a panic could happen.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blocks {
    /// How much of the budget is used. A store that takes nothing any more has
    /// no room, whatever its budget was.
    pub(crate) fn usage(&self) -> Usage {
        let usage = self.store().usage();
        let stopped = self.store().is_stopped();
        let budget = if stopped { usage.used } else { usage.budget };
        Usage { budget, ..usage }
    }

    /// Waits until copies are lost that no leader knows of, and tells some.
    pub(crate) async fn lost(&self) -> Vec<BlockId> {
        let upkeep = self.upkeep();
        loop {
            upkeep.look_for_damage();
            let lost: Vec<BlockId> = {
                let mut told = upkeep.lock();
                // What was copied here again meanwhile is not lost.
                told.lost.retain(|id| self.store().summary(*id).is_none());
                told.lost.iter().copied().take(BLOCKS_LISTED_MAX).collect()
            };
            if !lost.is_empty() {
                return lost;
            }
            tokio::select! {
                () = upkeep.lost_added.notified() => {}
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    /// A leader knows of these.
    pub(crate) fn forget_lost(&self, known: &[BlockId]) {
        let mut told = self.upkeep().lock();
        for id in known {
            told.lost.remove(id);
        }
    }

    /// Some of the datasets that have blocks here: over several calls all.
    pub(crate) fn some_datasets(&self) -> Vec<u64> {
        let mut told = self.upkeep().lock();
        let mut found = self.store().datasets(told.asked, DATASETS_ASKED_MAX);
        if found.len() < DATASETS_ASKED_MAX {
            let rest = DATASETS_ASKED_MAX - found.len();
            let first = self.store().datasets(None, rest);
            // From the first one again, up to where this call began.
            let unasked = |id: &DatasetId| told.asked.is_some_and(|asked| *id <= asked);
            found.extend(first.into_iter().take_while(unasked));
        }
        told.asked = found.last().copied();
        found.into_iter().map(|dataset| dataset.0).collect()
    }

    /// The leader wants these copies deleted. Those that are held stay: they are
    /// in the next report, and it may judge anew.
    pub(crate) fn remove(&self, ids: impl IntoIterator<Item = BlockId>) {
        self.upkeep().lock().blocks.extend(ids);
        self.upkeep().doomed_added.notify_one();
    }

    /// These datasets are gone, and their blocks may go. Those that are held stay
    /// until a later heartbeat asks about them.
    pub(crate) fn forget(&self, datasets: impl IntoIterator<Item = DatasetId>) {
        self.upkeep().lock().datasets.extend(datasets);
        self.upkeep().doomed_added.notify_one();
    }

    /// Deletes what is to be deleted, for as long as the worker lives.
    pub(crate) async fn delete_doomed(&self) -> Infallible {
        loop {
            let doomed = {
                let mut told = self.upkeep().lock();
                (
                    std::mem::take(&mut told.blocks),
                    std::mem::take(&mut told.datasets),
                )
            };
            let (blocks, datasets) = doomed;
            if blocks.is_empty() && datasets.is_empty() {
                self.upkeep().doomed_added.notified().await;
                continue;
            }
            let store = self.store().clone();
            let delete = move || {
                let blocks: Vec<BlockId> = blocks.into_iter().collect();
                delete(&store, &blocks);
                for dataset in datasets {
                    delete_dataset(&store, dataset);
                }
            };
            if self.threads().run(delete).await.is_err() {
                tracing::error!("deleting blocks panicked");
            }
        }
    }
}

fn delete_dataset(store: &Store, dataset: DatasetId) {
    let mut after = (dataset.0.checked_sub(1)).map(|before| BlockId {
        dataset: DatasetId(before),
        index: u64::MAX,
    });
    loop {
        let page = store.list(after, BLOCKS_LISTED_MAX);
        let of_it = page.iter().map(|summary| summary.id);
        let ids: Vec<BlockId> = of_it.take_while(|id| id.dataset == dataset).collect();
        let Some(last) = ids.last() else {
            return;
        };
        after = Some(*last);
        delete(store, &ids);
    }
}

fn delete(store: &Store, ids: &[BlockId]) {
    match store.delete(ids) {
        Ok(answers) => {
            for (block, deletion) in answers {
                match deletion {
                    Deletion::Deleted => tracing::debug!(%block, "block deleted"),
                    Deletion::NotHere => {}
                    Deletion::Pinned => tracing::debug!(%block, "block is held; deleted later"),
                }
            }
        }
        // The next report or heartbeat leads to the same order.
        Err(error) => tracing::warn!(error = %error, "cannot delete blocks"),
    }
}
