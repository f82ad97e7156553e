//! The program of the MIT lab's checks: an indexer that misbehaves on request.
//!
//! It always makes the same index, so whatever it is told to do on the way, its
//! output has one oracle. Each attempt leaves a mark in a directory of the
//! test's, `map-3-0` for the first of map 3; from those the test learns how
//! often a task ran, and a task how often it ran before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use vivat_engine::{Executable, Runner};
use vivat_mapreduce::{
    Emit, MapContext, Mapper, Output, Program, ProgramError, Record, ReduceContext, Reducer,
    Values, partition_of,
};
use vivat_programs::{
    Format, OracleInput, ParameterError, ParameterKind, ParameterSpec, Parameters, ProgramEntry,
};

/// How a process ends that the program ended.
pub const EXIT_BY_PROGRAM: i32 = 86;
/// What a call takes that takes long.
const LONG: Duration = Duration::from_millis(700);
/// How long a map computes that burns.
pub const BURN: Duration = Duration::from_secs(20);
/// How long a task waits for another one at its side.
const COMPANY_DEADLINE: Duration = Duration::from_secs(30);
/// How long a map drags that nobody gives the sign.
const DRAG_DEADLINE: Duration = Duration::from_secs(100);
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

const INDEXER: ProgramEntry = ProgramEntry {
    name: "lab-indexer",
    summary: "lists the files that each word is in",
    parameters: &[
        ParameterSpec {
            name: "marks",
            kind: ParameterKind::Text,
            default: None,
            help: "the directory where attempts leave their marks",
        },
        ParameterSpec {
            name: "conduct",
            kind: ParameterKind::Choice(&[
                "plain",
                "maps-wait-for-company",
                "reduces-wait-for-company",
                "maps-wait-for-a-sign",
                "slow",
                "crash",
                "maps-burn",
                "panics",
                "floods",
                "exits",
                "hangs",
                "one-drags",
            ]),
            default: Some("plain"),
            help: "what each task does beside its work",
        },
    ],
    formats: &[Format::WholeFile],
    example: "only in tests",
    build,
    oracle,
};

/// What a worker of the lab can run: all that others can, and the indexer.
pub fn catalogue() -> &'static [ProgramEntry] {
    static CATALOGUE: LazyLock<Vec<ProgramEntry>> = LazyLock::new(|| {
        let mut entries = vivat_programs::catalogue().to_vec();
        entries.push(INDEXER);
        entries
    });
    &CATALOGUE
}

/// What a task does beside its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conduct {
    Plain,
    /// The tasks of a kind wait until two of them run at once.
    WaitForCompany(&'static str),
    /// A map waits for the mark `go`, which the test leaves.
    WaitForSign,
    /// Every task takes long.
    Slow,
    /// A map computes without a pause for [`BURN`].
    Burn,
    /// Map 0 panics, always, with so many bytes of a message.
    Panic {
        bytes: usize,
    },
    /// Map 0 ends the process, always.
    Exit,
    /// Maps never end, whatever they are told.
    Hang,
    /// In the process that is the first to map, maps wait for the mark `go`.
    Drag,
    /// Of a task's attempts, and of the first attempts of neighbouring tasks, a
    /// third ends the process, a third takes long, a third does its work.
    Crash,
}

struct Indexer {
    conduct: Conduct,
    marks: PathBuf,
}

fn build(parameters: &Parameters) -> Result<Box<dyn Executable>, ParameterError> {
    let conduct = match parameters.text("conduct") {
        "maps-wait-for-company" => Conduct::WaitForCompany("map"),
        "reduces-wait-for-company" => Conduct::WaitForCompany("reduce"),
        "maps-wait-for-a-sign" => Conduct::WaitForSign,
        "slow" => Conduct::Slow,
        "crash" => Conduct::Crash,
        "maps-burn" => Conduct::Burn,
        "panics" => Conduct::Panic { bytes: 0 },
        "floods" => Conduct::Panic {
            bytes: 10 * 1024 * 1024,
        },
        "exits" => Conduct::Exit,
        "hangs" => Conduct::Hang,
        "one-drags" => Conduct::Drag,
        _ => Conduct::Plain,
    };
    Ok(Box::new(Runner::new(Indexer {
        conduct,
        marks: PathBuf::from(parameters.text("marks")),
    })))
}

