//! `AbandonDataset`: what nobody writes any more goes, and was never visible. The
//! workers learn from the directory that its blocks are for nobody.

use vivat_shared::ids::DatasetId;

use super::Context;
use super::append_blocks::open_dataset;
use crate::command::{Event, Rejection, Reply};

pub(super) fn apply(
    context: &mut Context<'_>,
    dataset: DatasetId,
    term: u64,
) -> Result<Reply, Rejection> {
    context.state.check_term(term)?;
    open_dataset(context.state, dataset)?;
    context.state.directory.remove(dataset);
    context.events.push(Event::DatasetChanged { dataset });
    Ok(Reply::Done)
}
