//! Prints the lines that match a regular expression, as `grep -H` does, in the
//! order of the input.
//!
//! The order comes from the keys: (partition, split, place in the split), and
//! the partition grows with the split. So parts are in input order, and so is
//! what each holds.
//!
//! Line numbers need to know how many lines came before a split in its file.
//! Every map tells its number of lines to each partition that a later split of
//! the file goes to, and the reducer adds them up on the way. A gap in what it
//! was told fails the task instead of giving a wrong number. Counts go to the
//! first partition alone: one line a file is little.
//!
//! A line is matched without its line end; the `\r` of a `\r\n` belongs to that.
//! Lines that are not text are searched and printed like all others.

mod candidates;
mod oracle;

use memchr::memchr_iter;
use regex::bytes::{Regex, RegexBuilder};
use vivat_engine::{Executable, Runner};
use vivat_mapreduce::{
    Block, Emit, EncodedKey, Framing, MapContext, Mapper, Output, Program, ProgramError, Record,
    ReduceContext, Reducer, Values,
};

use crate::catalogue::{Format, ProgramEntry};
use crate::parameters::{ParameterError, ParameterKind, ParameterSpec, Parameters};
use candidates::Candidates;

pub(crate) const ENTRY: ProgramEntry = ProgramEntry {
    name: "grep",
    summary: "prints lines that match a regular expression, as grep -H does",
    parameters: &[
        ParameterSpec {
            name: "pattern",
            kind: ParameterKind::Regex,
            default: None,
            help: "the regular expression, in the syntax of Rust's regex crate",
        },
        flag("fold-case", "ignore case"),
        flag("invert", "print the lines that do not match"),
        flag("only-matching", "print each match on a line of its own"),
        flag(
            "line-numbers",
            "print the line's number behind the file's name",
        ),
        flag("count", "print the number of lines of each file instead"),
    ],
    formats: &[Format::Text],
    example: "vivat run grep data/input/*.txt -p pattern=hree",
    build,
    oracle: oracle::oracle,
};

const fn flag(name: &'static str, help: &'static str) -> ParameterSpec {
    ParameterSpec {
        name,
        kind: ParameterKind::Boolean,
        default: Some("false"),
        help,
    }
}

fn build(parameters: &Parameters) -> Result<Box<dyn Executable>, ParameterError> {
    Ok(Box::new(Runner::new(Grep::of(parameters)?)))
}

/// Regular expressions larger than this, compiled, are refused.
const COMPILED_BYTES_MAX: usize = 64 * 1024 * 1024;

fn compile(parameters: &Parameters) -> Result<Regex, ParameterError> {
    RegexBuilder::new(parameters.text("pattern"))
        .case_insensitive(parameters.is_true("fold-case"))
        .size_limit(COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| {
            let detail = format!("it takes a regular expression: {error}");
            parameters.error("pattern", detail)
        })
}

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Print {
    Lines,
    Matches,
    Counts,
}

struct Grep {
    regex: Regex,
    candidates: Option<Candidates>,
    invert: bool,
    print: Print,
    line_numbers: bool,
}

impl Grep {
    fn of(parameters: &Parameters) -> Result<Self, ParameterError> {
        let print = if parameters.is_true("count") {
            Print::Counts
        } else if parameters.is_true("only-matching") {
            Print::Matches
        } else {
            Print::Lines
        };
        let regex = compile(parameters)?;
        let invert = parameters.is_true("invert");
        let fold_case = parameters.is_true("fold-case");
        let candidates = || Candidates::of(parameters.text("pattern"), fold_case);
        Ok(Self {
            regex,
            candidates: if invert { None } else { candidates() },
            invert,
            print,
            line_numbers: parameters.is_true("line-numbers") && print != Print::Counts,
        })
    }
}

/// Partition, split, place in the split.
type GrepKey = (u32, u32, u64);
/// See [`Place`] for what the numbers are.
type GrepValue = (u64, u64, Vec<u8>);

/// What a record is, by the last number of its key.
enum Place {
    /// (file index, offset of the split, the file's name): before the lines of
    /// a split.
    Header,
    /// (number of the line in the split, 0, line).
    Line,
    /// (lines of the split, end of the split, nothing): after its lines.
    Tally,
}

const HEADER: u64 = 0;
const TALLY: u64 = u64::MAX;