impl Indexer {
    /// Leaves the mark of one more attempt, and behaves as told.
    fn act(&self, kind: &'static str, task: u32) -> Result<(), ProgramError> {
        let attempt = self
            .mark(kind, task)
            .map_err(|error| ProgramError::new(format!("cannot leave a mark: {error}")))?;
        match self.conduct {
            Conduct::Plain => {}
            Conduct::WaitForCompany(waiting) if waiting == kind => {
                return self.wait_for_company(kind, task);
            }
            Conduct::WaitForCompany(_) => {}
            Conduct::WaitForSign if kind == "map" => return self.wait_for_sign(),
            Conduct::WaitForSign => {}
            Conduct::Slow => thread::sleep(LONG),
            Conduct::Burn if kind == "map" => burn(),
            Conduct::Panic { bytes } if kind == "map" && task == 0 => {
                panic!("poison{}", "!".repeat(bytes));
            }
            Conduct::Exit if kind == "map" && task == 0 => std::process::exit(EXIT_BY_PROGRAM),
            Conduct::Hang if kind == "map" => loop {
                thread::park();
            },
            Conduct::Drag if kind == "map" => return self.drag(),
            Conduct::Drag => {}
            Conduct::Burn | Conduct::Panic { .. } | Conduct::Exit | Conduct::Hang => {}
            Conduct::Crash => match (task + attempt) % 3 {
                0 => std::process::exit(EXIT_BY_PROGRAM),
                1 => thread::sleep(LONG),
                _ => {}
            },
        }
        Ok(())
    }

    /// Leaves the next mark of a task and returns its number.
    fn mark(&self, kind: &str, task: u32) -> io::Result<u32> {
        let mut attempt = 0;
        loop {
            let path = self.marks.join(format!("{kind}-{task}-{attempt}"));
            match File::create_new(path) {
                Ok(mut file) => {
                    write!(file, "{}", std::process::id())?;
                    return Ok(attempt);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Stays until two of a kind are here at once; the first that sees it says
    /// so, with the processes' ids, and nobody waits any more.
    fn wait_for_company(&self, kind: &str, task: u32) -> Result<(), ProgramError> {
        let failed = |error: io::Error| ProgramError::new(format!("cannot look around: {error}"));
        let met = self.marks.join(format!("met-{kind}"));
        let here = self.marks.join(format!("here-{kind}-{task}"));
        fs::write(&here, std::process::id().to_string()).map_err(failed)?;
        let deadline = Instant::now() + COMPANY_DEADLINE;
        while !met.exists() {
            let present = self.present(kind).map_err(failed)?;
            if present.len() > 1 {
                fs::write(&met, present.join(" ")).map_err(failed)?;
            } else if Instant::now() > deadline {
                return Err(ProgramError::new("no other task ran at the same time"));
            }
            // Between two looks, not instead of a look.
            thread::sleep(LOOK_INTERVAL);
        }
        fs::remove_file(here).map_err(failed)
    }

    /// Waits for the sign in the process that came first.
    fn drag(&self) -> Result<(), ProgramError> {
        let failed = |error: io::Error| ProgramError::new(format!("cannot look around: {error}"));
        let dragging = self.marks.join("dragging");
        let own = std::process::id().to_string();
        // Written elsewhere and linked: whoever reads it finds it whole.
        let written = self.marks.join(format!("candidate-{own}"));
        fs::write(&written, &own).map_err(failed)?;
        if let Err(error) = fs::hard_link(&written, &dragging)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(failed(error));
        }
        if fs::read_to_string(dragging).map_err(failed)? != own {
            return Ok(());
        }
        let (sign, deadline) = (self.marks.join("go"), Instant::now() + DRAG_DEADLINE);
        while !sign.exists() && Instant::now() < deadline {
            // Between two looks, not instead of a look.
            thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    fn wait_for_sign(&self) -> Result<(), ProgramError> {
        let (sign, deadline) = (self.marks.join("go"), Instant::now() + COMPANY_DEADLINE);
        while !sign.exists() {
            if Instant::now() > deadline {
                return Err(ProgramError::new("no sign to go on"));
            }
            // Between two looks, not instead of a look.
            thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    /// The ids of the processes that run a task of a kind now.
    fn present(&self, kind: &str) -> io::Result<Vec<String>> {
        let prefix = format!("here-{kind}-");
        let mut present = Vec::new();
        for entry in fs::read_dir(&self.marks)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                match fs::read_to_string(entry.path()) {
                    // Made and not yet written: it counts at the next look.
                    Ok(id) if id.is_empty() => {}
                    Ok(id) => present.push(id),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(present)
    }
}

impl Program for Indexer {
    type Key = String;
    type Value = String;
    type Mapper<'t> = ListWords<'t>;
    type Reducer<'t> = ListFiles<'t>;

    fn mapper<'t>(&'t self, context: &'t MapContext<'t>) -> Result<ListWords<'t>, ProgramError> {
        Ok(ListWords {
            indexer: self,
            context,
        })
    }

    fn reducer<'t>(
        &'t self,
        context: &'t ReduceContext<'t>,
    ) -> Result<ListFiles<'t>, ProgramError> {
        Ok(ListFiles {
            indexer: self,
            context,
        })
    }
}

struct ListWords<'t> {
    indexer: &'t Indexer,
    context: &'t MapContext<'t>,
}

impl Mapper<String, String> for ListWords<'_> {
    fn map<E: Emit<String, String>>(
        &mut self,
        record: Record<'_>,
        emit: &mut E,
    ) -> Result<(), ProgramError> {
        let text = String::from_utf8_lossy(record.bytes);
        let words = words(&text);
        let half = words.len() / 2;
        for (index, word) in words.into_iter().enumerate() {
            if index == half {
                // Amid its work, which is the worst moment to end.
                self.indexer.act("map", self.context.split)?;
            }
            emit.emit(word, self.context.display);
        }
        Ok(())
    }
}

struct ListFiles<'t> {
    indexer: &'t Indexer,
    context: &'t ReduceContext<'t>,
}

impl Reducer<String, String> for ListFiles<'_> {
    fn reduce<S: Values<String>>(
        &mut self,
        key: &str,
        values: &mut S,
        out: &mut Output<'_>,
    ) -> Result<(), ProgramError> {
        let mut files = Vec::new();
        while let Some(file) = values.next() {
            files.push(file.to_owned());
        }
        out.pair(
            key.as_bytes(),
            format!("{} {}", files.len(), files.join(",")),
        );
        Ok(())
    }

