//! Code books: the texts of a column, each of which stands for a number.
//!
//! The order of the texts is declared, or it is that of all distinct texts of the
//! column, sorted as bytes. Those are found by a step before the one that wants
//! them, [`ENTRY`]: each map keeps the set of texts that it sees, the reduce numbers
//! the union, and the close hands the book on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;

use vivat_engine::{Executable, Runner};
use vivat_mapreduce::{
    CloseContext, Closed, CsvRow, Emit, MapContext, Mapper, Output, Parts, Program, ProgramError,
    Record, ReduceContext, Reducer, Values,
};
use vivat_shared::job::StepSpec;

use super::write::{field, fields};
use super::{MISSING, MULTILINE, Missing, items, text};
use crate::catalogue::{Format, OracleInput, ProgramEntry};
use crate::parameters::{ParameterError, Parameters};

pub(crate) const ENTRY: ProgramEntry = ProgramEntry {
    name: "column-codes",
    summary: "numbers the distinct texts of columns in their order",
    parameters: &[
        text("columns", None, "columns whose texts are numbered"),
        MISSING,
        MULTILINE,
    ],
    formats: &[Format::Csv],
    example: "vivat run column-codes data/input/game-logs.csv --reducers 1 -p columns=POSITION",
    build,
    oracle,
};

/// The first line of a code book that is written for people.
pub(crate) const HEADER: &[u8] = b"column,code,text";

/// Texts of all columns in one book.
const CODES_MAX: usize = 1_000_000;
/// Bytes of all these texts.
const CODES_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The texts of one column, numbered from 0.
#[derive(Debug, Clone, Default)]
pub(crate) struct Codes {
    texts: Vec<Vec<u8>>,
    places: HashMap<Vec<u8>, u32>,
}

impl Codes {
    /// These texts in this order.
    pub(crate) fn of(texts: Vec<Vec<u8>>) -> Self {
        let places = (0..).zip(&texts).map(|(place, text)| (text.clone(), place));
        let places = places.collect();
        Self { texts, places }
    }

    /// The number that a field's text stands for.
    #[inline]
    pub(crate) fn place(&self, field: &[u8]) -> Option<u32> {
        self.places.get(field.trim_ascii()).copied()
    }

    /// The texts in order.
    pub(crate) fn texts(&self) -> &[Vec<u8>] {
        &self.texts
    }
}

/// A column whose texts stand for numbers.
#[derive(Debug, Clone)]
pub(crate) struct Coded {
    pub(crate) column: String,
    /// The order, unless it is to be found out.
    declared: Option<Codes>,
}

impl Coded {
    /// Reads a list of `COLUMN` and `COLUMN = FIRST|SECOND|...`.
    pub(crate) fn list(list: &str) -> Result<Vec<Self>, String> {
        let mut all: Vec<Self> = Vec::new();
        for item in items(list) {
            let coded = Self::of(&item)?;
            if all.iter().any(|other| other.column == coded.column) {
                return Err(format!("column `{}` is named twice", coded.column));
            }
            all.push(coded);
        }
        Ok(all)
    }

    fn of(item: &str) -> Result<Self, String> {
        let Some((column, texts)) = item.split_once('=') else {
            return Ok(Self {
                column: item.to_owned(),
                declared: None,
            });
        };
        let texts: Vec<Vec<u8>> = texts
            .split('|')
            .map(|text| text.trim().as_bytes().to_vec())
            .collect();
        let distinct: BTreeSet<&Vec<u8>> = texts.iter().collect();
        if column.trim().is_empty() || texts.iter().any(Vec::is_empty) {
            return Err(format!("it takes COLUMN = FIRST|SECOND|..., not `{item}`"));
        }
        if distinct.len() < texts.len() {
            return Err(format!("`{item}` names a text twice"));
        }
        Ok(Self {
            column: column.trim().to_owned(),
            declared: Some(Codes::of(texts)),
        })
    }

    /// A column of which a book is there.
    pub(crate) fn declared(column: &str, codes: &Codes) -> Self {
        Self {
            column: column.to_owned(),
            declared: Some(codes.clone()),
        }
    }

