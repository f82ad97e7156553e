//! The directory: which datasets there are, under which names, and what they
//! consist of. The maps beside `datasets` are indexes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vivat_shared::ids::{DatasetId, JobId, WorkerId};
use vivat_shared::logs::job_of_log_dataset;

use super::dataset::Dataset;
use crate::command::Rejection;
use crate::limits::{DATASETS_MAX, DIRECTORY_BLOCKS_MAX};

/// All datasets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Directory {
    /// Ids are never used twice: what has one that is not above it and is not
    /// here is gone for ever.
    last: u64,
    datasets: BTreeMap<DatasetId, Arc<Dataset>>,
    /// What jobs that have not ended write into: minted, and not there yet.
    outputs: BTreeMap<DatasetId, Output>,
    names: BTreeMap<Arc<str>, DatasetId>,
    keys: BTreeMap<Arc<str>, DatasetId>,
    open: BTreeSet<DatasetId>,
    blocks: u64,
    /// Blocks of outputs.
    pending: u64,
}

/// An output that is not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Output {
    job: JobId,
    /// Blocks of its accepted partitions.
    blocks: u64,
}

impl Directory {
    /// A dataset, open or sealed.
    #[must_use]
    pub fn get(&self, dataset: DatasetId) -> Option<&Dataset> {
        self.datasets.get(&dataset).map(Arc::as_ref)
    }

