//! The terms that tell documents apart: the most frequent words of each, without
//! those that every text has.
//!
//! Under `by=document` a document is an input file. Under `by=host` a line is a
//! URL, a tab and text, and all texts of one host are one document; lines of
//! another shape are counted in `term-vector.not-url-lines` and passed over.
//!
//! Terms come by falling count, those of one count by their bytes.

mod oracle;
mod stop;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use memchr::{memchr, memmem};
use vivat_engine::{Executable, Runner};
use vivat_mapreduce::{
    Block, Combiner, Counter, Emit, EncodedKey, MapContext, Mapper, Output, Program, ProgramError,
    Record, ReduceContext, Reducer, Values,
};

use crate::catalogue::{Format, ProgramEntry};
use crate::parameters::{ParameterError, ParameterKind, ParameterSpec, Parameters};
use crate::sums::sum_of;
use crate::tuple::first_partition;
use crate::words::{Words, scan_folded};

pub(crate) const ENTRY: ProgramEntry = ProgramEntry {
    name: "term-vector",
    summary: "lists the most frequent words of each document or host, without stop words",
    parameters: &[
        ParameterSpec {
            name: "top",
            kind: ParameterKind::Integer {
                min: 1,
                max: 100_000,
            },
            default: Some("10"),
            help: "words listed of each document",
        },
        ParameterSpec {
            name: "by",
            kind: ParameterKind::Choice(&["document", "host"]),
            default: Some("document"),
            help: "what is one document: a file, or the host of lines URL<TAB>TEXT",
        },
        ParameterSpec {
            name: "stop-words",
            kind: ParameterKind::Text,
            default: Some("english"),
            help: "words left out: english, none, or a list with commas between",
        },
        ParameterSpec {
            name: "words",
            kind: ParameterKind::Choice(&["letters", "whitespace"]),
            default: Some("letters"),
            help: "what a word is: a run of alphabetic characters, or what white space separates",
        },
        ParameterSpec {
            name: "fold-case",
            kind: ParameterKind::Boolean,
            default: Some("true"),
            help: "take words, and stop words, in lower case",
        },
    ],
    formats: &[Format::Text, Format::WholeFile],
    example: "vivat run term-vector data/input/*.txt -p top=5",
    build,
    oracle: oracle::oracle,
};

/// Lines that were passed over.
const NOT_URL_LINES: &str = "term-vector.not-url-lines";

fn build(parameters: &Parameters) -> Result<Box<dyn Executable>, ParameterError> {
    let fold_case = parameters.is_true("fold-case");
    Ok(Box::new(Runner::new(TermVector {
        how: (Words::of(parameters.text("words")), fold_case),
        by_host: parameters.text("by") == "host",
        stop: stop::list(parameters.text("stop-words"), fold_case),
        top: usize::try_from(parameters.integer("top")).unwrap_or(usize::MAX),
    })))
}

struct TermVector {
    how: (Words, bool),
    by_host: bool,
    stop: HashSet<Vec<u8>>,
    top: usize,
}

/// Document, word.
type Term = (Vec<u8>, Vec<u8>);

impl Program for TermVector {
    type Key = Term;
    type Value = u64;
    type Mapper<'t> = CountTerms<'t>;
    type Reducer<'t> = KeepTop;
    const COMBINER: Combiner = Combiner::Merge;

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<CountTerms<'t>, ProgramError> {
        Ok(CountTerms {
            program: self,
            display: context.display.as_bytes(),
            not_url_lines: context.counter(NOT_URL_LINES)?,
            folded: Vec::new(),
        })
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<KeepTop, ProgramError> {
        Ok(KeepTop {
            top: self.top,
            document: None,
            terms: BinaryHeap::new(),
        })
    }

    #[inline]
    fn merge(&self, accumulator: &mut u64, value: u64) {
        *accumulator += value;
    }

    fn partition(&self, key: EncodedKey<'_>, context: &MapContext<'_>) -> u32 {
        first_partition(key.bytes(), context.partitions)
    }
}

struct CountTerms<'t> {
    program: &'t TermVector,
    display: &'t [u8],
    not_url_lines: Counter,
    folded: Vec<u8>,
}

