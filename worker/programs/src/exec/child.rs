//! A running command, as the task sees it that feeds it.
//!
//! One thread does all: it writes what the command is to read, takes what it prints
//! and what it says on standard error, whichever is possible, and looks whether the
//! attempt was told to stop. So a command that prints without reading, reads without
//! printing, or does neither never blocks the task for good.
//!
//! A command need not read all that it could: what it does not want is dropped.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child as Process, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio, read, write};
use vivat_mapreduce::{Attempt, CounterSet, ProgramError};

use super::lines::{LINE_BYTES_MAX, LineError, Lines};
use super::said::Said;
use super::settings::{Role, Settings};
use super::wire::{self, Order, Report};
use super::workdir::WorkDir;

/// Read at once.
const READ_BYTES: usize = 64 * 1024;
/// Asked of the kernel for each pipe: fewer turns. It may refuse.
const PIPE_BYTES: usize = 1024 * 1024;
/// How soon an order to stop is noticed.
const TURN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
/// How long a supervisor may take to kill what a command left.
const END_BUDGET: Duration = Duration::from_secs(10);

static SUPERVISOR: OnceLock<Vec<OsString>> = OnceLock::new();

/// Says how a process is started that calls [`super::supervise`]: a program and its
/// arguments. The first call counts. Without one it is this binary with the argument
/// [`super::SUPERVISOR_ARGUMENT`].
pub fn set_supervisor(words: Vec<OsString>) {
    // Whoever comes later finds it set, and means the same.
    let _set_already = SUPERVISOR.set(words);
}

fn supervisor() -> Command {
    match SUPERVISOR.get().map(Vec::as_slice) {
        Some([program, arguments @ ..]) => {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        }
        // As it was when it started, whatever lies at its path now.
        Some([]) | None => {
            let mut command = Command::new("/proc/self/exe");
            command.arg(super::SUPERVISOR_ARGUMENT);
            command
        }
    }
}

/// Takes a line that the command printed, without its end.
pub(super) type Sink<'s> = dyn FnMut(&[u8]) -> Result<(), ProgramError> + 's;

/// What a command is started with beside what all commands of the step have.
pub(super) struct Start<'s, 't> {
    pub settings: &'t Settings,
    pub role: Role,
    /// Behind its own arguments.
    pub more_arguments: Vec<Vec<u8>>,
    pub environment: BTreeMap<String, Vec<u8>>,
    pub directory: &'s WorkDir,
    pub attempt: Attempt<'t>,
    pub counters: &'t CounterSet,
}

/// A command that runs. Dropped, it is killed with all that it started.
pub(super) struct Child<'t> {
    settings: &'t Settings,
    role: Role,
    attempt: Attempt<'t>,
    process: Process,
    /// Open for as long as the command is wanted.
    socket: Option<UnixStream>,
    answer: Vec<u8>,
    report: Option<Report>,
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
    errors: Option<OwnedFd>,
    lines: Lines,
    said: Said<'t>,
    buffer: Vec<u8>,
    moved_at: Instant,
    moves: u64,
}

/// What one look at all descriptors came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Something was read, written or closed.
    Moved,
    /// Nothing was possible.
    Idle,
}

impl<'t> Child<'t> {
    pub fn start(start: Start<'_, 't>) -> Result<Self, ProgramError> {
        let (settings, role) = (start.settings, start.role);
        let failed = |error: io::Error| {
            let shown = settings.shown(role);
            ProgramError::new(format!("cannot run {role} `{shown}`: {error}"))
        };
        let order = Order {
            words: words(&start),
            environment: start
                .environment
                .into_iter()
                .map(|(name, value)| (name.into_bytes(), value))
                .collect(),
            directory: start.directory.bytes(),
            limits: settings.limits,
        };
        let pipes = || -> io::Result<_> {
            let (their_input, input) = io::pipe()?;
            let (output, their_output) = io::pipe()?;
            let (errors, their_errors) = io::pipe()?;
            let ours = [input.into(), output.into(), errors.into()];
            let theirs = [their_input.into(), their_output.into(), their_errors.into()];
            for end in &ours {
                ioctl_fionbio(end, true)?;
                // A smaller pipe does the same in more turns.
                let _refused = rustix::pipe::fcntl_setpipe_size(end, PIPE_BYTES);
            }
            Ok::<([OwnedFd; 3], [OwnedFd; 3]), io::Error>((ours, theirs))
        };
        let (ours, [their_input, their_output, their_errors]) = pipes().map_err(failed)?;
        let (socket, their_socket) = UnixStream::pair().map_err(failed)?;
        let process = supervisor()
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(their_socket)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C is for those who started it: they close the socket.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let [input, output, errors] = ours;
        let child = Self {
            settings,
            role,
            attempt: start.attempt,
            process,
            socket: Some(socket),
            answer: Vec::new(),
            report: None,
            input: Some(input),
            output: Some(output),
            errors: Some(errors),
            lines: Lines::default(),
            said: Said::new(start.attempt.host, start.counters),
            buffer: vec![0; READ_BYTES],
            moved_at: Instant::now(),
            moves: 0,
        };
        let descriptors = [&their_input, &their_output, &their_errors];
        if let Some(socket) = &child.socket {
            wire::send_order(socket, &order, descriptors).map_err(failed)?;
            socket.set_nonblocking(true).map_err(failed)?;
        }
        Ok(child)
    }

