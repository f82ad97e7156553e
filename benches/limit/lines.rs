//! Whole lines of files, in large pieces, for threads that each take a part.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;

use super::{THREADS, Task};

/// Stays in a core's cache.
const PIECE_BYTES: usize = 512 * 1024;

/// Part of a file. A part begins after the first line end at or behind its start,
/// unless that is the file's, and ends with the line that goes over its end.
struct Part<'t> {
    path: &'t Path,
    range: Range<u64>,
    file: usize,
}

/// What a thread makes of its parts: given the number of the file and whole lines.
pub trait Sink: Send {
    /// Some lines, each with its end but perhaps the last of a file.
    fn lines(&mut self, file: usize, lines: &[u8]);
}

/// Reads every input, one part for each thread, and gives the sinks in the order
/// of the parts.
pub fn read<S: Sink>(task: &Task, new: impl Fn() -> S + Sync) -> io::Result<Vec<S>> {
    let parts = (0..THREADS).map(|thread| parts(task, thread));
    let parts: Vec<Vec<Part<'_>>> = parts.collect::<io::Result<_>>()?;
    thread::scope(|scope| {
        let threads: Vec<_> = parts
            .into_iter()
            .map(|parts| {
                let new = &new;
                scope.spawn(move || -> io::Result<S> {
                    let mut sink = new();
                    for part in parts {
                        read_part(&part, &mut sink)?;
                    }
                    Ok(sink)
                })
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined
            .map(|ended| ended.expect("a thread panicked"))
            .collect()
    })
}

/// A single file is halved; of several each thread takes its share of them.
fn parts(task: &Task, thread: usize) -> io::Result<Vec<Part<'_>>> {
    let sizes = task.inputs.iter().map(|path| Ok(path.metadata()?.len()));
    let sizes: Vec<u64> = sizes.collect::<io::Result<_>>()?;
    let total: u64 = sizes.iter().sum();
    let share = |thread: usize| total * thread as u64 / THREADS as u64;
    let wanted = share(thread)..share(thread + 1);
    let mut start = 0;
    let mut parts = Vec::new();
    for (file, (path, size)) in task.inputs.iter().zip(sizes).enumerate() {
        let from = wanted.start.saturating_sub(start).min(size);
        let to = wanted.end.saturating_sub(start).min(size);
        start += size;
        if from < to {
            let range = from..to;
            parts.push(Part { path, range, file });
        }
    }
    Ok(parts)
}

fn read_part(part: &Part<'_>, sink: &mut impl Sink) -> io::Result<()> {
    let input = File::open(part.path)?;
    let mut buffer = vec![0; PIECE_BYTES];
    let (mut at, mut kept) = (part.range.start, 0);
    let mut skips = at > 0;
    // The byte before tells whether a line begins here.
    at -= u64::from(skips);
    loop {
        if kept == buffer.len() {
            buffer.resize(buffer.len() * 2, 0);
        }
        let read = input.read_at(&mut buffer[kept..], at)?;
        let from = at - kept as u64;
        at += read as u64;
        let mut piece = &buffer[..kept + read];
        let is_last = read == 0;
        if skips {
            let Some(end) = memchr::memchr(b'\n', piece) else {
                kept = 0;
                if is_last {
                    return Ok(());
                }
                continue;
            };
            skips = false;
            piece = &piece[end + 1..];
        }
        let begin = from + (kept + read - piece.len()) as u64;
        if let Some(cut) = behind(part, begin, piece) {
            sink.lines(part.file, &piece[..cut]);
            return Ok(());
        }
        let whole = match memchr::memrchr(b'\n', piece) {
            _ if is_last => piece.len(),
            Some(end) => end + 1,
            None => 0,
        };
        sink.lines(part.file, &piece[..whole]);
        if is_last {
            return Ok(());
        }
        let rest = piece.len() - whole;
        let filled = kept + read;
        buffer.copy_within(filled - rest..filled, 0);
        kept = rest;
    }
}

/// Where a piece that begins there holds the end of the part's last line.
fn behind(part: &Part<'_>, begin: u64, piece: &[u8]) -> Option<usize> {
    let Some(left) = part.range.end.checked_sub(begin) else {
        return Some(0);
    };
    let left = usize::try_from(left).unwrap_or(usize::MAX);
    if left == 0 {
        return Some(0);
    }
    let tail = piece.get(left - 1..)?;
    memchr::memchr(b'\n', tail).map(|end| left + end)
}

/// Writes a file through a large buffer.
pub fn write(
    output: &Path,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(output)?);
    content(&mut out)?;
    out.flush()
}
