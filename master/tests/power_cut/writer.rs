//! The process that writes: opens the store, says what it found, and goes on
//! until its disk is dead.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use vivat_master::storage::{Done, Record};
use vivat_testkit::dice::Dice;
use vivat_testkit::failpoints::{self, Orders};

use super::diary::Diary;
use super::state::{Operation, State};
use super::subject::{Kind, Subject, record};

const ENVIRONMENT: &str = "POWER_CUT_WRITER";
/// The test that is the writer when the environment says so.
const TEST: &str = "process_that_writes_until_its_disk_dies";
/// Bytes of a record before its pattern: index and write.
const HEAD_BYTES: usize = 16;
/// A record that is cut into many chunks.
const LARGE_BYTES: u64 = 60_000;
/// Nothing takes so long on a disk in memory.
const DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks at the store while an answer is out.
const POLL: Duration = Duration::from_millis(10);

/// What a writer is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub kind: Kind,
    pub directory: PathBuf,
    pub diary: PathBuf,
    pub seed: u64,
    /// The number of its first write.
    pub first_write: u64,
    /// How many operations it does at most.
    pub operations: u64,
    /// How many of them may fail before it gives up.
    pub failures: u64,
}

impl Order {
    /// Starts the process.
    pub fn start(&self) -> Process {
        self.start_with(None)
    }

