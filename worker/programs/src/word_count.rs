//! Counts words.
//!
//! With `words=letters` a word is a maximal run of alphabetic code points
//! (`char::is_alphabetic`), and bytes that are not UTF-8 separate words. With
//! `words=whitespace` words are what stands between Unicode white space, and
//! bytes that are not UTF-8 are part of them. Either way a line end separates
//! words, so blocks are scanned whole and lines are only counted.
//!
//! `fold-case=true` counts the lower case (`str::to_lowercase`) of each word;
//! bytes that are not UTF-8 stay as they are.

use std::collections::HashMap;
use std::io::{self, Write};

use vivat_engine::{Executable, Runner};
use vivat_mapreduce::{
    Block, Combiner, Emit, Framing, MapContext, Mapper, Output, Program, ProgramError, Record,
    ReduceContext, Reducer, Values,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::catalogue::{Format, OracleInput, ProgramEntry};
use crate::parameters::{ParameterError, ParameterKind, ParameterSpec, Parameters};
use crate::sums::sum_of;
use crate::words::{Words, records_of, scan_folded};

pub(crate) const ENTRY: ProgramEntry = ProgramEntry {
    name: "word-count",
    summary: "counts how often each word occurs",
    parameters: &[
        ParameterSpec {
            name: "words",
            kind: ParameterKind::Choice(&["letters", "whitespace"]),
            default: Some("letters"),
            help: "what a word is: a run of alphabetic characters, or what white space separates",
        },
        ParameterSpec {
            name: "fold-case",
            kind: ParameterKind::Boolean,
            default: Some("false"),
            help: "count words in lower case",
        },
    ],
    formats: &[Format::Text],
    example: "vivat run word-count data/input/*.txt",
    build,
    oracle,
};

fn build(parameters: &Parameters) -> Result<Box<dyn Executable>, ParameterError> {
    Ok(Box::new(Runner::new(WordCount::of(parameters))))
}

struct WordCount {
    words: Words,
    fold_case: bool,
}

impl WordCount {
    fn of(parameters: &Parameters) -> Self {
        Self {
            words: if parameters.text("words") == "whitespace" {
                Words::Whitespace
            } else {
                Words::Letters
            },
            fold_case: parameters.is_true("fold-case"),
        }
    }
}

impl Program for WordCount {
    type Key = Vec<u8>;
    type Value = u64;
    type Mapper<'t> = CountWords;
    type Reducer<'t> = SumCounts;
    const COMBINER: Combiner = Combiner::Merge;

    fn mapper<'t>(&'t self, _: &'t MapContext<'t>) -> Result<CountWords, ProgramError> {
        Ok(CountWords {
            words: self.words,
            fold_case: self.fold_case,
            folded: Vec::new(),
        })
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<SumCounts, ProgramError> {
        Ok(SumCounts)
    }

    #[inline]
    fn merge(&self, accumulator: &mut u64, value: u64) {
        *accumulator += value;
    }
}

struct CountWords {
    words: Words,
    fold_case: bool,
    folded: Vec<u8>,
}

impl CountWords {
    fn text<E: Emit<Vec<u8>, u64>>(&mut self, text: &[u8], emit: &mut E) {
        let how = (self.words, self.fold_case);
        scan_folded(how, text, &mut self.folded, |word| {
            emit.emit_slice(word.text, word.range(), 1);
        });
    }
}

impl Mapper<Vec<u8>, u64> for CountWords {
    fn map<E: Emit<Vec<u8>, u64>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        self.text(record.bytes, emit);
        Ok(())
    }

    fn map_block<E: Emit<Vec<u8>, u64>>(
        &mut self,
        block: &Block<'_>,
        emit: &mut E,
    ) -> Result<u64, ProgramError> {
        match block.framing {
            Framing::Lines => {
                self.text(block.bytes, emit);
                Ok(records_of(block))
            }
            Framing::Fixed(_) | Framing::Whole | Framing::Csv => {
                let mut records = 0;
                for record in block.records() {
                    self.text(record.bytes, emit);
                    records += 1;
                }
                Ok(records)
            }
        }
    }
}

struct SumCounts;

impl Reducer<Vec<u8>, u64> for SumCounts {
    fn reduce<S: Values<u64>>(
        &mut self,
        key: &[u8],
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        out.pair(key, sum_of(values));
        Ok(())
    }
}

/// Counts in one map, character by character, and sorts at the end.
fn oracle(
    parameters: &Parameters,
    inputs: &[OracleInput],
    reducers: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let letters = parameters.text("words") == "letters";
    let fold_case = parameters.is_true("fold-case");
    let mut counts: HashMap<Vec<u8>, u64> = HashMap::new();
    let mut count = |word: &mut Vec<u8>| {
        if !word.is_empty() {
            let key = if fold_case {
                oracle_fold(word)
            } else {
                word.clone()
            };
            *counts.entry(key).or_default() += 1;
            word.clear();
        }
    };
    for input in inputs {
        let bytes = std::fs::read(&input.path)?;
        let mut word = Vec::new();
        for chunk in bytes.utf8_chunks() {
            for character in chunk.valid().chars() {
                let inside = if letters {
                    character.is_alphabetic()
                } else {
                    !character.is_whitespace()
                };
                if inside {
                    let mut encoded = [0; 4];
                    word.extend_from_slice(character.encode_utf8(&mut encoded).as_bytes());
                } else {
                    count(&mut word);
                }
            }
            if !letters {
                word.extend_from_slice(chunk.invalid());
            } else if !chunk.invalid().is_empty() {
                count(&mut word);
            }
        }
        count(&mut word);
    }
    let mut parts: Vec<Vec<(Vec<u8>, u64)>> = vec![Vec::new(); reducers as usize];
    for (word, count) in counts {
        let part = xxh3_64(&word) % u64::from(reducers);
        parts[usize::try_from(part).unwrap_or(0)].push((word, count));
    }
    for part in &mut parts {
        part.sort();
        for (word, count) in part {
            out.write_all(word)?;
            writeln!(out, "\t{count}")?;
        }
    }
    Ok(())
}

fn oracle_fold(word: &[u8]) -> Vec<u8> {
    let mut folded = Vec::new();
    for chunk in word.utf8_chunks() {
        folded.extend_from_slice(chunk.valid().to_lowercase().as_bytes());
        folded.extend_from_slice(chunk.invalid());
    }
    folded
}
