//! Sample data: the same bytes for the same seed on every machine.
//!
//! Nothing here uses floating point, whose last bits may differ: frequencies
//! are integers, and draws come from SplitMix64 (Steele, Lea, Flood: Fast
//! Splittable Pseudorandom Number Generators, 2014), which is six lines long
//! and never changes.

mod access_log;
mod game_logs;
mod letters;
mod links;
mod random;
mod tera;
mod words;

pub use access_log::access_log;
pub use game_logs::game_logs;
pub use letters::letters;
pub use links::links;
pub use tera::tera;
pub use words::words;
