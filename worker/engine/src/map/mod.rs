//! The map side: reads a split, gathers what the program emits, writes the
//! segment file.
//!
//! Gathering is a hash table for programs that merge values and a sort buffer
//! for the others. Both keep inside the budget by spilling sorted runs.

mod buffer;
mod careful;
mod order;
mod run;
mod spill;
mod table;

use vivat_mapreduce::{
    Attempt, Block, Combiner, CounterSet, CsvHeader, Emit, Framing, MapContext, Mapper, Program,
    ProgramError,
};
use vivat_shared::attempt::{Counters, counters};
use vivat_shared::job::InputFormat;

use crate::error::{EngineError, InputProblem};
use crate::input::{Input, csv_header, csv_line_of};
use crate::task::{MapReport, MapTask};
use buffer::SortBuffer;
use careful::Watch;
use spill::{SpillSums, Spills};
use table::MergeTable;

pub(crate) use run::storage;

/// Bytes handed to the mapper at a time: small enough to notice a kill soon
/// and to stay in the cache, large enough that a search has room to run.
const CHUNK_BYTES: usize = 64 * 1024;

/// What gathers emitted records.
trait Gather<P: Program>: Emit<P::Key, P::Value> {
    /// Tells of the first thing that went wrong while emitting.
    fn check(&mut self) -> Result<(), EngineError>;

    /// Writes all that was gathered.
    fn finish(self) -> Result<Gathered, EngineError>;
}

/// What gathering came to.
#[derive(Debug, Default)]
struct Gathered {
    stored_bytes: Vec<u64>,
    emitted: u64,
    spilled: SpillSums,
}

impl Gathered {
    fn of(emitted: u64, (stored_bytes, spilled): (Vec<u64>, SpillSums)) -> Self {
        Self {
            stored_bytes,
            emitted,
            spilled,
        }
    }
}

pub(crate) fn run<P: Program>(program: &P, task: &MapTask<'_>) -> Result<MapReport, EngineError> {
    let header = match task.format {
        InputFormat::Csv => Some(csv_header(task.file, task.input)?),
        InputFormat::Text | InputFormat::WholeFile | InputFormat::Fixed(_) => None,
    };
    let mapped = match task.skipped_max {
        0 => once(program, task, header.as_ref(), None),
        _ => careful::run(program, task, header.as_ref()),
    };
    mapped.map_err(|error| in_csv(task, error))
}

/// Maps the split by a fresh mapper; with a watch without the records that it
/// steps over.
fn once<P: Program>(
    program: &P,
    task: &MapTask<'_>,
    header: Option<&CsvHeader>,
    watch: Option<&Watch>,
) -> Result<MapReport, EngineError> {
    let counter_set = CounterSet::default();
    let context = context(task, header, &counter_set);
    let place = run::Place {
        program,
        context: &context,
        cancel: task.cancel,
    };
    let spills = Spills::new(task);
    let (gathered, read) = match P::COMBINER {
        Combiner::Merge => drive(place, task, watch, MergeTable::new(place, spills))?,
        Combiner::None | Combiner::Combine => {
            drive(place, task, watch, SortBuffer::new(place, spills))?
        }
    };
    Ok(report(&gathered, read, &counter_set))
}

fn context<'t>(
    task: &'t MapTask<'_>,
    header: Option<&'t CsvHeader>,
    counters: &'t CounterSet,
) -> MapContext<'t> {
    MapContext {
        display: &task.file.display,
        header,
        file_index: task.range.file,
        file_bytes: task.file.bytes,
        split_offset: task.range.offset,
        split_bytes: task.range.bytes,
        split: task.split,
        splits: task.splits,
        partitions: task.partitions.max(1),
        parameters: task.parameters,
        broadcast: task.broadcast,
        side_files: task.side_files,
        counters,
        attempt: Attempt {
            scratch: task.scratch,
            stop: task.cancel,
            host: task.host,
        },
    }
}

/// In a CSV file, a record that is to blame has a line, and the input is bad, not
/// the program.
fn in_csv(task: &MapTask<'_>, error: EngineError) -> EngineError {
    match (task.format, error) {
        (
            InputFormat::Csv,
            EngineError::Program {
                source:
                    ProgramError {
                        detail,
                        offset: Some(offset),
                        missing_command: None,
                    },
            },
        ) => EngineError::BadInput {
            display: task.file.display.clone(),
            problem: InputProblem::BadRecord {
                offset,
                line: csv_line_of(task.file, task.input, offset),
                detail,
            },
        },
        (_, error) => error,
    }
}

