//! The traits of a program.
//!
//! Order is promised: the values of a key reach its reducer in the order of the
//! map tasks, and within a task in the order of emission. With a combiner the
//! same holds for what it made of neighbours, and where its pieces are cut
//! depends on memory: so a combiner must be associative, exactly. A sum of
//! integers is; a sum of floats is not, and wants a reducer alone.

use std::ops::Range;

use crate::close::{CloseContext, Closed, Parts};
use crate::context::{MapContext, ReduceContext};
use crate::counter::CounterError;
use crate::key::{Key, TextKey};
use crate::output::Output;
use crate::partition::EncodedKey;
use crate::record::{Block, Record};
use crate::value::Value;

/// A program's word that it cannot go on: the attempt fails with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct ProgramError {
    /// What is wrong, for the person who submitted the job.
    pub detail: String,
    /// Where in the file, when one record is to blame.
    pub offset: Option<u64>,
    /// The command that is not there, when that is what is wrong: no other attempt
    /// finds it.
    pub missing_command: Option<String>,
}

impl ProgramError {
    /// An error that no single record is to blame for.
    pub fn new(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            offset: None,
            missing_command: None,
        }
    }

    /// An error of the record that begins at `offset`.
    pub fn at(offset: u64, detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            offset: Some(offset),
            missing_command: None,
        }
    }

    /// A command that cannot be started, because it is not there.
    pub fn no_command(command: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            offset: None,
            missing_command: Some(command.into()),
        }
    }

    /// An error of a part that cannot be read. The engine knows more about it,
    /// and what it knows goes into the report instead.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "it is named where a function of an error is wanted"
    )]
    #[must_use]
    pub fn part(error: std::io::Error) -> Self {
        Self::new(format!("a part cannot be read: {error}"))
    }

    pub(crate) fn counter(error: CounterError) -> Self {
        Self::new(error.to_string())
    }
}

/// What is done to records between map and shuffle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Combiner {
    /// Nothing: every emitted record travels.
    #[default]
    None,
    /// [`Program::merge`]: values of a key are folded in a hash table as they
    /// are emitted. The fastest where keys repeat.
    Merge,
    /// [`Program::combine`]: runs over the values of a key whenever a sorted
    /// run is written or merged.
    Combine,
}

/// A map-shuffle-reduce program. One value serves all tasks of a worker.
pub trait Program: Send + Sync + 'static {
    /// Type of the keys.
    type Key: Key;
    /// Type of the values.
    type Value: Value;
    /// State of one map task.
    type Mapper<'t>: Mapper<Self::Key, Self::Value>
    where
        Self: 't;
    /// State of one reduce task.
    type Reducer<'t>: Reducer<Self::Key, Self::Value>
    where
        Self: 't;

    /// What is done to records between map and shuffle.
    const COMBINER: Combiner = Combiner::None;

    /// Whether [`Program::close`] is there. A step that is to have rounds is refused,
    /// where it is typed, when its program does not say so.
    const CLOSES: bool = false;

    /// Starts a map task.
    ///
    /// # Errors
    ///
    /// The attempt fails with the program's error.
    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<Self::Mapper<'t>, ProgramError>;

    /// Starts a reduce task.
    ///
    /// # Errors
    ///
    /// The attempt fails with the program's error.
    fn reducer<'t>(
        &'t self,
        context: &'t ReduceContext<'t>,
    ) -> Result<Self::Reducer<'t>, ProgramError>;

    /// Folds `value` into `accumulator`, under [`Combiner::Merge`]. Must be
    /// associative; the accumulator always holds the earlier values.
    #[inline]
    fn merge(&self, accumulator: &mut Self::Value, value: <Self::Value as Value>::View<'_>) {
        let _ = (accumulator, value);
    }

    /// Emits fewer values in place of `values`, under [`Combiner::Combine`].
    /// The default passes them on.
    fn combine<S: Values<Self::Value>, E: EmitValue<Self::Value>>(
        &self,
        key: <Self::Key as Key>::Decoded<'_>,
        values: &mut S,
        emit: &mut E,
    ) {
        let _ = key;
        while let Some(value) = values.next() {
            emit.emit(value);
        }
    }

    /// The partition of a key: less than `context.partitions`, and always the
    /// same for the same key in a round. The default is
    /// [`partition_of`](crate::partition_of).
    #[inline]
    fn partition(&self, key: EncodedKey<'_>, context: &MapContext<'_>) -> u32 {
        key.partition(context.partitions)
    }

    /// Ends a round of a step that closes: reads what its reduces wrote, and
    /// says what the next tasks shall know and whether another round is wanted.
    ///
    /// It may run more than once, and only one of its answers counts: so it must
    /// answer the same for the same parts. A mean that goes on until it rests:
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use std::io::Read;
    /// use vivat_mapreduce::{CloseContext, Closed, Parts, ProgramError};
    ///
    /// fn close(
    ///     context: &CloseContext<'_>,
    ///     parts: &mut Parts<'_>,
    /// ) -> Result<Closed, ProgramError> {
    ///     let mut text = String::new();
    ///     while let Some(mut part) = parts.next()? {
    ///         part.read_to_string(&mut text).map_err(ProgramError::part)?;
    ///     }
    ///     let numbers: Vec<f64> = text.lines().filter_map(|line| line.parse().ok()).collect();
    ///     let mean = numbers.iter().sum::<f64>() / numbers.len().max(1) as f64;
    ///     let broadcast = mean.to_string().into_bytes();
    ///     Ok(Closed {
    ///         again: broadcast != context.broadcast,
    ///         broadcast,
    ///         metrics: BTreeMap::from([("mean".to_owned(), mean)]),
    ///     })
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The attempt fails with the program's error. The default has one: a step
    /// cannot close with a program that does not say how.
    fn close(
        &self,
        context: &CloseContext<'_>,
        parts: &mut Parts<'_>,
    ) -> Result<Closed, ProgramError> {
        let _ = (context, parts);
        Err(ProgramError::new("this program does not close rounds"))
    }
}