    /// Starts the process under orders.
    pub fn start_with(&self, orders: Option<&Orders>) -> Process {
        let words = [
            self.kind.word().to_owned(),
            self.seed.to_string(),
            self.first_write.to_string(),
            self.operations.to_string(),
            self.failures.to_string(),
            self.diary.to_str().unwrap().to_owned(),
            self.directory.to_str().unwrap().to_owned(),
        ];
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([TEST, "--exact", "--nocapture"])
            .env(ENVIRONMENT, words.join("\n"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(orders) = orders {
            command.env(failpoints::VARIABLE, orders.file());
        }
        Process(command.spawn().unwrap())
    }

    fn from_environment() -> Option<Self> {
        let text = std::env::var(ENVIRONMENT).ok()?;
        let words: Vec<&str> = text.split('\n').collect();
        let &[
            kind,
            seed,
            first_write,
            operations,
            failures,
            diary,
            directory,
        ] = &words[..]
        else {
            panic!("{ENVIRONMENT}={text}");
        };
        Some(Self {
            kind: Kind::of(kind).unwrap(),
            seed: seed.parse().unwrap(),
            first_write: first_write.parse().unwrap(),
            operations: operations.parse().unwrap(),
            failures: failures.parse().unwrap(),
            diary: Path::new(diary).to_owned(),
            directory: Path::new(directory).to_owned(),
        })
    }
}

/// A writer, which does not outlive the test.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// How it ended, if it did.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    /// SIGKILL, unless it ended already.
    pub fn kill(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Writes, if this process was started for that.
pub fn run_if_asked() {
    let Some(order) = Order::from_environment() else {
        return;
    };
    let diary = Arc::new(Diary::open(&order.diary));
    let store = match order.kind.open(&order.directory) {
        Ok(store) => store,
        Err(problem) => return diary.refused(&problem),
    };
    match store.found() {
        Ok(state) => {
            diary.found(&state);
            let gives_up = order.failures == 0;
            let store = Writer::new(order, diary, store, state).run();
            if gives_up && store.has_failed() {
                // As a master does: nothing is closed in order any more.
                std::process::exit(0);
            }
        }
        Err(problem) => diary.wrong(&problem),
    }
}

struct Writer {
    order: Order,
    diary: Arc<Diary>,
    store: Box<dyn Subject>,
    /// As it should be when everything that was begun is done.
    state: State,
    dice: Dice,
    begun: usize,
    next_write: u64,
}

impl Writer {
    fn new(order: Order, diary: Arc<Diary>, store: Box<dyn Subject>, state: State) -> Self {
        Self {
            dice: Dice::new(order.seed),
            next_write: order.first_write,
            order,
            diary,
            store,
            state,
            begun: 0,
        }
    }

    /// Until too many operations failed, or there were enough.
    fn run(mut self) -> Box<dyn Subject> {
        let mut failures = 0;
        let (told, outcomes) = channel();
        let mut waiting = 0_u32;
        for _ in 0..self.order.operations {
            waiting += u32::from(self.step(&told));
            // Mostly one by one, sometimes a few at once.
            if self.dice.chance(60) {
                while waiting > 0 {
                    waiting -= 1;
                    match self.wait(&outcomes) {
                        Some(true) => {}
                        Some(false) if failures < self.order.failures => failures += 1,
                        Some(false) | None => return self.store,
                    }
                }
            }
        }
        self.store
    }

    /// The next outcome; none when the store has ended without one, or takes so
    /// long that the parent will tell.
    fn wait(&self, outcomes: &Receiver<bool>) -> Option<bool> {
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            let failed = self.store.has_failed();
            match outcomes.recv_timeout(POLL) {
                Ok(outcome) => return Some(outcome),
                Err(_) if failed => return None,
                Err(_) => {}
            }
        }
        None
    }

    /// One operation; whether it will be acknowledged.
    fn step(&mut self, told: &Sender<bool>) -> bool {
        let operation = self.choose();
        self.diary.begin(&operation);
        self.state.apply(&operation);
        self.begun += 1;
        let diary = self.diary.clone();
        let number = self.begun;
        let told = told.clone();
        let done: Done = Box::new(move |outcome| {
            if outcome.is_ok() {
                diary.acknowledged(number);
            }
            told.send(outcome.is_ok()).ok();
        });
        match operation {
            Operation::Append {
                first,
                count,
                write,
            } => {
                let records = (first..first + count)
                    .map(|index| record(index, write, self.size()))
                    .collect();
                self.store.write_records(records, done);
                true
            }
            Operation::Vote(vote) => {
                self.store.write_vote(vote, done);
                true
            }
            Operation::Truncate(last) => {
                self.store.remove_after(last);
                false
            }
            Operation::Purge(upto) => {
                self.store.remove_upto(upto);
                false
            }
        }
    }

    fn choose(&mut self) -> Operation {
        if self.order.kind.only_votes() {
            return Operation::Vote(self.state.vote.map_or(1, |vote| vote + 1));
        }
        let next = self.state.next();
        let kept = self.state.records.len() as u64;
        if self.dice.chance(20) {
            self.store.write_hint(next - 1);
        }
        match self.dice.up_to(99) {
            0..=14 => Operation::Vote(self.state.vote.map_or(1, |vote| vote + 1)),
            15..=22 if kept > 1 => {
                Operation::Truncate(next - 1 - self.dice.between(1, kept.min(5) - 1))
            }
            23..=30 if kept > 10 => {
                let first = next - kept;
                Operation::Purge(self.dice.between(first, next - 2))
            }
            _ => {
                self.next_write += 1;
                Operation::Append {
                    first: next,
                    count: self.dice.between(1, 5),
                    write: self.next_write - 1,
                }
            }
        }
    }

    fn size(&mut self) -> usize {
        let most = if self.dice.chance(10) {
            LARGE_BYTES
        } else {
            300
        };
        usize::try_from(self.dice.up_to(most)).unwrap()
    }
}

/// Bytes that only this write put at this index.
pub fn pattern(index: u64, write: u64, bytes: usize) -> Vec<u8> {
    let mut content = Vec::with_capacity(HEAD_BYTES + bytes);
    content.extend_from_slice(&index.to_be_bytes());
    content.extend_from_slice(&write.to_be_bytes());
    let mut dice = Dice::new(index ^ (write << 32));
    while content.len() < HEAD_BYTES + bytes {
        content.extend_from_slice(&dice.roll().to_be_bytes());
    }
    content.truncate(HEAD_BYTES + bytes);
    content
}

/// Which write put the record there.
///
/// # Errors
///
/// None did.
pub fn write_of(record: &Record) -> Result<u64, String> {
    let unwritten = || format!("record {} is what nobody wrote", record.index);
    let head = record.bytes.get(8..HEAD_BYTES).ok_or_else(unwritten)?;
    let write = u64::from_be_bytes(head.try_into().map_err(|_| unwritten())?);
    let bytes = record.bytes.len() - HEAD_BYTES;
    let is_ours = pattern(record.index, write, bytes) == record.bytes;
    is_ours.then_some(write).ok_or_else(unwritten)
}
