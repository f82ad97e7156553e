//! What reverse-links must write, by sorted maps of sets.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use regex::bytes::Regex;

use crate::catalogue::OracleInput;
use crate::oracles::{lines, part_of};
use crate::parameters::Parameters;

/// Files that are read as pages: an oracle is not told the job's format.
const PAGE: &str = r"\.html?$";
const LINK: &str = concat!(
    r#"(?is-u)<!--.*?-->|<a(?:rea)?(?:\s+[a-z]+(?:=(?:"[^"]*"|'[^']*'|[^\s>"']+))?)*?"#,
    r#"\s+href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))[^>]*>"#
);

pub(super) fn oracle(
    _: &Parameters,
    inputs: &[OracleInput],
    reducers: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let page = Regex::new(PAGE).map_err(io::Error::other)?;
    let link = Regex::new(LINK).map_err(io::Error::other)?;
    let mut sources: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>> = BTreeMap::new();
    let mut add = |source: &[u8], target: &[u8]| {
        if !target.is_empty() {
            let of_target = sources.entry(target.to_vec()).or_default();
            of_target.insert(source.to_vec());
        }
    };
    for input in inputs {
        let bytes = std::fs::read(&input.path)?;
        if page.is_match(input.display.as_bytes()) {
            for found in link.captures_iter(&bytes) {
                let target = (1..=3).find_map(|group| found.get(group));
                let target = target.map_or(&b""[..], |target| target.as_bytes());
                let target = String::from_utf8_lossy(target.trim_ascii()).replace("&amp;", "&");
                if !target.starts_with('#') {
                    add(input.display.as_bytes(), target.as_bytes());
                }
            }
            continue;
        }
        for line in lines(&bytes) {
            let mut fields = line.split(|byte| *byte == b'\t');
            let source = fields.next().unwrap_or(b"");
            for target in fields {
                add(source, target);
            }
        }
    }
    for part in 0..reducers as usize {
        for (target, sources) in &sources {
            if part_of(target, reducers) != part {
                continue;
            }
            out.write_all(target)?;
            for source in sources {
                out.write_all(b"\t")?;
                out.write_all(source)?;
            }
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}
