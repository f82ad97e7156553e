//! What sorting must give: everything in memory, one stable sort.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io::{self, Write};

use regex::bytes::Regex;

use super::sample::{CELL_BYTES, KEY_BYTES_KEPT, keys_max, mixed};
use crate::catalogue::OracleInput;
use crate::parameters::Parameters;

/// A record: its bytes, its length with its end, its file and place.
pub(crate) struct Found {
    pub(crate) bytes: Vec<u8>,
    /// The field that is the key, of CSV.
    csv_key: Option<Vec<u8>>,
    whole: usize,
    file: usize,
    pub(crate) offset: usize,
}

/// All records of all files.
pub(crate) fn records(parameters: &Parameters, inputs: &[OracleInput]) -> io::Result<Vec<Found>> {
    let fixed_bytes = usize::try_from(parameters.integer("record-bytes")).unwrap_or(0);
    let lines = fixed_bytes == 0;
    if !parameters.text("csv-column").is_empty() {
        return csv_records(parameters, inputs);
    }
    let mut all = Vec::new();
    for (file, input) in inputs.iter().enumerate() {
        let bytes = std::fs::read(&input.path)?;
        let mut offset = 0;
        while offset < bytes.len() {
            let rest = &bytes[offset..];
            let (whole, kept) = if lines {
                let end = rest.iter().position(|&byte| byte == b'\n');
                let whole = end.map_or(rest.len(), |end| end + 1);
                let mut kept = end.unwrap_or(rest.len());
                if end.is_some() && rest[..kept].ends_with(b"\r") {
                    kept -= 1;
                }
                (whole, kept)
            } else {
                (fixed_bytes.min(rest.len()), fixed_bytes.min(rest.len()))
            };
            all.push(Found {
                bytes: rest[..kept].to_vec(),
                csv_key: None,
                whole,
                file,
                offset,
            });
            offset += whole;
        }
    }
    Ok(all)
}

/// Records of CSV files: byte by byte, within quotes or not.
fn csv_records(parameters: &Parameters, inputs: &[OracleInput]) -> io::Result<Vec<Found>> {
    let mut all = Vec::new();
    for (file, input) in inputs.iter().enumerate() {
        let bytes = std::fs::read(&input.path)?;
        let mut column = None;
        let mut start = 0;
        let mut quoted = false;
        for at in 0..=bytes.len() {
            let byte = bytes.get(at).copied();
            quoted ^= byte == Some(b'"');
            if byte.is_some_and(|byte| byte != b'\n' || quoted) {
                continue;
            }
            let record = &bytes[start..at];
            let record = record.strip_suffix(b"\r").unwrap_or(record);
            if !record.is_empty() {
                let mut fields = csv_fields(record);
                match column {
                    None => {
                        let name = parameters.text("csv-column").as_bytes();
                        let found = fields.iter().position(|field| field == name);
                        column = Some(found.ok_or_else(|| io::Error::other("no such column"))?);
                    }
                    Some(column) => all.push(Found {
                        bytes: record.to_vec(),
                        csv_key: Some(fields.swap_remove(column)),
                        whole: record.len(),
                        file,
                        offset: start,
                    }),
                }
            }
            start = at + 1;
        }
    }
    Ok(all)
}

fn csv_fields(record: &[u8]) -> Vec<Vec<u8>> {
    let mut fields = vec![Vec::new()];
    let (mut quoted, mut before) = (false, b',');
    for &byte in record {
        let last = fields.len() - 1;
        match byte {
            b'"' => {
                quoted = !quoted;
                // Two in a row are one.
                if quoted && before == b'"' {
                    fields[last].push(b'"');
                }
            }
            b',' if !quoted => fields.push(Vec::new()),
            byte => fields[last].push(byte),
        }
        before = byte;
    }
    fields
}

/// Keys that Rust's own order sorts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OracleKey {
    NotANumber,
    Number(f64),
    Bytes(Vec<u8>),
}

impl OracleKey {
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::NotANumber, Self::NotANumber) => Ordering::Equal,
            (Self::NotANumber, _) => Ordering::Less,
            (_, _) => Ordering::Greater,
        }
    }
}

