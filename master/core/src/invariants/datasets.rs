//! S6 and S15, for datasets: blocks have known holders, in order; who reads a
//! dataset is a job that has not ended, and finds it there; what is sealed is
//! whole and stays what it is.

use std::collections::BTreeSet;

use vivat_shared::dataset::ReplicatedBlock;
use vivat_shared::ids::{DatasetId, JobId, WorkerId};
use vivat_shared::logs::job_of_log_dataset;

use super::{Violation, ensure};
use crate::limits::{DATASETS_OPEN_MAX, VALUES_BYTES_MAX, VALUES_MAX};
use crate::state::{BlockRow, Dataset, DatasetOutput, FileList, Job, Round, Sealed, State};

pub(super) fn check(state: &State) -> Vec<Violation> {
    let datasets = state.directory.iter();
    let outputs = state.jobs().filter_map(|job| check_output(state, job));
    check_indexes(state)
        .into_iter()
        .chain(datasets.flat_map(|dataset| check_dataset(state, dataset)))
        .chain(outputs)
        .collect()
}

fn check_indexes(state: &State) -> Vec<Violation> {
    let directory = &state.directory;
    let writers: BTreeSet<(DatasetId, JobId)> = state
        .jobs()
        .filter_map(|job| Some((job.id, job.active()?)))
        .flat_map(|(id, active)| active.outputs().map(move |output| (output, id)))
        .collect();
    let written: BTreeSet<(DatasetId, JobId)> = directory
        .outputs()
        .filter_map(|output| Some((output, directory.writer(output)?)))
        .collect();
    let within = directory.check_blocks(0).is_ok()
        && directory.open().count() <= DATASETS_OPEN_MAX
        && state.values.len() <= VALUES_MAX
        && state.values.bytes() <= VALUES_BYTES_MAX;
    let checks = [
        ("index", "directory", directory.is_consistent()),
        ("index", "values", state.values.is_consistent()),
        ("index", "outputs", writers == written),
        ("S15", "readers", readers(state) == reading(state)),
        ("L8", "bounds", within),
    ];
    let broken = |(id, name, holds): &(&'static str, &str, bool)| {
        ensure(*holds, id, || format!("`{name}` of datasets and values"))
    };
    checks.iter().filter_map(broken).collect()
}

fn readers(state: &State) -> BTreeSet<(DatasetId, JobId)> {
    let of = |dataset: &'_ Dataset| {
        let id = dataset.id;
        let readers = dataset.readers.iter();
        readers.map(move |job| (id, *job)).collect::<Vec<_>>()
    };
    state.directory.iter().flat_map(of).collect()
}

fn reading(state: &State) -> BTreeSet<(DatasetId, JobId)> {
    let of = |job: &'_ Job| {
        let id = job.id;
        let read = job.reads().into_iter();
        read.map(move |dataset| (dataset, id))
    };
    state.jobs().flat_map(of).collect()
}

fn check_dataset(state: &State, dataset: &Dataset) -> Vec<Violation> {
    let id = dataset.id;
    let rows = dataset.blocks.rows();
    let rising = |a: &BlockRow, b: &BlockRow| a.index < b.index && a.end < b.end;
    let begins = rows.first().is_none_or(|row| row.end > 0);
    let held: u64 = rows.iter().map(|row| row.workers.len() as u64).sum();
    let counted: u64 = dataset
        .blocks
        .holders()
        .values()
        .map(|count| u64::from(*count))
        .sum();
    let checks = [
        ("S6", "order of blocks", begins && rows.is_sorted_by(rising)),
        (
            "S6",
            "holders",
            rows.iter().all(|row| are_known(state, &row.workers)),
        ),
        (
            "index",
            "holders",
            held == counted && holders_agree(dataset),
        ),
        (
            "S6",
            "seal",
            dataset
                .sealed
                .as_ref()
                .is_none_or(|sealed| is_whole(dataset, sealed)),
        ),
    ];
    let broken = |(property, name, holds): &(&'static str, &str, bool)| {
        ensure(*holds, property, || format!("`{name}` of {id}"))
    };
    checks.iter().filter_map(broken).collect()
}

