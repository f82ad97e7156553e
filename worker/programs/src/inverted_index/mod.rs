//! Which words are in which documents: an inverted index.
//!
//! A document is an input file, known by the name that the user typed. Each word
//! is followed by its documents, sorted by name, with the number of its
//! occurrences or, under `positions=true`, the bytes at which they begin.
//!
//! Records carry numbers of files, not names: a name goes once from every map to
//! every reduce, under a key that sorts before all words.

mod key;
mod oracle;
mod positions;

use vivat_engine::{Executable, Runner};
use vivat_mapreduce::{
    Block, Combiner, Emit, EncodedKey, MapContext, Mapper, Output, Program, ProgramError, Record,
    ReduceContext, Reducer, Values,
};

use crate::catalogue::{Format, ProgramEntry};
use crate::decimal::Decimal;
use crate::parameters::{ParameterError, ParameterKind, ParameterSpec, Parameters};
use crate::words::{Words, records_of, scan_folded};
use key::{IndexKey, Names, Posting, View};

pub(crate) const ENTRY: ProgramEntry = ProgramEntry {
    name: "inverted-index",
    summary: "lists for each word the documents it occurs in, with counts or positions",
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
            help: "take words in lower case",
        },
        ParameterSpec {
            name: "positions",
            kind: ParameterKind::Boolean,
            default: Some("false"),
            help: "print the bytes at which the word begins instead of its count",
        },
    ],
    formats: &[Format::Text, Format::WholeFile],
    example: "vivat run inverted-index data/input/*.txt",
    build,
    oracle: oracle::oracle,
};

fn build(parameters: &Parameters) -> Result<Box<dyn Executable>, ParameterError> {
    let how = Reading::of(parameters);
    Ok(if parameters.is_true("positions") {
        Box::new(Runner::new(positions::PositionIndex { how }))
    } else {
        Box::new(Runner::new(CountIndex { how }))
    })
}

/// How words are found.
#[derive(Debug, Clone, Copy)]
struct Reading {
    words: Words,
    fold_case: bool,
}

impl Reading {
    fn of(parameters: &Parameters) -> Self {
        Self {
            words: Words::of(parameters.text("words")),
            fold_case: parameters.is_true("fold-case"),
        }
    }
}

struct CountIndex {
    how: Reading,
}

impl Program for CountIndex {
    type Key = IndexKey;
    type Value = Posting;
    type Mapper<'t> = CountWords<'t>;
    type Reducer<'t> = PrintCounts;
    const COMBINER: Combiner = Combiner::Merge;

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<CountWords<'t>, ProgramError> {
        Ok(CountWords {
            how: self.how,
            context,
            folded: Vec::new(),
        })
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<PrintCounts, ProgramError> {
        Ok(PrintCounts {
            names: Names::default(),
            postings: Vec::new(),
        })
    }

    /// Within a map all postings are of one file.
    #[inline]
    fn merge(&self, accumulator: &mut Posting, value: Posting) {
        accumulator.add(value);
    }

    #[inline]
    fn partition(&self, key: EncodedKey<'_>, context: &MapContext<'_>) -> u32 {
        key::partition(key, context.partitions)
    }
}

struct CountWords<'t> {
    how: Reading,
    context: &'t MapContext<'t>,
    folded: Vec<u8>,
}

impl CountWords<'_> {
    #[inline]
    fn text<E: Emit<IndexKey, Posting>>(&mut self, text: &[u8], emit: &mut E) {
        let one = Posting::new(self.context.file_index, 1);
        let how = (self.how.words, self.how.fold_case);
        scan_folded(how, text, &mut self.folded, |word| {
            emit.emit_slice(word.text, word.range(), one);
        });
    }
}

impl Mapper<IndexKey, Posting> for CountWords<'_> {
    fn map<E: Emit<IndexKey, Posting>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        self.text(record.bytes, emit);
        Ok(())
    }

    fn map_block<E: Emit<IndexKey, Posting>>(
        &mut self,
        block: &Block<'_>,
        emit: &mut E,
    ) -> Result<u64, ProgramError> {
        self.text(block.bytes, emit);
        Ok(records_of(block))
    }

    fn finish<E: Emit<IndexKey, Posting>>(self, emit: &mut E) -> Result<(), ProgramError> {
        let nothing = Posting::new(self.context.file_index, 0);
        key::tell_name(self.context, |key| emit.emit(key, nothing));
        Ok(())
    }
}

struct PrintCounts {
    names: Names,
    /// Rank of the name, and occurrences.
    postings: Vec<(u32, u64)>,
}

impl Reducer<IndexKey, Posting> for PrintCounts {
    fn reduce<S: Values<Posting>>(
        &mut self,
        key: View<'_>,
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        let word = match key {
            View::File { file, name, .. } => return self.names.learn(file, name),
            View::Word(word) => word,
        };
        self.names.rank();
        self.postings.clear();
        while let Some(posting) = values.next() {
            let rank = self.names.rank_of(posting.file())?;
            match self.postings.last_mut() {
                Some((last, count)) if *last == rank => *count += posting.count(),
                Some(_) | None => self.postings.push((rank, posting.count())),
            }
        }
        self.postings.sort_unstable_by_key(|(rank, _)| *rank);
        out.raw(word);
        for of_file in self.postings.chunk_by(|a, b| a.0 == b.0) {
            let count = of_file.iter().map(|(_, count)| count).sum();
            out.raw(b"\t");
            out.raw(self.names.name(of_file[0].0));
            out.raw(b":");
            out.raw(Decimal::new(count).as_bytes());
        }
        out.end_record();
        Ok(())
    }
}
