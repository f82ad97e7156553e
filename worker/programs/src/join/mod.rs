//! Joins the lines of two kinds of files by a field.
//!
//! Which side a file is on, its name says, as the user typed it: `left` and
//! `right` are globs, and a file that matches neither or both fails the job. In
//! these globs a star goes over slashes too.
//!
//! A line of the output is the key, the other fields of the left line, the other
//! fields of the right line; every left line with every right line of the same
//! key. Under `type=left` a left line that has no partner is followed by the text
//! of `missing`.
//!
//! The key of a record is (field, side), right before left: so the right lines of
//! one key are held, up to a limit, and the left ones pass by. The larger side
//! should be the left one.
//!
//! Files of CSV are joined by columns of their names, see [`columns`].

mod columns;
mod oracle;

use std::borrow::Cow;

use glob::Pattern;
use vivat_engine::{Executable, Runner};
use vivat_mapreduce::{
    Emit, EncodedKey, MapContext, Mapper, Output, Program, ProgramError, Record, ReduceContext,
    Reducer, Values,
};
use vivat_shared::job::{InputFormat, StepSpec};

use crate::catalogue::{Format, ProgramEntry};
use crate::parameters::{ParameterError, ParameterKind, ParameterSpec, Parameters};
use crate::table::{MULTILINE, text};
use crate::tuple::first_partition;

pub(crate) const ENTRY: ProgramEntry = ProgramEntry {
    name: "join",
    summary: "joins the records of two kinds of files by a field or, in CSV, by columns",
    parameters: &[
        ParameterSpec {
            name: "left",
            kind: ParameterKind::Text,
            default: None,
            help: "a glob: names of the files on the left, as they were typed",
        },
        ParameterSpec {
            name: "right",
            kind: ParameterKind::Text,
            default: None,
            help: "a glob: names of the files on the right, the smaller side",
        },
        field("left-key", "number of the key's field in left lines"),
        field("right-key", "number of the key's field in right lines"),
        text(
            "left-columns",
            Some(""),
            "format csv: list of the key's columns in left files",
        ),
        text(
            "right-columns",
            Some(""),
            "format csv: list of the key's columns in right files; if not given, those of the left",
        ),
        ParameterSpec {
            name: "type",
            kind: ParameterKind::Choice(&["inner", "left"]),
            default: Some("inner"),
            help: "left: keep left lines that have no partner",
        },
        ParameterSpec {
            name: "separator",
            kind: ParameterKind::Choice(&["tab", "comma", "semicolon", "space"]),
            default: Some("tab"),
            help: "what stands between fields, here and in the output",
        },
        ParameterSpec {
            name: "missing",
            kind: ParameterKind::Text,
            default: Some(""),
            help: "what stands for the right fields of a line that has no partner",
        },
        MULTILINE,
    ],
    formats: &[Format::Text, Format::Csv],
    example: "vivat run join data/input/links.tsv data/input/pages.tsv \
              -p 'left=*links.tsv' -p 'right=*pages.tsv'",
    build,
    oracle: oracle::oracle,
};

const fn field(name: &'static str, help: &'static str) -> ParameterSpec {
    ParameterSpec {
        name,
        kind: ParameterKind::Integer {
            min: 1,
            max: 10_000,
        },
        default: Some("1"),
        help,
    }
}

/// Right lines of one key that are held.
const HELD_BYTES_MAX: usize = 256 * 1024 * 1024;

fn build(parameters: &Parameters) -> Result<Box<dyn Executable>, ParameterError> {
    let sides = Sides::of(parameters)?;
    let missing = parameters.text("missing").as_bytes().to_vec();
    let keep_left = parameters.text("type") == "left";
    if let Some(names) = columns::of(parameters)? {
        return Ok(Box::new(Runner::new(columns::JoinCsv {
            sides,
            columns: names,
            keep_left,
            missing,
        })));
    }
    let number = |name: &str| usize::try_from(parameters.integer(name)).unwrap_or(1);
    Ok(Box::new(Runner::new(Join {
        sides,
        fields: [number("right-key"), number("left-key")],
        keep_left,
        separator: separator(parameters.text("separator")),
        missing,
    })))
}

/// The step itself, once it is seen that its parameters go with the format.
///
/// # Errors
///
/// Names a parameter that does not go with the format, or makes no sense.
pub(crate) fn expand(
    step: &StepSpec,
    parameters: &Parameters,
    format: InputFormat,
) -> Result<Vec<StepSpec>, ParameterError> {
    let sides = Sides::of(parameters).and_then(|_| columns::of(parameters));
    let detail = match (sides?.is_some(), format == InputFormat::Csv) {
        (true, false) => format!("it is for format csv, not {format}: lines have `left-key`"),
        (false, true) => "it must be given in format csv: -p left-columns=...".to_owned(),
        (true, true) | (false, false) => return Ok(vec![step.clone()]),
    };
    Err(parameters.error("left-columns", detail))
}

/// Which files are on which side.
struct Sides {
    left: Pattern,
    right: Pattern,
}

impl Sides {
    fn of(parameters: &Parameters) -> Result<Self, ParameterError> {
        let pattern = |name: &str| {
            Pattern::new(parameters.text(name)).map_err(|error| {
                let detail = format!("it takes a glob: {}", error.msg);
                parameters.error(name, detail)
            })
        };
        Ok(Self {
            left: pattern("left")?,
            right: pattern("right")?,
        })
    }

