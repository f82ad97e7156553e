//! The attempt at a task, for programs that run something outside of themselves.
//!
//! All else that a program may know of its task is the same for every attempt at
//! it. This is not, so nothing of it may reach the output.

use std::fmt::Debug;
use std::path::Path;

use vivat_shared::ids::AttemptId;

/// Tells whether to stop.
pub trait StopSignal: Debug {
    /// Whether the attempt was told to stop: what it makes is thrown away.
    fn is_stopped(&self) -> bool;
}

/// Whoever runs the attempt.
pub trait Host: Debug {
    /// Which attempt it is; none outside of a cluster.
    fn attempt(&self) -> Option<AttemptId>;

    /// Appends to the attempt's log, which is what people see who ask for it. It is
    /// bounded; nothing that is written to it makes the attempt fail.
    fn log(&self, bytes: &[u8]);

    /// What it is doing now, in a line.
    fn status(&self, text: &str) {
        let _ = text;
    }
}

/// Nobody: for tasks that run outside of a worker. Logs go nowhere.
pub const NO_HOST: &dyn Host = &Nobody;

#[derive(Debug)]
struct Nobody;

impl Host for Nobody {
    fn attempt(&self) -> Option<AttemptId> {
        None
    }

    fn log(&self, _: &[u8]) {}
}

/// The attempt that a program is part of.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'t> {
    /// A directory of its own: what a program makes there it deletes.
    pub scratch: &'t Path,
    /// Whether to stop. The engine looks at it between records; a program that
    /// waits for something looks at it itself.
    pub stop: &'t dyn StopSignal,
    /// Whoever runs it.
    pub host: &'t dyn Host,
}
