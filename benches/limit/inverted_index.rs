//! For each word the files that it occurs in, with how often.

use std::collections::BTreeMap;
use std::io;
use std::mem;

use super::table::Table;
use super::{Task, lines, word_count};

/// Writes each word and, behind tabs, each of its files with a count.
pub fn run(task: &Task) -> io::Result<()> {
    let mut by_file: Vec<Table> = Vec::new();
    by_file.resize_with(task.inputs.len(), Table::default);
    for index in lines::read(task, Index::default)? {
        for (file, table) in index.finish() {
            by_file[file].merge(table);
        }
    }
    let names = task.inputs.iter().map(|input| input.display().to_string());
    let names: Vec<String> = names.collect();
    let mut words: BTreeMap<Vec<u8>, Vec<(usize, u64)>> = BTreeMap::new();
    for (file, table) in by_file.into_iter().enumerate() {
        for (word, count) in table.into_counts() {
            words.entry(word).or_default().push((file, count));
        }
    }
    lines::write(&task.output, |out| {
        for (word, files) in &words {
            out.write_all(word)?;
            for (file, count) in files {
                write!(out, "\t{}:{count}", names[*file])?;
            }
            out.write_all(b"\n")?;
        }
        Ok(())
    })
}

/// The words of one file after another.
#[derive(Default)]
struct Index {
    done: Vec<(usize, Table)>,
    file: usize,
    table: Table,
}

impl Index {
    fn finish(mut self) -> Vec<(usize, Table)> {
        self.done.push((self.file, self.table));
        self.done
    }
}

impl lines::Sink for Index {
    fn lines(&mut self, file: usize, lines: &[u8]) {
        if file != self.file {
            let former = mem::replace(&mut self.file, file);
            self.done.push((former, mem::take(&mut self.table)));
        }
        let table = &mut self.table;
        word_count::each(lines, |text, padded| match padded {
            Some(padded) => table.add_short(padded),
            None => table.add(text),
        });
    }
}