/// The state of one map task.
pub trait Mapper<K: Key, V: Value> {
    /// Maps one record.
    ///
    /// # Errors
    ///
    /// The attempt fails with the program's error.
    fn map<E: Emit<K, V>>(&mut self, record: Record<'_>, emit: &mut E) -> Result<(), ProgramError>;

    /// Maps a block of whole records and returns how many it held. The default
    /// calls [`Mapper::map`] for each.
    ///
    /// # Errors
    ///
    /// The attempt fails with the program's error.
    #[inline]
    fn map_block<E: Emit<K, V>>(
        &mut self,
        block: &Block<'_>,
        emit: &mut E,
    ) -> Result<u64, ProgramError> {
        let mut records = 0;
        for record in block.records() {
            self.map(record, emit).map_err(|error| ProgramError {
                offset: error.offset.or(Some(record.offset)),
                ..error
            })?;
            records += 1;
        }
        Ok(records)
    }

    /// Ends the task: the last chance to emit.
    ///
    /// # Errors
    ///
    /// The attempt fails with the program's error.
    fn finish<E: Emit<K, V>>(self, emit: &mut E) -> Result<(), ProgramError>
    where
        Self: Sized,
    {
        let _ = emit;
        Ok(())
    }
}

/// Takes what a mapper emits. Emitting cannot fail here: when a disk is full
/// the engine ends the task after the current block.
pub trait Emit<K: Key, V: Value> {
    /// Emits one record.
    fn emit(&mut self, key: K::View<'_>, value: V::View<'_>);

    /// Whether emitting is of no use any more, for programs whose output may be
    /// without end. Nothing is said by false.
    fn has_failed(&self) -> bool {
        false
    }

    /// The same for a key that is a slice of a text: looking at what stands behind a
    /// short one is faster than asking how short it is.
    ///
    /// # Panics
    ///
    /// When the text is shorter than the slice.
    #[inline]
    fn emit_slice(&mut self, text: &[u8], slice: Range<usize>, value: V::View<'_>)
    where
        K: TextKey,
    {
        self.emit(K::of_text(&text[slice]), value);
    }
}

/// Takes what a combiner emits for one key.
pub trait EmitValue<V: Value> {
    /// Emits one value.
    fn emit(&mut self, value: V::View<'_>);
}

/// The values of one key, streamed: each is gone when the next is asked for.
pub trait Values<V: Value> {
    /// The next value; `None` after the last. When a segment turns out to be
    /// damaged the values end early too, and the engine fails the task
    /// whatever the reducer makes of it.
    fn next(&mut self) -> Option<V::View<'_>>;
}

/// The state of one reduce task.
pub trait Reducer<K: Key, V: Value> {
    /// Reduces one key. Values that are not asked for are skipped.
    ///
    /// # Errors
    ///
    /// The attempt fails with the program's error.
    fn reduce<S: Values<V>>(
        &mut self,
        key: K::Decoded<'_>,
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError>;

    /// Ends the task: the last chance to write.
    ///
    /// # Errors
    ///
    /// The attempt fails with the program's error.
    fn finish(self, out: &mut Output<'_>) -> Result<(), ProgramError>
    where
        Self: Sized,
    {
        let _ = out;
        Ok(())
    }
}
