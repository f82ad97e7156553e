//! `SealDataset`: what was written becomes visible, whole, under its name.

use vivat_shared::dataset::is_contained;
use vivat_shared::ids::DatasetId;
use vivat_shared::limits::FILES_LISTED_MAX;

use super::Context;
use super::append_blocks::{invalid, open_dataset};
use crate::command::{DatasetSeal, Event, Rejection, Reply};
use crate::state::{Dataset, FileList, Sealed};

pub(super) fn apply(
    context: &mut Context<'_>,
    dataset: DatasetId,
    seal: &DatasetSeal,
) -> Result<Reply, Rejection> {
    let state = &mut *context.state;
    let sealed = Sealed {
        files: match seal.list_blocks {
            0 => FileList::Listed(seal.files.clone()),
            blocks => FileList::InBlocks(blocks),
        },
        file_count: seal.file_count,
        bytes: seal.bytes,
        named: true,
    };
    let reply = Reply::Dataset {
        dataset,
        sealed: true,
        blocks: seal.blocks,
    };
    // A repeated call: sealed the same way, whatever its name leads to by now.
    let known = state.directory.get(dataset);
    if let Some((known, was)) = known.and_then(|known| Some((known, known.sealed.as_ref()?))) {
        let same = was.files == sealed.files
            && (was.file_count, was.bytes) == (seal.file_count, seal.bytes)
            && known.blocks.len() == seal.blocks;
        return if same {
            Ok(reply)
        } else {
            Err(invalid(dataset, "it is sealed otherwise"))
        };
    }
    let known = open_dataset(state, dataset)?;
    check(known, seal)?;
    if state.directory.named(&known.spec.name).is_some() {
        return Err(Rejection::DatasetExists {
            name: known.spec.name.clone(),
        });
    }
    state
        .directory
        .update(dataset, |known| known.sealed = Some(sealed));
    context.events.push(Event::DatasetChanged { dataset });
    Ok(reply)
}

fn check(known: &Dataset, seal: &DatasetSeal) -> Result<(), Rejection> {
    let wrong = |problem: &str| Err(invalid(known.id, problem));
    if seal.blocks != known.blocks.len() {
        let problem = format!("{} blocks of {} are here", known.blocks.len(), seal.blocks);
        return Err(invalid(known.id, problem));
    }
    // S6: what nobody has any more is not made visible; it can be written again.
    if let Some(lost) = known
        .blocks
        .rows()
        .iter()
        .find(|row| row.workers.is_empty())
    {
        let problem = format!("every copy of block {} is lost", lost.index);
        return Err(invalid(known.id, problem));
    }
    let Some(data_blocks) = seal.blocks.checked_sub(seal.list_blocks) else {
        return wrong("more blocks of the list than blocks");
    };
    if known.blocks.bytes_before(data_blocks) != seal.bytes {
        return wrong("its files have another size than its blocks");
    }
    if seal.list_blocks > 0 {
        return if seal.files.is_empty() {
            Ok(())
        } else {
            wrong("its files are listed twice")
        };
    }
    let listed: u64 = seal
        .files
        .iter()
        .fold(0, |sum, file| sum.saturating_add(file.bytes));
    if seal.files.len() > FILES_LISTED_MAX || seal.files.len() as u64 != seal.file_count {
        return wrong("the list of its files is too long, or is not of them all");
    }
    if listed != seal.bytes || !seal.files.iter().all(|file| is_contained(&file.name)) {
        return wrong("the list of its files has other bytes, or names that are none");
    }
    Ok(())
}
