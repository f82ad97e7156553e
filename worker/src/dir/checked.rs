//! Small text files that are whole or not there: a version line, one line of
//! text, a checksum; written beside, synced, and renamed into place. A line end
//! in the text, which a path may have, is written as an escape.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

const VERSION: &str = "vivat-worker 1";

/// Why such a file has no content for us.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The operating system refused.
    #[error("cannot read")]
    Io(#[source] io::Error),
    /// It is not as we wrote it.
    #[error("damaged")]
    Damaged,
}

/// The text of the file; none when there is no file.
pub(crate) fn read(path: &Path) -> Result<Option<String>, ReadError> {
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ReadError::Io(error)),
    };
    decode(&content).map(Some).ok_or(ReadError::Damaged)
}

/// The text in such a file; none when it is damaged.
pub(crate) fn decode(content: &[u8]) -> Option<String> {
    let mut lines = std::str::from_utf8(content).ok()?.lines();
    match (lines.next(), lines.next(), lines.next(), lines.next()) {
        (Some(VERSION), Some(text), Some(sum), None) if sum == checksum(text) => unescape(text),
        (_, _, _, _) => None,
    }
}

/// Such a file with this text.
pub(crate) fn encode(text: &str) -> String {
    let text = escape(text);
    format!("{VERSION}\n{text}\n{}\n", checksum(&text))
}

/// Replaces the file, durably.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_extension("new");
    write_lines(&temporary, text)?.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// The same for what must outlive the process only: a file that a power loss
/// cut reads as damaged.
pub(crate) fn write_unsynced(path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_extension("new");
    write_lines(&temporary, text)?;
    fs::rename(&temporary, path)
}

fn write_lines(path: &Path, text: &str) -> io::Result<File> {
    let mut file = File::create(path)?;
    file.write_all(encode(text).as_bytes())?;
    Ok(file)
}

fn escape(text: &str) -> String {
    text.replace('\\', r"\\")
        .replace('\n', r"\n")
        .replace('\r', r"\r")
}

/// None for an escape that we never write.
fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            _ => character,
        });
    }
    Some(plain)
}

fn checksum(text: &str) -> String {
    format!("crc32c {:08x}", crc32c::crc32c(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_line_ends_and_backslashes_comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("note");
        for text in ["", "/a/b", "a\nb\r\n", r"\n", "\\\n\\"] {
            write(&path, text).unwrap();
            assert_eq!(read(&path).unwrap().as_deref(), Some(text));
        }
    }
}
