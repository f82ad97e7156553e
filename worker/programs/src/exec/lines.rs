//! Bytes as they come, as lines.

use memchr::memchr;
use vivat_mapreduce::ProgramError;

/// A longer line is taken for a command that has gone mad.
pub(super) const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why lines were not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LineError {
    /// One is longer than [`LINE_BYTES_MAX`].
    TooLong,
    /// Whoever takes them had enough.
    Refused(ProgramError),
}

/// Cuts what a command prints into lines. A line end is `\n` alone: what stands
/// before it goes through as it is.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The line that has not ended.
    partial: Vec<u8>,
}

impl Lines {
    /// Hands on the lines that end in `bytes`.
    pub fn push(
        &mut self,
        bytes: &[u8],
        sink: &mut dyn FnMut(&[u8]) -> Result<(), ProgramError>,
    ) -> Result<(), LineError> {
        let mut rest = bytes;
        while let Some(end) = memchr(b'\n', rest) {
            if self.partial.is_empty() {
                sink(&rest[..end]).map_err(LineError::Refused)?;
            } else {
                self.partial.extend_from_slice(&rest[..end]);
                sink(&self.partial).map_err(LineError::Refused)?;
                self.partial.clear();
            }
            rest = &rest[end + 1..];
        }
        if self.partial.len() + rest.len() > LINE_BYTES_MAX {
            return Err(LineError::TooLong);
        }
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// The last line, if it has no end.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        let last = std::mem::take(&mut self.partial);
        (!last.is_empty()).then_some(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_however_the_bytes_are_cut() {
        let text = b"one\n\ntwo\r\n\xFF\0\nlast";
        let expected: [&[u8]; 5] = [b"one", b"", b"two\r", b"\xFF\0", b"last"];
        for step in 1..text.len() {
            let mut lines = Lines::default();
            let mut found: Vec<Vec<u8>> = Vec::new();
            for piece in text.chunks(step) {
                let mut take = |line: &[u8]| {
                    found.push(line.to_vec());
                    Ok(())
                };
                lines.push(piece, &mut take).unwrap();
            }
            found.extend(lines.finish());
            assert_eq!(found, expected, "{step}");
        }
    }
}