impl Place {
    fn of(place: u64) -> Self {
        match place {
            HEADER => Self::Header,
            TALLY => Self::Tally,
            1..TALLY => Self::Line,
        }
    }
}

impl Program for Grep {
    type Key = GrepKey;
    type Value = GrepValue;
    type Mapper<'t> = Search<'t>;
    type Reducer<'t> = Printer<'t>;

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<Search<'t>, ProgramError> {
        let partition = match self.print {
            Print::Counts => 0,
            Print::Lines | Print::Matches => partition_of_split(context, context.split),
        };
        Ok(Search {
            grep: self,
            context,
            partition,
            announced: false,
            lines: 0,
            selected: 0,
        })
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Printer<'t>, ProgramError> {
        Ok(Printer {
            grep: self,
            display: Vec::new(),
            file: None,
            lines_before: 0,
            told_up_to: 0,
            count: None,
        })
    }

    fn partition(&self, key: EncodedKey<'_>, _: &MapContext<'_>) -> u32 {
        // The first component, big-endian.
        key.bytes()
            .first_chunk::<4>()
            .map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }
}

fn lines_in(lines: &[u8]) -> u64 {
    let ends = memchr_iter(b'\n', lines).count() as u64;
    ends + u64::from(!lines.is_empty() && !lines.ends_with(b"\n"))
}

fn partition_of_split(context: &MapContext<'_>, split: u32) -> u32 {
    let splits = u64::from(context.splits.max(1));
    let partition = u64::from(split) * u64::from(context.partitions) / splits;
    u32::try_from(partition)
        .unwrap_or(u32::MAX)
        .min(context.partitions - 1)
}

struct Search<'t> {
    grep: &'t Grep,
    context: &'t MapContext<'t>,
    partition: u32,
    announced: bool,
    lines: u64,
    selected: u64,
}

impl Search<'_> {
    fn announce<E: Emit<GrepKey, GrepValue>>(&mut self, emit: &mut E) {
        if !self.announced {
            self.announced = true;
            let file = u64::from(self.context.file_index);
            let value = (
                file,
                self.context.split_offset,
                self.context.display.as_bytes(),
            );
            emit.emit((self.partition, self.context.split, HEADER), value);
        }
    }

    fn print<E: Emit<GrepKey, GrepValue>>(&mut self, offset: u64, bytes: &[u8], emit: &mut E) {
        self.announce(emit);
        let number = if self.grep.line_numbers {
            self.lines
        } else {
            0
        };
        let place = offset - self.context.split_offset.min(offset) + 1;
        emit.emit(
            (self.partition, self.context.split, place),
            (number, 0, bytes),
        );
    }

    /// A line that the search selected; `self.lines` counts it already.
    fn select<E: Emit<GrepKey, GrepValue>>(&mut self, record: Record<'_>, emit: &mut E) {
        self.selected += 1;
        match self.grep.print {
            Print::Counts => {}
            Print::Lines => self.print(record.offset, record.bytes, emit),
            Print::Matches if self.grep.invert => {}
            Print::Matches => {
                for found in self.grep.regex.find_iter(record.bytes) {
                    if !found.is_empty() {
                        self.print(record.offset, found.as_bytes(), emit);
                    }
                }
            }
        }
    }

    /// Passes over the lines that cannot match.
    fn search<E: Emit<GrepKey, GrepValue>>(
        &mut self,
        candidates: &Candidates,
        block: &Block<'_>,
        emit: &mut E,
    ) -> u64 {
        let (lines, before) = (block.bytes, self.lines);
        let (mut from, mut counted) = (0, 0);
        while let Some((start, next)) = candidates.next(lines, from) {
            let line = Block {
                bytes: &lines[start..next],
                offset: block.offset + start as u64,
                ..*block
            };
            from = next;
            for record in line.records() {
                if self.grep.regex.is_match(record.bytes) {
                    self.lines += lines_in(&lines[counted..next]);
                    counted = next;
                    self.select(record, emit);
                }
            }
        }
        self.lines += lines_in(&lines[counted..]);
        self.lines - before
    }

    /// Tells the number of lines to every partition where a later split of the
    /// file may go.
    fn tell<E: Emit<GrepKey, GrepValue>>(&mut self, emit: &mut E) {
        let context = self.context;
        let end = context.split_offset + context.split_bytes;
        let left = context.file_bytes.saturating_sub(end);
        if left == 0 {
            return;
        }
        // How long the later splits are, nobody says: those of a dataset end where
        // its blocks do. It is one small record for each partition at most.
        let last = context.splits.saturating_sub(1);
        let file = u64::from(context.file_index);
        for partition in self.partition..=partition_of_split(context, last) {
            if partition != self.partition || !self.announced {
                let header = (file, context.split_offset, context.display.as_bytes());
                emit.emit((partition, context.split, HEADER), header);
            }
            let tally = (self.lines, end, [].as_slice());
            emit.emit((partition, context.split, TALLY), tally);
        }
    }
}

