//! Named places where a test makes the disk fail or the process end.
//!
//! Without the feature `failpoints`, which only tests ask for, a place is an
//! empty function. With it, `VIVAT_WORKER_FAILPOINTS` names a directory of
//! orders, which may change while the process runs: the files `NAME.1` to
//! `NAME.9` say what happens at a place, each once, in this order.
//!
//! `error` and `full` return an error of the operating system, `panic` panics,
//! `sleep` takes a while, `kill` ends the process on the spot. An order that is
//! carried out gets `.struck` added to its name first: that is the evidence, and
//! the process that comes after finds no order.

use std::io;

/// A place with a name.
///
/// # Errors
///
/// Never, without the feature.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn point(_: &'static str) -> io::Result<()> {
    Ok(())
}

/// A place with a name.
///
/// # Errors
///
/// When a test ordered one.
///
/// # Panics
///
/// When a test ordered it, or ordered nonsense.
#[cfg(feature = "failpoints")]
pub fn point(name: &'static str) -> io::Result<()> {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::time::Duration;

    use rustix::io::Errno;
    use rustix::process::{Signal, getpid, kill_process};

    static ORDERS: OnceLock<Option<PathBuf>> = OnceLock::new();
    let orders =
        ORDERS.get_or_init(|| std::env::var_os("VIVAT_WORKER_FAILPOINTS").map(PathBuf::from));
    let Some(orders) = orders else { return Ok(()) };
    let claimed = (1..=9).find_map(|number| {
        let order = orders.join(format!("{name}.{number}"));
        let action = fs::read_to_string(&order).ok()?;
        // Of several threads that pass at once, one carries it out.
        fs::rename(&order, order.with_extension(format!("{number}.struck"))).ok()?;
        Some(action)
    });
    let Some(action) = claimed else {
        return Ok(());
    };
    match action.as_str() {
        "error" => Err(Errno::IO.into()),
        "full" => Err(Errno::NOSPC.into()),
        "panic" => panic!("failpoint {name}"),
        "sleep" => {
            std::thread::sleep(Duration::from_millis(300));
            Ok(())
        }
        "kill" => {
            // No signal handler, no destructor: as the kernel would.
            kill_process(getpid(), Signal::KILL).expect("a process may end itself");
            loop {
                std::thread::park();
            }
        }
        unknown => panic!("failpoint {name}: unknown action {unknown}"),
    }
}
