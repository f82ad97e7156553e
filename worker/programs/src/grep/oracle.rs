//! What grep must print, by one loop over all lines.

use std::io::{self, Write};

use regex::bytes::RegexBuilder;

use crate::catalogue::OracleInput;
use crate::parameters::Parameters;

/// Prints everything in input order; all parts together read the same, however
/// many there are.
pub(super) fn oracle(
    parameters: &Parameters,
    inputs: &[OracleInput],
    _reducers: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let regex = RegexBuilder::new(parameters.text("pattern"))
        .case_insensitive(parameters.is_true("fold-case"))
        .build()
        .map_err(io::Error::other)?;
    let invert = parameters.is_true("invert");
    let only_matching = parameters.is_true("only-matching");
    let count = parameters.is_true("count");
    for input in inputs {
        let bytes = std::fs::read(&input.path)?;
        let mut selected: u64 = 0;
        for (index, line) in lines(&bytes).into_iter().enumerate() {
            if regex.is_match(line) == invert {
                continue;
            }
            selected += 1;
            if count {
                continue;
            }
            let pieces: Vec<&[u8]> = if !only_matching {
                vec![line]
            } else if invert {
                Vec::new()
            } else {
                let matches = regex.find_iter(line).map(|found| found.as_bytes());
                matches.filter(|found| !found.is_empty()).collect()
            };
            for piece in pieces {
                write!(out, "{}:", input.display)?;
                if parameters.is_true("line-numbers") {
                    write!(out, "{}:", index + 1)?;
                }
                out.write_all(piece)?;
                out.write_all(b"\n")?;
            }
        }
        if count {
            writeln!(out, "{}:{selected}", input.display)?;
        }
    }
    Ok(())
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    // Behind the last line end there is no line, with or without a last one.
    let unended = lines.pop().filter(|line| !line.is_empty());
    for line in &mut lines {
        *line = line.strip_suffix(b"\r").unwrap_or(line);
    }
    lines.extend(unended);
    lines
}