    fn finish(self, _: &mut Output<'_>) -> Result<(), ProgramError> {
        // All is written and nothing is handed over yet.
        self.indexer.act("reduce", self.context.partition)
    }
}

/// Takes all of a core that it gets.
fn burn() {
    let began = Instant::now();
    let mut sum = 0_u64;
    while began.elapsed() < BURN {
        for number in 0..100_000_u64 {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(number));
        }
    }
}

fn words(text: &str) -> BTreeSet<&str> {
    text.split(|character: char| !character.is_alphabetic())
        .filter(|word| !word.is_empty())
        .collect()
}

/// The index, made without the engine: parts in order, words in order.
fn oracle(
    _: &Parameters,
    inputs: &[OracleInput],
    reducers: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut index = BTreeMap::<String, Vec<&str>>::new();
    for input in inputs {
        let text = fs::read_to_string(&input.path)?;
        for word in words(&text) {
            index
                .entry(word.to_owned())
                .or_default()
                .push(&input.display);
        }
    }
    for partition in 0..reducers {
        for (word, files) in &index {
            if partition_of(word.as_bytes(), reducers) == partition {
                writeln!(out, "{word}\t{} {}", files.len(), files.join(","))?;
            }
        }
    }
    Ok(())
}

/// The bytes that all parts must have, one after another.
pub fn expected(inputs: &[OracleInput], reducers: u32) -> Vec<u8> {
    let given = BTreeMap::from([("marks".to_owned(), "nowhere".to_owned())]);
    let parameters =
        vivat_programs::validate_parameters(&INDEXER, &given).expect("they are its own");
    let mut out = Vec::new();
    (INDEXER.oracle)(&parameters, inputs, reducers, &mut out).expect("the test wrote the inputs");
    out
}
