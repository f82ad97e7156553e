//! Maps a split whose program fails on some of its records, without them.
//!
//! A program that returns an error or panics leaves a mapper that nobody may use
//! any more, and a gathering that holds half of what the record was to emit. So
//! nothing of a failed run is kept:
//!
//! 1. The split is mapped as always. Only when that fails because of the program
//!    does the rest happen.
//! 2. A search maps all records one by one and throws away what they emit. A
//!    record that fails is tried once more by a fresh mapper; when that fails too,
//!    it is bad. The search goes on with a fresh mapper: one pass finds all bad
//!    records, however many they are.
//! 3. The split is mapped from its beginning by a fresh mapper, record by record,
//!    without the bad ones. A record that fails now, because of what came before
//!    it, is bad when it has failed twice.
//!
//! What comes out is what the split gives without the bad records. More of them
//! than the job allows fail the task with the error of the first one too many.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use vivat_mapreduce::{
    Block, CounterSet, CsvHeader, Emit, Key, Mapper, Program, ProgramError, Value,
};
use vivat_shared::attempt::{SkippedRecord, counters};
use vivat_shared::limits::{SKIPPED_BYTES_MAX, SKIPPED_RECORDS_MAX, SKIPPED_TEXT_BYTES_MAX};

use super::{context, once, take_chunk};
use crate::error::EngineError;
use crate::input::Input;
use crate::task::{MapReport, MapTask};

/// Failures of one record before it is skipped.
const FAILURES: u32 = 2;
/// Runs without the bad records that fail, before the task does.
const RUNS_MAX: u32 = 16;

/// What a careful run steps over, and where it is.
#[derive(Debug, Default)]
pub(super) struct Watch {
    bad: BTreeSet<u64>,
    /// Where the record begins that is being mapped.
    current: Cell<Option<u64>>,
    /// Its first bytes.
    front: RefCell<Vec<u8>>,
}

impl Watch {
    /// Maps the records of a chunk one by one, without the bad ones.
    pub fn map<K: Key, V: Value, M: Mapper<K, V>, E: Emit<K, V>>(
        &self,
        mapper: &mut M,
        chunk: &Block<'_>,
        emit: &mut E,
    ) -> Result<u64, ProgramError> {
        let mut mapped = 0;
        for record in singly(chunk) {
            if !self.bad.contains(&record.offset) {
                self.current.set(Some(record.offset));
                let mut front = self.front.borrow_mut();
                front.clear();
                front.extend_from_slice(first(record.bytes));
                drop(front);
                mapped += mapper.map_block(&record, emit)?;
            }
        }
        self.current.set(None);
        Ok(mapped)
    }
}

/// Why a run or a record failed.
enum Trouble {
    /// The program returned an error.
    Error(ProgramError),
    /// It panicked.
    Panic(Box<dyn Any + Send>),
    /// Something else failed, which no record is to blame for.
    Other(EngineError),
}

impl Trouble {
    fn words(&self) -> String {
        match self {
            Self::Error(error) => error.detail.clone(),
            Self::Panic(payload) => {
                let text = payload.downcast_ref::<&str>().copied();
                let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
                format!("panicked: {}", text.unwrap_or("without a message"))
            }
            Self::Other(error) => error.to_string(),
        }
    }

    /// Ends the task with it: a panic goes on to whoever catches those of tasks.
    fn end<T>(self, offset: Option<u64>) -> Result<T, EngineError> {
        match self {
            Self::Error(source) => Err(EngineError::Program {
                source: ProgramError {
                    offset: source.offset.or(offset),
                    ..source
                },
            }),
            Self::Panic(payload) => resume_unwind(payload),
            Self::Other(error) => Err(error),
        }
    }
}

fn tried<T>(code: impl FnOnce() -> Result<T, EngineError>) -> Result<T, Trouble> {
    // What the code touched is thrown away, but for counts that are put right.
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(EngineError::Program { source })) => Err(Trouble::Error(source)),
        Ok(Err(error)) => Err(Trouble::Other(error)),
        Err(payload) => Err(Trouble::Panic(payload)),
    }
}

pub(super) fn run<P: Program>(
    program: &P,
    task: &MapTask<'_>,
    header: Option<&CsvHeader>,
) -> Result<MapReport, EngineError> {
    let before = (task.progress.bytes(), task.progress.records());
    match tried(|| once(program, task, header, None)) {
        Ok(report) => return Ok(report),
        Err(other @ Trouble::Other(_)) => return other.end(None),
        Err(Trouble::Error(_) | Trouble::Panic(_)) => {}
    }
    let mut skips = Skips::new(task);
    search(program, task, header, &mut skips)?;
    let mut failures: BTreeMap<u64, u32> = BTreeMap::new();
    let mut runs = 0;
    loop {
        runs += 1;
        task.progress.put_back(before);
        let watch = Watch {
            bad: skips.offsets.clone(),
            ..Watch::default()
        };
        let trouble = match tried(|| once(program, task, header, Some(&watch))) {
            Ok(report) => return Ok(skips.report(report)),
            Err(trouble) => trouble,
        };
        let (Some(offset), Trouble::Error(_) | Trouble::Panic(_)) = (watch.current.get(), &trouble)
        else {
            return trouble.end(None);
        };
        let times = failures.entry(offset).or_default();
        *times += 1;
        if runs == RUNS_MAX {
            return trouble.end(Some(offset));
        }
        if *times >= FAILURES
            && let Err(trouble) = skips.add(offset, &watch.front.take(), trouble)
        {
            return trouble.end(Some(offset));
        }
    }
}

