//! A program tried out on one thread, in memory: for its author's own tests.
//!
//! It keeps the promises of the engine (order, combiners, partitions, one record
//! after another) and none of its speed: records lie in vectors, and a map task is a
//! whole file. What the engine may do otherwise, a combiner's runs being cut anywhere,
//! is a matter for [`Rehearsal::combine_every`].

use std::collections::BTreeMap;
use std::path::Path;

use vivat_shared::attempt::Counters;

use crate::attempt::{Attempt, NO_HOST, StopSignal};
use crate::close::{CloseContext, Closed, PartSource, Parts};
use crate::context::{MapContext, ReduceContext, SideFiles};
use crate::counter::CounterSet;
use crate::csv::CsvHeader;
use crate::key::Key;
use crate::output::Output;
use crate::partition::EncodedKey;
use crate::program::{Combiner, Emit, EmitValue, Mapper, Program, ProgramError, Reducer, Values};
use crate::record::{Block, Framing};
use crate::value::Value;

/// How a program is to be tried.
///
/// ```
/// use vivat_mapreduce::Rehearsal;
/// use vivat_mapreduce::prelude::*;
/// # struct WordLengths;
/// # impl Program for WordLengths {
/// #     type Key = u64;
/// #     type Value = u64;
/// #     type Mapper<'t> = Self;
/// #     type Reducer<'t> = Self;
/// #     const COMBINER: Combiner = Combiner::Merge;
/// #     fn mapper<'t>(&'t self, _: &'t MapContext<'t>) -> Result<Self, ProgramError> {
/// #         Ok(Self)
/// #     }
/// #     fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Self, ProgramError> {
/// #         Ok(Self)
/// #     }
/// #     fn merge(&self, accumulator: &mut u64, value: u64) {
/// #         *accumulator += value;
/// #     }
/// # }
/// # impl Mapper<u64, u64> for WordLengths {
/// #     fn map<E: Emit<u64, u64>>(
/// #         &mut self,
/// #         record: Record<'_>,
/// #         emit: &mut E,
/// #     ) -> Result<(), ProgramError> {
/// #         for word in record.bytes.split(|byte| *byte == b' ') {
/// #             emit.emit(word.len() as u64, 1);
/// #         }
/// #         Ok(())
/// #     }
/// # }
/// # impl Reducer<u64, u64> for WordLengths {
/// #     fn reduce<S: Values<u64>>(
/// #         &mut self,
/// #         key: u64,
/// #         values: &mut S,
/// #         out: &mut Output<'_>,
/// #     ) -> Result<(), ProgramError> {
/// #         let mut sum = 0;
/// #         while let Some(value) = values.next() {
/// #             sum += value;
/// #         }
/// #         out.pair(key.to_string().as_bytes(), sum);
/// #         Ok(())
/// #     }
/// # }
///
/// let tried = Rehearsal::new()
///     .file("a.txt", "to be or\nnot to be\n")
///     .file("b.txt", "that is")
///     .run(&WordLengths)
///     .unwrap();
/// assert_eq!(tried.text(), "2\t6\n3\t1\n4\t1\n");
/// ```
#[derive(Debug, Clone)]
pub struct Rehearsal {
    files: Vec<(String, Vec<u8>)>,
    framing: Framing,
    partitions: u32,
    combine_every: usize,
    parameters: BTreeMap<String, String>,
    broadcast: Vec<u8>,
    side_files: SideFiles,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsed {
    /// What each partition's reducer wrote.
    pub parts: Vec<Vec<u8>>,
    /// Sums of the program's counters.
    pub counters: Counters,
}

impl Rehearsed {
    /// All parts, one after the other; what is no UTF-8 in them is shown as such.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.parts.concat()).into_owned()
    }
}

impl Default for Rehearsal {
    fn default() -> Self {
        Self::new()
    }
}

