//! Compressed inputs: read whole, from front to back, as they were before they
//! were compressed.
//!
//! What a file is, its ending says. A file may be several compressed ones, one
//! behind the other, as `cat` makes them. Only a window of the text is ever in
//! memory, so it does not matter how much larger than the file the text is.

use std::fmt;
use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use vivat_shared::attempt::{InputFile, InputOrigin};

use super::reader::{InputError, InputReader};
use crate::error::InputProblem;

/// Compressed bytes read at a time.
const COMPRESSED_READ_BYTES: usize = 256 * 1024;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstandard,
}

impl Compression {
    /// By the ending of the file's path; that of a URL ends before its query.
    #[must_use]
    pub fn of(file: &InputFile) -> Option<Self> {
        let path = match file.origin {
            InputOrigin::Remote { .. } => {
                let end = file.path.find(['?', '#']);
                end.map_or(file.path.as_str(), |end| &file.path[..end])
            }
            InputOrigin::FileSystem { .. } | InputOrigin::Dataset { .. } => &file.path,
        };
        if path.ends_with(".gz") {
            Some(Self::Gzip)
        } else if path.ends_with(".zst") {
            Some(Self::Zstandard)
        } else {
            None
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstandard => "zstd",
        })
    }
}

/// The text of a compressed input.
pub(super) struct Decoded {
    decoder: Decoder,
    compression: Compression,
    /// Where the next read continues.
    position: u64,
    ended: bool,
}

impl fmt::Debug for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoded")
            .field("compression", &self.compression)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

enum Decoder {
    Gzip(Box<MultiGzDecoder<BufReader<Compressed>>>),
    Zstandard(zstd::Decoder<'static, BufReader<Compressed>>),
}

impl Decoded {
    pub fn new(
        mut reader: Box<dyn InputReader>,
        compression: Compression,
        bytes: u64,
    ) -> Result<Self, InputError> {
        if bytes == 0 {
            // Not even the shortest text is compressed to nothing.
            return Err(InputError::Problem(InputProblem::Truncated { compression }));
        }
        reader.expect(0..bytes);
        let compressed = Compressed {
            reader,
            position: 0,
            bytes,
            failed: None,
        };
        let buffered = BufReader::with_capacity(COMPRESSED_READ_BYTES, compressed);
        let decoder = match compression {
            Compression::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(buffered))),
            Compression::Zstandard => {
                let decoder = zstd::Decoder::with_buffer(buffered).map_err(InputError::Io)?;
                Decoder::Zstandard(decoder)
            }
        };
        Ok(Self {
            decoder,
            compression,
            position: 0,
            ended: false,
        })
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.read(buffer),
            Decoder::Zstandard(decoder) => decoder.read(buffer),
        }
    }

    fn compressed(&mut self) -> &mut Compressed {
        match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.get_mut().get_mut(),
            Decoder::Zstandard(decoder) => decoder.get_mut().get_mut(),
        }
    }

    /// What went wrong: below us, or in the bytes themselves.
    fn error(&mut self, error: &io::Error) -> InputError {
        if let Some(failed) = self.compressed().failed.take() {
            return failed;
        }
        let compression = self.compression;
        InputError::Problem(if error.kind() == io::ErrorKind::UnexpectedEof {
            InputProblem::Truncated { compression }
        } else {
            InputProblem::Corrupt {
                compression,
                detail: error.to_string(),
            }
        })
    }
}

impl InputReader for Decoded {
    fn length(&self) -> Option<u64> {
        None
    }

    fn check(&mut self) -> Result<(), InputError> {
        self.compressed().reader.check()
    }

    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> Result<usize, InputError> {
        if offset != self.position {
            return Err(InputError::Io(io::ErrorKind::NotSeekable.into()));
        }
        // Decoders hand out what they have; the engine wants large blocks.
        let mut filled = 0;
        while filled < buffer.len() && !self.ended {
            match self.read(&mut buffer[filled..]) {
                Ok(0) => self.ended = true,
                Ok(got) => filled += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(&error)),
            }
        }
        self.position += filled as u64;
        Ok(filled)
    }
}

/// The compressed bytes in order. An error of the input waits here until the
/// decoder, which knows only `io::Error`, has given up.
struct Compressed {
    reader: Box<dyn InputReader>,
    position: u64,
    bytes: u64,
    failed: Option<InputError>,
}

impl Read for Compressed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.bytes - self.position).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let read = match self.reader.read_at(&mut buffer[..wanted], self.position) {
            Ok(0) => Err(InputError::Problem(InputProblem::SizeChanged {
                planned: self.bytes,
                found: self.position,
            })),
            read => read,
        };
        match read {
            Ok(got) => {
                self.position += got as u64;
                Ok(got)
            }
            Err(failed) => {
                self.failed = Some(failed);
                Err(io::Error::other("the input below failed"))
            }
        }
    }
}