/// Finds the records that fail by themselves.
fn search<P: Program>(
    program: &P,
    task: &MapTask<'_>,
    header: Option<&CsvHeader>,
    skips: &mut Skips,
) -> Result<(), EngineError> {
    let counter_set = CounterSet::default();
    let context = context(task, header, &counter_set);
    let fresh = || {
        tried(|| {
            let mapper = program.mapper(&context);
            mapper.map_err(|source| EngineError::Program { source })
        })
    };
    let mut input = Input::open(task.file, task.input)?;
    let mut mapper = fresh().or_else(|trouble| trouble.end(None))?;
    let header_bytes = header.map_or(0, |header| header.end);
    let mut blocks = input.blocks(task.range, task.format, header_bytes)?;
    while let Some(block) = blocks.next()? {
        let mut rest = block;
        while let Some(chunk) = take_chunk(&mut rest) {
            task.cancel.check()?;
            for record in singly(&chunk) {
                for failures in 1.. {
                    let Err(trouble) = try_record(&mut mapper, &record) else {
                        break;
                    };
                    mapper = fresh().or_else(|trouble| trouble.end(None))?;
                    if failures == FAILURES {
                        if let Err(trouble) = skips.add(record.offset, record.bytes, trouble) {
                            return trouble.end(Some(record.offset));
                        }
                        break;
                    }
                }
            }
        }
    }
    Ok(())
}

fn try_record<K: Key, V: Value, M: Mapper<K, V>>(
    mapper: &mut M,
    record: &Block<'_>,
) -> Result<(), Trouble> {
    tried(|| {
        let mapped = mapper.map_block(record, &mut Discard);
        mapped.map_err(|source| EngineError::Program { source })?;
        Ok(())
    })
}

/// The records of a chunk as blocks of their own, with their ends.
fn singly<'a>(chunk: &Block<'a>) -> impl Iterator<Item = Block<'a>> {
    let chunk = *chunk;
    let mut records = chunk.records().map(|record| record.offset).peekable();
    std::iter::from_fn(move || {
        let offset = records.next()?;
        let end = chunk.offset + chunk.bytes.len() as u64;
        let end = records.peek().copied().unwrap_or(end);
        let place = |at: u64| usize::try_from(at - chunk.offset).unwrap_or(usize::MAX);
        Some(Block {
            bytes: &chunk.bytes[place(offset)..place(end)],
            offset,
            ..chunk
        })
    })
}

/// Takes what nobody wants.
struct Discard;

impl<K: Key, V: Value> Emit<K, V> for Discard {
    fn emit(&mut self, _: K::View<'_>, _: V::View<'_>) {}
}

/// The records that are skipped.
struct Skips {
    display: String,
    skipped_max: u64,
    offsets: BTreeSet<u64>,
    told: Vec<SkippedRecord>,
}

impl Skips {
    fn new(task: &MapTask<'_>) -> Self {
        Self {
            display: clipped(&task.file.display, SKIPPED_TEXT_BYTES_MAX),
            skipped_max: task.skipped_max,
            offsets: BTreeSet::new(),
            told: Vec::new(),
        }
    }

    /// One more; gives the trouble back when it is one too many.
    fn add(&mut self, offset: u64, bytes: &[u8], trouble: Trouble) -> Result<(), Trouble> {
        if self.offsets.len() as u64 >= self.skipped_max {
            return Err(trouble);
        }
        self.offsets.insert(offset);
        if self.told.len() < SKIPPED_RECORDS_MAX {
            self.told.push(SkippedRecord {
                display: self.display.clone(),
                offset,
                bytes: first(bytes).to_vec(),
                problem: clipped(&trouble.words(), SKIPPED_TEXT_BYTES_MAX),
            });
        }
        Ok(())
    }

    fn report(self, mut report: MapReport) -> MapReport {
        let name = counters::MAP_RECORDS_SKIPPED.to_owned();
        if !self.offsets.is_empty() {
            report.counters.insert(name, self.offsets.len() as u64);
        }
        report.skipped = self.told;
        report
    }
}

/// What is kept of a record.
fn first(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(SKIPPED_BYTES_MAX)]
}

fn clipped(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].to_owned()
}
