//! For each word the files that it occurs in.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::table::{Map, short, text_of};
use super::{Task, lines, word_count};

/// Files that a word is in: a bit for each.
type Files = u64;

/// Writes each word, a tab, and the names of its files with commas between.
pub fn run(task: &Task) -> io::Result<()> {
    if task.inputs.len() > Files::BITS as usize {
        return Err(io::Error::other("too many inputs for a word of bits"));
    }
    let mut tables = lines::read(task, Index::default)?.into_iter();
    let mut all = tables.next().unwrap_or_default();
    for table in tables {
        for (word, files) in table.short {
            *all.short.entry(word).or_default() |= files;
        }
        for (word, files) in table.long {
            *all.long.entry(word).or_default() |= files;
        }
    }
    let names = task.inputs.iter().map(|input| input.display().to_string());
    let names: Vec<String> = names.collect();
    let mut words: BTreeMap<Vec<u8>, Files> = all.long.into_iter().collect();
    words.extend(
        all.short
            .into_iter()
            .map(|(word, files)| (text_of(word), files)),
    );
    lines::write(&task.output, |out| {
        words
            .iter()
            .try_for_each(|(word, files)| write(out, word, *files, &names))
    })
}

fn write(out: &mut dyn Write, word: &[u8], files: Files, names: &[String]) -> io::Result<()> {
    out.write_all(word)?;
    let here = (0..names.len()).filter(|file| files >> file & 1 == 1);
    for (place, file) in here.enumerate() {
        out.write_all(if place == 0 { b"\t" } else { b"," })?;
        out.write_all(names[file].as_bytes())?;
    }
    out.write_all(b"\n")
}

#[derive(Default)]
struct Index {
    short: Map<u128, Files>,
    long: Map<Vec<u8>, Files>,
}

impl lines::Sink for Index {
    fn lines(&mut self, file: usize, lines: &[u8]) {
        let bit = 1 << file;
        word_count::each(lines, |text, padded| {
            let padded = padded.or_else(|| (text.len() <= 16).then(|| short(text)));
            match padded {
                Some(padded) => *self.short.entry(padded).or_default() |= bit,
                None => *self.long.entry(text.to_vec()).or_default() |= bit,
            }
        });
    }
}
