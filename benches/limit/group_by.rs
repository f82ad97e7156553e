//! Counts the rows of a CSV file, and sums a column, by another column.

use std::collections::BTreeMap;
use std::io;

use super::table::Map;
use super::{Task, lines};

/// Places of the columns in the row of the table.
const KEY: usize = 1;
const VALUE: usize = 24;
/// What the first line is.
const HEADER: &str = "PLAYER_ID,games,points";

/// Writes each key with its rows and its sum.
pub fn run(task: &Task) -> io::Result<()> {
    let mut all = BTreeMap::<u64, Group>::new();
    for groups in lines::read(task, Groups::default)? {
        for (key, group) in groups.0 {
            let sum = all.entry(key).or_default();
            sum.rows += group.rows;
            sum.points += group.points;
        }
    }
    lines::write(&task.output, |out| {
        writeln!(out, "{HEADER}")?;
        for (key, Group { rows, points }) in &all {
            writeln!(out, "{key},{rows},{points}")?;
        }
        Ok(())
    })
}

#[derive(Default)]
struct Group {
    rows: u64,
    points: u64,
}

#[derive(Default)]
struct Groups(Map<u64, Group>);

impl lines::Sink for Groups {
    fn lines(&mut self, _file: usize, lines: &[u8]) {
        for line in lines.split(|byte| *byte == b'\n') {
            let (mut key, mut value) = (None, None);
            let mut rest = line;
            for column in 0..=VALUE {
                let end = end_of_field(rest);
                let field = &rest[..end];
                match column {
                    KEY => key = number(field),
                    VALUE => value = number(field),
                    _ => {}
                }
                rest = rest.get(end + 1..).unwrap_or_default();
            }
            // The header has no numbers.
            if let (Some(key), Some(value)) = (key, value) {
                let group = self.0.entry(key).or_default();
                group.rows += 1;
                group.points += value;
            }
        }
    }
}

/// Where the comma behind the first field is; a quoted one may hold some.
fn end_of_field(line: &[u8]) -> usize {
    let quoted = match line.strip_prefix(b"\"") {
        Some(rest) => memchr::memchr(b'"', rest).map_or(line.len(), |end| end + 2),
        None => 0,
    };
    let rest = line.get(quoted..).unwrap_or_default();
    memchr::memchr(b',', rest).map_or(line.len(), |end| quoted + end)
}

fn number(field: &[u8]) -> Option<u64> {
    let mut number = 0;
    for byte in field {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number = number * 10 + digit;
    }
    (!field.is_empty()).then_some(number)
}
