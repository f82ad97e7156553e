//! The numbers of a record: columns as they are, by code books, and derived ones.

use vivat_mapreduce::{CsvFields, CsvHeader, ProgramError};

use super::codes::{CodeBook, Coded, Codes};
use super::formula::{Formula, named};
use super::{Missing, Values, items, text};
use crate::parameters::{ParameterError, ParameterSpec, Parameters};

pub(crate) const DERIVE: ParameterSpec = text(
    "derive",
    Some(""),
    "list of NAME = EXPRESSION over columns, with + - * / ^ abs sqrt floor ceil round",
);

pub(crate) const ORDINAL: ParameterSpec = text(
    "ordinal",
    Some(""),
    "list of COLUMN = FIRST|SECOND|...: these texts stand for 0, 1, ... as numbers; COLUMN \
     alone: all its distinct texts, sorted",
);

/// What the parameters say of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Sheet {
    pub(crate) derived: Vec<(String, Formula)>,
    pub(crate) ordinals: Vec<Coded>,
    pub(crate) missing: Missing,
}

impl Sheet {
    pub(crate) fn of(parameters: &Parameters) -> Result<Self, ParameterError> {
        let derived = items(parameters.text(DERIVE.name));
        let derived = derived.iter().map(|text| named(text));
        Ok(Self {
            derived: derived
                .collect::<Result<_, _>>()
                .map_err(|detail| parameters.error(DERIVE.name, detail))?,
            ordinals: Coded::list(parameters.text(ORDINAL.name))
                .map_err(|detail| parameters.error(ORDINAL.name, detail))?,
            missing: Missing::of(parameters.text("missing")),
        })
    }

    pub(crate) fn is_derived(&self, name: &str) -> bool {
        self.derived.iter().any(|(other, _)| other == name)
    }
}

/// The books of some columns; `found` is what a step before found out, if anything.
pub(crate) fn codes_of(coded: &[Coded], found: &[u8]) -> Result<Vec<Codes>, ProgramError> {
    // What another step handed on is no book, and not asked for.
    let found = match Coded::found(coded).is_empty() {
        true => CodeBook::default(),
        false => CodeBook::read(found)?,
    };
    Ok(coded.iter().map(|it| it.codes(&found)).collect())
}

/// Where a number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// One of [`Columns::sources`].
    Column(usize),
    /// A derived column.
    Derived(usize),
}

/// Which columns of one file are numbers that are wanted.
#[derive(Debug, Clone)]
pub(crate) struct Columns {
    /// Columns of the file, with their ordinal if they have one.
    sources: Vec<(usize, Option<usize>)>,
    formulas: Vec<Vec<Source>>,
}

impl Columns {
    /// Those that the derived columns take.
    pub(crate) fn new(sheet: &Sheet, header: &CsvHeader) -> Result<Self, ProgramError> {
        let mut columns = Self {
            sources: Vec::new(),
            formulas: Vec::new(),
        };
        // A derived column may use those before it.
        for (index, (_, formula)) in sheet.derived.iter().enumerate() {
            let names = formula.columns().iter();
            let sources = names.map(|name| columns.before(sheet, header, name, index));
            let sources = sources.collect::<Result<_, _>>()?;
            columns.formulas.push(sources);
        }
        Ok(columns)
    }

    /// Where the number of that name comes from.
    pub(crate) fn source(
        &mut self,
        sheet: &Sheet,
        header: &CsvHeader,
        name: &str,
    ) -> Result<Source, ProgramError> {
        self.before(sheet, header, name, sheet.derived.len())
    }

    fn before(
        &mut self,
        sheet: &Sheet,
        header: &CsvHeader,
        name: &str,
        derived: usize,
    ) -> Result<Source, ProgramError> {
        let before = sheet.derived.iter().take(derived);
        if let Some(index) = before.rev().position(|(other, _)| other == name) {
            return Ok(Source::Derived(derived - 1 - index));
        }
        let column = header.column(name)?;
        let known = self.sources.iter().position(|(other, _)| *other == column);
        Ok(Source::Column(known.unwrap_or_else(|| {
            let ordinal = sheet.ordinals.iter().position(|it| it.column == name);
            self.sources.push((column, ordinal));
            self.sources.len() - 1
        })))
    }
}

/// The numbers of one record at a time; `NaN` is a missing one.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    columns: Vec<f64>,
    derived: Vec<f64>,
    given: Vec<f64>,
}

impl Numbers {
    /// Reads those of a record. `codes` are the books of the ordinal columns.
    pub(crate) fn read(
        &mut self,
        plan: (&Sheet, &Columns),
        codes: &[Codes],
        values: &Values<'_>,
        fields: CsvFields<'_>,
    ) -> Result<(), ProgramError> {
        self.read_by(plan, values, fields, |ordinal, text, column| {
            values.code(&codes[ordinal], text, column)
        })
    }

    /// The same; a text that its book does not have is missing.
    pub(crate) fn read_seen(
        &mut self,
        plan: (&Sheet, &Columns),
        codes: &[Codes],
        values: &Values<'_>,
        fields: CsvFields<'_>,
    ) -> Result<(), ProgramError> {
        self.read_by(plan, values, fields, |ordinal, text, _| {
            Ok(codes[ordinal].place(text))
        })
    }

    fn read_by(
        &mut self,
        (sheet, columns): (&Sheet, &Columns),
        values: &Values<'_>,
        fields: CsvFields<'_>,
        code: impl Fn(usize, &[u8], usize) -> Result<Option<u32>, ProgramError>,
    ) -> Result<(), ProgramError> {
        self.columns.clear();
        for (column, ordinal) in &columns.sources {
            let text = fields.get(*column);
            self.columns.push(match ordinal {
                Some(ordinal) => {
                    let code = code(*ordinal, text, *column)?;
                    code.map_or(f64::NAN, f64::from)
                }
                None => values.number(text, *column)?,
            });
        }
        self.derived.clear();
        for ((name, formula), sources) in sheet.derived.iter().zip(&columns.formulas) {
            self.given.clear();
            for source in sources {
                let number = self.of(*source);
                self.given.push(number);
            }
            let is_whole = !self.given.iter().any(|number| number.is_nan());
            let value = is_whole.then(|| formula.value(&self.given)).flatten();
            let value = value.unwrap_or(f64::NAN);
            self.derived.push(values.in_range(value, name.as_bytes())?);
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn of(&self, source: Source) -> f64 {
        match source {
            Source::Column(index) => self.columns[index],
            Source::Derived(index) => self.derived[index],
        }
    }
}
