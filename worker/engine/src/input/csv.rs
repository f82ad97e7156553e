//! CSV files: their header, the places where they may be cut, the numbers of
//! their lines.
//!
//! A split of CSV keeps the rule for lines: it begins behind the first line end at
//! or behind its first byte, and ends with the first one at or behind its end. So
//! the plan cuts *at* a line end that ends a record (its last byte), and readers
//! need not know what is quoted where they begin. The header of a file in the file
//! system is read again by every map, from the front: it is small, and splits stay
//! three numbers. That of a file whose front is far away comes with the plan.

use vivat_mapreduce::{CsvHeader, CsvScanner};
use vivat_shared::attempt::InputFile;

use super::{Compression, Input, InputOpener};
use crate::error::{EngineError, InputProblem};

/// The header of a CSV file, and what is before it.
pub const CSV_HEADER_BYTES_MAX: usize = 16 * 1024;

/// Bytes of one read for the end of a record.
const PROBE_BYTES: usize = 16 * 1024;
/// Bytes of one read of a plan.
const READ_BYTES: usize = 1024 * 1024;

/// The header, which is read where the plan did not bring it along.
pub(crate) fn csv_header(
    file: &InputFile,
    opener: &dyn InputOpener,
) -> Result<CsvHeader, EngineError> {
    if file.header.is_empty() {
        return Ok(read_header(file, opener)?.0);
    }
    // Its line end is an empty line of what follows.
    let parsed = CsvHeader::parse(&file.header, true);
    parsed.ok().flatten().ok_or_else(|| EngineError::BadInput {
        display: file.display.clone(),
        problem: InputProblem::BadRecord {
            offset: 0,
            line: Some(1),
            detail: "the header that came with the plan is none".to_owned(),
        },
    })
}

/// The bytes of a file up to the end of its header, without the line's end: what a
/// plan brings along.
///
/// # Errors
///
/// The file cannot be read, or has no header.
pub fn csv_header_line(file: &InputFile, opener: &dyn InputOpener) -> Result<Vec<u8>, EngineError> {
    let (_, mut line) = read_header(file, opener)?;
    while line.pop_if(|byte| matches!(byte, b'\n' | b'\r')).is_some() {}
    Ok(line)
}

fn read_header(
    file: &InputFile,
    opener: &dyn InputOpener,
) -> Result<(CsvHeader, Vec<u8>), EngineError> {
    let front = |header: CsvHeader, buffer: &[u8]| {
        let end = usize::try_from(header.end).unwrap_or(usize::MAX);
        let line = buffer[..end.min(buffer.len())].to_vec();
        (header, line)
    };
    let mut input = Input::open(file, opener)?;
    let length = input.reader.length().unwrap_or(u64::MAX);
    input
        .reader
        .expect(0..length.min(CSV_HEADER_BYTES_MAX as u64));
    let mut buffer = vec![0; CSV_HEADER_BYTES_MAX + 1];
    let mut filled = 0;
    loop {
        let got = match length > filled as u64 && filled < buffer.len() {
            true => input.read_at(&mut buffer[filled..], filled as u64)?,
            false => 0,
        };
        filled += got;
        if filled > CSV_HEADER_BYTES_MAX {
            let parsed = CsvHeader::parse(&buffer[..CSV_HEADER_BYTES_MAX], false);
            let parsed = parsed.ok().flatten();
            let parsed = parsed.map(|header| front(header, &buffer));
            return parsed.ok_or_else(|| {
                input.problem(InputProblem::HeaderTooLong {
                    bytes_max: CSV_HEADER_BYTES_MAX,
                })
            });
        }
        match CsvHeader::parse(&buffer[..filled], got == 0) {
            Ok(Some(header)) => return Ok(front(header, &buffer)),
            Ok(None) => {}
            Err(error) => {
                return Err(input.problem(InputProblem::BadRecord {
                    offset: error.offset.unwrap_or(0),
                    line: Some(1),
                    detail: error.detail,
                }));
            }
        }
    }
}