/// Makes keys of records.
pub(crate) struct OracleKeys<'p> {
    parameters: &'p Parameters,
    number: Regex,
}

impl<'p> OracleKeys<'p> {
    pub(crate) fn new(parameters: &'p Parameters) -> io::Result<Self> {
        let pattern = r"(?-u)\A[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\z";
        Ok(Self {
            parameters,
            number: Regex::new(pattern).map_err(io::Error::other)?,
        })
    }

    fn bytes(&self, record: &[u8]) -> Vec<u8> {
        let number = |name: &str| usize::try_from(self.parameters.integer(name)).unwrap_or(0);
        if number("column") > 0 {
            let delimiter = match self.parameters.text("delimiter") {
                "tab" => b'\t',
                "comma" => b',',
                "space" => b' ',
                other => other.bytes().next().unwrap_or(b'\t'),
            };
            let mut columns = record.split(|&byte| byte == delimiter);
            return columns.nth(number("column") - 1).unwrap_or(b"").to_vec();
        }
        let rest = record.iter().skip(number("key-start"));
        match number("key-bytes") {
            0 => rest.copied().collect(),
            bytes => rest.take(bytes).copied().collect(),
        }
    }

    pub(crate) fn of(&self, record: &Found) -> OracleKey {
        let bytes = match &record.csv_key {
            Some(key) => key.clone(),
            None => self.bytes(&record.bytes),
        };
        if !self.parameters.is_true("numeric") {
            return OracleKey::Bytes(bytes);
        }
        let text = bytes.trim_ascii();
        let number = self.number.is_match(text).then_some(text);
        let number = number.and_then(|text| str::from_utf8(text).ok()?.parse().ok());
        number.map_or(OracleKey::NotANumber, OracleKey::Number)
    }
}

pub(super) fn sort(
    parameters: &Parameters,
    inputs: &[OracleInput],
    _reducers: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let keys = OracleKeys::new(parameters)?;
    let found = records(parameters, inputs)?;
    let mut sorted: Vec<(OracleKey, Vec<u8>)> = found
        .into_iter()
        .map(|found| (keys.of(&found), found.bytes))
        .collect();
    sorted.sort_by(|(a, _), (b, _)| {
        let order = a.compare(b);
        match parameters.is_true("reverse") {
            true => order.reverse(),
            false => order,
        }
    });
    if parameters.is_true("unique") {
        sorted.dedup_by(|(later, _), (kept, _)| later.compare(kept) == Ordering::Equal);
    }
    for (_, record) in sorted {
        out.write_all(&record)?;
        if parameters.integer("record-bytes") == 0 {
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

/// The sample, from every place that is drawn in all files. Keys stand in it as
/// the bytes that they are sorted by, so only bytes in their own order are here.
pub(super) fn sample(
    parameters: &Parameters,
    inputs: &[OracleInput],
    _reducers: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let has_csv = !parameters.text("csv-column").is_empty();
    if parameters.is_true("numeric") || parameters.is_true("reverse") || has_csv {
        let problem = "the oracle of sort-sample knows keys in the order of their bytes only";
        return Err(io::Error::new(io::ErrorKind::Unsupported, problem));
    }
    let keys = OracleKeys::new(parameters)?;
    let mut drawn: BTreeMap<(u64, usize, u64), Vec<u8>> = BTreeMap::new();
    for found in records(parameters, inputs)? {
        let seed = mixed(found.file as u64);
        for place in found.offset..found.offset + found.whole {
            let cell = place as u64 / CELL_BYTES;
            let rank = mixed(seed ^ cell);
            if rank % CELL_BYTES == place as u64 % CELL_BYTES {
                drawn.insert((rank, found.file, cell), keys.bytes(&found.bytes));
            }
        }
    }
    let parts = u32::try_from(parameters.integer("parts")).unwrap_or(1);
    for key in drawn.values().take(keys_max(parts)) {
        let kept = &key[..key.len().min(KEY_BYTES_KEPT)];
        out.write_all(&u32::try_from(kept.len()).unwrap_or(0).to_le_bytes())?;
        out.write_all(kept)?;
    }
    Ok(())
}
