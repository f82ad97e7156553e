//! Room for open files: a merge reads up to 256 at once in every slot, and the
//! usual limit of 1,024 is there for the sake of programs that call `select`.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of open files as far as this process may; children have
/// it too. Where it cannot be raised, what it is must do.
pub fn raise() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    // Refused only where the maximum itself is beyond the system's own.
    let _as_it_was = setrlimit(Resource::Nofile, raised);
}
