//! Outputs that are datasets: blocks that are reported by reduce attempts become
//! a dataset in the entry that accepts the last of them, so there is nothing to
//! commit afterwards and nothing to see before.

use std::collections::BTreeSet;

use vivat_shared::cause::{FailureCause, JobFailure};
use vivat_shared::dataset::{
    DatasetFile, DatasetSpec, REPLICAS_DEFAULT, ReplicatedBlock, Shape, part_name,
};
use vivat_shared::ids::{AttemptId, DatasetId, JobId, TaskId, TaskKind, WorkerEpoch};
use vivat_shared::job::{InputFormat, OutputLocation};

use super::rounds::resume_work;
use super::{Lost, charge_loss, end_job};
use crate::apply::Context;
use crate::command::Event;
use crate::state::{BlockTable, Dataset, FileList, Job, JobEnd, Sealed, State};

/// The name of a job's output, if that is a dataset.
pub(in crate::apply) fn output_name(job: &Job) -> Option<String> {
    match &job.spec.output {
        OutputLocation::Dataset { name: Some(name) } => Some(name.clone()),
        OutputLocation::Dataset { name: None } => Some(job.id.to_string()),
        OutputLocation::Directory { .. } | OutputLocation::Objects { .. } => None,
    }
}

/// The last partition of a job is there, and its output is a dataset: ends the job.
pub(in crate::apply) fn finish_output(context: &mut Context<'_>, id: JobId) {
    let Some(job) = context.state.job(id) else {
        return;
    };
    let Some(name) = output_name(job) else {
        return;
    };
    let Some(made) = dataset_of(context.state, job, Some(&name)) else {
        return;
    };
    let overwrite = job.spec.overwrite;
    let former = context.state.directory.named(&name).map(|known| known.id);
    if let Some(former) = former {
        if !overwrite {
            let end = JobEnd::Failed(Box::new(output_exists(job)));
            end_job(context, id, end);
            return;
        }
        context.state.directory.update(former, |known| {
            if let Some(sealed) = &mut known.sealed {
                sealed.named = false;
            }
        });
    }
    let dataset = made.id;
    context.state.directory.insert(made);
    context.events.push(Event::DatasetChanged { dataset });
    end_job(context, id, JobEnd::Succeeded);
    if let Some(former) = former {
        release_dataset(context, former);
    }
}

fn output_exists(job: &Job) -> JobFailure {
    JobFailure {
        cause: FailureCause::OutputExists {
            path: job.spec.output.display(job.id),
        },
        attempt: None,
        worker: None,
        input: None,
        failures: 0,
        output_tail: String::new(),
    }
}

/// What the current round wrote, under a name, or as a dataset of the job's own.
fn dataset_of(state: &State, job: &Job, name: Option<&str>) -> Option<Dataset> {
    let active = job.active()?;
    let output = active.output.as_ref()?;
    let mut blocks = BlockTable::default();
    for block in output.parts.values().flatten() {
        blocks.push(block);
    }
    let files: Vec<DatasetFile> = (0..)
        .zip(&active.round().outputs)
        .map(|(partition, part)| DatasetFile {
            name: part_name(partition),
            bytes: part.bytes,
            crc32c: part.crc32c,
        })
        .collect();
    let mut dataset = owned(state, job.id, output.dataset, blocks, REPLICAS_DEFAULT);
    if let Some(sealed) = &mut dataset.sealed {
        sealed.file_count = files.len() as u64;
        sealed.files = FileList::Listed(files);
        sealed.named = name.is_some();
    }
    if let Some(name) = name {
        name.clone_into(&mut dataset.spec.name);
        dataset.readers.clear();
    }
    Some(dataset)
}