    fn side(&self, display: &str) -> Result<u32, ProgramError> {
        match (self.left.matches(display), self.right.matches(display)) {
            (true, false) => Ok(LEFT),
            (false, true) => Ok(RIGHT),
            (left, _) => {
                let which = if left { "both" } else { "none" };
                Err(ProgramError::new(format!(
                    "{display} must match one of the parameters left={} and right={}, \
                     and matches {which}",
                    self.left, self.right,
                )))
            }
        }
    }
}

fn separator(name: &str) -> u8 {
    match name {
        "comma" => b',',
        "semicolon" => b';',
        "space" => b' ',
        _ => b'\t',
    }
}

struct Join {
    sides: Sides,
    /// The key's fields, from 1, by side.
    fields: [usize; 2],
    keep_left: bool,
    separator: u8,
    missing: Vec<u8>,
}

/// Field, side.
type SideKey = (Vec<u8>, u32);

const RIGHT: u32 = 0;
const LEFT: u32 = 1;

impl Program for Join {
    type Key = SideKey;
    type Value = Vec<u8>;
    type Mapper<'t> = CutLines;
    type Reducer<'t> = Pair<'t>;

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<CutLines, ProgramError> {
        if context.header.is_some() {
            return Err(ProgramError::new("a join of CSV needs left-columns"));
        }
        let side = self.sides.side(context.display)?;
        Ok(CutLines {
            side,
            field: self.fields[side as usize],
            separator: self.separator,
            others: Vec::new(),
        })
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Pair<'t>, ProgramError> {
        Ok(Pair {
            join: self,
            held: Held::default(),
        })
    }

    fn partition(&self, key: EncodedKey<'_>, context: &MapContext<'_>) -> u32 {
        first_partition(key.bytes(), context.partitions)
    }
}

struct CutLines {
    side: u32,
    field: usize,
    separator: u8,
    others: Vec<u8>,
}

impl Mapper<SideKey, Vec<u8>> for CutLines {
    fn map<E: Emit<SideKey, Vec<u8>>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        let line = record.bytes;
        let mut start = 0;
        for _ in 1..self.field {
            let found = memchr::memchr(self.separator, &line[start..]);
            let found = found.ok_or_else(|| self.too_short(record.offset))?;
            start += found + 1;
        }
        let end = memchr::memchr(self.separator, &line[start..]);
        let end = end.map_or(line.len(), |found| start + found);
        let key = (&line[start..end], self.side);
        // The fields before the key with the separator between them, those behind.
        let before = &line[..start.saturating_sub(1)];
        let behind = line.get(end + 1..).unwrap_or_default();
        if start == 0 || end == line.len() {
            emit.emit(key, if start == 0 { behind } else { before });
            return Ok(());
        }
        self.others.clear();
        self.others.extend_from_slice(before);
        self.others.push(self.separator);
        self.others.extend_from_slice(behind);
        emit.emit(key, &self.others);
        Ok(())
    }
}

impl CutLines {
    #[cold]
    fn too_short(&self, offset: u64) -> ProgramError {
        let number = self.field;
        ProgramError::at(offset, format!("the line has no field {number}, the key"))
    }
}

/// The right lines of one key.
#[derive(Default)]
struct Held {
    key: Vec<u8>,
    lines: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

impl Held {
    /// Lets go of the lines of another key, or of an earlier turn of this one.
    fn begin(&mut self, key: &[u8], side: u32) {
        if side == RIGHT || *self.key != *key {
            self.key.clear();
            self.key.extend_from_slice(key);
            self.lines.clear();
            self.ends.clear();
        }
    }

    fn hold(&mut self, line: &[u8]) -> Result<(), ProgramError> {
        if self.lines.len() + line.len() > HELD_BYTES_MAX {
            return Err(ProgramError::new(format!(
                "the right lines of key `{}` are more than {HELD_BYTES_MAX} bytes: \
                 make the larger side the left one",
                self.key.escape_ascii(),
            )));
        }
        self.lines.extend_from_slice(line);
        self.ends.push(self.lines.len());
        Ok(())
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| &self.lines[start..*end])
    }
}

struct Pair<'t> {
    join: &'t Join,
    held: Held,
}

impl Pair<'_> {
    fn print(&self, left: &[u8], right: &[u8], out: &mut Output<'_>) {
        let separator = [self.join.separator];
        out.raw(&self.held.key);
        for others in [left, right] {
            out.raw(&separator);
            out.raw(others);
        }
        out.end_record();
    }
}

impl Reducer<SideKey, Vec<u8>> for Pair<'_> {
    fn reduce<S: Values<Vec<u8>>>(
        &mut self,
        (key, side): (Cow<'_, [u8]>, u32),
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        self.held.begin(&key, side);
        while let Some(line) = values.next() {
            if side == RIGHT {
                self.held.hold(line)?;
                continue;
            }
            for right in self.held.lines() {
                self.print(line, right, out);
            }
            if self.held.ends.is_empty() && self.join.keep_left {
                self.print(line, &self.join.missing, out);
            }
        }
        Ok(())
    }
}