/// The places where a CSV file is cut into splits of `split_bytes` or a little
/// more, rising. Reads the file once, and asks `stopped` between reads; when it
/// says so, what was found until then is of no use.
///
/// # Errors
///
/// The file cannot be read, or has no header.
pub fn csv_cuts(
    file: &InputFile,
    opener: &dyn InputOpener,
    split_bytes: u64,
    stopped: &dyn Fn() -> bool,
) -> Result<Vec<u64>, EngineError> {
    let mut cuts = Vec::new();
    let split_bytes = split_bytes.max(1);
    if file.bytes <= split_bytes || Compression::of(file).is_some() {
        return Ok(cuts);
    }
    let mut at = csv_header(file, opener)?.end;
    let mut input = Input::open(file, opener)?;
    input.reader.expect(at..file.bytes);
    let mut scanner = CsvScanner::default();
    let mut target = split_bytes;
    let mut buffer = vec![0; READ_BYTES];
    while target < file.bytes && at < file.bytes && !stopped() {
        let got = input.read_at(&mut buffer, at)?;
        if got == 0 {
            return Err(input.problem(InputProblem::SizeChanged {
                planned: file.bytes,
                found: at,
            }));
        }
        let mut piece = &buffer[..got];
        while !piece.is_empty() {
            let before = usize::try_from(target.saturating_sub(at)).unwrap_or(usize::MAX);
            let before = before.min(piece.len());
            scanner.last_end(&piece[..before]);
            let end = scanner.first_end(&piece[before..]);
            let read = end.map_or(piece.len(), |end| before + end);
            at += read as u64;
            piece = &piece[read..];
            if end.is_some() && at < file.bytes {
                cuts.push(at - 1);
                target = at - 1 + split_bytes;
            }
        }
    }
    Ok(cuts)
}

/// The places where a CSV file is cut into splits that begin near places at which
/// records are known to begin, like the ends of blocks: each at the end of the first
/// record behind one of them, so that a split's bytes lie where its place is. What
/// `stopped` is for, [`csv_cuts`] says.
///
/// # Errors
///
/// The file cannot be read.
pub fn csv_cuts_behind(
    file: &InputFile,
    opener: &dyn InputOpener,
    places: &[u64],
    stopped: &dyn Fn() -> bool,
) -> Result<Vec<u64>, EngineError> {
    let mut cuts = Vec::with_capacity(places.len());
    let mut input = Input::open(file, opener)?;
    let mut buffer = vec![0; PROBE_BYTES];
    for place in places {
        let (mut at, mut scanner) = (*place, CsvScanner::default());
        while at < file.bytes && !stopped() {
            let got = input.read_at(&mut buffer, at)?;
            let end = scanner.first_end(&buffer[..got]);
            at += end.unwrap_or(got) as u64;
            if got == 0 || end.is_some() {
                break;
            }
        }
        // A record that goes on to the end of the file has no split behind it.
        if at < file.bytes {
            cuts.push(at - 1);
        }
    }
    Ok(cuts)
}

/// The number of the line, from 1, that a place is in: for messages, so a file that
/// cannot be read again has none.
#[must_use]
pub fn csv_line_of(file: &InputFile, opener: &dyn InputOpener, offset: u64) -> Option<u64> {
    let mut input = Input::open(file, opener).ok()?;
    let mut buffer = vec![0; READ_BYTES];
    let (mut at, mut line) = (0, 1);
    while at < offset {
        let wanted = usize::try_from(offset - at).unwrap_or(usize::MAX);
        let wanted = wanted.min(buffer.len());
        let got = input.read_at(&mut buffer[..wanted], at).ok()?;
        if got == 0 {
            return None;
        }
        line += memchr::memchr_iter(b'\n', &buffer[..got]).count() as u64;
        at += got as u64;
    }
    Some(line)
}