impl CountTerms<'_> {
    fn text<E: Emit<Term, u64>>(&mut self, document: &[u8], text: &[u8], emit: &mut E) {
        let TermVector { how, stop, .. } = self.program;
        scan_folded(*how, text, &mut self.folded, |word| {
            let word = word.bytes();
            if !stop.contains(word) {
                emit.emit((document, word), 1);
            }
        });
    }
}

impl Mapper<Term, u64> for CountTerms<'_> {
    fn map<E: Emit<Term, u64>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        if !self.program.by_host {
            self.text(self.display, record.bytes, emit);
            return Ok(());
        }
        for line in record.bytes.split(|byte| *byte == b'\n') {
            match host_and_text(line) {
                Some((host, text)) => self.text(&host.to_ascii_lowercase(), text, emit),
                None if line.is_empty() => {}
                None => self.not_url_lines.add(1),
            }
        }
        Ok(())
    }

    fn map_block<E: Emit<Term, u64>>(
        &mut self,
        block: &Block<'_>,
        emit: &mut E,
    ) -> Result<u64, ProgramError> {
        let mut records = 0;
        for record in block.records() {
            self.map(record, emit)?;
            records += 1;
        }
        Ok(records)
    }
}

/// Host and text of a line `scheme://user@host:port/path<TAB>text`.
fn host_and_text(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let tab = memchr(b'\t', line)?;
    let (url, text) = (&line[..tab], &line[tab + 1..]);
    let authority = &url[memmem::find(url, b"://")? + 3..];
    let end = authority
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let authority = &authority[..end.unwrap_or(authority.len())];
    let host = authority.rsplit(|byte| *byte == b'@').next()?;
    let port = memchr::memrchr(b':', host)
        .filter(|colon| host[colon + 1..].iter().all(u8::is_ascii_digit));
    let host = &host[..port.unwrap_or(host.len())];
    (!host.is_empty()).then_some((host, text))
}

struct KeepTop {
    top: usize,
    document: Option<Vec<u8>>,
    /// The best so far, the worst of them on top.
    terms: BinaryHeap<(Reverse<u64>, Vec<u8>)>,
}

impl KeepTop {
    fn print(&mut self, out: &mut Output<'_>) {
        let Some(document) = self.document.take() else {
            return;
        };
        out.raw(&document);
        for (Reverse(count), word) in std::mem::take(&mut self.terms).into_sorted_vec() {
            out.raw(b"\t");
            out.raw(&word);
            out.raw(format!(":{count}").as_bytes());
        }
        out.end_record();
    }
}

impl Reducer<Term, u64> for KeepTop {
    fn reduce<S: Values<u64>>(
        &mut self,
        (document, word): (Cow<'_, [u8]>, Cow<'_, [u8]>),
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        if self.document.as_deref() != Some(&*document) {
            self.print(out);
            self.document = Some(document.into_owned());
        }
        let sum = sum_of(values);
        // Words come in order, so one of an equal count is worse than those here.
        let worst = self.terms.peek().map(|(Reverse(count), _)| *count);
        if self.terms.len() < self.top || worst.is_some_and(|worst| sum > worst) {
            self.terms.push((Reverse(sum), word.into_owned()));
            if self.terms.len() > self.top {
                self.terms.pop();
            }
        }
        Ok(())
    }

    fn finish(mut self, out: &mut Output<'_>) -> Result<(), ProgramError> {
        self.print(out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_between_user_and_port() {
        let cases: [(&str, Option<&str>); 8] = [
            ("http://a.org/x\tt", Some("a.org")),
            ("https://u:p@A.org:80?q\tt", Some("A.org")),
            ("ftp://[::1]:21\tt", Some("[::1]")),
            ("ftp://[::1]\tt", Some("[::1]")),
            ("a.org/x\tt", None),
            ("http:///x\tt", None),
            ("http://a.org/x", None),
            ("", None),
        ];
        for (line, expected) in cases {
            let found = host_and_text(line.as_bytes()).map(|(host, _)| host);
            assert_eq!(found, expected.map(str::as_bytes), "{line}");
        }
    }
}
