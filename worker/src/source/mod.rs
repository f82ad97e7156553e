//! Inputs: which files a job reads, and how they are cut into splits.
//!
//! This is the only place that lists and opens user data before maps do.
//! Masters see the result, never the files.

mod list;
mod splits;

pub(crate) use list::list;
pub use list::list_inputs;
pub(crate) use splits::PlanWriter;

#[cfg(test)]
mod tests;
