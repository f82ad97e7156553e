//! Counts the requested paths of an access log.

use std::io;

use super::table::Table;
use super::{Task, lines};

/// Writes each path with its count.
pub fn run(task: &Task) -> io::Result<()> {
    let mut tables = lines::read(task, Urls::default)?.into_iter();
    let mut all = tables.next().unwrap_or_default().0;
    tables.for_each(|table| all.merge(table.0));
    lines::write(&task.output, |out| all.write(out))
}

#[derive(Default)]
struct Urls(Table);

impl lines::Sink for Urls {
    fn lines(&mut self, _file: usize, lines: &[u8]) {
        let mut at = 0;
        // `... "GET /path HTTP/1.1" ...`: between the spaces behind the quote.
        while let Some(quote) = find(b'"', lines, at) {
            let Some(from) = find(b' ', lines, quote).map(|space| space + 1) else {
                return;
            };
            let Some(to) = find(b' ', lines, from) else {
                return;
            };
            self.0.add(&lines[from..to]);
            let Some(end) = find(b'\n', lines, to) else {
                return;
            };
            at = end + 1;
        }
    }
}

fn find(byte: u8, text: &[u8], from: usize) -> Option<usize> {
    memchr::memchr(byte, text.get(from..)?).map(|at| from + at)
}
