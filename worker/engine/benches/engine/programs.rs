//! Programs that do as little as can be, so that what is measured is the engine.

use vivat_mapreduce::{
    Combiner, Emit, EncodedKey, MapContext, Mapper, Output, Program, ProgramError, Record,
    ReduceContext, Reducer, Values,
};

/// Counts words.
#[derive(Clone, Copy, Default)]
pub struct Count;

impl Program for Count {
    type Key = Vec<u8>;
    type Value = u64;
    type Mapper<'t> = CountWords;
    type Reducer<'t> = Sum;
    const COMBINER: Combiner = Combiner::Merge;

    fn mapper<'t>(&'t self, _: &'t MapContext<'t>) -> Result<CountWords, ProgramError> {
        Ok(CountWords)
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Sum, ProgramError> {
        Ok(Sum)
    }

    fn merge(&self, accumulator: &mut u64, value: u64) {
        *accumulator += value;
    }
}

pub struct CountWords;

impl Mapper<Vec<u8>, u64> for CountWords {
    fn map<E: Emit<Vec<u8>, u64>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        for word in record.bytes.split(|byte| !byte.is_ascii_alphabetic()) {
            if !word.is_empty() {
                emit.emit(word, 1);
            }
        }
        Ok(())
    }
}

pub struct Sum;

impl Reducer<Vec<u8>, u64> for Sum {
    fn reduce<S: Values<u64>>(
        &mut self,
        key: &[u8],
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        let mut sum = 0;
        while let Some(value) = values.next() {
            sum += value;
        }
        out.pair(key, sum);
        Ok(())
    }
}

/// Puts lines in order: the key is the line, partitions are ranges.
#[derive(Clone, Copy, Default)]
pub struct Sort;

impl Program for Sort {
    type Key = Vec<u8>;
    type Value = Vec<u8>;
    type Mapper<'t> = Lines;
    type Reducer<'t> = Lines;

    fn mapper<'t>(&'t self, _: &'t MapContext<'t>) -> Result<Lines, ProgramError> {
        Ok(Lines)
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Lines, ProgramError> {
        Ok(Lines)
    }

    fn partition(&self, key: EncodedKey<'_>, context: &MapContext<'_>) -> u32 {
        let first = key.bytes().last().copied().unwrap_or(0);
        u32::from(first) % context.partitions
    }
}

pub struct Lines;

impl Mapper<Vec<u8>, Vec<u8>> for Lines {
    fn map<E: Emit<Vec<u8>, Vec<u8>>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        emit.emit(record.bytes, b"");
        Ok(())
    }
}

impl Reducer<Vec<u8>, Vec<u8>> for Lines {
    fn reduce<S: Values<Vec<u8>>>(
        &mut self,
        key: &[u8],
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        while values.next().is_some() {
            out.line(key);
        }
        Ok(())
    }
}

/// Emits nothing.
#[derive(Clone, Copy, Default)]
pub struct Nothing;

impl Program for Nothing {
    type Key = Vec<u8>;
    type Value = u64;
    type Mapper<'t> = Silence;
    type Reducer<'t> = Sum;

    fn mapper<'t>(&'t self, _: &'t MapContext<'t>) -> Result<Silence, ProgramError> {
        Ok(Silence)
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Sum, ProgramError> {
        Ok(Sum)
    }
}

pub struct Silence;

impl Mapper<Vec<u8>, u64> for Silence {
    fn map<E: Emit<Vec<u8>, u64>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        if record.bytes.is_empty() {
            emit.emit(record.bytes, 1);
        }
        Ok(())
    }
}
