//! Inputs: which files a job reads, and how they are cut into splits.
//!
//! This is the only place that lists and opens user data before maps do.
//! Masters see the result, never the files.

mod list;
mod preview;
mod remote;
mod splits;
mod urls;

pub(crate) use list::list;
pub use list::list_inputs;
pub use preview::{Cutting, Preview, Standing, preview, standing};
pub(crate) use remote::{RemoteOpener, list_remote};
pub(crate) use splits::{PlanSums, PlanWriter, csv_file};
pub use urls::{UrlFile, UrlReader};

#[cfg(test)]
mod tests;