    /// The columns whose texts are to be found out.
    pub(crate) fn found<'c>(all: impl IntoIterator<Item = &'c Self>) -> Vec<&'c str> {
        let found = all.into_iter().filter(|coded| coded.declared.is_none());
        found.map(|coded| coded.column.as_str()).collect()
    }

    /// Whether the order was declared.
    pub(crate) fn is_declared(&self) -> bool {
        self.declared.is_some()
    }

    /// The book, with what was found out.
    pub(crate) fn codes(&self, found: &CodeBook) -> Codes {
        let declared = self.declared.clone();
        declared.unwrap_or_else(|| found.0.get(&self.column).cloned().unwrap_or_default())
    }
}

/// What a step before found out, by column.
#[derive(Debug, Clone, Default)]
pub(crate) struct CodeBook(BTreeMap<String, Codes>);

impl CodeBook {
    /// Reads what [`ENTRY`] handed on.
    pub(crate) fn read(broadcast: &[u8]) -> Result<Self, ProgramError> {
        let broken = || ProgramError::new("the code book that was handed on is damaged");
        let mut reader = csv::ReaderBuilder::new();
        let mut reader = reader.has_headers(false).from_reader(broadcast);
        let mut texts: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        for record in reader.byte_records() {
            let record = record.map_err(|_| broken())?;
            let (Some(column), Some(text)) = (record.get(0), record.get(2)) else {
                return Err(broken());
            };
            let column = str::from_utf8(column).map_err(|_| broken())?;
            let known = texts.entry(column.to_owned()).or_default();
            known.push(text.to_vec());
        }
        let codes = texts.into_iter();
        Ok(Self(
            codes.map(|(name, it)| (name, Codes::of(it))).collect(),
        ))
    }
}

/// One line of a book, without its end.
pub(crate) fn line_of(column: &[u8], code: usize, text: &[u8], line: &mut Vec<u8>) {
    line.clear();
    let code = code.to_string();
    fields([column, code.as_bytes(), text], line);
}

/// The step, behind one that finds out the texts of these columns.
pub(crate) fn with_codes(step: StepSpec, columns: &[&str]) -> Vec<StepSpec> {
    if columns.is_empty() {
        return vec![step];
    }
    let mut parameters = step.parameters.clone();
    parameters.retain(|name, _| name == MISSING.name || name == MULTILINE.name);
    parameters.insert("columns".to_owned(), columns.join(","));
    let codes = StepSpec {
        parameters,
        closes: true,
        ..StepSpec::once(ENTRY.name, 1)
    };
    vec![codes, step]
}

fn build(parameters: &Parameters) -> Result<Box<dyn Executable>, ParameterError> {
    Ok(Box::new(Runner::new(ColumnCodes {
        columns: items(parameters.text("columns")),
        missing: Missing::of(parameters.text("missing")),
    })))
}

struct ColumnCodes {
    columns: Vec<String>,
    missing: Missing,
}

impl Program for ColumnCodes {
    /// Which column, and a text of it.
    type Key = (u32, Vec<u8>);
    type Value = ();
    type Mapper<'t> = Collect<'t>;
    type Reducer<'t> = Number<'t>;

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<Collect<'t>, ProgramError> {
        let header = context
            .header
            .ok_or_else(|| ProgramError::new("texts of columns are counted in format csv"))?;
        let places = self.columns.iter().map(|name| header.column(name));
        Ok(Collect {
            missing: &self.missing,
            columns: header.names().len(),
            places: places.collect::<Result<_, _>>()?,
            texts: vec![BTreeSet::new(); self.columns.len()],
            room: Room::default(),
            row: CsvRow::default(),
        })
    }

    fn reducer<'t>(&'t self, _: &'t ReduceContext<'t>) -> Result<Number<'t>, ProgramError> {
        Ok(Number {
            columns: &self.columns,
            current: 0,
            code: 0,
            room: Room::default(),
            line: Vec::new(),
        })
    }

    fn close(&self, _: &CloseContext<'_>, parts: &mut Parts<'_>) -> Result<Closed, ProgramError> {
        let mut broadcast = Vec::new();
        let mut texts = 0;
        while let Some(mut part) = parts.next()? {
            texts += part.records();
            part.read_to_end(&mut broadcast)
                .map_err(ProgramError::part)?;
        }
        #[expect(clippy::cast_precision_loss, reason = "it is a million at most")]
        let texts = texts as f64;
        Ok(Closed {
            broadcast,
            metrics: BTreeMap::from([("texts".to_owned(), texts)]),
            again: false,
        })
    }
}