impl Rehearsal {
    /// Lines of text, one partition, no files yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            files: Vec::new(),
            framing: Framing::Lines,
            partitions: 1,
            combine_every: usize::MAX,
            parameters: BTreeMap::new(),
            broadcast: Vec::new(),
            side_files: SideFiles::default(),
        }
    }

    /// One more file, under the name that the program sees.
    #[must_use]
    pub fn file(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.files
            .push((name.to_owned(), content.as_ref().to_vec()));
        self
    }

    /// How records lie in the files. Those of CSV begin with a header.
    #[must_use]
    pub fn framing(self, framing: Framing) -> Self {
        Self { framing, ..self }
    }

    /// So many partitions, at least 1.
    #[must_use]
    pub fn partitions(self, partitions: u32) -> Self {
        let partitions = partitions.max(1);
        Self { partitions, ..self }
    }

    /// Combines whenever a map task has emitted so many records: memory decides
    /// about that in the engine, so no number may change what comes out.
    #[must_use]
    pub fn combine_every(self, records: usize) -> Self {
        let combine_every = records.max(1);
        Self {
            combine_every,
            ..self
        }
    }

    /// A parameter of the step.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.insert(name.to_owned(), value.to_owned());
        self
    }

    /// What a round before handed on.
    #[must_use]
    pub fn broadcast(self, broadcast: impl AsRef<[u8]>) -> Self {
        let broadcast = broadcast.as_ref().to_vec();
        Self { broadcast, ..self }
    }

    /// A file that the job brought along.
    #[must_use]
    pub fn side_file(mut self, name: &str, path: impl AsRef<Path>) -> Self {
        let known = self.side_files.iter();
        let known = known.map(|(name, path)| (name.to_owned(), path.to_owned()));
        let added = (name.to_owned(), path.as_ref().to_owned());
        self.side_files = known.chain([added]).collect();
        self
    }

    /// Maps every file, combines, and reduces every partition.
    ///
    /// # Errors
    ///
    /// The program's own, and a key or value that does not come back from its bytes.
    pub fn run<P: Program>(&self, program: &P) -> Result<Rehearsed, ProgramError> {
        let counters = CounterSet::default();
        let count = usize::try_from(self.partitions).unwrap_or(1);
        let mut sorted: Vec<Vec<Pair>> = vec![Vec::new(); count];
        for index in 0..self.files.len() {
            let emitted = self.map(program, index, &counters)?;
            for (all, mut of_task) in sorted.iter_mut().zip(emitted) {
                all.append(&mut of_task);
            }
        }
        let mut parts = Vec::with_capacity(count);
        for (partition, mut pairs) in (0..).zip(sorted) {
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            parts.push(self.reduce(program, partition, &pairs, &counters)?);
        }
        Ok(Rehearsed {
            parts,
            counters: counters.sums(),
        })
    }

    /// Ends a round whose reducers wrote these parts.
    ///
    /// # Errors
    ///
    /// The program's own.
    pub fn close<P: Program>(
        &self,
        program: &P,
        parts: &[Vec<u8>],
    ) -> Result<Closed, ProgramError> {
        let sources = parts.iter().map(|part| PartSource::of_bytes(part));
        program.close(
            &CloseContext {
                round: 0,
                rounds_max: 1,
                partitions: self.partitions,
                parameters: &self.parameters,
                broadcast: &self.broadcast,
                side_files: &self.side_files,
                counters: &CounterSet::default(),
            },
            &mut Parts::new(sources.collect()),
        )
    }

    fn map<P: Program>(
        &self,
        program: &P,
        index: usize,
        counters: &CounterSet,
    ) -> Result<Vec<Vec<Pair>>, ProgramError> {
        let (display, content) = &self.files[index];
        let header = match self.framing {
            Framing::Csv => CsvHeader::parse(content, true)?,
            Framing::Lines | Framing::Fixed(_) | Framing::Whole => None,
        };
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let context = MapContext {
            display,
            header: header.as_ref(),
            file_index: number(index),
            file_bytes: content.len() as u64,
            split_offset: 0,
            split_bytes: content.len() as u64,
            split: number(index),
            splits: number(self.files.len()),
            partitions: self.partitions,
            parameters: &self.parameters,
            broadcast: &self.broadcast,
            side_files: &self.side_files,
            counters,
            attempt: nobody(),
        };
        let start = header.as_ref().map_or(0, |header| header.end);
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let mut emitted = Emitted {
            program,
            context: &context,
            combine_every: self.combine_every,
            held: 0,
            open: vec![Vec::new(); self.partitions as usize],
            done: vec![Vec::new(); self.partitions as usize],
        };
        let mut mapper = program.mapper(&context)?;
        let block = Block {
            bytes: content.get(start..).unwrap_or_default(),
            offset: start as u64,
            framing: self.framing,
        };
        mapper.map_block(&block, &mut emitted)?;
        mapper.finish(&mut emitted)?;
        emitted.combine();
        Ok(emitted.done)
    }

    fn reduce<P: Program>(
        &self,
        program: &P,
        partition: u32,
        pairs: &[Pair],
        counters: &CounterSet,
    ) -> Result<Vec<u8>, ProgramError> {
        let context = ReduceContext {
            partition,
            partitions: self.partitions,
            parameters: &self.parameters,
            broadcast: &self.broadcast,
            side_files: &self.side_files,
            counters,
            attempt: nobody(),
        };
        let mut written = Vec::new();
        let mut out = Output::new(&mut written);
        let mut reducer = program.reducer(&context)?;
        for group in pairs.chunk_by(|a, b| a.0 == b.0) {
            let key = P::Key::decode(&group[0].0);
            let key = key.map_err(|error| ProgramError::new(format!("a key: {error}")))?;
            reducer.reduce(key, &mut Slices::of(group), &mut out)?;
        }
        reducer.finish(&mut out)?;
        let checked = out.check();
        checked.map_err(|error| ProgramError::new(format!("the output: {error}")))?;
        drop(out);
        Ok(written)
    }
}

