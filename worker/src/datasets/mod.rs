//! Datasets as inputs and outputs of jobs: what the plan lists of them, how a map
//! reads its slice, how a reduce writes its part.
//!
//! The directory is the leader's, the blocks are [`crate::blocks`]'; here is what
//! lies between them and the engine.

mod input;
mod part;
mod plan;

pub(crate) use input::{DatasetOpener, Served};
pub(crate) use part::{DatasetPart, PartOrder, next_hops};
pub(crate) use plan::{PlannedFile, files, of_client};
