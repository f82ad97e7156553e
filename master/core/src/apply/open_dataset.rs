//! `OpenDataset`: one key, one dataset, for as long as the dataset is there (S5).

use std::collections::BTreeSet;
use std::sync::Arc;

use vivat_shared::dataset::DatasetSpec;
use vivat_shared::ids::JobId;
use vivat_shared::job::SpecError;
use vivat_shared::limits::JOB_KEY_BYTES_MAX;

use super::Context;
use crate::command::{Event, Rejection, Reply};
use crate::limits::DATASETS_OPEN_MAX;
use crate::state::{BlockTable, Dataset};

pub(super) fn apply(
    context: &mut Context<'_>,
    key: &str,
    spec: &DatasetSpec,
) -> Result<Reply, Rejection> {
    let state = &mut *context.state;
    if let Some(known) = state.directory.of_key(key) {
        if known.spec != *spec {
            let problem = format!("the key belongs to {}, which is another", known.id);
            return Err(Rejection::InvalidSpec(SpecError {
                field: "key".to_owned(),
                problem,
            }));
        }
        return Ok(Reply::Dataset {
            dataset: known.id,
            sealed: known.sealed.is_some(),
            blocks: known.blocks.len(),
        });
    }
    check_key(key)?;
    spec.validate()
        .and_then(|()| check_not_of_job(&spec.name))
        .map_err(Rejection::InvalidSpec)?;
    if state.directory.named(&spec.name).is_some() {
        return Err(Rejection::DatasetExists {
            name: spec.name.clone(),
        });
    }
    state.directory.check_datasets()?;
    if state.directory.open().count() >= DATASETS_OPEN_MAX {
        return Err(Rejection::Limit {
            limit: format!("{DATASETS_OPEN_MAX} datasets that are being written"),
        });
    }
    let dataset = state.directory.mint();
    state.directory.insert(Dataset {
        id: dataset,
        key: Some(Arc::from(key)),
        spec: spec.clone(),
        created_at_ms: state.now_ms,
        job: None,
        sealed: None,
        blocks: BlockTable::default(),
        readers: BTreeSet::new(),
    });
    context.events.push(Event::DatasetChanged { dataset });
    Ok(Reply::Dataset {
        dataset,
        sealed: false,
        blocks: 0,
    })
}

/// `job-7` is the name of that job's output, if it has no other: whoever could
/// take it would make the job fail, or every submission that would get the number.
pub(super) fn check_not_of_job(name: &str) -> Result<(), SpecError> {
    if name.parse::<JobId>().is_err() {
        return Ok(());
    }
    Err(SpecError {
        field: "name".to_owned(),
        problem: format!("`{name}` is the name of that job's own output"),
    })
}

/// A client's idempotency key.
pub(super) fn check_key(key: &str) -> Result<(), Rejection> {
    if (1..=JOB_KEY_BYTES_MAX).contains(&key.len()) {
        return Ok(());
    }
    Err(Rejection::InvalidSpec(SpecError {
        field: "key".to_owned(),
        problem: format!("1 to {JOB_KEY_BYTES_MAX} bytes"),
    }))
}
