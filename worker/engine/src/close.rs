//! The end of a round: hands the program what the reduces wrote, in order, and
//! checks what it answers.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Read};
use std::rc::Rc;

use vivat_mapreduce::{
    CloseContext, Closed, CounterSet, PartSource, Parts, Program, ProgramError, SideFiles,
};
use vivat_shared::attempt::{Counters, PartOutput};
use vivat_shared::limits::{BROADCAST_BYTES_MAX, METRICS_MAX, NAME_BYTES_MAX};

use crate::error::EngineError;
use crate::input::{InputError, InputReader, of_input};
use crate::task::{CancelFlag, Progress};

/// Opens one part, when its turn comes.
pub type OpenPart<'t> = Box<dyn FnOnce() -> Result<Box<dyn InputReader>, InputError> + 't>;

/// What one reduce of the round wrote.
pub struct ClosePart<'t> {
    /// What it is.
    pub output: PartOutput,
    /// Where it is; bytes from 0 to the output's length.
    pub open: OpenPart<'t>,
}

impl fmt::Debug for ClosePart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClosePart")
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}

/// The end of one round.
#[derive(Debug)]
pub struct CloseTask<'t> {
    /// The round, from 0.
    pub round: u32,
    /// Rounds that the step may have.
    pub rounds_max: u32,
    /// Of every partition in order; the engine takes them out.
    pub parts: Vec<ClosePart<'t>>,
    /// The step's parameters.
    pub parameters: &'t std::collections::BTreeMap<String, String>,
    /// What the round's tasks were given.
    pub broadcast: &'t [u8],
    /// Files that the job brought along.
    pub side_files: &'t SideFiles,
    /// How far it is, in bytes of the parts.
    pub progress: &'t Progress,
    /// Whether to stop.
    pub cancel: &'t CancelFlag,
}

/// What the end of a round came to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CloseReport {
    /// The program's answer, within its bounds.
    pub closed: Closed,
    /// The program's counters.
    pub counters: Counters,
}

/// The first thing that went wrong with a part, and the part's number.
type Trouble = Rc<RefCell<Option<(usize, InputError)>>>;

pub(crate) fn run<P: Program>(
    program: &P,
    task: &mut CloseTask<'_>,
) -> Result<CloseReport, EngineError> {
    task.cancel.check()?;
    let counter_set = CounterSet::default();
    let context = CloseContext {
        round: task.round,
        rounds_max: task.rounds_max,
        partitions: u32::try_from(task.parts.len()).unwrap_or(u32::MAX),
        parameters: task.parameters,
        broadcast: task.broadcast,
        side_files: task.side_files,
        counters: &counter_set,
    };
    let trouble = Trouble::default();
    let parts = std::mem::take(&mut task.parts);
    let watch = (task.progress, task.cancel);
    let sources = parts.into_iter().enumerate().map(|(number, part)| {
        let trouble = trouble.clone();
        let ClosePart { output, open } = part;
        PartSource::new(output.bytes, output.records, move || {
            let reader = match open() {
                Ok(reader) => reader,
                Err(error) => return Err(note(&trouble, number, error)),
            };
            Ok(Box::new(PartReader {
                reader,
                number,
                position: 0,
                crc32c: 0,
                output,
                watch,
                trouble,
            }))
        })
    });
    let mut parts = Parts::new(sources.collect());
    let closed = program.close(&context, &mut parts);
    // A part that could not be read explains whatever the program says.
    if let Some((number, error)) = trouble.borrow_mut().take() {
        return Err(of_input(&format!("part {number} of the round"), error));
    }
    task.cancel.check()?;
    let failed = |source| EngineError::Program { source };
    let closed = closed.map_err(failed)?;
    check(&closed).map_err(failed)?;
    Ok(CloseReport {
        closed,
        counters: counter_set.sums(),
    })
}

/// Keeps what went wrong, and tells the program that something did.
fn note(trouble: &Trouble, number: usize, error: InputError) -> io::Error {
    let told = io::Error::other(error.to_string());
    trouble.borrow_mut().get_or_insert((number, error));
    told
}

fn check(closed: &Closed) -> Result<(), ProgramError> {
    let bytes = closed.broadcast.len() as u64;
    if bytes > BROADCAST_BYTES_MAX {
        return Err(ProgramError::new(format!(
            "its close hands on {bytes} bytes, at most {BROADCAST_BYTES_MAX} can be"
        )));
    }
    if closed.metrics.len() > METRICS_MAX {
        return Err(ProgramError::new(format!(
            "its close tells {} metrics, at most {METRICS_MAX} can be told",
            closed.metrics.len()
        )));
    }
    let fits = |name: &&String| {
        (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
    };
    match closed.metrics.keys().find(|name| !fits(name)) {
        None => Ok(()),
        Some(name) => Err(ProgramError::new(format!(
            "its close tells of metric `{}`: a name has 1 to {NAME_BYTES_MAX} bytes and no \
             control character",
            name.escape_debug().take(80).collect::<String>()
        ))),
    }
}

/// One part from front to back; compared with its checksum at its end.
struct PartReader<'t> {
    reader: Box<dyn InputReader>,
    number: usize,
    position: u64,
    crc32c: u32,
    output: PartOutput,
    watch: (&'t Progress, &'t CancelFlag),
    trouble: Trouble,
}

impl PartReader<'_> {
    fn take(&mut self, buffer: &mut [u8]) -> Result<usize, InputError> {
        let (progress, cancel) = self.watch;
        if cancel.is_cancelled() {
            return Err(InputError::Stopped);
        }
        let left = self.output.bytes - self.position;
        let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        if wanted == 0 {
            return Ok(0);
        }
        let unreachable = |detail: String| InputError::Unreachable { detail };
        let read = self.reader.read_at(&mut buffer[..wanted], self.position)?;
        if read == 0 {
            return Err(unreachable(format!(
                "it has {} bytes instead of {}",
                self.position, self.output.bytes
            )));
        }
        self.crc32c = crc32c::crc32c_append(self.crc32c, &buffer[..read]);
        self.position += read as u64;
        progress.add(read as u64, 0);
        if self.position == self.output.bytes && self.crc32c != self.output.crc32c {
            return Err(unreachable(format!(
                "it has checksum {:#010x} instead of {:#010x}",
                self.crc32c, self.output.crc32c
            )));
        }
        Ok(read)
    }
}

impl Read for PartReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.take(buffer)
            .map_err(|error| note(&self.trouble, self.number, error))
    }
}
