//! What join must write, by two maps from keys to lines.

use std::collections::BTreeMap;
use std::io::{self, Write};

use glob::Pattern;

use crate::catalogue::OracleInput;
use crate::oracles::{lines, part_of};
use crate::parameters::Parameters;

type Lines = BTreeMap<Vec<u8>, [Vec<Vec<u8>>; 2]>;

pub(super) fn oracle(
    parameters: &Parameters,
    inputs: &[OracleInput],
    reducers: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let separator: &[u8] = match parameters.text("separator") {
        "comma" => b",",
        "semicolon" => b";",
        "space" => b" ",
        _ => b"\t",
    };
    let mut joined = Lines::new();
    for input in inputs {
        let matches = |name: &str| -> io::Result<bool> {
            let pattern = Pattern::new(parameters.text(name)).map_err(io::Error::other)?;
            Ok(pattern.matches(&input.display))
        };
        let (side, key) = match (matches("left")?, matches("right")?) {
            (true, false) => (0, parameters.integer("left-key")),
            (false, true) => (1, parameters.integer("right-key")),
            (true, true) | (false, false) => {
                let detail = format!("{} is not on one side", input.display);
                return Err(io::Error::other(detail));
            }
        };
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
