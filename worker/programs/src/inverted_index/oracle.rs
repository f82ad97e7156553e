//! What the index must hold, by one sorted map.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::catalogue::OracleInput;
use crate::oracles::{part_of, words};
use crate::parameters::Parameters;

pub(super) fn oracle(
    parameters: &Parameters,
    inputs: &[OracleInput],
    reducers: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let letters = parameters.text("words") == "letters";
    let fold_case = parameters.is_true("fold-case");
    let mut index: BTreeMap<Vec<u8>, BTreeMap<&str, Vec<usize>>> = BTreeMap::new();
    for input in inputs {
        for (at, word) in words(&std::fs::read(&input.path)?, letters, fold_case) {
            let documents = index.entry(word).or_default();
            documents.entry(&input.display).or_default().push(at);
        }
    }
    for part in 0..reducers as usize {
        for (word, documents) in &mut index {
            if part_of(word, reducers) != part {
                continue;
            }
            out.write_all(word)?;
            for (name, places) in documents {
                places.sort_unstable();
                if parameters.is_true("positions") {
                    let places: Vec<String> = places.iter().map(usize::to_string).collect();
                    write!(out, "\t{name}:{}", places.join(","))?;
                } else {
                    write!(out, "\t{name}:{}", places.len())?;
                }
            }
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}
