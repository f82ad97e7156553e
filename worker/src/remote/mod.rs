//! Object stores and web servers: what inputs and outputs elsewhere have in
//! common.
//!
//! Credentials come from this process' environment, by the conventions of each
//! store (`AWS_*`, `GOOGLE_*`, `AZURE_*`), and go nowhere else: no message and no
//! line of the log holds an error's own words, because those may quote signed
//! requests. Every call has a deadline; what may succeed the next time is tried
//! again, a bounded number of times. The pauses and tries are ours alone: those
//! of the library below are off, since it logs what it retries.

mod error;
mod location;
mod object;
mod reader;
mod stores;
mod waiting;

pub(crate) use error::{RemoteError, patiently, stopped};
pub(crate) use location::{Location, Scheme, shown};
pub(crate) use object::{Found, RemoteObject, soon};
pub(crate) use reader::RemoteFile;
pub(crate) use stores::Stores;
pub(crate) use waiting::Waiting;

/// A URL as it may be shown and kept, for who takes one from a person.
///
/// # Errors
///
/// Says why workers would refuse it; without repeating it, because it may hold
/// credentials.
pub fn display_url(url: &str) -> Result<String, &'static str> {
    Location::parse(url).map(|_| shown(url))
}