/// In order, each once, none of them forgotten.
fn are_known(state: &State, workers: &[WorkerId]) -> bool {
    workers.is_sorted_by(|a, b| a < b)
        && workers.iter().all(|worker| state.worker(*worker).is_some())
}

fn holders_agree(dataset: &Dataset) -> bool {
    let mut holders = dataset.blocks.holders().iter();
    holders.all(|(worker, count)| {
        let rows = dataset.blocks.rows().iter();
        let held = rows.filter(|row| row.workers.contains(worker)).count();
        held == *count as usize && held > 0
    })
}

fn is_whole(dataset: &Dataset, sealed: &Sealed) -> bool {
    let blocks = dataset.blocks.len();
    let data = blocks.checked_sub(dataset.list_blocks());
    let listed = match &sealed.files {
        FileList::Listed(files) => {
            let bytes: u64 = files.iter().map(|file| file.bytes).sum();
            bytes == sealed.bytes && files.len() as u64 == sealed.file_count
        }
        FileList::InBlocks(blocks) => *blocks > 0,
    };
    let wanted = sealed.named || !dataset.readers.is_empty();
    listed && wanted && data.map(|data| dataset.blocks.bytes_before(data)) == Some(sealed.bytes)
}

/// An output has the blocks of exactly the accepted partitions, and each block
/// can be read.
fn check_output(state: &State, job: &Job) -> Option<Violation> {
    let active = job.active()?;
    let output = active.output.as_ref()?;
    let blocks: u64 = output.parts.values().map(|part| part.len() as u64).sum();
    let counted = state.directory.output_blocks(output.dataset) == Some(blocks);
    let held = output
        .parts
        .values()
        .flatten()
        .all(|block| is_held(state, block));
    ensure(
        counted && held && parts_agree(output, active.round()),
        "S6",
        || format!("output of {}: {output:?}", job.id),
    )
}

fn is_held(state: &State, block: &ReplicatedBlock) -> bool {
    let workers = &block.workers;
    are_known(state, workers) && workers.iter().any(|worker| state.is_registered(*worker))
}

fn parts_agree(output: &DatasetOutput, round: &Round) -> bool {
    let accepted: Vec<u32> = (0..round.reduces.len())
        .filter(|partition| round.reduces.accepted(*partition).is_some())
        .collect();
    output.parts.keys().copied().eq(accepted)
}

/// What is in the directory stays what it is, and what a job reads stays.
pub(super) fn check_step(before: &State, after: &State) -> Vec<Violation> {
    before
        .directory
        .iter()
        .filter_map(|old| check_change(old, after))
        .collect()
}

fn check_change(old: &Dataset, after: &State) -> Option<Violation> {
    let Some(new) = after.directory.get(old.id) else {
        let read = |job: &&JobId| {
            let job = after.job(**job);
            job.is_some_and(|job| job.reads().contains(&old.id))
        };
        let reader = old.readers.iter().find(read)?;
        let detail = format!("{} vanished while {reader} reads it", old.id);
        return Some(Violation { id: "S15", detail });
    };
    if job_of_log_dataset(old.id).is_some() {
        // It grows with every log.
        return None;
    }
    let same_block =
        |(a, b): (&BlockRow, &BlockRow)| (a.index, a.end, a.crc32c) == (b.index, b.end, b.crc32c);
    let rows = || old.blocks.rows().iter().zip(new.blocks.rows());
    let grown = old.blocks.len() <= new.blocks.len() && rows().all(same_block);
    let sealed = match (&old.sealed, &new.sealed) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(old_seal), Some(new_seal)) => {
            old.blocks.len() == new.blocks.len()
                && (&old_seal.files, old_seal.bytes) == (&new_seal.files, new_seal.bytes)
                && (old_seal.named || !new_seal.named)
        }
    };
    ensure(grown && sealed && old.spec == new.spec, "S14", || {
        format!("{} is not what it was", old.id)
    })
}