/// Bytes and records of input.
type Read = (u64, u64);

fn drive<P: Program, G: Gather<P>>(
    place: run::Place<'_, P>,
    task: &MapTask<'_>,
    watch: Option<&Watch>,
    mut gather: G,
) -> Result<(Gathered, Read), EngineError> {
    let failed = |source| EngineError::Program { source };
    let display = task.file.display.as_str();
    let mut input = Input::open(task.file, task.input)?;
    let mut mapper = place.program.mapper(place.context).map_err(failed)?;
    let header_bytes = place.context.header.map_or(0, |header| header.end);
    let mut blocks = input.blocks(task.range, task.format, header_bytes)?;
    let mut read = (0, 0);
    while let Some(block) = blocks.next()? {
        let mut rest = block;
        while let Some(chunk) = take_chunk(&mut rest) {
            task.cancel.check()?;
            let mapped = match watch {
                None => mapper.map_block(&chunk, &mut gather),
                Some(watch) => watch.map(&mut mapper, &chunk, &mut gather),
            };
            // A program that notices that emitting failed ends with an error of its own.
            gather
                .check()
                .map_err(|error| error.of(display, Some(chunk.offset)))?;
            let records = mapped.map_err(failed)?;
            let bytes = chunk.bytes.len() as u64;
            task.progress.add(bytes, records);
            read.0 += bytes;
            read.1 += records;
        }
    }
    let finished = mapper.finish(&mut gather);
    gather.check().map_err(|error| error.of(display, None))?;
    finished.map_err(failed)?;
    input.check()?;
    task.cancel.check()?;
    let gathered = gather.finish().map_err(|error| error.of(display, None))?;
    Ok((gathered, read))
}

/// Takes whole records off the front of a block: about [`CHUNK_BYTES`].
fn take_chunk<'a>(rest: &mut Block<'a>) -> Option<Block<'a>> {
    let bytes = rest.bytes;
    let cut = match rest.framing {
        // One chunk, even of no bytes; then no framing that yields another.
        Framing::Whole => {
            let chunk = *rest;
            rest.framing = Framing::Lines;
            rest.bytes = &[];
            return Some(chunk);
        }
        Framing::Fixed(unit) => {
            let unit = unit as usize;
            (CHUNK_BYTES / unit).max(1) * unit
        }
        // Its blocks are no larger than they need to be.
        Framing::Csv => bytes.len(),
        Framing::Lines if bytes.len() <= CHUNK_BYTES => bytes.len(),
        Framing::Lines => match memchr::memrchr(b'\n', &bytes[..CHUNK_BYTES]) {
            Some(end) => end + 1,
            None => memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1),
        },
    };
    if bytes.is_empty() {
        return None;
    }
    let cut = cut.min(bytes.len());
    let chunk = Block {
        bytes: &bytes[..cut],
        ..*rest
    };
    rest.bytes = &bytes[cut..];
    rest.offset += cut as u64;
    Some(chunk)
}

fn report(gathered: &Gathered, read: Read, user: &CounterSet) -> MapReport {
    let mut sums: Counters = user.sums();
    let stored: u64 = gathered.stored_bytes.iter().sum();
    for (name, sum) in [
        (counters::MAP_INPUT_BYTES, read.0),
        (counters::MAP_INPUT_RECORDS, read.1),
        (counters::MAP_OUTPUT_RECORDS, gathered.emitted),
        (counters::MAP_OUTPUT_BYTES, stored),
        (counters::MAP_SPILLS, gathered.spilled.runs),
    ] {
        sums.insert(name.to_owned(), sum);
    }
    let spilled = gathered.spilled;
    for (name, sum) in [
        (counters::MAP_SPILLED_RECORDS, spilled.records),
        (counters::MAP_SPILLED_BYTES, spilled.bytes),
        (counters::MAP_MERGE_PASSES, spilled.passes),
    ] {
        if sum > 0 {
            sums.insert(name.to_owned(), sum);
        }
    }
    MapReport {
        stored_bytes: gathered.stored_bytes.clone(),
        skipped: Vec::new(),
        counters: sums,
    }
}
