//! Names on disk of the attempts that run now, for the process after a crash.
//!
//! One cell of fixed length for each slot, overwritten in place when the slot
//! takes up an attempt: one small write to the page cache, never synced. It
//! must outlive the process, not the machine, so a `kill -9` at any moment
//! leaves each cell as it was or as it will be. A cell that does not parse
//! names nothing.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use vivat_shared::ids::AttemptId;

/// Longer than the longest attempt id, 66 bytes, and a line end.
const CELL_BYTES: usize = 80;
const HEADER: &str = "vivat-running 1";

/// The control slot's cell; the slots' cells follow.
pub(crate) const CELL_CONTROL: usize = 0;

/// The open file.
#[derive(Debug)]
pub(crate) struct RunningCells {
    file: File,
}

impl RunningCells {
    /// Opens the file, reads what the former process was running, and clears
    /// nothing: [`Self::clear`] does once the leader has been told.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Vec<AttemptId>)> {
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        Ok((Self { file }, decode(&content)))
    }

    /// Forgets all.
    pub(crate) fn clear(&self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.write_cell(0, HEADER)
    }

    /// The slot of that cell runs the attempt.
    pub(crate) fn set(&self, cell: usize, attempt: AttemptId) -> io::Result<()> {
        self.write_cell(cell + 1, &attempt.to_string())
    }

    /// The slot of that cell runs nothing.
    pub(crate) fn unset(&self, cell: usize) -> io::Result<()> {
        self.write_cell(cell + 1, "-")
    }

    fn write_cell(&self, position: usize, text: &str) -> io::Result<()> {
        let line = format!("{text:<width$}\n", width = CELL_BYTES - 1);
        let offset = u64::try_from(position * CELL_BYTES).map_err(io::Error::other)?;
        self.file.write_all_at(line.as_bytes(), offset)
    }
}

/// What the cells name.
pub(crate) fn decode(content: &[u8]) -> Vec<AttemptId> {
    content
        .chunks(CELL_BYTES)
        .filter_map(|cell| std::str::from_utf8(cell).ok()?.trim_end().parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_process_reads_what_was_running_and_nothing_that_had_ended() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("running");
        let ids: Vec<AttemptId> = (0..3)
            .map(|index| format!("job-1.0.0.map-{index}.1").parse().unwrap())
            .collect();
        let (cells, crashed) = RunningCells::open(&path).unwrap();
        assert!(crashed.is_empty());
        cells.clear().unwrap();
        // Cell 1 is never written: the hole reads as nothing.
        cells.set(0, ids[0]).unwrap();
        cells.set(2, ids[1]).unwrap();
        cells.set(3, ids[2]).unwrap();
        cells.unset(3).unwrap();
        drop(cells);

        let (cells, crashed) = RunningCells::open(&path).unwrap();
        assert_eq!(crashed, [ids[0], ids[1]]);
        cells.clear().unwrap();
        drop(cells);
        assert!(RunningCells::open(&path).unwrap().1.is_empty());
    }

    #[test]
    fn longest_attempt_id_fits_a_cell() {
        let id: AttemptId = "job-18446744073709551615.65535.4294967295.commit-4294967295.65535"
            .parse()
            .unwrap();
        assert!(id.to_string().len() < CELL_BYTES);
    }
}
