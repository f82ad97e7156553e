//! Counts the rows of a CSV file by one column.

use std::io;

use super::table::Table;
use super::{Task, lines};

/// As in the row of the table.
const COLUMN: &[u8] = b"PLAYER_NAME";

/// Writes each value with its rows.
pub fn run(task: &Task) -> io::Result<()> {
    let header = header(task)?;
    let columns = header.split(|byte| *byte == b',');
    let column = columns.clone().position(|name| name == COLUMN);
    let column = column.ok_or_else(|| io::Error::other("no such column"))?;
    let new = || Rows {
        header: &header,
        column,
        table: Table::default(),
    };
    let mut tables = lines::read(task, new)?.into_iter().map(|rows| rows.table);
    let mut all = tables.next().unwrap_or_default();
    tables.for_each(|table| all.merge(table));
    lines::write(&task.output, |out| all.write(out))
}

fn header(task: &Task) -> io::Result<Vec<u8>> {
    use std::io::BufRead;
    let input = task
        .inputs
        .first()
        .ok_or_else(|| io::Error::other("no input"))?;
    let mut line = Vec::new();
    io::BufReader::new(std::fs::File::open(input)?).read_until(b'\n', &mut line)?;
    Ok(line.trim_ascii_end().to_vec())
}

struct Rows<'t> {
    header: &'t [u8],
    column: usize,
    table: Table,
}

impl lines::Sink for Rows<'_> {
    fn lines(&mut self, _file: usize, lines: &[u8]) {
        // No field of these files holds a quote.
        for line in lines.split(|byte| *byte == b'\n') {
            let field = line.split(|byte| *byte == b',').nth(self.column);
            match field {
                Some(field) if !line.starts_with(self.header) => self.table.add(field),
                Some(_) | None => {}
            }
        }
    }
}
