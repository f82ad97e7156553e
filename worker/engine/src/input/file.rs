//! Inputs in the file system.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use vivat_shared::attempt::{InputFile, InputOrigin};

use super::reader::{InputError, InputOpener, InputReader};
use crate::error::InputProblem;

/// Opens files at their paths.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalFiles;

impl InputOpener for LocalFiles {
    fn open(&self, file: &InputFile) -> Result<Box<dyn InputReader>, InputError> {
        let modified_ns = match file.origin {
            InputOrigin::FileSystem { modified_ns } => modified_ns,
            InputOrigin::Dataset { .. } | InputOrigin::Remote { .. } => {
                return Err(InputError::Io(io::ErrorKind::Unsupported.into()));
            }
        };
        let open = File::open(&file.path).map_err(InputError::Io)?;
        Ok(Box::new(LocalFile {
            file: open,
            bytes: file.bytes,
            modified_ns,
        }))
    }
}

/// A file that must have the size and time that the plan saw.
#[derive(Debug)]
struct LocalFile {
    file: File,
    bytes: u64,
    modified_ns: i64,
}

impl InputReader for LocalFile {
    fn length(&self) -> Option<u64> {
        Some(self.bytes)
    }

    fn check(&mut self) -> Result<(), InputError> {
        let metadata = self.file.metadata().map_err(InputError::Io)?;
        if metadata.is_dir() {
            return Err(InputError::Io(io::ErrorKind::IsADirectory.into()));
        }
        if metadata.len() != self.bytes {
            return Err(InputError::Problem(InputProblem::SizeChanged {
                planned: self.bytes,
                found: metadata.len(),
            }));
        }
        let found_ns = metadata
            .mtime()
            .saturating_mul(1_000_000_000)
            .saturating_add(metadata.mtime_nsec());
        if found_ns != self.modified_ns {
            return Err(InputError::Problem(InputProblem::TimeChanged {
                planned_ns: self.modified_ns,
                found_ns,
            }));
        }
        Ok(())
    }

    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> Result<usize, InputError> {
        loop {
            match self.file.read_at(buffer, offset) {
                Ok(got) => return Ok(got),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(InputError::Io(error)),
            }
        }
    }
}
