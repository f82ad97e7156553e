//! What a plan would come to, for whoever wants to know before a job is submitted.
//!
//! The same code as a plan attempt's lists files and cuts splits, here on the
//! client's machine, with the credentials of its own environment; nothing is kept.

use std::path::Path;
use std::sync::Arc;

use tokio::task::spawn_blocking;
use vivat_client::LeaderClient;
use vivat_shared::attempt::PlanChunk;
use vivat_shared::cause::FailureCause;
use vivat_shared::job::{InputFormat, InputPattern, is_url};
use vivat_shared::limits::SPLITS_MAX;

use super::remote::list_remote;
use super::splits::{PlanWriter, csv_file};
use super::{list, urls};
use crate::datasets::PlannedFile;
use crate::remote::Stores;
use crate::sink::is_whole_output;

/// How a job's input is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cutting {
    /// How bytes become records.
    pub format: InputFormat,
    /// Bytes of one split.
    pub split_bytes: u64,
    /// Whether fields of CSV may hold line ends.
    pub multiline: bool,
}

/// What one pattern comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Preview {
    /// Files that it names.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Map tasks that read them.
    pub splits: u32,
}

/// Lists the files of a pattern and cuts them as a plan would. `leader` is asked for
/// datasets; without one they are not to be had.
///
/// # Errors
///
/// The cause that the job would fail with.
pub async fn preview(
    pattern: &InputPattern,
    cutting: Cutting,
    leader: Option<&LeaderClient>,
) -> Result<Preview, FailureCause> {
    let files = match (pattern.dataset(), leader) {
        (Some(name), Some(leader)) => of_dataset(leader, name, &pattern.display).await?,
        (Some(_), None) => {
            return Err(FailureCause::InputUnreachable {
                path: pattern.display.clone(),
                detail: "it is in a cluster, and none is named".to_owned(),
            });
        }
        (None, _) => elsewhere(pattern.clone()).await?,
    };
    let cut = spawn_blocking(move || cut(files, cutting)).await;
    cut.unwrap_or_else(|_| Err(panicked()))
}

async fn of_dataset(
    leader: &LeaderClient,
    name: &str,
    display: &str,
) -> Result<Vec<PlannedFile>, FailureCause> {
    let found = leader.get_dataset(name).await;
    let (view, _) = found.map_err(|error| crate::datasets::of_client(display, &error))?;
    crate::datasets::files(leader, view.id, display).await
}

/// Files of this machine and URLs: neither is listed on a thread that drives tasks.
async fn elsewhere(pattern: InputPattern) -> Result<Vec<PlannedFile>, FailureCause> {
    if !is_url(&pattern.path) {
        let listed = spawn_blocking(move || list(std::slice::from_ref(&pattern), &|| false)).await;
        let listed = listed.unwrap_or_else(|_| Err(panicked()))?;
        let planned = listed.into_iter().map(PlannedFile::of);
        return Ok(planned.collect());
    }
    let (told, listed) = tokio::sync::oneshot::channel();
    let waiting = urls::waiting();
    // The wait for a URL needs a thread that no runtime knows.
    std::thread::spawn(move || {
        let stores = Arc::new(Stores::default());
        let _unread = told.send(list_remote(&stores, &pattern, &waiting));
    });
    listed.await.unwrap_or_else(|_| Err(panicked()))
}

fn cut(files: Vec<PlannedFile>, cutting: Cutting) -> Result<Preview, FailureCause> {
    let Cutting {
        format,
        split_bytes,
        multiline,
    } = cutting;
    let mut found = Preview::default();
    let mut writer = PlanWriter::new(format, split_bytes);
    let mut drop_chunk = |_: u32, _: PlanChunk| Ok::<(), FailureCause>(());
    for mut file in files {
        found.files += 1;
        found.bytes = found.bytes.saturating_add(file.file.bytes);
        if format == InputFormat::Csv {
            file = csv_file(file, (split_bytes, multiline), None, &|| false)?;
        }
        writer.add(file, &mut drop_chunk)?;
    }
    found.splits = writer.finish(&mut drop_chunk)?.splits.min(SPLITS_MAX);
    Ok(found)
}

fn panicked() -> FailureCause {
    FailureCause::Internal {
        detail: "listing the input panicked".to_owned(),
    }
}

/// What stands where a job's output would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Free,
    /// The whole output of a job: `--overwrite` replaces it.
    Output,
    /// Something that no job replaces.
    Other,
}

/// What stands at a path of this machine.
#[must_use]
pub fn standing(path: &Path) -> Standing {
    match std::fs::symlink_metadata(path) {
        Err(_) => Standing::Free,
        Ok(_) if is_whole_output(path) => Standing::Output,
        Ok(_) => Standing::Other,
    }
}
