//! What records are sorted by, as bytes that sort as it does.
//!
//! Bytes sort as they are. In reverse each is turned over behind an escape that
//! keeps a longer key before its beginnings. Numbers are read as `f64` and become
//! eight bytes: what is not a number becomes the least of all.

use vivat_mapreduce::{Component, CsvHeader, CsvRow, Framing, ProgramError, Record};

use crate::parameters::{ParameterError, ParameterKind, ParameterSpec, Parameters};

pub(crate) const COLUMN: ParameterSpec = ParameterSpec {
    name: "column",
    kind: ParameterKind::Integer {
        min: 0,
        max: 1_000_000,
    },
    default: Some("0"),
    help: "sort lines by this column, from 1; 0: by all of the line",
};
pub(crate) const CSV_COLUMN: ParameterSpec = ParameterSpec {
    name: "csv-column",
    kind: ParameterKind::Text,
    default: Some(""),
    help: "of format csv: sort by the column of this name; empty: by all of the record",
};
pub(crate) const DELIMITER: ParameterSpec = ParameterSpec {
    name: "delimiter",
    kind: ParameterKind::Text,
    default: Some("tab"),
    help: "what stands between columns: one byte, or tab, comma, space",
};
pub(crate) const KEY_START: ParameterSpec = ParameterSpec {
    name: "key-start",
    kind: ParameterKind::Integer {
        min: 0,
        max: 1 << 30,
    },
    default: Some("0"),
    help: "the key's first byte in the record, from 0",
};
pub(crate) const KEY_BYTES: ParameterSpec = ParameterSpec {
    name: "key-bytes",
    kind: ParameterKind::Integer {
        min: 0,
        max: 1 << 30,
    },
    default: Some("0"),
    help: "sort by so many bytes of the record; 0: to its end",
};
pub(crate) const NUMERIC: ParameterSpec = ParameterSpec {
    name: "numeric",
    kind: ParameterKind::Boolean,
    default: Some("false"),
    help: "sort keys as decimal numbers; what is none sorts first",
};
pub(crate) const REVERSE: ParameterSpec = ParameterSpec {
    name: "reverse",
    kind: ParameterKind::Boolean,
    default: Some("false"),
    help: "the greatest first",
};
pub(crate) const RECORD_BYTES: ParameterSpec = ParameterSpec {
    name: "record-bytes",
    kind: ParameterKind::Integer {
        min: 0,
        max: u32::MAX as i64,
    },
    default: Some("0"),
    help: "bytes of a record, 0: lines; set by the command line, from the format",
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Column { before: usize, delimiter: u8 },
    Bytes { start: usize, bytes: usize },
}

/// What records are sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRule {
    part: Part,
    /// The column, of CSV only; empty: the part.
    csv_column: String,
    numeric: bool,
    reverse: bool,
    /// Of every record; 0: lines.
    pub(crate) record_bytes: u32,
}

/// A key as bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EncodedPart<'k> {
    pub(crate) key: &'k [u8],
    pub(crate) is_not_number: bool,
}

impl KeyRule {
    /// # Errors
    ///
    /// Names the parameter that does not go with the others.
    pub(crate) fn of(parameters: &Parameters) -> Result<Self, ParameterError> {
        let number = |name: &str| usize::try_from(parameters.integer(name)).unwrap_or(0);
        let (start, bytes) = (number("key-start"), number("key-bytes"));
        let part = match number("column") {
            0 => Part::Bytes {
                start,
                bytes: if bytes == 0 { usize::MAX } else { bytes },
            },
            column if start == 0 && bytes == 0 => Part::Column {
                before: column - 1,
                delimiter: delimiter(parameters)?,
            },
            _ => {
                let detail = "it does not go together with key-start and key-bytes".to_owned();
                return Err(parameters.error("column", detail));
            }
        };
        let csv_column = parameters.text("csv-column").to_owned();
        let whole = Part::Bytes {
            start: 0,
            bytes: usize::MAX,
        };
        if !csv_column.is_empty() && part != whole {
            let detail = "it is the key alone: no column, key-start or key-bytes beside it";
            return Err(parameters.error("csv-column", detail.to_owned()));
        }
        Ok(Self {
            part,
            csv_column,
            numeric: parameters.is_true("numeric"),
            reverse: parameters.is_true("reverse"),
            record_bytes: u32::try_from(parameters.integer("record-bytes")).unwrap_or(0),
        })
    }

    /// # Errors
    ///
    /// When records do not end as the parameters say.
    pub(crate) fn check_framing(&self, framing: Framing) -> Result<(), ProgramError> {
        let bytes = match framing {
            Framing::Lines | Framing::Whole | Framing::Csv => 0,
            Framing::Fixed(bytes) => bytes,
        };
        match bytes == self.record_bytes {
            true => Ok(()),
            false => Err(ProgramError::new(format!(
                "parameter record-bytes is {} and the format has records of {bytes} (0: lines)",
                self.record_bytes
            ))),
        }
    }