/// A dataset of blocks that a job wrote and that it alone reads: without a name, and
/// gone with the job. Its blocks are one file.
pub(super) fn owned(
    state: &State,
    job: JobId,
    id: DatasetId,
    blocks: BlockTable,
    replicas: u8,
) -> Dataset {
    let bytes = blocks.bytes_before(u32::MAX);
    let file = DatasetFile {
        name: part_name(0),
        bytes,
        // Each block has a checksum of its own, and nobody reads it as a file.
        crc32c: 0,
    };
    Dataset {
        id,
        key: None,
        spec: DatasetSpec {
            name: format!("{job}.{id}"),
            format: InputFormat::Text,
            shape: Shape::Directory,
            replicas,
        },
        created_at_ms: state.now_ms,
        job: Some(job),
        sealed: Some(Sealed {
            file_count: 1,
            bytes,
            files: FileList::Listed(vec![file]),
            named: false,
        }),
        blocks,
        readers: BTreeSet::from([job]),
    }
}

/// Makes what the current round wrote a dataset of the job's own, if it wrote into
/// one.
pub(super) fn own_output(context: &mut Context<'_>, id: JobId) -> Option<DatasetId> {
    let made = dataset_of(context.state, context.state.job(id)?, None)?;
    let dataset = made.id;
    context.state.active_mut(id)?.output = None;
    context.state.directory.close_output(dataset);
    context.state.directory.insert(made);
    context.events.push(Event::DatasetChanged { dataset });
    Some(dataset)
}

/// Lets go of a dataset that was replaced, once nobody reads it.
pub(in crate::apply) fn release_dataset(context: &mut Context<'_>, dataset: DatasetId) {
    let unwanted = context.state.directory.get(dataset).is_some_and(|known| {
        known.readers.is_empty() && known.sealed.as_ref().is_some_and(|sealed| !sealed.named)
    });
    if unwanted {
        context.state.directory.remove(dataset);
        context.events.push(Event::DatasetChanged { dataset });
    }
}

/// Completed -> Idle for the reduce tasks some block of whose output nobody has,
/// of all partitions or of some.
pub(in crate::apply) fn lose_outputs(
    context: &mut Context<'_>,
    job: JobId,
    holder: WorkerEpoch,
    among: Option<&BTreeSet<u32>>,
) {
    let state = &*context.state;
    let output = state
        .job(job)
        .and_then(Job::active)
        .and_then(|active| active.output.as_ref());
    // Reduces that stay completed without their blocks: mistake 11, of outputs.
    let Some(output) = output.filter(|_| !cfg!(vivat_seeded_bug = "kept-outputs")) else {
        return;
    };
    let is_lost = |block: &ReplicatedBlock| {
        let mut workers = block.workers.iter();
        !workers.any(|worker| state.is_registered(*worker))
    };
    let lost: Vec<u32> = output
        .parts
        .iter()
        .filter(|(partition, _)| among.is_none_or(|among| among.contains(partition)))
        .filter(|(_, blocks)| blocks.iter().any(is_lost))
        .map(|(partition, _)| *partition)
        .collect();
    if lost.is_empty() {
        return;
    }
    for partition in lost {
        lose_reduce(context, job, partition, holder);
    }
    resume_work(context, job);
}

/// Completed -> Idle for a reduce task whose output is gone. Charges the loss.
fn lose_reduce(context: &mut Context<'_>, job: JobId, partition: u32, holder: WorkerEpoch) {
    let Some(active) = context.state.active_mut(job) else {
        return;
    };
    let removed = active.output.as_mut().and_then(|output| {
        let blocks = output.parts.remove(&partition)?;
        Some((output.dataset, blocks.len() as u64))
    });
    let round = active.round_mut();
    let task = TaskId {
        round: round.id,
        kind: TaskKind::Reduce,
        index: partition,
    };
    let Some(accepted) = round.reduces.accepted(partition) else {
        return;
    };
    round.reduces.lose(partition, false);
    round.outputs[partition as usize] = vivat_shared::attempt::PartOutput::default();
    let lost = Lost {
        attempt: AttemptId {
            task,
            number: accepted.number,
        },
        worker: holder,
        fate: None,
    };
    if let Some((output, blocks)) = removed {
        context.state.directory.change_output(output, 0, blocks);
    }
    if !charge_loss(context, lost) {
        context.events.push(Event::TaskIdle { task });
    }
}
