//! What the engine asks of an input, wherever its bytes are.

use std::fmt;
use std::io;
use std::ops::Range;

use vivat_shared::attempt::InputFile;

use crate::error::InputProblem;

/// Opens the input of a task: the worker knows where its bytes are.
pub trait InputOpener: fmt::Debug + Sync {
    /// Opens a file of the plan.
    ///
    /// # Errors
    ///
    /// It is not there, may not be read, or is not what the plan saw.
    fn open(&self, file: &InputFile) -> Result<Box<dyn InputReader>, InputError>;
}

/// An open input, read from its front to its back but for what a split passes
/// over. One call per read of about 256 KiB, so it may be dynamic.
pub trait InputReader: fmt::Debug + Send {
    /// Bytes of the whole file; none when only reading it all tells.
    fn length(&self) -> Option<u64>;

    /// Compares the file with what the plan saw, at the beginning of a task and
    /// at its end. Nothing to do for bytes that cannot change, and for readers
    /// that compare with every read.
    ///
    /// # Errors
    ///
    /// It is another one now, or cannot be looked at.
    fn check(&mut self) -> Result<(), InputError>;

    /// Tells what will be read, roughly: before the first read, and again when a
    /// record goes on behind it. Who reads ahead starts with this.
    fn expect(&mut self, range: Range<u64>) {
        let _whoever_does_not_read_ahead_need_not_know = range;
    }

    /// Reads at least one byte at `offset`, which lies within the file; less
    /// than the buffer is fine. 0 says that the file ends there.
    ///
    /// # Errors
    ///
    /// The bytes cannot be had, or are not those that the plan saw.
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> Result<usize, InputError>;
}

/// Why an input cannot be read, by what must be done about it.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The operating system refused, or a server did by the same words: not
    /// found, permission denied.
    #[error("it cannot be read")]
    Io(#[source] io::Error),
    /// Its bytes are not what was planned or declared.
    #[error("{0}")]
    Problem(InputProblem),
    /// Whoever has it does not answer, for now: another attempt may succeed.
    #[error("{detail}")]
    Unreachable {
        /// Who, and what was tried; without secrets.
        detail: String,
    },
    /// The task was told to stop while it waited for bytes.
    #[error("stopped")]
    Stopped,
}