    /// The sealed dataset of a name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Dataset> {
        self.names.get(name).and_then(|dataset| self.get(*dataset))
    }

    /// The dataset that a key made.
    #[must_use]
    pub fn of_key(&self, key: &str) -> Option<&Dataset> {
        self.keys.get(key).and_then(|dataset| self.get(*dataset))
    }

    /// All datasets, in the order in which they were opened.
    pub fn iter(&self) -> impl Iterator<Item = &Dataset> {
        self.datasets.values().map(Arc::as_ref)
    }

    /// Datasets of a range of ids.
    pub(crate) fn between(
        &self,
        range: impl std::ops::RangeBounds<DatasetId>,
    ) -> impl Iterator<Item = &Dataset> {
        self.datasets
            .range(range)
            .map(|(_, dataset)| dataset.as_ref())
    }

    /// What jobs that have not ended write into.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = DatasetId> + '_ {
        self.outputs.keys().copied()
    }

    /// Those that are not sealed.
    pub fn open(&self) -> impl Iterator<Item = DatasetId> + '_ {
        self.open.iter().copied()
    }

    /// Sealed datasets by name, after the one given.
    pub fn after<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Dataset> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.names
            .range::<str, _>((Excluded(name), Unbounded))
            .filter_map(|(_, dataset)| self.get(*dataset))
    }

    /// Datasets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.datasets.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.datasets.is_empty()
    }

    /// Blocks of all datasets.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Refuses more blocks than masters have room for, outputs included.
    pub(crate) fn check_blocks(&self, more: u64) -> Result<(), Rejection> {
        if self.blocks + self.pending + more <= DIRECTORY_BLOCKS_MAX {
            return Ok(());
        }
        Err(Rejection::Limit {
            limit: format!("{DIRECTORY_BLOCKS_MAX} blocks of all datasets"),
        })
    }

    /// Refuses one dataset more than there may be, outputs included.
    pub(crate) fn check_datasets(&self) -> Result<(), Rejection> {
        if self.datasets.len() + self.outputs.len() < DATASETS_MAX {
            return Ok(());
        }
        Err(Rejection::Limit {
            limit: format!("{DATASETS_MAX} datasets"),
        })
    }

    /// The job that writes into an output that is not there yet.
    #[must_use]
    pub fn writer(&self, output: DatasetId) -> Option<JobId> {
        self.outputs.get(&output).map(|output| output.job)
    }

    /// Whether a dataset that was minted will not come back. What was never minted
    /// may be of another time.
    #[must_use]
    pub(crate) fn is_gone(&self, dataset: DatasetId) -> bool {
        dataset.0 <= self.last
            && !self.datasets.contains_key(&dataset)
            && !self.outputs.contains_key(&dataset)
    }

    pub(crate) fn mint(&mut self) -> DatasetId {
        self.last += 1;
        DatasetId(self.last)
    }

    /// Mints the output of a job.
    pub(crate) fn mint_output(&mut self, job: JobId) -> DatasetId {
        let output = self.mint();
        self.outputs.insert(output, Output { job, blocks: 0 });
        output
    }

    /// So many blocks of an output were accepted, or so many were and are not.
    pub(crate) fn change_output(&mut self, output: DatasetId, more: u64, less: u64) {
        if let Some(output) = self.outputs.get_mut(&output) {
            output.blocks = output.blocks + more - less;
            self.pending = self.pending + more - less;
        }
    }

    /// The job has ended, with or without its output.
    pub(crate) fn close_output(&mut self, output: DatasetId) {
        if let Some(output) = self.outputs.remove(&output) {
            self.pending -= output.blocks;
        }
    }

    pub(crate) fn insert(&mut self, dataset: Dataset) {
        let id = dataset.id;
        if let Some(key) = &dataset.key {
            self.keys.insert(Arc::clone(key), id);
        }
        match &dataset.sealed {
            None => {
                self.open.insert(id);
            }
            Some(sealed) if sealed.named => {
                self.names.insert(Arc::from(dataset.spec.name.as_str()), id);
            }
            Some(_) => {}
        }
        self.blocks += u64::from(dataset.blocks.len());
        self.datasets.insert(id, Arc::new(dataset));
    }

    /// Takes a dataset out, with its name and its key.
    pub(crate) fn remove(&mut self, id: DatasetId) -> Option<Arc<Dataset>> {
        let dataset = self.datasets.remove(&id)?;
        if let Some(key) = &dataset.key {
            self.keys.remove(key);
        }
        self.open.remove(&id);
        if dataset.sealed.as_ref().is_some_and(|sealed| sealed.named) {
            self.names.remove(dataset.spec.name.as_str());
        }
        self.blocks -= u64::from(dataset.blocks.len());
        Some(dataset)
    }

    /// Writes a dataset; the indexes follow.
    pub(crate) fn update<T>(
        &mut self,
        id: DatasetId,
        write: impl FnOnce(&mut Dataset) -> T,
    ) -> Option<T> {
        let dataset = Arc::make_mut(self.datasets.get_mut(&id)?);
        let before = u64::from(dataset.blocks.len());
        let was_named = dataset.sealed.as_ref().is_some_and(|sealed| sealed.named);
        let result = write(dataset);
        self.blocks = self.blocks - before + u64::from(dataset.blocks.len());
        if dataset.sealed.is_some() {
            self.open.remove(&id);
        }
        let is_named = dataset.sealed.as_ref().is_some_and(|sealed| sealed.named);
        let name = dataset.spec.name.as_str();
        match (was_named, is_named) {
            (false, true) => {
                self.names.insert(Arc::from(name), id);
            }
            (true, false) => {
                self.names.remove(name);
            }
            (true, true) | (false, false) => {}
        }
        Some(result)
    }

    /// A worker that nobody remembers any more has nothing.
    pub(crate) fn forget_worker(&mut self, worker: WorkerId) -> Vec<DatasetId> {
        let held = |dataset: &&Dataset| dataset.blocks.is_held_by(worker);
        let touched: Vec<DatasetId> = self.iter().filter(held).map(|held| held.id).collect();
        for id in &touched {
            self.update(*id, |dataset| dataset.blocks.forget(worker));
        }
        touched
    }

    /// Blocks of an output, as they are counted.
    pub(crate) fn output_blocks(&self, output: DatasetId) -> Option<u64> {
        self.outputs.get(&output).map(|output| output.blocks)
    }

    /// What the indexes should be, for the invariants.
    pub(crate) fn is_consistent(&self) -> bool {
        let mut derived = Self {
            last: self.last,
            outputs: self.outputs.clone(),
            pending: self.outputs.values().map(|output| output.blocks).sum(),
            ..Self::default()
        };
        for dataset in self.iter() {
            derived.insert(dataset.clone());
        }
        let minted = |id: &DatasetId| id.0 <= self.last || job_of_log_dataset(*id).is_some();
        derived == *self && self.datasets.keys().all(minted)
    }
}
