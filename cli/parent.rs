//! A child that ends with its parent, whatever ends the parent.

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::args::process::ParentArgs;
use crate::failure::Failure;

/// Asks the kernel to end this process when the parent ends, and ends it now
/// when that has happened already.
///
/// # Errors
///
/// The parent is gone, or the kernel refuses.
pub fn bind(parent: ParentArgs) -> Result<(), Failure> {
    let Some(parent) = parent.parent else {
        return Ok(());
    };
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Failure::failed(format!("cannot tie this process to another: {error}")))?;
    // Between its birth and that request the parent may have ended.
    let present = getppid().map(|pid| pid.as_raw_nonzero().get());
    if present != i32::try_from(parent).ok() {
        return Err(Failure::failed(format!(
            "the parent, process {parent}, is gone"
        )));
    }
    Ok(())
}
