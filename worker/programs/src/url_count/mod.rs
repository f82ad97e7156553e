//! Counts a field of web servers' access logs: Common and Combined Log Format.
//!
//! A log line is
//!
//! ```text
//! host ident user [date] "request" status bytes "referer" "user agent"
//! ```
//!
//! where the last two may be missing, and anything may follow. Within quotes a
//! backslash takes the next byte with it. A request is `METHOD URL PROTOCOL`; of
//! one that has no space, and of a line without a user agent, the field is `-`.
//! Lines of any other shape are no log lines: they are counted in the counter
//! `url-count.not-log-lines` and passed over.

mod line;
mod oracle;

use vivat_engine::{Executable, Runner};
use vivat_mapreduce::{
    Combiner, Counter, Emit, MapContext, Mapper, Output, Program, ProgramError, Record,
    ReduceContext, Reducer, Values,
};

use crate::catalogue::{Format, ProgramEntry};
use crate::parameters::{ParameterError, ParameterKind, ParameterSpec, Parameters};
use line::{Field, LogLine};

pub(crate) const ENTRY: ProgramEntry = ProgramEntry {
    name: "url-count",
    summary: "counts URLs, hosts or other fields of web servers' access logs",
    parameters: &[
        ParameterSpec {
            name: "field",
            kind: ParameterKind::Choice(&["url", "host", "status", "user-agent", "method"]),
            default: Some("url"),
            help: "what is counted",
        },
        ParameterSpec {
            name: "bytes",
            kind: ParameterKind::Boolean,
            default: Some("false"),
            help: "sum the bytes of the answers too",
        },
    ],
    formats: &[Format::Text],
    example: "vivat run url-count data/input/access.log",
    build,
    oracle: oracle::oracle,
};

/// Lines that were passed over.
const NOT_LOG_LINES: &str = "url-count.not-log-lines";

fn build(parameters: &Parameters) -> Result<Box<dyn Executable>, ParameterError> {
    Ok(Box::new(Runner::new(UrlCount {
        field: match parameters.text("field") {
            "host" => Field::Host,
            "status" => Field::Status,
            "user-agent" => Field::UserAgent,
            "method" => Field::Method,
            _ => Field::Url,
        },
        bytes: parameters.is_true("bytes"),
    })))
}

struct UrlCount {
    field: Field,
    bytes: bool,
}

/// Lines, and bytes of their answers.
type Sums = (u64, u64);

impl Program for UrlCount {
    type Key = Vec<u8>;
    type Value = Sums;
    type Mapper<'t> = ReadLines;
    type Reducer<'t> = AddUp;
    const COMBINER: Combiner = Combiner::Merge;

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<ReadLines, ProgramError> {
        Ok(ReadLines {
            field: self.field,
            bytes: self.bytes,
            not_log_lines: context.counter(NOT_LOG_LINES)?,
        })
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<AddUp, ProgramError> {
        Ok(AddUp { bytes: self.bytes })
    }

    #[inline]
    fn merge(&self, accumulator: &mut Sums, value: Sums) {
        add(accumulator, value);
    }
}

/// Adds up; sums stay at the largest number once they get there.
#[inline]
fn add(sums: &mut Sums, more: Sums) {
    sums.0 = sums.0.saturating_add(more.0);
    sums.1 = sums.1.saturating_add(more.1);
}

struct ReadLines {
    field: Field,
    bytes: bool,
    not_log_lines: Counter,
}

impl Mapper<Vec<u8>, Sums> for ReadLines {
    #[inline]
    fn map<E: Emit<Vec<u8>, Sums>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        match LogLine::parse(record.bytes) {
            Some(line) => {
                let bytes = if self.bytes { line.bytes() } else { 0 };
                emit.emit(line.field(self.field), (1, bytes));
            }
            None => self.not_log_lines.add(1),
        }
        Ok(())
    }
}

struct AddUp {
    bytes: bool,
}

impl Reducer<Vec<u8>, Sums> for AddUp {
    fn reduce<S: Values<Sums>>(
        &mut self,
        key: &[u8],
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        let mut sums = (0, 0);
        while let Some(more) = values.next() {
            add(&mut sums, more);
        }
        if self.bytes {
            out.pair(key, format_args!("{}\t{}", sums.0, sums.1));
        } else {
            out.pair(key, sums.0);
        }
        Ok(())
    }
}
