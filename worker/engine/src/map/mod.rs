//! The map side: reads a split, gathers what the program emits, writes the
//! segment file.
//!
//! Gathering is a hash table for programs that merge values and a sort buffer
//! for the others. Both keep inside the budget by spilling sorted runs.

mod buffer;
mod run;
mod spill;
mod table;

use vivat_mapreduce::{Block, Combiner, CounterSet, Emit, Framing, MapContext, Mapper, Program};
use vivat_shared::attempt::{Counters, counters};

use crate::error::EngineError;
use crate::input::Input;
use crate::task::{MapReport, MapTask};
use buffer::SortBuffer;
use spill::Spills;
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
    spills: u64,
}

pub(crate) fn run<P: Program>(program: &P, task: &MapTask<'_>) -> Result<MapReport, EngineError> {
    let counter_set = CounterSet::default();
    let context = MapContext {
        display: &task.file.display,
        file_index: task.range.file,
        file_bytes: task.file.bytes,
        split_offset: task.range.offset,
        split_bytes: task.range.bytes,
        split: task.split,
        splits: task.splits,
        partitions: task.partitions.max(1),
        parameters: task.parameters,
        broadcast: task.broadcast,
        counters: &counter_set,
    };
    let place = run::Place {
        program,
        context: &context,
        cancel: task.cancel,
    };
    let spills = Spills::new(task);
    let (gathered, read) = match P::COMBINER {
        Combiner::Merge => drive(place, task, MergeTable::new(place, spills))?,
        Combiner::None | Combiner::Combine => drive(place, task, SortBuffer::new(place, spills))?,
    };
    Ok(report(&gathered, read, &counter_set))
}

/// Bytes and records of input.
type Read = (u64, u64);

fn drive<P: Program, G: Gather<P>>(
    place: run::Place<'_, P>,
    task: &MapTask<'_>,
    mut gather: G,
) -> Result<(Gathered, Read), EngineError> {
    let failed = |source| EngineError::Program { source };
    let display = task.file.display.as_str();
    let mut input = Input::open(task.file, task.input)?;
    let mut mapper = place.program.mapper(place.context).map_err(failed)?;
    let mut blocks = input.blocks(task.range, task.format)?;
    let mut read = (0, 0);
    while let Some(block) = blocks.next()? {
        let mut rest = block;
        while let Some(chunk) = take_chunk(&mut rest) {
            task.cancel.check()?;
            let records = mapper.map_block(&chunk, &mut gather).map_err(failed)?;
            gather
                .check()
                .map_err(|error| error.of(display, Some(chunk.offset)))?;
            let bytes = chunk.bytes.len() as u64;
            task.progress.add(bytes, records);
            read.0 += bytes;
            read.1 += records;
        }
    }
    mapper.finish(&mut gather).map_err(failed)?;
    gather.check().map_err(|error| error.of(display, None))?;
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
        (counters::MAP_SPILLS, gathered.spills),
    ] {
        sums.insert(name.to_owned(), sum);
    }
    MapReport {
        stored_bytes: gathered.stored_bytes.clone(),
        counters: sums,
    }
}
