//! What the writer says before and after each thing it does.
//!
//! A file on a disk that keeps its power, one line for each event, appended in
//! one write: what the process wrote is there after its SIGKILL.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use super::state::{Operation, State};

/// The writing end.
#[derive(Debug)]
pub struct Diary {
    file: File,
}

impl Diary {
    pub fn open(path: &Path) -> Self {
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).open(path).unwrap();
        Self { file }
    }

    fn line(&self, line: &str) {
        let line = format!("{line}\n");
        (&self.file).write_all(line.as_bytes()).unwrap();
    }

    /// The store is open, and holds this.
    pub fn found(&self, state: &State) {
        let mut line = String::from("found");
        for (name, value) in [("vote", state.vote), ("purged", state.purged)] {
            if let Some(value) = value {
                write!(line, " {name} {value}").unwrap();
            }
        }
        for (index, write) in &state.records {
            write!(line, " {index}:{write}").unwrap();
        }
        self.line(&line);
    }

    /// The store did not open.
    pub fn refused(&self, problem: &str) {
        self.line(&format!("refused {}", problem.replace('\n', " ")));
    }

    /// The store is open and gave something that was never written.
    pub fn wrong(&self, problem: &str) {
        self.line(&format!("wrong {}", problem.replace('\n', " ")));
    }

    /// The operation is about to be done.
    pub fn begin(&self, operation: &Operation) {
        self.line(&match operation {
            Operation::Append {
                first,
                count,
                write,
            } => format!("append {first} {count} {write}"),
            Operation::Vote(vote) => format!("vote {vote}"),
            Operation::Truncate(last) => format!("truncate {last}"),
            Operation::Purge(upto) => format!("purge {upto}"),
        });
    }

    /// The operation with that number, from 1, is acknowledged.
    pub fn acknowledged(&self, number: usize) {
        self.line(&format!("ok {number}"));
    }
}

/// What a diary says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// What was found at the start, if the store opened.
    pub found: Option<State>,
    /// Why it did not.
    pub refused: Option<String>,
    /// What it held that was never written.
    pub wrong: Option<String>,
    /// What was begun.
    pub operations: Vec<Operation>,
    /// The number of the last operation that was acknowledged.
    pub acknowledged: usize,
    /// How many were.
    pub acknowledgements: u64,
}

impl Told {
    /// Reads a diary; an empty one if the writer did not get to it.
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut told = Self::default();
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let numbers: Vec<u64> = rest.split(' ').filter_map(|it| it.parse().ok()).collect();
            match (word, &numbers[..]) {
                ("found", _) => told.found = Some(parse_state(rest)),
                ("refused", _) => told.refused = Some(rest.to_owned()),
                ("wrong", _) => told.wrong = Some(rest.to_owned()),
                ("append", &[first, count, write]) => told.operations.push(Operation::Append {
                    first,
                    count,
                    write,
                }),
                ("vote", &[vote]) => told.operations.push(Operation::Vote(vote)),
                ("truncate", &[last]) => told.operations.push(Operation::Truncate(last)),
                ("purge", &[upto]) => told.operations.push(Operation::Purge(upto)),
                ("ok", &[number]) => {
                    let number = usize::try_from(number).unwrap();
                    told.acknowledged = told.acknowledged.max(number);
                    told.acknowledgements += 1;
                }
                _ => panic!("a diary says: {line}"),
            }
        }
        told
    }
}

fn parse_state(text: &str) -> State {
    let mut state = State::default();
    let mut words = text.split(' ').filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap().parse().unwrap();
        match word {
            "vote" => state.vote = Some(value()),
            "purged" => state.purged = Some(value()),
            record => {
                let (index, write) = record.split_once(':').unwrap();
                let (index, write) = (index.parse().unwrap(), write.parse().unwrap());
                state.records.insert(index, write);
            }
        }
    }
    state
}
