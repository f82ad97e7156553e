//! CSV wherever it lies: where a plan cuts it, and which line a bad record is on.

use std::sync::Arc;

use vivat_engine::{EngineError, InputOpener, InputProblem, LocalFiles, csv_line_of};
use vivat_shared::attempt::{InputFile, InputOrigin};
use vivat_shared::dataset::LocatedBlock;

use super::{Fault, Runner, elsewhere};
use crate::datasets::{DatasetOpener, PlannedFile, Served};
use crate::held::Grant;
use crate::source::{RemoteOpener, csv_file};

/// Of a file whose bytes come from other workers so many are read again for a
/// message that names a line.
const LINE_SEARCH_BYTES_MAX: u64 = 1024 * 1024 * 1024;

impl Runner {
    /// A file of a CSV job with the places where it is cut.
    pub(super) fn cut_csv(
        &self,
        grant: &Arc<Grant>,
        mut planned: PlannedFile,
        cutting: (u64, bool),
    ) -> Result<PlannedFile, Fault> {
        let located = std::mem::take(&mut planned.blocks.located);
        let dataset = self.whole_file(grant, &located, planned.blocks.start);
        let remote = RemoteOpener {
            stores: &self.stores,
            waiting: self.waiting(grant),
        };
        let opener: &dyn InputOpener = match planned.file.origin {
            InputOrigin::FileSystem { .. } => &LocalFiles,
            InputOrigin::Remote { .. } => &remote,
            InputOrigin::Dataset { .. } => &dataset,
        };
        let stopped = || grant.cancel.is_cancelled();
        let cut = csv_file(planned, cutting, Some(opener), &stopped);
        cut.map_err(|cause| elsewhere::unless_stopped(grant, cause))
    }

    /// The error with the line that a record is on. A map has only the blocks that
    /// its slice lies in, and lines are counted from the front.
    pub(super) fn with_line(
        &self,
        grant: &Arc<Grant>,
        file: &InputFile,
        error: EngineError,
    ) -> EngineError {
        let InputOrigin::Dataset { dataset, .. } = file.origin else {
            return error;
        };
        match error {
            EngineError::BadInput {
                display,
                problem:
                    InputProblem::BadRecord {
                        offset,
                        line: None,
                        detail,
                    },
            } if offset <= LINE_SEARCH_BYTES_MAX => {
                let listing = self.leader.list_all_blocks(dataset);
                let listed = self.blocks.wait(listing, &grant.stopped);
                let blocks = listed.and_then(Result::ok).unwrap_or_default();
                let located: Vec<LocatedBlock> = blocks
                    .into_iter()
                    .map(|block| LocatedBlock {
                        summary: block.summary,
                        holders: block.holders,
                    })
                    .collect();
                let opener = self.whole_file(grant, &located, 0);
                EngineError::BadInput {
                    display,
                    problem: InputProblem::BadRecord {
                        offset,
                        line: csv_line_of(file, &opener, offset),
                        detail,
                    },
                }
            }
            error => error,
        }
    }

    fn whole_file<'t>(
        &'t self,
        grant: &'t Arc<Grant>,
        located: &'t [LocatedBlock],
        start: u64,
    ) -> DatasetOpener<'t> {
        DatasetOpener {
            blocks: &self.blocks,
            located,
            start,
            stopped: &grant.stopped,
            served: Arc::new(Served::default()),
        }
    }
}
