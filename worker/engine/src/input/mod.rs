//! Inputs: opened by whoever knows where they are, read as blocks of whole
//! records.
//!
//! The engine knows three things of an input: how to read it at a place, whether
//! it is still what the plan saw, and whether it is compressed. Where its bytes
//! are, in a file, in the blocks of a dataset or at a URL, is the business of an
//! [`InputOpener`].

mod blocks;
mod csv;
mod decode;
mod file;
mod reader;

use vivat_shared::attempt::InputFile;

use crate::error::{EngineError, InputProblem};

pub(crate) use csv::csv_header;
pub use csv::{CSV_HEADER_BYTES_MAX, csv_cuts, csv_cuts_behind, csv_header_line, csv_line_of};
pub use decode::Compression;
pub use file::LocalFiles;
pub use reader::{InputError, InputOpener, InputReader};

/// An open input that is what the plan saw.
#[derive(Debug)]
pub(crate) struct Input<'t> {
    reader: Box<dyn InputReader>,
    planned: &'t InputFile,
}

impl<'t> Input<'t> {
    pub fn open(planned: &'t InputFile, opener: &dyn InputOpener) -> Result<Self, EngineError> {
        let failed = |error| of_input(&planned.display, error);
        let mut reader = opener.open(planned).map_err(failed)?;
        reader.check().map_err(failed)?;
        if let Some(compression) = Compression::of(planned) {
            let decoded = decode::Decoded::new(reader, compression, planned.bytes);
            reader = Box::new(decoded.map_err(failed)?);
        }
        Ok(Self { reader, planned })
    }

    /// Compares with what the plan saw, once more.
    pub fn check(&mut self) -> Result<(), EngineError> {
        self.reader.check().map_err(|error| self.error(error))
    }

    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> Result<usize, EngineError> {
        let read = self.reader.read_at(buffer, offset);
        read.map_err(|error| self.error(error))
    }

    fn error(&self, error: InputError) -> EngineError {
        of_input(&self.planned.display, error)
    }

    fn problem(&self, problem: InputProblem) -> EngineError {
        self.error(InputError::Problem(problem))
    }
}

pub(crate) fn of_input(display: &str, error: InputError) -> EngineError {
    let display = display.to_owned();
    match error {
        InputError::Io(source) => EngineError::Input { display, source },
        InputError::Problem(problem) => EngineError::BadInput { display, problem },
        InputError::Unreachable { detail } => EngineError::InputUnreachable { display, detail },
        InputError::Stopped => EngineError::Cancelled,
    }
}
