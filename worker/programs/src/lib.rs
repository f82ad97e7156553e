//! The built-in programs, their catalogue, and a naive oracle of each.
//!
//! A program is known by its name in the [`catalogue`]. Its entry says which
//! parameters it takes, builds an [`Executable`] from
//! them, and holds an oracle: a one-thread program that shares no code with the
//! engine and writes the bytes that all parts must have.

mod catalogue;
mod decimal;
mod distinct;
pub mod exec;
pub mod generate;
mod grep;
mod group_by;
mod inverted_index;
mod join;
mod k_means;
mod linear_regression;
mod mlp;
mod numbers;
mod oracles;
mod parameters;
mod reverse_links;
mod sample;
mod sort;
mod sums;
mod table;
mod term_vector;
mod tuple;
mod url_count;
mod validate_sort;
mod word_count;
mod words;

pub use catalogue::{
    Build, Built, Format, Oracle, OracleInput, ProgramEntry, RegisterError, built, catalogue,
    expand, find, hidden, nearest, register, writes_a_model,
};
pub use parameters::{
    ParameterError, ParameterKind, ParameterSpec, Parameters, validate_parameters,
};
pub use vivat_engine::{Executable, Runner};
