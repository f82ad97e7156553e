//! What term-vector must write, by one map of counts for each document.

use std::collections::BTreeMap;
use std::io::{self, Write};

use regex::bytes::Regex;

use super::stop;
use crate::catalogue::OracleInput;
use crate::oracles::{lines, part_of, words};
use crate::parameters::Parameters;

const URL_LINE: &str =
    r"(?s-u)^[^\t]*?://(?:[^\t/?#]*@)?([^\t/?#@]+?)(?::[0-9]*)?(?:[/?#][^\t]*)?\t(.*)$";

pub(super) fn oracle(
    parameters: &Parameters,
    inputs: &[OracleInput],
    reducers: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let letters = parameters.text("words") == "letters";
    let fold_case = parameters.is_true("fold-case");
    let stop = stop::list(parameters.text("stop-words"), fold_case);
    let url_line = Regex::new(URL_LINE).map_err(io::Error::other)?;
    let mut documents: BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, u64>> = BTreeMap::new();
    let mut add = |document: &[u8], text: &[u8]| {
        for (_, word) in words(text, letters, fold_case) {
            if !stop.contains(&word) {
                let counts = documents.entry(document.to_vec()).or_default();
                *counts.entry(word).or_default() += 1;
            }
        }
    };
    for input in inputs {
        let text = std::fs::read(&input.path)?;
        if parameters.text("by") == "document" {
            add(input.display.as_bytes(), &text);
            continue;
        }
        for line in lines(&text) {
            if let Some(found) = url_line.captures(&line) {
                add(&found[1].to_ascii_lowercase(), &found[2]);
            }
        }
    }
    for part in 0..reducers as usize {
        for (document, counts) in &documents {
            if part_of(document, reducers) != part {
                continue;
            }
            let mut terms: Vec<_> = counts.iter().collect();
            // Stable: words of one count stay in their order.
            terms.sort_by_key(|(_, count)| u64::MAX - **count);
            out.write_all(document)?;
            let top = usize::try_from(parameters.integer("top")).unwrap_or(0);
            for (word, count) in terms.into_iter().take(top) {
                out.write_all(b"\t")?;
                out.write_all(word)?;
                write!(out, ":{count}")?;
            }
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}
