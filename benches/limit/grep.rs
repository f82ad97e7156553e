//! Prints the lines that a pattern matches, each behind its file's name.

use std::io;

use regex::bytes::Regex;

use super::{Task, lines};

/// As in the row of the table.
pub const PATTERN: &str = "xu[a-z]*qo";

/// Writes the lines in the order of the input.
pub fn run(task: &Task) -> io::Result<()> {
    let pattern = Regex::new(PATTERN).expect("it is one");
    let names = task.inputs.iter().map(|input| input.display().to_string());
    let names: Vec<String> = names.collect();
    let new = || Found {
        pattern: pattern.clone(),
        names: &names,
        found: Vec::new(),
    };
    let found = lines::read(task, new)?;
    lines::write(&task.output, |out| {
        found
            .iter()
            .try_for_each(|found| out.write_all(&found.found))
    })
}

struct Found<'t> {
    pattern: Regex,
    names: &'t [String],
    found: Vec<u8>,
}

impl lines::Sink for Found<'_> {
    /// Searches all at once: most lines are never looked at as such.
    fn lines(&mut self, file: usize, lines: &[u8]) {
        let mut at = 0;
        while let Some(found) = self.pattern.find_at(lines, at) {
            let from = memchr::memrchr(b'\n', &lines[..found.start()]);
            let from = from.map_or(0, |end| end + 1);
            let to = memchr::memchr(b'\n', &lines[found.end()..]);
            let to = to.map_or(lines.len(), |end| found.end() + end);
            self.found.extend_from_slice(self.names[file].as_bytes());
            self.found.push(b':');
            self.found.extend_from_slice(&lines[from..to]);
            self.found.push(b'\n');
            at = to;
            if at >= lines.len() {
                break;
            }
        }
    }
}