/// An encoded key, an encoded value.
type Pair = (Vec<u8>, Vec<u8>);

/// Outside of a cluster: what runs outside of itself is not for a rehearsal.
fn nobody() -> Attempt<'static> {
    Attempt {
        scratch: Path::new("/nonexistent"),
        stop: &Never,
        host: NO_HOST,
    }
}

#[derive(Debug)]
struct Never;

impl StopSignal for Never {
    fn is_stopped(&self) -> bool {
        false
    }
}

/// What one map task emitted, by partition: since the last combining, and before.
struct Emitted<'c, P> {
    program: &'c P,
    context: &'c MapContext<'c>,
    combine_every: usize,
    held: usize,
    open: Vec<Vec<Pair>>,
    done: Vec<Vec<Pair>>,
}

impl<P: Program> Emitted<'_, P> {
    fn combine(&mut self) {
        self.held = 0;
        for (open, done) in self.open.iter_mut().zip(&mut self.done) {
            let mut pairs = std::mem::take(open);
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            for group in pairs.chunk_by(|a, b| a.0 == b.0) {
                let key = &group[0].0;
                let combined = combined(self.program, key, group);
                done.extend(combined.into_iter().map(|value| (key.clone(), value)));
            }
        }
    }
}

impl<P: Program> Emit<P::Key, P::Value> for Emitted<'_, P> {
    fn emit(&mut self, key: <P::Key as Key>::View<'_>, value: <P::Value as Value>::View<'_>) {
        let (mut key_bytes, mut value_bytes) = (Vec::new(), Vec::new());
        P::Key::encode(key, &mut key_bytes);
        P::Value::encode(value, &mut value_bytes);
        let of = self
            .program
            .partition(EncodedKey::new(&key_bytes), self.context);
        let last = self.open.len() - 1;
        self.open[(of as usize).min(last)].push((key_bytes, value_bytes));
        self.held += 1;
        if self.held >= self.combine_every {
            self.combine();
        }
    }
}

/// The values of a key after the program's combiner.
fn combined<P: Program>(program: &P, key: &[u8], group: &[Pair]) -> Vec<Vec<u8>> {
    let mut values = Slices::of(group);
    match P::COMBINER {
        Combiner::None => group.iter().map(|(_, value)| value.clone()).collect(),
        Combiner::Merge => {
            let Some(first) = Values::<P::Value>::next(&mut values) else {
                return Vec::new();
            };
            let mut accumulator = P::Value::own(first);
            while let Some(value) = Values::<P::Value>::next(&mut values) {
                program.merge(&mut accumulator, value);
            }
            let mut bytes = Vec::new();
            P::Value::encode(accumulator.view(), &mut bytes);
            vec![bytes]
        }
        Combiner::Combine => {
            let mut fewer = Fewer(Vec::new());
            if let Ok(key) = P::Key::decode(key) {
                program.combine(key, &mut values, &mut fewer);
            }
            fewer.0
        }
    }
}

struct Fewer(Vec<Vec<u8>>);

impl<V: Value> EmitValue<V> for Fewer {
    fn emit(&mut self, value: V::View<'_>) {
        let mut bytes = Vec::new();
        V::encode(value, &mut bytes);
        self.0.push(bytes);
    }
}

/// Encoded values, read one after the other.
struct Slices<'p> {
    left: std::slice::Iter<'p, Pair>,
}

impl<'p> Slices<'p> {
    fn of(group: &'p [Pair]) -> Self {
        Self { left: group.iter() }
    }
}

impl<V: Value> Values<V> for Slices<'_> {
    fn next(&mut self) -> Option<V::View<'_>> {
        let (_, value) = self.left.next()?;
        // Encoded a moment ago, by the same type.
        V::decode(value).ok()
    }
}
