//! Words that every part of Vivat shares: ids, job specifications, attempts
//! and their outcomes, failure causes, limits.
//!
//! Nothing here does I/O or knows the wire: `vivat-proto` converts these types
//! at the edge, `vivat-core` keeps them in the replicated state.

pub mod attempt;
pub mod cause;
pub mod dataset;
pub mod ids;
pub mod job;
pub mod limits;
pub mod logs;
pub mod notify;
pub mod plan;
pub mod shown;
pub mod size_code;
pub mod timeline;
pub mod view;
