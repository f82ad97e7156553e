//! What url-count must write, by one regular expression and one map.

use std::collections::HashMap;
use std::io::{self, Write};

use regex::bytes::Regex;

use crate::catalogue::OracleInput;
use crate::oracles::part_of;
use crate::parameters::Parameters;

const LINE: &str = concat!(
    r#"(?s-u)^([^ ]+) [^ ]+ (?:[^\[]+) \[[^\]]*\] "((?:[^"\\]|\\.)*)" ([0-9]{3}) (-|[0-9]+)"#,
    r#"(?: |$)(?:"(?:[^"\\]|\\.)*" "((?:[^"\\]|\\.)*)")?"#
);

pub(super) fn oracle(
    parameters: &Parameters,
    inputs: &[OracleInput],
    reducers: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let shape = Regex::new(LINE).map_err(io::Error::other)?;
    let mut sums: HashMap<Vec<u8>, (u64, u128)> = HashMap::new();
    for input in inputs {
        let bytes = std::fs::read(&input.path)?;
        for line in bytes.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let Some(found) = shape.captures(line) else {
                continue;
            };
            let group = |number| found.get(number).map_or(&b"-"[..], |text| text.as_bytes());
            let mut words = group(2).split(|byte| *byte == b' ');
            let method = words.next().filter(|word| !word.is_empty());
            let url = words.next();
            let key = match parameters.text("field") {
                "host" => group(1),
                "status" => group(3),
                "user-agent" => group(5),
                "method" if url.is_some() => method.unwrap_or(b"-"),
                "url" if method.is_some() => url.filter(|url| !url.is_empty()).unwrap_or(b"-"),
                _ => b"-",
            };
            let size = String::from_utf8_lossy(group(4)).parse();
            let sum = sums.entry(key.to_vec()).or_default();
            sum.0 += 1;
            sum.1 += size.unwrap_or(0);
        }
    }
    let mut parts = vec![Vec::new(); reducers as usize];
    for (key, sum) in sums {
        parts[part_of(&key, reducers)].push((key, sum));
    }
    for part in &mut parts {
        part.sort();
        for (key, (lines, bytes)) in part {
            out.write_all(key)?;
            if parameters.is_true("bytes") {
                writeln!(out, "\t{lines}\t{bytes}")?;
            } else {
                writeln!(out, "\t{lines}")?;
            }
        }
    }
    Ok(())
}