    /// Gives the command more to read, and takes what it prints meanwhile. What it
    /// does not want to read is dropped.
    pub fn feed(&mut self, mut data: &[u8], sink: &mut Sink<'_>) -> Result<(), ProgramError> {
        self.moved_at = Instant::now();
        while !data.is_empty() && self.input.is_some() {
            if !self.write(&mut data)? {
                self.turn(true, sink)?;
            }
            if self.report.is_some() || self.socket.is_none() {
                // Nobody reads any more.
                self.input = None;
            }
        }
        match &self.report {
            Some(report) => self.judge(&report.clone()),
            None => Ok(()),
        }
    }

    /// Ends the command's input, and takes what it prints until it ends.
    pub fn finish(mut self, sink: &mut Sink<'_>) -> Result<(), ProgramError> {
        self.input = None;
        self.moved_at = Instant::now();
        while self.socket.is_some() {
            self.turn(false, sink)?;
        }
        // All are dead who could write; what they wrote is still there.
        while self.output.is_some() || self.errors.is_some() {
            if self.turn(false, sink)? == Turn::Idle {
                break;
            }
        }
        if let Some(rest) = self.lines.finish() {
            sink(&rest)?;
        }
        self.said.finish();
        match self.report.take() {
            Some(report) => self.judge(&report),
            None => Err(ProgramError::new(format!(
                "{} was not seen to end: its supervisor was killed",
                self.named()
            ))),
        }
    }

    /// Writes what fits; false when nothing does.
    fn write(&mut self, data: &mut &[u8]) -> Result<bool, ProgramError> {
        let Some(input) = &self.input else {
            return Ok(true);
        };
        match write(input, data) {
            Ok(written) => {
                *data = &data[written..];
                self.moved();
                Ok(true)
            }
            Err(Errno::INTR) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            // It has closed its input, as `head` does.
            Err(Errno::PIPE) => {
                self.input = None;
                Ok(true)
            }
            Err(error) => Err(self.broken(error)),
        }
    }

    fn moved(&mut self) {
        self.moved_at = Instant::now();
        self.moves += 1;
    }

    /// Waits until something is possible, and does it. With an end of the attempt or
    /// of all patience it is an error.
    fn turn(&mut self, is_writing: bool, sink: &mut Sink<'_>) -> Result<Turn, ProgramError> {
        let [output, errors, socket] = self.look(is_writing)?;
        let before = self.moves;
        if output {
            self.read_output(sink)?;
        }
        if errors {
            self.read_errors()?;
        }
        if socket {
            self.read_report()?;
        }
        if self.attempt.stop.is_stopped() {
            return Err(ProgramError::new(format!("{} was stopped", self.named())));
        }
        let patience = self.settings.timeout;
        if self.moved_at.elapsed() > patience {
            return Err(self.failed(&format!(
                "has neither read nor printed anything for {}",
                super::settings::span(patience)
            )));
        }
        Ok(if self.moves > before {
            Turn::Moved
        } else {
            Turn::Idle
        })
    }

