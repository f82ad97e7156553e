//! Between messages and domain types: `From` towards the wire, which cannot
//! fail, and `TryFrom` from it, which names the field that is wrong.

pub mod attempt;
mod cause;
pub mod dataset;
mod ids;
pub mod job;
mod logs;
mod notify;
pub mod outcome;
pub mod timeline;
pub mod view;
