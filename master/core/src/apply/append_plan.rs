//! `AppendPlan`: chunks belong to the attempt that sends them until its sealing
//! entry makes them the plan. A repeated chunk is accepted once.

use vivat_shared::attempt::{InputFile, InputOrigin, PlanChunk, SplitRange};
use vivat_shared::ids::{AttemptId, JobId, TaskKind, WorkerEpoch};
use vivat_shared::limits::{
    CSV_HEADER_BYTES_MAX, INPUT_FILES_MAX, PATH_BYTES_MAX, PLAN_CHUNK_BYTES_MAX, SPLITS_MAX,
};
use vivat_shared::plan::checksum;

use super::Context;
use crate::command::{Rejection, Reply};
use crate::limits::PLAN_NAME_BYTES_MAX;
use crate::state::{PlanDraft, State};

pub(super) fn apply(
    context: &mut Context<'_>,
    attempt: AttemptId,
    worker: WorkerEpoch,
    chunk: u32,
    content: &PlanChunk,
) -> Result<Reply, Rejection> {
    context.state.check_live(attempt, worker)?;
    if attempt.task.kind != TaskKind::Plan {
        return Err(Rejection::StaleAttempt { attempt });
    }
    check_origins(context.state, attempt.job(), content)
        .map_err(|problem| Rejection::InvalidPlan { attempt, problem })?;
    let active = context
        .state
        .active_mut(attempt.job())
        .ok_or(Rejection::StaleAttempt { attempt })?;
    let draft = active.round_mut().drafts.entry(attempt.number).or_default();
    append(draft, chunk, content).map_err(|problem| Rejection::InvalidPlan { attempt, problem })?;
    Ok(Reply::Done)
}

/// A file of a dataset is one that the job reads, and lies in it.
fn check_origins(state: &State, job: JobId, content: &PlanChunk) -> Result<(), String> {
    for file in &content.files {
        let (dataset, start) = match file.origin {
            InputOrigin::Dataset { dataset, start } => (dataset, start),
            InputOrigin::FileSystem { .. } | InputOrigin::Remote { .. } => continue,
        };
        let known = state.directory().get(dataset);
        let sealed = known
            .filter(|known| known.readers.contains(&job))
            .and_then(|known| known.sealed.as_ref())
            .ok_or_else(|| format!("a file of {dataset}, which the job does not read"))?;
        let end = start.checked_add(file.bytes);
        if end.is_none_or(|end| end > sealed.bytes) {
            return Err(format!("a file past the end of {dataset}"));
        }
    }
    Ok(())
}

fn append(draft: &mut PlanDraft, chunk: u32, content: &PlanChunk) -> Result<(), String> {
    let mut alone = 0;
    let bytes = checksum(&mut alone, content);
    if bytes > PLAN_CHUNK_BYTES_MAX {
        return Err(format!(
            "chunk {chunk} has {bytes} bytes, at most {PLAN_CHUNK_BYTES_MAX} are taken"
        ));
    }
    let next = draft.chunks.len();
    if let Some(known) = draft.chunks.get(chunk as usize) {
        if *known == alone {
            return Ok(());
        }
        return Err(format!("chunk {chunk} came again with other content"));
    }
    if chunk as usize != next {
        return Err(format!("chunk {chunk} came before chunk {next}"));
    }
    check_counts(draft, content)?;
    let name_bytes = check_names(draft, content)?;
    let input_bytes = check_splits(draft, content)?;
    let mut running = draft.crc32c;
    checksum(&mut running, content);
    draft.crc32c = running;
    draft.chunks.push(alone);
    draft.input_bytes = input_bytes;
    draft.name_bytes = name_bytes;
    draft.files.extend(content.files.iter().cloned());
    draft.splits.extend(&content.splits);
    Ok(())
}

fn check_counts(draft: &PlanDraft, content: &PlanChunk) -> Result<(), String> {
    let files = draft.files.len() + content.files.len();
    if files > INPUT_FILES_MAX as usize {
        return Err(format!("more than {INPUT_FILES_MAX} files"));
    }
    if draft.splits.len() + content.splits.len() > SPLITS_MAX as usize {
        return Err(format!("more than {SPLITS_MAX} splits"));
    }
    Ok(())
}

/// Returns the bytes of all paths with this chunk's.
fn check_names(draft: &PlanDraft, content: &PlanChunk) -> Result<u64, String> {
    let mut name_bytes = draft.name_bytes;
    for file in &content.files {
        if file.path.len() > PATH_BYTES_MAX || file.display.len() > PATH_BYTES_MAX {
            return Err(format!("a path of more than {PATH_BYTES_MAX} bytes"));
        }
        if file.header.len() > CSV_HEADER_BYTES_MAX {
            return Err(format!(
                "a header of more than {CSV_HEADER_BYTES_MAX} bytes"
            ));
        }
        name_bytes += (file.path.len() + file.display.len() + file.header.len()) as u64;
    }
    if name_bytes > PLAN_NAME_BYTES_MAX {
        return Err(format!(
            "more than {PLAN_NAME_BYTES_MAX} bytes of paths and headers"
        ));
    }
    Ok(name_bytes)
}

/// Returns the bytes of all splits with this chunk's.
fn check_splits(draft: &PlanDraft, content: &PlanChunk) -> Result<u64, String> {
    let mut input_bytes = draft.input_bytes;
    for split in &content.splits {
        let file = file_of(draft, content, split)
            .ok_or_else(|| format!("a split of file {}, which is not listed", split.file))?;
        let end = split.offset.checked_add(split.bytes);
        if end.is_none_or(|end| end > file.bytes) {
            return Err(format!("a split past the end of file {}", split.file));
        }
        input_bytes = input_bytes.saturating_add(split.bytes);
    }
    Ok(input_bytes)
}

fn file_of<'a>(
    draft: &'a PlanDraft,
    content: &'a PlanChunk,
    split: &SplitRange,
) -> Option<&'a InputFile> {
    let index = split.file as usize;
    match index.checked_sub(draft.files.len()) {
        None => draft.files.get(index),
        Some(index) => content.files.get(index),
    }
}