impl Mapper<GrepKey, GrepValue> for Search<'_> {
    fn map<E: Emit<GrepKey, GrepValue>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        self.lines += 1;
        if self.grep.regex.is_match(record.bytes) != self.grep.invert {
            self.select(record, emit);
        }
        Ok(())
    }

    fn map_block<E: Emit<GrepKey, GrepValue>>(
        &mut self,
        block: &Block<'_>,
        emit: &mut E,
    ) -> Result<u64, ProgramError> {
        if let (Framing::Lines, Some(candidates)) = (block.framing, &self.grep.candidates)
            && candidates.fit(block.bytes)
        {
            return Ok(self.search(candidates, block, emit));
        }
        let mut records = 0;
        for record in block.records() {
            self.map(record, emit)?;
            records += 1;
        }
        Ok(records)
    }

    fn finish<E: Emit<GrepKey, GrepValue>>(mut self, emit: &mut E) -> Result<(), ProgramError> {
        if self.grep.print == Print::Counts {
            let file = u64::from(self.context.file_index);
            let value = (self.selected, file, self.context.display.as_bytes());
            emit.emit((0, self.context.split, HEADER), value);
        } else if self.grep.line_numbers {
            self.tell(emit);
        }
        Ok(())
    }
}

struct Printer<'t> {
    grep: &'t Grep,
    display: Vec<u8>,
    file: Option<u64>,
    /// Lines of the file before the current split, as far as was told.
    lines_before: u64,
    /// Where in the file that telling ends.
    told_up_to: u64,
    /// Selected lines of the current file.
    count: Option<u64>,
}

impl Printer<'_> {
    fn header(&mut self, file: u64, offset: u64, display: &[u8]) -> Result<(), ProgramError> {
        if self.file != Some(file) {
            self.file = Some(file);
            self.lines_before = 0;
            self.told_up_to = 0;
            self.display.clear();
            self.display.extend_from_slice(display);
        }
        if self.grep.line_numbers && self.told_up_to != offset {
            return Err(ProgramError::new(format!(
                "line numbers of {}: lines are counted up to byte {}, the split begins at {offset}",
                String::from_utf8_lossy(display),
                self.told_up_to,
            )));
        }
        Ok(())
    }

    fn line(&self, number: u64, bytes: &[u8], out: &mut Output<'_>) {
        out.raw(&self.display);
        out.raw(b":");
        if self.grep.line_numbers {
            out.raw((self.lines_before + number).to_string().as_bytes());
            out.raw(b":");
        }
        out.line(bytes);
    }

    fn add_count(&mut self, selected: u64, file: u64, display: &[u8], out: &mut Output<'_>) {
        if self.file != Some(file) {
            self.print_count(out);
            self.file = Some(file);
            self.display.clear();
            self.display.extend_from_slice(display);
        }
        *self.count.get_or_insert(0) += selected;
    }

    fn print_count(&mut self, out: &mut Output<'_>) {
        if let Some(count) = self.count.take() {
            out.raw(&self.display);
            out.raw(b":");
            out.line(count.to_string().as_bytes());
        }
    }
}

impl Reducer<GrepKey, GrepValue> for Printer<'_> {
    fn reduce<S: Values<GrepValue>>(
        &mut self,
        (_, _, place): GrepKey,
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        while let Some((first, second, bytes)) = values.next() {
            if self.grep.print == Print::Counts {
                self.add_count(first, second, bytes, out);
                continue;
            }
            match Place::of(place) {
                Place::Header => self.header(first, second, bytes)?,
                Place::Line => self.line(first, bytes, out),
                Place::Tally => {
                    self.lines_before += first;
                    self.told_up_to = second;
                }
            }
        }
        Ok(())
    }

    fn finish(mut self, out: &mut Output<'_>) -> Result<(), ProgramError> {
        self.print_count(out);
        Ok(())
    }
}
