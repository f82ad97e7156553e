//! `RemoveDataset`: only what no job reads (S15); what one reads loses its name,
//! if that is wanted, and goes when the last of them ends.

use vivat_shared::ids::DatasetId;

use super::Context;
use crate::command::{Event, Rejection, Reply};

pub(super) fn apply(
    context: &mut Context<'_>,
    name: &str,
    dataset: DatasetId,
    when_unread: bool,
) -> Result<Reply, Rejection> {
    let directory = &mut context.state.directory;
    let known = directory
        .named(name)
        .filter(|known| known.id == dataset)
        .ok_or_else(|| Rejection::UnknownDatasetName(name.to_owned()))?;
    if let Some(job) = known.readers.first()
        && !when_unread
    {
        return Err(Rejection::DatasetInUse {
            name: name.to_owned(),
            job: *job,
        });
    }
    if known.readers.is_empty() {
        directory.remove(dataset);
    } else {
        directory.update(dataset, |known| {
            if let Some(sealed) = &mut known.sealed {
                sealed.named = false;
            }
        });
    }
    context.events.push(Event::DatasetChanged { dataset });
    Ok(Reply::Done)
}