    /// Whether the encoded key is the beginning of the record as it stands.
    #[inline]
    pub(crate) fn is_in_front(&self) -> bool {
        let first = match self.part {
            Part::Column { before, .. } => before == 0,
            Part::Bytes { start, .. } => start == 0,
        };
        first && !self.numeric && !self.reverse && self.csv_column.is_empty()
    }

    /// What of the record is the key; nothing when it is too short.
    #[inline]
    pub(crate) fn part<'r>(&self, record: &'r [u8]) -> &'r [u8] {
        match self.part {
            Part::Bytes { start, bytes } => {
                let rest = record.get(start..).unwrap_or_default();
                &rest[..rest.len().min(bytes)]
            }
            Part::Column { before, delimiter } => {
                let mut rest = record;
                for _ in 0..before {
                    match memchr::memchr(delimiter, rest) {
                        Some(at) => rest = &rest[at + 1..],
                        None => return &[],
                    }
                }
                &rest[..memchr::memchr(delimiter, rest).unwrap_or(rest.len())]
            }
        }
    }

    /// The bytes that sort as a part does; `buffer` holds them when they are not
    /// the part itself.
    #[inline]
    fn encode<'k>(&self, part: &'k [u8], buffer: &'k mut Vec<u8>) -> EncodedPart<'k> {
        let mut is_not_number = false;
        if self.numeric {
            let number = number(part);
            is_not_number = number.is_none();
            let bits = number.map_or(0, ordered);
            let bits = if self.reverse { !bits } else { bits };
            buffer.clear();
            buffer.extend_from_slice(&bits.to_be_bytes());
        } else if self.reverse {
            buffer.clear();
            Vec::<u8>::encode_component(part, buffer);
            for byte in &mut *buffer {
                *byte = !*byte;
            }
        } else {
            return EncodedPart {
                key: part,
                is_not_number,
            };
        }
        EncodedPart {
            key: buffer,
            is_not_number,
        }
    }
}

/// The keys of one task's records.
#[derive(Debug)]
pub(crate) struct Keys<'t> {
    pub(crate) rule: &'t KeyRule,
    csv: Option<CsvKey>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct CsvKey {
    row: CsvRow,
    columns: usize,
    column: usize,
}

impl<'t> Keys<'t> {
    /// # Errors
    ///
    /// When there is no such column in the file.
    pub(crate) fn new(rule: &'t KeyRule, header: Option<&CsvHeader>) -> Result<Self, ProgramError> {
        let csv = match (rule.csv_column.as_str(), header) {
            ("", _) => None,
            (_, None) => {
                let problem = "csv-column is for format csv: for lines there is column";
                return Err(ProgramError::new(problem));
            }
            (name, Some(header)) => Some(CsvKey {
                row: CsvRow::default(),
                columns: header.names().len(),
                column: header.column(name)?,
            }),
        };
        Ok(Self {
            rule,
            csv,
            buffer: Vec::new(),
        })
    }

    /// # Errors
    ///
    /// When the record has not the fields that the header names.
    #[inline]
    pub(crate) fn of<'k>(
        &'k mut self,
        record: Record<'k>,
    ) -> Result<EncodedPart<'k>, ProgramError> {
        let part = match &mut self.csv {
            None => self.rule.part(record.bytes),
            Some(csv) => csv.row.read(record, csv.columns)?.get(csv.column),
        };
        Ok(self.rule.encode(part, &mut self.buffer))
    }
}

fn delimiter(parameters: &Parameters) -> Result<u8, ParameterError> {
    match parameters.text("delimiter") {
        "tab" => Ok(b'\t'),
        "comma" => Ok(b','),
        "space" => Ok(b' '),
        text if text.len() == 1 => Ok(text.as_bytes()[0]),
        text => Err(parameters.error(
            "delimiter",
            format!("it takes one byte, or tab, comma, space, not `{text}`"),
        )),
    }
}

/// Decimal text with white space around it as a number: digits, a point, an
/// exponent. Words (`nan`, `inf`) are none.
fn number(text: &[u8]) -> Option<f64> {
    let text = text.trim_ascii();
    let first = text.iter().find(|byte| !matches!(byte, b'+' | b'-'))?;
    if !first.is_ascii_digit() && *first != b'.' {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok()
}

/// Bits that sort as the number does; the two zeros are one. Never 0, which is
/// left to what is not a number, and never `u64::MAX`: those would be NaNs.
fn ordered(number: f64) -> u64 {
    const SIGN: u64 = 1 << 63;
    let bits = if number == 0.0 { 0 } else { number.to_bits() };
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}