/// What a book may still take.
#[derive(Debug, Default)]
struct Room {
    texts: usize,
    bytes: usize,
}

impl Room {
    fn take(&mut self, text: &[u8]) -> Result<(), ProgramError> {
        self.texts += 1;
        self.bytes += text.len();
        if self.texts <= CODES_MAX && self.bytes <= CODES_BYTES_MAX {
            return Ok(());
        }
        Err(ProgramError::new(format!(
            "the columns whose texts are to be numbered have more than {CODES_MAX} different \
             texts, or {CODES_BYTES_MAX} bytes of them: are they categories?"
        )))
    }
}

struct Collect<'t> {
    missing: &'t Missing,
    /// Of the file.
    columns: usize,
    places: Vec<usize>,
    texts: Vec<BTreeSet<Box<[u8]>>>,
    room: Room,
    row: CsvRow,
}

impl Mapper<(u32, Vec<u8>), ()> for Collect<'_> {
    fn map<E: Emit<(u32, Vec<u8>), ()>>(
        &mut self,
        record: Record<'_>,
        _: &mut E,
    ) -> Result<(), ProgramError> {
        let fields = self.row.read(record, self.columns)?;
        for (place, texts) in self.places.iter().zip(&mut self.texts) {
            let text = fields.get(*place).trim_ascii();
            if !texts.contains(text) && !self.missing.is_missing(text) {
                self.room.take(text)?;
                texts.insert(text.into());
            }
        }
        Ok(())
    }

    fn finish<E: Emit<(u32, Vec<u8>), ()>>(self, emit: &mut E) -> Result<(), ProgramError> {
        for (column, texts) in (0..).zip(&self.texts) {
            for text in texts {
                emit.emit((column, text), ());
            }
        }
        Ok(())
    }
}

struct Number<'t> {
    columns: &'t [String],
    current: u32,
    code: usize,
    room: Room,
    line: Vec<u8>,
}

impl Reducer<(u32, Vec<u8>), ()> for Number<'_> {
    fn reduce<S: Values<()>>(
        &mut self,
        (column, text): (u32, std::borrow::Cow<'_, [u8]>),
        _: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        if column != self.current {
            self.current = column;
            self.code = 0;
        }
        self.room.take(&text)?;
        let name = self.columns.get(column as usize);
        let name = name.map_or(&b""[..], |name| name.as_bytes());
        line_of(name, self.code, &text, &mut self.line);
        self.code += 1;
        out.line(&self.line);
        Ok(())
    }
}

/// The distinct texts of columns, by the csv crate and a set.
pub(crate) fn distinct(
    inputs: &[OracleInput],
    columns: &[String],
    missing: &Missing,
) -> std::io::Result<Vec<BTreeSet<Vec<u8>>>> {
    let mut all = vec![BTreeSet::new(); columns.len()];
    for input in inputs {
        let mut reader = csv::Reader::from_path(&input.path).map_err(std::io::Error::other)?;
        let header = reader.byte_headers().map_err(std::io::Error::other)?;
        let header: Vec<Vec<u8>> = header.iter().map(<[u8]>::to_vec).collect();
        for record in reader.byte_records() {
            let record = record.map_err(std::io::Error::other)?;
            for (column, texts) in columns.iter().zip(&mut all) {
                let place = header.iter().position(|name| name == column.as_bytes());
                let text = place.and_then(|place| record.get(place)).unwrap_or(b"");
                if !missing.is_missing(text) {
                    texts.insert(text.trim_ascii().to_vec());
                }
            }
        }
    }
    Ok(all)
}

fn oracle(
    parameters: &Parameters,
    inputs: &[OracleInput],
    _: u32,
    out: &mut dyn std::io::Write,
) -> std::io::Result<()> {
    let columns = items(parameters.text("columns"));
    let missing = Missing::of(parameters.text("missing"));
    for (column, texts) in columns.iter().zip(distinct(inputs, &columns, &missing)?) {
        for (code, text) in texts.iter().enumerate() {
            let mut line = Vec::new();
            field(column.as_bytes(), &mut line);
            line.extend_from_slice(format!(",{code},").as_bytes());
            field(text, &mut line);
            line.push(b'\n');
            out.write_all(&line)?;
        }
    }
    Ok(())
}