    /// Which of output, errors and socket can be read, after a while at the latest.
    fn look(&self, is_writing: bool) -> Result<[bool; 3], ProgramError> {
        let mut fds = Vec::with_capacity(4);
        let readable = [
            self.output
                .as_ref()
                .map(|fd| PollFd::new(fd, PollFlags::IN)),
            self.errors
                .as_ref()
                .map(|fd| PollFd::new(fd, PollFlags::IN)),
            self.socket
                .as_ref()
                .map(|fd| PollFd::new(fd, PollFlags::IN)),
        ];
        let places = readable.map(|fd| {
            fd.map(|fd| {
                fds.push(fd);
                fds.len() - 1
            })
        });
        if let Some(input) = self.input.as_ref().filter(|_| is_writing) {
            fds.push(PollFd::new(input, PollFlags::OUT));
        }
        // Once the socket is closed nothing more comes: a look, without waiting.
        let timeout = match self.socket {
            Some(_) => TURN,
            None => Timespec::default(),
        };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok([false; 3]),
            Err(error) => return Err(self.broken(error)),
        }
        Ok(places.map(|place| place.is_some_and(|at| !fds[at].revents().is_empty())))
    }

    fn read_output(&mut self, sink: &mut Sink<'_>) -> Result<(), ProgramError> {
        let Some(output) = &self.output else {
            return Ok(());
        };
        match read(output, &mut self.buffer[..]) {
            Ok(0) => self.output = None,
            Ok(bytes) => match self.lines.push(&self.buffer[..bytes], sink) {
                Ok(()) => {}
                Err(LineError::Refused(error)) => return Err(error),
                Err(LineError::TooLong) => {
                    let how = format!("printed a line of more than {LINE_BYTES_MAX} bytes");
                    return Err(self.failed(&how));
                }
            },
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(error) => return Err(self.broken(error)),
        }
        // What was done with the lines may have taken its time.
        self.moved();
        Ok(())
    }

    fn read_errors(&mut self) -> Result<(), ProgramError> {
        let Some(errors) = &self.errors else {
            return Ok(());
        };
        match read(errors, &mut self.buffer[..]) {
            Ok(0) => self.errors = None,
            Ok(bytes) => self.said.push(&self.buffer[..bytes]),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(error) => return Err(self.broken(error)),
        }
        self.moved();
        Ok(())
    }

    fn read_report(&mut self) -> Result<(), ProgramError> {
        let Some(socket) = &self.socket else {
            return Ok(());
        };
        match read(socket, &mut self.buffer[..]) {
            // The supervisor has ended, whatever it said.
            Ok(0) | Err(Errno::CONNRESET) => self.socket = None,
            Ok(bytes) => {
                self.answer.extend_from_slice(&self.buffer[..bytes]);
                self.report = wire::report_in(&self.answer);
            }
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(error) => return Err(self.broken(error)),
        }
        self.moved();
        Ok(())
    }

    /// Whether the command did what it should.
    fn judge(&self, report: &Report) -> Result<(), ProgramError> {
        let how = match report {
            Report::NotStarted {
                is_missing: true,
                detail,
            } => {
                return Err(ProgramError::no_command(
                    self.settings.program(self.role),
                    format!("the {} cannot be started: {detail}", self.role),
                ));
            }
            Report::NotStarted { detail, .. } => format!("cannot be started: {detail}"),
            Report::Ended {
                memory_bytes: Some(bytes),
                ..
            } => format!(
                "had {bytes} bytes in memory, `memory` allows {}",
                self.settings.limits.memory_bytes.unwrap_or_default()
            ),
            Report::Ended { code: Some(0), .. } => return Ok(()),
            Report::Ended {
                code: Some(code), ..
            } => format!("exited with code {code}"),
            Report::Ended {
                signal: Some(signal),
                ..
            } => format!("was killed by {}", self.settings.signal(*signal)),
            Report::Ended { .. } => "could not be killed".to_owned(),
        };
        Err(self.failed(&how))
    }

    fn named(&self) -> String {
        format!("{} `{}`", self.role, self.settings.shown(self.role))
    }

    /// The command did something wrong: what, and what it said last.
    fn failed(&self, how: &str) -> ProgramError {
        let mut detail = format!("{} {how}", self.named());
        if let Some(last) = self.said.last_line() {
            detail.push_str(": ");
            detail.push_str(&last);
        }
        ProgramError::new(detail)
    }

    fn broken(&self, error: Errno) -> ProgramError {
        let error = io::Error::from(error);
        ProgramError::new(format!("a pipe of {} broke: {error}", self.named()))
    }
}

impl Drop for Child<'_> {
    fn drop(&mut self) {
        // The supervisor kills all when this is closed, and ends.
        self.socket = None;
        let deadline = Instant::now() + END_BUDGET;
        while let Ok(None) = self.process.try_wait() {
            if Instant::now() > deadline {
                // It cannot do more than it has tried, and is not waited for.
                let _gone = self.process.kill();
                let _waited = self.process.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.said.finish();
    }
}

fn words(start: &Start<'_, '_>) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = start
        .settings
        .words(start.role)
        .iter()
        .map(|word| word.clone().into_bytes())
        .collect();
    if let Some(program) = words.first_mut()
        && start.directory.has(program)
    {
        // A side file, as it would be found if the directory were searched.
        program.splice(0..0, *b"./");
    }
    words.extend(start.more_arguments.iter().cloned());
    words
}
