//! What join must write, by two maps from keys to lines.

use std::collections::BTreeMap;
use std::io::{self, Write};

use glob::Pattern;

use crate::catalogue::OracleInput;
use crate::oracles::{lines, part_of};
use crate::parameters::Parameters;
use crate::table::items;

type Lines = BTreeMap<Vec<u8>, [Vec<Vec<u8>>; 2]>;

pub(super) fn oracle(
    parameters: &Parameters,
    inputs: &[OracleInput],
    reducers: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    if !parameters.text("left-columns").is_empty() {
        return by_columns(parameters, inputs, reducers, out);
    }
    let separator: &[u8] = match parameters.text("separator") {
        "comma" => b",",
        "semicolon" => b";",
        "space" => b" ",
        _ => b"\t",
    };
    let mut joined = Lines::new();
    for input in inputs {
        let side = side(parameters, input)?;
        let key = parameters.integer(["left-key", "right-key"][side]);
        for line in lines(&std::fs::read(&input.path)?) {
            let split = line.split(|byte| *byte == separator[0]);
            let mut fields: Vec<&[u8]> = split.collect();
            let key = usize::try_from(key - 1).unwrap_or(0);
            if key >= fields.len() {
                let detail = format!("{}: a line has no key", input.display);
                return Err(io::Error::other(detail));
            }
            let key = fields.remove(key).to_vec();
            joined.entry(key).or_default()[side].push(fields.join(separator));
        }
    }
    let missing = vec![parameters.text("missing").as_bytes().to_vec()];
    for part in 0..reducers as usize {
        for (key, [lefts, rights]) in &joined {
            if part_of(key, reducers) != part {
                continue;
            }
            let keep = rights.is_empty() && parameters.text("type") == "left";
            for left in lefts {
                for right in if keep { &missing } else { rights } {
                    let fields: [&[u8]; 3] = [key, left, right];
                    out.write_all(&fields.join(separator))?;
                    out.write_all(b"\n")?;
                }
            }
        }
    }
    Ok(())
}

/// 0 is left.
fn side(parameters: &Parameters, input: &OracleInput) -> io::Result<usize> {
    let matches = |name: &str| -> io::Result<bool> {
        let pattern = Pattern::new(parameters.text(name)).map_err(io::Error::other)?;
        Ok(pattern.matches(&input.display))
    };
    match (matches("left")?, matches("right")?) {
        (true, false) => Ok(0),
        (false, true) => Ok(1),
        (true, true) | (false, false) => {
            let detail = format!("{} is not on one side", input.display);
            Err(io::Error::other(detail))
        }
    }
}

type Table = Vec<Vec<String>>;

/// The same of CSV files: key fields, other fields, and the names of all of them.
fn by_columns(
    parameters: &Parameters,
    inputs: &[OracleInput],
    reducers: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut names: [Vec<String>; 2] = [Vec::new(), Vec::new()];
    let mut joined: BTreeMap<Vec<String>, [Table; 2]> = BTreeMap::new();
    for input in inputs {
        let side = side(parameters, input)?;
        let keys = items(
            parameters.text(match (side, parameters.text("right-columns")) {
                (0, _) | (1, "") => "left-columns",
                (_, _) => "right-columns",
            }),
        );
        let mut reader = csv::Reader::from_path(&input.path).map_err(io::Error::other)?;
        let header = reader.headers().map_err(io::Error::other)?.clone();
        let is_other = |(name, _): &(&str, &str)| !keys.iter().any(|key| key == name);
        let others = header.iter().zip(header.iter()).filter(is_other);
        names[side] = others.map(|(name, _)| name.to_owned()).collect();
        for record in reader.records() {
            let record = record.map_err(io::Error::other)?;
            let named: BTreeMap<&str, &str> = header.iter().zip(record.iter()).collect();
            let key: Vec<String> = keys
                .iter()
                .map(|key| named[key.as_str()].to_owned())
                .collect();
            let others = header.iter().zip(record.iter()).filter(is_other);
            let others = others.map(|(_, field)| field.to_owned()).collect();
            joined.entry(key).or_default()[side].push(others);
        }
    }
    let mut all = items(parameters.text("left-columns"));
    let [left, right] = names;
    let holes = vec![vec![parameters.text("missing").to_owned(); right.len()]];
    all.extend(left);
    for mut name in right {
        while all.contains(&name) {
            name.push_str("_right");
        }
        all.push(name);
    }
    let mut table = csv::Writer::from_writer(out);
    table.write_record(&all).map_err(io::Error::other)?;
    for part in 0..reducers as usize {
        for (key, [lefts, rights]) in &joined {
            if part_of(&encoded(key), reducers) != part {
                continue;
            }
            let keep = rights.is_empty() && parameters.text("type") == "left";
            for left in lefts {
                for right in if keep { &holes } else { rights } {
                    let fields = key.iter().chain(left).chain(right);
                    table.write_record(fields).map_err(io::Error::other)?;
                }
            }
        }
    }
    table.flush()
}

/// One text is itself, several end in `00 01` each.
fn encoded(key: &[String]) -> Vec<u8> {
    match key {
        [only] => only.clone().into_bytes(),
        key => key
            .iter()
            .flat_map(|text| [text.as_bytes(), &[0, 1]].concat())
            .collect(),
    }
}
